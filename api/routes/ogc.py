"""The OGC face of finished assessments: landing page, conformance, collections."""

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse

from api.atlas import ShownMap
from api.feature_query import span_of
from api.ogc import GEOJSON, JSON, OgcRoute, base_of
from api.ogc_answers import (
    Collection,
    Collections,
    Conformance,
    Extent,
    LandingPage,
    SpatialExtent,
    TemporalExtent,
)
from api.problems import problems
from api.routes import service_of
from api.schemas import Link
from api.shown import FoundJob, Reader, Shown
from api.store.tables import SUCCESSFUL, Job

router = APIRouter(route_class=OgcRoute, tags=["OGC"])

PAGE = "/ui/"
OPENAPI = "application/vnd.oai.openapi+json;version=3.1"
RELATION = "http://www.opengis.net/def/rel/ogc/1.0"
SPECIFICATION = "http://www.opengis.net/spec"

CLASSES = [
    f"{SPECIFICATION}/ogcapi-common-1/1.0/conf/core",
    f"{SPECIFICATION}/ogcapi-common-2/1.0/conf/collections",
    f"{SPECIFICATION}/ogcapi-features-1/1.0/conf/core",
    f"{SPECIFICATION}/ogcapi-features-1/1.0/conf/geojson",
    f"{SPECIFICATION}/ogcapi-processes-1/1.0/conf/core",
    f"{SPECIFICATION}/ogcapi-processes-1/1.0/conf/ogc-process-description",
    f"{SPECIFICATION}/ogcapi-processes-1/1.0/conf/json",
    f"{SPECIFICATION}/ogcapi-processes-1/1.0/conf/dismiss",
]
"""Not the classes of OpenAPI 3.0, as the document is 3.1, nor of job lists, whose filters lack."""

MADE_UP = " Its place is made up, as the picture has no georeference."


@router.get(
    "/",
    response_model_exclude_none=True,
    summary="What there is",
    response_model=LandingPage,
    responses={303: {"description": "The page, for browsers."}, **problems(400, 422)},
)
def landing(
    request: Request,
    f: Annotated[Literal["json", "html"] | None, Query(description="Instead of Accept.")] = None,
) -> LandingPage | RedirectResponse:
    """Return where everything is; browsers are sent to the page."""
    base = base_of(request)
    if f == "html" or (f is None and _wants_page(request.headers.get("accept", ""))):
        return RedirectResponse(f"{base}{PAGE}", 303, {"Vary": "Accept"})
    links = (
        ("/", "self", JSON, "This document"),
        ("/openapi.json", "service-desc", OPENAPI, "The service as OpenAPI"),
        ("/docs", "service-doc", "text/html", "The same for people"),
        (PAGE, "alternate", "text/html", "The page"),
        ("/conformance", "conformance", JSON, "Standards that hold"),
        ("/conformance", f"{RELATION}/conformance", JSON, "Standards that hold"),
        ("/collections", "data", JSON, "Finished assessments"),
        ("/processes", f"{RELATION}/processes", JSON, "What can be asked for"),
        ("/jobs", f"{RELATION}/job-list", JSON, "Assessments"),
    )
    return LandingPage(
        title="damagenet",
        description="Flooded and damaged buildings from post-hurricane satellite imagery.",
        links=[Link(href=base + path, rel=rel, type=kind, title=t) for path, rel, kind, t in links],
    )


@router.get("/conformance", response_model_exclude_none=True, summary="Standards that hold")
def conformance() -> Conformance:
    """Return the conformance classes that hold."""
    return Conformance(conformsTo=CLASSES)


@router.get(
    "/collections",
    response_model_exclude_none=True,
    summary="Finished assessments",
    responses=problems(400, 422),
)
def collections(
    request: Request,
    reader: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(description="From the link `next`.")] = None,
) -> Collections:
    """List your finished assessments as collections of features, the newest first."""
    service = service_of(request)
    page = service.jobs.page(reader.owner, limit=limit, cursor=cursor, status=SUCCESSFUL)
    found = ((job, service.atlas.find(service.folders.job(job.id))) for job in page.jobs)
    links = [Link(href=str(request.url), rel="self", type=JSON)]
    if page.cursor is not None:
        following = request.url.include_query_params(cursor=page.cursor)
        links.append(Link(href=str(following), rel="next", type=JSON))
    return Collections(
        collections=[_collection(request, job, shown) for job, shown in found if shown],
        links=links,
    )


@router.get(
    "/collections/{job_id}",
    response_model_exclude_none=True,
    summary="One finished assessment",
    responses=problems(400, 404, 409, 422),
)
def collection(request: Request, job: FoundJob, shown: Shown) -> Collection:
    """Say where and when the features of an assessment are."""
    return _collection(request, job, shown)


def _wants_page(accept: str) -> bool:
    """Return whether HTML stands before JSON: browsers ask so, programs do not."""
    kinds = [part.split(";")[0].strip() for part in accept.lower().split(",")]
    if "text/html" not in kinds:
        return False
    return JSON not in kinds or kinds.index("text/html") < kinds.index(JSON)


def _collection(request: Request, job: Job, shown: ShownMap) -> Collection:
    base = base_of(request)
    own, v1 = f"{base}/collections/{job.id}", f"{base}/v1/assessments/{job.id}"
    names = ", ".join(scene.name for scene in shown.index.scenes)
    interval = _taken(job.result or {})
    links = (
        (own, "self", JSON, "This collection"),
        (f"{own}/items", "items", GEOJSON, "Units"),
        (f"{v1}/results", "enclosure", JSON, "Files"),
        (f"{v1}/tiles/WMTSCapabilities.xml", "related", "application/xml", "Map tiles (WMTS)"),
    )
    return Collection(
        id=job.id,
        title=names,
        description=f"Damage verdicts on the units of {names}."
        + (MADE_UP if shown.index.placed else ""),
        extent=Extent(
            spatial=SpatialExtent(bbox=[list(shown.index.extent)]),
            temporal=TemporalExtent(interval=[list(interval)]) if interval else None,
        ),
        links=[Link(href=href, rel=rel, type=kind, title=t) for href, rel, kind, t in links],
    )


def _taken(result: dict[str, Any]) -> tuple[str, str] | None:
    """Return the first and the last moment that a picture was taken; None where nobody says."""
    told = [scene["acquired"] for scene in result.get("scenes", ()) if scene["acquired"]]
    spans = [span_of(text) for text in told]
    if not spans:
        return None
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    return _stamp(first), _stamp(last)


def _stamp(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
