"""`damagenet keys`: who may use the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from damagenet.cli.serve import ConfigFile, Data

if TYPE_CHECKING:
    from api.store.keys import KeyStore

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="API keys of the service: add, list, revoke.",
)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What you call it, as in `county GIS`.")],
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, write or admin; may be repeated. Default: read and write."),
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Make a key and print it, this one time.

    read sees results, write asks for assessments, admin may all.
    """
    from api.keys import DEFAULT_SCOPES, parse_scopes

    scopes = parse_scopes(tuple(scope)) if scope else DEFAULT_SCOPES
    with _keys(data, config) as keys:
        key = keys.add(name, scopes)
    typer.echo(key.text)
    typer.echo(f"key {key.id} may {', '.join(scopes)}; it is shown only now: keep it", err=True)


@app.command("list")
def list_keys(*, data: Data = None, config: ConfigFile = None) -> None:
    """List all keys: id, scopes, when made, whether revoked, name."""
    with _keys(data, config) as keys:
        found = keys.all()
    for key in found:
        state = f"revoked {key.revoked:%Y-%m-%d}" if key.revoked else "in use"
        typer.echo(f"{key.id}  {key.scopes:<16}  {key.created:%Y-%m-%d}  {state:<18}  {key.name}")
    if not found:
        typer.echo("no keys: make one with `damagenet keys add NAME`", err=True)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `damagenet keys list` shows it.")],
    *,
    data: Data = None,
    config: ConfigFile = None,
) -> None:
    """Take a key back; its jobs and results stay."""
    with _keys(data, config) as keys:
        keys.revoke(key_id)
    typer.echo(f"key {key_id} is revoked", err=True)


@contextmanager
def _keys(data: Data, config: ConfigFile) -> "Iterator[KeyStore]":
    from api.settings import read_service_settings
    from api.store.database import Database
    from api.store.keys import KeyStore

    database = Database(read_service_settings(config, data_dir=data).database)
    try:
        yield KeyStore(database)
    finally:
        database.close()
