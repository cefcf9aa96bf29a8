"""The waiting line of `/v1/predict`: chips of many requests, dealt out in fair batches."""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from damagenet.inference import Images, Predictor

Probabilities = NDArray[np.float64]


@dataclass(slots=True, eq=False, kw_only=True)
class Ask:
    """The chips of one request; changed in place as batches take and answer them.

    Attributes:
        predictor: Whom they are for.
        images: As `Predictor.probabilities` takes them, N chips.
        arrived: When they joined the line, in seconds of `time.monotonic`.
        answer: Gets the probabilities, float64 (N,), or what went wrong.
        left: Chips that no batch has taken.
    """

    predictor: "Predictor"
    images: tuple["Images", ...]
    arrived: float = 0.0
    answer: "Future[Probabilities]" = field(default_factory=Future)
    left: int = field(init=False)
    _unanswered: int = field(init=False)
    _found: Probabilities = field(init=False)

    def __post_init__(self) -> None:
        self.left = self._unanswered = len(self.images[0])
        self._found = np.empty(self.left)

    def take(self, count: int) -> slice:
        """Return the rows of the next `count` chips; they are no longer left."""
        start = len(self._found) - self.left
        self.left -= count
        return slice(start, start + count)

    def fill(self, rows: slice, found: Probabilities) -> None:
        """Keep probabilities that a batch found; the answer goes out with the last of them."""
        self._found[rows] = found
        self._unanswered -= len(found)
        if not self._unanswered and not self.answer.done():
            self.answer.set_result(self._found)

    def fail(self, error: BaseException) -> None:
        """Answer with an error."""
        if not self.answer.done():
            self.answer.set_exception(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Chips that go through the network together.

    Attributes:
        predictor: Whom they are for.
        shares: Whose chips they are: the request and its rows, in the order of the batch.
    """

    predictor: "Predictor"
    shares: tuple[tuple[Ask, slice], ...]

    def __len__(self) -> int:
        return sum(rows.stop - rows.start for _, rows in self.shares)

    def probabilities(self) -> Probabilities:
        """Return the probabilities of all chips, float64 (N,); runs the network."""
        pictures = range(len(self.shares[0][0].images))
        images = tuple(
            np.concatenate([ask.images[picture][rows] for ask, rows in self.shares])
            for picture in pictures
        )
        return self.predictor.probabilities(images)

    def fill(self, found: Probabilities) -> None:
        """Give each request its own probabilities."""
        start = 0
        for ask, rows in self.shares:
            count = rows.stop - rows.start
            ask.fill(rows, found[start : start + count])
            start += count

    def fail(self, error: BaseException) -> None:
        """Answer every request in it with an error."""
        for ask, _ in self.shares:
            ask.fail(error)


class WaitingLine:
    """Requests in the order of their coming.

    The first in line chooses the model; those behind it that ask for the same fill the batch. Who
    fills a batch alone and wants more goes to the end, so that many chips do not hold up few.
    """

    def __init__(self) -> None:
        self._line: deque[Ask] = deque()
        self.chips = 0
        """Chips of all requests that no batch has taken."""

    @property
    def first(self) -> Ask:
        """The request that the next batch is for; the line must not be empty."""
        return self._line[0]

    def join(self, ask: Ask) -> None:
        """Put a request with at least one chip at the end."""
        self._line.append(ask)
        self.chips += ask.left

    def leave(self, ask: Ask) -> None:
        """Take what is left of a request out of the line."""
        if ask.left:
            self._line.remove(ask)
            self.chips -= ask.left
            ask.left = 0

    def batch_for(self, threads: int) -> Batch:
        """Take a fair batch out of the line, which must not be empty.

        Args:
            threads: Idle ones. Few chips are spread over them, as they are ready sooner then.
        """
        most = self.first.predictor.batch_size
        return self._next_batch(min(most, ceil(self._for_first(most * threads) / threads)))

    def fills_a_batch(self) -> bool:
        """Return whether enough chips wait for the model of the first."""
        most = self.first.predictor.batch_size
        return self._for_first(most) >= most

    def _for_first(self, most: int) -> int:
        """Return how many chips wait for the model of the first; from `most` on nobody counts."""
        chips = 0
        for ask in self._line:
            if ask.predictor is self.first.predictor:
                chips += ask.left
            if chips >= most:
                break
        return chips

    def _next_batch(self, most: int) -> Batch:
        predictor = self.first.predictor
        shares: list[tuple[Ask, slice]] = []
        passed: list[Ask] = []
        while self._line and most:
            ask = self._line.popleft()
            if ask.predictor is not predictor:
                passed.append(ask)
                continue
            count = min(ask.left, most)
            shares.append((ask, ask.take(count)))
            self.chips -= count
            most -= count
            if ask.left and len(shares) == 1:
                self._line.append(ask)
            elif ask.left:
                self._line.appendleft(ask)
        self._line.extendleft(reversed(passed))
        return Batch(predictor=predictor, shares=tuple(shares))
