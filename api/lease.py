"""A worker's lease on one job: given signs of life, it stays; without them others take over."""

import logging
import time

from sqlalchemy.exc import SQLAlchemyError

from api.schemas import StepInTime
from api.store.jobs import JobStore

logger = logging.getLogger(__name__)

ASK_S = 0.4
"""How soon a worker notices that its job was dismissed."""
WRITE_S = 1.0
"""How often progress is written, at most."""


class LostJobError(Exception):
    """The job was dismissed, or went to another worker."""


class Lease:
    """Keeps one job for one worker.

    Args:
        jobs: The jobs table.
        job_id: The job, claimed just now.
        worker: Who claimed it.
        lease_s: Seconds without a sign after which others may take it.
    """

    def __init__(self, jobs: JobStore, job_id: str, worker: str, *, lease_s: float) -> None:
        self._jobs, self._job_id, self._worker, self._lease_s = jobs, job_id, worker, lease_s
        self._step: StepInTime | None = None
        self._untold = False
        self._asked = self._renewed = time.monotonic()

    def keep(self, step: StepInTime | None) -> None:
        """Note how far the job is, if that is new, and give a sign where it is time.

        Raises:
            LostJobError: If it is this worker's no more, or the database was silent for so long.
        """
        if step is not None:
            self._step, self._untold = step, True
        moment = time.monotonic()
        if moment - self._asked < ASK_S:
            return
        self._asked = moment
        try:
            held = self._renew() if self._due(moment) else self._holds()
        except SQLAlchemyError as err:
            if moment - self._renewed > self._lease_s:
                # By now another worker may have begun: two must not write into one folder.
                raise LostJobError from err
            logger.warning("the database does not answer (%s)", type(err).__name__)
            return
        if not held:
            raise LostJobError

    def _due(self, moment: float) -> bool:
        since = moment - self._renewed
        return since > self._lease_s / 3 or (self._untold and since > WRITE_S)

    def _holds(self) -> bool:
        return self._jobs.holds(self._job_id, self._worker)

    def _renew(self) -> bool:
        begun = time.monotonic()
        progress = None if self._step is None else self._step.model_dump()
        held = self._jobs.renew(
            self._job_id, self._worker, lease_s=self._lease_s, progress=progress
        )
        self._renewed, self._untold = begun, False
        return held
