"""What Prometheus may ask: requests as they were answered, and jobs as the table has them."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from api.store.database import Database, now, utc
from api.store.tables import ACCEPTED, DISMISSED, FAILED, RUNNING, SUCCESSFUL, Job

STATUSES = (ACCEPTED, RUNNING, SUCCESSFUL, FAILED, DISMISSED)
RECENT = dt.timedelta(hours=1)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper ends of the histogram; an upload or a stream of events lasts minutes."""


class Metrics:
    """The figures of one application, since it started."""

    def __init__(self, database: Database) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "damagenet_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "damagenet_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._registry.register(JobFigures(database))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request that was answered."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)


class JobFigures(Collector):
    """Figures of the jobs table, looked up when they are asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Return nothing, so that nobody asks the database before there is a need."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures, of all callers together."""
        moment = now()
        with self._database.transaction() as session:
            counted = session.execute(select(Job.status, func.count()).group_by(Job.status))
            by_status = {row[0]: row[1] for row in counted}
            oldest = session.scalar(select(func.min(Job.created)).where(Job.status == ACCEPTED))
            ended = session.execute(
                select(Job.result, Job.started, Job.finished).where(
                    Job.status == SUCCESSFUL, Job.finished >= moment - RECENT
                )
            ).all()
        jobs = GaugeMetricFamily("damagenet_jobs", "Jobs by status.", labels=["status"])
        for status in STATUSES:
            jobs.add_metric([status], by_status.get(status, 0))
        yield jobs
        yield GaugeMetricFamily(
            "damagenet_queue_length", "Jobs that wait for a worker.", by_status.get(ACCEPTED, 0)
        )
        yield GaugeMetricFamily(
            "damagenet_queue_oldest_seconds",
            "How long the first of them has been waiting.",
            (moment - utc(oldest)).total_seconds() if oldest else 0,
        )
        yield GaugeMetricFamily(
            "damagenet_units_per_second",
            "Units judged per second of work, over the assessments that ended in the last hour.",
            _rate((result, started, finished) for result, started, finished in ended),
        )


Ended = tuple[dict[str, Any] | None, dt.datetime | None, dt.datetime | None]


def _rate(ended: Iterable[Ended]) -> float:
    units, seconds = 0, 0.0
    for result, started, finished in ended:
        counts = (result or {}).get("counts")
        if counts and started and finished:
            units += counts["units"]
            seconds += (finished - started).total_seconds()
    return units / seconds if seconds else 0.0
