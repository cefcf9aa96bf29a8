"""Files that are gone, that nobody wants any more, or that somebody deletes meanwhile."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from service import LAPTOP, client_of

from api.folders import JobFolder, ServiceFolders
from api.leftovers import BROKEN_S, clear_leftovers
from api.service import Service
from api.store.jobs import NewJob
from api.store.tables import Upload

CONTENT = b"II*\0 pixels"


@pytest.fixture
def client(tmp_path) -> Iterator[TestClient]:
    with client_of(LAPTOP.settings(tmp_path / "service")) as client:
        yield client


@pytest.fixture
def service(client) -> Service:
    return client.app.state.service


def finished_upload(client: TestClient) -> str:
    new = {"name": "a.tif", "bytes": len(CONTENT)}
    upload_id = client.post("/v1/uploads", json=new).json()["id"]
    headers = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}
    client.put(f"/v1/uploads/{upload_id}", content=CONTENT, headers=headers)
    assert client.post(f"/v1/uploads/{upload_id}/finish").status_code == 200
    return upload_id


def age(path: Path) -> Path:
    long_ago = time.time() - BROKEN_S - 60
    os.utime(path, (long_ago, long_ago))
    return path


def test_an_upload_whose_file_is_gone_is_refused_in_words(client, service):
    upload_id = finished_upload(client)
    service.folders.upload(upload_id).unlink()
    uploads = {"uploads": (None, json.dumps({"image": [upload_id]}))}
    answer = client.post("/v1/assessments", files=uploads)
    assert answer.status_code == 409
    assert "'a.tif' in parts is gone: send the file again" in answer.json()["detail"]
    assert client.delete(f"/v1/uploads/{upload_id}").status_code == 204


def test_nothing_follows_from_an_assessment_whose_files_are_gone(client, service):
    new = NewJob(process="assess", owner="local", options={}, inputs={})
    job = service.jobs.create(new)
    service.jobs.claim(job.id, "w", lease_s=60)
    assert service.jobs.succeed(job.id, "w", {})
    for path in ("again", "suggest"):
        assert client.post(f"/v1/assessments/{job.id}/{path}").status_code == 404
    assert not list(service.folders.data_dir.glob("jobs/*"))


def test_a_row_goes_before_its_files(client, service, monkeypatch):
    """A break between the two leaves files alone, which a worker clears; never a row alone."""
    upload_id = finished_upload(client)
    job = service.jobs.create(NewJob(process="assess", owner="local", options={}, inputs={}))
    service.folders.job(job.id).inputs("image").mkdir(parents=True)
    client.delete(f"/v1/assessments/{job.id}")
    service.folders.job(job.id).inputs("image").mkdir(parents=True)

    def broken(*_arguments: object, **_more: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(JobFolder, "delete", broken)
    monkeypatch.setattr(Path, "unlink", broken)
    for address in (f"/v1/assessments/{job.id}", f"/v1/uploads/{upload_id}"):
        with pytest.raises(RuntimeError):
            client.delete(address)
        assert client.get(address).status_code == 404
    assert service.folders.job(job.id).root.exists()
    assert service.folders.upload(upload_id).exists()


def test_files_without_a_row_and_areas_go_after_a_day(client, service):
    kept = finished_upload(client)
    place = service.folders.uploads
    orphan, young = place / ("a" * 32), place / ("b" * 32)
    areas, strange = place / f"{'c' * 32}.areas", place / "readme.txt"
    areas.mkdir()
    for path in (orphan, young, areas / "x.geojson", strange):
        path.write_text("x", encoding="utf-8")
    for path in (orphan, areas, strange, place / kept):
        age(path)
    assert clear_leftovers(service.folders, service.jobs, service.uploads) == 2
    assert sorted(path.name for path in place.iterdir()) == sorted([kept, young.name, strange.name])


def test_a_job_that_is_deleted_while_leftovers_are_looked_for_is_no_fault(service, monkeypatch):
    jobs = service.folders.data_dir / "jobs"
    for digit in "123":
        (jobs / (digit * 32)).mkdir(parents=True)
        age(jobs / (digit * 32))
    listed = Path.iterdir

    def deleted_meanwhile(folder: Path) -> Iterator[Path]:
        found = list(listed(folder))
        if folder == jobs:
            shutil.rmtree(jobs / ("1" * 32))
        return iter(found)

    monkeypatch.setattr(Path, "iterdir", deleted_meanwhile)
    assert clear_leftovers(service.folders, service.jobs, service.uploads) == 2
    assert list(listed(jobs)) == []


def test_too_old_uploads_lose_their_row_first(service, monkeypatch):
    upload = service.uploads.create("local", "a.tif", 3)
    service.folders.uploads.mkdir(exist_ok=True)
    service.folders.upload(upload.id).write_bytes(b"abc")
    with service.database.transaction() as session:
        row = session.get(Upload, upload.id)
        row.created = row.created.replace(year=2000)

    def broken(*_arguments: object) -> Path:
        raise RuntimeError

    monkeypatch.setattr(ServiceFolders, "upload", broken)
    with pytest.raises(RuntimeError):
        clear_leftovers(service.folders, service.jobs, service.uploads)
    assert service.uploads.known([upload.id]) == set()
