"""`--pre`: what a model that compares two pictures is shown, and what is said of the other."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import rasterio
from tiny_run import EAST, NORTH, SIZE_PX, make_buildings, make_bundle, make_scene, pixel_box

from damagenet.bundle import load_bundle
from damagenet.card import ChipGround
from damagenet.engine.assess import assess_scene
from damagenet.engine.batch import assess_scenes
from damagenet.engine.inputs import read_inputs
from damagenet.engine.parts import read_assessment
from damagenet.errors import CancelledError, ConfigError, DataError, OutputError, SceneError
from damagenet.evaluation.post_event import comparable, judge_scene, picture_before
from damagenet.inference import Predictor
from damagenet.labels import Label, Reason
from damagenet.options import AssessOptions
from data_prep.graded import find_scenes

SIDE = 12
"""Cells each way of scenes that are large enough to be matched."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "pair"
    # Seed 3 has logits on both sides of 0, so that verdicts differ.
    make_bundle(folder, seed=3, inputs=("post", "pre"))
    return folder


@pytest.fixture(scope="module")
def predictor(bundle):
    return Predictor(load_bundle(bundle), device="cpu")


@pytest.fixture
def assess(tmp_path, predictor):
    def run(scene, *, out="out", **options):
        chosen = AssessOptions(**options)
        inputs = read_inputs(chosen)
        return assess_scene(
            scene,
            tmp_path / out,
            chosen,
            predictor,
            stem=scene.stem,
            buildings=inputs.buildings,
            exclusion=inputs.exclusion,
        )

    return run


def records(assessment):
    return pd.concat(list(assessment.parts()), ignore_index=True)


def ground(path, *, seed=0, east=0.0, north=0.0, **chosen):
    """Write a large scene; the same seed is the same ground, in a georeference that errs."""
    origin = EAST + east, NORTH + north
    return make_scene(path, columns=SIDE, rows=SIDE, seed=seed, origin=origin, **chosen)


def said(assessment, words):
    return [warning for warning in assessment.warnings if words in warning]


def test_the_verdicts_are_the_model_on_both_pictures(tmp_path, assess, predictor):
    post = make_scene(tmp_path / "post.tif", columns=3, rows=2)
    pre = make_scene(tmp_path / "pre.tif", columns=3, rows=2, seed=1)
    table = records(assess(post, pre=pre))
    with rasterio.open(post) as one, rasterio.open(pre) as other:
        cells = [
            np.stack(
                [
                    file.read()[:, 32 * row : 32 * row + 32, 32 * col : 32 * col + 32]
                    for row in range(2)
                    for col in range(3)
                ]
            )
            for file in (one, other)
        ]
    assert table["p_damaged"].to_numpy() == pytest.approx(
        predictor.probabilities(tuple(cells)), abs=1e-5
    )
    swapped = predictor.probabilities(tuple(cells[::-1]))
    assert np.abs(table["p_damaged"] - swapped).max() > 1e-3


def test_a_model_that_compares_asks_for_the_other_picture(tmp_path, assess):
    path = make_scene(tmp_path / "post.tif", columns=1, rows=1)
    with pytest.raises(ConfigError, match="compares two pictures: give the other with --pre"):
        assess(path)


@pytest.mark.parametrize(("east", "north"), [(3.2, -1.7), (-6.4, 5.5), (0.0, 9.0)])
def test_a_picture_that_lies_off_is_corrected_and_said(tmp_path, assess, east, north):
    post = ground(tmp_path / "post.tif")
    straight = records(assess(post, pre=ground(tmp_path / "pre.tif"), out="straight"))
    found = assess(post, pre=ground(tmp_path / "off.tif", east=east, north=north))
    shift = found.pre.shift
    assert shift.corrected
    assert (shift.east_m, shift.north_m) == pytest.approx((east, north), abs=0.3)
    (told,) = said(found, "the picture before (off.tif) lay")
    assert f"{abs(shift.east_m):.1f} m {'west' if east < 0 else 'east'} and " in told
    assert f"{abs(shift.north_m):.1f} m {'south' if north < 0 else 'north'} of the scene" in told
    assert f"{shift.agreed} of {shift.blocks} blocks agree" in told
    assert told.endswith(": corrected")
    # The corner's cells lose what lies outside the earlier picture.
    inner = straight["row"].isin([r * SIDE + c for r in range(2, 10) for c in range(2, 10)])
    corrected, right = records(found)["p_damaged"][inner], straight["p_damaged"][inner]
    assert np.corrcoef(corrected, right)[0, 1] > 0.9
    assert right.std() > 0.05


