"""What a unit's verdict was made of, by REST."""

import io
import shutil

import anyio
import numpy as np
import pytest
from fastapi.testclient import TestClient
from finished_jobs import add_job, assessed, set_job, tiny_bundle
from PIL import Image
from tiny_run import EAST, NORTH, make_buildings, make_bundle, make_scene, pixel_box

from api.app import create_app
from api.explaining import MOST_WAITING, Explaining
from api.problems import ServiceError
from api.settings import ServiceSettings
from damagenet.config import make_settings
from damagenet.explain.explain import explain_inputs
from damagenet.explain.names import METHOD_NAMES
from damagenet.explain.options import ExplainOptions


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    app = create_app(ServiceSettings(data_dir=tmp_path_factory.mktemp("service"), device="cpu"))
    models = app.state.service.folders.models
    tiny_bundle(models / "toy")
    tiny_bundle(models / "pair", inputs=("post", "pre"))
    return app


@pytest.fixture(scope="module")
def client(app):
    with TestClient(app) as client:
        yield client


def finished(app, *scenes, model="toy", pre=None, **options):
    """Assess scenes as a job whose files lie where a job's do."""
    service = app.state.service
    names = {"image": scenes, "pre": [] if pre is None else [pre]}

    def make(root):
        folder = service.folders.job(root.name)
        for role, paths in names.items():
            for path in paths:
                folder.inputs(role).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder.inputs(role))
        given = {} if pre is None else {"pre": folder.files("pre")[0]}
        bundle = service.folders.models / model
        return assessed(root, bundle, folder.files("image"), **given, **options)[1]

    job = add_job(service, make)
    inputs = {role: [{"name": path.name} for path in paths] for role, paths in names.items()}
    set_job(service, job, options={"model": model}, inputs=inputs)
    return job


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return make_scene(tmp_path_factory.mktemp("scenes") / "scene.tif", columns=4, rows=3)


@pytest.fixture(scope="module")
def buildings(tmp_path_factory):
    shapes = [pixel_box(20, 20, 8, 8), pixel_box(0, 0, 100, 60), pixel_box(900, 900, 9, 9)]
    return make_buildings(tmp_path_factory.mktemp("buildings") / "b.gpkg", shapes)


@pytest.fixture(scope="module")
def job(app, scene, buildings):
    return finished(app, scene, buildings=buildings)


@pytest.fixture(scope="module")
def written(app, scene, buildings, tmp_path_factory):
    """The same scene by the command line's way."""
    options = {
        "model": str(app.state.service.folders.models / "toy"),
        "buildings": buildings,
        "method": METHOD_NAMES,
        "device": "cpu",
    }
    out = tmp_path_factory.mktemp("explained")
    return explain_inputs([scene], out, make_settings(ExplainOptions, options)).scenes[0]


def ask(client, job, unit, **query):
    return client.get(f"/v1/assessments/{job}/explanations/{unit}.png", params=query)


def told(answer) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as picture:
        return picture.text


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_unit_s_picture_is_that_of_the_command_line(client, job, written, method):
    for unit in written.shown:
        answer = ask(client, job, unit.unit_id, method=method)
        assert answer.headers["content-type"] == "image/png"
        assert told(answer)["verdict"] == unit.label
        wanted = Image.open(written.folder / unit.files[method])
        with wanted, Image.open(io.BytesIO(answer.content)) as got:
            apart = np.abs(np.asarray(wanted, int) - np.asarray(got, int))
            assert apart.max() <= 2
            assert got.text["p_damaged"] == wanted.text["p_damaged"]


def test_cells_of_several_scenes_and_pairs_are_explained(app, client, scene, tmp_path):
    other = make_scene(tmp_path / "other.tif", columns=2, rows=2, origin=(EAST + 900, NORTH))
    job = finished(app, scene, other)
    assert told(ask(client, job, "other/r0001c0001"))["unit_id"] == "r0001c0001"
    before = make_scene(tmp_path / "before.tif", columns=4, rows=3)
    job = finished(app, scene, model="pair", pre=before)
    answer = ask(client, job, "scene/r0001c0001")
    assert told(answer)["note"].endswith("both show the same map")
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (4 * 256 + 12, 256)


def test_who_has_the_picture_is_not_sent_it_again(client, job):
    first = ask(client, job, "b0")
    path = f"/v1/assessments/{job}/explanations/b0.png"
    known = {"If-None-Match": first.headers["etag"]}
    assert client.get(path, headers=known).status_code == 304
    assert client.get(f"{path}?method=guided_backprop", headers=known).status_code == 200


def test_refusals_say_why(app, client, job, scene, tmp_path):
    assert ask(client, job, "b9").status_code == 404
    assert ask(client, "0" * 32, "b0").status_code == 404
    answer = ask(client, job, "b0", method="lime")
    assert (answer.status_code, "grad_cam" in answer.json()["detail"]) == (422, True)
    answer = ask(client, job, "b2")
    assert answer.status_code in (404, 422)
    make_bundle(app.state.service.folders.models / "other", seed=3)
    set_job(app.state.service, job, options={"model": "other"})
    answer = ask(client, job, "b1")
    set_job(app.state.service, job, options={"model": "toy"})
    assert answer.status_code == 422
    assert "is not the one that made this assessment" in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_picture_that_is_gone_is_named_without_its_folder(app, client, scene):
    job = finished(app, scene)
    folder = app.state.service.folders.job(job)
    (folder.inputs("image") / scene.name).unlink()
    answer = ask(client, job, "scene/r0000c0000")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "scene.tif is not there any more: assess it again"


def test_few_explanations_wait(app):
    explaining = Explaining()
    refused = []

    async def ask_many() -> None:
        gate = anyio.Event()

        async def one() -> None:
            try:
                await explaining.make(lambda: anyio.from_thread.run(gate.wait) or b"")
            except ServiceError as err:
                refused.append((err.status, err.headers))

        async with anyio.create_task_group() as group:
            for _ in range(MOST_WAITING + 3):
                group.start_soon(one)
                await anyio.sleep(0)
            await anyio.sleep(0.05)
            gate.set()

    anyio.run(ask_many)
    assert refused == [(429, {"Retry-After": "5"})] * 2
