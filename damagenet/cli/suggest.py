"""`damagenet suggest`: the buildings most worth labelling next."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.adapt.suggest_options import SuggestOptions
from damagenet.cli.option_parameters import given_values, option_parameters, take_parameters
from damagenet.config import make_settings
from damagenet.errors import ConfigError

if TYPE_CHECKING:
    from damagenet.adapt.suggest import Suggestions

Scenes = Annotated[
    list[str],
    typer.Argument(metavar="SCENE", help="Files, folders, globs, or a list of them (.txt)."),
]
BuildingsFile = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help=str(SuggestOptions.model_fields["buildings"].description),
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help=str(SuggestOptions.model_fields["out"].description),
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
REQUIRED = ("buildings", "out")


def command(
    scenes: Scenes, buildings: BuildingsFile, out: Out, as_json: AsJson = False, **given: object
) -> None:
    """Pick the buildings most worth labelling next.

    Writes a GeoJSON that opens in QGIS, with an empty column `label` to fill with damaged or
    undamaged: uncertain buildings, unlike each other and spread over the scenes, and a share drawn
    at random (column `drawn`). Add to it with --labels; no label is ever dropped.
    """
    values = given_values(given) | {"buildings": buildings, "out": out}
    try:
        options = make_settings(SuggestOptions, values, source="command line")
    except ConfigError as err:
        raise typer.BadParameter(str(err)) from None
    found = _suggest(scenes, options)
    sys.stderr.write("".join(f"{line}\n" for line in found.notes))
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(found)) + "\n")


take_parameters(
    command, [one for one in option_parameters(SuggestOptions) if one.name not in REQUIRED]
)


def _suggest(scenes: list[str], options: SuggestOptions) -> "Suggestions":
    """Find the scenes, load what is heavy, and pick."""
    from damagenet.engine.scene_list import find_scenes

    found = find_scenes(scenes)
    from damagenet.adapt.suggest import suggest_buildings

    return suggest_buildings(found, options)


def _lines(found: "Suggestions") -> list[str]:
    """Return what was written, and what to do with it."""
    lines = [
        f"{found.out}: {len(found.buildings)} buildings to label, {found.drawn('random')} drawn at "
        f"random from {found.judged:,} and {found.drawn('chosen')} chosen (round {found.round})"
    ]
    if found.kept:
        lines.append(f"{found.kept} earlier labels are kept")
    if found.newly_random:
        count = len(found.newly_random)
        lines.append(f"{count} of them are now drawn at random as well, and keep their labels")
    return [
        *lines,
        "Fill the column label with damaged or undamaged, in the order of rank; leave it empty "
        "where you cannot tell.",
        f"Then: damagenet summarise RESULTS --labels {found.out} --field label --damaged damaged",
    ]
