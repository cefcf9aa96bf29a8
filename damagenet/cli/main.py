"""`damagenet`: the commands, and the one place where an error becomes a line and an exit code."""

import logging
import sys
from typing import Annotated

import typer

from damagenet import __version__
from damagenet.cli.commands import Commands
from damagenet.errors import DamageNetError

app = typer.Typer(
    name="damagenet",
    cls=Commands,
    help="Which buildings are flooded or damaged, from post-hurricane imagery.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(*, asked: bool) -> None:
    if asked:
        typer.echo(f"damagenet {__version__}")
        raise typer.Exit


@app.callback()
def damagenet(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda asked: _say_version(asked=asked),
            help="Say which version this is.",
        ),
    ] = False,
) -> None:
    """Do nothing before the command that was asked for."""
    del version


def run() -> None:
    """Run the command line: exit code 0 ok, 1 failed, 2 wrong usage, 3 some scenes failed."""
    logging.basicConfig(format="%(message)s", stream=sys.stderr, level=logging.INFO)
    for name in ("numexpr", "onnx_ir", "onnxscript", "pyogrio", "rasterio"):
        # They count their threads, nodes and the records they wrote, and repeat GDAL's errors.
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        app(prog_name="damagenet")
    except DamageNetError as err:
        sys.stderr.write(f"damagenet: {err}\n")
        sys.exit(1)
    except OSError as err:  # of a file that a person named: a folder nobody may look into, say
        if not isinstance(err.filename, str):
            raise
        sys.stderr.write(f"damagenet: cannot use {err.filename}: {err.strerror}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("damagenet: interrupted; run the same command again to continue\n")
        sys.exit(130)
