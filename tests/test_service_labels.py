"""Labels, suggestions, adaptations and second assessments, by HTTP and with a worker."""

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from made_events import make_graded_event
from service import LAPTOP, client_of, ended, worker
from tiny_run import make_bundle
from typer.testing import CliRunner

from api.folders import JobFolder, ServiceFolders
from api.labels import read_labels, write_labels
from api.models import find_model, own_models
from api.problems import ServiceError
from api.store.jobs import NewJob
from damagenet.cli.main import app


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
    folder = tmp_path_factory.mktemp("event")
    return folder, make_graded_event(folder)


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
    store = running.client.app.state.service.jobs
    given = {"process": "assess", "owner": "local"}
    given |= {"options": source.options, "inputs": source.inputs}
    # The worker beside the tests takes whatever waits: before it does, or with another id.
    claims = (store.claim(store.create(NewJob(**given)).id, "test", lease_s=600) for _ in range(10))
    new = next(job for job in claims if job is not None)
    shutil.copytree(
        running.job_folder(running.job).root,
        running.job_folder(new.id).root,
        ignore=shutil.ignore_patterns("labels"),
    )
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

    adapted = running.done("adapt", {"name": "storm", "learn": "head", "seed": 1})
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
    origins = {
        one["name"]: one["origin"] for one in running.client.get("/v1/models").json()["models"]
    }
    assert (origins["storm"], origins["harvey"]) == ("adapted", "shipped")

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
    out = ("--out", str(tmp_path / "storm"), "--learn", "head", "--seed", "1", "--json")
    told = CliRunner().invoke(app, ["adapt", scene, *words, *asked, *out])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["aside"] == result["aside"]
    results = str(running.job_folder(running.job).results)
    told = CliRunner().invoke(app, ["summarise", results, *words, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["rows"][-1]["labelled_random"] == len(random)


def test_totals_are_those_of_the_command_line_over_the_run_and_over_areas(running, fresh, tmp_path):
    folder = running.job_folder(fresh)
    address = f"/v1/assessments/{fresh}/totals"
    unlabelled = running.client.get(address).json()
    assert unlabelled["situation"] != "random-labels"
    running.post("labels", says(running.truth, list(running.truth)[:32]), job=fresh)
    rows = [row.model_copy(update={"drawn": "random"}) for row in read_labels(folder)]
    write_labels(folder, rows)
    whole = running.client.get(address).json()
    assert whole["situation"] == "random-labels"
    assert whole["rows"][0]["labelled_random"] == 32
    areas = gpd.read_file(folder.files("buildings")[0]).to_crs(32615)
    west, south, east, north = areas.total_bounds
    middle = (west + east) / 2
    halves = gpd.GeoDataFrame(
        {"name": ["west", "east"]},
        geometry=gpd.GeoSeries.from_wkt(
            [
                f"POLYGON(({a} {south},{b} {south},{b} {north},{a} {north},{a} {south}))"
                for a, b in ((west, middle), (middle, east))
            ]
        ),
        crs=32615,
    )
    halves.to_file(tmp_path / "halves.gpkg")
    sent = running.client.post(
        address,
        content=(tmp_path / "halves.gpkg").read_bytes(),
        params={"name": "halves.gpkg", "area_id_field": "name"},
    )
    assert sent.status_code == 200, sent.text
    words = ("--labels", str(folder.labels), "--field", "label", "--damaged", "damaged")
    where = ("--areas", str(tmp_path / "halves.gpkg"), "--area-id-field", "name")
    out = ("--out", str(tmp_path / "totals"), "--no-report", "--json")
    told = CliRunner().invoke(app, ["summarise", str(folder.results), *words, *where, *out])
    assert told.exit_code == 0, told.output
    assert sent.json()["rows"] == json.loads(told.stdout)["rows"]
    assert [row["area"] for row in sent.json()["rows"]] == ["west", "east", "(whole run)"]
    assert not list((running.folder / "uploads").glob("*.areas"))


def test_areas_that_cannot_be_used_are_refused_in_words(running):
    address = f"/v1/assessments/{running.job}/totals"
    for content, name, why in (
        (b"", "areas.geojson", "no areas were sent"),
        (b"<svg/>", "areas.geojson", "areas.geojson is of another kind"),
        (b"{}", "areas.svg", "which its name does not say"),
        (b'{"type":"FeatureCollection","features":[]}', "areas.geojson", "areas.geojson"),
    ):
        answer = running.client.post(address, content=content, params={"name": name})
        assert answer.status_code == 422, answer.text
        assert why in answer.json()["detail"]
        assert str(running.folder) not in answer.json()["detail"]
    far = '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},"geometry":'
    far += '{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1],[0,0]]]}}]}'
    answer = running.client.post(address, content=far)
    assert answer.status_code == 422
    assert "lies in an area of areas.geojson" in answer.json()["detail"]


def test_a_label_is_taken_back_and_a_suggested_unit_stays_to_be_asked(running, fresh):
    folder = running.job_folder(fresh)
    ids = list(running.truth)
    running.post("labels", says(running.truth, ids[:2]), job=fresh)
    rows = read_labels(folder)
    drawn = {"drawn": "random", "rank": 1, "round": 1}
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
        assert set(browsers.map(click, ids[:16])) == {200}
    found = {row["unit_id"]: row["label"] for row in running.labels(fresh)["labels"]}
    assert found == {one: running.truth[one] for one in ids[:16]}


def test_too_few_labels_and_one_class_are_refused_with_the_engine_s_sentence(running, fresh):
    ids = sorted(running.truth, key=lambda one: running.truth[one])
    running.post("labels", says(running.truth, ids[:19]), job=fresh)
    status, sentence = running.refused("adapt", {"name": "few"}, job=fresh)
    assert status == 422
    assert sentence.startswith("labels.geojson: 19 labels can be used, an adaptation needs 20")
    running.post("labels", says(running.truth, ids[19:21]), job=fresh)
    status, sentence = running.refused("adapt", {"name": "few"}, job=fresh)
    assert (status, "all 21 labels that can be used are damaged" in sentence) == (422, True)


def test_a_job_that_follows_is_made_once_under_one_name(running, fresh):
    def ask(address: str, body: Any) -> Any:
        named = {"Idempotency-Key": f"storm-{fresh}"}
        return running.client.post(f"/v1/assessments/{fresh}/{address}", json=body, headers=named)

    first, second = (ask("again", {"threshold": 0.7}) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["jobID"] == first.json()["jobID"]
    assert second.headers["Location"] == first.headers["Location"]
    for address, body in (("again", {"threshold": 0.8}), ("suggest", {"n": 3})):
        other = ask(address, body)
        assert other.status_code == 422
        assert "was used for other files or options" in other.json()["detail"]
    running.client.delete(f"/v1/assessments/{first.json()['jobID']}")


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
        ("harvey", 422, "the name of a model for everybody"),
        ("auto", 422, "the name of a model for everybody"),
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


def test_an_assessment_again_takes_what_its_model_can_use(running, event):
    made = event[0]
    make_bundle(running.folder / "models" / "pair", inputs=("post", "pre"))
    sent = {
        role: (f"{role}{path.suffix}", path.read_bytes())
        for role, path in (
            ("image", made / "scene.tif"),
            ("pre", made / "scene.tif"),
        )
    }
    asked = {"model": "pair", "clouds": "ignore"}
    job = running.client.post("/v1/assessments", files=sent, data=asked).json()["jobID"]
    assert ended(running.client, job)["status"] == "successful"
    running.post("labels", [{"unit_id": "image/r0000c0000", "label": "damaged"}], job=job)
    found = {}
    for name, given in (
        ("same", {"threshold": 0.4}),
        ("one picture", {"model": "start"}),
        ("other cells", {"model": "harvey"}),
        ("another stride", {"stride": 16}),
    ):
        new = running.post("again", given, job=job)
        found[name] = (sorted(new["inputs"]), running.job_folder(new["jobID"]).labels.exists())
        for role in new["inputs"]:
            (path,) = running.job_folder(new["jobID"]).files(role)
            assert path.samefile(running.job_folder(job).files(role)[0])
        running.client.delete(f"/v1/assessments/{new['jobID']}")
    assert found == {
        "same": (["image", "pre"], True),
        "one picture": (["image"], True),
        "other cells": (["image"], False),
        "another stride": (["image", "pre"], False),
    }
