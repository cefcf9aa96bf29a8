"""Bytes on their way in: limits, broken lines, parts, and an API whose memory stays small."""

import errno
import hashlib
import http.client
import json
import threading
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from python_multipart.multipart import MultipartParser
from service import LAPTOP, children, client_of, memory_bytes, serve, until

from data_prep.synthetic import MadeScene, make_scene

UPLOADS = "/v1/uploads"
MIB = 2**20


@pytest.fixture
def client(tmp_path) -> Iterator[TestClient]:
    with client_of(LAPTOP.settings(tmp_path / "service", max_upload_bytes=4 * MIB)) as client:
        yield client


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> MadeScene:
    return make_scene(tmp_path_factory.mktemp("made") / "scene.tif", size_px=160)


def announce(client: TestClient, name: str, content: bytes) -> str:
    answer = client.post(UPLOADS, json={"name": name, "bytes": len(content)})
    assert answer.status_code == 201
    assert answer.json()["offset"] == 0
    return answer.json()["id"]


def put(client: TestClient, upload_id: str, content: bytes, first: int, last: int):
    return client.put(
        f"{UPLOADS}/{upload_id}",
        content=content[first : last + 1],
        headers={"Content-Range": f"bytes {first}-{last}/{len(content)}"},
    )


def test_a_file_in_parts_goes_on_after_a_break_and_becomes_a_job(client, scene):
    content = scene.scene.read_bytes()
    upload_id = announce(client, "scene.tif", content)
    assert put(client, upload_id, content, 0, 999).json()["offset"] == 1000
    wrong = put(client, upload_id, content, 500, 1499)
    assert (wrong.status_code, wrong.headers["upload-offset"]) == (409, "1000")
    early = client.post(f"{UPLOADS}/{upload_id}/finish")
    assert early.status_code == 409
    assert "send the rest from byte 1000" in early.json()["detail"]
    offset = client.get(f"{UPLOADS}/{upload_id}").json()["offset"]
    put(client, upload_id, content, offset, len(content) - 1)
    sha256 = hashlib.sha256(content).hexdigest()
    done = client.post(f"{UPLOADS}/{upload_id}/finish", json={"sha256": sha256})
    assert done.json()["complete"] is True
    uploads = json.dumps({"image": [upload_id]})
    named = {"Idempotency-Key": "in-parts"}
    form = {"files": {"uploads": (None, uploads)}, "headers": named}
    refused = client.post("/v1/assessments", files={"uploads": (None, uploads), "x": (None, "1")})
    assert refused.status_code == 422  # and the upload is still there
    job = client.post("/v1/assessments", **form)
    assert job.status_code == 201, job.text
    assert job.json()["inputs"]["image"][0]["sha256"] == sha256
    folder = client.app.state.service.folders.job(job.json()["jobID"])
    assert folder.files("image")[0].read_bytes() == content
    again = client.post("/v1/assessments", **form)
    assert (again.status_code, again.json()["jobID"]) == (200, job.json()["jobID"])
    other = client.post("/v1/assessments", files={"uploads": (None, uploads)})
    assert other.status_code == 409
    address = job.headers["location"]
    assert [client.delete(address).status_code for _ in range(3)] == [200, 200, 404]
    assert client.get(f"{UPLOADS}/{upload_id}").status_code == 404


def test_more_than_was_announced_is_refused_and_what_came_before_stays(client, tmp_path):
    content = bytes(range(200))
    upload_id = announce(client, "scene.tif", content)
    put(client, upload_id, content, 0, 49)
    longer = client.put(
        f"{UPLOADS}/{upload_id}",
        content=content[50:],
        headers={"Content-Range": f"bytes 50-99/{len(content)}"},
    )
    assert longer.status_code == 413
    assert client.get(f"{UPLOADS}/{upload_id}").json()["offset"] == 50
    assert put(client, upload_id, content, 50, 199).json()["offset"] == 200
    assert (tmp_path / "service" / "uploads" / upload_id).read_bytes() == content


def test_a_full_disk_is_said_and_the_upload_goes_on_later(client, tmp_path):
    content = bytes(2 * MIB)
    upload_id = announce(client, "scene.tif", content)
    place = tmp_path / "service" / "uploads" / upload_id
    place.parent.mkdir(exist_ok=True)
    place.symlink_to("/dev/full")
    full = put(client, upload_id, content, 0, len(content) - 1)
    assert (full.status_code, full.headers["content-type"]) == (507, "application/problem+json")
    assert "disk is full" in full.json()["detail"]
    place.unlink()
    assert put(client, upload_id, content, 0, len(content) - 1).json()["offset"] == len(content)


