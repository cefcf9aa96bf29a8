"""Small real assessments on disk, for every test that needs one: a scene, parts, and a card."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from affine import Affine
from pyproj import CRS, Transformer
from rasterio.errors import NotGeoreferencedWarning

from damagenet.assessment import Assessment, Counts, GridInfo, SceneInfo, part_path
from damagenet.card import Calibration, Card, ChipGround, Score, TrainingTiles
from damagenet.labels import Kind
from damagenet.options import AssessOptions
from damagenet.recipe import ModelSettings, Recipe
from damagenet.records import RECORD_FIELDS

UTM = "EPSG:32615"
PIXEL_M = 0.5
CELL_PX = 128
LABELS = ("damaged", "undamaged", "uncertain", "not-judged")


def make_card(*, false_alarm_rate: float | None = 0.65, non_commercial: bool = False) -> Card:
    """Return a card; above 0.30, or with None (not measured), it says `Ranking only`."""
    scores = () if false_alarm_rate is None else _scores(false_alarm_rate)
    return Card(
        format_version=1,
        name="toy",
        created="2026-01-02T03:04:05Z",
        model=ModelSettings(),
        inputs=("post",),
        classes=("undamaged", "damaged"),
        pixel_mean=(100.0, 100.0, 90.0),
        pixel_std=(50.0, 48.0, 47.0),
        chip=ChipGround(),
        calibration=Calibration(temperature=1.3, fitted_on="validation"),
        threshold=0.5,
        uncertain_band=(0.4, 0.6),
        class_prior=0.5,
        training_tiles=TrainingTiles(
            count=10,
            split="deduplicated",
            manifest_sha256="0" * 64,
            licence="CC BY-NC-SA 4.0" if non_commercial else "CC BY 4.0",
            non_commercial=non_commercial,
        ),
        scores=scores,
        licence="CC BY-NC-SA 4.0" if non_commercial else "Apache-2.0",
        command="damagenet train -c toy.yaml",
        recipe=Recipe(),
        versions={"damagenet": "0.1.0", "torch": "2.9.1"},
        weights_sha256="abcdef123456" + "0" * 52,
    )


def _scores(false_alarm_rate: float) -> tuple[Score, ...]:
    def score(metric: str, value: float) -> Score:
        low, high = max(value - 0.05, 0), min(value + 0.05, 1)
        return Score(
            protocol="post-event", fold="all", metric=metric, value=value, low=low, high=high, n=792
        )

    return (score("false_alarm_rate", false_alarm_rate), score("recall", 0.8))


def make_scene_file(
    path: Path, *, width: int, height: int, crs: str | None = UTM, seed: int = 0
) -> Affine:
    """Write a tiled RGB GeoTIFF of blocky ground near Houston and return its transform."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 180, size=(3, -(-height // 16), -(-width // 16)), dtype=np.uint8)
    pixels = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    transform = Affine(PIXEL_M, 0, 270_000, 0, -PIXEL_M, 3_300_000) if crs else Affine.identity()
    profile = {
        "driver": "GTiff",
        "width": width,
        "height": height,
        "count": 3,
        "dtype": "uint8",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "photometric": "RGB",
    }
    georeference = {"crs": crs, "transform": transform} if crs else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile, **georeference) as scene:
            scene.write(pixels)
    return transform


def make_assessment(
    folder: Path,
    *,
    kind: Literal["cell", "building"] = "cell",
    shape: tuple[int, int] = (3, 4),
    geometry: Literal["point", "polygon"] = "polygon",
    crs: str | None = UTM,
    scene_crs: str | None = UTM,
    part_sizes: Sequence[int] | None = None,
    attributes: pd.DataFrame | None = None,
    card: Card | None = None,
    noted: tuple[str, ...] = (),
    seed: int = 0,
) -> Assessment:
    """Make a scene and its assessment on disk and return the assessment.

    Args:
        folder: Takes `scene.tif` and `scene/parts/`.
        kind: Grid cells, or buildings (one in the middle of each cell).
        shape: Rows and columns of 128 px (64 m) cells; the scene has that size.
        geometry: Of buildings; cells are polygons.
        crs: CRS of buildings; cells have the scene's.
        part_sizes: Units per part; without it one row of cells each.
        attributes: The caller's columns, one row per unit.
    """
    rows, columns = shape
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scene.tif"
    transform = make_scene_file(
        path, width=columns * CELL_PX, height=rows * CELL_PX, crs=scene_crs, seed=seed
    )
    crs = scene_crs if kind == "cell" else crs
    card = card or make_card()
    units = _units(
        kind, shape, geometry, transform, scene_crs=scene_crs, crs=crs, card=card, seed=seed
    )
    given = attributes if attributes is not None else pd.DataFrame(index=range(len(units)))
    units = units.join(given)[["row", *RECORD_FIELDS, *given.columns, "geometry"]]
    out = folder / "scene"
    sizes = part_sizes or [columns] * rows
    _write_parts(units, out, sizes)
    return Assessment(
        stem="scene",
        folder=out,
        scene=SceneInfo(
            path=path,
            sha256="f" * 64,
            width=columns * CELL_PX,
            height=rows * CELL_PX,
            transform=tuple(transform)[:6],
            crs=CRS(scene_crs).to_wkt() if scene_crs else None,
            pixel_m=(PIXEL_M, PIXEL_M),
            acquired="2017-08-31",
            bands=(1, 2, 3),
        ),
        kind=Kind(kind),
        geometry="polygon" if kind == "cell" else geometry,
        crs=CRS(crs).to_wkt() if crs else None,
        grid=GridInfo(rows=rows, columns=columns, cell_width_px=CELL_PX, cell_height_px=CELL_PX)
        if kind == "cell"
        else None,
        attributes=tuple(given.columns),
        card=card,
        options=AssessOptions(pixel_size=None if scene_crs else PIXEL_M),
        counts=_counts(units),
        key="k" * 64,
        parts_written=len(sizes),
        seconds=1.5,
        created="2026-01-02T03:04:05Z",
        warnings=noted,
    )


