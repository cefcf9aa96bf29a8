"""Pictures for the map: of every scene of a job one COG that map tiles and chips are cut from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, floor
from pathlib import Path

import pyarrow.parquet as pq
import rasterio
from pyproj import CRS, Transformer
from rasterio.warp import transform_bounds
from rio_cogeo.cogeo import cog_validate

from api.cogs import BLOCK_PX, place_damage, write_picture
from api.folders import JobFolder
from api.map_index import INDEX_FILE, MapIndex, MapScene, Placing
from api.maptiles import MERCATOR, deepest_zoom
from damagenet.assessment import Assessment
from damagenet.engine.before import scene_options
from damagenet.engine.parts import read_assessment
from damagenet.engine.run_record import read_record
from damagenet.errors import OutputError
from damagenet.outputs.atomic import appears
from data_prep.pairing import Pictures, crs_offset, open_pre
from data_prep.reads import Box
from data_prep.scene import Scene

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
        write_picture(imagery, scene, whole, (0.0, 0.0), placing)
    if before is not None and not found.file(folder, "pre").exists():
        offset = crs_offset(pictures.shift, scene)
        shown = _shown(before, scene, offset)
        write_picture(found.file(folder, "pre"), before, shown, offset, placing)
    if placing is not None and not found.file(folder, "damage").exists():
        place_damage(
            folder.results / found.stem / "damage.tif", found.file(folder, "damage"), placing
        )
    zoom = deepest_zoom(found.degrees_wide / scene.width)
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
    # A rounding error is no reason for one pixel more.
    left, top, right, bottom = (round(side, 4) for side in (left, top, right, bottom))
    around = Box(floor(left), floor(top), ceil(right), ceil(bottom))
    return around.intersection(Box(0, 0, before.width, before.height))
