"""`damagenet summarise`: totals per area from labels, from a card, or from neither."""

import csv
import json
import re
import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from assessments import make_assessment, make_card
from shapely.geometry import Point, box
from typer.testing import CliRunner

from damagenet.assessment import ASSESSMENT_FILE
from damagenet.bundle import model_id
from damagenet.card import Event, Strangeness
from damagenet.cli.main import app
from damagenet.errors import EvaluationError, FootprintError, OutputError
from damagenet.outputs.totals import read_totals
from damagenet.outputs.writing import write_outputs
from damagenet.totals.areas import read_areas
from damagenet.totals.options import SummariseOptions
from damagenet.totals.summarise import summarise_results
from damagenet.totals.verdicts import read_verdicts

STEP = 0.0005
"""Degrees between units, about 50 m."""
CARD = make_card(false_alarm_rate=0.1)
MODEL = model_id(CARD)


def run_folder(folder, *, rows=20, columns=20, **changes):
    """A run of 400 units on a lattice, the western half damaged and flagged."""
    number = np.arange(rows * columns)
    row, column = np.divmod(number, columns)
    frame = pd.DataFrame(
        {
            "unit_id": [f"u{one}" for one in number],
            "kind": "building",
            "label": np.where(column < columns // 2, "damaged", "undamaged"),
            "reason": "",
            "p_damaged": np.where(column < columns // 2, 0.9, 0.1),
            "lon": -95.5 + STEP * column,
            "lat": 29.7 + STEP * row,
            "scene": "storm.tif",
            "model": MODEL,
        }
    ).assign(**changes)
    folder.mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "damage.csv", index=False)
    return folder, frame


def labels_file(path, frame, damaged, **columns):
    """Labels of some units, at their place and under their id."""
    grades = np.where(damaged, "major", "none")
    places = [Point(*place) for place in zip(frame["lon"], frame["lat"], strict=True)]
    values = {"uid": frame["unit_id"].to_numpy(), "grade": grades} | columns
    gpd.GeoDataFrame(values, geometry=places, crs=4326).to_file(path)
    return path


def halves(path, *, crs=4326, **columns):
    """Two areas side by side over the lattice: west and east."""
    west, middle, east = -95.5 - STEP / 2, -95.5 + 9.5 * STEP, -95.5 + 19.5 * STEP
    south, north = 29.7 - STEP / 2, 29.7 + 19.5 * STEP
    shapes = [box(west, south, middle, north), box(middle, south, east, north)]
    values = {"geoid": ["west", "east"]} | columns
    gpd.GeoDataFrame(values, geometry=shapes, crs=4326).to_crs(crs).to_file(path)
    return path


def totals_of(folder, *, areas=None, **options):
    settings = SummariseOptions(areas=areas, field="grade", damaged=("major",), **options)
    where = None if areas is None else read_areas(areas, id_field=settings.area_id_field)
    return summarise_results(read_verdicts(folder), where, settings)


def random_sample(frame, count, *, seed=0):
    return frame.iloc[np.random.default_rng(seed).permutation(len(frame))[:count]]


def west(frame):
    return (frame["label"] == "damaged").to_numpy()


def with_card(folder, card, *, scene="storm.tif", prior=None, strangeness=None):
    """Lay an assessment with this card into the run, as `damagenet assess` does."""
    made = make_assessment(folder.parent / "made", card=card)
    info = made.scene.model_copy(update={"path": made.scene.path.with_name(scene)})
    options = made.options.model_copy(update={"prior": prior})
    changes = {"scene": info, "folder": folder / "storm", "options": options}
    changes["strangeness"] = strangeness
    kept = made.model_copy(update=changes)
    (folder / "storm").mkdir(exist_ok=True)
    (folder / "storm" / ASSESSMENT_FILE).write_text(kept.model_dump_json())


def test_random_labels_calibrate_the_whole_run(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    sample = random_sample(frame, 80)
    truth = west(sample) & (np.arange(80) % 4 > 0)  # a quarter of the flags is wrong
    labels = labels_file(tmp_path / "l.geojson", sample, truth, drawn=["Random "] * 80)
    totals = totals_of(folder, labels=labels)
    whole = totals.whole
    assert totals.situation == "random-labels"
    assert (whole.units, whole.labelled_random, whole.flagged) == (400, 80, 200)
    share = truth.sum() / west(sample).sum()
    assert whole.estimate == pytest.approx(200 * share, abs=0.1)
    assert truth.sum() <= whole.low < whole.estimate < whole.high <= 400
    assert "Calibrated for this event" in totals.headline
    assert "words: major is damaged, none is undamaged" in totals.notes


@pytest.mark.parametrize(
    ("scene", "fresh"), [("storm", False), ("other", True)], ids=["adapted here", "elsewhere"]
)
def test_labels_that_the_model_was_adapted_to_say_nothing_of_its_other_verdicts(
    tmp_path, scene, fresh
):
    folder, frame = run_folder(tmp_path / "run")
    sample, truth = random_sample(frame, 80), west(frame)
    # By heart where there is a label; of the other damaged units it misses four in five.
    missed = truth & ~frame.index.isin(sample.index) & (np.arange(400) % 5 > 0)
    run_folder(folder, label=np.where(truth & ~missed, "damaged", "undamaged"))
    event = Event(
        scenes=(scene,), base="toy@0", fitted=60, aside=20, aside_damaged=9, aside_random=0
    )
    with_card(folder, CARD.model_copy(update={"event": event}))
    labels = labels_file(tmp_path / "l.geojson", sample, west(sample), drawn="random")
    totals = totals_of(folder, labels=labels)
    believed = any(
        "the model was adapted to ground of 80 of these labels" in n for n in totals.notes
    )
    assert believed != fresh
    assert (totals.whole.low <= truth.sum() <= totals.whole.high) != fresh
    assert ("that were judged" in totals.guarantee) != fresh
    assert totals.whole.flagged == (truth & ~missed).sum()


def test_areas_add_up_to_the_run_and_units_in_none_have_a_row(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    sample = random_sample(frame, 80)
    labels = labels_file(tmp_path / "l.geojson", sample, west(sample), drawn="random")
    path = halves(tmp_path / "a.gpkg", crs=32615)
    only_west = gpd.read_file(path).iloc[:1]
    only_west.to_file(tmp_path / "west.gpkg")
    totals = totals_of(folder, areas=tmp_path / "west.gpkg", labels=labels, share=True)
    assert [(row.scope, row.units) for row in totals.rows] == [
        ("area", 200),
        ("outside", 200),
        ("all", 400),
    ]
    estimates = [row.estimate for row in totals.rows]
    assert sum(estimates[:-1]) == pytest.approx(estimates[-1], abs=0.2)
    assert any("200 buildings lie in no area" in note for note in totals.notes)


def test_areas_are_counted_from_their_own_labels_unless_they_may_borrow(tmp_path):
    # The model knows nothing, and the damage lies in the west.
    folder, frame = run_folder(tmp_path / "run", label="damaged", p_damaged=0.9)
    sample = random_sample(frame, 40)
    in_west = (sample["lon"] < -95.5 + 9.5 * STEP).to_numpy()
    labels = labels_file(tmp_path / "l.geojson", sample, in_west, drawn="random")
    areas = halves(tmp_path / "a.gpkg")
    totals = totals_of(folder, areas=areas, labels=labels)
    assert [row.method for row in totals.rows] == ["own-labels", "own-labels", "random-labels"]
    assert totals.rows[0].high == 200
    assert totals.rows[1].low == 0
    assert any("differ more than chance explains" in note for note in totals.notes)
    assert any("its own random labels, so its interval holds" in note for note in totals.notes)
    borrowed = totals_of(folder, areas=areas, labels=labels, share=True)
    assert borrowed.rows[0].method == "random-labels"
    assert any("do not trust the rows that did" in note for note in borrowed.notes)


def test_enough_labels_of_its_own_free_an_area_from_the_others(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    sample = random_sample(frame, 60)
    labels = labels_file(tmp_path / "l.geojson", sample, west(sample), drawn="random")
    totals = totals_of(
        folder, areas=halves(tmp_path / "a.gpkg"), labels=labels, share=True, own_labels=20
    )
    assert [row.method for row in totals.rows[:2]] == ["own-labels", "own-labels"]


def test_chosen_labels_are_known_truths_and_no_sample(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    sample = random_sample(frame, 80)
    drawn = np.where(np.arange(80) < 40, "random", "chosen")
    labels = labels_file(tmp_path / "l.geojson", sample, np.arange(80) >= 40, drawn=drawn)
    whole = totals_of(folder, labels=labels).whole
    assert (whole.labelled_random, whole.labelled_random_damaged) == (40, 0)
    assert whole.labelled_otherwise == 40
    assert whole.low == 40  # the chosen ones are damaged, whatever the sample says
    assert whole.low <= whole.estimate <= whole.high


def test_labels_that_nobody_calls_random_say_what_is_missing(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    with_card(folder, CARD)
    sample = random_sample(frame, 50)
    labels = labels_file(tmp_path / "l.geojson", sample, west(sample))
    totals = totals_of(folder, labels=labels)
    assert totals.situation == "card-rates"
    assert "None of the labels is marked as drawn at random" in totals.guarantee
    assert "a column `drawn`" in totals.guarantee
    asserted = totals_of(folder, labels=labels, labels_are_random=True)
    assert (asserted.situation, asserted.whole.labelled_random) == ("random-labels", 50)


def test_an_area_without_a_label_of_its_own_may_hold_anything(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    sample = frame[west(frame)].iloc[:60:2]
    labels = labels_file(tmp_path / "l.geojson", sample, np.ones(30, bool), drawn="random")
    totals = totals_of(folder, areas=halves(tmp_path / "a.gpkg"), labels=labels)
    east = totals.rows[1]
    assert (east.labelled_random, east.estimate, east.low, east.high) == (0, None, 0, 200)


def test_a_slip_of_the_word_random_is_no_other_label(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    some = frame.iloc[:9]
    labels = labels_file(tmp_path / "l.geojson", some, west(some), drawn="randm")
    with pytest.raises(EvaluationError, match="'randm' is taken for a slip of 'random'"):
        totals_of(folder, labels=labels)


def test_labels_of_one_word_are_fine(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    sample = random_sample(frame, 50)
    labels = labels_file(tmp_path / "l.geojson", sample, np.zeros(50, bool), drawn="random")
    whole = totals_of(folder, labels=labels).whole
    assert (whole.estimate, whole.low) == (0, 0)
    assert 0 < whole.high < 80


def test_without_labels_the_rates_of_the_card_count_and_say_so(tmp_path):
    folder, _ = run_folder(tmp_path / "run")
    with_card(folder, CARD)
    totals = totals_of(folder)
    assert totals.headline == "Not calibrated for this event"
    assert "of undamaged ones 10.0 %" in totals.guarantee
    expected = (200 - 400 * 0.1) / (0.8 - 0.1)
    assert totals.whole.estimate == pytest.approx(expected, abs=0.1)
    assert totals.whole.low < expected < totals.whole.high < 400


def test_the_rates_of_the_card_count_at_its_own_threshold_whatever_the_prior(tmp_path):
    plain, _ = run_folder(tmp_path / "plain")
    with_card(plain, CARD)
    # Odds a nineteenth of what they were: 0.9 becomes 0.32, the threshold of 0.5 becomes 0.05.
    odds = np.array([9.0, 1 / 9]) / 19
    _, frame = run_folder(tmp_path / "re-weighted")
    p = np.where(frame["p_damaged"] > 0.5, *(odds / (1 + odds)))
    weighted, _ = run_folder(tmp_path / "re-weighted", p_damaged=p)
    with_card(weighted, CARD, prior=0.05)
    assert totals_of(weighted).whole == totals_of(plain).whole


def test_a_model_that_flags_everything_gives_meaningless_totals(tmp_path):
    card = make_card(false_alarm_rate=0.8)
    folder, _ = run_folder(tmp_path / "run", model=model_id(card), p_damaged=0.9)
    with_card(folder, card)
    totals = totals_of(folder)
    assert totals.whole.estimate is None
    assert "the totals are meaningless" in totals.guarantee


def test_without_a_card_only_labels_are_known(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    labels = labels_file(tmp_path / "l.geojson", frame.iloc[:30], west(frame.iloc[:30]))
    totals = totals_of(folder, labels=labels)
    assert totals.situation == "no-rates"
    assert (totals.whole.low, totals.whole.high) == (20, 390)


def test_units_that_were_not_judged_keep_the_interval_open(tmp_path):
    hidden = np.arange(400) % 10 == 0
    folder, frame = run_folder(tmp_path / "run")
    folder, frame = run_folder(
        tmp_path / "run",
        label=np.where(hidden, "not-judged", frame["label"]),
        reason=np.where(hidden, "obscured", ""),
        p_damaged=np.where(hidden, np.nan, frame["p_damaged"]),
    )
    sample = random_sample(frame[~hidden], 100)
    labels = labels_file(tmp_path / "l.geojson", sample, west(sample), drawn="random")
    totals = totals_of(folder, labels=labels)
    whole = totals.whole
    assert (whole.units, whole.not_judged) == (400, 40)
    assert not any("were not judged" in note for note in totals.notes)
    assert whole.high - whole.low >= 40
    with_card(folder, CARD)
    assert totals_of(folder).whole.high - totals_of(folder).whole.low >= 40


def test_labels_of_units_that_were_not_judged_are_counted_and_said(tmp_path):
    hidden = np.arange(400) % 10 == 0
    folder, frame = run_folder(tmp_path / "run")
    label, reason = np.where(hidden, "not-judged", frame["label"]), np.where(hidden, "obscured", "")
    run_folder(tmp_path / "run", label=label, reason=reason)
    sample = random_sample(frame, 100)
    count = int(hidden[sample.index].sum())
    labels = labels_file(tmp_path / "l.geojson", sample, west(sample), drawn="random")
    notes = totals_of(folder, labels=labels).notes
    assert any(f"{count} labels are of buildings that were not judged" in note for note in notes)


def test_contradictory_labels_are_refused(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    twice = pd.concat([frame.iloc[:5], frame.iloc[:1].assign(unit_id="again")])
    labels = labels_file(tmp_path / "l.geojson", twice, np.arange(6) == 5)
    with pytest.raises(EvaluationError, match="calls one building both damaged and undamaged"):
        totals_of(folder, labels=labels)
    near = twice.assign(lon=twice["lon"] + np.where(np.arange(6) == 5, 5e-6, 0.0))
    labels = labels_file(tmp_path / "n.geojson", near, np.arange(6) == 5)
    with pytest.raises(EvaluationError, match=r"1 time\(s\), at the same place \(ids u0 and again"):
        totals_of(folder, labels=labels)
    same_id = labels_file(tmp_path / "m.geojson", twice.assign(unit_id="x"), np.arange(6) == 5)
    with pytest.raises(FootprintError, match=r"not unique .*keep one row for each"):
        totals_of(folder, labels=same_id)


def test_labels_without_a_place_on_the_earth_are_refused(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    labels = labels_file(tmp_path / "l.geojson", frame.iloc[:3], west(frame.iloc[:3]))
    nowhere = gpd.read_file(labels)
    nowhere.geometry = [None] * 3
    nowhere.to_file(tmp_path / "n.gpkg")
    with pytest.raises(FootprintError, match=r"n.gpkg holds no points or polygons"):
        totals_of(folder, labels=tmp_path / "n.gpkg")


def test_the_word_and_the_option_may_not_contradict_each_other(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    some = frame.iloc[:9]
    labels = labels_file(tmp_path / "l.geojson", some, west(some), drawn="chosen")
    with pytest.raises(EvaluationError, match="leave out --labels-are-random"):
        totals_of(folder, labels=labels, labels_are_random=True)


def test_labels_that_match_nothing_are_refused(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    far = frame.iloc[:9].assign(lon=10.0)
    labels = labels_file(
        tmp_path / "l.geojson", far.assign(unit_id="z" + far["unit_id"]), west(far)
    )
    with pytest.raises(EvaluationError, match="no unit matches a surveyed building"):
        totals_of(folder, labels=labels)


def test_several_models_in_one_result_are_refused(tmp_path):
    folder, _ = run_folder(tmp_path / "run", model=["a@1"] * 399 + ["b@2"])
    with pytest.raises(EvaluationError, match=r"verdicts of 2 models \(a@1, b@2\)"):
        read_verdicts(folder)


def test_areas_that_cannot_be_used_are_refused(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    areas = gpd.read_file(halves(tmp_path / "a.gpkg"))
    for name, shapes, message in (
        (
            "over",
            [areas.geometry[0].buffer(STEP * 3), areas.geometry[1]],
            r"overlap: 60 units lie in more than one, as in west and east",
        ),
        ("far", [box(1, 1, 2, 2), box(2, 1, 3, 2)], "none of the 400 units lies in an area"),
    ):
        gpd.GeoDataFrame(areas[["geoid"]], geometry=shapes, crs=4326).to_file(
            tmp_path / f"{name}.gpkg"
        )
        with pytest.raises(EvaluationError, match=message):
            totals_of(folder, areas=tmp_path / f"{name}.gpkg")
    with pytest.raises(FootprintError, match=r"no column 'tract' for --area-id-field"):
        totals_of(folder, areas=tmp_path / "a.gpkg", area_id_field="tract")
    labels_file(tmp_path / "points.geojson", frame.iloc[:3], west(frame.iloc[:3]))
    with pytest.raises(FootprintError, match="areas need polygons"):
        read_areas(tmp_path / "points.geojson")


def test_areas_without_a_crs_in_metres_are_refused(tmp_path):
    areas = gpd.read_file(halves(tmp_path / "a.gpkg", crs=32615))
    bare = gpd.GeoDataFrame(areas[["geoid"]], geometry=areas.geometry.to_numpy())
    bare.to_parquet(tmp_path / "bare.parquet")
    with pytest.raises(FootprintError, match=r"no CRS .* give it a CRS"):
        read_areas(tmp_path / "bare.parquet")


def test_a_unit_on_the_line_between_two_areas_counts_once(tmp_path):
    folder, _ = run_folder(tmp_path / "run")
    line = -95.5 + 10 * STEP  # through a column of units
    shapes = [box(-95.6, 29.6, line, 29.8), box(line, 29.6, -95.4, 29.8)]
    gpd.GeoDataFrame({"name": ["a", "b"]}, geometry=shapes, crs=4326).to_file(tmp_path / "a.gpkg")
    totals = totals_of(folder, areas=tmp_path / "a.gpkg")
    assert [row.units for row in totals.rows] == [220, 180, 400]


def call(*arguments):
    return CliRunner().invoke(app, ["summarise", *map(str, arguments)])


def test_the_command_writes_tables_maps_and_json(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    sample = random_sample(frame, 80)
    labels = labels_file(tmp_path / "l.geojson", sample, west(sample), drawn="random")
    given = ["--areas", halves(tmp_path / "a.gpkg", crs=32615), "--labels", labels]
    words = ["--field", "grade", "--damaged", "major"]
    result = call(folder, *given, *words)
    assert result.exit_code == 0, result.output
    assert "Calibrated for this event" in result.stdout
    out = folder / "totals"
    table = list(csv.DictReader((out / "totals.csv").read_text().splitlines()))
    assert [row["area"] for row in table] == ["west", "east", "(whole run)"]
    assert sum(int(row["units"]) for row in table[:-1]) == int(table[-1]["units"])
    told = json.loads((out / "totals.json").read_text())
    assert told["situation"] == "random-labels"
    for name in ("totals.geojson", "totals.gpkg"):
        drawn = gpd.read_file(out / name)
        assert drawn["area"].tolist() == ["west", "east"]
        assert drawn["low"].tolist() == [int(row["low"]) for row in table[:-1]]
    assert gpd.read_file(out / "totals.gpkg").crs.to_epsg() == 32615
    again = call(folder, *given, *words)
    assert isinstance(again.exception, OutputError)
    assert "is there already: pass --overwrite" in str(again.exception)
    assert call(folder, *given, *words, "--overwrite", "--json").stdout.startswith("{")


def test_a_strange_scene_is_named_in_every_file_of_words_with_the_number_behind_it(tmp_path):
    folder, _ = run_folder(tmp_path / "run")
    usual = Strangeness(typical=0.1, limit=1.38, blocks=13, measured_on="made")
    with_card(folder, CARD.model_copy(update={"strangeness": usual}), strangeness=2.3)
    result = call(folder, "--areas", halves(tmp_path / "a.gpkg"))
    assert result.exit_code == 0, result.output
    told = "This scene looks unlike the training ground: distance 2.30, where 95 % of"
    out = folder / "totals"
    assert told in " ".join(result.stdout.split())
    assert any(told in note for note in json.loads((out / "totals.json").read_text())["notes"])
    assert told in json.loads((out / "totals.geojson").read_text())["description"]
    with closing(sqlite3.connect(out / "totals.gpkg")) as database:
        ((description,),) = database.execute("SELECT description FROM gpkg_contents")
    assert told in description
    assert description.startswith("Not calibrated for this event.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--field", "grade"], "--field needs --labels"),
        (["--labels", "x.csv"], "to read --labels, name --field, --damaged too"),
        (["--area-id-field", "tract"], "--area-id-field needs --areas"),
    ],
)
def test_options_that_belong_together_are_asked_for(tmp_path, arguments, message):
    result = call(tmp_path, *arguments)
    assert result.exit_code == 2
    assert message in re.sub(r"\s+", " ", result.stderr)


def test_a_refusal_leaves_nothing_behind(tmp_path):
    folder, frame = run_folder(tmp_path / "run")
    labels = labels_file(tmp_path / "l.geojson", frame.iloc[:5], west(frame.iloc[:5]))
    result = call(folder, "--labels", labels, "--field", "nothing", "--damaged", "major")
    assert isinstance(result.exception, EvaluationError)
    assert not (folder / "totals").exists()


def assessed(folder):
    """A run of one real scene with its report."""
    made = make_assessment(folder, kind="building", shape=(6, 8))
    for path, part in zip(made.part_paths(), list(made.parts()), strict=True):
        part.assign(model=model_id(made.card)).to_parquet(path, index=False)
    write_outputs(made, ["csv", "html"])
    (made.folder / ASSESSMENT_FILE).write_text(made.model_dump_json())
    return made


def test_the_report_shows_the_totals_on_its_first_screen(tmp_path):
    made = assessed(tmp_path)
    page = made.folder / "report.html"
    before = page.read_text()
    assert "Damaged buildings:" not in before
    result = call(made.folder)
    assert result.exit_code == 0, result.output
    after = page.read_text()
    assert after.index("Damaged buildings:") < after.index('aria-label="Counts"')
    assert "Not calibrated for this event" in after
    assert call(made.folder, "--overwrite").exit_code == 0
    assert page.read_text().count('<h2 id="totals">') == 1
    # Written anew by `assess`, the page finds them itself; of other verdicts it does not.
    write_outputs(made, ["csv", "html"])
    assert "Damaged buildings:" in page.read_text()
    assert read_totals(made.folder, "another key") is None


def test_a_report_without_a_place_for_totals_is_told(tmp_path):
    made = assessed(tmp_path)
    (made.folder / "report.html").write_text("<main>an old page</main>")
    result = call(made.folder)
    assert result.exit_code == 0
    assert "has no place for totals" in result.stderr
    assert (made.folder / "report.html").read_text() == "<main>an old page</main>"


def test_names_of_areas_cannot_become_markup(tmp_path):
    made = assessed(tmp_path)
    evil = "<img src=x onerror=alert(1)>"
    areas = gpd.GeoDataFrame({"name": [evil]}, geometry=[box(-99, 28, -94, 31)], crs=4326)
    areas.to_file(tmp_path / "a.gpkg")
    result = call(made.folder, "--areas", tmp_path / "a.gpkg")
    assert result.exit_code == 0, result.output
    assert evil not in (made.folder / "report.html").read_text()


def test_real_damage_is_counted_from_labels_drawn_at_random(harvey_data, tmp_path):
    scene = harvey_data / "xbd" / "hurricane-harvey_00000003_post_disaster.tif"
    graded = gpd.read_file(scene.with_suffix(".geojson"))
    truth = graded["subtype"].ne("no-damage").sum()
    graded.sample(25, random_state=0).assign(drawn="random").to_file(tmp_path / "l.geojson")
    given = ["--buildings", scene.with_suffix(".geojson"), "--out", tmp_path / "run", "--quiet"]
    assert CliRunner().invoke(app, ["assess", str(scene), *map(str, given)]).exit_code == 0
    words = ["--field", "subtype", "--damaged", "minor-damage,major-damage,destroyed"]
    result = call(tmp_path / "run", "--labels", tmp_path / "l.geojson", *words)
    assert result.exit_code == 0, result.output
    (row,) = csv.DictReader((tmp_path / "run/totals/totals.csv").read_text().splitlines())
    assert int(row["low"]) <= truth <= int(row["high"]) < int(row["units"]) == len(graded)
    report = tmp_path / "run" / scene.stem / "report.html"
    assert "Calibrated for this event with labels drawn at random" in report.read_text()
