"""What is finished stays where nothing is wrong with it, and goes where its file is bad."""

import json
from pathlib import Path

import pytest
from range_server import range_server
from tiny_run import folder_bytes, make_buildings, make_bundle, make_scene, pixel_box

import data_prep.remote
from damagenet.addresses import remote_path
from damagenet.engine.batch import assess_scenes
from damagenet.engine.parts import whole_or_none
from damagenet.errors import (
    BundleError,
    CancelledError,
    FootprintError,
    OutputError,
    SceneError,
    UnreachableError,
)
from damagenet.options import AssessOptions

TABLES = ("damage.csv", "damage.parquet")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 6)


def parts(folder: Path) -> list[Path]:
    return sorted(folder.rglob("part-*.parquet"))


# ---- errors


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (SceneError, False),
        (FootprintError, False),
        (UnreachableError, True),
        (BundleError, True),
        (CancelledError, True),
        (OutputError, True),
    ],
)
def test_only_an_error_that_blames_a_file_removes_finished_parts(tmp_path, error, kept):
    part = tmp_path / "a" / "parts" / "by-place" / "part-000000.parquet"
    part.parent.mkdir(parents=True)
    part.touch()
    with pytest.raises(error), whole_or_none(tmp_path / "a"):
        raise error("it is as it is")
    assert part.exists() == kept


def test_a_scene_of_which_nothing_is_finished_leaves_no_folder(tmp_path):
    (tmp_path / "a" / "parts").mkdir(parents=True)
    with pytest.raises(UnreachableError), whole_or_none(tmp_path / "a"):
        raise UnreachableError("the network is down")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_signature_that_expires_loses_nothing_and_a_fresh_one_goes_on(
    tmp_path, options, monkeypatch, status
):
    monkeypatch.setattr(data_prep.remote, "BACK_OFF_S", 0.01)
    monkeypatch.setitem(data_prep.remote.REMOTE_SETTINGS, "GDAL_HTTP_RETRY_DELAY", 0.01)
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 30)
    file = make_scene(tmp_path / "scene.tif", columns=30, rows=20)
    out, said = tmp_path / "out", []
    with range_server() as server:
        address = server.add("scene.tif", file)
        given = options(allow_url=server.url)

        def expire(progress):
            said.append(progress.scene)
            if len(said) == 2:
                server.tell(statuses={"scene.tif": [status]})

        failed = assess_scenes([remote_path(f"{address}?sig=old")], out, given, progress=expire)
        assert [one.error for one in failed.failures] == ["UnreachableError"]
        made = parts(out)
        assert 0 < len(made) < 20
        server.tell(statuses={})
        said[:] = [None, None]
        again = assess_scenes([remote_path(f"{address}?sig=new")], out, given, progress=expire)
        assert again.exit_code == 0
        assert said[2].units_kept == 30 * len(made)
        whole = assess_scenes([remote_path(address)], tmp_path / "whole", given)
    assert folder_bytes(out, *TABLES) == folder_bytes(whole.out, *TABLES)


# ---- finished assessments


def test_a_picture_before_that_has_moved_is_read_where_it_is_now(tmp_path):
    make_bundle(tmp_path / "pair", seed=3, inputs=("post", "pre"))
    post = make_scene(tmp_path / "post.tif", columns=6, rows=2)
    pre = make_scene(tmp_path / "pre.tif", columns=3, rows=2, seed=1)
    given = {"model": str(tmp_path / "pair"), "device": "cpu", "format": "csv,html"}
    first = assess_scenes([post], tmp_path / "out", AssessOptions(pre=pre, **given))
    moved = pre.rename(tmp_path / "elsewhere.tif")
    again = assess_scenes([post], tmp_path / "out", AssessOptions(pre=moved, **given))
    assert again.exit_code == 0
    before, after = first.assessments[0], again.assessments[0]
    assert (after.pre.path, after.created) == (moved, before.created)
    item = json.loads((after.folder / "item.json").read_text())
    assert any(link["href"].endswith("elsewhere.tif") for link in item["links"])


