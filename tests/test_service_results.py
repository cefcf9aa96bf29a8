"""Files of results over HTTP: ranges, tags, HEAD, and no more than callers may have."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from service import LAPTOP, client_of

from api.store.jobs import NewJob

CSV = b"unit_id,label\n" + b"".join(b"house-%d,damaged\n" % number for number in range(100))
RUN_FILES = {"damage.csv": CSV, "run.json": b'{"path": "%s/inputs/image/scene.tif"}'}
SCENE_FILES = {"damage.csv": CSV, "damage.tif": b"II*\x00 pixels", "report.html": b"<p>%s</p>"}


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    with client_of(LAPTOP.settings(tmp_path_factory.mktemp("service"))) as client:
        yield client


@pytest.fixture(scope="module")
def results(client) -> str:
    """Return the address of the results of a finished job with one scene."""
    service = client.app.state.service
    job = service.jobs.create(NewJob(process="assess", owner="local", options={}, inputs={}))
    folder = service.folders.job(job.id)
    (folder.results / "scene").mkdir(parents=True)
    for place, files in ((folder.results, RUN_FILES), (folder.results / "scene", SCENE_FILES)):
        for name, content in files.items():
            (place / name).write_bytes(content.replace(b"%s", str(folder.root).encode()))
    (folder.results / "scene" / "assessment.json").write_text("{}", encoding="utf-8")
    scene = {"stem": "scene", "name": "scene.tif", "files": list(SCENE_FILES)}
    service.jobs.claim(job.id, "w", lease_s=60)
    counts = {"damaged": 100, "units": 100, "undamaged": 0, "uncertain": 0}
    result = {"counts": counts, "files": list(RUN_FILES), "scenes": [scene], "failures": []}
    assert service.jobs.succeed(job.id, "w", result)
    return f"/v1/assessments/{job.id}/results"


def test_a_file_comes_whole_in_ranges_or_as_head(client, results):
    whole = client.get(f"{results}/damage.csv")
    assert (whole.status_code, whole.content) == (200, CSV)
    assert whole.headers["content-type"].startswith("text/csv")
    assert 'filename="damage.csv"' in whole.headers["content-disposition"]
    part = client.get(f"{results}/damage.csv", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, CSV[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(CSV)}"
    assert client.get(f"{results}/damage.csv", headers={"Range": "bytes=-5"}).content == CSV[-5:]
    head = client.head(f"{results}/damage.csv")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(CSV))
    assert head.headers["etag"] == whole.headers["etag"]


def test_a_tag_saves_the_second_transfer_and_guards_a_range(client, results):
    tag = client.get(f"{results}/damage.csv").headers["etag"]
    assert not tag.startswith("W/")
    for known in (tag, f'"other", W/{tag}', "*"):
        again = client.get(f"{results}/damage.csv", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    fresh = client.get(f"{results}/damage.csv", headers={"If-None-Match": '"other"'})
    assert fresh.status_code == 200
    stale = {"Range": "bytes=0-4", "If-Range": '"other"'}
    assert client.get(f"{results}/damage.csv", headers=stale).status_code == 200
    valid = {"Range": "bytes=0-4", "If-Range": tag}
    assert client.get(f"{results}/damage.csv", headers=valid).status_code == 206


@pytest.mark.parametrize(
    "wanted", ["bytes=99999-", "bytes=5-2", "bytes=-0", "lines=1-2", "bytes=a-b"]
)
def test_a_range_that_is_not_there_is_a_problem(client, results, wanted):
    answer = client.get(f"{results}/damage.csv", headers={"Range": wanted})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(CSV)}"
    assert answer.headers["content-type"] == "application/problem+json"


def test_one_scenes_files_stand_for_the_run_where_it_has_none(client, results):
    assert client.get(f"{results}/damage.tif").content == SCENE_FILES["damage.tif"]
    assert client.get(f"{results}/scenes/scene/damage.tif").content == SCENE_FILES["damage.tif"]


@pytest.mark.parametrize("name", ["run.json", "report.html"])
def test_no_path_of_the_server_is_in_a_file(client, results, name):
    text = client.get(f"{results}/{name}").text
    assert "scene.tif" in text or "the job" in text
    assert str(client.app.state.service.folders.data_dir) not in text


@pytest.mark.parametrize(
    "name",
    [
        "damage.gpkg",
        "scenes/scene/assessment.json",
        "scenes/other/damage.csv",
        "../inputs/image/scene.tif",
        "scenes/%2e%2e/run.json",
        "..%2f..%2frun.json",
        "scenes/scene/..%2f..%2frun.json",
    ],
)
def test_nothing_else_is_given_out(client, results, name):
    answer = client.get(f"{results}/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_listed_file_is_there(client, results):
    listed = client.get(results).json()["links"]
    assert len(listed) == len(RUN_FILES) + len(SCENE_FILES)
    for link in listed:
        answer = client.get(link["href"])
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(link["type"])
