"""What went wrong, as `application/problem+json` (RFC 9457): one table from error to status."""

import errno
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError, TimeoutError
from starlette.exceptions import HTTPException

from api.headers import safe_headers
from api.methods import allowed_at
from damagenet.errors import (
    BundleError,
    ConfigError,
    DamageNetError,
    DataError,
    DeviceError,
    EvaluationError,
    FootprintError,
    OutputError,
    SceneError,
)

logger = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the system's errors where there is no room for what is written."""
MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[DamageNetError], int] = {
    ConfigError: 422,
    SceneError: 422,
    FootprintError: 422,
    DataError: 422,
    BundleError: 422,
    EvaluationError: 422,
    DeviceError: 503,
    OutputError: 500,
}
"""Errors of the engine that a request can cause; the first class that fits counts."""


class Problem(BaseModel):
    """RFC 9457: what was wrong, which value, what to do."""

    model_config = ConfigDict(frozen=True)

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str | None = None
    """The request's id, as in the header X-Request-ID and the log."""


class ServiceError(DamageNetError):
    """A request that the service refuses, with the status of the answer.

    Attributes:
        status: HTTP status, 400 to 599.
        headers: Headers of the answer, such as Retry-After.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = headers or {}


def not_found(what: str) -> ServiceError:
    """Return the answer for what is not there, or is another caller's: both look the same."""
    return ServiceError(404, f"there is no {what} here: check the address")


def problem_of(error: DamageNetError) -> Problem:
    """Return an error of the engine or the service as a problem, without any path of the server."""
    status = error.status if isinstance(error, ServiceError) else _status(error)
    return Problem(title=HTTPStatus(status).phrase, status=status, detail=str(error))


def handle_problems(app: FastAPI) -> None:
    """Let an application answer every error as a problem."""

    @app.exception_handler(DamageNetError)
    def refuse(request: Request, error: DamageNetError) -> JSONResponse:
        headers = error.headers if isinstance(error, ServiceError) else {}
        return respond(problem_of(error), request, headers)

    @app.exception_handler(RequestValidationError)
    def misread(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(
            f"{'.'.join(str(step) for step in fault['loc'][1:]) or 'request'}: {fault['msg']}"
            for fault in error.errors()
        )
        problem = Problem(title=HTTPStatus(422).phrase, status=422, detail=faults)
        return respond(problem, request)

    @app.exception_handler(HTTPException)
    def answer(request: Request, error: HTTPException) -> JSONResponse:
        title = HTTPStatus(error.status_code).phrase
        problem = Problem(title=title, status=error.status_code, detail=str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            # Each method of an address is a route, and the first one knows of no other.
            headers["Allow"] = allowed_at(request.scope)
        return respond(problem, request, headers)

    @app.exception_handler(OSError)
    def say_what_is_full(request: Request, error: OSError) -> JSONResponse:
        if error.errno not in FULL:
            raise error
        detail = "the service's disk is full: ask whoever runs it for room, then send it again"
        problem = Problem(title=HTTPStatus(507).phrase, status=507, detail=detail)
        return respond(problem, request)

    _handle_a_database_that_is_away(app)

    @app.exception_handler(Exception)
    def fail(request: Request, error: Exception) -> JSONResponse:
        # The text of an unforeseen error may hold paths or secrets; the log has it.
        detail = "the service failed; the log tells why, under this request's id"
        problem = Problem(title=HTTPStatus(500).phrase, status=500, detail=detail)
        # This answer passes none of what usually adds them.
        headers = safe_headers(request.url.path, MEDIA_TYPE)
        headers["X-Request-ID"] = getattr(request.state, "request_id", "unknown")
        return respond(problem, request, headers)


def _handle_a_database_that_is_away(app: FastAPI) -> None:
    for kind in (OperationalError, InterfaceError, TimeoutError):

        @app.exception_handler(kind)
        def say_what_is_away(request: Request, error: SQLAlchemyError) -> JSONResponse:
            logger.warning("the database does not answer: %s", error)
            detail = "the service's database does not answer: try again later"
            problem = Problem(title=HTTPStatus(503).phrase, status=503, detail=detail)
            return respond(problem, request, {"Retry-After": "5"})


def respond(
    problem: Problem, request: Request, headers: dict[str, str] | None = None
) -> JSONResponse:
    """Return a problem as a response that names the request."""
    # A caller may send half a character, and a sentence names it.
    detail = problem.detail.encode(errors="backslashreplace").decode()
    instance = getattr(request.state, "request_id", None)
    named = problem.model_copy(update={"detail": detail, "instance": instance})
    content = named.model_dump(exclude_none=True)
    return JSONResponse(content, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


def _status(error: DamageNetError) -> int:
    return next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the refusals of a route for the OpenAPI document, by status."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }
