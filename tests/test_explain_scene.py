"""`damagenet explain` on scenes and chips: rasters, pictures, the page, and what it refuses."""

import json
import sys

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate
from tiny_run import SIZE_PX, make_buildings, make_bundle, make_scene, pixel_box

from damagenet.bundle import load_bundle
from damagenet.cli import main
from damagenet.config import make_settings
from damagenet.engine.batch import assess_scenes
from damagenet.errors import ConfigError, OutputError, SceneError
from damagenet.explain.explain import explain_inputs
from damagenet.explain.explainer import Explainer
from damagenet.explain.mosaic import opened_mosaic
from damagenet.explain.options import ExplainOptions
from damagenet.explain.picture import Colours, chip_picture, full_colour
from damagenet.inference import Predictor
from damagenet.options import AssessOptions
from data_prep.scene import Scene

SIGNED = Colours(signed=True, target="damaged")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def pair_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "pair"
    make_bundle(folder, inputs=("post", "pre"))
    return folder


def explained(paths, out, bundle, **options):
    given = {"model": str(bundle), "device": "cpu", "steps": 4, **options}
    return explain_inputs(paths, out, make_settings(ExplainOptions, given))


def read(path, band=1):
    with rasterio.open(path) as file:
        return file.read(band)


def test_a_grid_s_map_is_that_of_its_chips_on_the_scene_s_grid(tmp_path, bundle):
    scene = make_scene(tmp_path / "scene.tif", columns=3, rows=2)
    done = explained([scene], tmp_path / "out", bundle, method="grad_cam,guided_backprop")
    (maps,) = done.scenes
    assert (maps.units, maps.left_out) == (6, 0)
    loaded = load_bundle(str(bundle))
    explainer = Explainer(loaded, ["grad_cam"], device="cpu")
    with Scene.open(scene) as opened:
        cell = opened.read_chips([Window(32, 32, 32, 32)], size_px=32)
    wanted = explainer.explain("grad_cam", cell.images).maps[0][0]
    with rasterio.open(maps.rasters["grad_cam"]) as file, rasterio.open(scene) as source:
        assert (file.crs, file.transform, file.shape) == (
            source.crs,
            source.transform,
            source.shape,
        )
        assert (file.dtypes, np.isnan(file.nodata)) == (("float32",), True)
        np.testing.assert_allclose(file.read(1)[32:64, 32:64], wanted, atol=1e-6)
        assert file.descriptions == ("Grad-CAM, after the storm, log-odds per pixel",)
        assert file.tags()["speaks_for"] == "damaged"
        assert "features.stage3" in file.tags()["note"]
    assert read(maps.rasters["guided_backprop"]).min() >= 0


def test_rasters_are_cloud_optimised_and_styled(tmp_path, bundle):
    scene = make_scene(tmp_path / "scene.tif", columns=20, rows=18)
    (maps,) = explained([scene], tmp_path / "out", bundle, pictures=0).scenes
    raster = maps.rasters["grad_cam"]
    assert cog_validate(raster, quiet=True)[0]
    with rasterio.open(raster) as file:
        assert file.overviews(1)
        full = float(file.tags()["full_colour"])
    style = raster.with_suffix(".qml").read_text(encoding="utf-8")
    assert f'classificationMax="{full:g}"' in style
    assert "for undamaged" in style
    assert {path.name for path in raster.parent.iterdir()} == {raster.name, f"{raster.stem}.qml"}


def test_overlapping_chips_are_averaged_and_unseen_ground_stays_empty(tmp_path, bundle):
    hole = (slice(0, 20), slice(0, 20))
    scene = make_scene(tmp_path / "scene.tif", columns=4, rows=4, hole=hole)
    buildings = make_buildings(
        tmp_path / "b.gpkg", [pixel_box(30, 30, 8, 8), pixel_box(46, 30, 8, 8)]
    )
    alone = [
        read(
            explained([scene], tmp_path / name, bundle, buildings=buildings, units=name)
            .scenes[0]
            .rasters["grad_cam"]
        )
        for name in ("b0", "b1")
    ]
    both = explained([scene], tmp_path / "both", bundle, buildings=buildings).scenes[0]
    together = read(both.rasters["grad_cam"])
    first, second = alone
    overlap = ~np.isnan(first) & ~np.isnan(second)
    assert overlap.sum() == 32 * 16
    np.testing.assert_allclose(together[overlap], (first + second)[overlap] / 2, atol=1e-6)
    only = ~np.isnan(first) & np.isnan(second)
    np.testing.assert_allclose(together[only], first[only], atol=1e-6)
    assert np.isnan(together[:20, :20]).all()
    assert np.isnan(together[70:]).all()


