"""Addresses of scenes that lie elsewhere: how they are written, compared and shown.

The query of an address may be a signature that opens the file to whoever reads it (a SAS token,
`X-Amz-Signature`), and nobody can tell it from a harmless one. So it is kept apart from the
start: it is used to read, and appears in no sentence and no file.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PosixPath
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator

from damagenet.errors import ConfigError

SCHEMES = ("https", "http", "s3", "gs", "az")
"""Kinds of addresses that scenes may be read from."""

_BEGINS_LIKE_ONE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""`https://host`, and `https:/host`, which is what a path makes of it."""
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Address:
    """The parts of an address that decide whether it may be read."""

    scheme: str
    host: str
    """Host, bucket or container."""
    port: int | None
    path: str
    """Begins with a slash."""

    def __str__(self) -> str:
        """Return the address as it is written."""
        port = "" if self.port == _PORTS.get(self.scheme) else f":{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{port}{self.path}"


class RemotePath(PosixPath):
    """A scene's address where the path of a file is expected.

    Its text, name and equality are those of the address without the query. It exists nowhere on
    this machine.
    """

    _address: str
    _query: str

    # A path of its own keeps every function that takes a scene's file as it is; a plain `Path`
    # makes `https:/host` of `https://host`, and has no place for the query.
    def __new__(cls, address: str, query: str = "") -> "RemotePath":
        """Return the path of an address in its normal form, as `remote_path` makes it."""
        self = super().__new__(cls, address)
        self._address, self._query = address, query
        return self

    if sys.version_info >= (3, 12):

        def __init__(self, address: str, query: str = "") -> None:
            super().__init__(address)

        def with_segments(self, *segments: str) -> Path:  # type: ignore[override]  # see `__str__`
            """Return a plain path: what is made from an address, its parent say, is none."""
            return Path(*segments)

    def __reduce__(self) -> tuple[type["RemotePath"], tuple[str, str]]:
        return RemotePath, (self._address, self._query)

    def __str__(self) -> str:
        """Return the address without its query."""
        # Paths made from this one, a parent say, are no addresses.
        return self.__dict__.get("_address") or super().__str__()

    @property
    def secret(self) -> str:
        """The whole address, query included: to read with, never to write or to show."""
        return f"{self._address}?{self._query}" if self._query else self._address

    @property
    def query(self) -> str:
        """What follows the question mark."""
        return self._query

    @property
    def address(self) -> Address:
        """The parts of the address."""
        return parse_address(self._address)

    def exists(self, **_: bool) -> bool:
        """Return False: it is no file of this machine."""
        return False

    def is_file(self, **_: bool) -> bool:
        """Return False: it is no file of this machine."""
        return False

    def is_dir(self, **_: bool) -> bool:
        """Return False: it is no folder of this machine."""
        return False

    def resolve(self, strict: bool = False) -> "RemotePath":
        """Return the address itself."""
        return self

    def absolute(self) -> "RemotePath":
        """Return the address itself."""
        return self


def is_address(text: str) -> bool:
    """Return whether a text is meant as an address, of whatever kind, and not as a file's name."""
    return _BEGINS_LIKE_ONE.match(text) is not None


def remote_path(text: str) -> RemotePath:
    """Return an address as a scene's path, its query kept apart.

    Raises:
        ConfigError: As `parse_address`, or if a bucket's address has a query.
    """
    bare, _, query = text.partition("?")
    address = parse_address(bare)
    if query and address.scheme not in _PORTS:
        raise ConfigError(f"{bare} has a query (?...), which a bucket's address has not: remove it")
    if re.search(r"[\s\x00-\x1f\\]", query):
        raise ConfigError(f"the query of {bare} holds a space or a backslash: write %20 or %5C")
    if re.search(r"""['"()]""", text):
        raise ConfigError(
            f"{bare} or its query holds a quote or a bracket, where a text may seem to end: write "
            "%27, %22, %28 or %29"
        )
    return RemotePath(str(address), query)


def parse_address(text: str) -> Address:
    """Return the parts of an address without query, the host in small letters.

    What two programs might read differently is refused: user names, `.` and `..` and empty steps
    (also as `%2e`), encoded slashes, backslashes, control characters.

    Raises:
        ConfigError: If it is of another kind or cannot be taken at its word.
    """
    shown = without_queries(text)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as err:
        raise ConfigError(f"{shown} is no address: check host and port") from err
    if parts.scheme not in SCHEMES:
        raise ConfigError(f"{shown}: addresses begin with one of {', '.join(SCHEMES)}, and ://")
    if "@" in parts.netloc:
        raise ConfigError(
            f"{shown} holds a user name: leave it out; credentials are read from the environment"
        )
    if not host or (port is not None and parts.scheme not in _PORTS):
        raise ConfigError(f"{shown} names no host or bucket: write it after ://")
    if fault := _odd(text, parts.path):
        raise ConfigError(f"{shown} holds {fault}, which may be read in two ways: write it plainly")
    known = _PORTS.get(parts.scheme)
    return Address(parts.scheme, host, port or known, parts.path or "/")


def parse_prefix(text: str) -> Address:
    """Return an entry of the list of addresses that may be read.

    Raises:
        ConfigError: As `parse_address`, or if it has a query.
    """
    if "?" in text:
        raise ConfigError(f"{without_queries(text)}: an address on the list has no query (?...)")
    return parse_address(text)


def is_allowed(address: Address, prefixes: Sequence[str]) -> bool:
    """Return whether an address is one of a list, or lies below one.

    Kind, host and port must be the same; the path must be the same or go on after a slash, so
    that `https://host/harvey` lets in no `https://host/harvey2`.
    """
    return any(_lies_below(address, parse_prefix(prefix)) for prefix in prefixes)


def without_queries(text: str) -> str:
    """Return a text in which no address shows its query or its user name."""
    text = re.sub(r"([a-zA-Z][\w+.-]+:/{1,2})[^\s/'\"?#]*@", r"\1", text)
    return re.sub(r"([a-zA-Z][\w+.-]+:/{1,2}[^\s'\"?]+)\?[^\s'\")]*", r"\1", text)


def command_line(words: Sequence[str]) -> str:
    """Return a command as a shell takes it, in which no address shows its query or user name."""
    bare = [word.partition("?")[0] if is_address(word) else word for word in words]
    return without_queries(shlex.join(bare))


def _scene_path(path: Path) -> Path:
    if isinstance(path, RemotePath) or not is_address(str(path)):
        return path
    return remote_path(_BEGINS_LIKE_ONE.sub(r"\g<0>/", str(path), count=1))


ScenePath = Annotated[Path, AfterValidator(_scene_path)]
"""A file or an address, as results keep it."""


def _lies_below(address: Address, prefix: Address) -> bool:
    same_host = (address.scheme, address.host, address.port) == (
        prefix.scheme,
        prefix.host,
        prefix.port,
    )
    below = address.path.startswith(prefix.path.rstrip("/") + "/")
    return same_host and (below or address.path == prefix.path)


def _odd(text: str, path: str) -> str:
    """Return what a text holds that a server and we might read differently; empty for nothing."""
    if re.search(r"[\x00-\x20\x7f\\]", text):
        return "a space, a backslash or a control character"
    if "#" in text:
        return "a #"
    if re.search(r"%(2f|5c|00|25)", path, re.I):
        return "an encoded slash, backslash or percent sign"
    steps = unquote(path).split("/")[1:]
    if any(step in (".", "..") for step in steps):
        return "a step of dots"
    return "an empty step (//)" if "" in steps[:-1] else ""