def test_a_finished_assessment_outlives_a_report_that_cannot_be_made(
    tmp_path, options, monkeypatch
):
    scene, out = make_scene(tmp_path / "a.tif"), tmp_path / "out"
    assess_scenes([scene], out, options())
    before = folder_bytes(out / "a", "assessment.json", *TABLES)

    def unreadable(*_):
        raise SceneError("a.tif cannot be read")

    monkeypatch.setattr("damagenet.outputs.writing.write_report", unreadable)
    failed = assess_scenes([scene], out, options(format="html"))
    assert failed.failures[0].sentence == "a.tif cannot be read"
    assert folder_bytes(out / "a", "assessment.json", *TABLES) == before
    assert len(parts(out / "a")) == 5


# ---- damaged parts


def damage(part: Path, how: str) -> None:
    content = part.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    spoilt = {
        "empty": b"",
        "half": content[: len(content) // 2],
        "footer": content[:footer] + b"\xff" * 40 + content[footer + 40 :],
    }
    part.write_bytes(spoilt[how])


@pytest.mark.parametrize("how", ["empty", "half", "footer"])
def test_a_damaged_part_of_a_finished_scene_is_made_again(tmp_path, options, how):
    scene, out = make_scene(tmp_path / "a.tif"), tmp_path / "out"
    assess_scenes([scene], out, options())
    before = {path: path.read_bytes() for path in parts(out)}
    damage(parts(out)[2], how)
    said = []
    again = assess_scenes([scene], out, options(), progress=said.append)
    assert again.exit_code == 0
    assert said[0].scene.units_kept == 24
    assert {path: path.read_bytes() for path in parts(out)} == before


def test_a_damaged_piece_of_an_interrupted_scene_is_made_again(tmp_path, options):
    shapes = [pixel_box(7 * n % 180, 11 * n % 150, 6 + n % 40, 7) for n in range(25)]
    given = options(buildings=make_buildings(tmp_path / "b.gpkg", shapes))
    scene, out, said = make_scene(tmp_path / "a.tif"), tmp_path / "out", []
    with pytest.raises(CancelledError):
        assess_scenes([scene], out, given, progress=said.append, cancelled=lambda: len(said) == 3)
    made = parts(out / "a" / "parts" / "by-place")
    assert len(made) == 2
    damage(made[0], "empty")
    assert assess_scenes([scene], out, given, progress=said.append).exit_code == 0
    assert 0 < said[3].scene.units_kept < said[2].scene.units_done
    whole = assess_scenes([scene], tmp_path / "whole", given)
    assert folder_bytes(out, *TABLES) == folder_bytes(whole.out, *TABLES)


@pytest.mark.parametrize("how", ["empty", "half", "footer"])
def test_a_damaged_part_of_another_scene_is_said_in_a_sentence(tmp_path, options, how):
    scenes = [make_scene(tmp_path / f"{name}.tif", seed=n) for n, name in enumerate("ab")]
    out = tmp_path / "out"
    assess_scenes(scenes[:1], out, options())
    damage(parts(out)[0], how)
    result = assess_scenes(scenes[1:], out, options())
    assert result.exit_code == 0
    assert (
        "damage.* leaves out a: parts of their results are missing or cannot be read, assess "
        "them again"
    ) in result.warnings
    assert [one.stem for one in result.assessments] == ["b"]
    assert b"a.tif" not in (out / "damage.csv").read_bytes()


@pytest.mark.parametrize("kind", ["cell", "building"])
def test_a_part_that_is_damaged_behind_its_footer_is_named(tmp_path, options, kind):
    given = options()
    if kind == "building":
        given = options(buildings=make_buildings(tmp_path / "b.gpkg", [pixel_box(9, 9, 8, 8)]))
    scenes = [make_scene(tmp_path / f"{name}.tif", seed=n) for n, name in enumerate("ab")]
    out = tmp_path / "out"
    assess_scenes(scenes[:1], out, given)
    part = parts(out)[0]
    content = part.read_bytes()
    part.write_bytes(content[:4] + b"\xff" * 1500 + content[1504:])
    with pytest.raises(OutputError, match=r"cannot read the finished part .*a/parts/part-000000"):
        assess_scenes(scenes[1:], out, given)
