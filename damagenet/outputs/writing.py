"""Write what a person opens: the files of one scene, and the tables of a whole run."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from damagenet.assessment import Assessment
from damagenet.outputs.batches import Batch, Batches, kept
from damagenet.outputs.geojson import write_geojson
from damagenet.outputs.geopackage import write_geopackage
from damagenet.outputs.layer import VectorLayer, check_formats
from damagenet.outputs.raster import write_cog
from damagenet.outputs.report import write_report
from damagenet.outputs.summary import SUMMARY_FILE, write_summary
from damagenet.outputs.tables import write_csv, write_geoparquet
from data_prep.pairing import Pictures, open_pre
from data_prep.scene import Scene, SceneOptions

TABLE_WRITERS: dict[str, Callable[[Path, VectorLayer, Iterable[Batch]], None]] = {
    "gpkg": write_geopackage,
    "geojson": write_geojson,
    "parquet": write_geoparquet,
    "csv": write_csv,
}
"""Writers of one row per unit, by format, which is also the file's suffix."""

STEM = "damage"

Job = Callable[[], None]


def write_outputs(
    assessment: Assessment, formats: Sequence[str], *, scene: Scene | None = None
) -> list[Path]:
    """Write the files of one scene into its folder, replacing those that are there.

    Args:
        assessment: A finished assessment.
        formats: Of `options.FORMATS`; `summary.json` is always written, and last.
        scene: The scene, still open; without it the file is opened again where it is needed.

    Returns:
        Paths of the files written.

    Raises:
        OutputError: If a file cannot be written, or a format cannot hold the scene's coordinates
            (`layer.cannot_write` says so beforehand).
        SceneError: If the scene cannot be read for the report's pictures.
    """
    check_formats(assessment.crs, formats)
    layer = VectorLayer.of(assessment)
    batches = kept(
        lambda: map(layer.read_part, assessment.part_paths()), units=assessment.counts.units
    )
    folder = assessment.folder
    tables, map_files, report = _table_paths(folder, formats), [], []
    if "cog" in formats:
        map_files = [folder / f"{STEM}.tif", folder / f"{STEM}.qml"]
    if "html" in formats:
        report = [folder / "report.html"]
    names = [path.name for path in (*tables, *map_files)]
    by_gdal, others = _table_jobs(tables, layer, batches)
    _side_by_side(
        [partial(_write_report, path, assessment, batches, scene, names) for path in report],
        [
            *by_gdal,
            *(partial(write_cog, path, assessment, layer, batches) for path in map_files[:1]),
        ],
        others,
    )
    paths = [*tables, *map_files, *report]
    path = folder / SUMMARY_FILE
    write_summary(path, assessment, [path.name for path in paths])
    return [*paths, path]


def write_vectors(
    folder: Path, formats: Sequence[str], layer: VectorLayer, batches: Batches
) -> list[Path]:
    """Write `damage.*` tables of records that are no assessment, as those of a whole run.

    Args:
        folder: Where they appear.
        formats: Formats that are no tables (cog, html) are passed over.
        layer: Columns and CRS; see `VectorLayer.of_run`.
        batches: Gives the records; see `VectorLayer.batch`.

    Returns:
        Paths of the files written.

    Raises:
        OutputError: If a file cannot be written, or a format cannot hold the coordinates.
    """
    check_formats(layer.crs, formats)
    paths = _table_paths(folder, formats)
    _side_by_side(*_table_jobs(paths, layer, kept(batches, units=layer.units)))
    return paths


def _table_paths(folder: Path, formats: Sequence[str]) -> list[Path]:
    return [folder / f"{STEM}.{name}" for name in TABLE_WRITERS if name in formats]


def _table_jobs(
    paths: Sequence[Path], layer: VectorLayer, batches: Batches
) -> tuple[list[Job], list[Job]]:
    """Return what writes the tables: through GDAL, and otherwise."""
    jobs = {path: partial(_write_table, path, layer, batches) for path in paths}
    by_gdal = [path for path in paths if path.suffix == ".gpkg"]
    return [jobs.pop(path) for path in by_gdal], list(jobs.values())


def _write_table(path: Path, layer: VectorLayer, batches: Batches) -> None:
    TABLE_WRITERS[path.suffix.removeprefix(".")](path, layer, batches())


def _write_report(
    path: Path,
    assessment: Assessment,
    batches: Batches,
    scene: Scene | None,
    others: Sequence[str],
) -> None:
    with _opened(assessment, scene) as pictures:
        write_report(path, assessment, batches, pictures, others)


def _side_by_side(first: Sequence[Job], *others: Sequence[Job]) -> None:
    """Do some jobs one after the other, and others in threads beside them: most of it is C.

    What goes through GDAL silences some of its warnings, which holds for the whole process, so
    that no two such jobs may run at a time.

    Args:
        first: Done in the calling thread, to which an open scene belongs.
        others: Each sequence is done in a thread of its own.
    """
    with ThreadPoolExecutor(len(others), thread_name_prefix="writer") as threads:
        begun = [threads.submit(_in_turn, jobs) for jobs in others]
        _in_turn(first)
    for one in begun:
        one.result()


def _in_turn(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job()


@contextmanager
def _opened(assessment: Assessment, scene: Scene | None) -> Iterator[Pictures]:
    """Yield the pictures as they were assessed, opening those that are not given."""
    options, pre = assessment.options, assessment.pre
    opening = SceneOptions(
        bands=options.bands,
        pixel_size=options.pixel_size,
        allow_driver=options.allow_driver,
        allow_url=options.allow_url,
        force_coarse=options.force_coarse,
        chip=assessment.card.chip,
    )
    with ExitStack() as opened:
        after = scene or opened.enter_context(Scene.open(assessment.scene.path, opening))
        if pre is None:
            yield Pictures(scene=after)
            return
        before = opened.enter_context(open_pre(pre.path, after, opening, shift=pre.shift))
        yield Pictures(scene=after, pre=before, shift=pre.shift)