def _units(
    kind: str,
    shape: tuple[int, int],
    geometry: str,
    transform: Affine,
    *,
    scene_crs: str | None,
    crs: str | None,
    card: Card,
    seed: int,
) -> gpd.GeoDataFrame:
    rows, columns = shape
    count = rows * columns
    rng = np.random.default_rng(seed)
    row, column = np.divmod(np.arange(count), columns)
    shapes = _shapes(kind, geometry, row, column, transform)
    frame = gpd.GeoDataFrame(geometry=shapes, crs=scene_crs)
    lon, lat = _lonlat((column + 0.5) * CELL_PX, (row + 0.5) * CELL_PX, transform, scene_crs)
    if crs and scene_crs and crs != scene_crs:
        frame = frame.to_crs(crs)
    label = np.array([LABELS[number % 4] for number in range(count)], dtype=object)
    p = np.select(
        [label == "damaged", label == "undamaged"],
        [0.6 + 0.4 * rng.random(count), 0.4 * rng.random(count)],
        0.4 + 0.2 * rng.random(count),
    )
    p[label == "not-judged"] = np.nan
    return frame.assign(
        row=np.arange(count),
        unit_id=[f"u{number}" for number in range(count)],
        kind=kind,
        label=label,
        reason=np.where(label == "not-judged", "no-imagery", ""),
        p_damaged=p,
        p_min=p,
        chips=np.where(label == "not-judged", 0, 1),
        lon=lon,
        lat=lat,
        valid_fraction=np.where(label == "not-judged", 0.1, 1.0),
        ground_m=card.chip.height_m,
        scene="scene.tif",
        acquired="2017-08-31",
        model=f"{card.name} {card.weights_sha256[:12]}",
    )


def _shapes(
    kind: str, geometry: str, row: np.ndarray, column: np.ndarray, transform: Affine
) -> np.ndarray:
    if kind == "cell":
        low, high = 0.0, 1.0
    else:
        low, high = 0.4, 0.6  # a house of about 13 m
    if geometry == "point" and kind == "building":
        flat = shapely.points((column + 0.5) * CELL_PX, (row + 0.5) * CELL_PX)
    else:
        flat = shapely.box(
            (column + low) * CELL_PX,
            (row + low) * CELL_PX,
            (column + high) * CELL_PX,
            (row + high) * CELL_PX,
        )
    return shapely.transform(flat, lambda xy: np.stack(_ground(transform, *xy.T), axis=1))


def _ground(transform: Affine, cols: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return transform.a * cols + transform.c, transform.e * rows + transform.f


def _lonlat(
    cols: np.ndarray, rows: np.ndarray, transform: Affine, crs: str | None
) -> tuple[np.ndarray, np.ndarray]:
    if crs is None:
        return np.full(len(cols), np.nan), np.full(len(cols), np.nan)
    x, y = _ground(transform, cols, rows)
    return Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)


def _write_parts(units: gpd.GeoDataFrame, folder: Path, sizes: Sequence[int]) -> None:
    part_path(folder, 0).parent.mkdir(parents=True, exist_ok=True)
    stops = np.cumsum(sizes)
    if stops[-1] != len(units):
        raise ValueError(f"part_sizes must add up to {len(units)}, got {stops[-1]}")
    for number, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
        units.iloc[start:stop].to_parquet(part_path(folder, number), index=False)


def _counts(units: gpd.GeoDataFrame) -> Counts:
    labels = units["label"].value_counts()
    missing = units.loc[units["label"] == "not-judged", "reason"].value_counts()
    return Counts(
        units=len(units),
        damaged=int(labels.get("damaged", 0)),
        undamaged=int(labels.get("undamaged", 0)),
        uncertain=int(labels.get("uncertain", 0)),
        not_judged={str(reason): int(count) for reason, count in missing.items()},
        chips=int(units["chips"].sum()),
    )
