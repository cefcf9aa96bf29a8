"""Methods: HEAD wherever GET is, refusals that name what is allowed, and no label without end."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from service import LAPTOP, client_of
from test_service_health import figure, lines

from api.store.jobs import NewJob

__all__ = ["lines"]
JOB = f"/v1/assessments/{'0' * 32}"


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    with client_of(LAPTOP.settings(tmp_path_factory.mktemp("service"))) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (JOB, "DELETE, GET, HEAD"),
        ("/v1/assessments", "GET, HEAD, POST"),
        (f"/v1/uploads/{'0' * 32}", "DELETE, GET, HEAD, PUT"),
        ("/v1/predict", "POST"),
        ("/healthz", "GET, HEAD"),
        ("/ui/index.html", "GET, HEAD"),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "FOO123"])
def test_a_method_that_an_address_lacks_is_answered_by_those_it_has(client, method, path, allowed):
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/collections", "/v1/assessments", "/metrics", "/openapi.json", JOB]
)
def test_head_is_get_without_a_body(client, path):
    got, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


def test_head_where_nothing_can_be_got_is_no_method(client):
    assert client.head("/v1/predict").status_code == 405


def test_head_of_a_stream_of_events_ends_at_once(client):
    store = client.app.state.service.jobs
    job = store.create(NewJob(process="assess", owner="local", options={}, inputs={}))
    head = client.head(f"/v1/assessments/{job.id}/events")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")
    uses = client.app.state.service.limits._uses.values()
    assert [use.at_a_time for use in uses] == [0]
    assert client.delete(f"/v1/assessments/{job.id}").status_code == 200


def test_methods_that_there_are_not_are_one_label_and_one_word_in_the_log(client, lines):
    for number in range(20):
        assert client.request(f"M{number}", "/healthz").status_code == 405
    client.head("/healthz")
    text = client.get("/metrics").text
    route = 'route="/healthz"'
    assert figure(text, f'damagenet_requests_total{{method="OTHER",{route},status="405"}}') >= 20
    assert figure(text, f'damagenet_requests_total{{method="HEAD",{route},status="200"}}') >= 1
    assert "M19" not in text
    told = [line["method"] for line in lines() if line["event"] == "request"]
    assert told == ["OTHER"] * 20 + ["HEAD", "GET"]
