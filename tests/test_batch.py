"""Many scenes: how they are found and named, what becomes of failures, and the common table."""

import csv
import json
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio.shutil import copy as copy_raster
from tiny_run import EAST, NORTH, SIZE_PX, make_buildings, make_bundle, make_scene, pixel_box

from damagenet.engine.batch import assess_scenes
from damagenet.engine.fingerprints import file_sha256
from damagenet.engine.run_record import read_record
from damagenet.engine.scene_list import RESERVED, find_scenes, folder_names
from damagenet.errors import ConfigError, FootprintError, OutputError, SceneError
from damagenet.options import AssessOptions


def table(folder, name="damage.csv"):
    return pd.read_csv(folder / name, keep_default_na=False, dtype=str)


# ---- finding and naming


def test_a_folder_is_searched_below_and_only_for_pictures(tmp_path):
    for name in ("b.TIF", "sub/a.tiff", "sub/c.png", "d.JPG", "notes.txt", ".hidden/e.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_scenes([str(tmp_path)])
    assert {path.name for path in found} == {"b.TIF", "a.tiff", "c.png", "d.JPG"}


def test_our_own_maps_are_no_scenes(tmp_path):
    (tmp_path / "out" / "a").mkdir(parents=True)
    for name in ("a.tif", "out/a/damage.tif", "out/a/assessment.json"):
        (tmp_path / name).touch()
    assert find_scenes([str(tmp_path)]) == [tmp_path / "a.tif"]


def test_globs_and_lists_name_scenes_and_each_counts_once(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a1.tif", "a2.tif", "b.tif"):
        (tmp_path / name).touch()
    listed = tmp_path / "scenes.txt"
    listed.write_text("# the storm\nb.tif   # last pass\n\na1.tif\n")
    found = find_scenes([str(tmp_path / "a*.tif"), str(listed), str(tmp_path / "b.tif")])
    again = find_scenes([str(tmp_path / "sub" / ".." / "b.tif"), str(listed)])
    assert [path.name for path in again] == ["b.tif", "a1.tif"]
    assert [path.name for path in found] == ["a1.tif", "a2.tif", "b.tif"]


def test_a_list_or_a_pattern_does_not_lead_to_lists(tmp_path):
    (tmp_path / "a.tif").touch()
    for name, line in (("own.txt", "own.txt"), ("all.txt", "*")):
        (tmp_path / name).write_text(line)
    with pytest.raises(ConfigError, match=r"own\.txt names another list"):
        find_scenes([str(tmp_path / "own.txt")])
    assert find_scenes([str(tmp_path / "all.txt")]) == [tmp_path / "a.tif"]


def test_an_empty_name_is_not_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "a.tif").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="name is empty"):
        find_scenes([""])


@pytest.mark.parametrize("name", ["none.tif", "none*.tif", "empty", "empty.txt"])
def test_a_name_that_leads_nowhere_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(ConfigError, match="scene") as refusal:
        find_scenes([str(tmp_path / name)])
    assert name in str(refusal.value)


def test_equal_stems_are_told_apart_by_their_path_below_the_common_parent():
    paths = [Path("/d/east/x/post.tif"), Path("/d/west/x/post.tif"), Path("/d/other.tif")]
    assert list(folder_names(paths).values()) == ["other", "east__x__post", "west__x__post"]


def test_equal_stems_in_one_folder_are_told_apart_by_their_ending():
    assert set(folder_names([Path("/d/a.tif"), Path("/d/a.png")]).values()) == {"a_tif", "a_png"}


def test_a_scene_keeps_the_folder_it_had():
    first, second = Path("/d/east/post.tif"), Path("/d/west/post.tif")
    names = folder_names([first, second], {first: "post"})
    assert names[first] == "post"
    assert names[second] not in ("post", "")


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "a__x"]), st.sampled_from(["x", "X", "run.json"])),
        unique=True,
    ),
    st.sampled_from([".tif", ".png"]),
)
def test_folder_names_are_always_different_and_free(parts, ending):
    paths = [Path("/d") / folder / (stem + ending) for folder, stem in parts]
    paths += [path.with_suffix(".jpg") for path in paths]
    names = folder_names(paths)
    folded = [name.casefold() for name in names.values()]
    assert set(names) == set(paths)
    assert len(set(folded)) == len(folded)
    assert not set(folded) & RESERVED


