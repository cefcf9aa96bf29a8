"""Dots with intervals, one line per variant, as SVG that takes the width of its place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from damagenet.study.statistics import Range
from damagenet.study.summary import SplitSummary
from damagenet.study.tables import difference_heading, difference_text, heading, score_text

ROW_PX = 26
AXIS_PX = 30
ROOM = 0.04
"""Share of the axis that stays free on either side."""
STEPS = (1, 2, 5, 10)
MOST_TICKS = 5
FLAT = 0.01
"""Width of an axis on which all values are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One line of a plot, all values in the unit of the axis.

    Attributes:
        value: Where the dot is; None for an empty line.
        interval: Its whiskers.
        points: Single values behind the dot, one per seed.
        kind: `better`, `worse`, `baseline` or `plain`: the shape and colour of the dot.
        text: What a pointer at the line reads.
    """

    value: float | None
    interval: Range | None
    points: tuple[float, ...]
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawn plot: the SVG of its lines and that of its axis.

    Attributes:
        title: What is drawn.
        labels: Names of the lines, from the top; each is as high as a line of the SVG.
        svg: The drawing.
        height_px: Its height.
    """

    title: str
    labels: tuple[str, ...]
    svg: str
    height_px: int


def score_plot(split: SplitSummary) -> Plot:
    """Draw the means with their 95 % intervals, and every seed as a small dot."""
    marks = [
        Mark(
            value=mean.value if (mean := one.scores.get(split.score)) else None,
            interval=mean.interval if mean else None,
            points=tuple(one.seeds.values()),
            kind=_kind(one.verdict),
            text=f"{one.variant}: {score_text(split.score, mean)}, {one.verdict}",
        )
        for one in split.outcomes
    ]
    base = next((mark.value for mark in marks if mark.kind == "baseline"), None)
    return _draw(split, f"{heading(split.score)}", marks, reference=base)


def difference_plot(split: SplitSummary, baseline: str) -> Plot:
    """Draw the paired differences, each to its own base, with Holm's intervals against zero."""
    marks = [
        Mark(
            value=one.difference.mean if one.difference else None,
            interval=one.difference.interval if one.difference else None,
            points=(),
            kind=_kind(one.verdict),
            text=f"{one.variant}: {difference_text(one.difference)}, {one.verdict}",
        )
        for one in split.outcomes
    ]
    return _draw(split, difference_heading(split, baseline), marks, reference=0.0)


def _kind(verdict: str) -> str:
    return verdict if verdict in ("better", "worse", "baseline") else "plain"


def _draw(
    split: SplitSummary, title: str, marks: Sequence[Mark], *, reference: float | None
) -> Plot:
    axis = _axis(marks, reference)
    bottom = ROW_PX * len(marks)
    height = bottom + AXIS_PX
    lines = [*_ticks(axis, bottom), *_reference(axis, reference, bottom)]
    for number, mark in enumerate(marks):
        lines += _line(axis, mark, ROW_PX * number + ROW_PX / 2)
    body = "\n".join(lines)
    svg = (
        f'<svg width="100%" height="{height}" role="img" '
        f'aria-label="{escape(split.split)}: {escape(title)}">\n{body}\n</svg>'
    )
    labels = tuple(one.variant for one in split.outcomes)
    return Plot(title=title, labels=labels, svg=svg, height_px=height)


def _axis(marks: Sequence[Mark], reference: float | None) -> Range:
    values = [] if reference is None else [reference]
    for mark in marks:
        values += [*mark.points, *([mark.value] if mark.value is not None else [])]
        values += [mark.interval.low, mark.interval.high] if mark.interval else []
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = max((high - low) * ROOM, FLAT / 2 if high == low else 0.0)
    return Range(low=low - room, high=high + room)


def _at(axis: Range, value: float) -> str:
    """Return a place along the axis in per cent, which stretches with the page."""
    return f"{100 * (value - axis.low) / (axis.high - axis.low):.2f}%"


def _ticks(axis: Range, bottom: int) -> Iterator[str]:
    for value in round_values(axis.low, axis.high):
        x = _at(axis, value)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="0" y2="{bottom}"/>'
        yield f'<text class="tick" x="{x}" y="{bottom + 18}">{100 * value:g}</text>'


def round_values(low: float, high: float) -> list[float]:
    """Return up to five round values between two ends, a step of 1, 2 or 5 times a power of ten."""
    power = 10.0**-12
    while True:
        for step in STEPS:
            size = step * power
            first = -(-low // size)
            count = int(high // size - first) + 1
            if count <= MOST_TICKS:
                return [round((first + number) * size, 12) for number in range(max(0, count))]
        power *= 10


def _reference(axis: Range, value: float | None, bottom: int) -> Iterator[str]:
    if value is not None:
        x = _at(axis, value)
        yield f'<line class="reference" x1="{x}" x2="{x}" y1="0" y2="{bottom}"/>'


def _line(axis: Range, mark: Mark, y: float) -> Iterator[str]:
    yield f'<g class="{mark.kind}"><title>{escape(mark.text)}</title>'
    yield f'<rect class="reach" x="0" y="{y - ROW_PX / 2}" width="100%" height="{ROW_PX}"/>'
    if mark.interval is not None:
        low, high = _at(axis, mark.interval.low), _at(axis, mark.interval.high)
        yield f'<line class="whisker" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/>'
    for point in mark.points:
        yield f'<circle class="seed" cx="{_at(axis, point)}" cy="{y}" r="2.5"/>'
    if mark.value is not None:
        # A nested drawing is placed in per cent, what is in it has pixels.
        yield f'<svg x="{_at(axis, mark.value)}" y="{y}" overflow="visible">{_dot(mark.kind)}</svg>'
    yield "</g>"


def _dot(kind: str) -> str:
    shapes = {
        "better": "M0 -6L6 5H-6Z",
        "worse": "M0 6L6 -5H-6Z",
        "baseline": "M-5 -5H5V5H-5Z",
        "plain": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0",
    }
    return f'<path class="dot" d="{shapes[kind]}"/>'
