"""Command-line parameters generated from a settings class, so that every option is said once."""

import inspect
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from damagenet.config import Settings

PLAIN_TYPES = (bool, int, float, Path)
"""Types that the command line reads itself; all others come as text, which the settings read."""


def option_name(field: str) -> str:
    """Return the command-line name of a field: `min_valid` is `--min-valid`."""
    return "--" + field.replace("_", "-")


def option_parameters(kind: type[Settings], *, first: str | None = None) -> list[inspect.Parameter]:
    """Return one keyword-only parameter for every field of a settings class, in order.

    Each defaults to None, which means "not given": so a value from a file is not overridden by
    a default. Help, default and limits shown are the field's own.

    Args:
        kind: The settings class.
        first: Field that is shown before all others, as what a class inherits stands first.
    """
    fields = sorted(kind.model_fields.items(), key=lambda field: field[0] != first)
    return [_parameter(name, field) for name, field in fields]


def take_parameters(command: Callable[..., None], parameters: list[inspect.Parameter]) -> None:
    """Let typer see these parameters after the command's own named ones."""
    own = [p for p in inspect.signature(command).parameters.values() if p.kind != p.VAR_KEYWORD]
    every = [*own, *parameters]
    # typer reads a command's parameters from these two places.
    command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]  # set by us
    command.__annotations__ = {p.name: p.annotation for p in every}


def given_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return the options that were named on the command line, repeated ones as one list."""
    return {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in values.items()
        if value is not None and value != []
    }


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    plain = _plain_type(field.annotation)
    flag = f"{option_name(name)}/--no-{name.replace('_', '-')}" if plain is bool else None
    option = typer.Option(
        flag or option_name(name),
        help=field.description,
        show_default=_shown(field, plain),
        metavar=_metavar(field, plain),
        min=next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None),  # type: ignore[arg-type]  # our limits are numbers
        max=next((limit.le for limit in field.metadata if isinstance(limit, Le)), None),  # type: ignore[arg-type]  # our limits are numbers
    )
    # Made at run time from the field, which no checker can follow.
    annotation: Any = Annotated[plain | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _plain_type(annotation: object) -> type:
    members = _members(annotation)
    if get_origin(members[0]) is tuple:
        return list[str]  # `--format gpkg --format csv` is `--format gpkg,csv`
    return next((plain for plain in PLAIN_TYPES if members == [plain]), str)


def _members(annotation: object) -> list[object]:
    """Return the types of a union without None; other types alone."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [member for member in get_args(annotation) if member is not type(None)]
    return [annotation]


def _metavar(field: FieldInfo, plain: type) -> str | None:
    member = _members(field.annotation)[0]
    if get_origin(member) is Literal:
        return "|".join(str(choice) for choice in get_args(member))
    if get_origin(member) is tuple:
        return "LIST"
    return {str: "TEXT", Path: "FILE", float: "NUMBER", int: "COUNT"}.get(plain)


def _shown(field: FieldInfo, plain: type) -> str | bool:
    if field.default is None or field.default == ():
        return False
    if plain is bool:
        return "yes" if field.default else "no"
    if isinstance(field.default, tuple):
        return ",".join(str(item) for item in field.default)
    return str(field.default)
