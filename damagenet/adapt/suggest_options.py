"""`SuggestOptions`: every option of `damagenet suggest`, said once."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from damagenet.config import Settings
from damagenet.options import AUTO, AssessOptions, Bands, Device


class SuggestOptions(Settings):
    """Which buildings are looked at, how many are suggested, and by which model."""

    buildings: Path
    """File of buildings, as `damagenet assess` takes it."""
    out: Path
    """GeoJSON file to write, for QGIS and for --labels of `summarise` and `adapt`."""
    id_field: str | None = None
    """Column of --buildings with unique ids; without one uid, id or fid, else the row number."""
    n: Annotated[int, Field(ge=1)] = 50
    """How many buildings to suggest beside those in --labels."""
    random: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Share of them that is drawn at random, for calibration and totals; the rest is chosen."""
    labels: Path | None = None
    """Labels that exist (an earlier --out, filled in): kept, and not suggested again."""
    model: str = AUTO
    """Bundle: a shipped name (see `damagenet models`) or a folder; auto takes harvey-event, and
    harvey-pair with --pre."""
    pre: Path | None = None
    """Picture of the same ground before the storm, or a folder of such, as `assess --pre`."""
    bands: Bands = None
    """Bands to read as red, green, blue, counted from 1, as in 3,2,1."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of all draws; the same seed suggests the same buildings."""
    device: Device = "auto"
    """Where the network runs: auto, cpu, cuda or cuda:N."""

    @field_validator("out")
    @classmethod
    def _check_out(cls, value: Path) -> Path:
        if value.suffix.lower() != ".geojson":
            raise ValueError("the file to write ends in .geojson")
        return value

    @property
    def looking(self) -> AssessOptions:
        """How scenes and buildings are looked at: as an assessment with these options does."""
        return AssessOptions(
            buildings=self.buildings,
            id_field=self.id_field,
            model=self.model,
            pre=self.pre,
            bands=self.bands,
            device=self.device,
        )
