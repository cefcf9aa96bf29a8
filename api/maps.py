"""Pictures for the map: of every scene of a job one COG that map tiles and chips are cut from."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import rasterio
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import DatasetWriter
from rasterio.shutil import copy as copy_raster
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate

from api.folders import JobFolder
from api.map_index import INDEX_FILE, MapIndex, MapScene, Placing
from api.maptiles import MERCATOR, deepest_zoom
from damagenet.assessment import Assessment
from damagenet.engine.before import scene_options
from damagenet.engine.parts import read_assessment
from damagenet.engine.run_record import read_record
from damagenet.errors import OutputError
from damagenet.outputs.atomic import appears, unwritable
from data_prep.chips import Box
from data_prep.opening import GDAL_ERRORS
from data_prep.pairing import Pictures, crs_offset, open_pre
from data_prep.scene import Scene

BLOCK_PX = 512
BLOCKS_AT_ONCE = 16
"""Blocks of a picture that are read and written together (16 MB of pixels)."""
QUALITY = 90
"""Of JPEG: at 85 the roofs of xBD scenes show blocks when enlarged."""
CACHE_BYTES = 2**26
GAP_M = 50.0
"""Between scenes whose places are made up."""


def make_map_images(folder: JobFolder) -> None:
    """Make the COGs of a finished run and, last, `maps.json`, which says what there is.

    Pictures are 8-bit RGB with a mask, as the chips saw them: same bands, same scaling of deep
    pixels, north-up. One that is such a COG already is linked. The picture before the storm is cut
    to the scene and laid where its measured shift says. What has no georeference is placed near
    0/0, one metre a unit, and marked so. Files that are there already are kept, so that a killed
    job goes on here. Needs room for the uncompressed pixels of one picture at a time.

    Raises:
        OutputError: If a file cannot be written, or the run is not there.
        SceneError: If a scene cannot be read any more.
    """
    scenes, east = [], 0.0
    for assessment in _assessments(folder):
        with _opened(assessment) as pictures:
            placing = None
            if pictures.scene.crs is None:
                placing = _placing(pictures.scene, east)
                east += pictures.scene.width * pictures.scene.pixel_m[0] + GAP_M
            scenes.append(_map_scene(folder, assessment, pictures, placing))
    with appears(folder.maps / INDEX_FILE) as path:
        index = MapIndex(scenes=tuple(scenes), units=_units_bounds(folder))
        path.write_text(index.model_dump_json(indent=2), encoding="utf-8")


def _units_bounds(folder: JobFolder) -> tuple[float, float, float, float] | None:
    """Return the box around all units in degrees, where the run's table tells it."""
    table = folder.results / "damage.parquet"
    if not table.exists():
        return None
    told = json.loads(pq.read_metadata(table).metadata[b"geo"])["columns"]["geometry"]
    if told["crs"] is None or "bbox" not in told:
        return None
    to_lonlat = Transformer.from_crs(CRS.from_json_dict(told["crs"]), 4326, always_xy=True)
    west, south, east, north = to_lonlat.transform_bounds(*told["bbox"])
    return (-180.0, south, 180.0, north) if west > east else (west, south, east, north)


def _assessments(folder: JobFolder) -> Iterator[Assessment]:
    for stem in read_record(folder.results).folders().values():
        assessment = read_assessment(folder.results / stem)
        if assessment is not None:
            yield assessment


@contextmanager
def _opened(assessment: Assessment) -> Iterator[Pictures]:
    """Yield the pictures as they were assessed."""
    opening, pre = scene_options(assessment.options, assessment.card), assessment.pre
    with Scene.open(assessment.scene.path, opening) as scene:
        if pre is None:
            yield Pictures(scene=scene)
            return
        with open_pre(pre.path, scene, opening, shift=pre.shift) as before:
            yield Pictures(scene=scene, pre=before, shift=pre.shift)


def _placing(scene: Scene, east: float) -> Placing:
    """Return what puts a picture without georeference at 0 degrees north, `east` metres east."""
    grid, (across, down) = scene.transform, scene.pixel_m
    return Placing(
        x_scale=across / grid.a,
        x_start=east - grid.c * across / grid.a,
        y_scale=-down / grid.e,
        y_start=grid.f * down / grid.e,
    )


def _map_scene(
    folder: JobFolder, assessment: Assessment, pictures: Pictures, placing: Placing | None
) -> MapScene:
    scene, before = pictures.scene, pictures.pre
    found = MapScene(
        stem=assessment.stem,
        name=scene.path.name,
        bounds=_bounds(scene, placing),
        maxzoom=0,
        placing=placing,
        pre=before is not None,
    )
    imagery = found.file(folder, "imagery")
    if not imagery.exists() and not _linked(scene, imagery):
        whole = Box(0, 0, scene.width, scene.height)
        _write_picture(imagery, scene, whole, (0.0, 0.0), placing)
    if before is not None and not found.file(folder, "pre").exists():
        offset = crs_offset(pictures.shift, scene)
        shown = _shown(before, scene, offset)
        _write_picture(found.file(folder, "pre"), before, shown, offset, placing)
    if placing is not None and not found.file(folder, "damage").exists():
        _place_damage(
            folder.results / found.stem / "damage.tif", found.file(folder, "damage"), placing
        )
    west, _, east, _ = found.bounds
    zoom = deepest_zoom((east - west) % 360 / scene.width)
    return found.model_copy(update={"maxzoom": zoom})


