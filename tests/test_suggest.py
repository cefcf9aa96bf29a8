"""`damagenet suggest`: from scenes and buildings to a file to label in, again and again."""

import json
import shutil

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity
from tiny_run import SIZE_PX, make_buildings, make_divided_bundle, make_scene, pixel_box
from typer.testing import CliRunner

from damagenet.adapt.footprint_hash import footprint_hashes
from damagenet.adapt.label_file import COLUMNS
from damagenet.adapt.seen import see_buildings
from damagenet.adapt.suggest import suggest_buildings
from damagenet.adapt.suggest_options import SuggestOptions
from damagenet.bundle import load_bundle
from damagenet.calibration import probabilities
from damagenet.cli.main import app
from damagenet.errors import DataError, FootprintError, OutputError
from damagenet.inference import Predictor
from data_prep.footprints import read_buildings

COLUMNS_OF_CELLS, ROWS_OF_CELLS = 6, 5
HOUSES = COLUMNS_OF_CELLS * ROWS_OF_CELLS


def houses(count=HOUSES):
    """One house in the middle of each cell of `make_scene`."""
    places = [(n % COLUMNS_OF_CELLS, n // COLUMNS_OF_CELLS) for n in range(count)]
    return [pixel_box(c * SIZE_PX + 10, r * SIZE_PX + 12, 11, 8) for c, r in places]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a bundle, a scene and its 30 buildings."""
    folder = tmp_path_factory.mktemp("place")
    make_scene(folder / "scene.tif")
    make_scene(folder / "other.tif", seed=5)
    make_scene(folder / "west.tif", columns=3)
    make_scene(folder / "hole.tif", hole=(slice(0, 64), slice(0, 64)))
    make_buildings(folder / "houses.gpkg", houses())
    make_divided_bundle(folder / "bundle", folder / "scene.tif")
    return folder


@pytest.fixture
def suggest(place, tmp_path):
    """Suggest into the test's own folder."""

    def run(*, scenes=("scene.tif",), **changes):
        values = {
            "buildings": place / "houses.gpkg",
            "out": tmp_path / "labels.geojson",
            "model": str(place / "bundle"),
            "n": 10,
            "device": "cpu",
        }
        return suggest_buildings(
            [place / name for name in scenes], SuggestOptions(**values | changes)
        )

    return run


def answered(path, answers, *, out=None, driver="GeoJSON"):
    """Fill labels in, as a person does in QGIS, and save the file."""
    frame = gpd.read_file(path)
    frame.loc[: len(answers) - 1, "label"] = answers
    frame.to_file(out or path, driver=driver)
    return out or path


def attributes(path):
    return pd.DataFrame(gpd.read_file(path).drop(columns="geometry")).set_index("unit_id")


def test_the_file_opens_with_ids_empty_labels_and_footprints(suggest, place):
    found = suggest()
    frame = gpd.read_file(found.out)
    assert frame.crs.to_epsg() == 4326
    assert list(frame.columns) == ["id", *COLUMNS, "geometry"]
    assert (frame["label"] == "").all()
    assert (frame["id"] == frame["unit_id"]).all()
    assert frame["drawn"].value_counts().to_dict() == {"chosen": 6, "random": 4}
    assert frame["rank"].tolist() == list(range(1, 11))
    assert (frame["scene"] == "scene.tif").all()
    own = gpd.read_file(place / "houses.gpkg").set_index("uid").loc[frame["unit_id"]]
    apart_m = frame.to_crs(own.crs).geometry.hausdorff_distance(own.geometry, align=False)
    assert apart_m.max() < 0.02
    assert (frame["footprint"] == footprint_hashes(own.geometry)).all()


def test_polygons_are_written_as_rfc_7946_says(suggest):
    collection = json.loads(suggest().out.read_text())
    assert set(collection) == {"type", "features"}
    for feature in collection["features"]:
        shape = shapely.from_geojson(json.dumps(feature["geometry"]))
        assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))
        assert feature["id"] == feature["properties"]["unit_id"]


