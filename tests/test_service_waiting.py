"""Requests that wait: others are answered meanwhile, and none is accepted after a refusal."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from rasters import box, frame_of, smooth, write_raster
from service import LAPTOP, PATIENCE_S, children, client_of, serve, until
from sqlalchemy.exc import OperationalError

from api import accepting, inspecting
from api.problems import ServiceError
from api.store.jobs import NewJob

ADDRESS = "/v1/assessments"
MANY = 44
"""More than the threads of the pool that all routes share."""


@pytest.fixture
def client(tmp_path) -> Iterator[TestClient]:
    with client_of(LAPTOP.settings(tmp_path / "service")) as client:
        yield client


@pytest.fixture(scope="module")
def form(tmp_path_factory) -> dict[str, tuple[str, bytes]]:
    """Return a scene with buildings, which a child process counts."""
    folder = tmp_path_factory.mktemp("sent")
    scene = write_raster(folder / "a.tif", smooth(128, 128))
    frame_of([box(8 * n, 0, 8 * n + 6, 6) for n in range(3)]).to_file(folder / "b.geojson")
    return {
        "image": ("a.tif", scene.read_bytes()),
        "buildings": ("b.geojson", (folder / "b.geojson").read_bytes()),
    }


def together(number: int, work: Callable[[], object]) -> list[threading.Thread]:
    """Begin to do something several times at once."""
    threads = [threading.Thread(target=work, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads


def folders(client: TestClient) -> list[Path]:
    return list(client.app.state.service.folders.data_dir.glob("jobs/*"))


def test_uploads_that_wait_for_their_inspection_keep_nobody_else_waiting(client, monkeypatch, form):
    go_on, inside = threading.Event(), threading.Semaphore(0)

    def looked_into(*_arguments: object) -> None:
        inside.release()
        assert go_on.wait(PATIENCE_S)
        raise ServiceError(422, "looked into")

    for name in ("_announced", "inspect_upload"):
        monkeypatch.setattr(accepting, name, looked_into)
    answers: list[int] = []
    execution = {"inputs": {"image": {"href": f"/v1/uploads/{'0' * 32}"}}}

    def send() -> None:
        answers.append(client.post(ADDRESS, files=form).status_code)

    def execute() -> None:
        answers.append(client.post("/processes/assess/execution", json=execution).status_code)

    senders = together(MANY // 2, send) + together(MANY // 2, execute)
    for _ in range(inspecting.THREADS):
        assert inside.acquire(timeout=PATIENCE_S)
    (asking,) = together(1, lambda: answers.append(client.get(ADDRESS).status_code))
    asking.join(PATIENCE_S)
    assert answers == [200]
    go_on.set()
    for sender in senders:
        sender.join(PATIENCE_S)
    assert Counter(answers) == {200: 1, 422: MANY}
    assert folders(client) == []


def test_no_more_jobs_wait_than_may_however_many_are_asked_for_at_once(tmp_path, monkeypatch):
    with client_of(LAPTOP.settings(tmp_path, max_jobs=3)) as client:
        service = client.app.state.service
        made: list[int] = []

        def make() -> None:
            try:
                new = NewJob(process="assess", owner="local", options={}, inputs={})
                service.jobs.create(new, max_jobs=3)
                made.append(201)
            except ServiceError as err:
                made.append(err.status)

        for thread in together(12, make):
            thread.join(PATIENCE_S)
        assert Counter(made) == {201: 3, 429: 9}
        assert len(service.jobs.waiting("local")) == 3


def test_an_inspection_ends_with_the_service_and_makes_no_job(client, monkeypatch, form, tmp_path):
    sleeper, pid = tmp_path / "sleeper", tmp_path / "pid"
    sleeper.write_text(f"#!/bin/sh\necho $$ > {pid}\nexec sleep 600\n", encoding="utf-8")
    sleeper.chmod(0o755)
    monkeypatch.setattr("api.vector_inspection.sys.executable", str(sleeper))
    answers = []
    (sender,) = together(1, lambda: answers.append(client.post(ADDRESS, files=form)))
    child = until(lambda: pid.exists() and pid.read_text(encoding="utf-8").strip(), "a child")
    assert Path(f"/proc/{child}").exists()
    client.app.state.closing.set()
    sender.join(PATIENCE_S)
    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (503, "10")
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert not Path(f"/proc/{child}").exists()
    assert client.get(ADDRESS).json()["jobs"] == []
    assert folders(client) == []
    assert client.post(ADDRESS, files=form).status_code == 503


def test_serve_answers_an_upload_amid_its_inspection_before_it_ends(tmp_path, form):
    answers = []
    with serve(LAPTOP, tmp_path, "--no-worker") as served:
        (sender,) = together(1, lambda: answers.append(served.client.post(ADDRESS, files=form)))
        (child,) = until(lambda: children(served.process.pid), "the child that counts buildings")
        served.process.terminate()
        sender.join(PATIENCE_S)
        assert served.process.wait(30) == 0
        assert "Traceback" not in served.log.read_text(encoding="utf-8")
    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (503, "10")
    assert not Path(f"/proc/{child}").exists()
    with client_of(LAPTOP.settings(tmp_path)) as client:
        assert client.get(ADDRESS).json()["jobs"] == []
        assert folders(client) == []


def test_the_files_of_a_job_that_was_made_stay_when_its_answer_fails(client, monkeypatch, form):
    def away(*_arguments: object) -> None:
        raise OperationalError("", None, Exception("connection lost"))

    monkeypatch.setattr(accepting, "announce", away)
    answer = client.post(ADDRESS, files=form)
    assert answer.status_code == 503
    (job,) = client.get(ADDRESS).json()["jobs"]
    assert [path.name for path in folders(client)] == [job["jobID"]]


def test_a_job_that_follows_is_counted_where_it_is_made(client):
    service = client.app.state.service
    new = NewJob(process="suggest", owner="local", options={}, inputs={})
    with pytest.raises(ServiceError, match=r"0 jobs wait or run already \(max_jobs\)") as caught:
        service.jobs.create(new, max_jobs=0)
    assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "30"})
    assert not service.jobs.is_kept(new.id)