def test_a_picture_that_lies_right_is_copied_without_a_word(tmp_path, assess):
    found = assess(ground(tmp_path / "post.tif"), pre=ground(tmp_path / "pre.tif"))
    assert found.pre.shift.found
    assert not found.pre.shift.corrected
    assert not said(found, "the picture before")
    assert found.pre.covers == 1


@pytest.mark.parametrize(("east", "north"), [(10.9, 0), (-8.0, 8.0), (0, -25)])
def test_a_picture_that_lies_far_off_is_refused(tmp_path, assess, east, north):
    pre = ground(tmp_path / "pre.tif", east=east, north=north)
    with pytest.raises(
        SceneError,
        match=r"pre\.tif lies .* m (east|west) and .* m (north|south) of where .*post\.tif"
        r".* more than the 10 m that are corrected: georeference it anew",
    ):
        assess(ground(tmp_path / "post.tif"), pre=pre)
    assert not (tmp_path / "out" / "post").exists()


def test_a_picture_that_matches_nowhere_is_used_as_it_is_and_said(tmp_path, assess):
    found = assess(ground(tmp_path / "post.tif"), pre=ground(tmp_path / "pre.tif", seed=7))
    assert found.pre.shift == found.pre.shift.model_copy(update={"found": False, "east_m": 0.0})
    (told,) = said(found, "could not be estimated")
    assert "check by eye that both show the same ground" in told
    assert (records(found)["label"] != Label.NOT_JUDGED).all()


def test_a_picture_of_other_ground_is_refused(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=2, rows=2)
    pre = make_scene(tmp_path / "pre.tif", columns=2, rows=2, origin=(EAST + 5000, NORTH))
    with pytest.raises(
        SceneError, match=r"pre\.tif does not show any ground of .*post\.tif: name a picture"
    ):
        assess(post, pre=pre)


def test_the_scene_itself_is_no_picture_before(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=1, rows=1)
    with pytest.raises(SceneError, match=r"--pre .*post\.tif leads to the scene itself"):
        assess(post, pre=post)


def test_a_missing_picture_is_said_by_its_name(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=1, rows=1)
    with pytest.raises(SceneError, match=r"gone\.tif"):
        assess(post, pre=tmp_path / "gone.tif")


def test_where_the_earlier_picture_ends_nothing_is_judged_or_dropped(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=6, rows=2)
    pre = make_scene(tmp_path / "pre.tif", columns=3, rows=2, seed=1)
    found = assess(post, pre=pre)
    table = records(found)
    beyond = table["row"] % 6 >= 3
    assert len(table) == 12
    assert found.counts.empty_cells == 0
    assert (table["label"][beyond] == Label.NOT_JUDGED).all()
    assert (table["reason"][beyond] == Reason.NO_IMAGERY).all()
    assert (table["valid_fraction"][beyond] == 0).all()
    assert (table["label"][~beyond] != Label.NOT_JUDGED).all()
    assert said(found, "reaches over 50% of the scene: the rest is not judged (no-imagery)")


def test_holes_of_either_picture_add_up(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=2, rows=1, hole=(slice(0, 32), slice(0, 12)))
    pre = make_scene(
        tmp_path / "pre.tif", columns=2, rows=1, seed=1, hole=(slice(0, 32), slice(12, 24))
    )
    first = records(assess(post, pre=pre)).iloc[0]
    assert (first["label"], first["reason"]) == (Label.NOT_JUDGED, Reason.NO_IMAGERY)
    assert first["valid_fraction"] == pytest.approx(8 / 32)


def test_a_cell_without_a_pixel_of_the_scene_is_empty_whatever_was_there_before(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=3, rows=1, hole=(slice(0, 32), slice(0, 32)))
    found = assess(post, pre=make_scene(tmp_path / "pre.tif", columns=3, rows=1, seed=1))
    assert found.counts.empty_cells == 1
    assert records(found)["row"].tolist() == [1, 2]