def _bounds(scene: Scene, placing: Placing | None) -> tuple[float, float, float, float]:
    west, south, east, north = scene.bounds
    if placing is None:
        bounds = transform_bounds(scene.crs, "EPSG:4326", west, south, east, north)
    else:
        xs = (placing.x_scale * x + placing.x_start for x in (west, east))
        ys = (placing.y_scale * y + placing.y_start for y in (south, north))
        (west, east), (south, north) = xs, ys
        bounds = transform_bounds(MERCATOR, "EPSG:4326", west, south, east, north)
    return tuple(bounds)


def _linked(scene: Scene, path: Path) -> bool:
    """Link a scene whose file can be shown as it is; say whether that was done."""
    if scene.crs is None:
        return False
    with rasterio.open(scene.path) as file:
        fit = (
            file.driver == "GTiff"
            and file.dtypes == ("uint8",) * 3
            and tuple(scene.bands) == (1, 2, 3)
            # A nodata value may be a colour too, which only our own reading tells apart.
            and file.nodata is None
            and file.transform == scene.transform
            and max(file.block_shapes[0]) <= BLOCK_PX
        )
    if not fit or not cog_validate(scene.path, strict=True, quiet=True)[0]:
        return False
    try:
        with appears(path) as temporary:
            temporary.hardlink_to(scene.path)
    except OutputError:
        return False  # not every file system can; then the pixels are written anew
    return True


def _shown(before: Scene, scene: Scene, offset: tuple[float, float]) -> Box:
    """Return the pixels of the earlier picture that show the scene's ground."""
    west, south, east, north = scene.bounds
    grid = before.transform
    columns = ((x + offset[0] - grid.c) / grid.a for x in (west, east))
    rows = ((y + offset[1] - grid.f) / grid.e for y in (north, south))
    (left, right), (top, bottom) = columns, rows
    around = Box(int(np.floor(left)), int(np.floor(top)), int(np.ceil(right)), int(np.ceil(bottom)))
    return around.intersection(Box(0, 0, before.width, before.height))


def _write_picture(
    path: Path, scene: Scene, shown: Box, offset: tuple[float, float], placing: Placing | None
) -> None:
    grid = scene.transform
    corner = Affine(
        grid.a,
        0,
        grid.c + shown.left * grid.a - offset[0],
        0,
        grid.e,
        grid.f + shown.top * grid.e - offset[1],
    )
    profile = {
        "width": shown.right - shown.left,
        "height": shown.bottom - shown.top,
        "count": 3,
        "dtype": "uint8",
        "photometric": "RGB",
        "crs": scene.crs if placing is None else MERCATOR,
        "transform": corner if placing is None else _placed(corner, placing),
    }
    with _cog(path, profile, compress="JPEG", quality=QUALITY) as target:
        for windows in _groups(shown):
            chips = scene.read_chips(windows, size_px=BLOCK_PX)
            for window, pixels, valid in zip(windows, chips.images[0], chips.valid, strict=True):
                _write_block(target, window, shown, pixels, valid)


def _write_block(
    target: DatasetWriter, window: Window, shown: Box, pixels: np.ndarray, valid: np.ndarray
) -> None:
    left, top = int(window.col_off) - shown.left, int(window.row_off) - shown.top
    width, height = min(BLOCK_PX, target.width - left), min(BLOCK_PX, target.height - top)
    place = Window(left, top, width, height)
    target.write(pixels[:, :height, :width], window=place)
    target.write_mask(valid[:height, :width], window=place)


def _groups(shown: Box) -> Iterator[list[Window]]:
    """Yield blocks of a picture, row by row, a few at a time."""
    for top in range(shown.top, shown.bottom, BLOCK_PX):
        row = [
            Window(left, top, BLOCK_PX, BLOCK_PX)
            for left in range(shown.left, shown.right, BLOCK_PX)
        ]
        for start in range(0, len(row), BLOCKS_AT_ONCE):
            yield row[start : start + BLOCKS_AT_ONCE]


def _place_damage(source: Path, path: Path, placing: Placing) -> None:
    """Write P(damaged) of a scene without georeference where its picture is placed."""
    with rasterio.open(source) as file:
        profile = {
            "width": file.width,
            "height": file.height,
            "count": 1,
            "dtype": "float32",
            "nodata": float("nan"),
            "crs": MERCATOR,
            "transform": _placed(file.transform, placing),
        }
        with _cog(path, profile, compress="DEFLATE", predictor="YES") as target:
            for _, window in file.block_windows(1):
                target.write(file.read(1, window=window), 1, window=window)


def _placed(grid: Affine, placing: Placing) -> Affine:
    return Affine(
        grid.a * placing.x_scale,
        0,
        grid.c * placing.x_scale + placing.x_start,
        0,
        grid.e * placing.y_scale,
        grid.f * placing.y_scale + placing.y_start,
    )


@contextmanager
def _cog(path: Path, profile: dict[str, object], **compression: object) -> Iterator[DatasetWriter]:
    """Yield a tiled file to fill; at the end a COG with overviews appears in its place."""
    settings = {"GDAL_CACHEMAX": CACHE_BYTES, "GDAL_TIFF_INTERNAL_MASK": True}
    tiles = {"tiled": True, "blockxsize": BLOCK_PX, "blockysize": BLOCK_PX}
    with appears(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        plain = temporary.with_name("plain.tif")
        try:
            with rasterio.Env(**settings):
                with rasterio.open(
                    plain,
                    "w",
                    driver="GTiff",
                    sparse_ok=True,
                    bigtiff="IF_SAFER",
                    **tiles,
                    **profile,
                ) as target:
                    yield target
                copy_raster(
                    plain,
                    temporary,
                    driver="COG",
                    blocksize=BLOCK_PX,
                    overview_resampling="AVERAGE",
                    **compression,
                )
        except GDAL_ERRORS as err:
            raise unwritable(path, err) from err
