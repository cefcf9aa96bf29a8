"""`damagenet explain`: what verdicts were made of, as pictures and as maps."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.cli.option_parameters import given_values, option_parameters, take_parameters
from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.explain.options import ExplainOptions

if TYPE_CHECKING:
    from damagenet.explain.explain import Explained

SOME_FAILED = 3
"""Exit code where some scenes were explained and others could not be read."""

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="SCENE|CHIP",
        help="Scenes, or chips as large as the model's: files, folders, globs, or a list (.txt).",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the maps.")]


def command(inputs: Inputs, out: Out, **given: object) -> None:
    """Show what verdicts were made of: where the network looked.

    Chips get a picture each. A scene gets DIR/<scene>/explain_METHOD.tif, a raster that lies on
    the map, its QGIS style, and pictures of the first units. DIR/index.html shows the pictures
    and says what they mean. A map is no proof: it says what moved the number, not whether the
    verdict is right; guided_backprop shows edges and hardly depends on the verdict.
    """
    try:
        options = make_settings(ExplainOptions, given_values(given), source="command line")
    except ConfigError as err:
        raise typer.BadParameter(str(err)) from None
    done = _explain(inputs, out, options)
    sys.stdout.write("\n".join(_lines(done, options)) + "\n")
    for reason in done.failed:
        sys.stderr.write(f"failed: {reason}\n")
    if done.failed:
        raise typer.Exit(SOME_FAILED)


take_parameters(command, option_parameters(ExplainOptions, first="method"))


def _explain(inputs: list[str], out: Path, options: ExplainOptions) -> "Explained":
    """Find the files, load what is heavy, and explain."""
    from damagenet.engine.scene_list import find_scenes

    found = find_scenes(inputs)
    from damagenet.explain.explain import explain_inputs

    if not sys.stderr.isatty():
        return explain_inputs(found, out, options)
    try:
        return explain_inputs(found, out, options, progress=_tell)
    finally:
        sys.stderr.write("\n")


def _tell(scene: Path, units: int, total: int) -> None:
    sys.stderr.write(f"\r{scene.name}: {units:,} of {total:,} units looked at")


def _lines(done: "Explained", options: ExplainOptions) -> list[str]:
    """Return what was written, and what must be known of it."""
    lines = [f"note: {note}" for note in done.notes]
    for one in done.scenes:
        left = f", {one.left_out:,} could not be judged" if one.left_out else ""
        lines.append(f"{one.scene.name}: {one.units:,} units explained{left}")
        lines += [f"  {raster}" for raster in one.rasters.values()]
        lines += [
            f"  {method}: at most {rest:.1%} of the change in log-odds is unexplained"
            for method, rest in one.rest.items()
        ]
    if done.chips:
        lines.append(f"{done.chips:,} chips explained")
    if "guided_backprop" in options.method:
        lines.append("guided_backprop is edge evidence: read it beside grad_cam, not alone")
    return [*lines, f"Open {done.page}"]
