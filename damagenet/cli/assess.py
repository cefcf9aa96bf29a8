"""`damagenet assess`: scenes to damage maps."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.addresses import command_line
from damagenet.cli.option_parameters import given_values, option_parameters, take_parameters
from damagenet.config import make_settings, read_settings
from damagenet.errors import ConfigError
from damagenet.options import AssessOptions

if TYPE_CHECKING:
    from damagenet.engine.run_result import RunResult

Scenes = Annotated[
    list[str],
    typer.Argument(
        metavar="SCENE", help="Files, folders, globs, STAC Items, or a list of them (.txt)."
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the results.")]
OptionsFile = Annotated[
    Path | None,
    typer.Option(
        "--options",
        metavar="FILE",
        help="YAML file with any of the options below, as in `min_valid: 0.6`; what is given on "
        "the command line wins.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the run as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]


def command(
    scenes: Scenes,
    out: Out,
    options_file: OptionsFile = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    **given: object,
) -> None:
    """Say which buildings, or cells of a grid, a storm damaged.

    Writes DIR/<scene>/ for every scene, DIR/damage.* for all of them, and DIR/run.json.
    Run the same command again to continue after an interruption.
    """
    options = _options(options_file, given_values(given))
    try:
        result = _assess(scenes, out, options, quiet=quiet)
    except KeyboardInterrupt:
        # typer would end without a word.
        sys.stderr.write("damagenet: interrupted; run the same command again to continue\n")
        raise typer.Exit(130) from None
    if not quiet:
        _tell(result)
    if as_json:
        sys.stdout.write(result.as_json() + "\n")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


take_parameters(command, option_parameters(AssessOptions))


def _options(path: Path | None, given: dict[str, object]) -> AssessOptions:
    """Return the options of the file with those of the command line over them.

    Raises:
        BadParameter: With the dotted path of the fault: wrong usage, exit code 2.
    """
    try:
        if path is None:
            return make_settings(AssessOptions, given, source="command line")
        from_file = read_settings(AssessOptions, path)
        named = {name: getattr(from_file, name) for name in from_file.model_fields_set}
        return make_settings(AssessOptions, named | given, source="command line")
    except ConfigError as err:
        raise typer.BadParameter(str(err)) from None


def _assess(scenes: list[str], out: Path, options: AssessOptions, *, quiet: bool) -> "RunResult":
    """Find the scenes, load what is heavy, and run."""
    from damagenet.cli.assess_progress import progress_bar, quieted
    from damagenet.engine.scene_list import find_with_items

    found = find_with_items(scenes, options.asset)
    from damagenet.engine.batch import assess_scenes

    with quieted(quiet), progress_bar(shown=not quiet) as progress:
        return assess_scenes(
            list(found),
            out,
            options,
            command=command_line(sys.argv),
            items=found,
            progress=progress,
        )


def _tell(result: "RunResult") -> None:
    """Write the short summary on stderr."""
    from damagenet.cli.assess_summary import summary_lines

    sys.stderr.write("\n".join(summary_lines(result)) + "\n")
