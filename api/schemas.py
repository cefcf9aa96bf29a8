"""What the service answers with; the OpenAPI document is made from these classes."""

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.problems import Problem

Status = Literal["accepted", "running", "successful", "failed", "dismissed"]


class Answer(BaseModel):
    """A frozen part of an answer."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Link(Answer):
    """Where something related is."""

    href: str
    rel: str
    type: str | None = None
    title: str | None = None


class SentFile(Answer):
    """A file as it arrived."""

    name: str
    bytes: int
    sha256: str


class StepInTime(Answer):
    """How far a running job is."""

    stage: Literal["assessing", "writing", "mapping", "suggesting", "adapting"]
    scene: str = ""
    """Name of the scene that is worked on."""
    number: int = 0
    """Its number, counted from 1."""
    scenes: int = 0
    units_done: int = 0
    """Units of this scene that are finished."""
    units_total: int = 0
    seconds_left: float | None = None
    """Estimate for the whole job; null while there is nothing to go by."""


class JobStatus(Answer):
    """A job, as in OGC API Processes (`statusInfo`), with what damagenet knows besides."""

    jobID: str  # noqa: N815  the standard's spelling
    processID: Literal["assess", "suggest", "adapt"]  # noqa: N815  the standard's spelling
    type: Literal["process"] = "process"
    status: Status
    progress: int = Field(ge=0, le=100)
    """Percent of the work."""
    message: str
    """One sentence for a person."""
    created: dt.datetime
    started: dt.datetime | None = None
    finished: dt.datetime | None = None
    updated: dt.datetime
    step: StepInTime | None = None
    model: str
    """The bundle that was asked for, `auto` resolved."""
    options: dict[str, Any]
    """Options of `AssessOptions` that the caller gave."""
    inputs: dict[str, list[SentFile]]
    """Files by role: image, pre, buildings, exclude, labels."""
    result: dict[str, Any] | None = None
    """Of a successful assessment: counts, headline, sentence, licence, trust, warnings, scenes."""
    problem: Problem | None = None
    """Why it failed."""
    links: list[Link]


class JobPage(Answer):
    """Jobs of one caller, the newest first."""

    jobs: list[JobStatus]
    links: list[Link]
    """`self`, and `next` where there are more."""
