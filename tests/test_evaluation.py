"""Protocols: the right network, on ground it has not seen, scored and told."""

import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from shapely.geometry import box
from tiny_tiles import make_tiles
from typer.testing import CliRunner

from damagenet.bundle import load_bundle, read_card, shipped_bundles
from damagenet.cli.main import app
from damagenet.errors import BundleError, ConfigError, DataError, LeakError
from damagenet.evaluation.evaluate import EvaluationSetup, evaluate_bundle, evaluate_recipe
from damagenet.evaluation.fold_training import FoldCache, differences
from damagenet.evaluation.options import PROTOCOLS
from damagenet.evaluation.post_event import GRADES, window_grounds
from damagenet.evaluation.protocols import make_folds, training_key
from damagenet.evaluation.score_report import write_cards, write_report
from damagenet.evaluation.score_tables import report_tables
from damagenet.evaluation.seen_ground import (
    learned_tiles,
    require_unseen,
    seen_boxes,
    seen_points,
    seen_tiles,
)
from damagenet.evaluation.truth import read_survey
from damagenet.recipe import Choice, DataSettings, Recipe, TrainingSettings
from data_prep.graded import find_scenes, scene_ground
from data_prep.tile import HALF_TILE_DEGREES

SCENE_PX = 400
PIXEL_M = 0.467


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return make_tiles(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def recipe(tiles):
    return Recipe(
        name="tiny",
        data=DataSettings(path=tiles.folder, split="region:victoria"),
        training=TrainingSettings(
            epochs=1,
            batch_size=8,
            optimizer=Choice(name="adamw", parameters={"lr": 1e-3, "weight_decay": 0.05}),
        ),
    )


@pytest.fixture(scope="module")
def xbd(tmp_path_factory):
    """Two scenes after the storm and one before it, in Houston where no tile lies."""
    folder = tmp_path_factory.mktemp("xbd")
    grades = {
        "storm_01_post_disaster": ["no-damage", "major-damage", "un-classified", "no-damage"],
        "storm_02_post_disaster": ["no-damage", "no-damage", "no-damage", "no-damage"],
        "storm_02_pre_disaster": [None, None, None, None],
    }
    for name, words in grades.items():
        make_graded_scene(folder, name, words, lon=-95.80 if "01" in name else -95.85)
    return folder


def make_graded_scene(folder, name, words, *, lon, lat=29.9):
    west, north = Transformer.from_crs(4326, 32615, always_xy=True).transform(lon, lat)
    rng = np.random.default_rng(len(name))
    profile = {"driver": "GTiff", "width": SCENE_PX, "height": SCENE_PX, "count": 3}
    transform = Affine(PIXEL_M, 0, west, 0, -PIXEL_M, north)
    with rasterio.open(
        folder / f"{name}.tif", "w", **profile, dtype="uint8", crs=32615, transform=transform
    ) as file:
        file.write(rng.integers(1, 255, (3, SCENE_PX, SCENE_PX), dtype=np.uint8))
    shapes = [
        box(west + 40 * n + 20, north - 90, west + 40 * n + 32, north - 80)
        for n in range(len(words))
    ]
    frame = gpd.GeoDataFrame(
        {"uid": [f"{name[:8]}-{n}" for n in range(len(words))], "subtype": words},
        geometry=shapes,
        crs=32615,
    )
    frame.to_crs(4326).to_file(folder / f"{name}.geojson")


def setup_of(protocol, tiles, out, xbd=None):
    return EvaluationSetup(protocol=protocol, data=tiles.folder, xbd=xbd, out=out, device="cpu")


@pytest.fixture(scope="module")
def region_run(recipe, tiles, tmp_path_factory):
    """The region protocol, run once: its report, its folder and its cache."""
    out = tmp_path_factory.mktemp("region")
    cache = FoldCache(folder=out / "networks")
    return evaluate_recipe(recipe, setup_of("region", tiles, out), cache), out, cache


def fold_named(report, name):
    return next(fold for fold in report.folds if fold.fold == name)


def test_region_holds_out_a_town_and_a_whole_pass_and_gives_no_mean(region_run, tiles):
    report, _, _ = region_run
    assert [fold.fold for fold in report.folds] == ["victoria", "houston-south+houston-east"]
    assert [fold.scores.n for fold in report.folds] == [24, 48]
    assert all(fold.scores.blocks == fold.scores.n // 8 for fold in report.folds)
    assert all(fold.scores.always_damaged_accuracy == 0.5 for fold in report.folds)
    for fold in report.folds:
        learned = learned_tiles(fold.bundle)
        held = tiles.manifest[tiles.manifest["region"].isin(fold.fold.split("+"))]
        assert not set(learned["sha256"]) & set(held["sha256"])


def test_a_second_run_trains_nothing(region_run, recipe, tiles, monkeypatch):
    report, out, cache = region_run
    monkeypatch.setattr("damagenet.evaluation.fold_training.train", _fail)
    again = evaluate_recipe(recipe, setup_of("region", tiles, out), cache)
    assert [fold.scores for fold in again.folds] == [fold.scores for fold in report.folds]


def _fail(*_, **__):
    pytest.fail("a network was trained that is there already")


def test_deduplicated_reads_the_published_network_on_fewer_tiles(
    recipe, tiles, tmp_path, monkeypatch
):
    cache = FoldCache(folder=tmp_path / "networks")
    published = evaluate_recipe(recipe, setup_of("published", tiles, tmp_path), cache)
    monkeypatch.setattr("damagenet.evaluation.fold_training.train", _fail)
    kept = evaluate_recipe(recipe, setup_of("deduplicated", tiles, tmp_path), cache)
    assert published.folds[0].bundle == kept.folds[0].bundle
    assert published.folds[0].scores.n == 24
    assert published.folds[0].note == "4 of 24 tiles share ground with training"
    assert (kept.folds[0].scores.damaged, kept.folds[0].scores.undamaged) == (10, 10)
    assert kept.folds[0].note == ""


def test_the_key_is_the_tiles_and_the_settings_and_no_name(recipe, tiles):
    fold = make_folds("region", recipe, tiles)[0]
    renamed = make_folds("region", recipe.model_copy(update={"name": "other"}), tiles)[0]
    assert training_key(fold.recipe, tiles, fold.split) == training_key(
        renamed.recipe, tiles, renamed.split
    )
    slower = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"epochs": 2})}
    )
    assert training_key(fold.recipe, tiles, fold.split) != training_key(slower, tiles, fold.split)
    views = recipe.model_copy(update={"data": recipe.data.model_copy(update={"renderings": 3})})
    assert training_key(fold.recipe, tiles, fold.split) != training_key(views, tiles, fold.split)
    other = make_folds("region", recipe, tiles)[1]
    assert training_key(recipe, tiles, fold.split) != training_key(recipe, tiles, other.split)


