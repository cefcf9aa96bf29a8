"""API keys and browser sessions as text: made once, shown once, kept as hashes."""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from api.callers import Scope
from damagenet.errors import ConfigError

PREFIX = "damagenet"
SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
DEFAULT_SCOPES: tuple[Scope, ...] = ("read", "write")
SECRET_BYTES = 32
"""256 random bits, of a key as of a session."""

_KEY = re.compile(rf"{PREFIX}_([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key at the only moment at which its text is known."""

    id: str
    """16 hexadecimal digits; names the key in lists, logs and jobs."""
    text: str
    """`damagenet_ID_SECRET`, what a caller sends."""
    secret_sha256: str


def make_key() -> NewKey:
    """Return a new key from the system's source of random bits."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(SECRET_BYTES)
    return NewKey(id=key_id, text=f"{PREFIX}_{key_id}_{secret}", secret_sha256=sha256(secret))


def make_session() -> str:
    """Return the text of a new session's cookie."""
    return secrets.token_urlsafe(SECRET_BYTES)


def split_key(text: str) -> tuple[str, str] | None:
    """Return id and secret of a key's text; None where it is no key."""
    found = _KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def sha256(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal digits.

    A secret of 256 random bits cannot be found by trying, so that a slow hash would gain nothing.
    """
    return hashlib.sha256(text.encode()).hexdigest()


def same(found: str, expected: str) -> bool:
    """Compare two hashes in a time that tells nothing about them."""
    return hmac.compare_digest(found.encode(), expected.encode())


def parse_scopes(given: tuple[str, ...]) -> tuple[Scope, ...]:
    """Return scopes in their order, each once.

    Raises:
        ConfigError: If none is given, or one is unknown.
    """
    unknown = [name for name in given if name not in SCOPES]
    if unknown or not given:
        raise ConfigError(
            f"no scope {', '.join(map(repr, unknown)) or 'is given'}: "
            f"choose from {', '.join(SCOPES)}"
        )
    return tuple(scope for scope in SCOPES if scope in given)
