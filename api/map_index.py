"""`maps/maps.json`: which pictures of a finished job can be shown, and where they lie."""

from pathlib import Path
from typing import Literal, get_args

from pydantic import ValidationError

from api.folders import JobFolder
from damagenet.config import Settings
from damagenet.errors import OutputError

INDEX_FILE = "maps.json"

Layer = Literal["imagery", "pre", "damage"]
LAYERS: tuple[Layer, ...] = get_args(Layer)


class Placing(Settings):
    """Where a picture without georeference is put on the map: at 0/0, one metre a unit.

    Its own coordinates u, v become Web Mercator x = `x_scale` u + `x_start`, and y likewise.
    """

    x_scale: float
    x_start: float
    y_scale: float
    y_start: float


class MapScene(Settings):
    """One scene of a job on the map."""

    stem: str
    """Name of its folder below the results."""
    name: str
    """Its file name, as in the records."""
    bounds: tuple[float, float, float, float]
    """West, south, east, north in degrees; west is larger where 180 degrees lie inside."""
    maxzoom: int
    """Zoom at which a map tile of 256 px shows every pixel."""
    placing: Placing | None = None
    """Where its place on the map is made up; None where the file says where it lies."""
    pre: bool = False
    """True where there is a picture from before the storm as well."""

    @property
    def degrees_wide(self) -> float:
        """How far it reaches from west to east, in degrees."""
        return (self.bounds[2] - self.bounds[0]) % 360 or 360.0

    def file(self, folder: JobFolder, layer: Layer) -> Path:
        """Return the COG of one layer, in a CRS of the Earth."""
        if layer == "damage" and self.placing is None:
            return folder.results / self.stem / "damage.tif"
        return folder.maps / f"{self.stem}.{layer}.tif"

    def holds(self, layer: Layer) -> bool:
        """Return whether the scene has this layer."""
        return layer != "pre" or self.pre


class MapIndex(Settings):
    """All scenes of a job, in the order of the run."""

    format_version: Literal[1] = 1
    scenes: tuple[MapScene, ...]
    units: tuple[float, float, float, float] | None = None
    """Around all units, those outside of the scenes as well; None where nothing has a place."""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Around scenes and units, in degrees."""
        west, south, east, north = self.bounds
        if self.units is None:
            return west, south, east, north
        other = self.units
        return min(west, other[0]), min(south, other[1]), max(east, other[2]), max(north, other[3])

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees; all the way round where a scene crosses 180."""
        wests, souths, easts, norths = zip(*(scene.bounds for scene in self.scenes), strict=True)
        if any(west > east for west, east in zip(wests, easts, strict=True)):
            return -180.0, min(souths), 180.0, max(norths)
        return min(wests), min(souths), max(easts), max(norths)

    @property
    def placed(self) -> bool:
        """True where places on the map are made up."""
        return any(scene.placing is not None for scene in self.scenes)


def read_map_index(folder: JobFolder) -> MapIndex | None:
    """Return what can be shown of a job; None where its maps are not made.

    Raises:
        OutputError: If the file is there and is no index.
    """
    try:
        text = (folder.maps / INDEX_FILE).read_text(encoding="utf-8")
        return MapIndex.model_validate_json(text)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as err:
        raise OutputError(f"{INDEX_FILE} of the job cannot be read: assess it again") from err