@pytest.mark.parametrize("name", ["...tif", "..tif", "....png"])
def test_a_name_of_dots_leads_to_no_other_folder(name):
    (found,) = folder_names([Path("/d") / name]).values()
    assert found == "scene"
    twice = folder_names([Path("/d/a") / name, Path("/d/b") / name]).values()
    assert set(twice) == {"a__scene", "b__scene"}


# ---- hashes


def test_a_lone_file_has_its_ordinary_hash_and_companions_count(tmp_path):
    scene = tmp_path / "a.tif"
    scene.write_bytes(b"abc")
    alone = file_sha256(scene)
    assert alone == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "a.tif.msk").write_bytes(b"mask")
    assert file_sha256(scene) != alone


@pytest.mark.parametrize("name", ["a.pgw", "a.pngw", "a.PGW", "a.wld", "a.png.aux.xml"])
def test_what_says_where_a_picture_lies_counts(tmp_path, name):
    scene = tmp_path / "a.png"
    scene.write_bytes(b"abc")
    alone = file_sha256(scene)
    (tmp_path / name).write_bytes(b"0.3")
    assert file_sha256(scene) != alone


def test_a_missing_file_is_named():
    with pytest.raises(SceneError, match=r"cannot read /no/such: No such file"):
        file_sha256(Path("/no/such"))


# ---- runs