def test_a_trained_network_is_taken_for_its_fold_and_refused_for_another(
    region_run, recipe, tiles, tmp_path, monkeypatch
):
    report, _, _ = region_run
    folds = make_folds("region", recipe, tiles)
    bundle = report.folds[0].bundle
    assert differences(bundle, folds[0], tiles) == []
    assert "it was trained on other tiles" in differences(bundle, folds[1], tiles)[0]
    monkeypatch.setattr("damagenet.evaluation.fold_training.train", _fail)
    # The output folder of a training will do as well as the bundle in it.
    cache = FoldCache(folder=tmp_path, trained=(bundle.parent,))
    assert cache.network(folds[0], tiles).folder == bundle
    published = make_folds("published", recipe, tiles)
    with pytest.raises(ConfigError, match="is not the network of this protocol: it was trained on"):
        cache.require_use(published, tiles)
    longer = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"epochs": 9})}
    )
    with pytest.raises(ConfigError, match=r"its training.epochs is 1, the recipe says 9"):
        cache.require_use(make_folds("region", longer, tiles), tiles)
    with pytest.raises(BundleError, match="nowhere"):
        FoldCache(folder=tmp_path, trained=(tmp_path / "nowhere",)).require_use(folds, tiles)


def test_a_bundle_is_scored_only_where_it_was_not_trained(region_run, tiles, tmp_path):
    report, _, _ = region_run
    victoria = str(report.folds[0].bundle)
    again = evaluate_bundle(victoria, setup_of("region", tiles, tmp_path))
    assert [fold.fold for fold in again.folds] == ["victoria"]
    assert again.folds[0].scores == report.folds[0].scores
    refusal = again.not_scored["houston-south+houston-east"]
    assert "of 48 evaluation tiles share ground with this bundle's training tiles" in refusal
    for protocol in ("published", "deduplicated"):
        with pytest.raises(LeakError, match=r"\d+ of 2[04] evaluation tiles share ground"):
            evaluate_bundle(victoria, setup_of(protocol, tiles, tmp_path))