def test_probabilities_are_those_of_assess(suggest, place, tmp_path):
    found = suggest(n=HOUSES)
    command = ["assess", str(place / "scene.tif"), "--out", str(tmp_path / "run"), "--quiet"]
    command += ["--buildings", str(place / "houses.gpkg"), "--model", str(place / "bundle")]
    run = CliRunner().invoke(app, [*command, "--format", "csv", "--device", "cpu"])
    assert run.exit_code == 0, run.output
    assessed = pd.read_csv(tmp_path / "run" / "damage.csv").set_index("unit_id")["p_damaged"]
    mine = attributes(found.out)["p_damaged"]
    assert mine.min() < 0.3
    assert mine.max() > 0.7
    assert mine.to_numpy() == pytest.approx(assessed[mine.index].to_numpy(), abs=1e-5)


def test_a_large_building_is_placed_by_the_chip_that_decides(place, tmp_path):
    make_buildings(tmp_path / "hall.gpkg", [pixel_box(32, 32, 96, 64), *houses(1)])
    predictor = Predictor(load_bundle(str(place / "bundle")), device="cpu")
    seen = see_buildings(
        [place / "scene.tif"],
        read_buildings(tmp_path / "hall.gpkg"),
        SuggestOptions(buildings=tmp_path, out=tmp_path / "x.geojson").looking,
        predictor,
    )
    assert seen.embeddings.shape == (2, predictor.features)
    logits = predictor.head_logits(seen.embeddings)
    p = probabilities(logits, predictor.bundle.card.calibration)
    assert p == pytest.approx(seen.frame["p_damaged"].to_numpy(), abs=1e-4)


def test_the_seed_decides_and_nothing_else(suggest, tmp_path):
    one, same = (suggest(out=tmp_path / f"{name}.geojson") for name in "ab")
    other = suggest(out=tmp_path / "c.geojson", seed=1)
    assert one.out.read_bytes() == same.out.read_bytes()
    assert one.buildings != other.buildings


def test_adding_keeps_every_label_and_suggests_others(suggest):
    first = suggest()
    answered(first.out, ["damaged", "undamaged", "damaged"])
    before = attributes(first.out)
    second = suggest(labels=first.out, n=8, random=0)
    after = attributes(first.out)
    assert (second.round, second.kept, len(after)) == (2, 10, 18)
    assert after.loc[before.index].equals(before.astype(after.dtypes))
    assert after.index.is_unique
    assert set(after["round"]) == {1, 2}
    assert {one.unit_id for one in second.buildings}.isdisjoint(before.index)


@settings(max_examples=4, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    share=st.floats(0, 1),
    answers=st.lists(st.sampled_from(["damaged", "undamaged", "", "Unclear ß"]), max_size=9),
)
def test_no_round_ever_drops_or_changes_an_answer(place, tmp_path_factory, sizes, share, answers):
    out = tmp_path_factory.mktemp("rounds") / "labels.geojson"
    options = {"buildings": place / "houses.gpkg", "model": str(place / "bundle"), "out": out}
    known = pd.Series(dtype="str")
    for size in sizes:
        labels = out if out.exists() else None
        asked = SuggestOptions(**options, labels=labels, n=size, random=share, device="cpu")
        if len(known) == HOUSES:
            with pytest.raises(DataError, match="nothing left to suggest"):
                suggest_buildings([place / "scene.tif"], asked)
            return
        suggest_buildings([place / "scene.tif"], asked)
        written = attributes(out)
        assert written["label"][known.index].tolist() == known.tolist()
        answered(out, answers[: len(written)])
        known = attributes(out)["label"]


def test_labels_come_back_from_another_format_and_keep_foreign_columns(suggest, tmp_path):
    first = suggest()
    frame = gpd.read_file(first.out).drop(columns="id").to_crs(32615)
    frame.assign(note="roof gone", seen_on=pd.Timestamp("2017-09-01"), height=7).to_file(
        tmp_path / "labels.gpkg"
    )
    second = suggest(labels=tmp_path / "labels.gpkg", out=tmp_path / "more.geojson", n=5, random=0)
    after = gpd.read_file(second.out)
    assert len(after) == 15
    old = after[after["round"] == 1]
    assert set(old["note"]) == {"roof gone"}
    assert set(old["height"]) == {7}
    assert old["seen_on"].astype(str).str.startswith("2017-09-01").all()
    assert after["note"][after["round"] == 2].isna().all()


