"""The files of the totals: `totals.csv`, `.json`, and of areas `.geojson` and `.gpkg` as well."""

import csv
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio

from damagenet.errors import OutputError
from damagenet.outputs.atomic import appears, unwritable
from damagenet.outputs.totals import METHODS, TOTALS_FILE, AreaTotal, Totals
from damagenet.outputs.totals_section import show_in_report
from damagenet.totals.areas import Areas
from damagenet.totals.verdicts import Verdicts

STEM = "totals"
DRIVERS = {"geojson": "GeoJSON", "gpkg": "GPKG"}
WRITING_ERRORS = (
    pyogrio.errors.DataSourceError,
    pyogrio.errors.DataLayerError,
    pyogrio.errors.FeatureError,
    pyogrio.errors.FieldError,
)
REPORT = "report.html"


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Check that no totals are in a folder, or that they may be replaced.

    Raises:
        OutputError: If they may not.
    """
    there = sorted(folder.glob(f"{STEM}.*"))
    if there and not overwrite:
        raise OutputError(
            f"{there[0]} is there already: pass --overwrite to replace it, or name another folder "
            "with --out"
        )


def write_totals(folder: Path, totals: Totals, areas: Areas | None) -> list[Path]:
    """Write all files of the totals, each whole or not at all, `totals.json` last.

    Returns:
        The files written.

    Raises:
        OutputError: If one cannot be written.
    """
    paths = [_write_table(folder / f"{STEM}.csv", totals)]
    if areas is not None:
        layer = _layer(totals, areas)
        said = _paragraph(totals)
        paths += [_write_layer(folder / f"{STEM}.{suffix}", layer, said) for suffix in DRIVERS]
    path = folder / TOTALS_FILE
    with appears(path) as temporary:
        temporary.write_text(totals.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return [*paths, path]


def show_in_reports(totals: Totals, verdicts: Verdicts) -> tuple[list[Path], list[Path]]:
    """Put the totals on the first screen of every report of the verdicts.

    Returns:
        The reports that show them, and those that have no place for them.

    Raises:
        OutputError: If a report cannot be written.
    """
    pages = [one.folder / REPORT for one in verdicts.assessments]
    shown = {page: show_in_report(page, totals) for page in pages if page.is_file()}
    return [page for page in shown if shown[page]], [page for page in shown if not shown[page]]


def _write_table(path: Path, totals: Totals) -> Path:
    names = [*AreaTotal.model_fields, "situation"]
    with appears(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(_values(totals, totals.rows))
    return path


def _layer(totals: Totals, areas: Areas) -> gpd.GeoDataFrame:
    rows = [row for row in totals.rows if row.scope == "area"]
    frame = pd.DataFrame(_values(totals, rows)).drop(columns="scope")
    frame["estimate"] = frame["estimate"].astype(float)
    return gpd.GeoDataFrame(frame, geometry=areas.shapes.to_numpy(), crs=areas.shapes.crs)


def _values(totals: Totals, rows: Sequence[AreaTotal]) -> list[dict[str, object]]:
    """Return the rows with the method in words and the situation in each of them."""
    return [
        row.model_dump() | {"method": METHODS[row.method], "situation": totals.headline}
        for row in rows
    ]


def _paragraph(totals: Totals) -> str:
    """Return all that is said of the totals, for the one field of words that a layer has."""
    sentences = (totals.headline, totals.sentence, totals.guarantee, *totals.notes)
    return " ".join(f"{sentence.rstrip('.')}." for sentence in sentences)


def _write_layer(path: Path, layer: gpd.GeoDataFrame, said: str) -> Path:
    driver = DRIVERS[path.suffix.removeprefix(".")]
    placed = layer.to_crs(4326) if driver == "GeoJSON" else layer
    # In GeoJSON the description is a foreign member of the collection (RFC 7946, 6.1).
    options = {"DESCRIPTION": said} | ({"RFC7946": "YES"} if driver == "GeoJSON" else {})
    with appears(path) as temporary:
        try:
            placed.to_file(temporary, driver=driver, layer=STEM, engine="pyogrio", **options)
        except WRITING_ERRORS as err:
            raise unwritable(path, err) from err
    return path
