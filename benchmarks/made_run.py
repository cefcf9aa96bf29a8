"""A run of many made buildings: real parts of real records, without a network's time."""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely

from damagenet.assessment import ASSESSMENT_FILE, ROW_COLUMN, Assessment
from damagenet.engine.batch import assess_scenes
from damagenet.engine.parts import part_bytes, read_assessment, write_part
from damagenet.engine.work import MAX_WINDOWS
from damagenet.options import AssessOptions
from data_prep.footprints import Buildings, read_buildings
from data_prep.synthetic import make_scene

SCENE_ROWS = 10_000
BUILDINGS_FILE = "buildings.parquet"
PX = 1024
HOUSE_M = 12.0


@dataclass(frozen=True, kw_only=True)
class MadeRun:
    """Finished assessments and the buildings that they are about."""

    assessments: list[Assessment]
    buildings: Buildings

    @classmethod
    def read(cls, folder: Path) -> "MadeRun":
        """Return the run that was made in a folder."""
        found = map(read_assessment, sorted(folder.glob("many-*")))
        path = folder / BUILDINGS_FILE
        buildings = Buildings(frame=gpd.read_parquet(path), path=path, geometry="polygon")
        return cls(assessments=[one for one in found if one is not None], buildings=buildings)

    def part_paths(self) -> list[Path]:
        """Return the parts of all scenes."""
        return [path for one in self.assessments for path in one.part_paths()]


def assessed_once(folder: Path) -> Assessment:
    """Return the assessment of a made scene with its houses, in a folder beside the many."""
    made = make_scene(folder / "made.tif", size_px=PX)
    options = AssessOptions(
        model="harvey", device="cpu", buildings=made.buildings, format=("parquet",)
    )
    (first,) = assess_scenes([made.scene], folder, options).assessments
    return first


def write_many(folder: Path, rows: int, first: Assessment, *, scene_rows: int = SCENE_ROWS) -> None:
    """Write the records of one assessment again and again, as those of other buildings.

    Args:
        folder: Where the scenes' folders and the buildings' file appear.
        rows: Buildings altogether.
        first: From `assessed_once`.
        scene_rows: Buildings of one scene.
    """
    (records,) = first.parts()
    buildings = _spread(read_buildings(first.options.buildings), records, rows)
    buildings.frame.to_parquet(folder / BUILDINGS_FILE)
    for number, start in enumerate(range(0, rows, scene_rows)):
        own = buildings.frame.iloc[start : start + scene_rows]
        _write_scene(first, folder / f"many-{number:04d}", records, own)


def _spread(few: Buildings, records: gpd.GeoDataFrame, rows: int) -> Buildings:
    """Return many houses, each somewhere on the scene, with the columns of the few."""
    repeated = few.frame.iloc[np.arange(rows) % len(few.frame)].reset_index(drop=True)
    west, south, east, north = records.total_bounds
    rng = np.random.default_rng(0)
    degree = HOUSE_M / 111_320 if few.frame.crs.is_geographic else HOUSE_M
    x, y = rng.uniform(west, east - degree, rows), rng.uniform(south, north - degree, rows)
    frame = repeated.set_geometry(shapely.box(x, y, x + degree, y + degree), crs=few.frame.crs)
    frame["unit_id"] = [f"made-{number}" for number in range(rows)]
    return Buildings(frame=frame, path=few.path, geometry="polygon")


def _write_scene(
    first: Assessment, folder: Path, records: gpd.GeoDataFrame, own: gpd.GeoDataFrame
) -> None:
    """Write the parts of one scene and its assessment."""
    starts = range(0, len(own), MAX_WINDOWS)
    folder.joinpath("parts").mkdir(parents=True)
    for number, start in enumerate(starts):
        some = own.iloc[start : start + MAX_WINDOWS]
        part = records.iloc[np.arange(len(some)) % len(records)].reset_index(drop=True)
        part[ROW_COLUMN] = some.index.to_numpy()
        part["unit_id"] = some["unit_id"].to_numpy()
        part = part.set_geometry(some.geometry.to_numpy(), crs=own.crs)
        write_part(folder, number, part_bytes(part))
    whole = first.model_copy(
        update={
            "stem": folder.name,
            "folder": folder,
            "parts_written": len(starts),
            "counts": first.counts.model_copy(update={"units": len(own)}),
        }
    )
    (folder / ASSESSMENT_FILE).write_text(whole.model_dump_json(), encoding="utf-8")
