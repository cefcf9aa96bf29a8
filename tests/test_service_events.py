"""Streams of events: they end with the key that opened them, and with the database."""

import threading

import pytest
from fastapi.testclient import TestClient
from service import LAPTOP, PATIENCE_S, client_of
from sqlalchemy.exc import OperationalError

from api.guard import COOKIE
from api.store import keys
from api.store.jobs import JobStore, NewJob


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "REMEMBERED_S", 0.2)
    with client_of(LAPTOP.settings(tmp_path, require_keys=True)) as client:
        yield client


def follow(client: TestClient, headers: dict[str, str]) -> tuple[threading.Thread, list[str]]:
    """Open a stream of a new job with a key; return who reads it and what was read."""
    service = client.app.state.service
    owner = headers.get("X-API-Key", headers.get("Owner", "")).split("_")[1]
    job = service.jobs.create(NewJob(process="assess", owner=owner, options={}, inputs={}))
    read: list[str] = []

    def listen() -> None:
        read.append(client.get(f"/v1/assessments/{job.id}/events", headers=headers).text)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    return listener, read


@pytest.mark.parametrize("by_cookie", [False, True])
def test_a_stream_ends_when_its_key_is_revoked(client, by_cookie):
    store = client.app.state.service.keys
    key = store.add("watcher")
    headers = {"X-API-Key": key.text}
    if by_cookie:
        headers = {"Cookie": f"{COOKIE}={store.open_session(key.id)}", "Owner": key.text}
    listener, read = follow(client, headers)
    listener.join(2)
    assert listener.is_alive()
    store.revoke(key.id)
    listener.join(PATIENCE_S)
    assert not listener.is_alive()
    assert read[0].count("event: status") == 1


def test_a_stream_ends_where_nobody_can_tell_how_the_job_goes(client, monkeypatch):
    key = client.app.state.service.keys.add("watcher")
    listener, read = follow(client, {"X-API-Key": key.text})
    listener.join(1)
    assert listener.is_alive()

    def away(*_arguments: object) -> None:
        raise OperationalError("", None, Exception("away"))

    monkeypatch.setattr(JobStore, "get", away)
    listener.join(PATIENCE_S)
    assert not listener.is_alive()
    assert read[0].count("event: status") == 1
