"""The models that may be asked for, and how good each of them is, in its card's own words."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from api.callers import Caller
from api.guard import caller
from api.model_list import FoundModel, delete_adapted, find_models
from api.problems import ServiceError, not_found, problems
from api.routes import service_of
from api.schemas import Answer
from api.service import Service
from damagenet.card import Calibration, Card, ChipGround, Event, Score

router = APIRouter(prefix="/v1/models", tags=["models"])

Reader = Annotated[Caller, Depends(caller("read"))]
Writer = Annotated[Caller, Depends(caller("write"))]


class Training(Answer):
    """What the weights have seen."""

    tiles: int
    split: str
    licence: str
    """Licence of the training data."""


class ModelCard(Answer):
    """What a model's card says of it."""

    id: str = Field(examples=["harvey-event@1a2b3c4d"])
    """Name and short hash, as in the results."""
    created: str
    headline: str
    """Whether totals are counts."""
    sentence: str
    """What it does to 100 intact and to 100 damaged buildings, as measured."""
    inputs: list[Literal["post", "pre"]]
    """The pictures that it compares or looks at."""
    architecture: str
    activation: str
    ground: ChipGround
    """The ground of one chip, in metres and pixels."""
    threshold: float
    """Probability from which a unit counts as damaged."""
    uncertain_band: tuple[float, float]
    calibration: Calibration
    event: Event | None
    """The event it was adapted to."""
    scores: list[Score]
    """What was measured, each with its protocol and interval."""
    training: Training
    licence: str
    """Licence of the weights."""
    licence_warning: str | None
    """What forbids uses; null where nothing is known to."""


class Model(Answer):
    """A model by its name."""

    name: str = Field(examples=["harvey-event"])
    """What to write into the option `model`."""
    origin: Literal["shipped", "added", "adapted"]
    """Comes with damagenet, was put into the service's folder, or was made by its caller."""
    status: Literal["ready", "broken"]
    problem: str | None = None
    """Why it cannot be used, in one sentence."""
    card: ModelCard | None = None
    """Null for a broken one."""


class ModelList(Answer):
    """All models of a caller."""

    models: list[Model]


@router.get("", summary="Models")
def list_models(request: Request, caller: Reader) -> ModelList:
    """List the models that you may ask for: shipped ones, those of this service, your own."""
    found = find_models(service_of(request).folders, caller.owner)
    return ModelList(models=[_model(one) for one in found])


@router.get("/{name}", summary="One model", responses=problems(404))
def get_model(request: Request, caller: Reader, name: str) -> Model:
    """Say what a model is and how good it was measured to be."""
    return _model(_find(service_of(request), caller, name))


@router.delete(
    "/{name}", status_code=204, summary="Delete a model of yours", responses=problems(403, 404, 409)
)
def delete_model(request: Request, caller: Writer, name: str) -> None:
    """Delete a model that you made by adapting; assessments that were made with it stay."""
    service = service_of(request)
    found = _find(service, caller, name)
    if found.origin != "adapted":
        raise ServiceError(
            403, f"{name} is no model of yours: only what you made by adapting can be deleted"
        )
    using = [
        job.id for job in service.jobs.waiting(caller.owner) if job.options.get("model") == name
    ]
    if using:
        raise ServiceError(409, f"job {using[0]} needs {name}: wait for its end, or dismiss it")
    delete_adapted(service.folders, caller.owner, name)


def _find(service: Service, caller: Caller, name: str) -> FoundModel:
    """Return a model that a caller may ask for; raise ServiceError 404 where there is none."""
    for one in find_models(service.folders, caller.owner):
        if one.name == name:
            return one
    raise not_found("model of that name")


def _model(found: FoundModel) -> Model:
    return Model(
        name=found.name,
        origin=found.origin,
        status="broken" if found.card is None else "ready",
        problem=found.problem or None,
        card=None if found.card is None else _card(found.card, found.id),
    )


def _card(card: Card, model_id: str) -> ModelCard:
    return ModelCard(
        id=model_id,
        created=card.created,
        headline=card.headline,
        sentence=card.sentence,
        inputs=list(card.inputs),
        architecture=card.model.architecture.name,
        activation=card.model.activation.name,
        ground=card.chip,
        threshold=card.threshold,
        uncertain_band=card.uncertain_band,
        calibration=card.calibration,
        event=card.event,
        scores=list(card.scores),
        training=Training(
            tiles=card.training_tiles.count,
            split=card.training_tiles.split,
            licence=card.training_tiles.licence,
        ),
        licence=card.licence,
        licence_warning="Non-commercial use only." if card.training_tiles.non_commercial else None,
    )