def test_a_chosen_building_that_is_drawn_later_is_marked_and_keeps_its_label(suggest):
    first = suggest(n=20, random=0)
    answered(first.out, ["damaged"] * 20)
    second = suggest(labels=first.out, n=10, random=1)
    after = attributes(first.out)
    assert second.newly_random
    again = after.loc[list(second.newly_random)]
    assert (again["label"] == "damaged").all()
    assert (again["drawn"] == "random").all()
    assert (again["drawn_of"] == HOUSES).all()
    assert (after["drawn"] == "random").sum() == 10
    assert len(second.buildings) == 10


def test_summarise_takes_the_file_as_it_is(suggest, place, tmp_path):
    found = suggest(n=25, random=0.8)
    answered(found.out, ["damaged", "undamaged"] * 10)
    runner = CliRunner()
    run = str(tmp_path / "run")
    assess = ["assess", str(place / "scene.tif"), "--out", run, "--quiet", "--format", "csv"]
    assess += ["--buildings", str(place / "houses.gpkg"), "--model", str(place / "bundle")]
    assert runner.invoke(app, assess).exit_code == 0
    words = ["--labels", str(found.out), "--field", "label", "--damaged", "damaged"]
    told = runner.invoke(app, ["summarise", run, *words, "--json"])
    assert told.exit_code == 0, told.output
    whole = json.loads(told.stdout)["rows"][-1]
    random = attributes(found.out).query("drawn == 'random' and label != ''")
    assert whole["labelled_random"] == len(random)
    assert whole["labelled_random_damaged"] == (random["label"] == "damaged").sum()
    assert whole["labelled_otherwise"] == 20 - len(random)


def test_scenes_that_contradict_each_other_are_shown_as_most_doubtful(suggest, place):
    found = suggest(scenes=("scene.tif", "other.tif"), n=HOUSES)
    table = attributes(found.out)
    assert 0 < table["disagree"].sum() < HOUSES
    assert (table["uncertainty"][table["disagree"]] == 1).all()
    assert (table["uncertainty"][~table["disagree"]] < 1).any()
    # Both are as good: the one named first stands.
    assert set(table["scene"]) == {"scene.tif"}


def test_more_than_there_are_is_all_of_them_and_said(suggest):
    found = suggest(n=99)
    assert len(found.buildings) == HOUSES
    assert found.drawn("random") == 12
    assert "99 buildings were asked for and 30 were left: all are in" in found.notes


def test_random_labels_without_an_answer_and_of_other_scenes_are_named(suggest, place, tmp_path):
    first = suggest(n=10, random=0.4)
    second = suggest(scenes=("west.tif",), labels=first.out, n=4)
    assert any(
        "4 of the 4 buildings drawn at random earlier have no label" in n for n in second.notes
    )
    assert any(
        "drawn at random from 30 buildings, now there are 15" in note for note in second.notes
    )


def test_labels_that_the_scenes_do_not_show_are_kept_and_counted(suggest, place):
    first = suggest(n=10)
    there = {
        one.unit_id
        for one in suggest(
            scenes=("west.tif",), n=99, out=first.out.with_name("w.geojson")
        ).buildings
    }
    missing = len(set(attributes(first.out).index) - there)
    assert missing > 0
    second = suggest(scenes=("west.tif",), labels=first.out, n=2)
    assert any(f"{missing} labelled buildings cannot be judged" in note for note in second.notes)
    assert second.kept == 10


def test_an_answer_that_nobody_asked_for_is_named(suggest):
    first = suggest()
    answered(first.out, ["damaged", " Undamaged", "damged", "damged", "rubble"])
    told = suggest(labels=first.out, n=2).notes
    assert any("2 labels say 'damged', which is neither damaged nor" in note for note in told)
    assert any("1 labels say 'rubble'" in note for note in told)
    assert sum("labels say" in note for note in told) == 2


