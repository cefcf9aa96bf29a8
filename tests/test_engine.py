"""One scene to its records: what is judged, what is not, and what is said of it."""

import threading
import time
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import shapely
from assessments import make_card
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from tiny_run import EAST, NORTH, SIZE_PX, make_buildings, make_bundle, make_scene, pixel_box

from damagenet.assessment import DISTANCE_COLUMN
from damagenet.bundle import load_bundle
from damagenet.card import Calibration, ChipGround
from damagenet.engine.assess import acquired_text, assess_scene
from damagenet.engine.inputs import read_inputs
from damagenet.engine.judging import ChipLooks, Judge
from damagenet.engine.parts import read_assessment
from damagenet.engine.prefetch import prefetched
from damagenet.engine.work import cut_pieces
from damagenet.errors import CancelledError, ConfigError, OutputError, SceneError
from damagenet.inference import Predictor
from damagenet.labels import Kind, Label, Reason
from damagenet.options import AssessOptions
from damagenet.records import RECORD_FIELDS
from data_prep.windows import Unit

JUDGED = {Label.DAMAGED, Label.UNDAMAGED, Label.UNCERTAIN}


@pytest.fixture(scope="session")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return Predictor(load_bundle(folder), device="cpu")


@pytest.fixture
def assess(tmp_path, predictor):
    def run(scene, **options):
        chosen = AssessOptions(**options)
        inputs = read_inputs(chosen)
        return assess_scene(
            scene,
            tmp_path / "out",
            chosen,
            predictor,
            stem=scene.stem,
            buildings=inputs.buildings,
            exclusion=inputs.exclusion,
        )

    return run


def records(assessment):
    return pd.concat(list(assessment.parts()), ignore_index=True)


def test_every_cell_of_a_filled_scene_has_one_record(tmp_path, assess):
    found = assess(make_scene(tmp_path / "a.tif", columns=6, rows=5))
    table = records(found)
    assert list(table.columns) == ["row", *RECORD_FIELDS, "geometry"]
    assert table["row"].tolist() == list(range(30))
    assert table["p_damaged"].between(0, 1).all()
    assert (table["p_min"] == table["p_damaged"]).all()
    assert (table["chips"] == 1).all()
    assert (table["valid_fraction"] == 1).all()
    assert (table["ground_m"].round() == SIZE_PX).all()
    assert table["model"].unique().tolist() == [f"toy@{found.card.weights_sha256[:8]}"]
    assert found.counts.units == 30
    assert found.counts.chips == 30
    assert table.geometry.iloc[0].bounds == pytest.approx(
        (EAST, NORTH - SIZE_PX, EAST + SIZE_PX, NORTH), abs=1.5
    )


def test_the_verdicts_are_the_model_on_the_chips(tmp_path, assess, predictor):
    from data_prep.scene import Scene

    path = make_scene(tmp_path / "a.tif", columns=3, rows=2)
    table = records(assess(path))
    with Scene.open(path) as scene:
        windows = [Window(32 * c, 32 * r, 32, 32) for r in range(2) for c in range(3)]
        chips = scene.read_chips(windows, size_px=SIZE_PX)
    expected = predictor.probabilities(chips.images)
    assert table["p_damaged"].to_numpy() == pytest.approx(expected, abs=1e-5)


def test_cells_without_a_valid_pixel_are_counted_and_not_written(tmp_path, assess):
    hole = (slice(0, 2 * SIZE_PX), slice(0, 3 * SIZE_PX))
    found = assess(make_scene(tmp_path / "a.tif", columns=6, rows=5, hole=hole))
    assert found.counts.empty_cells == 6
    assert found.counts.units == len(records(found)) == 24


def test_a_cell_with_too_few_pixels_is_not_judged(tmp_path, assess):
    hole = (slice(0, SIZE_PX), slice(0, 24))
    path = make_scene(tmp_path / "a.tif", columns=2, rows=1, hole=hole)
    first = records(assess(path)).iloc[0]
    assert (first["label"], first["reason"]) == (Label.NOT_JUDGED, Reason.NO_IMAGERY)
    assert first["valid_fraction"] == pytest.approx(0.25, abs=0.05)
    assert first["chips"] == 0
    assert np.isnan(first["p_damaged"])
    lenient = records(assess(path, min_valid=0.1, overwrite=True)).iloc[0]
    assert lenient["label"] in JUDGED


def test_excluded_ground_makes_cells_obscured(tmp_path, assess):
    path = make_scene(tmp_path / "a.tif", columns=3, rows=1)
    cloud = make_buildings(tmp_path / "cloud.gpkg", [pixel_box(0, 0, 28, 32)])
    table = records(assess(path, exclude=cloud))
    assert table["reason"].tolist() == [Reason.OBSCURED, "", ""]
    assert table["label"].iloc[0] == Label.NOT_JUDGED
    assert table["valid_fraction"].iloc[0] == pytest.approx(4 / 32, abs=0.05)


