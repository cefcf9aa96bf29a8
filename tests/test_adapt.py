"""`damagenet adapt`, end to end and refusal by refusal, on made events and on real scenes."""

import hashlib
import json
import logging
import shutil

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch
from made_events import STEP_PX, make_event
from tiny_run import make_bundle
from tiny_tiles import make_tiles
from typer.testing import CliRunner

from damagenet.adapt.adapt import adapt, adapt_to, known_ground, read_labels
from damagenet.adapt.options import AdaptOptions
from damagenet.bundle import load_bundle, read_card
from damagenet.bundle_writing import save_bundle
from damagenet.calibration import even_threshold, fit_calibration, probabilities
from damagenet.card import ChipGround, Score, Strangeness
from damagenet.cli.main import app
from damagenet.engine.assess import assess_scene
from damagenet.errors import (
    BundleError,
    ConfigError,
    DataError,
    EvaluationError,
    FootprintError,
    OutputError,
    SceneError,
)
from damagenet.evaluation.protocols import split_of
from damagenet.evaluation.seen_ground import learned_tiles, seen_boxes, seen_tiles
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from damagenet.recipe import DataSettings, Recipe
from damagenet.strangeness import Neighbours
from data_prep.footprints import read_buildings
from models.factory import build_network


@pytest.fixture
def event(tmp_path):
    """A folder with base/, scene.tif and labels.geojson."""
    make_bundle(tmp_path / "base")
    make_event(tmp_path / "scene.tif").to_file(tmp_path / "labels.geojson")
    return tmp_path


def asked(folder, **changed):
    values = {
        "labels": folder / "labels.geojson",
        "field": "grade",
        "damaged": ("hit",),
        "undamaged": ("fine",),
        "model": str(folder / "base"),
        "out": folder / "storm",
        "clouds": "ignore",
        "steps": 10,
        "learn": "head",
    }
    return AdaptOptions(**(values | changed))


def labelled_as(folder, frame):
    (folder / "labels.geojson").unlink()
    frame.to_file(folder / "labels.geojson")


def told(folder, **changed):
    return adapt([folder / "scene.tif"], asked(folder, **changed), command="damagenet adapt")


def with_neighbours(folder):
    """Give the base noise to compare chips with, as if held-out ground lay 1.2 times as far."""
    base = load_bundle(folder)
    rng = np.random.default_rng(0)
    size = base.network.head.in_features
    noise = torch.from_numpy(rng.random((200, size)).astype(np.float32))
    usual = Strangeness(typical=0.1, limit=1.2, blocks=9, measured_on="made noise")
    card = base.card.model_copy(update={"strangeness": usual})
    neighbours = Neighbours.of(noise)
    save_bundle(folder, card, base.network, base.training_tiles(), neighbours=neighbours)


def strangeness_of(folder, model):
    predictor = Predictor(load_bundle(model), device="cpu")
    options = AssessOptions(clouds="ignore", overwrite=True)
    scene, out = folder / "scene.tif", folder / f"out-{model.name}"
    return assess_scene(scene, out, options, predictor, stem="scene").strangeness


def test_what_it_learned_from_is_not_strange_to_it(event):
    with_neighbours(event / "base")
    report = told(event)
    base, made = load_bundle(event / "base"), load_bundle(event / "storm")
    usual = made.card.strangeness
    assert (usual.typical, usual.limit, usual.blocks) == (0.1, 1.2, 9)
    assert usual.measured_on == "made noise, before the event's chips joined"
    added = len(made.neighbours.directions) - len(base.neighbours.directions)
    assert added == report.labels.fitted
    before, after = (strangeness_of(event, event / name) for name in ("base", "storm"))
    assert after < 0.5 * before


def test_where_stages_learned_what_was_measured_before_holds_no_longer(event, caplog):
    with_neighbours(event / "base")
    caplog.set_level(logging.INFO)
    told(event, learn="stages")
    made = load_bundle(event / "storm")
    assert (made.card.strangeness, made.neighbours) == (None, None)
    assert "not measured: the base's tiles are not at hand" in caplog.text


