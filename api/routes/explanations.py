"""What a unit's verdict was made of, as a picture."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi import Path as InPath

from api.explaining import explanation
from api.models import find_model
from api.pictures import answer_once
from api.problems import ServiceError, problems
from api.routes import service_of
from api.service import Service
from api.shown import FoundJob, Shown
from api.store.tables import Job
from damagenet.errors import BundleError
from damagenet.explain.names import MethodName
from damagenet.options import AUTO, bundle_name

if TYPE_CHECKING:
    from damagenet.inference import Predictor

router = APIRouter(prefix="/v1/assessments/{job_id}", tags=["map"])

EXPLAINED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The chip, and beside it the chip under its map; of two pictures the one "
        "before the storm comes first. The file's texts say what it shows and what not.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "Unchanged, by `If-None-Match`."},
    **problems(404, 409, 422, 429, 503),
}
METHOD = Query(
    description="`grad_cam`: where the network looked, coarse. `integrated_gradients`: which "
    "pixels count, noisy. `guided_backprop`: edges only, hardly about the verdict; for ReLU "
    "networks.",
    examples=["grad_cam"],
)


@router.get(
    "/explanations/{unit_id:path}.png",
    response_class=Response,
    responses=EXPLAINED,
    summary="What was looked at",
)
async def explain(
    *,
    request: Request,
    shown: Shown,
    job: FoundJob,
    unit_id: Annotated[str, InPath(description="Id of a unit, as in the results.")],
    method: Annotated[MethodName, METHOD] = "grad_cam",
) -> Response:
    """Return where the network looked when it judged a unit.

    Red speaks for damage, green-blue against it. A map is no proof: it says what moved the
    number, not whether the verdict is right, and a wrong one has a map as convincing as a right
    one.
    """
    service = service_of(request)
    features = await service.atlas.draw(lambda: service.atlas.features(shown))
    (unit,) = features.table.take(features.rows_of(unit_id)).to_pylist()

    async def made() -> bytes:
        predictor = await _predictor(service, job)
        return await service.explaining.make(partial(explanation, unit, shown, method, predictor))

    return await answer_once(request, shown, f"explanation {unit_id} {method}", made, ending="png")


async def _predictor(service: Service, job: Job) -> "Predictor":
    """Return the model of a job."""
    pre = Path("pre") if job.inputs.get("pre") else None
    name = bundle_name(job.options.get("model", AUTO), pre)
    try:
        folder = find_model(name, job.owner, service.folders)
        return await service.predictions.predictors.of(folder)
    except BundleError as err:
        # Its sentence names folders of the server.
        raise ServiceError(503, f"model {name} of this assessment cannot be loaded") from err
