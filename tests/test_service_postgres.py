"""What PostgreSQL takes otherwise than SQLite: texts with NUL, several writers, its own absence."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from rasters import smooth, write_raster
from service import PATIENCE_S, Shape, client_of, postgresql
from sqlalchemy import create_engine, text

from api.problems import ServiceError
from api.store.jobs import NewJob

STARTERS = 4
START = """
import sys
from api.store.database import Database
print("ready", flush=True)
sys.stdin.readline()
Database(sys.argv[1])
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    shape = Shape(database_url=address)
    with client_of(shape.settings(tmp_path_factory.mktemp("service"))) as client:
        client._transport.raise_server_exceptions = False
        yield client


def test_processes_that_start_together_make_the_tables_once(address):
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    for number in range(3):
        with engine.connect() as connection:
            connection.execute(text(f"create database empty_{number}"))
        url = f"{address.rpartition('/')[0]}/empty_{number}"
        pipe = subprocess.PIPE
        starters = [
            subprocess.Popen((sys.executable, "-c", START, url), stdin=pipe, stdout=pipe, text=True)
            for _ in range(STARTERS)
        ]
        for starter in starters:
            assert starter.stdout.readline() == "ready\n"
        for starter in starters:
            starter.stdin.write("\n")
            starter.stdin.flush()
        for starter in starters:
            starter.communicate(timeout=PATIENCE_S)
        assert [starter.returncode for starter in starters] == [0] * STARTERS
    engine.dispose()


@pytest.mark.parametrize(
    "path", ["/jobs/%00", "/v1/assessments?cursor=MjAyMC0wMS0wMSAA", "/v1/models/%00"]
)
def test_a_text_with_a_nul_is_refused_before_it_gets_there(client, path):
    assert client.get(path).status_code in (404, 422)


def test_uploads_with_a_nul_and_numbers_without_an_end_are_refused(client, tmp_path):
    nul = {"uploads": (None, '{"image": ["\\u0000"]}')}
    assert client.post("/v1/assessments", files=nul).status_code == 404
    scene = write_raster(tmp_path / "a.tif", smooth(128, 128))
    files = {"image": ("a.tif", scene.read_bytes())}
    endless = client.post("/v1/assessments", files=files, data={"pixel_size": "inf"})
    assert endless.status_code == 422
    named = client.post("/v1/assessments", files=files, data={"model": "\x00"})
    assert named.status_code == 422


def test_no_more_jobs_wait_than_may_though_several_write_at_once(client):
    jobs = client.app.state.service.jobs
    made: list[int] = []

    def make() -> None:
        try:
            new = NewJob(process="assess", owner="many", options={}, inputs={})
            jobs.create(new, max_jobs=2)
            made.append(201)
        except ServiceError as err:
            made.append(err.status)

    makers = [threading.Thread(target=make) for _ in range(12)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(PATIENCE_S)
    assert Counter(made) == {201: 2, 429: 10}


def test_a_server_that_is_away_is_said(tmp_path):
    with ExitStack() as last:
        with postgresql() as url:
            client = last.enter_context(client_of(Shape(database_url=url).settings(tmp_path)))
            assert client.get("/v1/assessments").status_code == 200
        for path in ("/v1/assessments", "/metrics", "/jobs"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.headers["content-type"] == "application/problem+json"
        assert client.get("/healthz").status_code == 200