def test_a_bundle_answers_for_the_tiles_of_the_weights_it_started_from(
    region_run, recipe, tiles, tmp_path
):
    report, _, _ = region_run
    houston, victoria = (report.folds[n].bundle for n in (1, 0))
    card = read_card(houston)
    model = card.recipe.model.model_copy(update={"weights": str(victoria)})
    started = card.model_copy(update={"recipe": card.recipe.model_copy(update={"model": model})})
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in houston.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "card.json").write_text(started.model_dump_json())
    assert len(learned_tiles(copy)) == len(learned_tiles(houston)) + len(learned_tiles(victoria))
    with pytest.raises(LeakError, match="share ground"):
        evaluate_bundle(str(copy), setup_of("region", tiles, tmp_path))


def test_seen_ground_is_found_by_place_and_by_bytes(tiles):
    manifest = tiles.manifest
    assert seen_tiles(manifest, manifest.iloc[:3])[:3].all()
    assert not seen_tiles(
        manifest[manifest["region"] == "victoria"], manifest[manifest["region"] == "houston-west"]
    ).any()
    lon, lat = manifest[["lon", "lat"]].iloc[0]
    beside = 0.0003
    near = [(lon + d, lat, lon + d + 1e-4, lat + 1e-4) for d in (0, beside)]
    assert seen_boxes(near, manifest.iloc[:1]).tolist() == [True, False]
    require_unseen(np.zeros(3, bool), what="tiles")
    with pytest.raises(LeakError, match=r"^1 of 2 xBD buildings share ground with this bundle's"):
        require_unseen(np.array([True, False]), what="xBD buildings")


def test_post_event_scores_each_scene_all_and_before_the_storm(region_run, tiles, xbd, tmp_path):
    report, _, _ = region_run
    model = str(report.folds[0].bundle)
    found = evaluate_bundle(model, setup_of("post-event", tiles, tmp_path, xbd))
    assert [fold.fold for fold in found.folds] == [
        "storm_01_post_disaster",
        "storm_02_post_disaster",
        "storm_02_pre_disaster",
        "all",
        "all-before-the-storm",
    ]
    first = fold_named(found, "storm_01_post_disaster")
    assert (first.scores.damaged, first.scores.undamaged) == (1, 2)
    assert first.left_out == {"un-classified": 1}
    pooled = fold_named(found, "all")
    assert (pooled.scores.damaged, pooled.scores.undamaged, pooled.unit) == (1, 6, "buildings")
    assert pooled.left_out == {"un-classified": 1}
    assert "over pairs across scenes the scene's name alone would score 0.83" in pooled.note
    assert "exact binomial interval" in pooled.scores.false_alarm_rate.note
    before = fold_named(found, "all-before-the-storm")
    assert (before.scores.damaged, before.scores.undamaged) == (0, 4)
    assert before.scores.recall.value is None


def test_post_event_predicts_what_assess_predicts(region_run, tiles, xbd, tmp_path):
    from damagenet.engine.batch import assess_scenes
    from damagenet.evaluation.results import read_results
    from damagenet.options import AssessOptions

    report, _, _ = region_run
    model = str(report.folds[0].bundle)
    evaluate_bundle(model, setup_of("post-event", tiles, tmp_path / "eval", xbd))
    name = "storm_02_post_disaster"
    options = AssessOptions(
        buildings=xbd / f"{name}.geojson", model=model, format=("csv",), device="cpu"
    )
    assess_scenes([xbd / f"{name}.tif"], tmp_path / "run", options)
    assessed = read_results(tmp_path / "run" / name)
    parts = sorted((tmp_path / "eval").glob(f"*/{name}/parts/*.parquet"))
    judged = gpd.read_parquet(parts[0])
    assert judged["p_damaged"].tolist() == assessed["p_damaged"].tolist()