@pytest.mark.parametrize("which", ["post", "pre"])
def test_cloud_in_either_picture_hides_the_unit(tmp_path, assess, which):
    paths = {
        name: make_scene(tmp_path / f"{name}.tif", columns=3, rows=1, seed=seed)
        for seed, name in enumerate(("post", "pre"))
    }
    with rasterio.open(paths[which], "r+") as file:
        pixels = file.read()
        noise = np.random.default_rng(0).normal(0, 1.5, (3, 32, 32))
        pixels[:, :, :32] = 227 + noise
        file.write(pixels)
    checked = records(assess(paths["post"], pre=paths["pre"]))
    assert checked["reason"].tolist() == [Reason.OBSCURED, "", ""]
    ignored = records(assess(paths["post"], pre=paths["pre"], clouds="ignore", out="ignored"))
    assert (ignored["label"] != Label.NOT_JUDGED).all()


def test_buildings_keep_their_reasons(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=6, rows=3)
    pre = make_scene(tmp_path / "pre.tif", columns=3, rows=3, seed=1)
    houses = [pixel_box(40, 40, 8, 8), pixel_box(150, 40, 8, 8), pixel_box(186, 90, 20, 3)]
    path = make_buildings(tmp_path / "b.gpkg", houses)
    table = records(assess(post, pre=pre, buildings=path))
    assert table["reason"].tolist() == ["", Reason.NO_IMAGERY, Reason.NO_IMAGERY]


def test_unlike_pixels_are_said_and_coarse_ones_refused(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=3, rows=3)
    two = make_scene(tmp_path / "two.tif", columns=2, rows=2, pixel_m=2, seed=1)
    found = assess(post, pre=two)
    assert said(found, "has pixels of 2.00 m, the scene of 1.00 m")
    assert said(found, "of the picture before: its pixels of 2.00 m are coarser than 1.5 m")
    five = make_scene(tmp_path / "five.tif", columns=2, rows=2, pixel_m=5, seed=1)
    with pytest.raises(SceneError, match=r"five\.tif has pixels of 5 m, too coarse"):
        assess(post, pre=five, out="five")
    forced = records(assess(post, pre=five, force_coarse=True, out="five"))
    assert (forced["reason"] == Reason.FORCED_COARSE).all()
    half = make_scene(tmp_path / "half.tif", columns=6, rows=6, pixel_m=0.5, seed=1)
    assert not said(assess(post, pre=half, out="half"), "has pixels of")


def test_pictures_that_seem_mixed_up_are_said(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=2, rows=2, acquired="2017:08:31 17:00:00")
    late = make_scene(tmp_path / "late.tif", columns=2, rows=2, acquired="2018:01:01 17:00:00")
    early = make_scene(tmp_path / "early.tif", columns=2, rows=2, acquired="2016:01:01 17:00:00")
    assert said(assess(post, pre=late), "check that the two are not mixed up")
    found = assess(post, pre=early, out="early")
    assert not said(found, "mixed up")
    assert found.pre.acquired == "2016-01-01T17:00:00"


def test_another_picture_before_is_another_result(tmp_path, assess):
    post = make_scene(tmp_path / "post.tif", columns=2, rows=2)
    pre = make_scene(tmp_path / "pre.tif", columns=2, rows=2, seed=1)
    first = assess(post, pre=pre)
    assert read_assessment(first.folder) == first
    moved = shutil.copy(pre, tmp_path / "elsewhere.tif")
    again = assess(post, pre=moved)
    assert (again.key, again.created) == (first.key, first.created)
    assert again.pre == first.pre.model_copy(update={"path": moved})
    other = make_scene(tmp_path / "other.tif", columns=2, rows=2, seed=2)
    with pytest.raises(OutputError, match="made with another --pre"):
        assess(post, pre=other)


def test_a_resumed_run_has_the_same_shift_and_the_same_verdicts(tmp_path, predictor, monkeypatch):
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 48)
    post = ground(tmp_path / "post.tif")
    options = AssessOptions(pre=ground(tmp_path / "pre.tif", east=4.4, north=2.1))
    whole = assess_scene(post, tmp_path / "whole", options, predictor, stem="a")
    told = []
    with pytest.raises(CancelledError):
        assess_scene(
            post,
            tmp_path / "cut",
            options,
            predictor,
            stem="a",
            progress=told.append,
            cancelled=lambda: len(told) == 2,
        )
    resumed = assess_scene(post, tmp_path / "cut", options, predictor, stem="a")
    assert resumed.pre == whole.pre
    assert resumed.pre.shift.corrected
    pd.testing.assert_frame_equal(records(resumed), records(whole))


