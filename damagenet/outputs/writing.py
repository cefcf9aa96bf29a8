"""Write what a person opens: the files of one scene, and the tables of a whole run."""

from collections.abc import Callable, Iterable, Sequence
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
    paths = _write_tables(assessment.folder, formats, layer, batches)
    if "cog" in formats:
        path = assessment.folder / f"{STEM}.tif"
        write_cog(path, assessment, layer, batches)
        paths += [path, path.with_suffix(".qml")]
    if "html" in formats:
        path = assessment.folder / "report.html"
        with _opened(assessment, scene) as source:
            write_report(path, assessment, batches, source, [path.name for path in paths])
        paths.append(path)
    path = assessment.folder / "summary.json"
    write_summary(path, assessment, [path.name for path in paths])
    return [*paths, path]


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
    return _write_tables(folder, formats, layer, batches)


def _write_tables(
    folder: Path, formats: Sequence[str], layer: VectorLayer, batches: Batches
) -> list[Path]:
    paths = []
    for name, write in TABLE_WRITERS.items():
        if name in formats:
            path = folder / f"{STEM}.{name}"
            write(path, layer, batches())
            paths.append(path)
    return paths


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
