"""What a run says while it goes, and when it is over."""

import json
from dataclasses import dataclass
from pathlib import Path

from damagenet.assessment import Assessment
from damagenet.engine.progress import Progress
from damagenet.engine.run_record import Run, SceneRun


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is: which scene of how many, and how far in it."""

    number: int
    """Number of the scene, counted from 1."""
    scenes: int
    scene: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What came out of one run."""

    out: Path
    run: Run
    assessments: tuple[Assessment, ...]
    """The scenes of this run that succeeded."""
    merged: tuple[Path, ...]
    """The files `DIR/damage.*`."""
    warnings: tuple[str, ...]

    @property
    def failures(self) -> tuple[SceneRun, ...]:
        """The scenes of this run that failed."""
        return self.run.failed

    def as_json(self) -> str:
        """Return the run for machines: as in `run.json`, with the files that were written."""
        return json.dumps(
            {
                "out": str(self.out),
                "exit_code": self.exit_code,
                "merged": [str(path) for path in self.merged],
                "warnings": list(self.warnings),
                "run": self.run.model_dump(mode="json"),
            },
            indent=2,
        )

    @property
    def exit_code(self) -> int:
        """0 where all succeeded, 1 where none did or the run stopped at one, 3 where some did."""
        if not self.failures:
            return 0
        stopped = self.run.options.on_error == "fail"
        return 1 if stopped or not self.assessments else 3
