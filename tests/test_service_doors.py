"""Every address asks who calls, and tells nobody of what is another's."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from rasters import smooth, write_raster

from api.app import create_app
from api.settings import ServiceSettings

OPEN = {
    *("/healthz", "/readyz", "/v1/session"),
    *("/", "/conformance", "/processes", "/processes/{process_id}"),
}
"""What answers anybody; none of it speaks of anybody's jobs."""
OWNED = ("/v1/assessments/{", "/v1/uploads/{", "/jobs/{", "/collections/{")
"""Addresses whose first part in brackets is the id of something that has an owner."""
VALUES = {"name": "damage.geojson", "layer": "imagery", "ending": "png", "z": "0", "x": "0"}
NOBODYS = "0" * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """A service with two callers, one of whom has a job and an upload."""

    client: TestClient
    owner: dict[str, str]
    other: dict[str, str]
    job_id: str
    upload_id: str

    def doors(self) -> list[tuple[str, str]]:
        """Return method and address of everything in the OpenAPI document."""
        paths = self.client.app.openapi()["paths"]
        return [(method, path) for path, found in paths.items() for method in found]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory) -> Iterator[Guarded]:
    folder: Path = tmp_path_factory.mktemp("service")
    app = create_app(ServiceSettings(data_dir=folder / "data", require_keys=True))
    keys = app.state.service.keys
    owner, other = ({"X-API-Key": keys.add(name).text} for name in ("owner", "other"))
    scene = write_raster(folder / "scene.tif", smooth(128, 128))
    with TestClient(app) as client:
        files = {"image": ("scene.tif", scene.read_bytes())}
        job = client.post("/v1/assessments", files=files, headers=owner)
        upload = client.post("/v1/uploads", json={"name": "a.tif", "bytes": 9}, headers=owner)
        yield Guarded(
            client=client,
            owner=owner,
            other=other,
            job_id=job.json()["jobID"],
            upload_id=upload.json()["id"],
        )


def filled(path: str, thing: str) -> str:
    """Return an address with an id for its first part in brackets, something for the others."""
    first = re.sub(r"{\w+}", thing, path, count=1)
    return re.sub(r"{(\w+)}", lambda name: VALUES.get(name[1], "0"), first)


def test_without_a_key_nothing_but_health_and_the_session_answers(guarded):
    doors = [(method, path) for method, path in guarded.doors() if path not in OPEN]
    assert len(doors) > 10
    let_in = {
        f"{method} {path}": answer.status_code
        for method, path in doors
        if (answer := guarded.client.request(method, filled(path, guarded.job_id))).status_code
        != 401
    }
    assert let_in == {}


def test_what_is_anothers_looks_like_what_is_not_there(guarded):
    doors = [(method, path) for method, path in guarded.doors() if path.startswith(OWNED)]
    assert len(doors) > 5
    for method, path in doors:
        thing = guarded.upload_id if "/uploads/" in path else guarded.job_id
        anothers, nobodys = (
            guarded.client.request(method, filled(path, name), headers=guarded.other)
            for name in (thing, NOBODYS)
        )
        assert 400 <= anothers.status_code < 500, f"{method} {path}"
        assert told(anothers, thing) == told(nobodys, NOBODYS), f"{method} {path}"
    # And nothing that was tried has changed the job.
    found = guarded.client.get(f"/v1/assessments/{guarded.job_id}", headers=guarded.owner)
    assert found.json()["status"] == "accepted"


def told(answer, thing: str) -> tuple[int, str]:
    body = answer.json() | {"instance": ""}
    return answer.status_code, str(body).replace(thing, "ID")


def test_lists_hold_the_callers_own_alone(guarded):
    for headers, expected in ((guarded.owner, [guarded.job_id]), (guarded.other, [])):
        jobs = guarded.client.get("/v1/assessments", headers=headers).json()["jobs"]
        assert [job["jobID"] for job in jobs] == expected
