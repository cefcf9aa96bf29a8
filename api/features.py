"""The units of finished jobs as features in degrees, kept in memory while they are asked for."""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from api.feature_query import Bbox, FeatureQuery, overlaps
from api.folders import JobFolder
from api.map_index import MapIndex, MapScene, Placing
from api.problems import not_found
from damagenet.outputs.geojson import feature_texts, lonlat_geometries

TABLE = "damage.parquet"
KEPT_JOBS = 8
KEPT_UNITS = 2_000_000
"""Units of all kept jobs together (about 400 bytes each), unless one job alone has more."""
AT_ONCE = 10_000
"""Rows that are written at a time where all are asked for."""

Indexes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Features:
    """All units of one job, in the order of its files.

    Attributes:
        table: Their columns, as in `damage.parquet` without the geometry.
        wkb: Their geometries in degrees, rounded and oriented as in `damage.geojson`; None where a
            unit has no place.
        bounds: (n, 4) west, south, east, north in degrees; NaN where there is no place.
    """

    table: pa.Table
    wkb: NDArray[Any]  # of bytes or None
    bounds: NDArray[np.float64]

    @property
    def ids(self) -> pa.ChunkedArray:
        """Ids of the units, which are the features' too."""
        return self.table["unit_id"]

    def find(self, query: FeatureQuery) -> Indexes:
        """Return the rows that a query asks for, in order."""
        wanted = np.ones(self.table.num_rows, bool)
        if query.labels is not None:
            wanted &= _true(pc.is_in(self.table["label"], pa.array(sorted(query.labels))))
        if query.min_p is not None:
            wanted &= _true(pc.greater_equal(self.table["p_damaged"], query.min_p))
        if query.taken is not None:
            told = pc.unique(self.table["acquired"]).to_pylist()
            fit = [text for text in told if overlaps(text or "", query.taken)]
            wanted &= _true(pc.is_in(self.table["acquired"], pa.array(fit, pa.string())))
        if query.bbox is not None:
            wanted &= self._within(query.bbox, wanted)
        return np.flatnonzero(wanted)

    def rows_of(self, unit_id: str) -> Indexes:
        """Return the row of a unit, alone; raise ServiceError 404 if there is none of this id."""
        row: int = pc.index(self.ids, unit_id).as_py()
        if row < 0:
            raise not_found("unit of this id")
        return np.array([row])

    def texts(self, rows: Indexes) -> Iterator[str]:
        """Yield rows as GeoJSON features."""
        table = self.table.take(pa.array(rows))
        return feature_texts(table, self.geometries(rows), table["unit_id"].to_pylist())

    def chunks(self) -> Iterator[Indexes]:
        """Yield all rows, some thousands at a time."""
        for start in range(0, self.table.num_rows, AT_ONCE):
            yield np.arange(start, min(start + AT_ONCE, self.table.num_rows))

    def geometries(self, rows: Indexes) -> NDArray[np.object_]:
        """Return the geometries of rows; None where there is none."""
        found: NDArray[np.object_] = shapely.from_wkb(self.wkb[rows])
        return found

    def _within(self, bbox: Bbox, candidates: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which candidates touch a box: by their bounds, and on its edge by their shape."""
        west, south, east, north = bbox
        if west > east:
            halves = ((west, south, 180.0, north), (-180.0, south, east, north))
            return self._within(halves[0], candidates) | self._within(halves[1], candidates)
        left, low, right, high = self.bounds.T
        touching = candidates & (left <= east) & (right >= west) & (low <= north) & (high >= south)
        inside = (left >= west) & (right <= east) & (low >= south) & (high <= north)
        unsure = np.flatnonzero(touching & ~inside)
        touching[unsure] = shapely.intersects(self.geometries(unsure), shapely.box(*bbox))
        found: NDArray[np.bool_] = touching
        return found


def load_features(folder: JobFolder, index: MapIndex) -> Features:
    """Read the units of a finished job.

    Those of scenes without georeference lie where their pictures are placed.

    Raises:
        ServiceError: 404 if the job was deleted meanwhile.
    """
    whole = folder.results / TABLE
    if whole.exists():
        return _read(whole, index.scenes[0].placing)
    # Scenes without georeference share no table.
    return _joined(
        [_named(_read(folder.results / one.stem / TABLE, one.placing), one) for one in index.scenes]
    )


def _read(path: Path, placing: Placing | None) -> Features:
    if not path.is_file():
        raise not_found("table of this assessment any more")
    with pq.ParquetFile(path) as file:
        table = file.read()
        told = json.loads(file.metadata.metadata[b"geo"])["columns"]["geometry"]["crs"]
    own = shapely.from_wkb(table["geometry"].to_numpy())
    table = table.drop_columns(["geometry"]).replace_schema_metadata(None)
    if told is None and placing is not None:
        placed = lonlat_geometries(_moved(own, placing), _to_lonlat(CRS.from_epsg(3857)))
        table = _with_centres(table, placed)
    else:
        placed = lonlat_geometries(own, _to_lonlat(CRS.from_json_dict(told)))
    return Features(table=table, wkb=shapely.to_wkb(placed), bounds=shapely.bounds(placed))


def _to_lonlat(crs: CRS) -> Transformer:
    return Transformer.from_crs(crs, 4326, always_xy=True)


def _moved(own: NDArray[np.object_], placing: Placing) -> NDArray[np.object_]:
    scale = np.array([placing.x_scale, placing.y_scale])
    start = np.array([placing.x_start, placing.y_start])
    moved: NDArray[np.object_] = shapely.transform(own, lambda xy: xy * scale + start)
    return moved


def _with_centres(table: pa.Table, placed: NDArray[np.object_]) -> pa.Table:
    """Return the records with the places that were made up for them."""
    centres = shapely.centroid(placed)
    for name, values in (("lon", shapely.get_x(centres)), ("lat", shapely.get_y(centres))):
        number = table.schema.get_field_index(name)
        table = table.set_column(number, name, pa.array(values, from_pandas=True))
    return table


def _named(features: Features, scene: MapScene) -> Features:
    ids = pc.binary_join_element_wise(scene.stem, features.ids, "/")
    number = features.table.schema.get_field_index("unit_id")
    table = features.table.set_column(number, "unit_id", ids)
    return Features(table=table, wkb=features.wkb, bounds=features.bounds)


def _joined(parts: Sequence[Features]) -> Features:
    return Features(
        table=pa.concat_tables([part.table for part in parts], promote_options="default"),
        wkb=np.concatenate([part.wkb for part in parts]),
        bounds=np.concatenate([part.bounds for part in parts]),
    )


def _true(values: pa.ChunkedArray) -> NDArray[np.bool_]:
    truth: NDArray[np.bool_] = pc.fill_null(values, False).to_numpy().astype(bool)
    return truth


@dataclass(kw_only=True)
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    features: Features | None = None

    @property
    def units(self) -> int:
        return 0 if self.features is None else self.features.table.num_rows


class FeatureCache:
    """The features of the jobs that were asked for last; for many threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[Path, int], _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, folder: JobFolder, index: MapIndex, version: int) -> Features:
        """Return the features of a finished job; each job is read by one thread only.

        Args:
            folder: Of the job.
            index: Its scenes.
            version: Differs for every making of its map.
        """
        key = (folder.root, version)
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
        with kept.lock:
            if kept.features is None:
                kept.features = load_features(folder, index)
        self._shrink()
        return kept.features

    def _shrink(self) -> None:
        with self._lock:
            units = sum(kept.units for kept in self._kept.values())
            while len(self._kept) > 1 and (len(self._kept) > KEPT_JOBS or units > KEPT_UNITS):
                units -= self._kept.popitem(last=False)[1].units
