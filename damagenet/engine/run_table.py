"""Which scenes `DIR/damage.*` is made of, and in which formats."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from damagenet.assessment import Assessment
from damagenet.bundle import model_id
from damagenet.engine.inputs import Inputs
from damagenet.engine.merge import write_merged
from damagenet.engine.parts import finished_assessment, read_assessment, read_key
from damagenet.engine.run_record import RunRecord
from damagenet.errors import OutputError
from damagenet.options import AssessOptions
from damagenet.outputs.layer import VectorLayer

TABLE_FORMATS = ("gpkg", "geojson", "parquet", "csv")

UNLIKE_OPTIONS = ("threshold", "prior", "min_valid", "max_error", "clouds")
"""Options of which a table should hold one value only, else it is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTable:
    """What `DIR/damage.*` has become.

    Attributes:
        files: The files written, none where no scene succeeded.
        warnings: What must be said of them.
        assessments: The scenes that they are made of.
    """

    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()
    assessments: tuple[Assessment, ...] = ()


class Standing(Enum):
    """How the results of a scene stand to the table of a run; values say why they are left out."""

    FITS = ""
    GONE = "their results were removed"
    DAMAGED = "parts of their results are missing or cannot be read, assess them again"
    OTHER_BUILDINGS = "they were assessed with other buildings (or with none)"
    OTHER_IDS = "they were assessed with another --id-field"


def write_run_table(
    out: Path, record: RunRecord, options: AssessOptions, inputs: Inputs
) -> RunTable:
    """Write `DIR/damage.*` over the scenes of all runs with the same buildings and ids.

    Formats that an earlier run wrote are written again, so that no two of them disagree.

    Raises:
        OutputError: If a file cannot be written, or an earlier one not be removed.
    """
    names = list(dict.fromkeys(record.folders().values()))
    standing = {name: _standing(out / name, options, inputs) for name in names}
    found = [read_assessment(out / name) for name in names if standing[name] is Standing.FITS]
    assessments = tuple(one for one in found if one is not None)
    written = [name for name in TABLE_FORMATS if (out / f"damage.{name}").exists()]
    if not assessments:
        # Without names no run has ever written any; other buildings' stays while they stand.
        if names and written and set(standing.values()) == {Standing.GONE}:
            _remove(out / f"damage.{name}" for name in written)
            return RunTable(warnings=("damage.* was removed: no scene of it is left",))
        return RunTable()
    warnings = (*_left_out(standing), *_unlike(assessments))
    try:
        layer = VectorLayer.of_run(assessments)
    except OutputError as err:
        # Each scene has its own files by now: a map of all of them is the smaller loss.
        stale = "; damage.* is that of an earlier run" if written else ""
        told = (*warnings, f"no common map was written: {err}{stale}")
        return RunTable(warnings=told, assessments=assessments)
    formats = [name for name in TABLE_FORMATS if name in options.format or name in written]
    files = write_merged(out, formats, layer, assessments, inputs.buildings)
    return RunTable(files=tuple(files), warnings=warnings, assessments=assessments)


def _standing(folder: Path, options: AssessOptions, inputs: Inputs) -> Standing:
    key = read_key(folder)
    if read_assessment(folder) is None:
        return Standing.GONE
    if key is None:
        return Standing.DAMAGED
    if key.inputs.buildings != inputs.hashes.buildings:
        return Standing.OTHER_BUILDINGS
    if key.options.get("id_field") != options.id_field:
        return Standing.OTHER_IDS
    return Standing.FITS if finished_assessment(folder) is not None else Standing.DAMAGED


def _left_out(standing: Mapping[str, Standing]) -> list[str]:
    """Say which scenes the table leaves out, and why."""
    found = []
    for why in Standing:
        names = sorted(name for name, one in standing.items() if one is why)
        if names and why is not Standing.FITS:
            found.append(f"damage.* leaves out {', '.join(names)}: {why.value}")
    return found


def _unlike(assessments: Sequence[Assessment]) -> list[str]:
    """Say what makes verdicts of one table mean different things."""
    found = []
    models = sorted({model_id(one.card) for one in assessments})
    if len(models) > 1:
        found.append(f"damage.* holds verdicts of different models: {', '.join(models)}")
    for name in UNLIKE_OPTIONS:
        values = dict.fromkeys(getattr(one.options, name) for one in assessments)
        if len(values) > 1:
            told = ", ".join("not given" if one is None else f"{one}" for one in values)
            found.append(
                f"damage.* holds verdicts with different --{name.replace('_', '-')}: {told}"
            )
    return found


def _remove(paths: Iterable[Path]) -> None:
    """Remove tables of earlier runs of which no scene is left; raise OutputError if impossible."""
    try:
        for path in paths:
            path.unlink()
    except OSError as err:
        raise OutputError(f"cannot remove {err.filename}: {err.strerror}") from err