def test_when_all_are_labelled_nothing_is_left(suggest):
    first = suggest(n=HOUSES)
    before = first.out.read_bytes()
    with pytest.raises(DataError, match=r"all 30 buildings that can be judged are in .* already"):
        suggest(labels=first.out)
    assert first.out.read_bytes() == before


def test_a_file_that_is_there_is_not_overwritten(suggest, tmp_path):
    first = suggest()
    shutil.copy(first.out, tmp_path / "other.geojson")
    before = first.out.read_bytes()
    with pytest.raises(OutputError, match=r"exists already and may hold labels: add to it with"):
        suggest()
    with pytest.raises(OutputError, match="exists already"):
        suggest(labels=tmp_path / "other.geojson")
    assert first.out.read_bytes() == before


def test_a_file_that_was_saved_meanwhile_is_left_alone(suggest, monkeypatch):
    first = suggest()
    meanwhile = see_buildings

    def saved_meanwhile(*arguments):
        answered(first.out, ["damaged"])
        return meanwhile(*arguments)

    monkeypatch.setattr("damagenet.adapt.suggest.see_buildings", saved_meanwhile)
    with pytest.raises(OutputError, match="was saved by somebody while suggestions were made"):
        suggest(labels=first.out)
    assert attributes(first.out)["label"].tolist()[0] == "damaged"


def test_the_style_colours_both_kinds_and_lists_the_answers(suggest):
    out = suggest().out.with_suffix(".qml")
    style = out.read_text()
    assert 'attr="drawn"' in style
    assert all(f'category value="{word}"' in style for word in ("chosen", "random"))
    assert 'editWidget type="ValueMap"' in style
    assert 'name="damaged" value="damaged"' in style


def test_a_style_of_ones_own_is_kept(suggest, tmp_path):
    (tmp_path / "labels.qml").write_text("mine")
    suggest()
    assert (tmp_path / "labels.qml").read_text() == "mine"


def test_points_are_suggested_as_points(suggest, tmp_path):
    make_buildings(tmp_path / "points.gpkg", [shape.centroid for shape in houses()])
    found = suggest(buildings=tmp_path / "points.gpkg")
    assert set(gpd.read_file(found.out).geom_type) == {"Point"}
    assert 'class="SimpleMarker"' in found.out.with_suffix(".qml").read_text()
    more = suggest(buildings=tmp_path / "points.gpkg", labels=found.out)
    assert more.kept == 10


def moved(path, out, uid, metres):
    """Write the buildings with one vertex of one of them moved to the east."""
    frame = gpd.read_file(path)
    row = frame.index[frame["uid"] == uid][0]
    rings = np.array(frame.geometry[row].exterior.coords)
    rings[1] += (metres, 0)
    frame.loc[row, "geometry"] = shapely.Polygon(rings)
    frame.to_file(out)
    return out


def test_buildings_that_changed_since_are_refused_by_id(suggest, place, tmp_path):
    first = suggest()
    labelled = first.buildings[0].unit_id
    changed = moved(place / "houses.gpkg", tmp_path / "changed.gpkg", labelled, 1.0)
    with pytest.raises(DataError, match=f"1 labelled buildings is another .*\\({labelled}\\)"):
        suggest(buildings=changed, labels=first.out)
    # A file format that rounds to 7 decimals moves vertices by a centimetre.
    gpd.read_file(place / "houses.gpkg").to_crs(4326).to_file(tmp_path / "r.geojson")
    assert suggest(buildings=tmp_path / "r.geojson", labels=first.out).kept == 10


def test_labels_of_unknown_buildings_are_refused(suggest, tmp_path):
    first = suggest()
    make_buildings(tmp_path / "few.gpkg", houses(2))
    with pytest.raises(DataError, match=r"labels \d+ buildings that .*few.gpkg does not hold"):
        suggest(buildings=tmp_path / "few.gpkg", labels=first.out)


