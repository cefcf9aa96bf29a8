"""Health, figures, logs and the headers of every answer."""

import datetime as dt
import io
import json
import logging
import re
import sqlite3

import pytest
from fastapi import Response
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from test_service_keys import app_with_a_door

from api.headers import NOTHING_POLICY, PAGE_POLICY, REPORT_POLICY
from api.logs import JsonLines, request_id_of
from api.store.database import now
from api.store.tables import Job


@pytest.fixture
def lines():
    """Return what is logged meanwhile, each line parsed."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("api.logs")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


def figure(text: str, name: str) -> float:
    """Return one figure of Prometheus' text, by its name with labels."""
    (found,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
    return float(found.rsplit(" ", 1)[1])


def add_job(app, number: int, **values: object) -> None:
    moment = now()
    plain = {"status": "accepted", "created": moment, "updated": moment, "result": None}
    with app.state.service.database.transaction() as session:
        session.add(
            Job(
                id=f"{number:032x}", process="assess", owner="local", options={}, inputs={},
                **(plain | values),
            )
        )  # fmt: skip


def test_a_service_that_works_is_alive_and_ready(tmp_path):
    with TestClient(app_with_a_door(tmp_path, require_keys=True)) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ok"}


def test_a_service_without_its_table_or_its_folder_is_alive_but_not_ready(tmp_path):
    folder = tmp_path / "service"
    with TestClient(app_with_a_door(folder)) as client:
        with sqlite3.connect(folder / "jobs.sqlite") as file:
            file.execute("DROP TABLE uploads")
            file.execute("DROP TABLE jobs")
        folder.rename(tmp_path / "elsewhere")
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["detail"].startswith(
            "the database does not answer; the data folder cannot be written to"
        )
        assert str(tmp_path) not in answer.text
        assert client.get("/healthz").status_code == 200


def test_requests_are_counted_by_route_and_never_by_address(tmp_path):
    with TestClient(app_with_a_door(tmp_path)) as client:
        for name in ("a", "b", "../../etc/passwd"):
            client.get(f"/v1/models/{name}")
        client.get("/no/such/address")
        text = client.get("/metrics").text
    labels = 'method="GET",route="/v1/models/{name}"'
    assert figure(text, f'damagenet_requests_total{{{labels},status="404"}}') == 2
    assert figure(text, f"damagenet_request_seconds_count{{{labels}}}") == 2
    unmatched = 'damagenet_requests_total{method="GET",route="unmatched",status="404"}'
    assert figure(text, unmatched) == 2
    assert "passwd" not in text


def test_jobs_are_counted_by_status_and_their_rate_is_told(tmp_path):
    app = app_with_a_door(tmp_path)
    with TestClient(app) as client:
        assert figure(client.get("/metrics").text, "damagenet_units_per_second") == 0
        begun, minute = now() - dt.timedelta(minutes=5), dt.timedelta(minutes=1)
        add_job(app, 1, created=begun)
        add_job(app, 2)
        add_job(app, 3, status="successful", started=begun, finished=begun + minute,
                result={"counts": {"units": 1200}})  # fmt: skip
        add_job(app, 4, status="successful", started=begun, finished=begun + minute, result={})
        text = client.get("/metrics").text
    assert figure(text, 'damagenet_jobs{status="accepted"}') == 2
    assert figure(text, 'damagenet_jobs{status="failed"}') == 0
    assert figure(text, "damagenet_queue_length") == 2
    assert 300 <= figure(text, "damagenet_queue_oldest_seconds") < 400
    assert figure(text, "damagenet_units_per_second") == 20


def test_figures_want_a_key_where_keys_are_required(tmp_path):
    app = app_with_a_door(tmp_path, require_keys=True)
    with TestClient(app) as client:
        assert client.get("/metrics").status_code == 401
        headers = {"X-API-Key": app.state.service.keys.add("prometheus", ("read",)).text}
        assert client.get("/metrics", headers=headers).status_code == 200


def test_every_request_is_one_line_with_its_id_and_never_a_key(tmp_path, lines):
    app = app_with_a_door(tmp_path, require_keys=True)
    key = app.state.service.keys.add("county")
    with TestClient(app) as client:
        headers = {"X-API-Key": key.text, "X-Request-ID": "mine-1"}
        answer = client.get("/door?token=secret", headers=headers)
        refused = client.get("/door")
    assert answer.headers["X-Request-ID"] == "mine-1"
    first, second = lines()
    assert first["event"] == "request"
    assert first["ms"] >= 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+\+00:00", first["time"])
    told = {name: first[name] for name in ("request_id", "method", "route", "status", "key")}
    assert told == {
        "request_id": "mine-1", "method": "GET", "route": "/door", "status": 200, "key": key.id,
    }  # fmt: skip
    assert second["key"] is None
    assert second["request_id"] == refused.json()["instance"] == refused.headers["X-Request-ID"]
    assert key.text not in json.dumps(lines())
    assert "secret" not in json.dumps(lines())


@pytest.mark.parametrize("sent", [None, "", "a b", "x" * 65, 'a"b', "a\nb"])
def test_an_id_that_could_spoil_the_log_is_replaced(sent):
    assert re.fullmatch(r"[0-9a-f]{32}", request_id_of(sent))


def test_a_failure_says_nothing_but_the_requests_id_and_has_the_headers_too(tmp_path, lines):
    app = app_with_a_door(tmp_path)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError(f"a secret about {tmp_path}")

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["instance"] == answer.headers["X-Request-ID"]
    assert answer.headers["Content-Security-Policy"] == NOTHING_POLICY
    assert lines()[-1]["status"] == 500


def test_an_error_in_the_log_keeps_its_trace_on_one_line():
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "f", 1, "it %s", ("broke",), True)
        record.exc_info = __import__("sys").exc_info()
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["event"] == "it broke"
    assert "ValueError: first\nsecond" in json.loads(line)["error"]


def test_answers_run_nothing_the_page_its_own_files_and_reports_are_shut_in(tmp_path):
    app = app_with_a_door(tmp_path)
    app.add_api_route("/page.html", lambda: HTMLResponse("<p>page</p>"))
    app.add_api_route("/x/report.html", lambda: HTMLResponse("<script>1</script>"))
    app.add_api_route("/cached", lambda: Response("x", headers={"Cache-Control": "max-age=9"}))
    with TestClient(app) as client:
        policies = [
            client.get(path).headers["Content-Security-Policy"]
            for path in ("/healthz", "/no/such", "/page.html", "/x/report.html")
        ]
        assert policies == [NOTHING_POLICY, NOTHING_POLICY, PAGE_POLICY, REPORT_POLICY]
        plain = client.get("/healthz").headers
        assert plain["X-Content-Type-Options"] == "nosniff"
        assert plain["Cross-Origin-Resource-Policy"] == "same-origin"
        assert plain["Cache-Control"] == "private, no-cache"
        assert client.get("/cached").headers["Cache-Control"] == "max-age=9"


def test_the_page_may_run_no_script_of_its_html_and_the_report_may_ask_nothing():
    page = dict(part.split(" ", 1) for part in PAGE_POLICY.split("; "))
    assert page["script-src"] == "'self'"
    assert page["frame-ancestors"] == "'none'"
    assert "connect-src" not in REPORT_POLICY
    assert "allow-same-origin" not in REPORT_POLICY
