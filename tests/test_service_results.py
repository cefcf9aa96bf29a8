"""Files of results over HTTP: ranges, tags, HEAD, and no more than callers may have."""

import shutil
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from service import LAPTOP, client_of

from api.byte_ranges import ByteRanges, read_ranges
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


NOTHING = (
    "bytes=99999-",
    "bytes=5-2",
    "bytes=-0",
    "bytes=a-b",
    "bytes=-",
    "bytes=",
    "bytes=9999-,x",
)


@pytest.mark.parametrize("wanted", NOTHING)
def test_a_range_that_is_not_there_is_a_problem(client, results, wanted):
    answer = client.get(f"{results}/damage.csv", headers={"Range": wanted})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(CSV)}"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"Range": "lines=1-2"}, None),
        ({"Range": "bytes"}, None),
        ({"Range": "bytes=" + ",".join(["0-0"] * 101)}, None),
        ({"Range": "bytes=9999-", "If-Range": '"old"'}, None),
        ({"Range": "Bytes = 0-9"}, slice(0, 10)),
        ({"Range": "bytes=0-9,9999-10000"}, slice(0, 10)),
        ({"Range": "bytes=x, ,10-19"}, slice(10, 20)),
        ({"Range": "bytes=0-9999"}, slice(None)),
        ({"Range": "bytes=-9999"}, slice(None)),
        ({"Range": "bytes=5-" + "9" * 60}, slice(5, None)),
        ({"Range": "bytes=0-4,5-9,2-7"}, slice(0, 10)),
    ],
)
def test_a_range_is_ignored_or_cut_as_its_standard_says(client, results, headers, kept):
    answer = client.get(f"{results}/damage.csv", headers=headers)
    assert answer.status_code == (200 if kept is None else 206)
    assert answer.content == (CSV if kept is None else CSV[kept])


def test_ranges_that_lie_apart_come_as_parts(client, results):
    answer = client.get(f"{results}/damage.csv", headers={"Range": "bytes=0-3,9999-,10-13"})
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges")
    assert CSV[0:4] in answer.content
    assert CSV[10:14] in answer.content
    assert answer.content.count(b"Content-Range") == 2


def test_head_knows_no_ranges(client, results):
    for wanted in ("bytes=0-9", "bytes=9999-"):
        head = client.head(f"{results}/damage.csv", headers={"Range": wanted})
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(CSV)))


def test_a_range_made_to_take_for_ever_is_read_at_once():
    begun = time.process_time()
    assert read_ranges("bytes=" + "-11" * 20_000 + "x", 100) == ByteRanges(kept=())
    assert read_ranges("bytes=" + "1" * 60_000 + "-", 100) == ByteRanges(kept=())
    assert read_ranges("bytes=" + "0-0," * 15_000, 100) is None
    assert time.process_time() - begun < 1


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


@pytest.mark.parametrize("name", ["damage.csv", "run.json", "scenes/scene/report.html"])
def test_files_that_are_gone_are_not_found_and_do_not_come_back(client, results, name):
    folder = client.app.state.service.folders.job(results.split("/")[3])
    away = folder.root.with_name("away")
    folder.root.rename(away)
    try:
        answer = client.get(f"{results}/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (
            404,
            "application/problem+json",
        )
        assert not folder.root.exists()
    finally:
        shutil.rmtree(folder.root, ignore_errors=True)
        away.rename(folder.root)
