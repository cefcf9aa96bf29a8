"""What a worker and its runner say to each other: one JSON object a line.

The runner computes and knows no database; it gets an order and answers with progress, and at last
with a result or a problem.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from api.folders import JobFolder
from api.problems import Problem
from api.schemas import StepInTime
from damagenet.options import Runtime


class Order(BaseModel):
    """A job to be done."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    process: str
    root: Path
    """Folder of the job."""
    models: Path
    """Folder of the models that the job's owner adapted."""
    options: dict[str, Any]
    """As the caller gave them."""
    device: str
    runtime: Runtime = "torch"

    @property
    def folder(self) -> JobFolder:
        """The files of the job."""
        return JobFolder(root=self.root)


class Told(BaseModel):
    """What the runner says: exactly one of these."""

    model_config = ConfigDict(frozen=True)

    progress: StepInTime | None = None
    result: dict[str, Any] | None = None
    problem: Problem | None = None

    @property
    def last(self) -> bool:
        """Whether the job is over with it."""
        return self.progress is None