def test_a_full_disk_keeps_nothing_of_a_form(client, tmp_path, monkeypatch):
    def no_room(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MultipartParser, "write", no_room)
    answer = client.post("/v1/assessments", files={"image": ("scene.tif", b"II*\0")})
    assert answer.status_code == 507
    assert list((tmp_path / "service" / "jobs").glob("*")) == []


def test_a_wrong_hash_is_told(client):
    upload_id = announce(client, "a.tif", b"abc")
    put(client, upload_id, b"abc", 0, 2)
    answer = client.post(f"{UPLOADS}/{upload_id}/finish", json={"sha256": "0" * 64})
    assert answer.status_code == 422
    assert hashlib.sha256(b"abc").hexdigest() in answer.json()["detail"]
    assert client.delete(f"{UPLOADS}/{upload_id}").status_code == 204
    assert client.get(f"{UPLOADS}/{upload_id}").status_code == 404


@pytest.mark.parametrize(
    ("header", "status"),
    [("bytes 0-2/4", 422), ("bytes 2-1/3", 422), ("bytes 0-1/3", 413), ("0-2/3", 422)],
)
def test_a_range_that_does_not_fit_is_refused(client, header, status):
    upload_id = announce(client, "a.tif", b"abc")
    answer = client.put(f"{UPLOADS}/{upload_id}", content=b"abc", headers={"Content-Range": header})
    assert answer.status_code == status


def test_more_bytes_than_allowed_are_refused_by_name_and_leave_nothing(client, tmp_path):
    big = b"x" * (4 * MIB)
    for answer in (
        client.post("/v1/assessments", files={"image": ("big.tif", big)}),
        client.post("/v1/assessments", content=_slowly(big), headers={"Content-Type": FORM}),
        client.post(UPLOADS, json={"name": "big.tif", "bytes": 4 * MIB + 1}),
    ):
        assert answer.status_code == 413
        assert "max_upload_bytes" in answer.json()["detail"]
    assert not list((tmp_path / "service").glob("jobs/*"))


FORM = "multipart/form-data; boundary=b"
HEAD = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.tif"\r\n\r\n'


def _slowly(content: bytes) -> Iterator[bytes]:
    """Yield a form whose length nobody announces."""
    yield HEAD
    yield content
    yield b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (HEAD + b"half a file", "ends too early"),
        (b"no form at all", "broken"),
        (HEAD.replace(b"a.tif", b"\xff\xfe"), "broken"),
        (HEAD.replace(b'; filename="a.tif"', b"") + b"x" * 70_000, "longer than 65536 bytes"),
    ],
)
def test_a_broken_form_is_refused_and_leaves_nothing(client, tmp_path, body, said):
    answer = client.post("/v1/assessments", content=body, headers={"Content-Type": FORM})
    assert answer.status_code in (413, 422)
    assert said in answer.json()["detail"]
    assert not list((tmp_path / "service").glob("jobs/*"))


def test_uploads_stay_on_disk_and_a_broken_line_leaves_nothing(tmp_path):
    """Eight uploads of 100 MB at once, the line of each cut before its end."""
    size, piece = 100_000_000, b"\x55" * MIB
    with serve(LAPTOP, tmp_path, "--no-worker") as served:
        pid, address = served.process.pid, served.client.base_url
        assert children(pid) == []
        served.client.get("/v1/assessments")
        idle, peak = memory_bytes(pid), 0
        jobs = tmp_path / "jobs"

        def send() -> None:
            line = http.client.HTTPConnection(address.host, address.port)
            line.putrequest("POST", "/v1/assessments")
            line.putheader("Content-Type", FORM)
            line.putheader("Content-Length", str(size))
            line.endheaders(HEAD)
            for _ in range(size // MIB):
                line.send(piece)
            line.close()

        senders = [threading.Thread(target=send) for _ in range(8)]
        for sender in senders:
            sender.start()
        most = 0
        while any(sender.is_alive() for sender in senders):
            peak = max(peak, memory_bytes(pid))
            most = max(most, sum(_sizes(jobs)))
        assert most > 2 * size
        assert peak - idle < 100_000_000
        for sender in senders:
            sender.join()
        until(lambda: not list(jobs.iterdir()), "the files of broken uploads to go")
        assert served.client.get("/v1/assessments").json()["jobs"] == []


def _sizes(jobs) -> list[int]:
    found = []
    for path in jobs.glob("*/inputs/image/*"):
        try:
            found.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return found