def test_verdicts_are_those_of_the_assessment(tmp_path, bundle):
    scene = make_scene(tmp_path / "scene.tif", columns=3, rows=2)
    shapes = [pixel_box(10, 10, 8, 8), pixel_box(0, 0, 90, 60), pixel_box(900, 900, 8, 8)]
    buildings = make_buildings(tmp_path / "b.gpkg", shapes)
    options = AssessOptions(
        model=str(bundle), buildings=buildings, format=("geojson",), device="cpu"
    )
    assess_scenes([scene], tmp_path / "assessed", options)
    told = json.loads((tmp_path / "assessed" / "damage.geojson").read_text(encoding="utf-8"))
    verdicts = {one["properties"]["unit_id"]: one["properties"] for one in told["features"]}
    (maps,) = explained([scene], tmp_path / "out", bundle, buildings=buildings).scenes
    assert [unit.unit_id for unit in maps.shown] == ["b0", "b1"]
    for unit in maps.shown:
        record = verdicts[unit.unit_id]
        assert unit.label == record["label"]
        assert unit.probability == pytest.approx(record["p_damaged"], abs=1e-5)


def test_a_limit_counts_units_that_can_be_judged(tmp_path, bundle):
    scene = make_scene(tmp_path / "scene.tif", columns=3, rows=3, hole=(slice(0, 32), slice(0, 96)))
    told = []
    given = {"model": str(bundle), "device": "cpu", "limit": 2, "batch_size": 2}
    done = explain_inputs(
        [scene],
        tmp_path / "out",
        make_settings(ExplainOptions, given),
        progress=lambda path, units, total: told.append((path.name, units, total)),
    )
    (maps,) = done.scenes
    assert [unit.unit_id for unit in maps.shown] == ["r0001c0000", "r0001c0001"]
    assert (maps.units, maps.left_out) == (2, 3)
    assert told == [("scene.tif", 2, 9), ("scene.tif", 4, 9), ("scene.tif", 5, 9)]


def test_chips_of_another_size_are_laid_back_to_the_nearest_pixel(tmp_path, bundle):
    scene = make_scene(tmp_path / "scene.tif", columns=5, rows=5, pixel_m=0.4)
    (maps,) = explained([scene], tmp_path / "out", bundle).scenes
    values = read(maps.rasters["grad_cam"])
    # Cells of 80 px that meet without a gap, over all of the scene.
    assert maps.units == 4
    assert not np.isnan(values).any()


def test_a_pair_has_a_map_of_each_picture(tmp_path, pair_bundle):
    scene = make_scene(tmp_path / "post.tif", columns=3, rows=3)
    before = make_scene(tmp_path / "pre.tif", columns=3, rows=3)
    done = explained([scene], tmp_path / "out", pair_bundle, pre=before, method="guided_backprop")
    (maps,) = done.scenes
    assert set(maps.rasters) == {"guided_backprop", "grad_cam"}
    with rasterio.open(maps.rasters["guided_backprop"]) as file:
        post, pre = file.read()
        assert [text.split(", ")[1] for text in file.descriptions] == [
            "after the storm",
            "before the storm",
        ]
    assert not np.allclose(post, pre)
    assert "both show the same map" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    with Image.open(maps.folder / maps.shown[0].files["grad_cam"]) as picture:
        assert picture.size == (4 * 256 + 3 * 4, 256)


def test_pictures_say_what_they_are(tmp_path, bundle):
    scene = make_scene(tmp_path / "scene.tif", columns=2, rows=2)
    done = explained(
        [scene],
        tmp_path / "out",
        bundle,
        method="integrated_gradients",
        pictures=3,
        target="undamaged",
    )
    (maps,) = done.scenes
    assert len(maps.shown) == 3
    assert maps.rest["integrated_gradients"] >= 0
    with Image.open(maps.folder / maps.shown[0].files["integrated_gradients"]) as picture:
        said = picture.text
    assert said["unit_id"] == "r0000c0000"
    assert said["speaks_for"] == "undamaged"
    assert {"verdict", "p_damaged", "caution", "convergence_delta", "full_colour"} <= set(said)
    page = done.page.read_text(encoding="utf-8")
    assert "A map of attention is no proof" in page
    assert page.count("<img ") == 3
    assert "http" not in page.replace("http-equiv", "")


