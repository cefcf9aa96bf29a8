"""Who may ask: the dependency that gives the caller of a request."""

from collections.abc import Callable

from sqlalchemy import func, select

from api.callers import LOCAL, Caller, Scope
from api.settings import ServiceSettings
from api.store.database import Database
from api.store.tables import Key
from damagenet.errors import ConfigError


def caller(scope: Scope) -> Callable[[], Caller]:
    """Return a dependency that gives the caller, who may do what asks for this scope."""

    def find_caller() -> Caller:
        return Caller(owner=LOCAL, scopes=frozenset({"read", "write", scope}))

    return find_caller


def require_keys_for(
    host: str, settings: ServiceSettings, database: Database, *, insecure: bool = False
) -> ServiceSettings:
    """Return the settings to serve an address with: others than loopback want keys.

    Raises:
        ConfigError: If keys are needed and there is none.
    """
    if insecure or host in ("127.0.0.1", "localhost", "::1"):
        return settings
    with database.transaction() as session:
        if not session.scalar(select(func.count(Key.id))):
            raise ConfigError(f"{host} can be reached by others and there is no API key")
    return settings.model_copy(update={"require_keys": True})
