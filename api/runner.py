"""The runner: a process of its own that does one job after the other and keeps models loaded.

`python -m api.runner` reads orders from stdin and answers on stdout. Its worker may kill it at any
moment; what it has finished stays in the job's folder, and the next runner goes on from there.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TextIO

from api.adapting import adapt_job
from api.assessing import assess_job
from api.bundles import without_folders
from api.folder_lock import alone_in
from api.hardening import harden_gdal
from api.logs import set_up_logs
from api.orders import Order, Told
from api.problems import Problem, problem_of
from api.schemas import StepInTime
from api.suggesting import suggest_job
from damagenet.errors import DamageNetError

logger = logging.getLogger(__name__)

Tell = Callable[[StepInTime], None]

PROCESSES: dict[str, Callable[[Order, Tell], dict[str, Any]]] = {
    "adapt": adapt_job,
    "assess": assess_job,
    "suggest": suggest_job,
}
"""What a runner can do, by the job's process: takes an order, returns the job's result."""


def main() -> None:
    """Do orders until stdin ends, which it does when the worker does."""
    answers = _private_stdout()
    set_up_logs(logging.WARNING)
    harden_gdal()
    orders = _listen()
    while True:
        told = run_order(orders.get(), lambda step: _say(answers, Told(progress=step)))
        _say(answers, told)


def run_order(order: Order, tell: Tell) -> Told:
    """Do one job and return its result, or its problem without any path of the server."""
    try:
        # A runner whose worker died may still be ending; it holds the folder until then.
        with alone_in(order.root):
            return Told(result=PROCESSES[order.process](order, tell))
    except DamageNetError as error:
        problem = problem_of(error)
        return Told(problem=without_paths(problem, order))
    except Exception:
        logger.exception("job %s failed", order.job_id)
        detail = "the service failed at this job: its log tells why"
        return Told(problem=Problem(title="Internal Server Error", status=500, detail=detail))


def without_paths(problem: Problem, order: Order) -> Problem:
    """Return a problem whose sentence names files as the caller does."""
    text = without_folders(order.folder.public(problem.detail), order.models)
    return problem.model_copy(update={"detail": text})


def _private_stdout() -> TextIO:
    """Return the pipe to the worker; what libraries print goes to stderr from now on."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(pipe, "w", encoding="utf-8")


def _say(answers: TextIO, told: Told) -> None:
    answers.write(told.model_dump_json(exclude_none=True) + "\n")
    answers.flush()


def _listen() -> "SimpleQueue[Order]":
    """Return the orders as they come; the process ends with its worker, also amid a job."""
    orders: SimpleQueue[Order] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            orders.put(Order.model_validate_json(line))
        # Nobody is left who could take a result.
        os._exit(0)

    threading.Thread(target=read, daemon=True, name="orders").start()
    return orders


if __name__ == "__main__":
    main()