def test_labels_make_a_bundle_that_tells_this_event_s_damage(event):
    report = told(event)
    assert report.aside.before.balanced_accuracy.value < 0.7
    assert report.aside.after.balanced_accuracy.value == 1.0
    gain = report.aside.gain["balanced_accuracy"]
    assert gain.value == pytest.approx(1.0 - report.aside.before.balanced_accuracy.value)
    # All wrong on one class before, all right after: every draw of blocks gains the same.
    assert (gain.low, gain.high) == (None, None)
    assert gain.note.startswith("all draws of blocks give the same value")
    labels = report.labels
    assert labels.fitted + labels.aside + sum(labels.left_out.values()) == labels.read == 64
    assert load_bundle(event / "storm").model_id == report.model


def test_what_it_learned_from_is_no_test_and_no_sample_of_its_errors(event):
    told(event)
    labels = str(event / "labels.geojson")
    words = ["--field", "grade", "--damaged", "hit", "--undamaged", "fine"]
    run, storm = str(event / "run"), str(event / "storm")
    scene = ["assess", str(event / "scene.tif"), "--buildings", labels, "--clouds", "ignore"]
    assert CliRunner().invoke(app, [*scene, "--model", storm, "--out", run]).exit_code == 0
    asked = ["evaluate", run, "--truth", labels, *words]
    scored = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    fitted = read_card(event / "storm").event.fitted
    assert fitted <= scored["seen"] < scored["join"]["matched"]
    assert scored["unseen"]["units"] == scored["join"]["matched"] - scored["seen"]
    said = CliRunner().invoke(app, asked).stdout
    assert f"{scored['seen']} of {scored['join']['matched']} units stand on ground that" in said
    counted = ["summarise", run, "--labels", labels, *words, "--labels-are-random", "--json"]
    notes = json.loads(CliRunner().invoke(app, counted).stdout)["notes"]
    assert any(f"adapted to ground of {fitted} of these labels" in note for note in notes)
    (event / "storm").rename(event / "moved")
    assert json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)["seen"] is None


def test_the_card_says_what_it_was_adapted_to_and_keeps_the_base_s_own_scores(event):
    base = load_bundle(event / "base")
    old = Score(protocol="region", fold="victoria", metric="recall", value=0.5, n=9, note="few")
    kept = base.card.model_copy(update={"scores": (old,)})
    save_bundle(event / "base", kept, base.network, base.training_tiles())
    report = told(event)
    card = read_card(event / "storm")
    assert card.name == "storm"
    assert card.event.scenes == ("scene",)
    assert card.event.base == report.base == load_bundle(event / "base").model_id
    assert (card.event.fitted, card.event.aside) == (report.labels.fitted, report.labels.aside)
    assert not card.event.random
    mine = card.score("event", "balanced_accuracy", "aside")
    assert f"Measured on {card.event.aside} labels of its event" in card.sentence
    assert card.after_storm("recall") == card.score("event", "recall", "aside")
    assert mine.value == report.aside.after.balanced_accuracy.value
    assert card.score("event", "auroc", "aside, before").value == report.aside.before.auroc.value
    assert card.score("region", "recall", "victoria").note == "few; measured before the adaptation"
    assert "labels.geojson" in card.licence
    assert card.licence.startswith(base.card.licence)
    assert card.command == "damagenet adapt"


def test_a_non_commercial_base_stays_non_commercial(event):
    make_bundle(event / "base", non_commercial=True)
    told(event)
    assert read_card(event / "storm").training_tiles.non_commercial


def test_the_bundle_lists_the_places_that_it_learned_from_and_no_others(event):
    report = told(event)
    tiles = learned_tiles(event / "storm")
    base = learned_tiles(event / "base")
    own = tiles.iloc[len(base) :]
    pd.testing.assert_frame_equal(tiles.iloc[: len(base)], base)
    assert len(own) == report.labels.fitted
    assert own["label"].sum() == report.labels.fitted_damaged
    boxes = [(x - 1e-5, y - 1e-5, x + 1e-5, y + 1e-5) for x, y in own[["lon", "lat"]].to_numpy()]
    assert seen_boxes(boxes, tiles).all()
    assert not seen_boxes(boxes, base).any()


