"""`damage.tif`: a valid COG whose pixels are the records' probabilities."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from assessments import PIXEL_M, make_assessment
from rasterio._err import CPLE_BaseError
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo import cog_validate

import damagenet.outputs.raster as raster_module
from damagenet.assessment import Assessment
from damagenet.errors import OutputError
from damagenet.outputs.raster import map_grid
from damagenet.outputs.writing import write_outputs


def records(assessment: Assessment) -> pd.DataFrame:
    return pd.concat([pd.DataFrame(part) for part in assessment.parts()], ignore_index=True)


def read(assessment: Assessment) -> np.ndarray:
    with rasterio.open(assessment.folder / "damage.tif") as made:
        pixels: np.ndarray = made.read(1)
    return pixels


def test_a_grid_gives_one_pixel_per_cell(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, shape=(3, 4))
    write_outputs(made, ["cog"])
    expected = records(made)["p_damaged"].to_numpy(np.float32).reshape(3, 4)
    np.testing.assert_array_equal(read(made), expected)
    with rasterio.open(made.folder / "damage.tif") as file:
        assert file.transform[:6] == (64.0, 0.0, 270_000.0, 0.0, -64.0, 3_300_000.0)
        assert (file.crs.to_epsg(), file.dtypes, file.descriptions) == (
            32615,
            ("float32",),
            ("P(damaged)",),
        )
        assert np.isnan(file.nodata)
        assert file.overviews(1) == [2]
        assert file.tags()["sentence"] == made.card.sentence


@pytest.mark.parametrize("kind", ["cell", "building"])
def test_it_is_a_valid_cog(tmp_path: Path, kind: str) -> None:
    made = make_assessment(tmp_path, kind=kind, shape=(24, 24))
    write_outputs(made, ["cog"])
    valid, errors, _ = cog_validate(made.folder / "damage.tif", quiet=True)
    assert (valid, errors) == (True, [])
    with rasterio.open(made.folder / "damage.tif") as file:
        assert file.overviews(1)
        assert file.profile["compress"] == "deflate"


def test_cells_left_out_and_cells_not_judged_are_nodata(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, shape=(3, 4))
    (first, *_) = made.parts()
    first.drop(index=first.index[1]).to_parquet(made.part_paths()[0], index=False)
    write_outputs(made, ["cog"])
    pixels = read(made)
    assert np.isnan(pixels[0, 1])
    assert np.isnan(pixels[:, 3]).all()  # every fourth unit is not judged
    assert np.isfinite(pixels[0, 0])


@pytest.mark.parametrize("crs", ["EPSG:32615", "EPSG:4326"])
def test_buildings_are_burned_in_where_they_stand(tmp_path: Path, crs: str) -> None:
    made = make_assessment(tmp_path, kind="building", shape=(3, 4), crs=crs)
    write_outputs(made, ["cog"])
    truth = records(made)
    pixels = read(made)
    grid = map_grid(made)
    assert (grid.scale_x, grid.width, grid.height) == (4, 128, 96)
    for number, p in enumerate(truth["p_damaged"]):
        row, column = divmod(number, 4)
        here = pixels[row * 32 : (row + 1) * 32, column * 32 : (column + 1) * 32]
        inside = here[14:18, 14:18]
        if np.isnan(p):
            assert np.isnan(here).all()
        else:
            assert (inside == np.float32(p)).all()
            # 26 px wide, every touched pixel of 4 px
            assert 36 <= np.isfinite(here).sum() <= 64


def test_a_point_becomes_a_disc_15_m_across(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, kind="building", geometry="point", shape=(1, 1))
    write_outputs(made, ["cog"])
    burned = np.isfinite(read(made))
    pixel_m = PIXEL_M * map_grid(made).scale_x
    widths = burned.any(axis=0).sum() * pixel_m, burned.any(axis=1).sum() * pixel_m
    assert all(15 <= width <= 15 + 2 * pixel_m for width in widths)
    assert not burned[~burned.any(axis=1)].any()
    corner = np.argwhere(burned).min(axis=0)
    assert not burned[tuple(corner)]  # round, not square


def test_where_buildings_meet_the_larger_probability_wins(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, kind="building", shape=(1, 2), part_sizes=[1, 1])
    first, second = made.parts()
    second.geometry = first.geometry.values
    second.to_parquet(made.part_paths()[1], index=False)
    write_outputs(made, ["cog"])
    larger = max(first["p_damaged"].iloc[0], second["p_damaged"].iloc[0])
    pixels = read(made)
    assert (pixels[np.isfinite(pixels)] == np.float32(larger)).all()


def test_pixels_do_not_depend_on_how_the_work_was_cut(tmp_path: Path) -> None:
    for kind in ("cell", "building"):
        one = make_assessment(tmp_path / kind / "one", kind=kind, part_sizes=[12])
        many = make_assessment(tmp_path / kind / "many", kind=kind, part_sizes=[1, 5, 4, 2])
        for made in (one, many):
            write_outputs(made, ["cog"])
        np.testing.assert_array_equal(read(one), read(many))


def test_strips_give_the_same_pixels_as_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_assessment(tmp_path, kind="building", shape=(20, 4))
    write_outputs(made, ["cog"])
    whole = read(made)
    monkeypatch.setattr(raster_module, "STRIP_PX", 1)  # at least one block of rows
    assert map_grid(made).height > raster_module.BLOCK_PX
    write_outputs(made, ["cog"])
    np.testing.assert_array_equal(read(made), whole)


def test_the_map_of_a_huge_scene_stays_within_bounds(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, kind="building")
    huge = made.scene.model_copy(update={"width": 200_000, "height": 150_000})
    grid = map_grid(made.model_copy(update={"scene": huge}))
    assert max(grid.width, grid.height) <= raster_module.MAX_SIDE_PX
    assert grid.width * grid.scale_x >= 200_000


def test_a_scene_without_georeference_has_a_map_in_pixels(tmp_path: Path) -> None:
    made = make_assessment(tmp_path, scene_crs=None)
    write_outputs(made, ["cog"])
    with pytest.warns(NotGeoreferencedWarning):
        file = rasterio.open(made.folder / "damage.tif")
    with file:
        assert file.crs is None
        assert file.shape == (3, 4)


def test_qgis_finds_colours_beside_the_map(tmp_path: Path) -> None:
    made = make_assessment(tmp_path)
    write_outputs(made, ["cog"])
    qml = (made.folder / "damage.qml").read_text()
    assert 'type="singlebandpseudocolor"' in qml
    assert 'type="categorizedSymbol"' in qml  # the same file dresses damage.geojson


def test_an_error_of_gdal_itself_while_copying_is_one_sentence(tmp_path, monkeypatch):
    def full(*given, **options):
        raise CPLE_BaseError(1, 1, "TIFFWriteDirectoryTagData:IO error writing tag data")

    monkeypatch.setattr("damagenet.outputs.cog.copy_raster", full)
    assessment = make_assessment(tmp_path)
    with pytest.raises(OutputError, match=r"cannot write .*damage\.tif: .*IO error.*free space"):
        write_outputs(assessment, ["cog"])
    assert not (assessment.folder / "damage.tif").exists()
