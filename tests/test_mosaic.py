"""Tiles laid out as a scene: on their pixel grid, holes masked, nothing overwritten unasked."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
import rasterio
from published_tiles import make_published, open_prepared
from typer.testing import CliRunner

from damagenet.cli.data import app
from damagenet.errors import ConfigError, DataError, OutputError
from data_prep import mosaic
from data_prep.harvey import HarveyTiles
from data_prep.mosaic import lay_out
from data_prep.tile import HALF_TILE_DEGREES, PIXEL_DEGREES

COLUMN, ROW = 18_796_800, 13_403_904
"""A place in Houston West on the world grid."""


def centre(column, row):
    west, north = column * PIXEL_DEGREES - 180, 90 - row * PIXEL_DEGREES
    return west + HALF_TILE_DEGREES, north - HALF_TILE_DEGREES


def box(column, row, width, height):
    west, north = column * PIXEL_DEGREES - 180, 90 - row * PIXEL_DEGREES
    return (west, north - height * PIXEL_DEGREES, west + width * PIXEL_DEGREES, north)


@pytest.fixture
def ground():
    """Return the picture that all tiles of `cut` are cut from, 600 x 700 pixels."""
    return np.random.default_rng(0).integers(0, 256, (600, 700, 3), np.uint8)


@pytest.fixture
def cut(ground, tmp_path):
    """Return a function that cuts tiles from the ground at (column, row) offsets."""

    def cut_at(*offsets, **changes):
        rows = []
        for number, (x, y) in enumerate(offsets):
            lon, lat = centre(COLUMN + x, ROW + y)
            rows.append(
                {
                    "path": f"test/damage/{lon:.6f}_{lat:.6f}.jpeg",
                    "label": 1,
                    "lon": lon,
                    "lat": lat,
                    "column": COLUMN + x,
                    "row_px": ROW + y,
                    "region": "houston-west",
                    "acquisition": f"PASS-{number}",
                    "duplicate_of": "",
                }
                | changes
            )
        pixels = np.stack([ground[y : y + 128, x : x + 128] for x, y in offsets])
        return HarveyTiles(folder=tmp_path, manifest=pd.DataFrame(rows), pixels=pixels)

    return cut_at


def read(path):
    with rasterio.open(path) as scene:
        return scene.read().transpose(1, 2, 0), scene.read_masks(1) > 0, scene.profile


def test_tiles_lie_on_their_own_pixels_and_holes_are_masked(cut, ground, tmp_path):
    offsets = [(0, 0), (100, 40), (540, 400), (572, 472)]
    report = lay_out(
        cut(*offsets), tmp_path / "out.tif", bbox=box(COLUMN, ROW, 700, 600), label="damage"
    )
    expected = np.zeros((600, 700), bool)
    for x, y in offsets:
        expected[y : y + 128, x : x + 128] = True
    pixels, valid, profile = read(report.scene)
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(pixels[valid], ground[valid])
    assert (pixels[~valid] == 0).all()
    assert profile["crs"].to_epsg() == 4326
    assert profile["transform"].c == pytest.approx(COLUMN * PIXEL_DEGREES - 180, abs=1e-12)
    assert profile["transform"].f == pytest.approx(90 - ROW * PIXEL_DEGREES, abs=1e-12)
    assert (profile["compress"], profile["tiled"]) == ("deflate", True)
    assert (report.tiles, report.width_px, report.height_px) == (4, 700, 600)
    assert report.filled_fraction == pytest.approx(expected.mean())
    assert report.overlap_pixels == 28 * 88 + 96 * 56
    assert report.overlap_difference == 0
    with rasterio.open(report.scene) as scene:
        assert scene.overviews(1) == [2]
        assert scene.mask_flag_enums[0] == [rasterio.enums.MaskFlags.per_dataset]


def test_a_box_cuts_tiles_and_keeps_the_buildings_inside(cut, ground, tmp_path):
    tiles = cut((0, 0), (300, 0))
    report = lay_out(
        tiles, tmp_path / "out.tif", bbox=box(COLUMN + 50, ROW + 10, 300, 100), label="damage"
    )
    pixels, valid, _ = read(report.scene)
    np.testing.assert_array_equal(pixels[valid], ground[10:110, 50:350][valid])
    assert valid.sum() == 100 * (78 + 50)
    buildings = json.loads(report.buildings.read_text())["features"]
    assert report.buildings.name == "out_buildings.geojson"
    assert report.buildings_count == len(buildings) == 1
    assert buildings[0]["geometry"]["coordinates"] == pytest.approx(centre(COLUMN, ROW))
    assert buildings[0]["properties"]["class_dir"] == "damage"


def test_the_tile_with_the_nearest_centre_stays_where_tiles_overlap(cut, tmp_path, caplog):
    tiles = cut((0, 0), (64, 0))
    tiles.pixels[0], tiles.pixels[1] = 10, 60
    with caplog.at_level(logging.WARNING):
        report = lay_out(
            tiles, tmp_path / "out.tif", bbox=box(COLUMN, ROW, 192, 128), label="damage"
        )
    pixels, valid, _ = read(report.scene)
    assert valid.all()
    assert (pixels[:, :96] == 10).all()
    assert (pixels[:, 97:] == 60).all()
    assert report.overlap_difference == 50
    assert "differ by 50.0 of 255 levels: the box mixes satellite passes" in caplog.text


def test_only_distinct_tiles_of_the_class_and_pass_asked_for_are_laid_out(cut, tmp_path):
    bbox = box(COLUMN, ROW, 700, 600)
    tiles = cut((0, 0), (200, 0))
    one = lay_out(tiles, tmp_path / "one.tif", bbox=bbox, label="damage", acquisition="PASS-1")
    assert one.tiles == 1
    with pytest.raises(DataError, match=r"no no_damage tile lies in .*: move or widen the box"):
        lay_out(tiles, tmp_path / "two.tif", bbox=bbox, label="no_damage")
    with pytest.raises(DataError, match="no damage tile lies in"):
        lay_out(cut((0, 0), duplicate_of="x"), tmp_path / "two.tif", bbox=bbox, label="damage")
    assert not (tmp_path / "two.tif").exists()


def test_a_large_sparse_box_costs_little(cut, tmp_path):
    tiles = cut((0, 0))
    report = lay_out(
        tiles, tmp_path / "out.tif", bbox=box(COLUMN, ROW, 6_000, 3_000), label="damage"
    )
    assert report.scene.stat().st_size < 200_000
    with rasterio.open(report.scene) as scene:
        assert scene.read_masks(1, window=((0, 512), (0, 512))).astype(bool).sum() == 128 * 128
        assert not scene.read_masks(1, window=((1500, 2000), (1500, 2000))).any()


@pytest.mark.parametrize(
    ("bbox", "message"),
    [
        ((-95.6, 29.8, -95.7, 29.9), "takes west, south, east, north in degrees, got"),
        ((-95.6, 29.8, -95.6, 29.9), "takes west, south, east, north in degrees, got"),
        ((-95.6, 91.0, -95.5, 92.0), "takes west, south, east, north in degrees, got"),
        ((-96.0, 29.0, -95.0, 29.1), "pixels, at most 65536 a side .*: take a smaller one"),
    ],
)
def test_a_box_that_cannot_be_laid_out_is_refused(cut, tmp_path, bbox, message):
    with pytest.raises(ConfigError, match=message):
        lay_out(cut((0, 0)), tmp_path / "out.tif", bbox=bbox, label="damage")


def test_an_unknown_label_is_refused(cut, tmp_path):
    with pytest.raises(ConfigError, match="unknown label 'wet'; choose one of: no_damage, damage"):
        lay_out(cut((0, 0)), tmp_path / "a.tif", bbox=box(COLUMN, ROW, 9, 9), label="wet")


@pytest.mark.parametrize("there", ["out.tif", "out_buildings.geojson"])
def test_what_is_there_is_not_overwritten_unasked(cut, tmp_path, there):
    (tmp_path / there).write_text("mine")
    bbox = box(COLUMN, ROW, 128, 128)
    with pytest.raises(OutputError, match=f"{there} is there already: pass --overwrite"):
        lay_out(cut((0, 0)), tmp_path / "out.tif", bbox=bbox, label="damage")
    assert (tmp_path / there).read_text() == "mine"
    report = lay_out(cut((0, 0)), tmp_path / "out.tif", bbox=bbox, label="damage", overwrite=True)
    assert report.filled_fraction == 1


def test_an_interrupted_mosaic_leaves_nothing_behind(cut, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(mosaic, "paint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lay_out(
            cut((0, 0)), tmp_path / "made" / "a.tif", bbox=box(COLUMN, ROW, 9, 9), label="damage"
        )
    assert list((tmp_path / "made").iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused(cut, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot write"):
        lay_out(
            cut((0, 0)), tmp_path / "file" / "a.tif", bbox=box(COLUMN, ROW, 9, 9), label="damage"
        )


def test_the_command_lays_out_a_scene(tmp_path):
    open_prepared(make_published(tmp_path / "published"), tmp_path / "made")
    out = tmp_path / "out.tif"
    command = ["scene", str(tmp_path / "made"), str(out)]
    command += ["--bbox", "-97.001", "28.799", "-96.999", "28.808", "--label", "no_damage"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "from 4 tiles" in result.stdout
    assert len(json.loads((tmp_path / "out_buildings.geojson").read_text())["features"]) == 4
    assert read(out)[1].sum() == 4 * 128 * 128


def test_a_real_scene_is_put_together_again(harvey_data, real_tiles, tmp_path):
    with rasterio.open(harvey_data / "scenes" / "houston_00_post.tif") as scene:
        bounds, expected, mask = tuple(scene.bounds), scene.read(), scene.read_masks(1) > 0
    report = lay_out(real_tiles, tmp_path / "out.tif", bbox=bounds, label="damage")
    pixels, valid, _ = read(report.scene)
    np.testing.assert_array_equal(valid, mask)
    same = (pixels == expected.transpose(1, 2, 0)).all(axis=2)[mask]
    assert same.mean() > 0.999
    assert report.overlap_pixels > 4_000_000
    assert report.overlap_difference < 3
    assert report.buildings_count == 381