def test_of_a_folder_each_scene_takes_the_picture_that_shows_most_of_it(tmp_path, bundle):
    scenes = [
        make_scene(tmp_path / "in" / "a.tif", columns=4, rows=2),
        make_scene(tmp_path / "in" / "b.tif", columns=4, rows=2, origin=(EAST + 5000, NORTH)),
        make_scene(tmp_path / "in" / "c.tif", columns=2, rows=2, origin=(EAST + 9000, NORTH)),
    ]
    make_scene(tmp_path / "before" / "part.tif", columns=2, rows=2, seed=1)
    make_scene(tmp_path / "before" / "whole.tif", columns=4, rows=2, seed=2)
    make_scene(
        tmp_path / "before" / "b.tif", columns=4, rows=2, seed=3, origin=(EAST + 5000, NORTH)
    )
    options = AssessOptions(pre=tmp_path / "before", model=str(bundle), device="cpu")
    result = assess_scenes(scenes, tmp_path / "out", options)
    assert [one.pre.path.name for one in result.assessments] == ["whole.tif", "b.tif"]
    (failed,) = result.failures
    assert "no picture in" in failed.sentence
    assert "shows any ground of" in failed.sentence
    assert result.run.inputs.pre is None


def test_every_output_tells_of_the_picture_before(tmp_path, bundle):
    post = ground(tmp_path / "post.tif")
    pre = ground(tmp_path / "pre.tif", east=5.0, north=-3.0)
    options = AssessOptions(pre=pre, model=str(bundle), device="cpu")
    result = assess_scenes([post], tmp_path / "out", options)
    folder = result.assessments[0].folder
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["pre"]["path"] == str(pre)
    assert summary["pre"]["shift"]["east_m"] == pytest.approx(5.0, abs=0.3)
    assert summary["pre"]["shift"]["corrected"] is True
    page = (folder / "report.html").read_text()
    run = (tmp_path / "out" / "run.json").read_text()
    for text in (page, run, json.dumps(summary)):
        assert "the picture before (pre.tif) lay" in text
    assert "left before the storm and right after it" in page
    assert f'width="{2 * SIZE_PX}" height="{SIZE_PX}"' in page


# ---- on real scenes


def test_the_flooded_scene_is_compared_with_its_ground_before(harvey_data, tmp_path, predictor):
    xbd = harvey_data / "xbd"
    post = xbd / "hurricane-harvey_00000127_post_disaster.tif"
    make_bundle(tmp_path / "real", chip=ChipGround(), inputs=("post", "pre"))
    real = Predictor(load_bundle(tmp_path / "real"), device="cpu")
    options = AssessOptions(pre=xbd, buildings=post.with_suffix(".geojson"))
    inputs = read_inputs(options)
    found = assess_scene(
        post, tmp_path / "out", options, real, stem="a", buildings=inputs.buildings
    )
    assert found.pre.path.name == "hurricane-harvey_00000127_pre_disaster.tif"
    assert found.pre.shift.corrected
    assert found.pre.shift.agreed > 0.5 * found.pre.shift.blocks
    assert found.counts.units == 55
    assert found.counts.damaged + found.counts.undamaged + found.counts.uncertain > 40


def test_the_post_event_protocol_gives_the_picture_before(harvey_data, tmp_path):
    make_bundle(tmp_path / "real", chip=ChipGround(), inputs=("post", "pre"))
    real = Predictor(load_bundle(tmp_path / "real"), device="cpu")
    scenes = find_scenes(harvey_data / "xbd")
    after = comparable(scenes, real.bundle.card)
    assert [scene.after for scene in after] == [True] * 4
    flooded = next(scene for scene in after if "00000127" in scene.name)
    units = judge_scene(flooded, real, tmp_path / "out")
    assert len(units.frame) + sum(units.left_out.values()) == 55
    kept = read_assessment(tmp_path / "out" / flooded.name)
    assert kept.pre.path == picture_before(flooded)
    before = next(scene for scene in scenes if not scene.after)
    with pytest.raises(DataError, match="no picture from before the storm to compare it with"):
        judge_scene(before, real, tmp_path / "out")
