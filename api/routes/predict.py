"""Chips in, probabilities out, at once."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from starlette.requests import ClientDisconnect

from api.callers import Caller
from api.chip_form import announced_bytes, form_schema, read_chip_form
from api.guard import caller
from api.models import find_model
from api.problems import ServiceError, problems
from api.service import Service, service_of
from api.verdicts import EXAMPLE, Prediction, prediction
from damagenet.errors import BundleError

if TYPE_CHECKING:
    from damagenet.inference import Predictor

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", tags=["predict"])

GONE = 499
"""Status in the log for a client that did not wait; nobody receives it."""

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"example": EXAMPLE}}}
}

T = TypeVar("T")


def request_body() -> dict[str, Any]:
    """Return the form for the OpenAPI document; the route reads it by itself."""
    content = {"multipart/form-data": {"schema": form_schema()}}
    return {"requestBody": {"required": True, "content": content}}


@router.post(
    "/predict",
    summary="Probabilities for chips",
    response_model=Prediction,
    responses=ANSWERS | problems(413, 415, 422, 429, 503),
    openapi_extra=request_body(),
)
async def predict(
    request: Request, caller: Annotated[Caller, Depends(caller("read"))]
) -> Prediction | Response:
    """Send chips and get their probabilities of damage, in the same order.

    Requests that come together share batches; the same chip gets the same probability within
    0.00001, whatever it shares them with.
    """
    try:
        return await _predict(request, caller)
    except ClientDisconnect:
        return Response(status_code=GONE)


async def _predict(request: Request, caller: Caller) -> Prediction:
    service = service_of(request)
    predictions = service.predictions
    with predictions.batching.coming(announced_bytes(request)):
        form = await read_chip_form(request)
        predictor = await _predictor(service, form.model, caller.owner)
        chips = await predictions.decode(form, predictor.bundle.card)
        del form
    found = await _while_connected(
        request, predictions.batching.probabilities(predictor, chips.images)
    )
    return prediction(predictor.bundle.card, chips.names, found)


async def _predictor(service: Service, model: str, owner: str) -> "Predictor":
    try:
        folder = find_model(model, owner, service.folders)
        return await service.predictions.predictors.of(folder)
    except BundleError as err:
        # Its sentence names folders of the server.
        log.error("model %s cannot be loaded: %s", model, err)
        raise ServiceError(
            503, f"model {model} cannot be loaded: tell whoever runs the service, or name another"
        ) from err


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what work returns; cancel it and raise ClientDisconnect once the client has gone."""
    working, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.wait({working, gone})


async def _disconnected(request: Request) -> None:
    # The body has been read: what comes now can only be the end of the connection.
    while (await request.receive())["type"] != "http.disconnect":
        continue