def test_what_it_learned_is_what_assess_then_says(event):
    told(event)
    bundle = load_bundle(event / "storm")
    options = AssessOptions(buildings=event / "labels.geojson", clouds="ignore")
    assessment = assess_scene(
        event / "scene.tif",
        event / "run",
        options,
        Predictor(bundle, device="cpu"),
        stem="scene",
        buildings=read_buildings(event / "labels.geojson"),
    )
    units = pd.concat([pd.DataFrame(part) for part in assessment.parts()])
    hit = (units["grade"] == "hit").to_numpy()
    assert ((units["p_damaged"] >= bundle.card.threshold).to_numpy() == hit).mean() > 0.95


def test_points_and_several_scenes_do_as_well(event):
    other = make_event(event / "other.tif", seed=5)
    frame = gpd.read_file(event / "labels.geojson")
    frame = frame.set_geometry(frame.centroid)
    labelled_as(event, frame)
    report = adapt([event / "other.tif", event / "scene.tif"], asked(event))
    # Both scenes lie on the same ground: each label is read from the first that shows it.
    assert report.scenes == ("other",)
    assert report.labels.used == len(frame) == len(other)


def test_labels_outside_and_on_nodata_are_counted_and_left_out(event, caplog):
    frame = make_event(event / "scene.tif", hole=slice(0, STEP_PX))
    away = frame.iloc[:3].assign(uid=["x", "y", "z"])
    away = away.set_geometry(away.translate(50_000))
    labelled_as(event, pd.concat([frame, away], ignore_index=True))
    with caplog.at_level(logging.WARNING):
        report = told(event)
    assert report.labels.left_out["outside the scenes"] == 3
    assert report.labels.left_out["on nodata"] == 8
    assert "labels.geojson: 3 labels are left out: outside the scenes" in caplog.text


def test_labels_outside_all_scenes_are_refused(event):
    frame = gpd.read_file(event / "labels.geojson")
    labelled_as(event, frame.set_geometry(frame.translate(50_000)))
    with pytest.raises(DataError, match=r"no label can be used \(64 outside the scenes\)"):
        told(event)


def test_labels_on_nodata_alone_are_refused(event):
    make_event(event / "scene.tif", hole=slice(0, 8 * STEP_PX - 4))
    with pytest.raises(DataError, match=r"no label can be used \(64 on nodata\)"):
        told(event)


def test_fewer_than_twenty_labels_are_refused(event):
    labelled_as(event, gpd.read_file(event / "labels.geojson").iloc[:19])
    with pytest.raises(DataError, match=r"19 labels can be used, an adaptation needs 20.*label"):
        told(event)


def test_labels_of_one_class_are_refused(event):
    labelled_as(event, gpd.read_file(event / "labels.geojson").assign(grade="fine"))
    message = "all 64 labels that can be used are damaged: label undamaged buildings too"
    with pytest.raises(DataError, match=message):
        told(event, damaged=("fine",), undamaged=())


def test_words_for_damage_that_no_label_says_are_refused_with_what_the_field_holds(event):
    message = r"field 'grade': no label says razed or gone \(--damaged\); .* holds: fine, hit"
    with pytest.raises(EvaluationError, match=message):
        told(event, damaged=("razed", "gone"), undamaged=())


def test_unknown_class_words_are_refused_with_what_the_field_holds(event):
    with pytest.raises(EvaluationError, match=r"'fine' is in none of.*hit \(\d+\)"):
        told(event, undamaged=("fein",))


def test_one_building_called_both_is_refused_with_its_ids(event):
    frame = gpd.read_file(event / "labels.geojson")
    other = {"hit": "fine", "fine": "hit"}[frame["grade"].iloc[5]]
    again = frame.iloc[[5]].assign(uid="again", grade=other)
    again = again.set_geometry(again.translate(2))
    labelled_as(event, pd.concat([frame, again], ignore_index=True))
    with pytest.raises(EvaluationError, match=r"both damaged and undamaged.*scene-5 and again"):
        told(event)


def test_one_id_for_two_labels_is_refused_with_the_id(event):
    frame = gpd.read_file(event / "labels.geojson")
    frame.loc[7, "uid"] = frame.loc[5, "uid"]
    labelled_as(event, frame)
    with pytest.raises(FootprintError, match=r"not unique.*scene-5"):
        told(event)


def test_the_same_label_twice_counts_once(event):
    frame = gpd.read_file(event / "labels.geojson")
    labelled_as(event, pd.concat([frame, frame.iloc[[5]].assign(uid="b")], ignore_index=True))
    report = told(event)
    assert report.labels.left_out["named twice"] == 1
    assert report.labels.used == 64


