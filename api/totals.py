"""How many units of a finished assessment are damaged, with what its labels say of the model."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event
from uuid import uuid4

from api.folders import JobFolder, ServiceFolders
from api.inspection import inspect_upload
from api.labels import DAMAGED, FIELD, UNDAMAGED, read_labels
from api.names import clean_name
from api.problems import ServiceError
from api.schemas import Answer
from api.settings import ServiceSettings
from damagenet.errors import DamageNetError
from damagenet.outputs.totals import AreaTotal, Situation
from damagenet.totals.options import SummariseOptions
from damagenet.totals.summarise import read_areas_of, summarise_results
from damagenet.totals.verdicts import read_verdicts


class AssessmentTotals(Answer):
    """Damaged units per area with 95 % intervals, as `damagenet summarise` counts them."""

    assessment: str
    situation: Situation
    """Whether labels drawn at random carry the totals, or the error rates of the model's card."""
    headline: str
    sentence: str
    """The whole run's total in one sentence."""
    guarantee: str
    """When the intervals hold, and what is missing where they may not."""
    notes: tuple[str, ...]
    kind: str
    """building or cell"""
    model: str
    rows: tuple[AreaTotal, ...]
    """Areas in the order of their file, `outside` where units lie in none, and `all`."""


def count_totals(
    folder: JobFolder,
    assessment: str,
    areas: Path | None = None,
    *,
    area_id_field: str | None = None,
    share: bool = False,
) -> AssessmentTotals:
    """Count the damaged units of an assessment, with the labels that it has now.

    Args:
        folder: Of the assessment.
        assessment: Its id, for the answer.
        areas: File of polygons; without one the whole run is counted.
        area_id_field: Column with the ids of the areas.
        share: Let areas with few labels borrow from the whole run.

    Raises:
        ServiceError: 422 if the areas cannot be used, or fit no unit.
    """
    said = [row for row in read_labels(folder) if row.label is not None]
    options = SummariseOptions(areas=areas, area_id_field=area_id_field, share=share)
    if said:
        words = {"field": FIELD, "damaged": (DAMAGED,), "undamaged": (UNDAMAGED,)}
        labels = {"labels": folder.labels, "id_field": "unit_id", **words}
        options = SummariseOptions.model_validate(options.model_dump() | labels)
    try:
        totals = summarise_results(read_verdicts(folder.results), read_areas_of(options), options)
    except DamageNetError as err:
        raise ServiceError(422, _public(str(err), folder, areas)) from err
    told = totals.model_dump(include=set(AssessmentTotals.model_fields))
    notes = tuple(_public(note, folder, areas) for note in totals.notes)
    return AssessmentTotals.model_validate(told | {"assessment": assessment, "notes": notes})


@asynccontextmanager
async def place_for_areas(folders: ServiceFolders, name: str) -> AsyncIterator[Path]:
    """Yield where a file of areas may be written; it is deleted when the block ends.

    Raises:
        ServiceError: 422 if the name cannot be used.
    """
    place, name = folders.uploads / f"{uuid4().hex}.areas", clean_name(name)
    try:
        yield place / name
    finally:
        shutil.rmtree(place, ignore_errors=True)


def inspected_areas(path: Path, settings: ServiceSettings, closing: Event) -> Path:
    """Return the file of areas to use; raise ServiceError as `inspect_upload` does."""
    if not path.exists() or not path.stat().st_size:
        raise ServiceError(422, "no areas were sent: send a file of polygons as the body")
    return inspect_upload(path, "buildings", settings, closing)


def _public(sentence: str, folder: JobFolder, areas: Path | None) -> str:
    if areas is not None:
        sentence = sentence.replace(f"{areas.parent}/", "")
    return folder.public(sentence)
