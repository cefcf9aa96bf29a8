"""`damagenet adapt`: a model fitted to one event by a few hundred labels."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.adapt.options import AdaptOptions, require_whole
from damagenet.cli.option_parameters import given_values, option_parameters, take_parameters
from damagenet.config import make_settings
from damagenet.errors import ConfigError

if TYPE_CHECKING:
    from damagenet.adapt.report import AdaptReport

Scenes = Annotated[
    list[str],
    typer.Argument(metavar="SCENE", help="Files, folders, globs, or a list of them (.txt)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


def command(scenes: Scenes, as_json: AsJson = False, **given: object) -> None:
    """Fit a model to one event by labelled buildings.

    Makes a new bundle from 20 or more labels of both classes. A part of them is kept aside in
    ground of its own: calibration, threshold and the scores before and after come from it. What
    the model forgot of its base task is shown beside.
    """
    try:
        options = make_settings(AdaptOptions, given_values(given), source="command line")
        require_whole(options)
    except ConfigError as err:
        raise typer.BadParameter(str(err)) from None
    _tell(_adapt(scenes, options), as_json=as_json)


take_parameters(command, option_parameters(AdaptOptions, first="labels"))


def _adapt(scenes: list[str], options: AdaptOptions) -> "AdaptReport":
    from damagenet.engine.scene_list import find_scenes

    found = find_scenes(scenes)
    from damagenet.adapt.adapt import adapt

    return adapt(found, options, command=shlex.join(["damagenet", *sys.argv[1:]]))


def _tell(report: "AdaptReport", *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(report.model_dump_json(indent=2) + "\n")
        return
    from rich.console import Console

    from damagenet.adapt.tables import adaptation_tables

    # Wide enough for all columns where stdout is a file; a terminal keeps its own width.
    width = None if sys.stdout.isatty() else 180
    console = Console(width=width, markup=False, highlight=False)
    for block in adaptation_tables(report):
        console.print(block, soft_wrap=isinstance(block, str))