def test_classes_that_lie_in_one_block_each_are_refused(event):
    frame = gpd.read_file(event / "labels.geojson")
    damaged = frame[frame["grade"] == "hit"].iloc[:3]
    labelled_as(event, pd.concat([damaged, frame[frame["grade"] == "fine"]], ignore_index=True))
    with pytest.raises(DataError, match=r"3 damaged and .* in several places"):
        told(event)


def test_labels_drawn_at_random_are_the_ones_aside(event):
    frame = gpd.read_file(event / "labels.geojson")
    words = np.where(np.arange(len(frame)) % 3, "random", "chosen")
    labelled_as(event, frame.assign(drawn=words))
    report = told(event)
    assert report.labels.aside_random == report.labels.aside > 5
    card = read_card(event / "storm")
    assert card.event.random
    hashed = hashlib.sha256((event / "scene.tif").read_bytes()).hexdigest()
    assert (card.event.scene_sha256, card.event.units) == ((hashed,), "building")
    # The draw is all random labels, fitted ones too, and so is the share that is assumed.
    drawn = frame["grade"][words == "random"] == "hit"
    assert card.calibration.prior == pytest.approx(drawn.mean())
    assert drawn.mean() != pytest.approx(card.event.aside_damaged / card.event.aside)


def test_probabilities_assume_the_share_of_all_random_labels_and_verdicts_stay(event):
    options, base = asked(event, labels_are_random=True), load_bundle(event / "base")
    labelled = read_labels(event / "labels.geojson", [event / "scene.tif"], options, base.card)
    made = adapt_to(base, labelled, options, name="storm")
    aside, card = made.divided.aside.damaged, made.bundle.card
    own = fit_calibration(made.logits, aside.astype(np.int64), shrink=True)
    share, all_random = aside.mean(), labelled.damaged.mean()
    assert card.prior == pytest.approx(all_random)
    shift = np.log(all_random / (1 - all_random)) - np.log(share / (1 - share))
    assert card.calibration.bias == pytest.approx(own.bias + shift)
    assert abs(shift) > 0.01
    at_share = even_threshold(made.logits, aside.astype(np.int64), own)
    before = probabilities(made.logits, own) >= at_share
    after = probabilities(made.logits, card.calibration) >= card.threshold
    np.testing.assert_array_equal(before, after)


def test_all_labels_may_be_taken_as_random(event):
    told(event, labels_are_random=True)
    assert read_card(event / "storm").event.random


def test_a_folder_that_is_taken_stays_unless_told_otherwise(event):
    told(event)
    before = read_card(event / "storm")
    with pytest.raises(OutputError, match="holds a bundle already: pass --overwrite"):
        told(event)
    assert read_card(event / "storm") == before
    told(event, overwrite=True, seed=3)
    assert read_card(event / "storm") != before
    with pytest.raises(OutputError, match="holds no bundle"):
        told(event, out=event, overwrite=True)


def test_nothing_is_left_behind_where_labels_are_refused(event):
    labelled_as(event, gpd.read_file(event / "labels.geojson").iloc[:5])
    with pytest.raises(DataError):
        told(event)
    assert not [path for path in event.iterdir() if "storm" in path.name]


def test_a_second_picture_is_refused_for_a_model_of_one(event):
    with pytest.raises(ConfigError, match="takes one picture"):
        told(event, pre=event / "scene.tif")


def test_a_model_of_two_pictures_needs_the_other_one_and_takes_it(event):
    base = load_bundle(event / "base")
    network = build_network(
        base.card.model,
        pixel_mean=base.card.pixel_mean,
        pixel_std=base.card.pixel_std,
        inputs=("post", "pre"),
        size_px=base.card.chip.size_px,
    )
    card = base.card.model_copy(update={"inputs": ("post", "pre")})
    save_bundle(event / "base", card, network, base.training_tiles())
    with pytest.raises(ConfigError, match="compares two pictures: give the other with --pre"):
        told(event)
    with pytest.raises(SceneError, match="leads to the scene itself"):
        told(event, pre=event / "scene.tif")
    shutil.copy(event / "scene.tif", event / "before.tif")
    report = told(event, pre=event / "before.tif")
    card = read_card(event / "storm")
    assert card.inputs == ("post", "pre")
    assert (card.event.fitted, card.event.aside) == (report.labels.fitted, report.labels.aside)


