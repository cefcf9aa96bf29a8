"""`damagenet study`: trainings compared that differ in one thing, over seeds and splits."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from damagenet.errors import ConfigError

if TYPE_CHECKING:
    from damagenet.study.rows import StudyFolder
    from damagenet.study.settings import StudySettings

SOME_LOST = 3
"""Exit code where runs ended without a row; the same command tries them again."""


Config = Annotated[
    Path,
    typer.Option("--config", "-c", help="Study: a YAML file, or the name of a shipped one."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for runs.csv and the reports.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting, as in data.limit=500."),
]
Work = Annotated[
    Path | None,
    typer.Option(help="Folder for weights and logs while a run lasts; default OUT/.work."),
]
Processes = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at the same time; default 1, on a cluster as many as fit."),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Threads of each; default all cores, dealt out; on a cluster 1."),
]
EngineName = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="Who does the runs: processes here, or a Ray cluster."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="TEXT",
        help="Ray cluster to join, as in 10.0.0.5:6379, or auto; without one, this machine's "
        "cores.",
    ),
]
Limit = Annotated[int | None, typer.Option(min=0, help="Do at most so many runs now.")]
Only = Annotated[
    str, typer.Option(metavar="LIST", help="Run these variants only, as in relu,pvlu.")
]
ReportOnly = Annotated[
    bool, typer.Option("--report-only", help="Run nothing; write the reports from runs.csv.")
]
Into = Annotated[
    Path | None,
    typer.Option(
        "--into", help="Markdown page that gets the results between its two marks of this study."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def command(
    *,
    config: Config,
    out: Out,
    overrides: Overrides = None,
    work: Work = None,
    processes: Processes = None,
    threads: Threads = None,
    engine: EngineName = "local",
    ray_address: RayAddress = None,
    limit: Limit = None,
    only: Only = "",
    report_only: ReportOnly = False,
    into: Into = None,
    as_json: AsJson = False,
) -> None:
    """Compare activations, or any other settings, on equal terms.

    Each finished run is a row of OUT/runs.csv; the same command goes on after an interruption,
    and several may work in one folder.
    """
    # All of them now: a study runs for hours, and an installation may change under it.
    from damagenet.cli.study_report import report
    from damagenet.study.embed import read_page
    from damagenet.study.rows import StudyFolder
    from damagenet.study.settings import read_study

    if ray_address is not None and engine != "ray":
        raise ConfigError(f"--ray-address {ray_address} is for --engine ray: pass it too")
    settings = read_study(config, overrides=overrides or ())
    if into:
        read_page(into, settings.name)  # complains before hours of work, not behind
    folder = StudyFolder(out=out, work=work or out / ".work")
    names = tuple(name.strip() for name in only.split(",") if name.strip())
    lost = False
    if report_only:
        _refuse_idle(names, limit)
    else:
        lost = _run(
            settings,
            folder,
            names,
            limit,
            processes=processes,
            threads=threads,
            engine=engine,
            ray_address=ray_address,
        )
    report(settings, folder, into, as_json=as_json)
    if lost:
        raise typer.Exit(SOME_LOST)


def _run(
    settings: "StudySettings",
    folder: "StudyFolder",
    only: tuple[str, ...],
    limit: int | None,
    *,
    processes: int | None,
    threads: int | None,
    engine: Literal["local", "ray"],
    ray_address: str | None,
) -> bool:
    """Do what is left of a study; return whether runs ended without a row."""
    dealt_out = 1 if engine == "ray" else max(1, (os.cpu_count() or 1) // (processes or 1))
    share = threads or dealt_out
    # Before torch is loaded, here and in the processes that do the runs.
    os.environ["OMP_NUM_THREADS"] = str(share)

    from damagenet.study.study import Effort, run_study

    effort = Effort(
        only=only,
        limit=limit,
        processes=processes,
        threads=share,
        command=shlex.join(["damagenet", *sys.argv[1:]]),
        engine=engine,
        ray_address=ray_address,
    )
    return bool(run_study(settings, folder, effort).lost)


def _refuse_idle(only: tuple[str, ...], limit: int | None) -> None:
    if only or limit is not None:
        raise ConfigError("--report-only runs nothing: leave out --only and --limit")
