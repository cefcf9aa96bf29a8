"""Labels, suggestions and adaptations from a browser: by HTTP and a worker, and part by part."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from made_events import make_event
from service import LAPTOP, client_of, ended, worker
from tiny_run import make_bundle, make_scene
from typer.testing import CliRunner

from api.adapting import adapt_job
from api.again import copy_inputs, same_units
from api.changes import find_changes
from api.folders import JobFolder, ServiceFolders
from api.label_units import read_units
from api.labels import Label, keep_labels, read_labels
from api.models import find_model, own_models
from api.orders import Order
from api.problems import ServiceError
from api.schemas import StepInTime
from api.suggesting import merged, suggest_job
from damagenet.adapt.suggest import Suggestions
from damagenet.bundle import read_card
from damagenet.cli.main import app
from damagenet.engine.batch import assess_scenes
from damagenet.options import FORMATS, AssessOptions

WORDS = {"hit": "damaged", "fine": "undamaged"}
ME = {"by": "local", "when": "2026-11-24T20:00:00+00:00"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service with a worker, and a finished assessment of a made event by the model `start`."""

    client: TestClient
    folder: Path
    job: str
    truth: dict[str, str]

    def post(self, address: str, body: Any = None, *, job: str | None = None) -> dict[str, Any]:
        answer = self.client.post(f"/v1/assessments/{job or self.job}/{address}", json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def done(self, address: str, body: Any, *, job: str | None = None) -> dict[str, Any]:
        """Ask for a job and return its status once it has ended well."""
        status = ended(self.client, self.post(address, body, job=job)["jobID"])
        assert status["status"] == "successful", status
        return status

    def refused(self, address: str, body: Any, *, job: str | None = None) -> tuple[int, str]:
        before = sorted((self.folder / "jobs").iterdir())
        answer = self.client.post(f"/v1/assessments/{job or self.job}/{address}", json=body)
        assert sorted((self.folder / "jobs").iterdir()) == before
        return answer.status_code, answer.json()["detail"]

    def labels(self, job: str | None = None) -> dict[str, Any]:
        return self.client.get(f"/v1/assessments/{job or self.job}/labels").json()

    def job_folder(self, job: str) -> JobFolder:
        return ServiceFolders(data_dir=self.folder).job(job)


def says(truth: dict[str, str], ids) -> list[dict[str, str]]:
    return [{"unit_id": one, "label": truth[one]} for one in ids]


@pytest.fixture(scope="module")
def event(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder with scene.tif, houses.geojson and the bundle `start`; and what is true."""
    folder = tmp_path_factory.mktemp("event")
    houses = make_event(folder / "scene.tif")
    houses[["uid", "geometry"]].to_file(folder / "houses.geojson")
    make_bundle(folder / "start")
    return folder, {
        uid: WORDS[grade] for uid, grade in zip(houses["uid"], houses["grade"], strict=True)
    }


@pytest.fixture(scope="module")
def running(event, tmp_path_factory) -> Iterator[Running]:
    folder, (made, truth) = tmp_path_factory.mktemp("service"), event
    shutil.copytree(made / "start", folder / "models" / "local" / "start")
    # No prepared tiles there: to score a made model on them would only take time.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with client_of(LAPTOP.settings(folder)) as client, worker(LAPTOP, folder):
            files = {
                "image": ("scene.tif", (made / "scene.tif").read_bytes()),
                "buildings": ("houses.geojson", (made / "houses.geojson").read_bytes()),
            }
            asked = {"model": "start", "clouds": "ignore"}
            answer = client.post("/v1/assessments", files=files, data=asked)
            assert answer.status_code == 201, answer.text
            job = answer.json()["jobID"]
            assert ended(client, job)["status"] == "successful"
            yield Running(client=client, folder=folder, job=job, truth=truth)


@pytest.fixture
def fresh(running) -> Iterator[str]:
    """An assessment without labels: the finished one under another id."""
    source = running.client.app.state.service.jobs.get(running.job, "local")
    from api.store.jobs import NewJob

    store = running.client.app.state.service.jobs
    new = store.create(
        NewJob(process="assess", owner="local", options=source.options, inputs=source.inputs)
    )
    shutil.copytree(
        running.job_folder(running.job).root,
        running.job_folder(new.id).root,
        ignore=shutil.ignore_patterns("labels"),
    )
    store.claim(new.id, "test", lease_s=600)
    assert store.succeed(new.id, "test", source.result)
    yield new.id
    running.client.delete(f"/v1/assessments/{new.id}")


def test_from_clicks_over_suggestions_to_a_model_and_what_it_changed(running, tmp_path):
    ids = list(running.truth)
    clicked = running.post("labels", says(running.truth, ids[:20]))
    assert clicked["counts"]["damaged"] + clicked["counts"]["undamaged"] == 20
    assert {row["drawn"] for row in clicked["labels"]} == {"chosen"}
    assert {row["by"] for row in clicked["labels"]} == {"local"}

    status = running.done("suggest", {"n": 20})
    assert (status["processID"], status["step"]) == ("suggest", None)
    assert status["result"]["assessment"] == running.job
    assert (status["result"]["suggested"], status["result"]["kept"]) == (20, 20)
    known = running.labels()
    new = [row for row in known["labels"] if row["rank"] is not None]
    assert known["rounds"] == 1
    assert known["counts"]["open"] == len(new) == 20
    assert [row["rank"] for row in new] == list(range(1, 21))
    assert {row["round"] for row in new} == {1}
    assert all(0 <= row["p_damaged"] <= 1 and 0 < row["uncertainty"] <= 1 for row in new)
    assert {row["unit_id"] for row in new}.isdisjoint(ids[:20])

    answered = running.post("labels", says(running.truth, [row["unit_id"] for row in new]))
    random = {row["unit_id"] for row in answered["labels"] if row["drawn"] == "random"}
    assert random >= {row["unit_id"] for row in new if row["drawn"] == "random"} != set()
    assert answered["counts"]["random"] == len(random)

    adapted = running.done("adapt", {"name": "storm", "seed": 1})
    assert (adapted["processID"], adapted["model"]) == ("adapt", "start")
    result = adapted["result"]
    assert result["name"] == "storm"
    assert result["model"].startswith("storm@")
    assert result["labels"]["used"] == 40
    assert result["aside"]["after"]["balanced_accuracy"]["value"] == 1.0
    assert result["aside"]["gain"]["balanced_accuracy"]["value"] > 0.2
    assert result["base_task"] is None
    assert "not measured" in result["base_task_note"]
    assert str(running.folder) not in json.dumps(adapted)

    again = running.done("again", {"model": "storm", "threshold": None})
    assert again["options"] == {"model": "storm", "clouds": "ignore"}
    assert running.labels(again["jobID"]) == running.labels()
    changes = running.client.get(
        f"/v1/assessments/{again['jobID']}/changes", params={"against": running.job, "limit": 3}
    ).json()
    assert changes["model"] == result["model"]
    assert (changes["compared"], changes["only_here"], changes["only_there"]) == (64, 0, 0)
    tables = [
        pd.read_parquet(running.job_folder(job).results / "damage.parquet").set_index("unit_id")
        for job in (running.job, again["jobID"])
    ]
    differ = tables[0]["label"] != tables[1]["label"]
    assert changes["changed"] == differ.sum() == sum(flow["count"] for flow in changes["flows"])
    assert len(changes["units"]) == 3
    for unit in changes["units"]:
        before, after = (table.loc[unit["unit_id"]] for table in tables)
        assert unit["before"] == dict(before[["label", "p_damaged"]])
        assert unit["after"] == dict(after[["label", "p_damaged"]])
    right = (tables[1]["label"] == pd.Series(running.truth)[tables[1].index]).mean()
    assert right > 0.9 > (tables[0]["label"] == pd.Series(running.truth)[tables[0].index]).mean()

    # The command line takes the file as it is: another model, and totals of the run.
    downloaded = running.client.get(f"/v1/assessments/{running.job}/labels.geojson")
    assert downloaded.headers["content-type"] == "application/geo+json"
    (tmp_path / "labels.geojson").write_bytes(downloaded.content)
    words = ("--labels", str(tmp_path / "labels.geojson"), "--field", "label")
    words += ("--damaged", "damaged", "--undamaged", "undamaged")
    scene = str(running.job_folder(running.job).files("image")[0])
    asked = ("--model", str(running.folder / "models/local/start"), "--clouds", "ignore")
    out = ("--out", str(tmp_path / "storm"), "--seed", "1", "--json")
    told = CliRunner().invoke(app, ["adapt", scene, *words, *asked, *out])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["aside"] == result["aside"]
    results = str(running.job_folder(running.job).results)
    told = CliRunner().invoke(app, ["summarise", results, *words, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["rows"][-1]["labelled_random"] == len(random)


def test_a_label_is_taken_back_and_a_suggested_unit_stays_to_be_asked(running, fresh):
    folder = running.job_folder(fresh)
    ids = list(running.truth)
    running.post("labels", says(running.truth, ids[:2]), job=fresh)
    rows = read_labels(folder)
    drawn = {"drawn": "random", "rank": 1, "round": 1}
    from api.labels import write_labels

    write_labels(folder, [rows[0], rows[1].model_copy(update=drawn)])
    said = [{"unit_id": one, "label": None} for one in ids[:3]]
    left = running.post("labels", said, job=fresh)["labels"]
    assert [(row["unit_id"], row["label"], row["drawn"]) for row in left] == [
        (ids[1], None, "random")
    ]
    assert left[0]["by"] is None
    again = running.post("labels", says(running.truth, ids[1:2]), job=fresh)["labels"]
    assert (again[0]["drawn"], again[0]["rank"]) == ("random", 1)
    write_labels(folder, [])
    assert running.labels(fresh)["labels"] == []
    answer = running.client.get(f"/v1/assessments/{fresh}/labels.geojson")
    assert answer.status_code == 404


def test_units_that_do_not_exist_are_named_and_nothing_is_kept(running, fresh):
    ids = list(running.truth)
    said = [*says(running.truth, ids[:1]), *({"unit_id": f"x{n}", "label": None} for n in range(6))]
    answer = running.client.post(f"/v1/assessments/{fresh}/labels", json=said)
    assert answer.status_code == 422
    assert "units x0, x1, x2, x3 and 2 more do not exist" in answer.json()["detail"]
    assert running.labels(fresh)["labels"] == []
    answer = running.client.post(
        f"/v1/assessments/{fresh}/labels", json=[{"unit_id": ids[0], "label": "maybe"}]
    )
    assert answer.status_code == 422


def test_two_browsers_that_label_at_once_lose_nothing(running, fresh):
    ids = list(running.truth)

    def click(unit: str) -> int:
        said = says(running.truth, [unit])
        return running.client.post(f"/v1/assessments/{fresh}/labels", json=said).status_code

    with ThreadPoolExecutor(8) as browsers:
        assert set(browsers.map(click, ids[:32])) == {200}
    found = {row["unit_id"]: row["label"] for row in running.labels(fresh)["labels"]}
    assert found == {one: running.truth[one] for one in ids[:32]}


def test_too_few_labels_and_one_class_are_refused_with_the_engine_s_sentence(running, fresh):
    ids = sorted(running.truth, key=lambda one: running.truth[one])
    running.post("labels", says(running.truth, ids[:19]), job=fresh)
    status, sentence = running.refused("adapt", {"name": "few"}, job=fresh)
    assert status == 422
    assert sentence.startswith("labels.geojson: 19 labels can be used, an adaptation needs 20")
    running.post("labels", says(running.truth, ids[19:21]), job=fresh)
    status, sentence = running.refused("adapt", {"name": "few"}, job=fresh)
    assert (status, "all 21 labels that can be used are damaged" in sentence) == (422, True)


def test_a_refusal_amid_the_work_is_the_job_s_problem(running, fresh):
    # Twenty neighbours, but for one all of one class: no blocks hold both classes twice.
    ids = sorted(running.truth, key=lambda one: running.truth[one])
    said = says(running.truth, ids[:20]) + says(running.truth, ids[-1:])
    running.post("labels", said, job=fresh)
    status = ended(running.client, running.post("adapt", {"name": "lost"}, job=fresh)["jobID"])
    assert status["status"] == "failed"
    assert status["problem"]["status"] == 422
    assert "label both classes in several places" in status["problem"]["detail"]
    assert not (running.folder / "models" / "local" / "lost").exists()


@pytest.mark.parametrize(
    ("name", "status", "why"),
    [
        ("../storm", 422, "cannot be the name of a model"),
        (".storm", 422, "cannot be the name of a model"),
        ("a b", 422, "cannot be the name of a model"),
        ("", 422, "cannot be the name of a model"),
        ("x" * 65, 422, "cannot be the name of a model"),
        ("harvey", 422, "the name of a shipped model"),
        ("auto", 422, "the name of a shipped model"),
        ("start", 409, "you have a model start already"),
    ],
)
def test_names_that_a_model_cannot_have(running, name, status, why):
    found = running.refused("adapt", {"name": name})
    assert found[0] == status
    assert why in found[1]


def test_a_model_that_the_caller_does_not_have_is_refused(running, fresh):
    for address, body in (
        ("adapt", {"name": "new", "model": "nobody-s"}),
        ("again", {"model": "../models/local/start"}),
    ):
        status, sentence = running.refused(address, body, job=fresh)
        assert status == 422
        assert "there is no model" in sentence


def test_an_adapted_model_is_its_owner_s_alone(running):
    folders = ServiceFolders(data_dir=running.folder.resolve())
    assert "start" in own_models("local", folders)
    assert find_model("start", "local", folders) == folders.models / "local" / "start"
    assert own_models("another", folders) == []
    with pytest.raises(ServiceError, match="there is no model 'start'"):
        find_model("start", "another", folders)
    assert find_model("harvey", "another", folders).name == "harvey"


def test_only_a_finished_assessment_takes_labels(running, fresh):
    job = running.post("suggest", {"n": 1}, job=fresh)["jobID"]
    assert ended(running.client, job)["status"] == "successful"
    status, sentence = running.refused("labels", [{"unit_id": "x", "label": None}], job=job)
    assert (status, sentence) == (409, "this job is no assessment, it does suggest")
    other = running.client.post("/v1/assessments/" + "0" * 32 + "/suggest", json={})
    assert other.status_code == 404
    store = running.client.app.state.service.jobs
    source = store.get(running.job, "local")
    from api.store.jobs import NewJob

    waiting = store.create(
        NewJob(process="assess", owner="local", options=source.options, inputs={})
    )
    store.dismiss(waiting.id, "local")
    status, sentence = running.refused("suggest", None, job=waiting.id)
    assert (status, "this assessment is dismissed" in sentence) == (409, True)


def test_options_that_cannot_be_are_refused_before_a_second_assessment(running):
    status, sentence = running.refused("again", {"treshold": 0.5})
    assert (status, "did you mean 'threshold'" in sentence) == (422, True)
    status, sentence = running.refused("again", {"threshold": 5})
    assert status == 422
    status, sentence = running.refused("again", {"stride": 20})
    assert (status, "cuts a grid" in sentence) == (422, True)


def test_inputs_are_linked_and_outlive_the_job_they_came_from(tmp_path):
    job, new = JobFolder(root=tmp_path / "a"), JobFolder(root=tmp_path / "b")
    for role, name in (("image", "one.tif"), ("image", "two.tif"), ("pre", "before.tif")):
        path = job.inputs(role) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    inner = job.inputs("buildings") / "unpacked" / "houses.shp"
    inner.parent.mkdir(parents=True)
    inner.write_text("shapes")
    copy_inputs(job, new, roles=("image", "buildings"), images={"two.tif"})
    assert [path.name for path in new.files("image")] == ["two.tif"]
    assert new.files("pre") == []
    assert new.files("image")[0].samefile(job.inputs("image") / "two.tif")
    job.delete()
    assert new.files("image")[0].read_text() == "two.tif"
    assert (new.inputs("buildings") / "unpacked" / "houses.shp").read_text() == "shapes"


def test_cells_keep_their_labels_only_where_they_are_the_same_cells(event):
    start, harvey = event[0] / "start", Path("models/weights/harvey")
    shipped = find_model("harvey", "local", ServiceFolders(data_dir=event[0]))
    assert harvey.name == shipped.name
    assert same_units({}, {"threshold": 0.3}, (start, start), cells=True)
    assert not same_units({}, {"stride": 20.0}, (start, start), cells=True)
    assert not same_units({}, {}, (start, shipped), cells=True)
    assert same_units({}, {}, (start, shipped), cells=False)
    assert not same_units({}, {"id_field": "name"}, (start, start), cells=False)


# Part by part, without a service.


@pytest.fixture
def grid(event, tmp_path) -> JobFolder:
    """A finished job without buildings: 100 cells of the made event."""
    job = JobFolder(root=tmp_path / "data" / "jobs" / ("a" * 32))
    job.inputs("image").mkdir(parents=True)
    shutil.copy(event[0] / "scene.tif", job.inputs("image"))
    options = AssessOptions(
        model=str(event[0] / "start"), format=FORMATS, clouds="ignore", device="cpu"
    )
    assess_scenes(job.files("image"), job.results, options)
    shutil.copytree(event[0] / "start", tmp_path / "data" / "models" / "local" / "start")
    return job


def order(job: JobFolder, process: str, **options: Any) -> Order:
    """An order of a job that follows from another one."""
    new = JobFolder(root=job.root.with_name(process.ljust(32, "0")))
    copy_inputs(job, new)
    if job.labels.exists():
        new.labels.parent.mkdir(exist_ok=True)
        shutil.copy(job.labels, new.labels)
    return Order(
        job_id=new.root.name,
        process=process,
        root=new.root,
        models=job.root.parents[1] / "models" / "local",
        options={"assessment": job.root.name, "model": "start"} | options,
        device="cpu",
    )


def blue(job: JobFolder) -> dict[str, str]:
    """What is true of each cell of the made event: where most of it is blue, it is damaged."""
    import rasterio

    with rasterio.open(job.files("image")[0]) as file:
        pixels = file.read().astype(float)
    found = {}
    for unit in read_units(job.results).frame["unit_id"]:
        row, column = (int(part) * 32 for part in unit.split("/r")[1].split("c"))
        means = pixels[:, row : row + 32, column : column + 32].mean(axis=(1, 2))
        found[unit] = "damaged" if means[2] > means[1] else "undamaged"
    return found


def test_cells_are_labelled_suggested_and_adapted_to_like_buildings(grid, tmp_path):
    truth = blue(grid)
    assert 0 < list(truth.values()).count("damaged") < len(truth) == 100
    keep_labels(grid, dict(list(truth.items())[:30]), **ME)
    steps: list[StepInTime] = []
    result = suggest_job(order(grid, "suggest", n=30, random=0.5, seed=0), steps.append)
    assert (result["suggested"], result["round"], result["judged"]) == (30, 1, 100)
    assert steps[-1].stage == "suggesting"
    assert steps[-1].units_done == steps[-1].units_total == 100
    rows = read_labels(grid)
    assert len(rows) == 60
    keep_labels(grid, {row.unit_id: truth[row.unit_id] for row in rows}, **ME)
    file = gpd.read_file(grid.labels)
    assert set(file.geom_type) == {"Point"}
    table = pd.read_parquet(grid.results / "damage.parquet").set_index("unit_id")
    p = file.set_index("unit_id")["p_damaged"].dropna()
    # A label's point is the middle of the cell, so that the network sees the very cell there.
    assert len(p) == 30
    assert p.to_numpy() == pytest.approx(table["p_damaged"][p.index].to_numpy(), abs=0.05)
    report = adapt_job(
        order(grid, "adapt", name="cells", learn="head", seed=0, clouds="ignore"), steps.append
    )
    assert [step.units_done for step in steps if step.stage == "adapting"] == [0, 10, 80]
    assert report["labels"]["used"] == 60
    assert report["aside"]["gain"]["balanced_accuracy"]["value"] > 0
    words = ("--labels", str(grid.labels), "--field", "label", "--damaged", "damaged")
    told = CliRunner().invoke(app, ["summarise", str(grid.results), *words, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["rows"][-1]["labelled_otherwise"] > 0


def test_a_second_try_after_a_runner_died_changes_nothing(grid, tmp_path):
    truth = blue(grid)
    asked = order(grid, "suggest", n=40, random=0.5, seed=0)
    first = suggest_job(asked, lambda step: None)
    written = grid.labels.read_bytes()
    assert suggest_job(asked, lambda step: None) == first
    assert grid.labels.read_bytes() == written
    keep_labels(grid, {row.unit_id: truth[row.unit_id] for row in read_labels(grid)}, **ME)
    adaptation = order(grid, "adapt", name="cells", learn="head", seed=0, clouds="ignore")
    report = adapt_job(adaptation, lambda step: None)
    again = adapt_job(adaptation, lambda step: None)
    assert again["model"] == report["model"]
    other = adaptation.model_copy(update={"job_id": "b" * 32})
    with pytest.raises(ServiceError, match="you have a model cells already"):
        adapt_job(other, lambda step: None)
    assert read_card(adaptation.models / "cells").command.startswith("adaptation adapt000")


def test_labels_that_arrive_while_the_network_looks_are_kept(grid):
    truth = list(blue(grid).items())
    keep_labels(grid, dict(truth[:2]), **ME)
    late = dict(truth[2:40])

    def hear(step: StepInTime) -> None:
        keep_labels(grid, {**late, truth[0][0]: None}, **ME)

    result = suggest_job(order(grid, "suggest", n=50, random=0.5, seed=3), hear)
    rows = {row.unit_id: row for row in read_labels(grid)}
    assert {unit: rows[unit].label for unit in late} == late
    both = [row for unit, row in rows.items() if unit in late and row.rank is not None]
    assert both
    assert {row.by for row in both} == {"local"}
    assert sum(row.rank is not None for row in rows.values()) == result["suggested"] == 50
    if truth[0][0] not in result["newly_random"]:
        assert truth[0][0] not in rows


def test_a_label_taken_back_that_was_drawn_meanwhile_is_asked_for():
    drawn = Label(unit_id="a", label="damaged", drawn="random", drawn_of=9)
    plan = Suggestions(
        out=Path("x.geojson"),
        round=1,
        model="m@1",
        judged=9,
        kept=1,
        newly_random=("a",),
        buildings=(),
        notes=(),
    )
    (row,) = merged([], {"a": drawn}, plan)
    assert (row.label, row.drawn, row.suggested) == (None, "random", True)
    (row,) = merged([Label(unit_id="a", label="undamaged")], {"a": drawn}, plan)
    assert (row.label, row.drawn, row.drawn_of) == ("undamaged", "random", 9)


def test_a_deleted_assessment_does_not_come_back_with_a_label(grid):
    results = grid.root.with_name("kept")
    shutil.copytree(grid.root, results)
    grid.delete()
    with pytest.raises(ServiceError) as refused:
        keep_labels(grid, {"scene/r0000c0000": "damaged"}, **ME)
    assert refused.value.status == 404
    assert not grid.root.exists()


def test_a_scene_without_a_place_on_earth_takes_no_labels(tmp_path, event):
    job = JobFolder(root=tmp_path / "job")
    make_scene(job.inputs("image") / "bare.tif", crs=None)
    options = AssessOptions(
        model=str(event[0] / "start"), format=FORMATS, pixel_size=1.0, device="cpu"
    )
    assess_scenes(job.files("image"), job.results, options)
    unit = pd.read_parquet(job.results / "damage.parquet")["unit_id"][0]
    with pytest.raises(ServiceError, match="have no place on the Earth"):
        keep_labels(job, {unit: "damaged"}, **ME)


def written(folder: Path, **columns: Any) -> Path:
    count = len(columns["unit_id"])
    given = {"lon": [0.0] * count, "lat": [0.0] * count, "model": ["m@1"] * count} | columns
    folder.mkdir()
    pd.DataFrame(given).to_parquet(folder / "damage.parquet")
    return folder


def test_changes_are_of_units_that_both_assessments_hold(tmp_path):
    nan = np.nan
    before = written(
        tmp_path / "before",
        unit_id=["a", "b", "c", "d", "e"],
        label=["damaged", "undamaged", "damaged", "not-judged", "damaged"],
        p_damaged=[0.9, 0.2, 0.8, nan, 0.7],
        lon=[nan, 0.0, 0.0, 0.0, 0.0],
    )
    after = written(
        tmp_path / "after",
        unit_id=["a", "b", "c", "d", "f"],
        label=["undamaged", "undamaged", "undamaged", "damaged", "damaged"],
        p_damaged=[0.4, 0.1, 0.1, 0.6, 0.7],
        # The unit `c` lies elsewhere now: it is another cell.
        lon=[nan, 0.000001, 1.0, 0.0, 0.0],
        model=["n@2"] * 5,
    )
    found = find_changes(after, before, ids=("1", "0"), limit=9)
    assert (found.compared, found.only_here, found.only_there) == (3, 2, 2)
    assert (found.model, found.model_against, found.changed) == ("n@2", "m@1", 2)
    assert [unit.unit_id for unit in found.units] == ["d", "a"]
    assert found.units[0].before.p_damaged is None
    assert {(flow.before, flow.after, flow.count) for flow in found.flows} == {
        ("damaged", "undamaged", 1),
        ("not-judged", "damaged", 1),
    }
    other = written(tmp_path / "other", unit_id=["z"], label=["damaged"], p_damaged=[0.9])
    with pytest.raises(ServiceError, match="share no unit"):
        find_changes(after, other, ids=("1", "0"), limit=9)


def test_graded_buildings_of_a_real_scene_adapt_the_shipped_model(harvey_data, tmp_path):
    stem = harvey_data / "xbd" / "hurricane-harvey_00000003_post_disaster"
    houses = gpd.read_file(stem.with_suffix(".geojson"))
    truth = {
        uid: "undamaged" if grade == "no-damage" else "damaged"
        for uid, grade in zip(houses["uid"], houses["subtype"], strict=True)
    }
    job = JobFolder(root=tmp_path / "jobs" / ("a" * 32))
    for role, suffix in (("image", ".tif"), ("buildings", ".geojson")):
        job.inputs(role).mkdir(parents=True)
        shutil.copy(stem.with_suffix(suffix), job.inputs(role) / f"scene{suffix}")
    options = AssessOptions(
        buildings=job.files("buildings")[0], model="harvey", format=FORMATS, device="cpu"
    )
    assess_scenes(job.files("image"), job.results, options)
    keep_labels(job, truth, **ME)
    asked = order(job, "adapt", name="houston", learn="best", seed=0, model="harvey")
    report = adapt_job(asked, lambda step: None)
    assert report["labels"]["read"] == len(truth) == 37
    assert report["aside"]["before"]["false_alarm_rate"]["value"] > 0.9
    assert report["aside"]["gain"]["false_alarm_rate"]["value"] < 0
