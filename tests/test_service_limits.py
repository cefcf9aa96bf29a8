"""Nobody may ask more than a fair share: requests a minute, requests at a time."""

import pytest
from fastapi.testclient import TestClient
from rasters import smooth, write_raster
from test_service_keys import app_with_a_door

from api import bodies, limits
from api.chip_limit import check_chips
from api.folders import JobFolder
from api.limits import Limiter
from api.problems import ServiceError
from api.settings import ServiceSettings


class Clock:
    """Seconds that go on when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ask(limiter: Limiter, who: str) -> int:
    """Begin and end one request; return its status."""
    try:
        limiter.begin(who)
    except ServiceError as err:
        return err.status
    limiter.end(who)
    return 200


def test_a_burst_is_free_and_then_the_rate_holds():
    clock = Clock()
    limiter = Limiter(60, 100, clock)  # one a second, ten at once
    assert [ask(limiter, "a") for _ in range(12)] == [200] * 10 + [429] * 2
    clock.now += 2
    assert [ask(limiter, "a") for _ in range(3)] == [200, 200, 429]
    clock.now += 3600
    assert [ask(limiter, "a") for _ in range(11)] == [200] * 10 + [429]


def test_a_refusal_says_when_to_come_back():
    limiter = Limiter(6, 100, Clock())  # one in ten seconds
    limiter.begin("a")
    with pytest.raises(ServiceError, match="6 requests a minute: try again in 10 s") as caught:
        limiter.begin("a")
    assert caught.value.headers == {"Retry-After": "10"}


def test_callers_do_not_use_up_each_others_share():
    limiter = Limiter(6, 100, Clock())
    assert [ask(limiter, who) for who in "aabb"] == [200, 429, 200, 429]


def test_only_so_many_requests_may_be_open_at_a_time():
    limiter = Limiter(6000, 2, Clock())
    limiter.begin("a")
    limiter.begin("a")
    with pytest.raises(ServiceError, match="2 requests at a time"):
        limiter.begin("a")
    limiter.end("a")
    limiter.begin("a")


def test_the_longest_idle_are_forgotten_and_those_with_open_requests_never(monkeypatch):
    monkeypatch.setattr(limits, "CALLERS", 20)
    clock = Clock()
    limiter = Limiter(6, 1, clock)
    limiter.begin("open")
    for number in range(100):
        clock.now += 0.001
        ask(limiter, f"guest {number}")
    assert len(limiter._uses) <= 20
    assert ask(limiter, "open") == 429


def test_a_caller_beyond_the_rate_gets_429_until_the_time_is_over(tmp_path):
    app = app_with_a_door(tmp_path, require_keys=True, requests_per_minute=12)
    with TestClient(app) as client:
        keys = app.state.service.keys
        headers = {"X-API-Key": keys.add("county").text}
        answers = [client.get("/door", headers=headers) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 5
        assert answers[-1].headers["Content-Type"] == "application/problem+json"
        assert client.get("/healthz").status_code == 200


def test_guessing_keys_is_limited_by_address(tmp_path):
    app = app_with_a_door(tmp_path, require_keys=True, requests_per_minute=12)
    with TestClient(app) as client:
        guesses = [client.get("/door", headers={"X-API-Key": f"{n}"}) for n in range(3)]
        assert [answer.status_code for answer in guesses] == [401, 401, 429]


def test_an_answer_counts_as_open_until_its_last_byte(tmp_path):
    app = app_with_a_door(tmp_path, concurrent_requests=1)
    service = app.state.service
    with TestClient(app) as client:
        assert client.get("/door").status_code == 200
        service.limits.begin("address testclient")
        refused = client.get("/door")
        assert refused.status_code == 429
        assert "1 requests at a time" in refused.json()["detail"]
        service.limits.end("address testclient")
        assert client.get("/door").status_code == 200


def test_a_request_that_fails_is_counted_as_answered(tmp_path):
    app = app_with_a_door(tmp_path, require_keys=True, concurrent_requests=1)
    with TestClient(app) as client:
        headers = {"X-API-Key": app.state.service.keys.add("reader", ("read",)).text}
        for _ in range(3):
            assert client.post("/door", headers=headers).status_code == 403
        assert client.get("/door", headers=headers).status_code == 200


def test_more_cells_than_the_limit_are_refused_by_its_name(tmp_path):
    folder = JobFolder(root=tmp_path)
    folder.inputs("image").mkdir(parents=True)
    write_raster(folder.inputs("image") / "a.tif", smooth(300, 300))  # 3 x 3 chips
    write_raster(folder.inputs("image") / "b.tif", smooth(100, 100))  # 1 chip
    check_chips(folder, {}, ServiceSettings(max_chips=10))
    with pytest.raises(ServiceError, match=r"into 10 cells, more than 9 \(max_chips\)") as caught:
        check_chips(folder, {}, ServiceSettings(max_chips=9))
    assert caught.value.status == 413
    with pytest.raises(ServiceError, match="into 235 cells"):
        check_chips(folder, {"stride": 10}, ServiceSettings(max_chips=9))


def test_cells_of_a_picture_without_a_place_are_counted_by_its_pixel_size(tmp_path):
    folder = JobFolder(root=tmp_path)
    folder.inputs("image").mkdir(parents=True)
    path = folder.inputs("image") / "a.tif"
    write_raster(path, smooth(100, 100), transform=None, crs=None)
    check_chips(folder, {}, ServiceSettings(max_chips=1))
    with pytest.raises(ServiceError, match="into 4 cells"):
        check_chips(folder, {"pixel_size": 1}, ServiceSettings(max_chips=1))
    # With buildings, their number counts.
    folder.inputs("buildings").mkdir()
    (folder.inputs("buildings") / "a.gpkg").touch()
    check_chips(folder, {"pixel_size": 1}, ServiceSettings(max_chips=1))


def test_a_body_that_is_held_in_memory_is_small_whether_announced_or_not(tmp_path, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_TEXT_BYTES", 1000)
    app = app_with_a_door(tmp_path)

    @app.post("/echo")
    def echo(numbers: list[int]) -> int:
        return len(numbers)

    def chunks():
        yield b"["
        yield from (b"1," * 100 for _ in range(10))
        yield b"1]"

    with TestClient(app) as client:
        assert client.post("/echo", json=[1] * 100).json() == 100
        announced = client.post("/echo", json=[1] * 1000)
        streamed = client.post("/echo", content=chunks(), headers={"Content-Type": JSON})
    for answer in (announced, streamed):
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "larger than 1,000 bytes (what is no file)" in answer.json()["detail"]


JSON = "application/json"


def test_a_body_with_files_is_limited_like_uploads(tmp_path):
    with TestClient(app_with_a_door(tmp_path, max_upload_bytes=10**6)) as client:
        answer = client.post("/v1/assessments", files={"image": ("a.tif", bytes(10**6))})
        assert answer.status_code == 413
        assert "(max_upload_bytes)" in answer.json()["detail"]
        assert list((tmp_path / "jobs").glob("*")) == []
