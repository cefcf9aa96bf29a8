"""Tiles of one class put back together as a scene, on the pixel grid they were cut from."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
from rasterio.enums import Resampling
from rasterio.errors import RasterioError

from damagenet.errors import ConfigError, DataError, OutputError
from damagenet.recipe import Bounds
from data_prep.harvey import HarveyTiles
from data_prep.mosaic_canvas import BLOCK_PX, Frame, Overlap, paint
from data_prep.tile import CLASS_FOLDERS, PIXEL_DEGREES, TILE_PX

MAX_SIDE_PX = 65_536
"""Longest side of a mosaic: about 30 km."""
DISAGREEMENT_LEVELS = 8.0
"""Mean difference of overlapping tiles, of 255 levels, above which they are not one picture."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicReport:
    """What was laid out.

    Args:
        scene: The GeoTIFF.
        buildings: The GeoJSON with the centre of every tile that lies inside the box.
        width_px: Columns; likewise `height_px`.
        tiles: Tiles that reach into the box.
        buildings_count: Buildings in the GeoJSON.
        filled_fraction: Share of the pixels that a tile covers.
        overlap_pixels: Pixels that were painted more than once, counted each time.
        overlap_difference: Mean absolute difference there, of 255 levels; 0 without overlap.
    """

    scene: Path
    buildings: Path
    width_px: int
    height_px: int
    tiles: int
    buildings_count: int
    filled_fraction: float
    overlap_pixels: int
    overlap_difference: float


def lay_out(
    tiles: HarveyTiles,
    dest: Path,
    *,
    bbox: Bounds,
    label: str,
    acquisition: str | None = None,
    overwrite: bool = False,
) -> MosaicReport:
    """Write the tiles of one class inside a box as a GeoTIFF, with their buildings as GeoJSON.

    Args:
        tiles: A prepared data set.
        dest: The GeoTIFF to write (EPSG:4326, internal mask, overviews); the buildings go to
            `<stem>_buildings.geojson` beside it.
        bbox: West, south, east, north in degrees.
        label: `damage` (after the storm) or `no_damage` (mostly before it).
        acquisition: Take only tiles of this satellite pass; without one, of any.
        overwrite: Replace files that are there.

    Raises:
        ConfigError: If the label is unknown or the box is turned around or too large.
        DataError: If no tile lies in the box.
        OutputError: If a file is there already, or cannot be written.
    """
    frame = _check_frame(bbox)
    buildings = dest.with_name(f"{dest.stem}_buildings.geojson")
    taken = [path for path in (dest, buildings) if path.exists()]
    if taken and not overwrite:
        raise OutputError(f"{taken[0]} is there already: pass --overwrite or choose another name")
    chosen = _tiles_in(tiles.manifest, frame, label, acquisition)
    if chosen.empty:
        raise DataError(f"no {label} tile lies in {bbox}: move or widen the box")
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        filled, overlap = _write_scene(dest, frame, tiles, chosen, label)
        count = _write_buildings(buildings, chosen, bbox)
    except (OSError, RasterioError) as err:
        raise OutputError(f"cannot write {dest}: {err}") from err
    if overlap.mean > DISAGREEMENT_LEVELS:
        logger.warning(
            "overlapping tiles differ by %.1f of 255 levels: the box mixes satellite passes; "
            "pass --acquisition to take one of them",
            overlap.mean,
        )
    return MosaicReport(
        scene=dest,
        buildings=buildings,
        width_px=frame.width,
        height_px=frame.height,
        tiles=len(chosen),
        buildings_count=count,
        filled_fraction=filled / (frame.width * frame.height),
        overlap_pixels=overlap.pixels,
        overlap_difference=overlap.mean,
    )


def _check_frame(bbox: Bounds) -> Frame:
    west, south, east, north = bbox
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):
        raise ConfigError(f"the box takes west, south, east, north in degrees, got {bbox}")
    frame = Frame.around(bbox)
    if max(frame.width, frame.height) > MAX_SIDE_PX:
        raise ConfigError(
            f"the box is {frame.width} x {frame.height} pixels, at most {MAX_SIDE_PX} a side "
            f"(about {MAX_SIDE_PX * PIXEL_DEGREES:.2f} degrees): take a smaller one"
        )
    return frame


def _tiles_in(
    manifest: pd.DataFrame, frame: Frame, label: str, acquisition: str | None
) -> pd.DataFrame:
    if label not in CLASS_FOLDERS:
        raise ConfigError(f"unknown label {label!r}; choose one of: {', '.join(CLASS_FOLDERS)}")
    column, row = manifest["column"] - frame.column, manifest["row_px"] - frame.row
    inside = (
        (manifest["label"] == CLASS_FOLDERS.index(label))
        & (manifest["duplicate_of"] == "")
        & (column > -TILE_PX) & (column < frame.width)
        & (row > -TILE_PX) & (row < frame.height)
    )  # fmt: skip
    if acquisition is not None:
        inside &= manifest["acquisition"] == acquisition
    chosen = manifest[inside]
    # `tile` is the place of the pixels; left and top are in pixels of the mosaic.
    return chosen.assign(tile=chosen.index, left=column[inside], top=row[inside])


def _write_scene(
    dest: Path, frame: Frame, tiles: HarveyTiles, chosen: pd.DataFrame, label: str
) -> tuple[int, Overlap]:
    """Write the GeoTIFF block by block; return the filled pixels and how overlaps agree."""
    filled, overlap = 0, Overlap()
    with _whole_file(dest) as part:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(part, "w", **_profile(frame)) as scene,
        ):
            scene.update_tags(SOURCE=f"Cao & Choe Harvey tiles, class {label}, not resampled")
            for window in frame.blocks():
                pixels, valid = paint(window, tiles, chosen, overlap)
                filled += int(valid.sum())
                if valid.any():
                    scene.write(pixels.transpose(2, 0, 1), window=window)
                    scene.write_mask(valid, window=window)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(part, "r+") as scene:
            scene.build_overviews(_overview_factors(frame), Resampling.average)
    return filled, overlap


def _profile(frame: Frame) -> dict[str, object]:
    return {
        "driver": "GTiff",
        "width": frame.width,
        "height": frame.height,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:4326",
        "transform": frame.transform,
        "photometric": "RGB",
        "compress": "deflate",
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "sparse_ok": True,
        "bigtiff": "IF_SAFER",
    }


def _overview_factors(frame: Frame) -> list[int]:
    """Return 2, 4, 8 ... down to an overview that fits one block."""
    longest = max(frame.width, frame.height)
    count = max(1, int(np.ceil(np.log2(longest / BLOCK_PX)))) if longest > 1 else 1
    return [2**level for level in range(1, count + 1)]


def _write_buildings(path: Path, chosen: pd.DataFrame, bbox: Bounds) -> int:
    west, south, east, north = bbox
    inside = chosen[chosen["lon"].between(west, east) & chosen["lat"].between(south, north)]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [row["lon"], row["lat"]]},
            "properties": {
                "id": Path(row["path"]).stem,
                "class_dir": CLASS_FOLDERS[row["label"]],
                "region": row["region"],
                "acquisition": row["acquisition"],
                "tile": row["path"],
            },
        }
        for row in inside.to_dict("records")
    ]
    with _whole_file(path) as part:
        collection = {"type": "FeatureCollection", "features": features}
        part.write_text(json.dumps(collection) + "\n", encoding="utf-8")
    return len(features)


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """Give a name to write to that becomes `path` when all went well, and vanishes otherwise."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
