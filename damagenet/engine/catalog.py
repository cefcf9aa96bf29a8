"""The catalogue of a run's folder, over this run and all earlier ones."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from damagenet.assessment import Assessment
from damagenet.engine.parts import read_assessment
from damagenet.engine.run_record import RunRecord
from damagenet.outputs.stac_collection import read_item, write_catalog


def write_run_catalog(out: Path, record: RunRecord, assessments: Sequence[Assessment]) -> None:
    """Write the STAC Items of a run, and the Collection over all scenes of the folder.

    Scenes that an earlier version assessed, which wrote no Items, get theirs too.

    Raises:
        OutputError: If a file cannot be written.
    """
    stems = list(dict.fromkeys(record.folders().values()))
    if stems:
        write_catalog(out, stems, _to_write(out, stems, assessments))


def _to_write(
    out: Path, stems: Sequence[str], assessments: Sequence[Assessment]
) -> Iterator[Assessment]:
    yield from assessments
    made = {assessment.stem for assessment in assessments}
    for stem in stems:
        if stem not in made and read_item(out / stem) is None:
            earlier = read_assessment(out / stem)
            if earlier is not None:
                yield earlier
