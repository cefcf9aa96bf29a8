"""Settings from YAML, from `--set` and from the command line: one reader, one way to complain."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from damagenet.addresses import without_queries
from damagenet.errors import ConfigError


class Settings(BaseModel):
    """A frozen group of settings that knows its defaults, limits and help, and refuses typos."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


SettingsT = TypeVar("SettingsT", bound=Settings)


def read_settings(
    kind: type[SettingsT], path: Path | None = None, *, overrides: Sequence[str] = ()
) -> SettingsT:
    """Read settings from a YAML file and apply `a.b=value` overrides, the last one winning.

    Args:
        kind: The settings class.
        path: YAML file; without one only defaults and overrides count.
        overrides: Texts like `training.epochs=3`; values are read as YAML.

    Raises:
        ConfigError: If the file is missing, is no YAML mapping, or holds an unknown key or a
            value out of range; the message names the dotted path and what is allowed.
    """
    values = _read_mapping(path) if path else {}
    for override in overrides:
        _apply(values, override, defaults=kind().model_dump())
    return make_settings(kind, values, source=str(path) if path else "options")


def make_settings(
    kind: type[SettingsT], values: Mapping[str, object], *, source: str = "options"
) -> SettingsT:
    """Return settings made from plain values.

    Args:
        kind: The settings class.
        values: Its fields by name, as YAML or the command line gives them.
        source: Where they come from, for what is said of a fault.

    Raises:
        ConfigError: If a value is unknown, missing or out of range; with the dotted path of each.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as err:
        faults = "; ".join(_explain(kind, fault) for fault in err.errors())
        raise ConfigError(f"{source}: {faults}") from None


def with_changes(
    settings: SettingsT, changes: Mapping[str, object], *, source: str = "options"
) -> SettingsT:
    """Return settings of which some have other values; the rest stays as it was given.

    Args:
        settings: What is changed.
        changes: Values by dotted name, as in `{"training.epochs": 3}`.
        source: Where they come from, for what is said of a fault.

    Raises:
        ConfigError: As `make_settings`.
    """
    values = settings.model_dump(exclude_unset=True)
    defaults = settings.model_dump()
    # A choice as a whole comes before its parameters, in whatever order they are written.
    for dotted, value in sorted(changes.items(), key=lambda change: change[0].count(".")):
        # A copy: a later change may reach into it.
        _put(values, dotted, deepcopy(value), defaults=defaults)
    return make_settings(type(settings), values, source=source)


@contextmanager
def setting(dotted: str) -> Iterator[None]:
    """Put the dotted path of a setting before what is wrong with its value.

    Raises:
        ConfigError: Where what is done inside raises one.
    """
    try:
        yield
    except ConfigError as err:
        raise ConfigError(f"{dotted}: {err}") from err


def meant(word: str, choices: Iterable[str], *, group: str = "") -> str:
    """Return a hint for a word that is none of the choices; blank where none is like it.

    Args:
        word: What was written.
        choices: What may be.
        group: Dotted path before both, where they are settings.
    """
    close = get_close_matches(word, list(choices), n=1)
    return f" (did you mean {'.'.join([group, *close]).lstrip('.')!r}?)" if close else ""


def _read_mapping(path: Path) -> dict[str, object]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise ConfigError(f"cannot read settings file {path}: {err.strerror}") from err
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        where = getattr(err, "problem_mark", None)
        at = f" line {where.line + 1}" if where else ""
        raise ConfigError(f"{path}{at} is not valid YAML: mend the file") from err
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path} holds a {type(loaded).__name__}: it must be `key: value` lines")
    return loaded


def _apply(values: dict[str, object], override: str, *, defaults: object) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"--set takes NAME=VALUE with a dotted name, got {override!r}")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise ConfigError(f"--set {override}: the value is not valid YAML") from err
    _put(values, dotted, value, defaults=defaults)


def _put(values: dict[str, object], dotted: str, value: object, *, defaults: object) -> None:
    *groups, name = dotted.strip().split(".")
    here = values
    for group in groups:
        # A choice that is not given starts from its default, so that `optimizer.lr` keeps its name.
        defaults = defaults.get(group) if isinstance(defaults, dict) else None
        given = dict(defaults) if isinstance(defaults, dict) and "name" in defaults else {}
        inner = here.setdefault(group, given)
        if not isinstance(inner, dict):
            # `activation: relu` is short for `activation: {name: relu}`.
            inner = here[group] = {"name": inner}
        here = inner
    here[name] = value


def _explain(kind: type[BaseModel], fault: ErrorDetails) -> str:
    dotted = ".".join(str(step) for step in fault["loc"]) or "settings"
    if fault["type"] == "extra_forbidden":
        allowed = _names_at(kind, [str(step) for step in fault["loc"][:-1]])
        hint = meant(str(fault["loc"][-1]), allowed, group=dotted.rpartition(".")[0])
        return f"unknown setting {dotted!r}{hint}; choose one of: {', '.join(sorted(allowed))}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "missing":
        return f"{dotted} is missing"
    given = fault["input"]
    shown = without_queries(str(given)) if isinstance(given, Path | str) else given
    return f"{dotted}: {message[0].lower()}{message[1:]}, got {shown!r}"


def _names_at(kind: type[BaseModel], steps: list[str]) -> list[str]:
    for step in steps:
        field = kind.model_fields.get(step)
        if field is None:
            continue  # a union's branch name, which is not a key of the file
        options = [field.annotation, *get_args(field.annotation)]
        inner = [a for a in options if isinstance(a, type) and issubclass(a, BaseModel)]
        if not inner:
            return []
        kind = inner[0]
    return list(kind.model_fields)
