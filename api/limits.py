"""How much one caller may ask: requests a minute, and requests at a time."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

from api.problems import ServiceError

BURST_S = 10.0
"""Seconds of its rate that a caller may use at once after a rest."""
CALLERS = 10_000
"""Callers whose use is remembered; beyond them the longest idle are forgotten."""


@dataclass(slots=True, kw_only=True)
class Use:
    """What one caller has used: a token bucket and a count. Changed in place, under a lock."""

    tokens: float
    moment: float
    at_a_time: int = 0


class Limiter:
    """Counts requests of callers in this process.

    Args:
        per_minute: Requests of one caller, evenly; a burst of `BURST_S` seconds' worth is free.
        at_a_time: Requests of one caller that may be open together.
        clock: Seconds that never go back.
    """

    def __init__(
        self, per_minute: int, at_a_time: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_minute / 60
        self._burst = max(1.0, self._rate * BURST_S)
        self._per_minute, self._at_a_time, self._clock = per_minute, at_a_time, clock
        self._uses: dict[str, Use] = {}
        self._lock = threading.Lock()

    def begin(self, who: str) -> None:
        """Count a request that begins.

        Raises:
            ServiceError: 429 with Retry-After, if it is one too many.
        """
        with self._lock:
            use = self._use(who)
            if use.at_a_time >= self._at_a_time:
                raise too_many(f"{self._at_a_time} requests at a time", 1)
            if use.tokens < 1:
                wait_s = (1 - use.tokens) / self._rate
                raise too_many(f"{self._per_minute} requests a minute", ceil(wait_s))
            use.tokens -= 1
            use.at_a_time += 1

    def end(self, who: str) -> None:
        """Count a request that was begun as answered."""
        with self._lock:
            use = self._uses.get(who)
            if use is not None:
                use.at_a_time = max(0, use.at_a_time - 1)

    def _use(self, who: str) -> Use:
        moment = self._clock()
        use = self._uses.pop(who, None) or Use(tokens=self._burst, moment=moment)
        use.tokens = min(self._burst, use.tokens + (moment - use.moment) * self._rate)
        use.moment = moment
        self._uses[who] = use  # the last place: the first is the longest idle
        if len(self._uses) > CALLERS:
            self._make_room()
        return use

    def _make_room(self) -> None:
        idle = [who for who, use in self._uses.items() if not use.at_a_time]
        for who in idle[: CALLERS // 10]:
            del self._uses[who]


def too_many(limit: str, wait_s: int) -> ServiceError:
    """Return the answer to a caller who asks too much.

    Args:
        limit: The limit in words, as in `10 requests a minute`.
        wait_s: Seconds after which to ask again.
    """
    return ServiceError(
        429,
        f"the limit of this key is {limit}: try again in {wait_s} s",
        {"Retry-After": str(wait_s)},
    )
