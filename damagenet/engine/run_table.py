"""Which scenes `DIR/damage.*` is made of, and in which formats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from damagenet.assessment import Assessment
from damagenet.bundle import model_id
from damagenet.engine.inputs import Inputs
from damagenet.engine.merge import write_merged
from damagenet.engine.parts import read_assessment, read_key
from damagenet.engine.run_record import RunRecord
from damagenet.errors import OutputError
from damagenet.options import AssessOptions
from damagenet.outputs.layer import VectorLayer

TABLE_FORMATS = ("gpkg", "geojson", "parquet", "csv")


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


def write_run_table(
    out: Path, record: RunRecord, options: AssessOptions, inputs: Inputs
) -> RunTable:
    """Write `DIR/damage.*` over the scenes of all runs with the same buildings.

    Formats that an earlier run wrote are written again, so that no two of them disagree.

    Raises:
        OutputError: If a file cannot be written.
    """
    folders = list(dict.fromkeys(record.folders().values()))
    alike = [name for name in folders if _same_buildings(out / name, inputs)]
    found = [read_assessment(out / name) for name in alike]
    assessments = tuple(one for one in found if one is not None)
    if not assessments:
        return RunTable()
    warnings = _warnings(assessments, left_out=set(folders) - set(alike))
    try:
        layer = VectorLayer.of_run(assessments)
    except OutputError as err:
        # Each scene has its own files by now: a map of all of them is the smaller loss.
        told = (*warnings, f"no common map was written: {err}")
        return RunTable(warnings=told, assessments=assessments)
    formats = [
        name
        for name in TABLE_FORMATS
        if name in options.format or (out / f"damage.{name}").exists()
    ]
    files = write_merged(out, formats, layer, assessments, inputs.buildings)
    return RunTable(files=tuple(files), warnings=warnings, assessments=assessments)


def _same_buildings(folder: Path, inputs: Inputs) -> bool:
    key = read_key(folder)
    return key is not None and key.inputs.buildings == inputs.hashes.buildings


def _warnings(assessments: Sequence[Assessment], *, left_out: set[str]) -> tuple[str, ...]:
    warnings = []
    if left_out:
        warnings.append(
            f"damage.* leaves out {', '.join(sorted(left_out))}: "
            "they were assessed with other buildings (or with none)"
        )
    models = sorted({model_id(one.card) for one in assessments})
    if len(models) > 1:
        warnings.append(f"damage.* holds verdicts of different models: {', '.join(models)}")
    return tuple(warnings)
