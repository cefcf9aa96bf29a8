"""Who asks: the API key of a request, and what it may do."""

from dataclasses import dataclass
from typing import Literal

Scope = Literal["read", "write", "admin"]

LOCAL = "local"
"""Owner of all jobs of a service without keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever sent a request.

    Attributes:
        owner: Id of the key, which owns what it makes; `local` where there are no keys.
        scopes: What it may do.
    """

    owner: str
    scopes: frozenset[Scope]

    def may(self, scope: Scope) -> bool:
        """Return whether the caller may do what asks for this scope; admin may everything."""
        return scope in self.scopes or "admin" in self.scopes
