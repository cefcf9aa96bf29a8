"""`collection.json`: all assessments of a run's folder as a STAC Collection."""

import datetime as dt
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pystac

from damagenet.assessment import Assessment
from damagenet.outputs.atomic import appears
from damagenet.outputs.stac_item import COLLECTION_FILE, ITEM_FILE, OTHER_LICENCE, make_item

EVERYWHERE = [-180.0, -90.0, 180.0, 90.0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where and when one Item is, and under which licence.

    Attributes:
        bbox: West, south, east, north in degrees; None without CRS.
        start: First moment; None where nobody says when the scene was taken.
        end: Last moment.
        licence: As STAC writes it.
    """

    bbox: Sequence[float] | None
    start: str | None
    end: str
    licence: str


def write_catalog(out: Path, stems: Sequence[str], assessments: Iterable[Assessment]) -> Path:
    """Write `item.json` of assessments, and `collection.json` over all Items of the folder.

    All links between them are relative, so that the folder can be moved.

    Args:
        out: Folder of the runs.
        stems: Names of the scenes' folders; those without an Item are left out.
        assessments: Those whose Items are new or written again.

    Raises:
        OutputError: If a file cannot be written.
    """
    name = _collection_id(out)
    for assessment in assessments:
        item = make_item(assessment, name)
        _write(assessment.folder / ITEM_FILE, item.to_dict(False, transform_hrefs=False))
    extents = {stem: _extent(found) for stem in stems if (found := read_item(out / stem))}
    path = out / COLLECTION_FILE
    collection = _collection(name, extents)
    _write(path, collection.to_dict(False, transform_hrefs=False))
    return path


def read_item(folder: Path) -> dict[str, Any] | None:
    """Return the Item of a scene's folder as JSON; None where there is none of ours."""
    loaded = _read(folder / ITEM_FILE)
    told = None if loaded is None else loaded.get("properties")
    ours = isinstance(told, dict) and {"datetime", "license", "damagenet:key"} <= told.keys()
    return loaded if ours else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _write(path: Path, values: dict[str, Any]) -> None:
    with appears(path) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _collection_id(out: Path) -> str:
    """Return the id that the folder's collection has, or the folder's name for a new one."""
    known = _read(out / COLLECTION_FILE)
    if known is not None and isinstance(known.get("id"), str):
        return str(known["id"])
    return re.sub(r"[^\w.-]+", "_", out.resolve().name) or "damagenet"


def _extent(item: dict[str, Any]) -> Extent:
    told = item["properties"]
    at = told["datetime"]
    start = at or told["start_datetime"]
    return Extent(
        bbox=item.get("bbox"),
        start=None if start.startswith("1970-01-01T00:00:00") else start,
        end=at or told["end_datetime"],
        licence=told["license"],
    )


def _collection(name: str, extents: dict[str, Extent]) -> pystac.Collection:
    licences = {one.licence for one in extents.values()}
    collection = pystac.Collection(
        id=name,
        title=f"Damage: {name}",
        description="Buildings, or cells of a grid, called damaged or undamaged after a storm, one "
        "Item for each scene. How far to trust them stands in each summary.json.",
        extent=pystac.Extent(_spatial(extents.values()), _temporal(extents.values())),
        license=licences.pop() if len(licences) == 1 else OTHER_LICENCE,
        keywords=["hurricane", "damage", "buildings", "classification"],
        providers=[pystac.Provider("damagenet", roles=[pystac.ProviderRole.PROCESSOR])],
    )
    collection.remove_links(pystac.RelType.ROOT)
    collection.add_link(
        pystac.Link(pystac.RelType.ROOT, f"./{COLLECTION_FILE}", pystac.MediaType.JSON)
    )
    for stem in extents:
        href = f"./{quote(stem)}/{ITEM_FILE}"
        link = pystac.Link(pystac.RelType.ITEM, href, pystac.MediaType.GEOJSON, stem)
        collection.add_link(link)
    return collection


def _spatial(extents: Iterable[Extent]) -> pystac.SpatialExtent:
    boxes = [one.bbox for one in extents if one.bbox is not None]
    if not boxes:
        return pystac.SpatialExtent([EVERYWHERE])
    west, south, east, north = zip(*boxes, strict=True)
    if any(box[0] > box[2] for box in boxes):  # across the antimeridian
        west, east = (-180.0,), (180.0,)
    return pystac.SpatialExtent([[min(west), min(south), max(east), max(north)]])


def _temporal(extents: Iterable[Extent]) -> pystac.TemporalExtent:
    found = list(extents)
    starts = [None if one.start is None else _moment(one.start) for one in found]
    known = [start for start in starts if start is not None]
    first = min(known) if known and len(known) == len(found) else None
    last = max((_moment(one.end) for one in found), default=None)
    return pystac.TemporalExtent([[first, last]])


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))