def test_a_broken_scene_among_others_is_reported_and_the_others_are_assessed(tmp_path, options):
    make_scene(tmp_path / "in" / "good.tif", columns=3, rows=2)
    (tmp_path / "in" / "broken.tif").write_bytes(b"II*\x00 no more")
    (tmp_path / "in" / "empty.tif").touch()
    out = tmp_path / "out"
    result = assess_scenes(find_scenes([str(tmp_path / "in")]), out, options())
    assert result.exit_code == 3
    with (out / "failures.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [Path(row["scene"]).name for row in rows] == ["broken.tif", "empty.tif"]
    assert {row["error"] for row in rows} == {"SceneError"}
    assert all(len(row["sentence"]) > 20 for row in rows)
    assert sorted(path.name for path in out.iterdir()) == [
        "collection.json",
        "damage.csv",
        "damage.parquet",
        "failures.csv",
        "good",
        "run.json",
    ]
    assert len(table(out)) == 6
    statuses = {scene.path.name: scene.status for scene in read_record(out).runs[0].scenes}
    assert statuses == {"broken.tif": "failed", "empty.tif": "failed", "good.tif": "ok"}


def test_when_nothing_succeeds_there_is_no_common_table(tmp_path, options):
    (tmp_path / "broken.tif").write_bytes(b"nothing")
    result = assess_scenes([tmp_path / "broken.tif"], tmp_path / "out", options())
    assert result.exit_code == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["failures.csv", "run.json"]


def test_on_error_fail_stops_at_the_first(tmp_path, options):
    (tmp_path / "a.tif").write_bytes(b"nothing")
    good = make_scene(tmp_path / "b.tif", columns=1, rows=1)
    chosen = options(on_error="fail")
    result = assess_scenes([tmp_path / "a.tif", good], tmp_path / "out", chosen)
    assert result.exit_code == 1
    assert [scene.path.name for scene in result.run.scenes] == ["a.tif"]


def test_every_building_of_the_file_is_answered_once_in_its_order(tmp_path, options):
    half = 3 * SIZE_PX
    west = make_scene(tmp_path / "west.tif", columns=4, rows=2, acquired="2017:08:31 10:00:00")
    east = make_scene(
        tmp_path / "east.tif",
        columns=4,
        rows=2,
        seed=5,
        origin=(EAST + half, NORTH),
        acquired="2017:09:02 10:00:00",
    )
    shapes = [
        pixel_box(180, 30, 8, 8),  # east only
        pixel_box(-500, 0, 8, 8),  # nowhere
        pixel_box(20, 20, 8, 8),  # west only
        pixel_box(half + 12, 30, 8, 8),  # both, whole in both: the later one
        pixel_box(half + 24, 30, 8, 8),  # both, cut off in the west
        pixel_box(half + 2, 30, 8, 8),  # both, cut off in the east
    ]
    buildings = make_buildings(tmp_path / "b.gpkg", shapes)
    out = tmp_path / "out"
    result = assess_scenes([west, east], out, options(buildings=buildings))
    merged = table(out)
    assert merged["unit_id"].tolist() == [f"b{n}" for n in range(6)]
    assert merged["floors"].tolist() == [str(n) for n in range(6)]
    assert merged["scene"].tolist()[:3] == ["east.tif", "", "west.tif"]
    assert merged["scene"].tolist()[4:] == ["east.tif", "west.tif"]
    assert merged["scenes"].tolist()[:3] == ["east", "", "west"]
    assert set(merged["scenes"][3:]) == {"west; east"}
    outside = merged.iloc[1]
    assert (outside["label"], outside["reason"], outside["chips"]) == ("not-judged", "outside", "0")
    assert float(outside["lon"]) < float(merged["lon"].iloc[2])
    assert [assessment.counts.units for assessment in result.assessments] == [4, 4]

    verdicts = {a.stem: pd.concat(list(a.parts())) for a in result.assessments}
    for row in (3, 4, 5):
        labels = {v.set_index("row")["label"].get(row) for v in verdicts.values()}
        assert (merged["disagree"][row].lower() in ("true", "1")) == (
            labels >= {"damaged", "undamaged"}
        )


def test_equally_valid_verdicts_are_decided_by_the_later_date(tmp_path, options):
    dates = {"old": "2017:08:31 10:00:00", "new": "2017:09:02 10:00:00"}
    scenes = [
        make_scene(tmp_path / f"{name}.tif", columns=2, rows=2, seed=n, acquired=date)
        for n, (name, date) in enumerate(dates.items())
    ]
    buildings = make_buildings(tmp_path / "b.gpkg", [pixel_box(30, 30, 8, 8)])
    for order in (scenes, scenes[::-1]):
        out = tmp_path / f"out-{order[0].stem}"
        assess_scenes(order, out, options(buildings=buildings))
        assert table(out)["scene"].tolist() == ["new.tif"]


def test_merging_in_small_chunks_and_parts_changes_nothing(tmp_path, options, monkeypatch):
    scenes = [make_scene(tmp_path / f"s{n}.tif", columns=3, rows=3, seed=n) for n in range(2)]
    shapes = [pixel_box(13 * n % 120 - 10, 29 * n % 110, 8, 8) for n in range(40)]
    buildings = make_buildings(tmp_path / "b.gpkg", shapes)
    assess_scenes(scenes, tmp_path / "large", options(buildings=buildings))
    monkeypatch.setattr("damagenet.engine.merge.CHUNK_ROWS", 3)
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 4)
    assess_scenes(scenes, tmp_path / "small", options(buildings=buildings))
    large, small = (table(tmp_path / name) for name in ("large", "small"))
    assert len(large) == 40
    same = [name for name in large.columns if not name.startswith("p_")]
    pd.testing.assert_frame_equal(large[same], small[same])


def test_cells_of_all_scenes_stand_in_the_common_table_under_different_ids(tmp_path, options):
    scenes = [make_scene(tmp_path / f"s{n}.tif", columns=2, rows=2, seed=n) for n in range(2)]
    assess_scenes(scenes, tmp_path / "out", options())
    merged = table(tmp_path / "out")
    assert len(merged) == merged["unit_id"].nunique() == 8
    assert merged["unit_id"].iloc[0].startswith("s0/")
    assert merged["scenes"].tolist() == ["s0"] * 4 + ["s1"] * 4


