"""The assessment of one scene on disk: what is known of the scene, the counts, and its parts.

Records live in Parquet parts, one per finished piece of work, under `DIR/<stem>/parts/`. Writers
iterate the parts in order and append, so that nobody holds all records of a scene.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from damagenet.addresses import ScenePath
from damagenet.card import Card
from damagenet.config import Settings
from damagenet.labels import Kind
from damagenet.options import AssessOptions

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

PARTS_FOLDER = "parts"
ASSESSMENT_FILE = "assessment.json"
ROW_COLUMN = "row"
"""Column of a part with the unit's place in the caller's file, or in the grid, row by row."""

DISTANCE_COLUMN = "training_distance"
"""Column of a part with the mean distance of the unit's chips to the model's training tiles; it
is there where the model can measure it."""


class SourceItem(Settings):
    """The STAC Item that led to a scene."""

    id: str
    href: str
    """Its own address, else that of the file that it was read from."""
    acquired: str
    """ISO 8601; empty where it says a longer time than a day, or none."""
    start: str = ""
    """Beginning of the time that it covers, ISO 8601; empty where it says a moment alone."""
    end: str = ""


class SceneInfo(Settings):
    """What an assessment keeps of its scene."""

    path: ScenePath
    sha256: str
    width: int
    """Columns of the scene's north-up pixel grid."""
    height: int
    transform: tuple[float, float, float, float, float, float]
    """North-up pixel grid to the scene's CRS: the affine's a, b, c, d, e, f."""
    crs: str | None
    """WKT of the scene's CRS; None for pixel coordinates."""
    pixel_m: tuple[float, float]
    """Ground sampling in metres: east-west, north-south."""
    acquired: str
    """ISO 8601, or empty where nobody said."""
    bands: tuple[int, ...]
    item: SourceItem | None = None
    """The STAC Item that led to it; None where its file was named."""


class Shift(Settings):
    """How far a picture lies off the scene's ground, as measured by matching blocks of both."""

    found: bool = False
    """False where too few blocks agree to tell; then nothing was corrected."""
    east_m: float = 0.0
    """Metres along the scene's rows; negative to the west."""
    north_m: float = 0.0
    """Metres along its columns; negative to the south."""
    spread_m: float = 0.0
    """Median distance in metres of the agreeing blocks' own shifts from it."""
    blocks: int = 0
    """Blocks that show enough of both pictures."""
    agreed: int = 0
    """Those of them that say the same."""
    corrected: bool = False
    """True where chips were cut with the shift taken out."""


class PreInfo(Settings):
    """What an assessment keeps of the picture taken before the storm."""

    path: Path
    sha256: str
    acquired: str
    """ISO 8601, or empty where the file does not say."""
    bands: tuple[int, ...]
    sampling_m: float
    """Metres per pixel of the file, the coarser of its two axes."""
    covers: float
    """Share of the scene's rectangle that it reaches over, 0..1."""
    shift: Shift


class DenseInfo(Settings):
    """How near a dense map comes to chips by themselves, on a sample of the scene's windows."""

    used: bool = False
    """Whether the records were made so; False where every chip was asked by itself."""
    windows: int = 0
    """Windows of the sample that were asked in both ways."""
    mean_difference: float | None = None
    """Mean difference of their probabilities of damage; None where there was none to measure."""
    largest_of_most: float | None = None
    """99 % of the differences are smaller."""
    other_labels: float | None = None
    """Share of the sample that lies on the other side of the threshold, 0..1."""


class GridInfo(Settings):
    """The grid of cells, where the units are cells."""

    rows: int
    columns: int
    cell_width_px: float
    """East-west side of a cell in scene pixels; cell (r, c) starts at column c times this."""
    cell_height_px: float


class Counts(Settings):
    """How many units got which verdict."""

    units: int = 0
    damaged: int = 0
    undamaged: int = 0
    uncertain: int = 0
    not_judged: dict[str, int] = Field(default_factory=dict)
    """Units that were not judged, by reason."""
    empty_cells: int = 0
    """Grid cells without a valid pixel; counted, not written."""
    chips: int = 0


class Assessment(Settings):
    """All records of one scene, as parts, with what is needed to write and read them."""

    stem: str
    """Name of the scene's folder below the run's folder."""
    folder: Path
    """DIR/<stem>"""
    scene: SceneInfo
    kind: Kind
    geometry: Literal["point", "polygon"]
    crs: str | None
    """WKT of the CRS of the parts' geometries: the buildings' own, or the scene's for a grid."""
    grid: GridInfo | None
    attributes: tuple[str, ...]
    """The caller's own columns, as named in the parts."""
    card: Card
    options: AssessOptions
    counts: Counts
    key: str
    """SHA-256 over everything the records depend on: scene, model, buildings and options."""
    parts_written: int
    seconds: float
    """Wall time of the assessment, parts only."""
    created: str
    strangeness: float | None = None
    """How far its judged chips lie from the training tiles, 1.0 being held-out ground; None where
    the model cannot tell, or nothing was judged."""
    warnings: tuple[str, ...] = ()
    pre: PreInfo | None = None
    """The picture taken before the storm; None for models that take one picture."""
    dense: DenseInfo | None = None
    """Of a grid much finer than the chip; None where chips hardly overlap."""

    def of_item(self, item: SourceItem | None) -> "Assessment":
        """Return the assessment with the STAC Item that led to its scene this time."""
        return self.model_copy(update={"scene": self.scene.model_copy(update={"item": item})})

    def part_paths(self) -> list[Path]:
        """Paths of the parts in order."""
        return [part_path(self.folder, number) for number in range(self.parts_written)]

    def parts(self) -> Iterator["GeoDataFrame"]:
        """Yield the records piece by piece: `row`, RECORD_FIELDS, attributes, geometry."""
        from geopandas import read_parquet

        for path in self.part_paths():
            yield read_parquet(path)


def part_path(folder: Path, number: int) -> Path:
    """Path of the part with this number, counted from 0."""
    return folder / PARTS_FOLDER / f"part-{number:06d}.parquet"
