"""`SummariseOptions`: every option of `damagenet summarise`, said once."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from damagenet.errors import ConfigError
from damagenet.evaluation.survey_options import LabelOptions, require_named

OWN_LABELS = 30
"""Random labels from which on an area borrows nothing from the whole run."""


class SummariseOptions(LabelOptions):
    """Which areas are counted, with which labels, and where the totals go."""

    areas: Path | None = None
    """File of areas (polygons) to count in; without one, the whole run is one area."""
    area_id_field: str | None = None
    """Column of --areas with unique ids; without one area_id, geoid, id or name, else the row."""
    labels: Path | None = None
    """File of labelled buildings of this event; those drawn at random calibrate the totals."""
    share: bool = False
    """Let areas with few labels borrow from the whole run, as if the model erred alike in all."""
    own_labels: Annotated[int, Field(ge=1)] = OWN_LABELS
    """Random labels of its own from which on an area borrows nothing, with --share."""
    out: Path | None = None
    """Folder of the totals; without one the folder totals in RESULTS."""
    report: bool = True
    """Show the totals on the first screen of every report.html in RESULTS."""
    overwrite: bool = False
    """Replace totals that are in the folder already."""


def require_together(options: SummariseOptions) -> None:
    """Check what no single option can: that nothing is asked for that would be ignored.

    Raises:
        ConfigError: If an option lacks the one that it belongs to.
    """
    if options.labels is None:
        for name in LabelOptions.model_fields:
            if getattr(options, name):
                raise ConfigError(f"--{name.replace('_', '-')} needs --labels: name the file too")
    else:
        require_named(options, ("field", "damaged"), to="to read --labels")
    if options.area_id_field is not None and options.areas is None:
        raise ConfigError("--area-id-field needs --areas: name the file too")
