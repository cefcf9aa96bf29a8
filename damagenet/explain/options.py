"""`ExplainOptions`: every option of `damagenet explain`, said once."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from damagenet.config import Settings
from damagenet.explain.names import METHOD_NAMES, MethodName, Target
from damagenet.options import AUTO, AssessOptions, Bands, CommaSeparated, Device


class ExplainOptions(Settings):
    """Which units are explained, by which methods, and how scenes are read."""

    method: Annotated[tuple[MethodName, ...], CommaSeparated] = ("grad_cam",)
    """Methods: grad_cam (where the network looked), integrated_gradients (which pixels count),
    guided_backprop (edges only, hardly about the verdict; grad_cam is added to it)."""
    target: Target = "damaged"
    """Class that maps speak for: damaged or undamaged."""
    model: str = AUTO
    """Bundle: a shipped name (see `damagenet models`) or a folder; auto takes harvey-event, and
    harvey-pair with --pre."""
    buildings: Path | None = None
    """File of buildings, as `damagenet assess` takes it; without one, the cells of a grid."""
    id_field: str | None = None
    """Column of --buildings with unique ids; without one uid, id or fid, else the row number."""
    units: Annotated[tuple[str, ...], CommaSeparated] = ()
    """Ids of the buildings or cells to explain; without them, all."""
    limit: Annotated[int | None, Field(ge=1)] = None
    """Explain so many units of a scene at most, the first ones that can be judged."""
    pictures: Annotated[int, Field(ge=0)] = 24
    """Units of a scene that get pictures of their own, the first ones."""
    pre: Path | None = None
    """Picture of the same ground before the storm, for models that compare two; for chips, the
    folder of chips of the same names."""
    stride: Annotated[float | None, Field(gt=0)] = None
    """Side of a grid cell in metres, at most the model's chip; without one, the chip itself."""
    bands: Bands = None
    """Bands to read as red, green, blue, counted from 1, as in 3,2,1."""
    pixel_size: Annotated[float | None, Field(gt=0)] = None
    """Ground sampling in metres, for a picture without georeference."""
    allow_driver: Annotated[tuple[str, ...], CommaSeparated] = ()
    """GDAL drivers to open beside GeoTIFF, PNG and JPEG, by name, as in VRT."""
    force_coarse: bool = False
    """Explain scenes coarser than 3 m."""
    layer: str | None = None
    """Layer that grad_cam is drawn from, as features.stage2; without one, the last map."""
    steps: Annotated[int, Field(ge=2, le=1000)] = 50
    """Steps of integrated_gradients; more of them leave a smaller rest."""
    device: Device = "auto"
    """Where the network runs: auto, cpu, cuda or cuda:N."""
    batch_size: Annotated[int | None, Field(ge=1, le=4096)] = None
    """Chips at a time; without one, as many as suit the device."""

    @field_validator("method")
    @classmethod
    def _check_method(cls, value: tuple[MethodName, ...]) -> tuple[MethodName, ...]:
        if not value:
            raise ValueError(f"name at least one of {', '.join(METHOD_NAMES)}")
        # Edges alone would be taken for reasons: a map of the class stands beside them.
        beside = ("grad_cam",) if set(value) == {"guided_backprop"} else ()
        return tuple(dict.fromkeys((*value, *beside)))

    @property
    def looking(self) -> AssessOptions:
        """How scenes and units are looked at: as an assessment with these options does."""
        return AssessOptions(
            buildings=self.buildings,
            id_field=self.id_field,
            model=self.model,
            pre=self.pre,
            stride=self.stride,
            bands=self.bands,
            pixel_size=self.pixel_size,
            allow_driver=self.allow_driver,
            force_coarse=self.force_coarse,
            device=self.device,
            batch_size=self.batch_size,
        )