def test_post_event_training_keeps_off_the_ground_of_the_scenes(recipe, tiles, tmp_path):
    lon, lat = tiles.manifest.loc[tiles.manifest["region"] == "houston-west", ["lon", "lat"]].iloc[
        0
    ]
    folder = tmp_path / "xbd"
    folder.mkdir()
    make_graded_scene(
        folder,
        "storm_09_post_disaster",
        ["no-damage", "destroyed"],
        lon=lon - 0.0005,
        lat=lat + 0.0005,
    )
    scenes = find_scenes(folder)
    bounds = scene_ground(scenes[0])
    fold = make_folds("post-event", recipe, tiles, scene_grounds=[bounds])[0]
    plain = make_folds("post-event", recipe, tiles)[0]
    assert fold.split.train.size + fold.split.validation.size < (
        plain.split.train.size + plain.split.validation.size
    )
    rows = tiles.manifest.iloc[np.concatenate([fold.split.train, fold.split.validation])]
    assert not seen_boxes([bounds], rows).any()


def test_post_event_refuses_a_bundle_that_was_trained_around_a_building(
    region_run, tiles, tmp_path
):
    report, _, _ = region_run
    bundle = load_bundle(report.folds[0].bundle)
    lon, lat = bundle.training_tiles()[["lon", "lat"]].iloc[0]
    make_graded_scene(
        tmp_path, "storm_09_post_disaster", ["no-damage"], lon=lon - 0.0003, lat=lat + 0.0009
    )
    scene = find_scenes(tmp_path)[0]
    assert len(window_grounds(scene, bundle.card.chip)) == 1
    with pytest.raises(LeakError, match="1 of 1 xBD buildings"):
        evaluate_bundle(
            str(bundle.folder), setup_of("post-event", tiles, tmp_path / "out", tmp_path)
        )


def test_missing_scenes_are_refused(tiles, recipe, tmp_path):
    with pytest.raises(DataError, match="post-event needs the folder of xBD scenes: pass --xbd"):
        setup_of("post-event", tiles, tmp_path).scenes()
    with pytest.raises(DataError, match=r"holds no \*_post_disaster.tif"):
        find_scenes(tmp_path)
    (tmp_path / "storm_post_disaster.tif").touch()
    with pytest.raises(
        DataError, match=r"storm_post_disaster.tif has no storm_post_disaster.geojson"
    ):
        find_scenes(tmp_path)


def test_scores_are_kept_in_the_card_and_replaced_by_the_next(region_run, tiles, xbd, tmp_path):
    report, _, _ = region_run
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for file in report.folds[0].bundle.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    for _ in range(2):
        found = evaluate_bundle(str(bundle), setup_of("post-event", tiles, tmp_path / "o", xbd))
        assert write_cards(found) == [bundle / "card.json"]
    card = read_card(bundle)
    pooled = fold_named(found, "all").scores
    alarms = card.score("post-event", "false_alarm_rate")
    assert (alarms.value, alarms.low, alarms.n) == (
        pooled.false_alarm_rate.value,
        pooled.false_alarm_rate.low,
        6,
    )
    assert card.score("post-event", "recall").n == 1
    assert "Of 100 intact buildings seen after a storm this model flags" in card.sentence
    keys = [(score.fold, score.metric) for score in card.scores]
    assert len(keys) == len(set(keys))


def test_the_report_is_written_and_told_with_the_baseline(region_run, tmp_path):
    report, _, _ = region_run
    paths = write_report(tmp_path, report)
    told = json.loads(paths[0].read_text())
    assert told["folds"][0]["scores"]["always_damaged_accuracy"] == 0.5
    assert [path.suffix for path in paths] == [".json", ".svg", ".svg"]
    tables = list(report_tables(report))
    assert "always damaged %" in [column.header for column in tables[0].columns]


