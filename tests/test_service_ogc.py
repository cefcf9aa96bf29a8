"""OGC API Common and Processes: the faces of the same jobs."""

import base64
import json
import re
from typing import get_args

import pytest
from fastapi.testclient import TestClient
from finished_jobs import GREEN, add_job, assessed, flat_scene, set_job, tiny_bundle
from tiny_run import make_buildings, pixel_box

from api.app import create_app
from api.execution import MOST_BYTES
from api.folders import Role
from api.form import NOT_OFFERED
from api.result_files import MEDIA_TYPES
from api.routes.page import is_built
from api.settings import ServiceSettings
from api.store.jobs import NewJob
from damagenet.options import AssessOptions

EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return create_app(ServiceSettings(data_dir=tmp_path_factory.mktemp("service"), max_jobs=1000))


@pytest.fixture(scope="module")
def client(app):
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return flat_scene(tmp_path_factory.mktemp("scenes") / "scene.tif", GREEN)


@pytest.fixture(scope="module")
def job(app, scene, tmp_path_factory):
    bundle = tiny_bundle(tmp_path_factory.mktemp("bundles") / "toy")
    return add_job(app.state.service, lambda root: assessed(root, bundle, [scene])[1])


def in_base64(path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def execute(client, body, **headers):
    return client.post("/processes/assess/execution", json=body, headers=headers)


def folders(app) -> set[str]:
    place = app.state.service.folders.data_dir / "jobs"
    return {path.name for path in place.iterdir()} if place.exists() else set()


# ---- landing page, conformance, collections


def test_every_address_of_the_landing_page_answers(client):
    landing = client.get("/").json()
    links = {link["rel"]: link["href"] for link in landing["links"]}
    assert {"self", "service-desc", "conformance", "data"} <= set(links)
    for rel, href in links.items():
        status = client.get(href).status_code
        built = is_built() or rel not in ("alternate", "service-doc")  # these come with the page
        assert status == (200 if built else 503), rel


def test_browsers_are_sent_to_the_page_and_programs_are_not(client):
    asked = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    browser = client.get("/", headers=asked, follow_redirects=False)
    assert (browser.status_code, browser.headers["location"]) == (303, "http://testserver/ui/")
    assert client.get("/?f=json", headers=asked).json()["title"] == "damagenet"
    assert client.get("/", headers={"Accept": "application/json"}).status_code == 200
    assert client.get("/?f=html", follow_redirects=False).status_code == 303


def test_only_classes_that_hold_are_declared(client):
    declared = client.get("/conformance").json()["conformsTo"]
    assert f"{SPEC}/ogcapi-features-1/1.0/conf/core" in declared
    assert f"{SPEC}/ogcapi-processes-1/1.0/conf/core" in declared
    # The document is OpenAPI 3.1, and lists of jobs have no filter for durations.
    assert not [one for one in declared if one.endswith(("/oas30", "/job-list", "/callback"))]


SPEC = "http://www.opengis.net/spec"


def test_a_collection_is_a_finished_job(client, job):
    listed = client.get("/collections").json()["collections"]
    one = client.get(f"/collections/{job}").json()
    assert one in listed
    (bbox,) = one["extent"]["spatial"]["bbox"]
    links = {link["rel"]: link["href"] for link in one["links"]}
    items = client.get(links["items"]).json()
    lon, lat = (items["features"][0]["properties"][name] for name in ("lon", "lat"))
    assert bbox[0] <= lon <= bbox[2]
    assert bbox[1] <= lat <= bbox[3]
    assert client.get(f"/collections/{'0' * 32}").status_code == 404
    assert client.get("/collections/nonsense").status_code == 400


def test_an_assessment_is_no_collection_before_it_is_finished(app, client):
    new = NewJob(process="assess", owner="local", options={}, inputs={})
    job = app.state.service.jobs.create(new).id
    for path in (f"/collections/{job}", f"/collections/{job}/items"):
        assert client.get(path).status_code == 404
    assert client.get(f"/v1/assessments/{job}/items").status_code == 409
    client.delete(f"/jobs/{job}")


def test_collections_come_page_by_page_without_unfinished_jobs(client, app, job, scene):
    waiting = execute(client, {"inputs": {"image": in_base64(scene)}}).json()["jobID"]
    found, address = [], "/collections?limit=1"
    while address:
        page = client.get(address).json()
        found += [one["id"] for one in page["collections"]]
        address = {link["rel"]: link["href"] for link in page["links"]}.get("next")
    assert job in found
    assert waiting not in found


OPEN = {"/", "/conformance", "/processes", "/processes/{process_id}"}
"""Addresses that say what the service is, and nothing of anybody's jobs."""


def test_all_that_is_anybodys_asks_for_a_key(tmp_path):
    app = create_app(ServiceSettings(data_dir=tmp_path, require_keys=True))
    asked = 0
    with TestClient(app) as client:
        for path, methods in app.openapi()["paths"].items():
            if not OURS.match(path):
                continue
            address = path.format_map(ANYTHING)
            for method in methods:
                answer = client.request(method, address, follow_redirects=False)
                assert (answer.status_code == 401) == (path not in OPEN), (method, path)
                asked += 1
    assert asked >= 20


OURS = re.compile(r"/$|/(conformance|collections|processes|jobs)|.*/(tiles|items|chips|units)")
ANYTHING = {
    "job_id": "0" * 32,
    "layer": "imagery",
    "z": 0,
    "x": 0,
    "y": 0,
    "tileMatrixSetId": "WebMercatorQuad",
    "format": "png",
    "unit_id": "u",
    "process_id": "assess",
}


# ---- the process


def test_the_process_is_described_from_the_options(client):
    told = client.get("/processes/assess").json()
    inputs = told["inputs"]
    assert set(inputs) == (set(AssessOptions.model_fields) - NOT_OFFERED) | set(get_args(Role))
    assert inputs["image"]["minOccurs"] == 1
    assert {name for name, one in inputs.items() if one["minOccurs"]} == {"image"}
    assert inputs["min_valid"]["schema"]["default"] == AssessOptions().min_valid
    assert inputs["min_valid"]["schema"]["maximum"] == 1
    assert not [one for one in inputs.values() if "--" in one["description"]]
    assert told["outputs"]["damage.geojson"]["schema"]["contentMediaType"] == "application/geo+json"
    assert set(told["outputs"]) == set(MEDIA_TYPES)
    summary = client.get("/processes").json()["processes"][0]
    assert summary == {key: told[key] for key in summary}


def test_an_unknown_process_or_job_is_refused_in_the_words_of_the_standard(client):
    for path, name in (
        ("/processes/paint", "no-such-process"),
        ("/jobs/none", "no-such-job"),
        (f"/jobs/{'0' * 32}/results", "no-such-job"),
    ):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["type"] == f"{EXCEPTION}/{name}"
    assert client.post("/processes/paint/execution", json={"inputs": {}}).status_code == 404


# ---- execution


def test_inputs_by_value_become_a_job_with_its_files_and_options(client, app, scene, tmp_path):
    buildings = make_buildings(tmp_path / "b.geojson", [pixel_box(8, 8, 9, 9)], crs="EPSG:4326")
    body = {
        "inputs": {
            "image": [{"value": in_base64(scene), "mediaType": "image/tiff"}],
            "buildings": {"value": json.loads(buildings.read_text())},
            "min_valid": 0.25,
            "bands": [3, 2, 1],
            "force_coarse": True,
        }
    }
    answer = execute(client, body, prefer="respond-async")
    assert answer.status_code == 201, answer.text
    status = answer.json()
    assert answer.headers["location"] == f"http://testserver/jobs/{status['jobID']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert (status["status"], status["processID"]) == ("accepted", "assess")
    folder = app.state.service.folders.job(status["jobID"])
    assert [path.read_bytes() for path in folder.files("image")] == [scene.read_bytes()]
    assert folder.files("buildings")[0].suffix == ".geojson"
    assert status["options"] == {"min_valid": 0.25, "bands": [3, 2, 1], "force_coarse": True}
    same = client.get(f"/v1/assessments/{status['jobID']}").json()
    assert same["inputs"] == status["inputs"]


def test_an_upload_of_ones_own_is_an_input_by_reference(client, app, scene):
    content = scene.read_bytes()
    upload = client.post("/v1/uploads", json={"name": "houston.tif", "bytes": len(content)}).json()
    place = f"/v1/uploads/{upload['id']}"
    sent = f"bytes 0-{len(content) - 1}/{len(content)}"
    client.put(place, content=content, headers={"Content-Range": sent})
    client.post(f"{place}/finish")
    answer = execute(client, {"inputs": {"image": {"href": f"http://testserver{place}"}}})
    assert answer.status_code == 201, answer.text
    folder = app.state.service.folders.job(answer.json()["jobID"])
    assert [path.name for path in folder.files("image")] == ["houston.tif"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": {"href": "http://elsewhere.org/v1/uploads/" + "0" * 32}}, "is not fetched"),
        ({"image": {"href": "file:///etc/passwd"}}, "is not fetched"),
        ({"image": {"href": "http://testserver/v1/uploads/../../x"}}, "is not fetched"),
        ({"image": {"href": f"/v1/uploads/{'0' * 32}"}}, "there is no upload"),
        ({"image": "no base64!"}, "base64"),
        ({"image": {"value": "AAAA", "mediaType": "application/x-vrt"}}, "mediaType"),
        ({"image": {"value": "AAAA", "encoding": "gzip"}}, "encoding"),
        ({"colour": 3}, "no input 'colour'"),
        ({"device": "cuda"}, "no input 'device'"),
        ({"min_valid": {"deep": 1}}, "min_valid"),
        ({"min_valid": 7}, "min_valid"),
        ({"model": "../../weights"}, "model"),
        ({"image": []}, "no scene"),
    ],
)
def test_what_cannot_be_an_input_is_refused_and_leaves_no_files(client, app, scene, change, told):
    before = folders(app)
    answer = execute(client, {"inputs": {"image": in_base64(scene)} | change})
    assert 400 <= answer.status_code < 500
    assert told in answer.json()["detail"]
    assert str(app.state.service.folders.data_dir) not in answer.text
    assert folders(app) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"nonsense", 400),
        (b"[1]", 400),
        (b'{"inputs": 3}', 400),
        (b'{"inputs": {}, "response": "loud"}', 400),
        (b'{"inputs": {}, "outputs": {"paint": {}}}', 400),
        (b'{"inputs": {}, "outputs": {"damage.csv": {"transmissionMode": "value"}}}', 400),
        (b" " * (MOST_BYTES + 1), 413),
    ],
)
def test_a_body_that_is_no_execution_is_refused(client, body, status):
    answer = client.post("/processes/assess/execution", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


# ---- results


def test_results_are_addresses_of_the_files(client, job):
    results = client.get(f"/jobs/{job}/results").json()
    assert {"damage.geojson", "damage.tif", "report.html", "run.json"} <= set(results)
    for name, file in results.items():
        answer = client.get(file["href"])
        assert answer.status_code == 200, name
        assert answer.headers["content-type"].split(";")[0] == file["type"]


def test_an_execution_says_which_results_it_wants_and_how(client, app, job, scene):
    body = {"inputs": {"image": in_base64(scene)}, "outputs": {"damage.csv": {}}}
    done = client.get(f"/v1/assessments/{job}").json()["result"]
    for response, status in (("document", 200), ("raw", 204)):
        asked = execute(client, body | {"response": response}).json()["jobID"]
        early = client.get(f"/jobs/{asked}/results")
        assert early.json()["type"] == f"{EXCEPTION}/result-not-ready"
        set_job(app.state.service, asked, status="successful", result=done)
        answer = client.get(f"/jobs/{asked}/results")
        assert answer.status_code == status
        told = list(answer.json()) if status == 200 else answer.headers["link"]
        assert told == ["damage.csv"] or "/results/damage.csv>" in told


def test_a_failed_job_gives_its_reason_instead_of_results(client, app, scene):
    job = execute(client, {"inputs": {"image": in_base64(scene)}}).json()["jobID"]
    problem = {"title": "Unprocessable", "status": 422, "detail": "the scene is all sea"}
    set_job(app.state.service, job, status="failed", problem=problem)
    answer = client.get(f"/jobs/{job}/results")
    assert (answer.status_code, answer.json()["detail"]) == (422, "the scene is all sea")


def test_a_dismissed_job_is_dismissed_on_both_faces(client, app, scene):
    job = execute(client, {"inputs": {"image": in_base64(scene)}}).json()["jobID"]
    assert client.delete(f"/jobs/{job}").json()["status"] == "dismissed"
    assert client.get(f"/v1/assessments/{job}").json()["status"] == "dismissed"
    assert client.get(f"/jobs/{job}/results").status_code == 410
    assert job not in folders(app)


def test_jobs_come_page_by_page_the_newest_first(client, scene):
    asked = {"inputs": {"image": in_base64(scene)}}
    made = [execute(client, asked).json()["jobID"] for _ in range(3)]
    every = client.get("/jobs?limit=1000").json()["jobs"]
    assert [one["created"] for one in every] == sorted(
        (one["created"] for one in every), reverse=True
    )
    page = client.get("/jobs?limit=2").json()
    following = {link["rel"]: link["href"] for link in page["links"]}["next"]
    assert page["jobs"] + client.get(following).json()["jobs"] == every[:4]
    waiting = client.get("/jobs?status=accepted").json()["jobs"]
    assert {one["status"] for one in waiting} == {"accepted"}
    assert set(made) <= {one["jobID"] for one in waiting}
    for job in made:
        client.delete(f"/jobs/{job}")
