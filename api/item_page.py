"""A page of items as OGC API Features (OGC 17-069r4) wants it: GeoJSON, counts and links."""

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.datastructures import URL

from api.feature_query import FeatureQuery
from api.features import Features
from api.ogc import GEOJSON, JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemAddress:
    """Where a request for items came to.

    Attributes:
        page: The request itself.
        collection: The collection that the items belong to.
    """

    page: URL
    collection: str


def page_text(
    features: Features, query: FeatureQuery, *, limit: int, offset: int, at: ItemAddress
) -> str:
    """Return a page of items as a GeoJSON feature collection.

    Args:
        features: Of the job.
        query: Which are wanted.
        limit: Items on the page at most.
        offset: Items that were on the pages before.
        at: For the links.
    """
    rows = features.find(query)
    shown = rows[offset : offset + limit]
    links = list(_links(at, limit=limit, offset=offset, matched=len(rows)))
    told = {
        "numberMatched": len(rows),
        "numberReturned": len(shown),
        "timeStamp": dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "links": links,
    }
    texts = _joined(features.texts(shown))
    return f'{{"type":"FeatureCollection",{_members(told)},"features":[{texts}]}}'


def item_text(features: Features, unit_id: str, *, at: ItemAddress) -> str:
    """Return one item as a GeoJSON feature with links; raise ServiceError 404 if there is none."""
    (row,) = features.texts(features.rows_of(unit_id))
    links = [
        _link(str(at.page), "self", GEOJSON),
        _link(at.collection, "collection", JSON),
    ]
    return f"{row[:-1]},{_members({'links': links})}}}"


def every_text(features: Features) -> Iterator[str]:
    """Yield all items as one feature collection, some thousands at a time."""
    yield '{"type":"FeatureCollection","features":['
    separator = ""
    for rows in features.chunks():
        yield separator + _joined(features.texts(rows))
        separator = ","
    yield "]}"


def _links(at: ItemAddress, *, limit: int, offset: int, matched: int) -> Iterator[dict[str, str]]:
    yield _link(str(at.page), "self", GEOJSON)
    if offset + limit < matched:
        yield _link(str(at.page.include_query_params(offset=offset + limit)), "next", GEOJSON)
    if offset > 0:
        before = at.page.include_query_params(offset=max(0, offset - limit))
        yield _link(str(before), "prev", GEOJSON)
    yield _link(at.collection, "collection", JSON)


def _link(href: str, rel: str, kind: str) -> dict[str, str]:
    return {"href": href, "rel": rel, "type": kind}


def _members(values: dict[str, object]) -> str:
    return json.dumps(values, ensure_ascii=False)[1:-1]


def _joined(texts: Iterator[str]) -> str:
    return ",\n".join(texts)