def test_the_command_scores_a_model_and_says_what_it_could_not(region_run, tiles, tmp_path):
    report, _, _ = region_run
    result = CliRunner().invoke(
        app,
        [
            *("evaluate", "--model", str(report.folds[0].bundle), "--protocol", "region"),
            *("--data", str(tiles.folder), "--out", str(tmp_path), "--device", "cpu"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "houston-south+houston-east: not scored:" in result.stdout
    assert (tmp_path / "region.json").exists()


def test_all_protocols_become_one_page_that_says_what_could_not_be_scored(
    region_run, tiles, xbd, tmp_path
):
    report, _, _ = region_run
    result = CliRunner().invoke(
        app,
        [
            *("evaluate", "--model", str(report.folds[0].bundle), "--all", "--xbd", str(xbd)),
            *("--data", str(tiles.folder), "--out", str(tmp_path), "--device", "cpu"),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "acquisition: not scored:" in result.stdout
    told = json.loads((tmp_path / "evaluation.json").read_text())
    scored = [one["protocol"] for one in told["reports"]]
    assert {"region", "post-event"} <= set(scored)
    assert {*scored, *told["not_scored"]} == set(PROTOCOLS)
    assert "know 0 satellite passes" in told["not_scored"]["acquisition"]
    page = (tmp_path / "evaluation.html").read_text()
    assert all(f">{protocol}</h2>" in page for protocol in scored)
    assert "Of 100 intact buildings seen after a storm this model flags" in page
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_command_trains_a_recipe_with_settings_changed(recipe, tiles, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(json.dumps(recipe.model_dump(mode="json")))
    result = CliRunner().invoke(
        app,
        [
            *("evaluate", "-c", str(path), "--protocol", "published", "--set", "data.limit=12"),
            *("--data", str(tiles.folder), "--out", str(tmp_path / "o"), "--json"),
            *("--device", "cpu", "--write-card"),
        ],
    )
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["folds"][0]["scores"]["n"] == 24
    card = read_card(told["folds"][0]["bundle"])
    assert card.training_tiles.count == 12
    assert card.score("published", "accuracy").n == 24


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name RESULTS with --truth, or --protocol"),
        (["--protocol", "region"], "name either a recipe (-c) to train and score, or a --model"),
        (["--protocol", "town", "--model", "x"], "protocol: input should be 'published'"),
        (["--protocol", "region", "--model", "x", "--trained", "y"], "--trained needs a recipe"),
        (["--protocol", "region", "--all", "--model", "x"], "--all scores by region too: leave"),
        (["--damaged", "a"], "--damaged needs RESULTS"),
        (["--protocol", "region", "--model", "x", "--set", "a=1"], "--set a=1 changes a recipe"),
        (["run", "--truth", "t.gpkg"], "to score RESULTS, name --field, --damaged too"),
        (["run", "--model", "x"], "--model belongs to a protocol, not to RESULTS"),
    ],
)
def test_wrong_usage_is_refused_with_exit_code_2(arguments, sentence):
    result = CliRunner().invoke(app, ["evaluate", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.replace("│", " ").split())


def test_the_graded_scenes_hold_what_the_protocol_counts_on(harvey_data):
    scenes = find_scenes(harvey_data / "xbd")
    assert [scene.after for scene in scenes] == [True] * 4 + [False] * 4
    found = [
        read_survey(scene.buildings, "subtype", GRADES).frame["damaged"] for scene in scenes[:4]
    ]
    assert [int(damaged.sum()) for damaged in found] == [12, 0, 3, 55]
    assert [int((~damaged).sum()) for damaged in found] == [25, 225, 135, 0]


def test_the_shipped_model_is_measured_on_real_buildings_after_the_storm(harvey_data, tmp_path):
    if "harvey" not in shipped_bundles():
        pytest.skip("the bundle `harvey` is not shipped yet")
    folder = tmp_path / "xbd"
    folder.mkdir()
    for suffix in ("tif", "geojson"):
        name = f"hurricane-harvey_00000011_post_disaster.{suffix}"
        (folder / name).symlink_to(harvey_data / "xbd" / name)
    setup = EvaluationSetup(
        protocol="post-event", data=None, xbd=folder, out=tmp_path, device="cpu"
    )
    scores = fold_named(evaluate_bundle("harvey", setup), "all").scores  # 225 intact buildings
    assert (scores.damaged, scores.undamaged) == (0, 225)
    assert 0 <= scores.false_alarm_rate.low <= scores.false_alarm_rate.value


def test_a_place_is_seen_where_a_training_tile_shows_it(tiles):
    lon, lat = tiles.manifest[["lon", "lat"]].iloc[0]
    inside, beside = 0.9 * HALF_TILE_DEGREES, 1.1 * HALF_TILE_DEGREES
    places = np.array(
        [[lon + inside, lat - inside], [lon, lat + beside], [np.nan, lat], [lon, lat]]
    )
    assert seen_points(places, tiles.manifest.iloc[:1]).tolist() == [True, False, False, True]
    assert not seen_points(places, tiles.manifest.iloc[:0]).any()
