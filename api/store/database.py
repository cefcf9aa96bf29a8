"""The database of one service: SQLite in its folder, or PostgreSQL by address."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from api.store.tables import Table
from damagenet.errors import ConfigError

BUSY_S = 30.0
"""How long SQLite waits for another process that writes."""
TABLES_LOCK = 0x64616D616765
"""Name of the lock of PostgreSQL under which tables are made."""


class Database:
    """Sessions on one database; its tables are made where they are missing.

    Args:
        address: SQLAlchemy address, `sqlite:///FILE` or `postgresql+psycopg://...`.

    Raises:
        ConfigError: If the address cannot be understood or nobody answers there.
    """

    def __init__(self, address: str) -> None:
        try:
            self.engine = _engine(address)
            _make_tables(self.engine)
        except (ArgumentError, ImportError) as err:
            raise ConfigError(
                "DAMAGENET_DATABASE_URL is no address of a database: "
                "write sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
            ) from err
        except SQLAlchemyError as err:
            raise ConfigError(
                "the database of DAMAGENET_DATABASE_URL does not answer: "
                "start it, or mend address, user and password"
            ) from err
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session whose changes are all kept, or none if the block raises."""
        with self._sessions.begin() as session:
            yield session

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


def _make_tables(engine: Engine) -> None:
    """Make the tables that are missing; of processes that start together one after the other."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": TABLES_LOCK})
        Table.metadata.create_all(connection)


def now() -> dt.datetime:
    """Return the time in UTC."""
    return dt.datetime.now(dt.UTC)


def utc(moment: dt.datetime) -> dt.datetime:
    """Return a moment from the database with its zone: SQLite forgets it."""
    return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)


def _engine(address: str) -> Engine:
    url = make_url(address)
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    if url.database:
        # Nobody else on the machine may read hashes of keys, or what was sent.
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def prepare(connection: object, _record: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # a sqlite3 connection
        cursor = connection.cursor()  # type: ignore[attr-defined]  # as above
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: object) -> None:
        # A transaction that reads first and writes later could not be repeated by SQLite.
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]  # Connection

    return engine
