"""`run.json`: every run into a folder, with what it was made of and what came out."""

import datetime as dt
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Literal

from pydantic import Field

from damagenet import __version__
from damagenet.addresses import ScenePath
from damagenet.assessment import Counts
from damagenet.config import Settings
from damagenet.engine.key import InputHashes
from damagenet.errors import OutputError
from damagenet.options import AssessOptions
from damagenet.outputs.atomic import appears

RUN_FILE = "run.json"
FAILURES_FILE = "failures.csv"

SHAPING_PACKAGES = ("geopandas", "numpy", "pyarrow", "rasterio", "torch")
"""Libraries whose versions can change a result."""


class SceneRun(Settings):
    """One scene in one run."""

    path: ScenePath
    folder: str
    """Name of its folder below the run's folder."""
    status: Literal["ok", "failed"]
    error: str = ""
    """Class of the error, where it failed."""
    sentence: str = ""
    """What was wrong and what to do, where it failed."""
    sha256: str | None = None
    """Hash of the scene's file; None where it failed."""
    counts: Counts | None = None
    trust: dict[str, str] = Field(default_factory=dict)
    """Whether its probabilities may be trusted, in sentences; see `outputs.trust`."""
    seconds: float = 0.0
    """Wall time of this run on this scene, files included."""
    warnings: tuple[str, ...] = ()


class ModelUsed(Settings):
    """The model of a run."""

    id: str
    """Name and short hash, as in the records."""
    weights_sha256: str
    headline: str
    sentence: str
    licence: str


class Run(Settings):
    """One call of `damagenet assess`."""

    started: str
    """ISO 8601, UTC."""
    finished: str = ""
    """ISO 8601, UTC; empty where the run was interrupted."""
    status: Literal["running", "finished", "interrupted"] = "running"
    command: str = ""
    options: AssessOptions
    model: ModelUsed
    inputs: InputHashes
    versions: dict[str, str]
    device: str
    scenes: tuple[SceneRun, ...] = ()
    shared: int | None = None
    """Buildings of `damage.*` that several scenes call damaged or undamaged; None for cells."""
    disagree: int | None = None
    """Of these, how many are called damaged by one scene and undamaged by another."""

    @property
    def complete(self) -> bool:
        """Whether it went through all the scenes that it was given."""
        stopped = self.options.on_error == "fail" and self.failed
        return self.status == "finished" and not stopped

    @property
    def failed(self) -> tuple[SceneRun, ...]:
        """The scenes that failed."""
        return tuple(scene for scene in self.scenes if scene.status == "failed")


class RunRecord(Settings):
    """All runs into one folder, the first one first."""

    format_version: Literal[1] = 1
    runs: tuple[Run, ...] = ()

    def settled(self) -> "RunRecord":
        """Return the record with runs that were killed marked as interrupted."""
        runs = [
            run.model_copy(update={"status": "interrupted"}) if run.status == "running" else run
            for run in self.runs
        ]
        return self.model_copy(update={"runs": tuple(runs)})

    def folders(self) -> dict[Path, str]:
        """Return the folder name of every scene that a run has assessed, by resolved path.

        They stand as the first complete run was given them, so that nobody can tell whether it was
        interrupted before; scenes of no complete run stand where the first one has them.
        """
        names = {
            scene.path: scene.folder
            for run in self.runs
            for scene in run.scenes
            if scene.status == "ok"
        }
        places: dict[Path, tuple[int, int]] = {}
        for complete in (True, False):
            for number, run in enumerate(self.runs):
                if run.complete is complete:
                    for place, scene in enumerate(run.scenes):
                        places.setdefault(scene.path, (number, place))
        return {path: names[path] for path in sorted(names, key=places.__getitem__)}


def read_record(out: Path) -> RunRecord:
    """Return the record of earlier runs into a folder; an empty one where there was none.

    Raises:
        OutputError: If `run.json` is there and cannot be understood.
    """
    path = out / RUN_FILE
    if not path.exists():
        return RunRecord()
    try:
        return RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise OutputError(
            f"{path} is not a record of damagenet's runs: choose another --out"
        ) from err


def write_record(out: Path, record: RunRecord) -> None:
    """Write `run.json`; raise OutputError if it cannot be written."""
    with appears(out / RUN_FILE) as path:
        path.write_text(record.model_dump_json(indent=2), encoding="utf-8")


def now() -> str:
    """Return the time in UTC as ISO 8601, to the second."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Return the versions of damagenet, Python and the libraries that shape a result."""
    found = {"damagenet": __version__, "python": platform.python_version()}
    for name in SHAPING_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


class RunLog:
    """Keeps `run.json` up to date while a run is under way; a context manager around its scenes.

    The record is written at the start, after every scene and at the end, so that it tells what a
    killed run has done.
    """

    def __init__(self, out: Path, earlier: RunRecord, run: Run) -> None:
        self.run = run
        self._out, self._earlier = out, earlier.settled()
        self._scenes: dict[int, SceneRun] = {}

    @property
    def record(self) -> RunRecord:
        """The earlier runs and this one."""
        return RunRecord(runs=(*self._earlier.runs, self.run))

    def add(self, scene: SceneRun, number: int) -> None:
        """Add what became of one scene, at its place among the others: they end in any order."""
        self._scenes[number] = scene
        self._update(scenes=tuple(self._scenes[number] for number in sorted(self._scenes)))

    def compare(self, *, shared: int, disagree: int) -> None:
        """Add how often the scenes contradict each other."""
        self._update(shared=shared, disagree=disagree)

    def __enter__(self) -> "RunLog":
        self._update()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._update(status="finished", finished=now())
        elif not issubclass(kind, OutputError):
            self._update(status="interrupted")

    def _update(self, **changes: object) -> None:
        self.run = self.run.model_copy(update=changes)
        write_record(self._out, self.record)