def test_labels_of_another_survey_are_taken_by_id_where_the_places_agree(suggest, place, tmp_path):
    survey = gpd.read_file(place / "houses.gpkg").iloc[:4][["uid", "geometry"]]
    survey.assign(grade="major").to_file(tmp_path / "survey.gpkg")
    found = suggest(labels=tmp_path / "survey.gpkg", out=tmp_path / "more.geojson")
    table = attributes(found.out)
    assert (table["grade"] == "major").sum() == found.kept == 4
    assert any("survey.gpkg has no column 'label'" in note for note in found.notes)
    survey.assign(geometry=survey.translate(25, 0)).to_file(tmp_path / "elsewhere.gpkg")
    with pytest.raises(DataError, match="footprint of 4 labelled buildings is another"):
        suggest(labels=tmp_path / "elsewhere.gpkg", out=tmp_path / "x.geojson")
    survey.drop(columns="uid").to_file(tmp_path / "nameless.gpkg")
    with pytest.raises(DataError, match="has no ids, so that nobody can say"):
        suggest(labels=tmp_path / "nameless.gpkg", out=tmp_path / "x.geojson")


def test_labels_twice_are_refused(suggest, tmp_path):
    first = suggest()
    frame = gpd.read_file(first.out)
    pd.concat([frame, frame.iloc[:1]]).to_file(tmp_path / "twice.gpkg")
    with pytest.raises(FootprintError, match=r"not unique .*keep one row for each"):
        suggest(labels=tmp_path / "twice.gpkg", out=tmp_path / "x.geojson")


def test_buildings_elsewhere_and_buildings_unseen_are_refused(suggest, place, tmp_path):
    far = [affinity.translate(shape, 50_000, 0) for shape in houses(3)]
    make_buildings(tmp_path / "far.gpkg", far)
    with pytest.raises(FootprintError, match=r"none of the 3 buildings .* lies on scene.tif"):
        suggest(buildings=tmp_path / "far.gpkg")
    make_buildings(tmp_path / "hidden.gpkg", houses(2))
    with pytest.raises(FootprintError, match=r"none of the 2 buildings on hole.tif can be judged"):
        suggest(scenes=("hole.tif",), buildings=tmp_path / "hidden.gpkg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "labels.gpkg"], "the file to write ends in .geojson"),
        (["--out", "x.geojson", "--n", "0"], "'--n': Input should be greater than or equal to 1"),
        (
            ["--out", "x.geojson", "--random", "1.5"],
            "'--random': Input should be less than or equal to 1",
        ),
        (["--out", "x.geojson", "--device", "tpu"], "device"),
        (["--out", "x.geojson", "--bands", "3,2"], "name three bands"),
    ],
)
def test_wrong_usage_exits_with_2(place, arguments, message):
    command = ["suggest", str(place / "scene.tif"), "--buildings", str(place / "houses.gpkg")]
    result = CliRunner().invoke(app, [*command, *arguments])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_the_command_says_what_to_do_next_and_prints_json(place, tmp_path):
    out = tmp_path / "labels.geojson"
    command = ["suggest", str(place / "scene.tif"), "--buildings", str(place / "houses.gpkg")]
    command += ["--model", str(place / "bundle"), "--n", "5"]
    told = CliRunner().invoke(app, [*command, "--out", str(out)])
    assert told.exit_code == 0, told.output
    assert "5 buildings to label, 2 drawn at random from 30 and 3 chosen (round 1)" in told.stdout
    assert f"--labels {out} --field label --damaged damaged" in told.stdout
    as_json = CliRunner().invoke(app, [*command, "--out", str(out), "--labels", str(out), "--json"])
    found = json.loads(as_json.stdout)
    assert (found["round"], found["kept"], len(found["buildings"])) == (2, 5, 5)


def test_labels_that_are_not_there_are_refused(suggest, tmp_path):
    with pytest.raises(FootprintError, match="does not exist"):
        suggest(labels=tmp_path / "none.geojson")
