"""`item.json`: one assessment as a STAC Item, so that catalogues find it by place and time."""

import datetime as dt
import re
from pathlib import Path

import pystac
from pyproj import CRS
from pystac.extensions.projection import ProjectionExtension

from damagenet import __version__
from damagenet.addresses import RemotePath
from damagenet.assessment import Assessment, SceneInfo
from damagenet.bundle import model_id
from damagenet.outputs.footprint import footprint
from damagenet.outputs.summary import used_threshold

ITEM_FILE = "item.json"
COLLECTION_FILE = "collection.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
OTHER_LICENCE = "other"
"""What STAC calls a licence that is none of SPDX's."""

ASSETS: dict[str, tuple[str, str, str, str]] = {
    "gpkg": ("damage.gpkg", pystac.MediaType.GEOPACKAGE, "data", "Verdicts as GeoPackage"),
    "geojson": ("damage.geojson", pystac.MediaType.GEOJSON, "data", "Verdicts as GeoJSON"),
    "parquet": ("damage.parquet", pystac.MediaType.PARQUET, "data", "Verdicts as GeoParquet"),
    "csv": ("damage.csv", "text/csv", "data", "Verdicts as table"),
    "cog": ("damage.tif", pystac.MediaType.COG, "data", "Probability of damage as map"),
    "style": ("damage.qml", "application/xml", "style", "Colours of the map for QGIS"),
    "html": ("report.html", pystac.MediaType.HTML, "metadata", "Report to read"),
    "summary": ("summary.json", pystac.MediaType.JSON, "metadata", "Counts, and what to trust"),
}
"""File, media type, role and title of what an assessment may have, by the name in the Item."""


def make_item(assessment: Assessment, collection: str) -> pystac.Item:
    """Return the Item of an assessment whose files are in its folder, with relative links.

    Args:
        assessment: A finished assessment.
        collection: Id of the collection that the Item belongs to, in the folder above.
    """
    geometry, bbox = footprint(assessment.scene)
    at, start, end = acquisition(assessment)
    item = pystac.Item(
        id=assessment.stem,
        geometry=geometry,
        bbox=bbox,
        datetime=at,
        start_datetime=start,
        end_datetime=end,
        properties=_properties(assessment),
        stac_extensions=[PROCESSING],
        assets=_assets(assessment.folder),
    )
    item.collection_id = collection
    _add_projection(item, assessment.scene)
    for rel in (pystac.RelType.ROOT, pystac.RelType.PARENT, pystac.RelType.COLLECTION):
        item.add_link(pystac.Link(rel, f"../{COLLECTION_FILE}", pystac.MediaType.JSON))
    item.add_links(_sources(assessment))
    return item


def acquisition(
    assessment: Assessment,
) -> tuple[dt.datetime | None, dt.datetime | None, dt.datetime | None]:
    """Return when the scene was taken: a moment, or else the first and the last moment.

    A day is an interval. Where nobody says when, all that is known is that the scene is older
    than its assessment; the interval begins in 1970 then, as STAC asks for a beginning. Times
    without a zone count as UTC.
    """
    said, item = assessment.scene.acquired, assessment.scene.item
    if len(said) > len("2017-08-31"):
        return _utc(said), None, None
    if said:
        return None, _utc(f"{said}T00:00:00"), _utc(f"{said}T23:59:59")
    if item is not None and item.start and item.end:
        return None, _utc(item.start), _utc(item.end)
    return None, dt.datetime(1970, 1, 1, tzinfo=dt.UTC), _utc(assessment.created)


def spdx(licence: str) -> str:
    """Return a licence that is an identifier as it is, and "other" for one that is a text."""
    return licence if re.fullmatch(r"[A-Za-z0-9.+-]+", licence) else OTHER_LICENCE


def _properties(assessment: Assessment) -> dict[str, object]:
    card, counts = assessment.card, assessment.counts
    model = model_id(card)
    pre = "" if assessment.pre is None else f" and {assessment.pre.path.name}"
    return {
        "title": f"Damage in {assessment.stem}",
        "description": card.headline,
        "created": _utc(assessment.created).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "license": spdx(card.licence),
        "processing:level": "L4",
        "processing:lineage": f"{assessment.scene.path.name}{pre}, judged {assessment.kind.value} "
        f"by {assessment.kind.value} by model {model}",
        "processing:datetime": _utc(assessment.created).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "processing:software": {"damagenet": __version__},
        "damagenet:kind": assessment.kind.value,
        "damagenet:units": counts.units,
        "damagenet:damaged": counts.damaged,
        "damagenet:undamaged": counts.undamaged,
        "damagenet:uncertain": counts.uncertain,
        "damagenet:not_judged": sum(counts.not_judged.values()),
        "damagenet:ranking_only": card.ranking_only,
        "damagenet:model": model,
        "damagenet:threshold": used_threshold(assessment),
        "damagenet:licence": card.licence,
        "damagenet:key": assessment.key,
    }


def _add_projection(item: pystac.Item, scene: SceneInfo) -> None:
    """Add the scene's CRS and its rectangle in it; nothing for pixel coordinates."""
    if scene.crs is None:
        return
    crs = CRS.from_wkt(scene.crs)
    authority = crs.to_authority()
    projection = ProjectionExtension.ext(item, add_if_missing=True)
    projection.code = ":".join(authority) if authority else None
    if authority is None:
        projection.projjson = crs.to_json_dict()
    a, _, west, _, e, north = scene.transform
    projection.bbox = [west, north + e * scene.height, west + a * scene.width, north]


def _assets(folder: Path) -> dict[str, pystac.Asset]:
    """Return the files that a folder has."""
    return {
        key: pystac.Asset(href=f"./{name}", media_type=media_type, roles=[role], title=title)
        for key, (name, media_type, role, title) in ASSETS.items()
        if (folder / name).is_file()
    }


def _sources(assessment: Assessment) -> list[pystac.Link]:
    """Return links to what the assessment was made from: scene, its Item, picture before."""
    links = [_derived_from(assessment.scene.path, "scene")]
    if assessment.scene.item is not None:
        source = assessment.scene.item
        link = pystac.Link(
            pystac.RelType.DERIVED_FROM, source.href, pystac.MediaType.GEOJSON, source.id
        )
        links.append(link)
    if assessment.pre is not None:
        links.append(_derived_from(assessment.pre.path, "picture before"))
    return links


def _derived_from(path: Path, title: str) -> pystac.Link:
    local = not isinstance(path, RemotePath) and path.is_absolute()
    media_type = {".png": pystac.MediaType.PNG, ".jpg": pystac.MediaType.JPEG}.get(
        path.suffix.lower(), pystac.MediaType.GEOTIFF
    )
    href = path.as_uri() if local else str(path)
    return pystac.Link(pystac.RelType.DERIVED_FROM, href, media_type, title)


def _utc(text: str) -> dt.datetime:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    return moment.astimezone(dt.UTC)