def test_chips_get_a_picture_each(tmp_path, bundle):
    folder = tmp_path / "chips"
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(1, 256, (3, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    for name, one in zip(("a.png", "b c.jpg", "d.tif"), pixels, strict=True):
        Image.fromarray(one).save(folder / name)
    done = explained(sorted(folder.iterdir()), tmp_path / "out", bundle)
    assert (done.chips, done.scenes) == (3, ())
    names = sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir())
    assert names == ["0000_a_grad_cam.png", "0001_b c_grad_cam.png", "0002_d_grad_cam.png"]
    page = done.page.read_text(encoding="utf-8")
    assert "pictures/0001_b%20c_grad_cam.png" in page
    loaded = load_bundle(str(bundle))
    p = Predictor(loaded, device="cpu").probabilities((pixels[:1].transpose(0, 3, 1, 2).copy(),))
    assert f"P(damaged) {p[0]:.3f}" in page


def test_chips_of_a_pair_have_their_picture_before_by_name(tmp_path, pair_bundle):
    rng = np.random.default_rng(0)
    for folder in ("post", "pre"):
        (tmp_path / folder).mkdir()
        for name in ("a.png", "b.png"):
            pixels = rng.integers(1, 256, (SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / name)
    chips = sorted((tmp_path / "post").iterdir())
    done = explained(chips, tmp_path / "out", pair_bundle, pre=tmp_path / "pre")
    assert done.chips == 2
    with pytest.raises(ConfigError, match="name the folder of those before with --pre"):
        explained(chips, tmp_path / "other", pair_bundle)
    (tmp_path / "pre" / "b.png").unlink()
    with pytest.raises(ConfigError, match=r"no picture before the storm at .*b\.png"):
        explained(chips, tmp_path / "other", pair_bundle, pre=tmp_path / "pre")


def test_what_cannot_be_explained_is_refused_before_anything_is_written(tmp_path, bundle):
    scene = make_scene(tmp_path / "scene.tif", columns=2, rows=2)
    far = make_buildings(tmp_path / "far.gpkg", [pixel_box(900, 900, 8, 8)])
    chip, out = tmp_path / "chip.png", tmp_path / "out"
    Image.new("RGB", (SIZE_PX, SIZE_PX)).save(chip)
    small = tmp_path / "small.png"
    Image.new("RGB", (20, 20)).save(small)
    for paths, options, error, told in (
        ([scene, chip], {}, ConfigError, "is a chip of this model and .* is none"),
        ([chip], {"limit": 3}, ConfigError, "--limit is for scenes, and chips were named"),
        ([chip], {"pictures": 3}, ConfigError, "--pictures is for scenes"),
        ([chip], {"pre": scene}, ConfigError, "model .* takes one picture"),
        ([scene], {"units": "r0000c0000,x1"}, ConfigError, "units: x1 is not on this scene"),
        ([scene], {"layer": "features.pool"}, ConfigError, "gives no map"),
        (
            [scene],
            {"layer": "features.stage1", "method": "integrated_gradients"},
            ConfigError,
            "--layer features.stage1 is for grad_cam",
        ),
        ([scene], {"buildings": far}, SceneError, "of 0 units there none could be judged"),
        ([scene], {"pre": chip}, ConfigError, "takes one picture"),
        ([small], {}, SceneError, "has no CRS"),
    ):
        with pytest.raises(error, match=told):
            explained(paths, out, bundle, **options)
        assert not [path for path in out.rglob("*") if path.is_file()]


def test_options_refuse_what_is_no_method_or_class():
    with pytest.raises(ConfigError, match=r"method.0: input should be 'grad_cam'"):
        make_settings(ExplainOptions, {"method": "lime"})
    with pytest.raises(ConfigError, match="name at least one of grad_cam"):
        make_settings(ExplainOptions, {"method": ""})
    with pytest.raises(ConfigError, match="target: input should be 'damaged' or 'undamaged'"):
        make_settings(ExplainOptions, {"target": "flooded"})
    assert make_settings(ExplainOptions, {"method": "guided_backprop"}).method == (
        "guided_backprop",
        "grad_cam",
    )


def test_a_scene_that_breaks_off_leaves_the_map_of_before(tmp_path, bundle):
    raster = tmp_path / "explain_grad_cam.tif"
    raster.write_bytes(b"before")

    def fill(scene: Scene) -> None:
        flat = np.ones((32, 32), np.float32)
        with opened_mosaic(raster, scene, ["a"], SIGNED, {}) as mosaic:
            mosaic.add(Window(0, 0, 32, 32), [flat], flat > 0)
            raise OutputError("full")

    path = make_scene(tmp_path / "scene.tif", columns=2, rows=2)
    with Scene.open(path) as scene, pytest.raises(OutputError, match="full"):
        fill(scene)
    assert raster.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [raster.name, "scene.tif"]


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-20, 60), st.floats(-20, 60), st.floats(5, 50), st.integers(-3, 3)),
        min_size=1,
        max_size=5,
    )
)
def test_a_mosaic_of_flat_maps_holds_their_mean_wherever_they_lie(tmp_path_factory, chips):
    folder = tmp_path_factory.mktemp("mosaic")
    total, count = np.zeros((2, 64, 64))
    with Scene.open(make_scene(folder / "scene.tif", columns=2, rows=2)) as scene:
        with opened_mosaic(folder / "m.tif", scene, ["a"], SIGNED, {}) as mosaic:
            for left, top, side, value in chips:
                flat = np.full((16, 16), value, np.float32)
                mosaic.add(Window(left, top, side, side), [flat], np.ones((16, 16), bool))
                rows = slice(max(0, round(top)), max(0, round(top + side)))
                columns = slice(max(0, round(left)), max(0, round(left + side)))
                total[rows, columns] += value
                count[rows, columns] += 1
        wanted = np.full_like(total, np.nan)
        np.divide(total, count, out=wanted, where=count > 0)
        np.testing.assert_allclose(read(folder / "m.tif"), wanted, atol=1e-6)


