"""What answers look like, for the OpenAPI document."""

from typing import Any

_OWN = "/v1/assessments/0a1b2c3d4e5f60718293a4b5c6d7e8f9"
_SENT = {
    "name": "houston.tif",
    "bytes": 3975295,
    "sha256": "1ca719837416750e2123cbfd940bc68090918ca693df3fb298cf6703b65af16a",
}

ACCEPTED_JOB: dict[str, Any] = {
    "jobID": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "processID": "assess",
    "type": "process",
    "status": "accepted",
    "progress": 0,
    "message": "Waiting for a worker.",
    "created": "2017-08-31T20:37:21.491300Z",
    "started": None,
    "finished": None,
    "updated": "2017-08-31T20:37:21.491300Z",
    "step": None,
    "model": "harvey-event",
    "options": {"threshold": 0.6},
    "inputs": {"image": [_SENT]},
    "result": None,
    "problem": None,
    "links": [
        {"href": _OWN, "rel": "self", "type": "application/json", "title": "This job"},
        {
            "href": f"{_OWN}/events",
            "rel": "monitor",
            "type": "text/event-stream",
            "title": "Its progress",
        },
    ],
}

RUNNING_JOB: dict[str, Any] = ACCEPTED_JOB | {
    "status": "running",
    "progress": 47,
    "message": "Assessing scene 1 of 1, houston.tif: 1,024 of 2,048 units.",
    "started": "2017-08-31T20:37:23.437622Z",
    "updated": "2017-08-31T20:37:39.808969Z",
    "step": {
        "stage": "assessing",
        "scene": "houston.tif",
        "number": 1,
        "scenes": 1,
        "units_done": 1024,
        "units_total": 2048,
        "seconds_left": 17.2,
    },
}

DISMISSED_JOB: dict[str, Any] = RUNNING_JOB | {
    "status": "dismissed",
    "message": "Dismissed: its files are deleted.",
    "finished": "2017-08-31T20:37:41Z",
    "step": None,
    "links": ACCEPTED_JOB["links"][:1],
}


def example(status: int, description: str, value: object) -> dict[int | str, dict[str, Any]]:
    """Return an example of a route's answer, to be put among its `responses`."""
    content = {"application/json": {"example": value}}
    return {status: {"description": description, "content": content}}