def test_a_scene_without_a_valid_pixel_is_refused_and_leaves_nothing(tmp_path, assess):
    path = make_scene(tmp_path / "a.tif", hole=(slice(None), slice(None)))
    with pytest.raises(SceneError, match=r"a\.tif.*no valid pixel.*: check its nodata value"):
        assess(path)
    assert not (tmp_path / "out" / "a").exists()


def test_buildings_that_touch_come_in_the_callers_order_with_their_attributes(tmp_path, assess):
    path = make_scene(tmp_path / "a.tif", columns=4, rows=4)
    shapes = [
        pixel_box(100, 100, 8, 8),
        pixel_box(-900, 0, 8, 8),  # far outside
        pixel_box(10, 10, 8, 8),
        shapely.union(pixel_box(40, 40, 6, 6), pixel_box(50, 50, 6, 6)),
    ]
    found = assess(path, buildings=make_buildings(tmp_path / "b.gpkg", shapes))
    table = records(found)
    assert table["unit_id"].tolist() == ["b0", "b2", "b3"]
    assert table["row"].tolist() == [0, 2, 3]
    assert table["floors"].tolist() == [0, 2, 3]
    assert found.attributes == ("uid", "floors")
    assert found.kind is Kind.BUILDING
    assert set(table["label"]) <= JUDGED


def test_a_large_footprint_has_the_largest_and_smallest_of_its_chips(tmp_path, assess):
    path = make_scene(tmp_path / "a.tif", columns=6, rows=5)
    wide = make_buildings(tmp_path / "b.gpkg", [pixel_box(32, 32, 96, 64)])
    row = records(assess(path, buildings=wide)).iloc[0]
    cells = records(assess(path, overwrite=True)).set_index("row").loc[[7, 8, 9, 13, 14, 15]]
    assert row["chips"] == 6
    assert row["ground_m"] == pytest.approx(96, rel=0.02)
    assert row["p_damaged"] == pytest.approx(cells["p_damaged"].max(), abs=1e-5)
    assert row["p_min"] == pytest.approx(cells["p_damaged"].min(), abs=1e-5)


def test_no_building_in_the_scene_is_said_and_no_error(tmp_path, assess):
    path = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    found = assess(path, buildings=make_buildings(tmp_path / "b.gpkg", [pixel_box(900, 0, 8, 8)]))
    assert found.counts.units == 0
    assert "none of the buildings touches this scene" in found.warnings


def test_a_coarse_scene_is_marked_when_forced(tmp_path, assess):
    path = make_scene(tmp_path / "a.tif", columns=2, rows=2, pixel_m=4)
    with pytest.raises(SceneError, match="too coarse"):
        assess(path)
    table = records(assess(path, force_coarse=True))
    judged = table[table["label"] != Label.NOT_JUDGED]
    assert len(judged)
    assert (judged["reason"] == Reason.FORCED_COARSE).all()


@pytest.mark.parametrize(
    ("tag", "option", "expected"),
    [
        ("2017:08:31 17:00:00", "2018-01-01", "2017-08-31T17:00:00"),
        (None, "2018-01-01", "2018-01-01"),
        (None, "2018-01-01T12:00:00Z", "2018-01-01T12:00:00+00:00"),
        (None, "2018-01-01T12:00:00-06:00", "2018-01-01T18:00:00+00:00"),
        (None, None, ""),
    ],
)
def test_the_date_is_the_files_else_the_callers_else_missed(
    tmp_path, assess, tag, option, expected
):
    path = make_scene(tmp_path / "a.tif", columns=1, rows=1, acquired=tag)
    found = assess(path, acquired=option)
    assert records(found)["acquired"].tolist() == [expected]
    assert any("--acquired" in warning for warning in found.warnings) == (expected == "")


def test_a_second_picture_is_refused_by_a_model_that_takes_one(tmp_path, assess):
    path = make_scene(tmp_path / "a.tif", columns=1, rows=1)
    with pytest.raises(ConfigError, match=r"--pre .* cannot be used: model toy takes one picture"):
        assess(path, pre=path)


def test_a_stride_cuts_finer_cells(tmp_path, assess):
    path = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    found = assess(path, stride=16)
    assert (found.grid.rows, found.grid.columns) == (4, 4)
    assert found.counts.units == 16
    assert (records(found)["ground_m"].round() == SIZE_PX).all()


