"""Keys and sessions in the database: added, found by what a caller sends, taken back."""

import datetime as dt
import threading
import time

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from api.callers import Caller, Scope
from api.keys import (
    DEFAULT_SCOPES,
    NewKey,
    make_key,
    make_session,
    parse_scopes,
    same,
    sha256,
    split_key,
)
from api.store.database import Database, now, utc
from api.store.tables import BrowserSession, Key
from damagenet.errors import ConfigError

SESSION_LIFE = dt.timedelta(hours=12)
REMEMBERED_S = 5.0
"""How long the database is not asked again; a revoked key may live on for so long."""
REMEMBERED = 10_000
"""Callers remembered at most."""
NAME_LENGTH = 100


class KeyStore:
    """The keys of one service."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._remembered: dict[str, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, scopes: tuple[Scope, ...] = DEFAULT_SCOPES) -> NewKey:
        """Make a key and keep its hash; the text in what comes back is not kept.

        Args:
            name: What a person calls it, 1 to 100 characters.
            scopes: What it may do.

        Raises:
            ConfigError: If the name is empty or too long, or a key of that name is in use.
        """
        if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable():
            raise ConfigError(f"a key's name has 1 to {NAME_LENGTH} printable characters")
        key = make_key()
        with self._database.transaction() as session:
            if session.scalar(select(Key.id).where(Key.name == name, Key.revoked.is_(None))):
                raise ConfigError(
                    f"there is a key {name!r} already: revoke it, or take another name"
                )
            session.add(
                Key(
                    id=key.id,
                    name=name,
                    secret_sha256=key.secret_sha256,
                    scopes=" ".join(scopes),
                    created=now(),
                )
            )
        return key

    def all(self) -> list[Key]:
        """Return all keys, also revoked ones, the oldest first."""
        with self._database.transaction() as session:
            return list(session.scalars(select(Key).order_by(Key.created, Key.id)))

    def any(self) -> bool:
        """Return whether there is a key that opens the service."""
        with self._database.transaction() as session:
            return session.scalar(select(func.count()).where(Key.revoked.is_(None))) != 0

    def revoke(self, key_id: str) -> None:
        """Take a key back, and its sessions with it.

        Raises:
            ConfigError: If there is no such key, or it is revoked already.
        """
        in_use = (Key.id == key_id, Key.revoked.is_(None))
        with self._database.transaction() as session:
            if session.scalar(select(Key.id).where(*in_use)) is None:
                raise ConfigError(f"no key {key_id!r} is in use: see `damagenet keys list`")
            session.execute(update(Key).where(*in_use).values(revoked=now()))
            session.execute(delete(BrowserSession).where(BrowserSession.key == key_id))
        self._forget()

    def caller_of_key(self, text: str) -> Caller | None:
        """Return whose key this is; None for what is no key, unknown or revoked."""
        parts = split_key(text)
        if parts is None:
            return None
        with self._database.transaction() as session:
            key = session.get(Key, parts[0])
            # An unknown id takes as long as a wrong secret.
            right = same(sha256(parts[1]), key.secret_sha256 if key else sha256(""))
        if key is None or not right or key.revoked is not None:
            return None
        return self._remember(text, _caller(key))

    def open_session(self, key_id: str) -> str:
        """Return the text of a new session of a key; only its hash is kept."""
        text, moment = make_session(), now()
        with self._database.transaction() as session:
            _forget_old_sessions(session, moment)
            session.add(
                BrowserSession(
                    token_sha256=sha256(text),
                    key=key_id,
                    created=moment,
                    expires=moment + SESSION_LIFE,
                )
            )
        return text

    def caller_of_session(self, text: str) -> Caller | None:
        """Return whose session this is; None for an unknown or an old one."""
        with self._database.transaction() as session:
            # Found by the hash of 256 random bits: how long that takes tells nothing of them.
            found = session.get(BrowserSession, sha256(text))
            key = session.get(Key, found.key) if found else None
        if found is None or key is None or key.revoked is not None or utc(found.expires) < now():
            return None
        return self._remember(text, _caller(key))

    def close_session(self, text: str) -> None:
        """End a session; an unknown one is ended already."""
        with self._database.transaction() as session:
            session.execute(
                delete(BrowserSession).where(BrowserSession.token_sha256 == sha256(text))
            )
        self._forget()

    def remembered(self, text: str) -> Caller | None:
        """Return who showed this key or session in the last seconds."""
        until, caller = self._remembered.get(sha256(text), (0.0, None))
        return caller if time.monotonic() < until else None

    def _remember(self, text: str, caller: Caller) -> Caller:
        with self._lock:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.clear()
            self._remembered[sha256(text)] = (time.monotonic() + REMEMBERED_S, caller)
        return caller

    def _forget(self) -> None:
        with self._lock:
            self._remembered.clear()


def _caller(key: Key) -> Caller:
    return Caller(owner=key.id, scopes=frozenset(parse_scopes(tuple(key.scopes.split()))))


def _forget_old_sessions(session: Session, moment: dt.datetime) -> None:
    session.execute(delete(BrowserSession).where(BrowserSession.expires < moment))
