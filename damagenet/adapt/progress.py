"""How far an adaptation is: the share of its work that is done, told by whoever does a part."""

from collections.abc import Callable

Tell = Callable[[float], None]
"""Takes the share of the work that is done, 0..1."""


def no_one(_share: float) -> None:
    """Stand for a listener where nobody asked."""


def between(tell: Tell, first: float, last: float) -> Tell:
    """Return what a part of the work tells: 0 is `first` of the whole, 1 is `last`."""
    return lambda share: tell(first + share * (last - first))
