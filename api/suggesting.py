"""A job of the process `suggest`: the units most worth labelling next, added to the labels."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from api.bundles import model_folder
from api.folders import JobFolder
from api.followed import picture_before
from api.label_units import read_units
from api.labels import (
    Label,
    last_round,
    locked_labels,
    read_label_rows,
    read_labels,
    write_labels,
)
from api.orders import Order
from api.schemas import StepInTime
from damagenet.adapt.label_file import RANDOM
from damagenet.adapt.suggest import Suggestions, suggest_buildings
from damagenet.adapt.suggest_options import SuggestOptions

PLAN, SUGGESTED = "plan.json", "suggested.geojson"


def suggest_job(order: Order, tell: Callable[[StepInTime], None]) -> dict[str, Any]:
    """Suggest units of a finished assessment, add them to its labels, and say what was done.

    The network looks without a lock; labels that arrive meanwhile are kept. A second try after a
    runner died adds the same units once.

    Args:
        order: Options are `assessment` (its id), `n`, `seed`, `random`, `model` and `bands`.
        tell: Called after each piece of a scene.

    Raises:
        DamageNetError: As `suggest_buildings` does; 404 if the assessment is gone.
    """
    source = JobFolder(root=order.root.with_name(order.options["assessment"]))
    place = order.folder.results
    if not (place / PLAN).exists():
        found = _look(order, source, place, tell)
        (place / PLAN).write_text(found.model_dump_json(), encoding="utf-8")
    plan = Suggestions.model_validate_json((place / PLAN).read_text(encoding="utf-8"))
    suggested = {row.unit_id: row for row in read_label_rows(place / SUGGESTED)}
    with locked_labels(source):
        rows = merged(read_labels(source), suggested, plan)
        write_labels(source, rows)
    first = plan.buildings[0].unit_id if plan.buildings else ""
    return {
        "assessment": order.options["assessment"],
        "round": next((row.round for row in rows if row.unit_id == first), None),
        "suggested": len(plan.buildings),
        "random": plan.drawn(RANDOM),
        "judged": plan.judged,
        "kept": plan.kept,
        "newly_random": list(plan.newly_random),
        "notes": list(plan.notes),
    }


def merged(rows: Sequence[Label], suggested: Mapping[str, Label], plan: Suggestions) -> list[Label]:
    """Return the labels as they are now with a suggestion that was made of earlier ones.

    Args:
        rows: The labels now.
        suggested: All rows of the suggestion's file, by unit.
        plan: Which of them are new, and which are now drawn at random.
    """
    known = {row.unit_id: row for row in rows}
    number = last_round(rows) + 1
    for unit_id in plan.newly_random:
        row = known.get(unit_id, suggested[unit_id].model_copy(update={"label": None}))
        drawn = {"drawn": RANDOM, "drawn_of": suggested[unit_id].drawn_of}
        known[unit_id] = row.model_copy(update=drawn)
    for one in plan.buildings:
        now = known.get(one.unit_id, Label(unit_id=one.unit_id))
        if now.rank is not None:
            continue  # merged before, or suggested by another round meanwhile
        said = {"round": number, "label": now.label, "by": now.by, "when": now.when}
        known[one.unit_id] = suggested[one.unit_id].model_copy(update=said)
    return list(known.values())


def _look(
    order: Order, source: JobFolder, place: Path, tell: Callable[[StepInTime], None]
) -> Suggestions:
    """Let the network look at all units and write what it suggests into a folder of the job."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    units, labels = place / "units.parquet", place / "labels.geojson"
    read_units(source.results).frame.to_parquet(units)
    if source.labels.exists():
        # A copy: the file is replaced as a whole, and may be while the network looks.
        shutil.copy(source.labels, labels)
    asked = order.options
    scenes = order.folder.files("image")
    options = SuggestOptions(
        buildings=units,
        id_field="unit_id",
        out=place / SUGGESTED,
        labels=labels if labels.exists() else None,
        n=asked["n"],
        random=asked["random"],
        seed=asked["seed"],
        model=str(model_folder(asked["model"], order.models)),
        pre=picture_before(order.folder),
        bands=asked.get("bands"),
        device=order.device,
    )

    def hear(number: int, done: int, units: int) -> None:
        tell(
            StepInTime(
                stage="suggesting",
                scene=scenes[number - 1].name,
                number=number,
                scenes=len(scenes),
                units_done=done,
                units_total=units,
            )
        )

    return suggest_buildings(scenes, options, progress=hear)