def test_a_picture_shows_ground_beside_ground_under_colour():
    image = np.full((3, 8, 8), 100, np.uint8)
    values = np.zeros((8, 8), np.float32)
    values[:, :4], values[:, 4:] = 2.0, -2.0
    picture = np.asarray(chip_picture([image], [values], SIGNED, full=2.0))
    assert (picture[:, :256] == 100).all()
    red, green, _ = picture[128, 260 + 20].astype(int)
    assert (red > 170, green < 80) == (True, True)
    red, green, _ = picture[128, 260 + 236].astype(int)
    assert (green > 110, red < 60) == (True, True)
    assert full_colour([np.zeros((4, 4), np.float32)]) > 0


@pytest.fixture
def damagenet(monkeypatch, capfd):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["damagenet", *map(str, arguments)])
        code = 0
        try:
            main.run()
        except SystemExit as stop:
            code = stop.code or 0
        return code, *capfd.readouterr()

    return run


def test_the_command_says_what_it_wrote_and_what_that_is_worth(tmp_path, bundle, damagenet):
    scene = make_scene(tmp_path / "scene.tif", columns=2, rows=2)
    code, out, err = damagenet(
        *("explain", scene, "--model", bundle, "--out", tmp_path / "out"),
        *("--method", "guided_backprop", "--method", "integrated_gradients", "--steps", 4),
    )
    assert (code, err) == (0, "")
    assert "scene.tif: 4 units explained" in out
    assert "of the change in log-odds is unexplained" in out
    assert "guided_backprop is edge evidence" in out
    assert (tmp_path / "out" / "scene" / "explain_integrated_gradients.tif").exists()


def test_wrong_usage_and_refusals_are_one_line(tmp_path, bundle, damagenet):
    scene = make_scene(tmp_path / "scene.tif", columns=2, rows=2)
    code, _, err = damagenet("explain", scene, "--method", "lime", "--out", tmp_path / "out")
    assert code == 2
    assert "input should be 'grad_cam'" in err
    code, _, err = damagenet(
        "explain", scene, "--model", bundle, "--layer", "head", "--out", tmp_path / "out"
    )
    assert code == 1
    assert err.startswith("damagenet: layer: 'head' gives no map")


def test_a_scene_that_cannot_be_read_costs_no_other(damagenet, tmp_path, bundle):
    folder = tmp_path / "scenes"
    folder.mkdir()
    make_scene(folder / "whole.tif", columns=2, rows=1)
    (folder / "broken.tif").write_bytes((folder / "whole.tif").read_bytes()[:-3000])
    given = (
        "--model",
        bundle,
        "--method",
        "grad_cam",
        "--device",
        "cpu",
        "--out",
        tmp_path / "out",
    )
    code, out, err = damagenet("explain", folder, *given)
    assert (code, "whole.tif: 2 units explained" in out) == (3, True)
    assert err.startswith(f"failed: {folder / 'broken.tif'} is truncated")
    grey = folder / "grey.tif"
    with rasterio.open(folder / "whole.tif") as source:
        profile = source.profile | {"count": 1, "photometric": None}
        with rasterio.open(grey, "w", **profile) as target:
            target.write(source.read(1), 1)
    code, _, err = damagenet("explain", grey, folder / "whole.tif", *given)
    assert (code, err.startswith(f"failed: {grey}: scene has 1 band")) == (3, True)
    code, _, err = damagenet("explain", folder / "broken.tif", *given)
    assert code == 1
    assert "broken.tif" in err
