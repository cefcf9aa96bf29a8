"""A job of the process `adapt`: a bundle fitted to an event by the labels of an assessment."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from api.bundles import model_folder
from api.followed import CARRIED, picture_before
from api.labels import DAMAGED, FIELD, UNDAMAGED
from api.models import check_name, taken
from api.orders import Order
from api.schemas import StepInTime
from damagenet.adapt.adapt import adapt
from damagenet.adapt.options import AdaptOptions
from damagenet.adapt.report import AdaptReport
from damagenet.bundle import CARD_FILE, read_card
from damagenet.config import make_settings

TOLD_FROM = 0.15
"""Share of the work from which its pace tells how long the rest takes: whether more than the head
learns is known then."""
LEFT_OUT = {"bundle", "command"}
"""Fields of the report that speak of the server."""


def adapt_job(order: Order, tell: Callable[[StepInTime], None]) -> dict[str, Any]:
    """Adapt a bundle to the job's scenes by its labels, and return what that changed.

    Args:
        order: Options are `assessment` (whose labels they are), `name`, `learn`, `seed`, `model`
            (the base) and those of an assessment that say how scenes are read.
        tell: Called at each step; `units_done` of it are percent.

    Raises:
        DamageNetError: As `adapt` does; 409 if there is a model of the name.
    """
    name = order.options["name"]
    out = order.models / name
    order.models.mkdir(parents=True, exist_ok=True)
    try:
        # Two jobs of one name would each replace the other's files.
        with FileLock(order.models / f".{name}.lock", timeout=0):
            report = _adapt(order, out, tell)
    except Timeout:
        raise taken(name) from None
    return {
        "assessment": order.options["assessment"],
        "name": name,
        **report.model_dump(mode="json", exclude=LEFT_OUT),
    }


def _adapt(order: Order, out: Path, tell: Callable[[StepInTime], None]) -> AdaptReport:
    command = f"adaptation {order.job_id} of assessment {order.options['assessment']}"
    ours = (out / CARD_FILE).exists() and read_card(out).command == command
    if not ours:
        check_name(out.name, order.models)
    base = model_folder(order.options["model"], order.models)
    carried = {key: order.options[key] for key in CARRIED if key in order.options}
    values = carried | {
        "labels": order.folder.labels,
        "field": FIELD,
        "damaged": (DAMAGED,),
        "undamaged": (UNDAMAGED,),
        "id_field": "unit_id",
        "model": str(base),
        "pre": picture_before(order.folder) if "pre" in read_card(base).inputs else None,
        "out": out,
        "learn": order.options["learn"],
        "seed": order.options["seed"],
        # A runner that died after the last step may have left this very bundle.
        "overwrite": ours,
    }

    begun = time.monotonic()

    def hear(share: float) -> None:
        rest = (time.monotonic() - begun) * (1 - share) / share if share > TOLD_FROM else None
        step = {"units_done": round(100 * share), "units_total": 100, "seconds_left": rest}
        tell(StepInTime.model_validate({"stage": "adapting", "number": 1, "scenes": 1, **step}))

    options = make_settings(AdaptOptions, values, source="options of the adaptation")
    return adapt(order.folder.files("image"), options, command=command, progress=hear)
