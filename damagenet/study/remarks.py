"""What must be said beside the tables of a study, in sentences."""

from collections.abc import Iterator, Sequence

from damagenet.study.summary import SplitSummary, StudySummary


def headline(split: SplitSummary, baseline: str) -> str:
    """Return what a split shows, in a sentence or two."""
    said = {
        (word, base): [
            one.variant for one in split.outcomes if (one.verdict, one.against) == (word, base)
        ]
        for word in ("better", "worse")
        for base in split.bases
    }
    claims = [
        f"{word} than {base}: {', '.join(names)}" for (word, base), names in said.items() if names
    ]
    if claims:
        text = "; ".join(claims)
        return f"{text[0].upper()}{text[1:]}."
    if any(one.missing for one in split.outcomes):
        return "Not finished: there is no word yet on any variant."
    base = baseline if len(split.bases) < 2 else "what it is compared with"
    return f"No variant is shown to differ from {base}."


def network(summary: StudySummary) -> str:
    """Return the architecture of all runs, or how many there are."""
    names = summary.architectures
    return names[0] if len(names) == 1 else f"{len(names)} architectures"


def remarks(summary: StudySummary) -> list[str]:
    """Return how the runs were made, and what the figures do not say."""
    return [
        *_runs(summary),
        *_budget(summary),
        *_rates(summary),
        "Brackets behind a score: 95 % t-interval over the seeds. Seeds vary training, not the "
        "test tiles: nothing here says how much another town or storm would change.",
        f"Differences from {_base(summary)} are paired by seed, their intervals and p-values "
        "corrected by Holm (1979) for all comparisons of a split (t-tests, which take differences "
        'as normal): the chance that "better" or "worse" is said of any variant that does not '
        "differ is at most 5 %.",
        *(line for split in summary.splits for line in _detectable(split)),
        "Time per epoch holds training and validation, on a CPU as processor time; it is divided "
        f"by that of {_base(summary)} on the same machine. Saved MB is what "
        "autograd keeps for one batch, process MB the peak of the whole process while training.",
        *_machines(summary),
    ]


def _runs(summary: StudySummary) -> Iterator[str]:
    failed = f", {summary.failed} of them failed" if summary.failed else ""
    if summary.done < summary.total:
        yield f"Unfinished: {summary.done} of {summary.total} runs{failed}."
    else:
        yield f"{summary.total} runs{failed}."
    if summary.strangers:
        yield f"{summary.strangers} more rows belong to other settings and are not used."


def _budget(summary: StudySummary) -> Iterator[str]:
    tiles = f"{_either(summary.tiles)} tiles x " if summary.tiles else ""
    steps = f" ({_either(summary.steps)} steps)" if summary.steps else ""
    each = ", ".join(
        f"{label} ({times:.3g} times)" for label, times in summary.other_budgets.items()
    )
    same = f"; but another budget for {each}" if each else ""
    if all(cost.budget == 1 for cost in summary.costs):
        same = "; the same budget for all"
    yield (
        f"Every run: {network(summary)}, {tiles}{summary.epochs} epochs{steps}{same}. Runs of "
        "one seed share tiles, order of batches and, where layers have the same shape, initial "
        f"weights; the epoch is chosen by validation {_words(summary.select_on)}, the test part "
        "is read once."
    )


def _machines(summary: StudySummary) -> Iterator[str]:
    if summary.done:
        yield f"Measured on {_counted(summary.hardware)}; {_counted(summary.versions)}."


def _rates(summary: StudySummary) -> Iterator[str]:
    fixed = [tuning.variant for tuning in summary.tuning if tuning.fixed]
    if len(fixed) < len(summary.tuning):
        but = f" Not chosen but given: {', '.join(fixed)}." if fixed else ""
        yield (
            "Learning rate: for each variant the best by validation "
            f"{_words(summary.select_on)} on seed {summary.lr_seed} of {summary.lr_split}.{but}"
        )
    else:
        yield "Learning rates were given, not chosen by validation."
    edge = [tuning.variant for tuning in summary.tuning if tuning.at_edge]
    if edge:
        yield (
            "At the lowest or highest rate of the list, so that a better one may lie beyond: "
            f"{', '.join(edge)}."
        )


def _detectable(split: SplitSummary) -> Iterator[str]:
    if split.countable is None or split.findable is None:
        return
    yield (
        f"{split.split}: with {split.seeds} seeds and {split.family} comparisons a difference had "
        f"to reach about {100 * split.countable:.2f} points to count; a true difference of "
        f"{100 * split.findable:.2f} points would have been found with a chance of 80 % (at the "
        "middle spread between seeds). Smaller ones may exist unseen."
    )


def _base(summary: StudySummary) -> str:
    if not summary.bases:
        return summary.baseline
    return f"{summary.baseline}, or the variant that is named instead,"


def _words(score: str) -> str:
    return score.replace("_", " ")


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count} runs)" for name, count in counts.items())


def _either(numbers: Sequence[int]) -> str:
    return " or ".join(str(number) for number in numbers)
