"""`damagenet activations`: the table of activation functions, one by one, and as pictures."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from models.activations.build import Setting

app = typer.Typer(rich_markup_mode=None, add_completion=False, invoke_without_command=True)

AsJson = Annotated[bool, typer.Option("--json", help="Write all that is known as JSON.")]
Overwrite = Annotated[bool, typer.Option(help="Replace a picture that is there.")]
INDENT = 22
"""Columns that names take in the list."""


@app.callback()
def command(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    plot_all: Annotated[
        Path | None, typer.Option(help="Draw all functions on one sheet.", metavar="FILE.png")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """List the activation functions; `show NAME` tells all of one.

    A name goes into a recipe as `model.activation`, with parameters where it has any. Trained
    parameters carry a star. The cost is the time of a training step beside SiLU, where measured.
    The slope is what an error of the variance is multiplied by from layer to layer: below 1 depth
    corrects it, above 1 `model.init: autoinit` needs norms between the layers.
    """
    if context.invoked_subcommand:
        return
    from damagenet.cli.activation_facts import facts
    from models.activations import ACTIVATIONS, settle

    settings = [settle(name, {}) for name in sorted(ACTIVATIONS)]
    if plot_all is not None:
        _check_picture(plot_all, overwrite=overwrite)
        from damagenet.cli.activation_plots import draw_sheet

        draw_sheet(settings, plot_all)
        typer.echo(f"{plot_all}: {len(settings)} functions")
    elif as_json:
        typer.echo(json.dumps({each.name: facts(each) for each in settings}, indent=1))
    else:
        typer.echo("\n".join(line for each in settings for line in _list_lines(each)))


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A function, or one of its other names.")
    ],
    *,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the function and its derivative.", metavar="FILE.png"),
    ] = None,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
) -> None:
    """Tell all that is known of one function.

    The picture of a function of two inputs is a map of its values.
    """
    from damagenet.cli.activation_facts import all_facts, fact_lines
    from models.activations import settle

    _check_name(name)
    setting = settle(name, {})
    if plot is not None:
        _check_picture(plot, overwrite=overwrite)
        from damagenet.cli.activation_plots import draw

        draw(setting, plot)
    if as_json:
        typer.echo(json.dumps(all_facts(setting), indent=1))
    else:
        typer.echo("\n".join(fact_lines(setting)))


def _list_lines(setting: "Setting") -> list[str]:
    from damagenet.cli.activation_facts import cost_text, parameters_text, start_moments

    function, slope = setting.function, start_moments(setting).variance_slope
    parts = [parameters_text(setting), function.smoothness, cost_text(setting)]
    parts.append(f"slope {slope:.2f}")
    sure = "" if function.status == "standard" else f" ({function.status})"
    parts.append(f"{function.source}{sure}")
    told = "; ".join(part for part in parts if part)
    return [f"{setting.name:<{INDENT}}{function.formula}", f"{'':<{INDENT}}{told}"]


def _check_name(name: str) -> None:
    """Raise ConfigError for an unknown function, with the names that are like it."""
    from difflib import get_close_matches

    from models.activations import ACTIVATIONS, ALIASES

    known = sorted({*ACTIVATIONS, *ALIASES})
    if name in known:
        return
    like = get_close_matches(name.lower(), known, n=3)
    hint = f"did you mean {' or '.join(like)}?" if like else f"choose one of: {', '.join(known)}"
    raise ConfigError(f"unknown activation {name!r}: {hint}")


def _check_picture(path: Path, *, overwrite: bool) -> None:
    """Raise OutputError unless a picture can appear there, before anything is drawn."""
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent} is no folder: make it, or draw into another")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name a file in it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} is there already: pass --overwrite to replace it")
