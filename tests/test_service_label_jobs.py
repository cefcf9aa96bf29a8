"""What jobs that follow an assessment do, part by part and without a service."""

import json
import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from made_events import make_graded_event
from tiny_run import make_scene
from typer.testing import CliRunner

from api.adapting import adapt_job
from api.again import copy_inputs, same_units
from api.changes import find_changes
from api.folders import JobFolder, ServiceFolders
from api.label_units import read_units
from api.labels import Label, keep_labels, read_labels
from api.models import check_name, find_model, own_models
from api.orders import Order
from api.problems import ServiceError
from api.schemas import StepInTime
from api.suggesting import merged, suggest_job
from damagenet.adapt.suggest import Suggestions
from damagenet.bundle import read_card
from damagenet.cli.main import app
from damagenet.engine.batch import assess_scenes
from damagenet.options import FORMATS, AssessOptions

ME = {"by": "local", "when": "2026-11-24T20:00:00+00:00"}


@pytest.fixture(scope="module")
def event(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("event")
    return folder, make_graded_event(folder)


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
    shares = [step.units_done for step in steps if step.stage == "adapting"]
    assert (shares[0], shares) == (0, sorted(shares))
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


def test_graded_buildings_of_a_real_scene_adapt_the_shipped_model(
    harvey_data, tmp_path, monkeypatch
):
    # No prepared tiles there: to score them would take most of the time.
    monkeypatch.chdir(tmp_path)
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
    asked = order(job, "adapt", name="houston", learn="head", seed=0, model="harvey")
    report = adapt_job(asked, lambda step: None)
    assert report["labels"]["read"] == len(truth) == 37
    assert report["aside"]["before"]["false_alarm_rate"]["value"] > 0.9
    assert report["aside"]["gain"]["false_alarm_rate"]["value"] < 0


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


def test_labels_stay_behind_where_units_are_other_ones():
    assert same_units({}, {"threshold": 0.3}, cells=True)
    assert not same_units({}, {"stride": 20.0}, cells=True)
    assert same_units({"stride": 20.0}, {}, cells=False)
    assert not same_units({}, {"id_field": "name"}, cells=False)


def test_a_model_that_the_service_has_for_everybody_cannot_be_taken_for_a_name(event, tmp_path):
    folders = ServiceFolders(data_dir=tmp_path)
    shutil.copytree(event[0] / "start", folders.models / "ours")
    assert find_model("ours", "anybody", folders) == folders.models / "ours"
    assert own_models("anybody", folders) == []
    with pytest.raises(ServiceError, match="ours is the name of a model for everybody"):
        check_name("ours", folders.models_of("anybody"))
