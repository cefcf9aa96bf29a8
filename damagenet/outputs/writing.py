"""Write what a person opens: the files of one scene, and the tables of a whole run."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from damagenet.assessment import Assessment
from damagenet.outputs.batches import Batch, Batches, kept
from damagenet.outputs.geojson import write_geojson
from damagenet.outputs.geopackage import write_geopackage
from damagenet.outputs.layer import Parts, VectorLayer, check_formats
from damagenet.outputs.raster import write_cog
from damagenet.outputs.report import write_report
from damagenet.outputs.summary import write_summary
from damagenet.outputs.tables import write_csv, write_geoparquet
from data_prep.scene import Scene, SceneOptions

TABLE_WRITERS: dict[str, Callable[[Path, VectorLayer, Iterable[Batch]], None]] = {
    "gpkg": write_geopackage,
    "geojson": write_geojson,
    "parquet": write_geoparquet,
    "csv": write_csv,
}
"""Writers of one row per unit, by format, which is also the file's suffix."""

STEM = "damage"


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
    # The report takes about as long as all else together, and most of both is C.
    with ThreadPoolExecutor(1, thread_name_prefix="writer") as other:
        others = other.submit(_write_all_but_the_report, assessment, tables, map_files, batches)
        for path in report:
            with _opened(assessment, scene) as source:
                names = [path.name for path in (*tables, *map_files)]
                write_report(path, assessment, batches, source, names)
        others.result()
    paths = [*tables, *map_files, *report]
    path = folder / "summary.json"
    write_summary(path, assessment, [path.name for path in paths])
    return [*paths, path]


def _write_all_but_the_report(
    assessment: Assessment, tables: Sequence[Path], map_files: Sequence[Path], batches: Batches
) -> None:
    layer = VectorLayer.of(assessment)
    _write_tables(tables, layer, batches)
    for path in map_files[:1]:
        write_cog(path, assessment, layer, batches)


def write_vectors(
    folder: Path, formats: Sequence[str], layer: VectorLayer, parts: Parts
) -> list[Path]:
    """Write `damage.*` tables from parts that are no assessment, as those of a whole run.

    Args:
        folder: Where they appear.
        formats: Formats that are no tables (cog, html) are passed over.
        layer: Columns and CRS; see `VectorLayer.of_run`.
        parts: Gives the records part by part, as often as it is called; other columns than the
            layer's are ignored, another CRS is transformed.

    Returns:
        Paths of the files written.

    Raises:
        OutputError: If a file cannot be written, or a format cannot hold the coordinates.
    """
    check_formats(layer.crs, formats)
    batches = kept(lambda: map(layer.batch, parts()), units=layer.units)
    paths = _table_paths(folder, formats)
    _write_tables(paths, layer, batches)
    return paths


def _table_paths(folder: Path, formats: Sequence[str]) -> list[Path]:
    return [folder / f"{STEM}.{name}" for name in TABLE_WRITERS if name in formats]


def _write_tables(paths: Sequence[Path], layer: VectorLayer, batches: Batches) -> None:
    for path in paths:
        TABLE_WRITERS[path.suffix.removeprefix(".")](path, layer, batches())


def _opened(assessment: Assessment, scene: Scene | None) -> AbstractContextManager[Scene]:
    """Return the scene as it was assessed, opening it where it is not given."""
    if scene is not None:
        return nullcontext(scene)
    options = assessment.options
    return Scene.open(
        assessment.scene.path,
        SceneOptions(
            bands=options.bands,
            pixel_size=options.pixel_size,
            allow_driver=options.allow_driver,
            force_coarse=options.force_coarse,
            chip=assessment.card.chip,
        ),
    )
