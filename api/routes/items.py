"""Units of a finished job as OGC API Features items: GeoJSON in degrees, page by page."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from api.atlas import ShownMap
from api.feature_query import LABELS, MOST, FeatureQuery, read_bbox, read_interval, read_labels
from api.features import Features
from api.item_page import ItemAddress, every_text, item_text, page_text
from api.ogc import GEOJSON, OgcRoute, base_of
from api.problems import problems
from api.result_files import is_known
from api.routes import service_of
from api.shown import Shown

router = APIRouter(route_class=OgcRoute, tags=["items"])

V1 = "/v1/assessments/{job_id}"
COLLECTION = "/collections/{job_id}"
REFUSED = problems(400, 404, 409, 422)

FEATURE: dict[str, Any] = {
    "type": "object",
    "required": ["type", "geometry", "properties"],
    "properties": {
        "type": {"const": "Feature"},
        "id": {"type": "string", "description": "The unit's id."},
        "geometry": {"type": ["object", "null"]},
        "properties": {"type": "object", "description": "Columns as in `damage.geojson`."},
    },
}
FEATURES: dict[str, Any] = {
    "type": "object",
    "required": ["type", "features"],
    "properties": {
        "type": {"const": "FeatureCollection"},
        "features": {"type": "array", "items": FEATURE},
        "numberMatched": {"type": "integer", "minimum": 0},
        "numberReturned": {"type": "integer", "minimum": 0},
        "timeStamp": {"type": "string", "format": "date-time"},
        "links": {"type": "array", "items": {"type": "object"}},
    },
}

UnitId = Annotated[str, Path(description="Id of a unit, as in the results.")]


def _geojson(schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    told = {
        "description": "GeoJSON in longitude and latitude.",
        "content": {GEOJSON: {"schema": schema}},
    }
    return {200: told, **REFUSED}


@router.get(f"{V1}/items", response_class=Response, responses=_geojson(FEATURES))
@router.get(f"{COLLECTION}/items", response_class=Response, responses=_geojson(FEATURES))
async def items(
    *,
    request: Request,
    shown: Shown,
    bbox: Annotated[
        str | None,
        Query(
            description="west,south,east,north in degrees; west may be larger.",
            examples=["-95.7,29.8,-95.6,29.9"],
        ),
    ] = None,
    datetime: Annotated[
        str | None,
        Query(
            description="When the picture was taken: a moment, or from/to.",
            examples=["2017-08-30/2017-09-02"],
        ),
    ] = None,
    limit: Annotated[
        int, Query(ge=1, description=f"Items on a page; more than {MOST} count as {MOST}.")
    ] = 100,
    offset: Annotated[int, Query(ge=0, description="Items on the pages before.")] = 0,
    label: Annotated[
        str | None,
        Query(
            description=f"Verdicts, with commas between: {', '.join(LABELS)}.",
            examples=["damaged,uncertain"],
        ),
    ] = None,
    min_p: Annotated[float | None, Query(ge=0, le=1, description="Smallest P(damaged).")] = None,
) -> Response:
    """Return units that touch a box, have a label, a probability, a date."""
    query = FeatureQuery(
        bbox=read_bbox(bbox),
        labels=read_labels(label),
        min_p=min_p,
        taken=read_interval(datetime),
    )
    features = await _features(request, shown)
    text = await run_in_threadpool(
        page_text,
        features,
        query,
        limit=min(limit, MOST),
        offset=offset,
        at=_address(request, shown),
    )
    return Response(text, media_type=GEOJSON)


@router.get(f"{V1}/items/{{unit_id:path}}", response_class=Response, responses=_geojson(FEATURE))
@router.get(
    f"{COLLECTION}/items/{{unit_id:path}}", response_class=Response, responses=_geojson(FEATURE)
)
async def item(request: Request, shown: Shown, unit_id: UnitId) -> Response:
    """Return one unit."""
    features = await _features(request, shown)
    text = item_text(features, unit_id, at=_address(request, shown))
    return Response(text, media_type=GEOJSON)


@router.get(f"{V1}/units.geojson", response_class=Response, responses=_geojson(FEATURES))
async def units(request: Request, shown: Shown) -> Response:
    """Return all units at once, also where the results hold no `damage.geojson`.

    Units of a picture without georeference lie where its map tiles do.
    """
    tag = f'"units-{shown.version:x}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_known(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    features = await _features(request, shown)
    return StreamingResponse(every_text(features), media_type=GEOJSON, headers=headers)


async def _features(request: Request, shown: ShownMap) -> Features:
    atlas = service_of(request).atlas
    return await atlas.draw(lambda: atlas.features(shown))


def _address(request: Request, shown: ShownMap) -> ItemAddress:
    collection = f"{base_of(request)}/collections/{shown.folder.root.name}"
    return ItemAddress(page=request.url, collection=collection)
