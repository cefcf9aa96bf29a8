"""The worker: takes jobs, watches over the runner that does them, and tells the jobs table.

It loads no model and computes nothing, so it always hears when a job is dismissed, and can end
the runner at once. If the worker itself dies, its lease runs out and another one goes on.
"""

import logging
import os
import signal
import socket
import sys
import time
from uuid import uuid4

from sqlalchemy.exc import SQLAlchemyError

from api.folders import ServiceFolders
from api.lease import Lease, LostJobError
from api.leftovers import clear_leftovers
from api.logs import set_up_logs
from api.orders import Order, Told
from api.problems import ServiceError
from api.queue import JobQueue
from api.runner_process import RunnerEndedError, RunnerProcess
from api.settings import ServiceSettings, read_service_settings
from api.store.database import Database
from api.store.jobs import JobStore
from api.store.tables import Job
from api.store.uploads import UploadStore

logger = logging.getLogger(__name__)

TICK_S = 0.4
"""How long the worker listens at a time, to the queue or to its runner."""
PAUSE_S = 1.0
"""Wait after the database or the queue did not answer."""
SWEEP_S = 10.0
"""How often, at least, a worker looks for jobs that lost their worker or their message."""
CLEAR_S = 3600.0
"""How often a worker deletes what broken requests left."""
SWEPT_AT_ONCE = 100
"""Waiting jobs that a sweep tells the queue of again."""


class StoppedError(Exception):
    """The worker was told to stop."""


class Worker:
    """One worker with its runner.

    Args:
        settings: Of the service.
        database: Where the jobs are.
        queue: Where jobs are announced.
        parent: Process that started it and with which it ends; None where it stands alone.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        database: Database,
        queue: JobQueue,
        *,
        parent: int | None = None,
    ) -> None:
        self._settings, self._queue, self._parent = settings, queue, parent
        self._jobs, self._uploads = JobStore(database), UploadStore(database)
        self._folders = ServiceFolders.of(settings)
        # No two workers share a name, so a lease says who holds it.
        self._name = f"{socket.gethostname()[:24]}-{uuid4().hex}"
        self._runner: RunnerProcess | None = None
        self._stopping = False
        self._swept = 0.0
        self._cleared = -CLEAR_S

    def run(self) -> None:
        """Do jobs until told to stop; a job under way then goes back to the others."""
        try:
            self._ready_runner()
            while not self._must_stop():
                try:
                    self._sweep()
                    self._take_one()
                except (SQLAlchemyError, ServiceError) as err:
                    logger.warning("database or queue do not answer (%s)", type(err).__name__)
                    time.sleep(PAUSE_S)
        finally:
            self._end_runner()

    def stop(self, *_signal: object) -> None:
        """Let `run` return soon; a signal handler."""
        self._stopping = True

    def _take_one(self) -> None:
        job_id = self._queue.take(TICK_S)
        if job_id is None:
            return
        job = self._jobs.claim(job_id, self._name, lease_s=self._settings.lease_s)
        if job is not None:
            self._attend(job)

    def _attend(self, job: Job) -> None:
        """See one job through: to its end, or until it is lost, or back to the others."""
        try:
            told = self._watch(job)
        except LostJobError:
            self._end_runner()
            self._clear_unwanted(job)
        except StoppedError:
            self._end_runner()
            self._give_back(job, counted=False)
        except RunnerEndedError:
            logger.warning("the runner of job %s ended by itself", job.id)
            self._end_runner()
            self._give_back(job, counted=True)
        else:
            self._finish(job, told)
        self._ready_runner()

    def _watch(self, job: Job) -> Told:
        """Return the last word of the runner; keep the lease until it comes."""
        runner = self._ready_runner()
        runner.send(self._order(job))
        lease = Lease(self._jobs, job.id, self._name, lease_s=self._settings.lease_s)
        while True:
            told = runner.hear(TICK_S)
            if told is not None and told.last:
                return told
            if self._must_stop():
                raise StoppedError
            lease.keep(None if told is None else told.progress)

    def _finish(self, job: Job, told: Told) -> None:
        if told.problem is not None:
            kept = self._jobs.fail(job.id, self._name, told.problem)
        else:
            kept = self._jobs.succeed(job.id, self._name, told.result or {})
        if not kept:
            self._clear_unwanted(job)

    def _clear_unwanted(self, job: Job) -> None:
        """Delete what the runner wrote after a job was dismissed; others' jobs stay."""
        if not self._jobs.is_wanted(job.id):
            self._folders.job(job.id).delete()

    def _give_back(self, job: Job, *, counted: bool) -> None:
        most = self._settings.max_attempts
        if self._jobs.give_back(job.id, self._name, counted=counted, max_attempts=most):
            self._queue.put(job.id)
        else:
            self._clear_unwanted(job)

    def _sweep(self) -> None:
        """Now and then, look for jobs that lost their worker, and for those that lost a message."""
        if time.monotonic() - self._swept < min(self._settings.lease_s / 3, SWEEP_S):
            return
        self._swept = time.monotonic()
        if self._swept > self._cleared + CLEAR_S:
            self._cleared = self._swept
            clear_leftovers(self._folders, self._jobs, self._uploads)
        for job_id in self._jobs.put_back_expired(max_attempts=self._settings.max_attempts):
            logger.warning("job %s had lost its worker and goes on", job_id)
            self._queue.put(job_id)
        if self._queue.empty():
            for job_id in self._jobs.accepted(limit=SWEPT_AT_ONCE):
                self._queue.put(job_id)

    def _order(self, job: Job) -> Order:
        return Order(
            job_id=job.id,
            process=job.process,
            root=self._folders.job(job.id).root,
            models=self._folders.models_of(job.owner),
            options=job.options,
            device=self._settings.device,
            runtime=self._settings.runtime,
        )

    def _ready_runner(self) -> RunnerProcess:
        if self._runner is None or not self._runner.alive:
            self._end_runner()
            self._runner = RunnerProcess()
        return self._runner

    def _end_runner(self) -> None:
        if self._runner is not None:
            self._runner.kill()
        self._runner = None

    def _must_stop(self) -> bool:
        return self._stopping or (self._parent is not None and os.getppid() != self._parent)


def work(settings: ServiceSettings, *, parent: int | None = None) -> None:
    """Work until SIGTERM or SIGINT.

    Args:
        settings: Of the service.
        parent: Process with which to end; None to stand alone.

    Raises:
        ConfigError: If the database or the queue does not answer.
    """
    set_up_logs()
    database = Database(settings.database)
    queue = JobQueue(settings.queue)
    worker = Worker(settings, database, queue, parent=parent)
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGINT, worker.stop)
    try:
        worker.run()
    finally:
        queue.close()
        database.close()


if __name__ == "__main__":
    # As a child of `damagenet serve`, which hands its settings down in the environment.
    work(read_service_settings(), parent=int(sys.argv[1]))
