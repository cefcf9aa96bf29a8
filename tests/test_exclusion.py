"""Hidden ground is found under the chips it covers."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasters import UTM, box, frame_of, noise, place, write_raster

from damagenet.card import ChipGround
from damagenet.errors import FootprintError
from data_prep.exclusion import read_exclusion
from data_prep.scene import Scene
from data_prep.windows import Grid

GROUND = ChipGround()
SIZE_PX = 400


@pytest.fixture
def scene(tmp_path):
    path = write_raster(tmp_path / "scene.tif", noise(SIZE_PX, SIZE_PX))
    with Scene.open(path) as opened:
        yield opened


def chips_of(scene: Scene):
    grid = Grid.over(scene, GROUND)
    return [unit.windows[0] for piece in grid.pieces() for unit in grid.units(piece)]


def test_hidden_polygons_cover_the_chips_pixels_they_lie_on(tmp_path, scene):
    path = tmp_path / "clouds.gpkg"
    frame_of([box(100, 60, 200, 90)]).to_crs(3857).to_file(path)
    hidden = read_exclusion(path).covers(scene, chips_of(scene), 128)
    assert hidden.shape == (16, 128, 128)
    assert hidden.sum() == pytest.approx(100 * 30, rel=0.02)
    assert hidden[0, 60:90, 100:].mean() > 0.95
    assert not hidden[4:].any()


@pytest.mark.parametrize("crs", [4326, 3857])
def test_polygons_of_half_the_world_hide_a_scene_of_one_zone(tmp_path, scene, crs):
    world = gpd.GeoDataFrame(geometry=[shapely.box(-179.9, -85, 179.9, 85)], crs=4326).to_crs(crs)
    world.to_file(tmp_path / "smoke.gpkg")
    hidden = read_exclusion(tmp_path / "smoke.gpkg").covers(scene, chips_of(scene), 128)
    assert hidden.all()


def test_a_raster_mask_hides_where_it_is_not_zero_also_on_another_grid(tmp_path, scene):
    clouds = np.zeros((1, 100, 100), np.uint8)
    clouds[0, 10:20, 30:60] = 1
    coarse = Affine(UTM.a * 4, 0, UTM.c, 0, UTM.e * 4, UTM.f)
    path = write_raster(tmp_path / "clouds.tif", clouds, transform=coarse)
    windows = chips_of(scene)
    hidden = read_exclusion(path).covers(scene, windows, 128)
    assert hidden.sum() == 10 * 30 * 16
    assert hidden[0, 40:80, 120:128].all()


@pytest.mark.parametrize("nodata", [None, 0])
def test_a_usable_data_mask_hides_what_is_not_clear_but_not_what_it_does_not_cover(
    tmp_path, scene, nodata
):
    udm = np.zeros((8, 50, 100), np.uint8)
    udm[0] = 1
    udm[0, 5:10, 5:10] = 0
    coarse = Affine(UTM.a * 4, 0, UTM.c, 0, UTM.e * 4, UTM.f)
    path = write_raster(
        tmp_path / "udm2.tif", udm, transform=coarse, photometric="minisblack", nodata=nodata
    )
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, "clear")
    hidden = read_exclusion(path).covers(scene, chips_of(scene), 128)
    assert hidden.sum() == 5 * 5 * 16


def test_hidden_ground_given_as_points_is_refused(tmp_path):
    path = tmp_path / "points.gpkg"
    frame_of([shapely.Point(place(1, 1))]).to_file(path)
    with pytest.raises(FootprintError, match="holds points: hidden ground must be polygons"):
        read_exclusion(path)