def test_an_assessment_can_be_read_back(tmp_path, assess):
    found = assess(make_scene(tmp_path / "a.tif", columns=2, rows=2))
    assert read_assessment(found.folder) == found


def test_progress_is_told_piece_by_piece_and_cancel_keeps_them(tmp_path, predictor, monkeypatch):
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 6)
    path = make_scene(tmp_path / "a.tif", columns=6, rows=5)
    told = []
    with pytest.raises(CancelledError, match="run the same again to continue"):
        assess_scene(
            path,
            tmp_path / "out",
            AssessOptions(),
            predictor,
            stem="a",
            progress=told.append,
            cancelled=lambda: len(told) == 3,
        )
    assert [one.units_done for one in told] == [0, 6, 12]
    assert {one.units_total for one in told} == {30}
    parts = tmp_path / "out" / "a" / "parts"
    assert sorted(path.name for path in parts.glob("*.parquet")) == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]


def test_a_full_disk_is_one_sentence_and_leaves_no_half_part(tmp_path, assess, monkeypatch):
    def full(self, content):
        self.write_text("PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match=r"No space left on device.*free space"):
        assess(make_scene(tmp_path / "a.tif", columns=2, rows=2))
    parts = tmp_path / "out" / "a" / "parts"
    assert sorted(path.name for path in parts.iterdir()) == ["cut.sha256", "key.json"]


def test_a_real_scene_answers_all_its_buildings(tmp_path, harvey_data):
    make_bundle(tmp_path / "real", chip=ChipGround())
    options = AssessOptions(buildings=harvey_data / "scenes" / "houston_00_buildings.geojson")
    found = assess_scene(
        harvey_data / "scenes" / "houston_00_post.tif",
        tmp_path / "out",
        options,
        Predictor(load_bundle(tmp_path / "real"), device="cpu"),
        stem="houston",
        buildings=read_inputs(options).buildings,
    )
    table = records(found)
    assert table["row"].tolist() == list(range(381))
    assert found.counts.chips == (table["label"] != Label.NOT_JUDGED).sum() >= 375
    assert table["ground_m"].between(60, 66).all()
    assert table["lon"].between(-95.7, -95.5).all()
    assert found.geometry == "point"


# ---- the rules, without pixels


def judge(**changes):
    rules = {
        "calibration": Calibration(),
        "threshold": 0.5,
        "uncertain_band": (0.4, 0.6),
        "min_valid": 0.5,
        "scene": "a.tif",
        "width": 100,
        "height": 100,
        "pixel_m": (1.0, 2.0),
        "coarse": False,
        "acquired": "",
        "model": "toy@00000000",
    }
    return Judge(**(rules | changes))


def unit(*windows):
    return Unit(row=0, unit_id="u", kind=Kind.BUILDING, windows=tuple(windows), lon=None, lat=None)


def looks(probability, usable=None, imagery=None):
    probability = np.asarray(probability, float)
    usable = np.ones(len(probability)) if usable is None else np.asarray(usable, float)
    imagery = usable if imagery is None else np.asarray(imagery, float)
    return ChipLooks(
        shown=imagery,
        imagery=imagery,
        usable=usable,
        probability=probability,
        distance=1.5 - probability,
    )


def verdict(rules, one, seen):
    """Return the record of a single unit."""
    columns = rules.records([one], seen)
    return SimpleNamespace(**{name: values[0] for name, values in columns.items()})


INSIDE = Window(0, 0, 10, 10)


@pytest.mark.parametrize(
    ("probability", "label"),
    [(0.6, "damaged"), (0.5999, "uncertain"), (0.4001, "uncertain"), (0.4, "undamaged")],
)
def test_uncertain_is_strictly_inside_the_band(probability, label):
    assert verdict(judge(), unit(INSIDE), looks([probability])).label == label


def test_an_empty_band_leaves_only_two_verdicts():
    rules = judge(threshold=0.5, uncertain_band=(0.5, 0.5))
    assert verdict(rules, unit(INSIDE), looks([0.5])).label == Label.DAMAGED
    assert verdict(rules, unit(INSIDE), looks([0.499999])).label == Label.UNDAMAGED


@pytest.mark.parametrize(("threshold", "band"), [(0.5, (0.4, 0.6)), (0.9, (0.9, 0.9))])
def test_a_threshold_outside_the_cards_band_empties_it(tmp_path, threshold, band):
    from data_prep.scene import Scene

    card = make_card()
    with Scene.open(make_scene(tmp_path / "a.tif", columns=1, rows=1)) as scene:
        rules = Judge.of(scene, card, AssessOptions(threshold=threshold), acquired="")
    assert rules.uncertain_band == band


def test_a_unit_that_meets_no_pixel_of_the_scene_is_outside():
    record = verdict(judge(), unit(Window(200, 0, 10, 10)), looks([np.nan], usable=[0]))
    assert (record.label, record.reason) == (Label.NOT_JUDGED, Reason.OUTSIDE)


def test_a_building_without_a_place_is_outside():
    record = verdict(judge(), unit(), ChipLooks.nothing())
    assert (record.label, record.reason, record.ground_m) == ("not-judged", "outside", 0)


def test_hidden_ground_is_obscured_only_if_there_was_imagery():
    hidden = looks([np.nan], usable=[0.2], imagery=[0.9])
    assert verdict(judge(), unit(INSIDE), hidden).reason == Reason.OBSCURED
    absent = looks([np.nan], usable=[0.2], imagery=[0.3])
    assert verdict(judge(), unit(INSIDE), absent).reason == Reason.NO_IMAGERY


def test_without_a_minimum_a_unit_still_needs_a_pixel():
    none = looks([np.nan], usable=[0])
    assert verdict(judge(min_valid=0), unit(INSIDE), none).label == Label.NOT_JUDGED


def test_chips_left_out_of_a_large_footprint_do_not_count():
    seen = looks([0.2, np.nan, 0.9], usable=[1, 0.3, 1])
    record = verdict(judge(), unit(INSIDE, Window(10, 0, 10, 10), Window(20, 0, 10, 10)), seen)
    assert (record.p_damaged, record.p_min, record.chips) == (0.9, 0.2, 2)
    assert record.valid_fraction == pytest.approx(2.3 / 3, abs=1e-4)
    assert record.ground_m == 30


SHARES = st.sampled_from([0.0, 0.25, 0.5, 1.0])
CHIPS = st.tuples(st.one_of(st.just(np.nan), st.floats(0, 1)), SHARES, SHARES)
PLACES = st.builds(Window, st.integers(-30, 120), st.integers(-30, 120), st.just(10), st.just(10))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.tuples(PLACES, CHIPS), max_size=3), max_size=5))
def test_units_judged_together_get_the_verdicts_that_each_gets_alone(drawn):
    units = [unit(*(window for window, _ in chips)) for chips in drawn]
    seen = [
        looks(*zip(*(chip for _, chip in chips), strict=True)) if chips else ChipLooks.nothing()
        for chips in drawn
    ]
    together = judge().records(units, ChipLooks.joined([ChipLooks.nothing(), *seen]))
    assert tuple(together) == (*RECORD_FIELDS, DISTANCE_COLUMN)
    for number, (one, look) in enumerate(zip(units, seen, strict=True)):
        for name, (value,) in judge().records([one], look).items():
            assert (
                together[name][number] == value or np.isnan([together[name][number], value]).all()
            )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_probabilities_are_written_as_python_rounds_them(probabilities):
    windows = [INSIDE] * len(probabilities)
    record = verdict(judge(), unit(*windows), looks(probabilities))
    assert record.p_damaged == round(max(probabilities), 6)
    assert record.p_min == round(min(probabilities), 6)


