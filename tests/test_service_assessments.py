"""Asking for an assessment: what is checked before anything is kept, and what the document says."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from service import LAPTOP, client_of

from api.examples import ACCEPTED_JOB, DISMISSED_JOB, RUNNING_JOB
from api.form import NOT_OFFERED, ROLES, UPLOADS
from api.schemas import JobStatus
from api.store.jobs import NewJob
from damagenet.cli.option_parameters import option_parameters
from damagenet.options import AssessOptions
from data_prep.synthetic import MadeScene, make_scene

ADDRESS = "/v1/assessments"


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[TestClient]:
    with client_of(LAPTOP.settings(tmp_path_factory.mktemp("service"))) as client:
        yield client


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> MadeScene:
    return make_scene(tmp_path_factory.mktemp("made") / "scene.tif", size_px=160)


@pytest.fixture(scope="module")
def image(scene) -> tuple[str, tuple[str, bytes]]:
    return "image", ("scene.tif", scene.scene.read_bytes())


def folders(client: TestClient) -> list[str]:
    jobs = client.app.state.service.folders.data_dir / "jobs"
    return sorted(path.name for path in jobs.iterdir()) if jobs.is_dir() else []


def test_an_accepted_job_keeps_its_files_with_their_hashes(client, scene, image):
    import hashlib

    buildings = ("buildings", ("houses.geojson", scene.buildings.read_bytes()))
    answer = client.post(ADDRESS, files=[image, buildings], data={"threshold": "0.6"})
    assert answer.status_code == 201
    status = answer.json()
    assert (status["status"], status["progress"], status["model"]) == (
        "accepted",
        0,
        "harvey-event",
    )
    assert status["options"] == {"threshold": 0.6}
    (kept,) = status["inputs"]["image"]
    assert kept["sha256"] == hashlib.sha256(image[1][1]).hexdigest()
    folder = client.app.state.service.folders.job(status["jobID"])
    assert folder.files("image")[0].read_bytes() == image[1][1]
    assert client.get(answer.headers["location"]).json() == status
    assert status["jobID"] in [job["jobID"] for job in client.get(ADDRESS).json()["jobs"]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"treshold": "0.6"}, "unknown setting 'treshold' (did you mean 'threshold'?)"),
        ({"threshold": "1.5"}, "threshold: input should be less than or equal to 1, got '1.5'"),
        ({"clouds": "maybe"}, "clouds: input should be 'check' or 'ignore'"),
        ({"bands": "1,2"}, "bands: name three bands: red, green, blue"),
        ({"model": "../../etc"}, "there is no model '../../etc' here; choose one of: harvey"),
        ({"model": "harvey-pair"}, "compares two pictures: give the other with --pre"),
        ({"device": "cuda"}, "unknown setting 'device'"),
        ({"allow_url": "https://example.org/"}, "unknown setting 'allow_url'"),
        ({"image": "https://example.org/scene.tif"}, "'image' is a file"),
        ({"pre": "https://example.org/scene.tif"}, "'pre' is a file"),
        ({"id_field": "uid"}, "--id-field uid is a column of --buildings"),
        ({"image": "scene.tif"}, "'image' is a file"),
        ({UPLOADS: "[]"}, "uploads cannot be read"),
        ({UPLOADS: '{"image": "' + "0" * 32 + '"}'}, "there is no upload here"),
    ],
)
def test_wrong_options_are_named_and_nothing_is_kept(client, image, options, said):
    before = folders(client), len(client.get(ADDRESS).json()["jobs"])
    answer = client.post(ADDRESS, files=[image], data=options)
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json()["detail"]
    assert (folders(client), len(client.get(ADDRESS).json()["jobs"])) == before


def test_files_that_cannot_be_taken_are_refused(client, scene, image):
    pre = ("pre", image[1])
    stranger = ("picture", image[1])
    buildings = ("buildings", ("a.geojson", scene.buildings.read_bytes()))
    others = ("buildings", ("b.geojson", scene.buildings.read_bytes()))
    for files, data, said in (
        ([], {"threshold": "0.5"}, "must be multipart/form-data"),
        ([buildings], {}, "no scene was sent"),
        ([image, image], {}, "two files are called 'scene.tif'"),
        ([image, buildings, others], {}, "buildings is one file, and 'a.geojson' was sent"),
        ([image, stranger], {}, "there is no file 'picture' in the form; choose one of: image"),
        ([image, pre], {"model": "harvey"}, "pre scene.tif cannot be used: model harvey"),
    ):
        before = folders(client)
        answer = client.post(ADDRESS, files=files, data=data)
        assert answer.status_code in (415, 422)
        assert said in answer.json()["detail"]
        assert folders(client) == before


def test_names_lose_what_could_harm(client, image):
    sent = ("image", ("../../../etc/<svg onload=x>.tif", image[1][1]))
    answer = client.post(ADDRESS, files=[sent])
    assert answer.status_code == 201
    (kept,) = answer.json()["inputs"]["image"]
    assert not set(kept["name"]) & set("/\\<>")
    folder = client.app.state.service.folders.job(answer.json()["jobID"])
    assert [path.name for path in folder.files("image")] == [kept["name"]]


def test_the_same_request_under_one_name_makes_one_job(client, image):
    named = {"Idempotency-Key": "storm-1"}
    first = client.post(ADDRESS, files=[image], headers=named)
    before = folders(client)
    again = client.post(ADDRESS, files=[image], headers=named)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["jobID"] == first.json()["jobID"]
    other = client.post(ADDRESS, files=[image], data={"threshold": "0.7"}, headers=named)
    assert other.status_code == 422
    assert "was used for other files or options" in other.json()["detail"]
    assert folders(client) == before


def test_a_waiting_job_is_dismissed_and_a_dismissed_one_deleted(client, image):
    job_id = client.post(ADDRESS, files=[image]).json()["jobID"]
    answer = client.delete(f"{ADDRESS}/{job_id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "dismissed")
    assert job_id not in folders(client)
    assert client.get(f"{ADDRESS}/{job_id}").json()["status"] == "dismissed"
    assert client.delete(f"{ADDRESS}/{job_id}").json()["status"] == "dismissed"
    assert client.get(f"{ADDRESS}/{job_id}").status_code == 404


def test_jobs_of_another_key_are_not_there(client):
    job = client.app.state.service.jobs.create(
        NewJob(process="assess", owner="f" * 16, options={}, inputs={})
    )
    for ask in (client.get, client.delete):
        answer = ask(f"{ADDRESS}/{job.id}")
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            "there is no assessment here: check the address",
        )
    assert client.get(f"{ADDRESS}/{job.id}/events").status_code == 404
    assert client.get(f"{ADDRESS}/{job.id}/results/damage.csv").status_code == 404
    assert job.id not in client.get(ADDRESS).text


def test_what_one_key_made_is_not_there_for_another(tmp_path, image):
    with client_of(LAPTOP.settings(tmp_path, require_keys=True)) as client:
        keys = client.app.state.service.keys
        mine, other = (
            {"Authorization": f"Bearer {keys.add(name, ('read', 'write')).text}"}
            for name in ("me", "other")
        )
        assert client.post(ADDRESS, files=[image]).status_code == 401
        job = client.post(ADDRESS, files=[image], headers=mine).headers["location"]
        assert client.get(job, headers=mine).status_code == 200
        for path in (job, f"{job}/events", f"{job}/results", f"{job}/results/damage.csv"):
            assert client.get(path, headers=other).status_code == 404
        assert client.delete(job, headers=other).status_code == 404
        assert client.get(ADDRESS, headers=other).json()["jobs"] == []


def test_the_list_is_read_page_by_page(client, image):
    for _ in range(3):
        client.post(ADDRESS, files=[image])
    address, seen = f"{ADDRESS}?limit=2", []
    while address:
        page = client.get(address).json()
        seen += [job["jobID"] for job in page["jobs"]]
        address = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    assert len(seen) == len(set(seen)) >= 3


def test_a_caller_has_a_number_of_jobs_at_a_time(tmp_path, image):
    with client_of(LAPTOP.settings(tmp_path, max_jobs=1)) as client:
        first = client.post(ADDRESS, files=[image])
        second = client.post(ADDRESS, files=[image])
        assert (first.status_code, second.status_code) == (201, 429)
        assert int(second.headers["retry-after"]) > 0
        client.delete(first.headers["location"])
        assert client.post(ADDRESS, files=[image]).status_code == 201


def test_the_form_offers_the_command_lines_options_by_name_default_and_help(client):
    document = client.get("/openapi.json").json()
    body = document["paths"][ADDRESS]["post"]["requestBody"]["content"]["multipart/form-data"]
    fields = body["schema"]["properties"]
    offered = {p.name: p for p in option_parameters(AssessOptions) if p.name not in NOT_OFFERED}
    assert set(fields) == {*ROLES, *offered, UPLOADS}
    for name, parameter in offered.items():
        option = parameter.annotation.__metadata__[0]
        assert fields[name]["description"].split() == option.help.split()
        default = AssessOptions.model_fields[name].default
        assert fields[name].get("default") == json.loads(json.dumps(default))


def test_every_example_of_a_job_is_one():
    for job in (ACCEPTED_JOB, RUNNING_JOB, DISMISSED_JOB):
        assert JobStatus.model_validate(job).model_dump(mode="json") == job


def test_the_document_shows_a_job_for_every_answer(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path, method, status in (
        (ADDRESS, "post", "201"),
        (ADDRESS, "get", "200"),
        (f"{ADDRESS}/{{job_id}}", "get", "200"),
        (f"{ADDRESS}/{{job_id}}", "delete", "200"),
    ):
        answer = paths[path][method]["responses"][status]["content"]["application/json"]
        assert "$ref" in answer["schema"]
        assert "jobID" in json.dumps(answer["example"])


def test_a_service_names_its_adapted_models_but_no_folder_is_one(tmp_path, image):
    from shutil import copytree

    from damagenet.bundle import weights_folder

    with client_of(LAPTOP.settings(tmp_path)) as client:
        copytree(weights_folder() / "harvey", tmp_path / "models" / "my-storm")
        mine = client.post(ADDRESS, files=[image], data={"model": "my-storm"})
        path = client.post(
            ADDRESS, files=[image], data={"model": str(tmp_path / "models/my-storm")}
        )
        (tmp_path / "models" / "my-storm" / "model.safetensors").unlink()
        broken = client.post(ADDRESS, files=[image], data={"model": "my-storm"})
    assert (mine.status_code, mine.json()["model"]) == (201, "my-storm")
    assert broken.status_code == 422
    assert str(tmp_path) not in broken.json()["detail"]
    assert path.status_code == 422
    assert "my-storm" in path.json()["detail"].split("choose one of")[1]


def test_a_service_in_another_folder_knows_nothing_of_these_jobs(client, tmp_path):
    with client_of(LAPTOP.settings(tmp_path)) as other:
        assert other.get(ADDRESS).json()["jobs"] == []
        assert isinstance(tmp_path, Path)
