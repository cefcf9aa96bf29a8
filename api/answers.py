"""Answers that go wrong, as the OpenAPI document tells them: one sentence for each status."""

from typing import Any

from api.problems import MEDIA_TYPE, Problem

SENTENCES = {
    400: "The request cannot be read: the body is not what its headers say.",
    401: "No key, or one that is unknown or revoked.",
    403: "The key lacks the scope, or another site sent the request.",
    404: "There is nothing here, or it is another caller's.",
    409: "It does not go together with what is there already; the sentence tells how.",
    413: "The request is larger than the service allows; the sentence names the limit.",
    415: "Files of this kind are not taken.",
    416: "The range lies outside the file.",
    422: "A value, an option or a file cannot be used; the sentence tells which and why.",
    429: "Too much at a time; `Retry-After` says after how many seconds to ask again.",
    503: "What is needed is not there at the moment, as a GPU or the database.",
}
RETRY_AFTER = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return problems that an address may answer with, as a route's `responses`."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    answer: dict[str, Any] = {"description": SENTENCES[status], "content": content}
    return answer | ({"headers": RETRY_AFTER} if status == 429 else {})