def test_scenes_in_different_systems_meet_in_longitude_and_latitude(tmp_path, options):
    one = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    other = make_scene(tmp_path / "b.tif", columns=2, rows=2, crs="EPSG:32614")
    assess_scenes([one, other], tmp_path / "out", options())
    merged = gpd.read_parquet(tmp_path / "out" / "damage.parquet")
    assert merged.crs.to_epsg() == 4326
    assert len(merged) == 8


def test_scenes_in_pixels_share_no_map_and_it_is_said(tmp_path, options):
    scenes = [make_scene(tmp_path / f"{n}.tif", columns=2, rows=2, crs=None) for n in "ab"]
    result = assess_scenes(scenes, tmp_path / "out", options(pixel_size=1.0, format="csv,geojson"))
    assert result.exit_code == 0
    assert result.merged == ()
    assert any("cannot share a map" in warning for warning in result.warnings)
    assert any("GeoJSON" in warning for warning in result.assessments[0].warnings)
    assert (tmp_path / "out" / "a" / "damage.csv").exists()
    assert not (tmp_path / "out" / "a" / "damage.geojson").exists()


def test_a_later_run_adds_scenes(tmp_path, options):
    first = make_scene(tmp_path / "a" / "post.tif", columns=2, rows=2)
    second = make_scene(tmp_path / "b" / "post.tif", columns=2, rows=2, seed=3)
    out = tmp_path / "out"
    assess_scenes([first], out, options(), command="first")
    result = assess_scenes([second], out, options(), command="second")
    assert result.exit_code == 0
    assert len(table(out)) == 8
    record = read_record(out)
    assert [run.command for run in record.runs] == ["first", "second"]
    assert [run.status for run in record.runs] == ["finished", "finished"]
    again = assess_scenes([first, second], out, options())
    assert again.exit_code == 0
    assert len(table(out)) == 8


def test_formats_of_an_earlier_run_are_kept_up_to_date(tmp_path, options):
    first = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    second = make_scene(tmp_path / "b.tif", columns=2, rows=2, seed=3)
    assess_scenes([first], tmp_path / "out", options(format="csv"))
    result = assess_scenes([second], tmp_path / "out", options(format="parquet"))
    assert {path.name for path in result.merged} == {"damage.csv", "damage.parquet"}
    assert len(table(tmp_path / "out")) == 8


def test_verdicts_of_different_models_in_one_table_are_said(tmp_path, options):
    first = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    second = make_scene(tmp_path / "b.tif", columns=2, rows=2, seed=3)
    make_bundle(tmp_path / "other", seed=1)
    assess_scenes([first], tmp_path / "out", options())
    result = assess_scenes([second], tmp_path / "out", options(model=str(tmp_path / "other")))
    assert any("verdicts of different models: toy@" in warning for warning in result.warnings)


def test_a_common_table_that_cannot_be_written_is_a_failure(tmp_path, options):
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    (tmp_path / "out" / "damage.csv").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot write .*damage\.csv"):
        assess_scenes([scene], tmp_path / "out", options())


def test_scenes_of_other_buildings_are_left_out_of_the_common_table_and_named(tmp_path, options):
    first = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    second = make_scene(tmp_path / "b.tif", columns=2, rows=2, seed=3)
    buildings = make_buildings(tmp_path / "b.gpkg", [pixel_box(20, 20, 8, 8)])
    assess_scenes([first], tmp_path / "out", options())
    result = assess_scenes([second], tmp_path / "out", options(buildings=buildings))
    assert len(table(tmp_path / "out")) == 1
    assert any("leaves out a:" in warning for warning in result.warnings)