def test_a_date_without_a_time_stays_a_date():
    assert acquired_text(AssessOptions(acquired="2017-08-31").acquired) == "2017-08-31"


# ---- pieces and reading ahead


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 30))
def test_pieces_keep_order_and_hold_at_most_the_limit(counts, limit):
    units = [unit(*[INSIDE] * count) for count in counts]
    pieces = cut_pieces(units, limit)
    assert [one for piece in pieces for one in piece] == units
    assert len(pieces) >= 1
    for piece in pieces:
        windows = sum(len(one.windows) for one in piece)
        assert windows <= limit or sum(bool(one.windows) for one in piece) == 1


def test_reading_ahead_keeps_the_order_and_a_bounded_lead():
    read, used = [], 0

    def fetch(number):
        read.append(number)
        return number * 10

    with closing(prefetched(fetch, range(20), ahead=2)) as answers:
        for answer in answers:
            assert answer == used * 10
            assert len(read) <= used + 1 + 2 + 1
            used += 1
    assert used == 20


def test_an_error_of_the_reader_comes_at_its_place():
    def fetch(number):
        if number == 2:
            raise SceneError("block 2 is damaged")
        return number

    seen = []
    with (
        pytest.raises(SceneError, match="block 2 is damaged"),
        closing(prefetched(fetch, range(5))) as answers,
    ):
        seen.extend(answers)
    assert seen in ([0, 1], [])


def test_stopping_early_ends_the_reading_thread():
    before = threading.active_count()
    with closing(prefetched(lambda number: number, range(1000))) as answers:
        next(answers)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert threading.active_count() == before