def test_adapting_once_more_keeps_no_label_aside_on_ground_that_is_known(event, caplog):
    told(event, labels_are_random=True)
    learned = learned_tiles(event / "storm")
    asked_again = asked(
        event, model=str(event / "storm"), out=event / "again", seed=1, labels_are_random=True
    )
    base = load_bundle(event / "storm")
    labels = event / "labels.geojson"
    labelled = read_labels(labels, [event / "scene.tif"], asked_again, base.card)
    known = known_ground(labelled, learned)
    adapted = adapt_to(base, labelled, asked_again, name="again")
    aside = np.isin(labelled.unit_id, adapted.divided.aside.unit_id)
    assert known.sum() >= read_card(event / "storm").event.fitted
    assert aside.any()
    assert not (aside & known).any()
    again = adapt([event / "scene.tif"], asked_again)
    told_so = f"{known.sum()} labels lie on ground that the base learned from: none of them is kept"
    assert told_so in again.aside.note
    assert f"{known.sum()} of 64 labels lie on ground that the base learned from" in caplog.text
    card = read_card(event / "again")
    keys = [(score.protocol, score.fold, score.metric) for score in card.scores]
    assert len(keys) == len(set(keys))
    assert card.event.base.startswith("storm@")
    both = learned_tiles(event / "again")
    assert len(both) == len(learned) + card.event.fitted


def test_labels_on_known_ground_alone_promise_nothing_and_it_is_said(event):
    base = load_bundle(event / "base")
    told(event)
    every = gpd.read_file(event / "labels.geojson").centroid.to_crs(4326)
    places = pd.DataFrame({"lon": every.x, "lat": every.y, "label": 1, "sha256": "0" * 64})
    save_bundle(event / "base", base.card, base.network, places)
    report = told(event, labels_are_random=True, overwrite=True)
    assert "64 labels lie on ground that the base learned from" in report.aside.note
    assert f"{report.labels.aside} of them had to be kept aside" in report.aside.note
    event_told = read_card(event / "storm").event
    assert event_told.aside > event_told.aside_random == 0
    assert not event_told.random
    assert event_told.scene_sha256 == ()


def test_chosen_labels_promise_nothing_where_the_random_ones_are_known(event):
    frame = gpd.read_file(event / "labels.geojson")
    west = frame.centroid.x < frame.centroid.x.median()
    labelled_as(event, frame.assign(drawn=np.where(west, "random", "chosen")))
    base = load_bundle(event / "base")
    every = frame[west].centroid.to_crs(4326)
    places = pd.DataFrame({"lon": every.x, "lat": every.y, "label": 1, "sha256": "0" * 64})
    save_bundle(event / "base", base.card, base.network, places)
    told(event)
    card = read_card(event / "storm")
    assert card.event.aside > card.event.aside_random == 0
    assert not card.event.random
    assert card.event.scene_sha256 == ()


def test_an_unknown_model_is_refused(event):
    with pytest.raises(BundleError, match="no model 'nothing'"):
        told(event, model="nothing")


def test_equal_seeds_give_equal_weights(event):
    first = told(event, learn="stages")
    second = told(event, learn="stages", overwrite=True)
    assert first.model.split("@")[1] == second.model.split("@")[1]
    assert first.learned == "stages"


def test_what_the_base_forgot_is_shown_beside(event, tmp_path):
    tiles = make_tiles(tmp_path / "tiles")
    make_bundle(event / "base", chip=ChipGround(width_m=32, height_m=32))
    report = told(event, tiles=tiles.folder)
    assert report.base_task.before.n == report.base_task.after.n > 10
    assert "share no ground with training" in report.base_task_note
    assert read_card(event / "storm").score("event", "balanced_accuracy", "base tiles") is not None


def test_tiles_that_chose_the_base_s_threshold_say_nothing_of_what_it_forgot(event, tmp_path):
    tiles = make_tiles(tmp_path / "tiles")
    make_bundle(event / "base", chip=ChipGround(width_m=32, height_m=32))
    validation = split_of(read_card(event / "base").recipe, tiles).validation
    chose = tiles.manifest.iloc[validation]
    distinct = (tiles.manifest["duplicate_of"] == "").to_numpy()
    untouched = int((distinct & ~seen_tiles(tiles.manifest, chose)).sum())
    assert 0 < len(validation) < distinct.sum()
    report = told(event, tiles=tiles.folder)
    assert report.base_task.before.n == untouched
    assert f"{untouched} of the {untouched} distinct tiles" in report.base_task_note
    assert "the tiles that chose the base's threshold" in report.base_task_note


