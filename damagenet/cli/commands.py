"""The commands by name, each imported when it is asked for: together they take half a second."""

from importlib import import_module
from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup
from typer.main import get_group

if TYPE_CHECKING:
    # Of typer's own copy of click, which has no public name.
    from typer._click import Command, Context, HelpFormatter

COMMANDS = {
    "assess": "Say which buildings, or cells of a grid, a storm damaged.",
    "inspect": "Say whether scenes can be assessed, and what that would take.",
    "train": "Train a network by a recipe, to a bundle in OUT/bundle.",
    "adapt": "Fit a model to one event by labelled buildings.",
    "evaluate": "Score a recipe, a model, or an assessment against a survey.",
    "explain": "Show what verdicts were made of: where the network looked.",
    "export": "Write a model as a file that runs without damagenet.",
    "summarise": "Count damaged buildings per area, with 95 % intervals.",
    "suggest": "Pick the buildings most worth labelling next.",
    "study": "Compare activations, or any other settings, on equal terms.",
    "transfer": "Compare how well networks transfer to the tiles.",
    "serve": "Serve damage maps by REST and on a web page.",
    "worker": "Do the jobs of a service, also on another machine.",
    "demo": "Assess a scene and say where the map is.",
    "activations": "List the activation functions; `show NAME` tells all of one.",
    "data": "Prepare and audit the Harvey data set.",
    "keys": "API keys of the service: add, list, revoke.",
    "models": "List the shipped models and how good they are.",
}
"""Commands in the order of `--help`, each with the first sentence of its own help. Each is a module
of this package with a function `command`, or with commands of its own in `app`."""


class Commands(TyperGroup):
    """The commands of `COMMANDS`."""

    def list_commands(self, ctx: "Context") -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        """Return a command, imported now; None where there is none of this name."""
        return load_command(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: "Context", args: list[str]
    ) -> "tuple[str | None, Command | None, list[str]]":
        """Return the command that is asked for; of any other, say which may be meant."""
        if args and args[0] not in COMMANDS:
            from damagenet.config import meant  # only now: it needs pydantic

            ctx.fail(f"No such command {args[0]!r}{meant(args[0], COMMANDS)}: see damagenet --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Write the names with their sentences; nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def load_command(name: str) -> "Command":
    """Import a command of `COMMANDS` and return it."""
    module = import_module(f"damagenet.cli.{name}")
    one = typer.Typer(rich_markup_mode=None, add_completion=False)
    one.callback()(_nothing_else)
    if hasattr(module, "app"):
        one.add_typer(module.app, name=name)
    else:
        one.command(name)(module.command)
    return get_group(one).commands[name]


def _nothing_else() -> None:
    """Make a group of what may be a single command."""
