"""`AdaptOptions`: every option of `damagenet adapt`, said once."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from damagenet.errors import ConfigError
from damagenet.evaluation.survey_options import LabelOptions, require_named
from damagenet.options import AUTO, AssessOptions, Bands, CommaSeparated

SHARED = (
    "clouds",
    "pre",
    "model",
    "bands",
    "min_valid",
    "force_coarse",
    "allow_driver",
    "overwrite",
)
"""Options that mean what they mean to `damagenet assess`."""


class AdaptOptions(LabelOptions):
    """Which labels a model learns from, how, and where the new bundle goes."""

    labels: Path | None = None
    """File of labelled buildings (points or polygons) on the scenes."""
    model: str = AUTO
    """Bundle to start from: a shipped name (see `damagenet models`) or a folder; auto takes
    harvey-event, and harvey-pair with --pre."""
    out: Path | None = None
    """Folder of the new bundle; its name is the bundle's name."""
    pre: Path | None = None
    """Pre-event scene of the same ground, for models that compare two pictures."""
    tiles: Path | None = None
    """Prepared tiles (`damagenet data prepare`) to show what becomes of the base task; without
    them those of the model's recipe, where they are there."""
    learn: Literal["best", "head", "stages"] = "best"
    """What may change: the head, the stages before it too, or what an inner part finds best."""
    stages: Annotated[int | None, Field(ge=1)] = None
    """How many of the last stages learn; without one, all of a small network, else a third."""
    steps: Annotated[int, Field(ge=10, le=10_000)] = 100
    """Steps of 32 chips in which the stages learn."""
    aside: Annotated[float, Field(ge=0.1, le=0.6)] = 0.3
    """Share of the labels kept aside, in ground of their own, for calibration and scores."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the blocks kept aside, of the steps and of the intervals."""
    clouds: Literal["check", "ignore"] = "check"
    """Leave out labels that cloud, thick haze or too much light hides."""
    bands: Bands = None
    """Bands to read as red, green, blue, counted from 1, as in 3,2,1."""
    min_valid: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of a window that must hold usable pixels, else its label is left out."""
    force_coarse: bool = False
    """Take scenes coarser than 3 m too."""
    allow_driver: Annotated[tuple[str, ...], CommaSeparated] = ()
    """GDAL drivers to open beside GeoTIFF, PNG and JPEG, by name, as in VRT."""
    overwrite: bool = False
    """Replace a bundle that is in --out already."""

    @property
    def assess(self) -> AssessOptions:
        """The same options as an assessment takes them."""
        return AssessOptions(**{name: getattr(self, name) for name in SHARED})


def require_whole(options: AdaptOptions) -> tuple[Path, Path]:
    """Check what no single option can, and return the files of labels and of the new bundle.

    Raises:
        ConfigError: If an option is missing, or would be ignored.
    """
    require_named(options, ("labels", "field", "damaged", "out"), to="to adapt a model")
    if options.learn == "head" and options.stages is not None:
        raise ConfigError(
            f"--stages {options.stages} says how many stages learn, and --learn is head: leave "
            "one of them out"
        )
    assert options.labels is not None  # as was just checked, and the next
    assert options.out is not None
    return options.labels, options.out