def test_tiles_of_another_data_set_than_the_base_s_are_not_measured(event, tmp_path):
    tiles = make_tiles(tmp_path / "tiles")
    recipe = Recipe(data=DataSettings(split="acquisition:nowhere"))
    make_bundle(event / "base", chip=ChipGround(width_m=32, height_m=32), recipe=recipe)
    report = told(event, tiles=tiles.folder)
    assert report.base_task is None
    assert "cannot be divided as for the training of toy" in report.base_task_note


def test_without_tiles_the_report_says_that_nothing_was_measured(event, monkeypatch):
    monkeypatch.chdir(event)
    make_bundle(event / "base", chip=ChipGround(width_m=32, height_m=32))
    report = told(event)
    assert report.base_task is None
    assert "not measured" in report.base_task_note
    assert "--tiles" in report.base_task_note


def test_a_model_of_other_chips_than_tiles_is_not_measured_on_them(event):
    assert "tiles are one picture of 128 px" in told(event).base_task_note


def test_a_folder_without_tiles_is_refused(event):
    make_bundle(event / "base", chip=ChipGround(width_m=32, height_m=32))
    with pytest.raises(DataError, match="no prepared data set"):
        told(event, tiles=event)


def arguments(folder):
    return [
        "adapt",
        str(folder / "scene.tif"),
        *("--labels", str(folder / "labels.geojson"), "--field", "grade"),
        *("--damaged", "hit", "--undamaged", "fine", "--model", str(folder / "base")),
        *("--out", str(folder / "storm"), "--clouds", "ignore", "--steps", "10"),
    ]


def test_the_command_line_prints_a_table_or_json(event):
    table = CliRunner().invoke(app, arguments(event))
    assert table.exit_code == 0, table.output
    assert "labels kept aside" in table.stdout
    assert "before" in table.stdout
    told_json = CliRunner().invoke(app, [*arguments(event), "--overwrite", "--json"])
    report = json.loads(told_json.stdout)
    assert report["aside"]["after"]["balanced_accuracy"]["value"] == 1.0
    assert report["learned"] in ("head", "stages")


def test_missing_options_are_wrong_usage(event):
    result = CliRunner().invoke(app, ["adapt", str(event / "scene.tif"), "--field", "grade"])
    assert result.exit_code == 2
    assert "--labels" in result.output
    result = CliRunner().invoke(app, [*arguments(event), "--learn", "head", "--stages", "2"])
    assert result.exit_code == 2


def test_real_labels_bring_the_shipped_model_s_false_alarms_down(
    harvey_data, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    scenes = sorted((harvey_data / "xbd").glob("*_post_disaster.tif"))
    frames = [gpd.read_file(scene.with_suffix(".geojson")) for scene in scenes]
    pd.concat(frames, ignore_index=True).to_file(tmp_path / "labels.gpkg")
    options = AdaptOptions(
        labels=tmp_path / "labels.gpkg",
        field="subtype",
        damaged=("minor-damage", "major-damage", "destroyed"),
        undamaged=("no-damage",),
        model="harvey",  # which has not seen these scenes
        out=tmp_path / "harvey-houston",
        learn="head",
    )
    report = adapt(scenes, options)
    assert report.aside.before.false_alarm_rate.value > 0.9
    gain = report.aside.gain
    assert gain["false_alarm_rate"].value < -0.5
    assert gain["false_alarm_rate"].high < 0
    assert gain["balanced_accuracy"].value > 0
    assert 0 < report.threshold < 1
    # Its head alone learned, so that strange is what is strange to the base and no chip it saw.
    base, made = load_bundle("harvey"), load_bundle(tmp_path / "harvey-houston")
    assert made.card.strangeness.typical == base.card.strangeness.typical
    assert torch.equal(
        made.neighbours.directions[: len(base.neighbours.directions)], base.neighbours.directions
    )
    assert len(made.neighbours.directions) > len(base.neighbours.directions) + 100
