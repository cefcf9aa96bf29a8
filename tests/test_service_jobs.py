"""The jobs table and the queue over SQLite, PostgreSQL and Redis: who gets a job, how often."""

import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from huey import SqliteHuey
from service import postgresql, redis

from api.problems import Problem, ServiceError
from api.queue import JobQueue
from api.store.database import Database
from api.store.jobs import JobStore, NewJob
from damagenet.errors import ConfigError

PROBLEM = Problem(title="Unprocessable Entity", status=422, detail="the scene is empty")


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs(request, tmp_path) -> Iterator[JobStore]:
    """Return an empty jobs table."""
    sqlite = request.param == "sqlite"
    address = f"sqlite:///{tmp_path}/jobs.sqlite" if sqlite else _fresh(request)
    database = Database(address)
    yield JobStore(database)
    database.close()


def _fresh(request) -> str:
    from sqlalchemy import create_engine, text

    url = request.getfixturevalue("postgres_url")
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("drop schema public cascade"))
        connection.execute(text("create schema public"))
    engine.dispose()
    return url


def new(owner: str = "local", **more: object) -> NewJob:
    return NewJob(process="assess", owner=owner, options={}, inputs={}, **more)


def test_of_many_workers_one_gets_a_job(jobs):
    job_id = jobs.create(new()).id
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda n: jobs.claim(job_id, f"w{n}", lease_s=60), range(8)))
    (winner,) = (job for job in claimed if job is not None)
    assert (winner.status, winner.attempts) == ("running", 1)


def test_a_job_ends_once_and_only_by_whom_it_belongs_to(jobs):
    job_id = jobs.create(new()).id
    jobs.claim(job_id, "a", lease_s=60)
    assert not jobs.succeed(job_id, "b", {"by": "b"})
    assert jobs.succeed(job_id, "a", {"by": "a"})
    assert not jobs.succeed(job_id, "a", {"by": "a again"})
    assert not jobs.fail(job_id, "a", PROBLEM)
    job = jobs.get(job_id, "local")
    assert (job.status, job.result, job.worker) == ("successful", {"by": "a"}, None)


def test_an_expired_lease_puts_a_job_back_and_its_old_worker_can_change_nothing(jobs):
    job_id = jobs.create(new()).id
    jobs.claim(job_id, "a", lease_s=0.05)
    assert jobs.renew(job_id, "a", lease_s=0.05, progress={"stage": "assessing"})
    time.sleep(0.1)
    assert jobs.put_back_expired(max_attempts=5) == [job_id]
    assert not jobs.holds(job_id, "a")
    assert jobs.claim(job_id, "b", lease_s=60).attempts == 2
    assert not jobs.renew(job_id, "a", lease_s=60, progress=None)
    assert not jobs.give_back(job_id, "a", counted=True, max_attempts=5)
    assert jobs.put_back_expired(max_attempts=5) == []
    assert jobs.succeed(job_id, "b", {})


def test_a_job_that_was_begun_too_often_fails_with_a_reason(jobs):
    job_id = jobs.create(new()).id
    for attempt in range(1, 3):
        jobs.claim(job_id, "a", lease_s=60)
        assert jobs.give_back(job_id, "a", counted=True, max_attempts=2) is (attempt == 1)
    job = jobs.get(job_id, "local")
    assert job.status == "failed"
    assert "ended 2 times without a word" in job.problem["detail"]


def test_a_worker_that_is_told_to_stop_spends_no_attempt(jobs):
    job_id = jobs.create(new()).id
    for _ in range(3):
        jobs.claim(job_id, "a", lease_s=60)
        assert jobs.give_back(job_id, "a", counted=False, max_attempts=1)
    assert jobs.get(job_id, "local").attempts == 0


def test_a_dismissed_job_is_lost_to_its_worker(jobs):
    job_id = jobs.create(new()).id
    jobs.claim(job_id, "a", lease_s=60)
    assert jobs.dismiss(job_id, "local").status == "dismissed"
    assert not jobs.holds(job_id, "a")
    assert not jobs.is_wanted(job_id)
    assert not jobs.succeed(job_id, "a", {})
    assert jobs.claim(job_id, "b", lease_s=60) is None


def test_jobs_come_in_pages_from_the_newest_and_only_ones_own(jobs):
    made = [jobs.create(new()).id for _ in range(5)]
    jobs.create(new("other"))
    first = jobs.page("local", limit=3)
    second = jobs.page("local", limit=3, cursor=first.cursor)
    assert [job.id for job in (*first.jobs, *second.jobs)] == made[::-1]
    assert second.cursor is None
    jobs.dismiss(made[2], "local")
    assert [job.id for job in jobs.page("local", limit=9, status="dismissed").jobs] == [made[2]]
    with pytest.raises(ServiceError, match="none of this service"):
        jobs.page("local", limit=3, cursor="nonsense")


def test_another_callers_job_looks_like_none(jobs):
    job_id = jobs.create(new("other")).id
    for ask in (jobs.get, jobs.dismiss, jobs.remove):
        with pytest.raises(ServiceError, match="there is no assessment here") as refused:
            ask(job_id, "local")
        assert refused.value.status == 404
    assert jobs.get(job_id, "other").status == "accepted"


def test_an_idempotency_key_finds_its_job_and_refuses_other_content(jobs):
    job_id = jobs.create(new(idempotency_key="k", request_sha256="a")).id
    assert jobs.by_request("local", "k", "a").id == job_id
    assert jobs.by_request("other", "k", "b") is None
    assert jobs.by_request("local", None, "a") is None
    with pytest.raises(ServiceError, match="was used for other files"):
        jobs.by_request("local", "k", "b")
    with pytest.raises(ServiceError, match="is under way"):
        jobs.create(new(idempotency_key="k", request_sha256="a"))


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def queue(request, tmp_path) -> Iterator[JobQueue]:
    """Return an empty queue."""
    if request.param == "sqlite":
        made = JobQueue(f"sqlite:///{tmp_path}/queue.sqlite")
        yield made
        made.close()
    elif request.param == "postgresql":
        made = JobQueue(_fresh(request))
        yield made
        made.close()
    else:
        with redis() as url:
            made = JobQueue(url)
            yield made
            made.close()


def test_messages_come_in_order_and_each_once(queue):
    assert queue.empty()
    for job_id in ("one", "two"):
        queue.put(job_id)
    assert not queue.empty()
    assert [queue.take(0), queue.take(0), queue.take(0)] == ["one", "two", None]


def test_a_message_of_somebody_else_is_passed_over(tmp_path):
    address = f"sqlite:///{tmp_path}/queue.sqlite"
    queue, stranger = (
        JobQueue(address),
        SqliteHuey("damagenet", filename=f"{tmp_path}/queue.sqlite"),
    )
    for junk in (b"no json", b"[1, 2, 3]", b"7", pickle.dumps({"run": "me"})):
        stranger.storage.enqueue(junk)
    queue.put("one")
    assert queue.take(0) == "one"
    queue.close()
    stranger.storage.close()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("redis://127.0.0.1:1/0", "does not answer"),
        ("postgresql://nobody@127.0.0.1:1/none", "does not answer"),
        ("amqp://somewhere", "write redis://HOST or postgresql://"),
    ],
)
def test_a_queue_that_is_not_there_is_named_by_its_setting(address, said):
    with pytest.raises(ConfigError, match=f"DAMAGENET_QUEUE_URL.*{said}"):
        JobQueue(address)
