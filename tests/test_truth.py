"""An assessment against a survey: joined by id or place, scored on what was judged."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, box
from typer.testing import CliRunner

from damagenet.cli.main import app
from damagenet.errors import DamageNetError, EvaluationError
from damagenet.evaluation.results import read_results
from damagenet.evaluation.survey_options import Words
from damagenet.evaluation.survey_scores import evaluate_results, write_survey_report
from damagenet.evaluation.truth import Survey, join_survey, read_survey

GRADES = Words(damaged=("minor", "major"), undamaged=("none",), ignored=("unclear",))
METRE = 1 / 111_320
"""Degrees of latitude, near enough."""


def units(count, *, north_m=0.0, **columns):
    """Units 50 m apart on a line to the north, all called undamaged."""
    frame = pd.DataFrame(
        {
            "unit_id": [f"u{n}" for n in range(count)],
            "label": "undamaged",
            "reason": "",
            "p_damaged": 0.1,
            "lon": -95.5,
            "lat": 29.7 + (50 * np.arange(count) + north_m) * METRE,
            "scene": "storm.tif",
        }
    )
    return frame.assign(**columns)


def survey_file(path, grades, *, ids=None, north_m=0.0, **columns):
    """Surveyed points 50 m apart on the same line."""
    lats = 29.7 + (50 * np.arange(len(grades)) + north_m) * METRE
    values = {"grade": grades} | ({} if ids is None else {"uid": ids}) | columns
    frame = gpd.GeoDataFrame(values, geometry=[Point(-95.5, lat) for lat in lats], crs=4326)
    frame.to_file(path)
    return path


def survey_of(count, **columns):
    frame = gpd.GeoDataFrame(
        {"unit_id": [f"u{n}" for n in range(count)], "damaged": True} | columns,
        geometry=[Point(-95.5, 29.7 + 50 * n * METRE) for n in range(count)],
        crs=4326,
    )
    return Survey(frame=frame, ignored={}, words={})


def write_csv(folder, frame):
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "damage.csv", index=False)
    return folder


def test_equal_ids_join_whatever_their_order():
    matched, join = join_survey(
        units(3).iloc[::-1].reset_index(drop=True),
        survey_of(3, damaged=[True, False, True]),
    )
    assert join.joined_by == "id"
    assert dict(zip(matched["unit_id"], matched["damaged_in_truth"], strict=True)) == {
        "u0": True,
        "u1": False,
        "u2": True,
    }


def test_foreign_ids_join_the_nearest_within_ten_metres():
    survey = survey_of(4, unit_id=list("abcd"), damaged=[True, False, False, True])
    matched, join = join_survey(units(3, north_m=9.5), survey)
    assert join.joined_by == "nearest"
    assert matched["damaged_in_truth"].tolist() == [True, False, False]
    assert (join.matched, join.units_unmatched, join.truth_unmatched) == (3, 0, 1)
    with pytest.raises(
        EvaluationError, match="no unit matches a surveyed building, by id or within 10 m"
    ):
        join_survey(units(3, north_m=11), survey)


def test_equal_ids_at_other_places_are_other_buildings():
    survey = survey_of(3, damaged=[True, False, False])
    shifted = units(3).assign(unit_id=["u1", "u2", "u0"])
    matched, join = join_survey(shifted, survey)
    assert join.joined_by == "nearest"
    assert matched["damaged_in_truth"].tolist() == [True, False, False]


def test_row_numbers_that_slip_by_one_half_way_are_foreign_ids():
    # Building 12 is not in the survey: from there on every row number is the next building's.
    damaged = np.arange(20) % 3 == 0
    kept = np.delete(np.arange(20), 12)
    whole = survey_of(20, damaged=damaged).frame
    frame = whole.iloc[kept].reset_index(drop=True).assign(unit_id=[f"u{n}" for n in range(19)])
    matched, join = join_survey(units(20), Survey(frame=frame, ignored={}, words={}))
    assert (join.joined_by, join.matched, join.ids_elsewhere) == ("nearest", 19, 7)
    assert matched["damaged_in_truth"].tolist() == damaged[kept].tolist()


def test_a_single_pair_of_equal_id_far_apart_is_left_out_and_counted():
    placed = units(40)
    placed.loc[7, "lat"] += 30 * METRE
    placed.loc[9, ["lon", "lat"]] = np.nan
    matched, join = join_survey(placed, survey_of(40))
    assert (join.joined_by, join.matched, join.ids_elsewhere) == ("id", 39, 1)
    assert "u7" not in set(matched["unit_id"])
    assert "u9" in set(matched["unit_id"])


def test_ids_that_two_units_share_join_by_place():
    _, join = join_survey(units(3).assign(unit_id="u0"), survey_of(3))
    assert (join.joined_by, join.matched, join.truth_unmatched) == ("nearest", 3, 0)


def test_units_without_a_place_join_by_id():
    nowhere = units(2, lon=np.nan, lat=np.nan)
    matched, join = join_survey(nowhere, survey_of(2))
    assert (join.joined_by, len(matched)) == ("id", 2)


def test_each_surveyed_building_answers_one_unit_the_closest():
    frame = gpd.GeoDataFrame(
        {"unit_id": ["x"], "damaged": [True]}, geometry=[Point(-95.5, 29.7)], crs=4326
    )
    near = units(2).assign(lat=[29.7 + 5 * METRE, 29.7 + 3 * METRE])
    matched, join = join_survey(near, Survey(frame=frame, ignored={}, words={}))
    assert matched["unit_id"].tolist() == ["u1"]
    assert (join.units_unmatched, join.truth_unmatched) == (1, 0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-60, 60), min_size=1, max_size=12), st.integers(1, 6))
def test_nearest_join_is_one_to_one_and_within_reach(offsets, count):
    placed = units(len(offsets)).assign(lat=29.7 + np.array(offsets) * METRE)
    survey = survey_of(count, unit_id=[f"other{n}" for n in range(count)])
    try:
        matched, join = join_survey(placed, survey)
    except EvaluationError:
        assert np.abs(np.subtract.outer(offsets, 50 * np.arange(count))).min() > 9.8
        return
    assert matched["unit_id"].is_unique
    assert join.matched + join.units_unmatched == len(offsets)
    assert join.matched + join.truth_unmatched == count


def test_words_are_sorted_into_two_classes_and_the_rest_is_counted(tmp_path):
    path = survey_file(tmp_path / "s.geojson", ["Minor ", "none", "unclear", None, "major", "none"])
    survey = read_survey(path, "grade", GRADES)
    assert survey.frame["damaged"].tolist() == [True, False, True, False]
    assert survey.frame["unit_id"].tolist() == ["0", "1", "4", "5"]
    assert survey.ignored == {"unclear": 1, "(empty)": 1}
    assert survey.words["minor"] == "damaged"


def test_a_word_in_no_list_is_refused_with_what_the_field_holds(tmp_path):
    path = survey_file(tmp_path / "s.geojson", ["minor", "none", "gone", "gone"])
    with pytest.raises(
        EvaluationError,
        match=r"'gone' is in none of .*; the field holds: gone \(2\), minor \(1\), none \(1\)",
    ):
        read_survey(path, "grade", GRADES)


def test_without_undamaged_words_all_others_are_undamaged_but_for_slips(tmp_path):
    path = survey_file(tmp_path / "s.geojson", ["minor-damage", "fine", "standing"])
    only_damaged = read_survey(path, "grade", Words(damaged=("minor-damage", "destroyed")))
    assert only_damaged.frame["damaged"].tolist() == [True, False, False]
    assert only_damaged.words["destroyed"] == "not in the field"
    with pytest.raises(EvaluationError, match="'minor-damage' is in none of"):
        read_survey(path, "grade", Words(damaged=("minor-damge",)))


@pytest.mark.parametrize("word", ["damged", "damagedd", "damage"])
def test_a_slip_beside_the_word_itself_is_no_undamaged_building(tmp_path, word):
    path = survey_file(tmp_path / "s.geojson", ["damaged", word, "fine"])
    with pytest.raises(EvaluationError, match=f"'{word}' is in none of"):
        read_survey(path, "grade", Words(damaged=("damaged",)))


@pytest.mark.parametrize(
    ("damaged", "other"),
    [("destroyed", "undestroyed"), ("category 2", "category 1"), ("damaged", "undamaged")],
)
def test_the_opposite_and_another_number_are_no_slips(tmp_path, damaged, other):
    path = survey_file(tmp_path / "s.geojson", [damaged, other])
    survey = read_survey(path, "grade", Words(damaged=(damaged,)))
    assert survey.frame["damaged"].tolist() == [True, False]


def test_numbers_and_truth_values_are_words_too(tmp_path):
    path = survey_file(tmp_path / "s.geojson", [1.0, 0.0, None])
    survey = read_survey(path, "grade", Words(damaged=("1",), undamaged=("0",)))
    assert survey.frame["damaged"].tolist() == [True, False]


def test_a_column_named_like_one_of_ours_is_found(tmp_path):
    path = survey_file(tmp_path / "s.geojson", ["a", "b"], label=["minor", "none"])
    assert read_survey(path, "label", GRADES).frame["damaged"].tolist() == [True, False]


def test_surveys_that_say_nothing_are_refused(tmp_path):
    path = survey_file(tmp_path / "s.geojson", ["unclear", "unclear"])
    with pytest.raises(EvaluationError, match="no building has a class to score by"):
        read_survey(path, "grade", GRADES)
    with pytest.raises(
        EvaluationError, match=r"has no field 'Grade' \(did you mean 'grade'\?\); choose"
    ):
        read_survey(path, "Grade", GRADES)
    with pytest.raises(EvaluationError, match="a word is named twice"):
        read_survey(path, "grade", Words(damaged=("a",), undamaged=("a",)))
    with pytest.raises(DamageNetError, match=r"nowhere\.geojson"):
        read_survey(tmp_path / "nowhere.geojson", "grade", GRADES)


@pytest.mark.parametrize("suffix", ["csv", "geojson", "gpkg", "parquet"])
def test_results_are_read_from_every_format_with_ids_as_text(tmp_path, suffix):
    frame = units(3, p_damaged=[0.1, np.nan, 0.9]).assign(unit_id=["007", "008", "9"])
    path = tmp_path / f"damage.{suffix}"
    places = gpd.GeoDataFrame(
        frame, geometry=gpd.points_from_xy(frame["lon"], frame["lat"]), crs=4326
    )
    if suffix == "csv":
        frame.to_csv(path, index=False)
    elif suffix == "parquet":
        places.to_parquet(path)
    else:
        places.to_file(path)
    for results in (tmp_path, path):
        read = read_results(results)
        assert read["unit_id"].tolist() == ["007", "008", "9"]
        assert read["p_damaged"].isna().tolist() == [False, True, False]
        assert read["reason"].tolist() == ["", "", ""]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]  # nothing is left beside it


def test_what_is_no_result_is_refused(tmp_path):
    with pytest.raises(EvaluationError, match="does not exist: name the --out folder"):
        read_results(tmp_path / "nowhere")
    with pytest.raises(EvaluationError, match=r"holds none of damage.parquet, damage.gpkg"):
        read_results(tmp_path)
    write_csv(tmp_path, units(2)[["unit_id", "label"]])
    with pytest.raises(EvaluationError, match="is no damagenet result: it lacks reason, p_damaged"):
        read_results(tmp_path)
    write_csv(tmp_path / "none", units(0))
    with pytest.raises(EvaluationError, match="holds no unit"):
        read_results(tmp_path / "none")
    broken = tmp_path / "damage.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(EvaluationError, match="cannot be read as results"):
        read_results(tmp_path)


def test_uncertain_and_not_judged_units_are_counted_apart(tmp_path):
    results = write_csv(
        tmp_path / "run",
        units(
            6,
            label=["damaged", "undamaged", "uncertain", "not-judged", "damaged", "undamaged"],
            reason=["", "", "", "no-imagery", "", ""],
            p_damaged=[0.9, 0.2, 0.5, np.nan, 0.8, 0.1],
        ),
    )
    truth = survey_file(tmp_path / "t.geojson", ["major", "none", "minor", "minor", "none", "none"])
    report = evaluate_results(results, truth, "grade", GRADES)
    overall = report.overall
    assert (overall.units, overall.decided, overall.uncertain_damaged) == (6, 4, 1)
    assert overall.uncertain_undamaged == 0
    assert overall.not_judged == {"no-imagery": 1}
    assert overall.share_decided == pytest.approx(4 / 6)
    assert overall.scores.confusion.model_dump() == {
        "damaged_found": 1,
        "damaged_missed": 0,
        "undamaged_flagged": 1,
        "undamaged_kept": 2,
    }
    # AUROC ranks the uncertain one too: 0.9 and 0.5 against 0.2, 0.8 and 0.1.
    assert overall.scores.auroc.value == pytest.approx(5 / 6)
    assert overall.scores.auroc.n == 5


def test_scores_are_told_per_scene_and_over_all(tmp_path):
    results = write_csv(
        tmp_path / "run",
        units(
            4,
            scene=["a.tif", "a.tif", "b.tif", "b.tif"],
            label=["damaged", "undamaged", "damaged", "damaged"],
            p_damaged=[0.9, 0.1, 0.9, 0.8],
        ),
    )
    truth = survey_file(tmp_path / "t.geojson", ["major", "none", "none", "none"])
    report = evaluate_results(results, truth, "grade", GRADES)
    assert [scene.scene for scene in report.scenes] == ["a.tif", "b.tif"]
    first, second = (scene.scores for scene in report.scenes)
    assert (first.recall.value, first.false_alarm_rate.value) == (1, 0)
    assert (second.recall.value, second.false_alarm_rate.value) == (None, 1)
    assert report.overall.scores.false_alarm_rate.value == pytest.approx(2 / 3)
    # Pairs across scenes do not count.
    assert report.overall.scores.auroc.value == 1


def test_nothing_judged_is_refused_with_the_reasons(tmp_path):
    results = write_csv(
        tmp_path / "run", units(2, label="not-judged", reason="obscured", p_damaged=np.nan)
    )
    truth = survey_file(tmp_path / "t.geojson", ["major", "none"])
    with pytest.raises(
        EvaluationError, match=r"none of the 2 units .* was judged: {'obscured': 2}"
    ):
        evaluate_results(results, truth, "grade", GRADES)


def test_a_survey_that_contradicts_itself_is_refused(tmp_path):
    results = write_csv(tmp_path / "run", units(2, p_damaged=[0.9, 0.1]))
    lats = [29.7, 29.7 + 50 * METRE, 29.7 + 50.5 * METRE]

    def surveyed(name, *grades):
        frame = gpd.GeoDataFrame(
            {"uid": ["u0", "u1", "u1 again"], "grade": grades},
            geometry=[Point(-95.5, lat) for lat in lats],
            crs=4326,
        )
        frame.to_file(tmp_path / name)
        return tmp_path / name

    truth = surveyed("t.geojson", "none", "none", "major")
    with pytest.raises(
        EvaluationError,
        match=r"t.geojson calls one building both damaged and undamaged, 1 time\(s\), at the same "
        r"place \(ids u1 and u1 again\): keep one label for each building",
    ):
        evaluate_results(results, truth, "grade", GRADES)
    # What agrees, or says nothing, may be there twice.
    for name, second in (("a.geojson", "none"), ("b.geojson", "unclear")):
        agreeing = surveyed(name, "major", "none", second)
        assert evaluate_results(results, agreeing, "grade", GRADES).join.matched == 2


def test_polygons_in_another_crs_join_where_the_unit_lies_inside(tmp_path):
    results = write_csv(tmp_path / "run", units(2, p_damaged=[0.9, 0.1]))
    line = gpd.GeoSeries([Point(-95.5, 29.7), Point(-95.5, 29.7 + 50 * METRE)], crs=4326)
    centres = line.to_crs(32615)
    houses = gpd.GeoDataFrame(
        {"grade": ["major", "none"]},
        geometry=[box(p.x - 2, p.y - 20, p.x + 30, p.y + 3) for p in centres],
        crs=32615,
    )
    houses.to_file(tmp_path / "t.gpkg")
    # The file's rows are 0 and 1, the units u0 and u1, so that the place decides.
    report = evaluate_results(results, tmp_path / "t.gpkg", "grade", GRADES)
    assert (report.join.joined_by, report.join.matched) == ("nearest", 2)


def test_a_geopackage_with_its_style_beside_the_verdicts_is_read_without_a_warning(tmp_path):
    places = gpd.points_from_xy([-95.5, -95.5], [29.7, 29.8])
    frame = gpd.GeoDataFrame(units(2), geometry=places, crs=4326)
    frame.to_file(tmp_path / "damage.gpkg", layer="damage")
    pyogrio.write_dataframe(pd.DataFrame({"a": [1]}), tmp_path / "damage.gpkg", layer="styles")
    assert read_results(tmp_path)["unit_id"].tolist() == ["u0", "u1"]
    pyogrio.write_dataframe(pd.DataFrame({"a": [1]}), tmp_path / "other.gpkg", layer="styles")
    with pytest.raises(EvaluationError, match=r"other.gpkg cannot be read as results"):
        read_results(tmp_path / "other.gpkg")


def test_the_report_is_written_as_json_and_plot(tmp_path):
    results = write_csv(tmp_path / "run", units(3, p_damaged=[0.9, 0.1, 0.3]))
    truth = survey_file(tmp_path / "t.geojson", ["major", "none", "none"], ids=["u0", "u1", "u2"])
    report = evaluate_results(results, truth, "grade", GRADES)
    paths = write_survey_report(tmp_path / "out", report)
    told = json.loads(paths[0].read_text())
    assert told["join"]["joined_by"] == "id"
    assert told["overall"]["scores"]["n"] == 3
    assert paths[1].read_text().startswith("<svg")


def test_the_command_tells_how_many_pairs_of_equal_id_lie_apart(tmp_path):
    lats = units(3)["lat"] + [0, 0, 12 * METRE]
    results = write_csv(tmp_path / "run", units(3, lat=lats, p_damaged=[0.9, 0.1, 0.3]))
    truth = survey_file(tmp_path / "t.geojson", ["major", "none", "none"], ids=["u0", "u1", "u2"])
    arguments = ["--truth", str(truth), "--field", "grade", "--damaged", "major"]
    result = CliRunner().invoke(
        app, ["evaluate", str(results), *arguments, "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    told = " ".join(result.stdout.split())
    assert "2 units joined to t.geojson by nearest within 10 m; without a counterpart" in told
    assert "1 pairs of equal id lie farther apart than 10 m" in told


def test_the_command_tells_words_counts_and_scores(tmp_path):
    results = write_csv(
        tmp_path / "run",
        units(3, label=["damaged", "uncertain", "undamaged"], p_damaged=[0.9, 0.5, 0.3]),
    )
    truth = survey_file(tmp_path / "t.geojson", ["major", "none", "none"], ids=["u0", "u1", "u2"])
    arguments = ["--truth", str(truth), "--field", "grade", "--damaged", "minor,major"]
    result = CliRunner().invoke(
        app, ["evaluate", str(results), *arguments, "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert "3 units joined to t.geojson by id" in result.stdout
    assert "major is damaged, none is undamaged, minor is not in the field" in result.stdout
    assert "of 3 units 2 got a verdict (67 %), 1 are uncertain (0 of them damaged" in result.stdout
    assert "of the damaged 1 found and 0 missed, of the undamaged 1 kept and 0 f" in result.stdout
    assert (tmp_path / "out" / "survey.json").exists()
    as_json = CliRunner().invoke(app, ["evaluate", str(results), *arguments, "--json"])
    assert json.loads(as_json.stdout)["overall"]["scores"]["recall"]["value"] == 1
