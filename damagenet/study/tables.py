"""The summary of a study in cells of text, the same for terminal, Markdown and HTML."""

from collections.abc import Sequence
from dataclasses import dataclass

from damagenet.study.statistics import Difference, Mean, Range
from damagenet.study.summary import Outcome, SplitSummary, StudySummary

NONE = "-"
PERCENT = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table of text; all columns but the first and those in `left` are numbers."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[str, ...] = ()

    def is_number(self, place: int) -> bool:
        """Whether a column is set to the right."""
        return place > 0 and self.headings[place] not in self.left


def split_table(split: SplitSummary, baseline: str) -> TextTable:
    """Return all variants on one split, the best mean first."""
    others = [name for name in ("balanced_accuracy", "auroc") if name != split.score]
    headings = (
        "variant",
        heading(split.score),
        difference_heading(split, baseline),
        *(["against"] if len(split.bases) > 1 else []),
        "p (Holm)",
        "verdict",
        *(heading(name) for name in others),
    )
    rows = tuple(_outcome_cells(split, one, others) for one in split.outcomes)
    left = ("verdict", "against")
    return TextTable(title=f"{split.split}, test part", headings=headings, rows=rows, left=left)


def difference_heading(split: SplitSummary, baseline: str) -> str:
    """Return what stands above the differences: what was taken off."""
    return f"minus {baseline}, points" if len(split.bases) < 2 else "minus its own base, points"


def cost_table(summary: StudySummary) -> TextTable:
    """Return time, memory and size of every variant, and the budgets where they differ."""
    several = bool(summary.other_budgets)
    headings = (
        "variant",
        "settings",
        "learning rate",
        *(["budget"] if several else []),
        "s / epoch",
        "time / base" if summary.bases else f"time / {summary.baseline}",
        "saved MB",
        "process MB",
        "parameters",
    )
    rows = tuple(
        (
            one.variant,
            one.settings or NONE,
            _number(one.lr, "g"),
            *([_number(one.budget, ".3g")] if several else []),
            _number(one.seconds_per_epoch, ".1f"),
            _number(one.relative_time, ".2f"),
            _number(one.saved_mb, ".0f"),
            _number(one.peak_mb, ".0f"),
            _number(one.parameters, ",d"),
        )
        for one in summary.costs
    )
    return TextTable(
        title="time and memory, all splits", headings=headings, rows=rows, left=("settings",)
    )


def tuning_table(summary: StudySummary) -> TextTable | None:
    """Return the validation scores by which learning rates were chosen; None where none were."""
    if all(tuning.fixed for tuning in summary.tuning):
        return None
    rates = sorted({rate for tuning in summary.tuning for rate in tuning.validation})
    rows = tuple(
        (
            tuning.variant,
            *(
                _validation(tuning.validation, rate, summary.select_on, chosen=rate == tuning.lr)
                for rate in rates
            ),
        )
        for tuning in summary.tuning
        if not tuning.fixed
    )
    return TextTable(
        title=f"validation {heading(summary.select_on)} by learning rate, "
        f"{summary.lr_split}, seed {summary.lr_seed} (* is taken)",
        headings=("variant", *(f"{rate:g}" for rate in rates)),
        rows=rows,
    )


def more_tables(summary: StudySummary) -> list[TextTable]:
    """Return the tables that hold for all splits."""
    tables = (cost_table(summary), tuning_table(summary))
    return [table for table in tables if table is not None]


def heading(score: str) -> str:
    """Return what a score is called above a column."""
    words = {"accuracy": "accuracy %", "balanced_accuracy": "balanced accuracy %"}
    return words.get(score, score.upper() if score == "auroc" else score)


def score_text(score: str, mean: Mean | None) -> str:
    """Return a mean with its interval, as in `94.83 (94.10 to 95.56)`."""
    if mean is None:
        return NONE
    return _with_range(mean.value, mean.interval, scale=100 if score in PERCENT else 1, score=score)


def difference_text(difference: Difference | None) -> str:
    """Return a difference in points with its interval, as in `+0.41 (-0.20 to +1.02)`."""
    if difference is None:
        return NONE
    low, high = 100 * difference.interval.low, 100 * difference.interval.high
    return f"{100 * difference.mean:+.2f} ({low:+.2f} to {high:+.2f})"


def _with_range(value: float, interval: Range | None, *, scale: int, score: str) -> str:
    digits = 3 if score == "auroc" else 2
    text = f"{scale * value:.{digits}f}"
    if interval is None:
        return text
    return f"{text} ({scale * interval.low:.{digits}f} to {scale * interval.high:.{digits}f})"


def _outcome_cells(split: SplitSummary, one: Outcome, others: Sequence[str]) -> tuple[str, ...]:
    score = split.score
    return (
        one.variant,
        score_text(score, one.scores.get(score)),
        difference_text(one.difference),
        *([one.against or NONE] if len(split.bases) > 1 else []),
        NONE if one.difference is None else p_text(one.difference.p_holm),
        one.verdict,
        *(score_text(name, one.scores.get(name)) for name in others),
    )


def p_text(p: float) -> str:
    """Return a p-value without zeros that say nothing."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)


def _validation(found: dict[float, float | None], rate: float, score: str, *, chosen: bool) -> str:
    if rate not in found:
        return NONE
    value = found[rate]
    if value is None:
        return "failed"
    text = f"{100 * value:.2f}" if score in PERCENT else f"{value:.4f}"
    return f"{text}*" if chosen else text
