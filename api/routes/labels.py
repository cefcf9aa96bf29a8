"""Labels of a finished assessment, what to label next, and models adapted by them."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Request, Response
from pydantic import ConfigDict, Field

from api.following import Wish, adapt, finished, follow, suggest
from api.guard import REFUSALS
from api.labels import Labels, Verdict, keep_labels, read_labels
from api.problems import not_found, problems
from api.routes import service_of
from api.routes.assessments import EARLIER, IdempotencyKey, JobId, Reader, Writer, accepted
from api.schemas import Answer, JobStatus
from api.store.database import now

router = APIRouter(prefix="/v1/assessments", tags=["labels"], responses=REFUSALS)

FILE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/geo+json": {}}}
}

MOST = 10_000
"""Labels of one request."""


class Asked(Answer):
    """The body of a request; what is not known in it is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Said(Asked):
    """What somebody saw of a unit."""

    unit_id: str = Field(max_length=1000, examples=["17"])
    label: Verdict | None = Field(examples=["damaged"])
    """Null takes the label back."""


class SuggestRequest(Asked):
    """How many units are suggested, and how."""

    n: Annotated[int, Field(ge=1, le=1000)] = 50
    """How many units to suggest."""
    random: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Share of them that is drawn at random, for calibration and totals; the rest is chosen."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """The same seed suggests the same units."""


class AdaptRequest(Asked):
    """What the new model is called, and what it is made of."""

    name: str = Field(max_length=200, examples=["harvey-houston"])
    """Letters, digits, - and _; you choose the model by it."""
    model: str | None = Field(default=None, max_length=200)
    """Model to start from; without one, that of the assessment."""
    learn: Literal["best", "head", "stages"] = "best"
    """What may change: the head, the stages before it too, or what an inner part finds best."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the labels kept aside, of the training and of the intervals."""


@router.get("/{job_id}/labels", summary="Labels", responses=problems(404, 409, 422))
def get_labels(request: Request, caller: Reader, job_id: JobId) -> Labels:
    """List what was labelled, and what a suggestion asks for and nobody has answered."""
    job = finished(service_of(request), job_id, caller.owner)
    return Labels.of(read_labels(service_of(request).folders.job(job.id)))


@router.get(
    "/{job_id}/labels.geojson",
    summary="The file of labels",
    response_class=Response,
    responses=FILE | problems(404, 409, 422),
)
def get_label_file(request: Request, caller: Reader, job_id: JobId) -> Response:
    """Return the labels as `damagenet suggest` keeps them, for QGIS and the command line."""
    job = finished(service_of(request), job_id, caller.owner)
    path = service_of(request).folders.job(job.id).labels
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise not_found("label") from None
    return Response(
        content,
        media_type="application/geo+json",
        headers={
            "Content-Disposition": f'attachment; filename="{path.name}"',
            "Cache-Control": "private, no-cache",
        },
    )


@router.post("/{job_id}/labels", summary="Label units", responses=problems(400, 404, 409, 422, 503))
def post_labels(
    request: Request,
    caller: Writer,
    job_id: JobId,
    said: Annotated[list[Said], Body(min_length=1, max_length=MOST)],
) -> Labels:
    """Say of units, buildings or cells, whether they are damaged; return all labels.

    No earlier label is lost. Units that somebody picks are `chosen`; those that a suggestion drew
    at random stay `random`. If one unit does not exist, nothing is kept.
    """
    service = service_of(request)
    job = finished(service, job_id, caller.owner)
    when = now().isoformat(timespec="seconds")
    answers = {one.unit_id: one.label for one in said}
    return Labels.of(keep_labels(service.folders.job(job.id), answers, by=caller.owner, when=when))


@router.post(
    "/{job_id}/suggest",
    status_code=201,
    summary="Suggest units to label",
    responses=EARLIER | problems(400, 404, 409, 422, 429),
)
def post_suggest(
    request: Request,
    response: Response,
    caller: Writer,
    job_id: JobId,
    *,
    asked: SuggestRequest | None = None,
    idempotency_key: IdempotencyKey = None,
) -> JobStatus:
    """Find the units most worth labelling next; a job, as the network looks at all of them.

    When it is successful, the units stand among the labels of the assessment, without an answer.
    """
    service, wanted = service_of(request), asked or SuggestRequest()
    job, new = follow(
        service,
        finished(service, job_id, caller.owner),
        Wish(process="suggest", asked=wanted.model_dump(), idempotency_key=idempotency_key),
        lambda new: suggest(new, n=wanted.n, random=wanted.random, seed=wanted.seed),
    )
    return accepted(response, job, new=new)


@router.post(
    "/{job_id}/adapt",
    status_code=201,
    summary="Adapt a model",
    responses=EARLIER | problems(400, 404, 409, 422, 429),
)
def post_adapt(
    request: Request,
    response: Response,
    caller: Writer,
    job_id: JobId,
    *,
    asked: AdaptRequest,
    idempotency_key: IdempotencyKey = None,
) -> JobStatus:
    """Fit a model to this event by 20 labels or more, of both classes.

    A part of them is kept aside; the job's result says what the model gained on them, and what it
    forgot. You can then choose it by its name; nobody else sees it.
    """
    service, wanted = service_of(request), asked.model_dump()
    job, new = follow(
        service,
        finished(service, job_id, caller.owner),
        Wish(process="adapt", asked=wanted, idempotency_key=idempotency_key),
        lambda new: adapt(new, wanted),
    )
    return accepted(response, job, new=new)