def test_run_json_says_what_the_run_was_made_of(tmp_path, options):
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    buildings = make_buildings(tmp_path / "b.gpkg", [pixel_box(20, 20, 8, 8)])
    assess_scenes([scene], tmp_path / "out", options(buildings=buildings), command="the command")
    run = json.loads((tmp_path / "out" / "run.json").read_text())["runs"][0]
    assert run["command"] == "the command"
    assert run["scenes"][0]["sha256"] == file_sha256(scene)
    assert run["scenes"][0]["counts"]["units"] == 1
    assert run["inputs"]["buildings"] == file_sha256(buildings)
    assert run["model"]["weights_sha256"][:8] == run["model"]["id"].split("@")[1]
    assert AssessOptions(**run["options"]) == options(buildings=buildings)
    assert {"damagenet", "torch", "rasterio"} <= set(run["versions"])
    assert run["started"] <= run["finished"]


def test_a_killed_run_is_called_interrupted_by_the_next(tmp_path, options):
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    path = tmp_path / "out" / "run.json"
    assess_scenes([scene], path.parent, options())
    path.write_text(path.read_text().replace('"finished",', '"running",', 1))
    assess_scenes([scene], path.parent, options())
    assert [run.status for run in read_record(path.parent).runs] == ["interrupted", "finished"]


# ---- refusals before any work


def test_a_file_in_the_folders_place_is_refused(tmp_path, options):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match=r"out is a file: name a folder"):
        assess_scenes([make_scene(tmp_path / "a.tif")], tmp_path / "out", options())


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, options):
    with pytest.raises(OutputError, match=r"cannot write into /proc/damagenet"):
        assess_scenes([make_scene(tmp_path / "a.tif")], Path("/proc/damagenet"), options())


def test_bad_buildings_are_refused_before_anything_is_made(tmp_path, options):
    bad = tmp_path / "b.geojson"
    bad.write_text("no json")
    with pytest.raises(FootprintError, match=r"b\.geojson"):
        assess_scenes([make_scene(tmp_path / "a.tif")], tmp_path / "out", options(buildings=bad))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"stride": 60}, "stride must be above 0 and at most 32 m"),
        ({"stride": 16, "buildings": "b.gpkg"}, "--stride 16 cuts a grid"),
        ({"id_field": "name"}, "--id-field name is a column of --buildings"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path, options, given, words
):
    with pytest.raises(ConfigError, match=words):
        assess_scenes([make_scene(tmp_path / "a.tif")], tmp_path / "out", options(**given))
    assert not (tmp_path / "out").exists()


def test_two_runs_into_one_folder_do_not_meet(tmp_path, options):
    scene, out = make_scene(tmp_path / "a.tif", columns=2, rows=2), tmp_path / "out"

    def second_run(progress):
        with pytest.raises(OutputError, match=r"another run is writing into .*out: wait until it"):
            assess_scenes([scene], out, options())

    assess_scenes([scene], out, options(), progress=second_run)
    assert [run.status for run in read_record(out).runs] == ["finished"]
    assert assess_scenes([scene], out, options()).exit_code == 0
    assert not list(out.glob("*lock*"))


def test_a_damaged_mask_is_blamed_and_not_the_scene(tmp_path, options):
    scene, mask = make_scene(tmp_path / "a.tif"), tmp_path / "m.tif"
    copy_raster(scene, mask, driver="GTiff", compress="deflate")
    data = bytearray(mask.read_bytes())
    data[len(data) // 2 : -100] = bytes(len(data) - 100 - len(data) // 2)
    mask.write_bytes(data)
    result = assess_scenes([scene], tmp_path / "out", options(exclude=mask))
    assert [one.error for one in result.failures] == ["FootprintError"]
    assert result.failures[0].sentence.startswith(f"--exclude: {mask} cannot be read")


def test_a_strange_run_json_is_refused(tmp_path, options):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text('{"mine": 1}')
    with pytest.raises(OutputError, match=r"run\.json is not a record of damagenet's runs"):
        assess_scenes([make_scene(tmp_path / "a.tif")], tmp_path / "out", options())
