"""A row of the jobs table as the status that callers see."""

from typing import Any

from api.form import asked_model
from api.problems import Problem
from api.schemas import JobStatus, Link, SentFile, StepInTime
from api.store.database import utc
from api.store.tables import ACCEPTED, DISMISSED, FAILED, RUNNING, SUCCESSFUL, Job

ASSESSED = 95
"""Percent of the work that is done when all scenes are assessed; maps are the rest."""
ALMOST = 99
"""The most percent of a job that has not ended."""


def job_status(job: Job) -> JobStatus:
    """Return what a caller is told of a job."""
    step = None if job.progress is None else StepInTime.model_validate(job.progress)
    running = step if job.status == RUNNING else None
    return JobStatus.model_validate(
        {
            "jobID": job.id,
            "processID": job.process,
            "status": job.status,
            "progress": 100 if job.status == SUCCESSFUL else percent(step),
            "message": message(job, running),
            "created": utc(job.created),
            "started": job.started and utc(job.started),
            "finished": job.finished and utc(job.finished),
            "updated": utc(job.updated),
            "step": running,
            "model": asked_model(job.options, job.inputs),
            "options": job.options,
            "inputs": {
                role: [SentFile.model_validate(file) for file in files]
                for role, files in job.inputs.items()
            },
            "result": job.result,
            "problem": job.problem and Problem.model_validate(job.problem),
            "links": links(job),
        }
    )


def percent(step: StepInTime | None) -> int:
    """Return how much of a job is done, 0 to 99."""
    if step is None or not step.scenes:
        return 0
    if step.stage == "mapping":
        return ASSESSED
    most = ASSESSED if step.stage in ("assessing", "writing") else ALMOST
    share = step.units_done / step.units_total if step.units_total else 1.0
    return min(most, int(most * (step.number - 1 + share) / step.scenes))


def message(job: Job, step: StepInTime | None) -> str:
    """Return where a job stands, in one sentence for a person."""
    if job.status == ACCEPTED:
        return "Waiting for a worker." if not job.attempts else "Waiting for a worker to go on."
    if job.status == RUNNING:
        return "Starting." if step is None else _running(step)
    if job.status == SUCCESSFUL:
        return _successful(job.result or {})
    if job.status == FAILED:
        return str((job.problem or {}).get("detail", "The job failed."))
    return "Dismissed: its files are deleted."


def links(job: Job) -> list[Link]:
    """Return where a job and what it made are."""
    own = f"/v1/assessments/{job.id}"
    found = [Link(href=own, rel="self", type="application/json", title="This job")]
    if job.status == DISMISSED:
        return found
    found.append(
        Link(href=f"{own}/events", rel="monitor", type="text/event-stream", title="Its progress")
    )
    if job.status == SUCCESSFUL and job.process == "assess":
        found.append(Link(href=f"{own}/results", rel="results", type="application/json"))
        found.append(Link(href=f"{own}/items", rel="items", type="application/geo+json"))
    return found


def _running(step: StepInTime) -> str:
    if step.stage == "mapping":
        return "Making maps of the scenes."
    if step.stage == "adapting":
        return "Adapting the model."
    which = f"scene {step.number} of {step.scenes}, {step.scene}"
    if step.stage == "writing":
        return f"Writing the files of {which}."
    doing = "Looking at" if step.stage == "suggesting" else "Assessing"
    return f"{doing} {which}: {step.units_done:,} of {step.units_total:,} units."


def _successful(result: dict[str, Any]) -> str:
    counts = result.get("counts")
    if counts is None:
        return _followed(result)
    failed = len(result.get("failures", ()))
    missing = f" {failed} scenes failed." if failed > 1 else " One scene failed." if failed else ""
    return (
        f"Done: {counts['damaged']:,} of {counts['units']:,} units damaged, "
        f"{counts['undamaged']:,} undamaged, {counts['uncertain']:,} uncertain.{missing}"
    )


def _followed(result: dict[str, Any]) -> str:
    """Return what came of a job that followed an assessment."""
    if "suggested" in result:
        return f"Done: {result['suggested']:,} units to label next."
    return f"Done: the model {result.get('name')} can be chosen."
