"""What is said of totals in plain words: the whole in a sentence, and when it holds."""

from damagenet.card import Card
from damagenet.evaluation.truth import elsewhere_told, words_told
from damagenet.outputs.totals import AreaTotal, Situation
from damagenet.totals.error_rates import ErrorRates, Rate
from damagenet.totals.labels import Labels
from damagenet.totals.likeness import DOUBT

HOW_TO_CALIBRATE = (
    "To calibrate, draw buildings at random from damage.* (100 or more), look each of them up, and "
    "pass them with --labels and a column `drawn` that says `random`."
)
FEWEST = 20
"""Random labels below which the measured coverage says nothing."""


def sentence(whole: AreaTotal, situation: Situation, kind: str) -> str:
    """Return the whole run's total in one sentence."""
    span = f"between {whole.low:,} and {whole.high:,} of {whole.units:,} {kind}s are damaged"
    if situation == "random-labels":
        return (
            f"With 95 % confidence {span}, as {whole.labelled_random:,} labels drawn at random "
            f"say, {whole.labelled_random_damaged:,} of them damaged."
        )
    if situation == "card-rates":
        return f"If the model errs here as it did where it was measured, {span}."
    return f"All that can be said is that {span}."


def guarantee(
    situation: Situation, labels: Labels, card: Card | None, *, by_verdict: bool = True
) -> str:
    """Return when the intervals hold, and what is missing where they may not.

    Args:
        situation: What the totals rest on.
        labels: Joined with the units.
        card: The model's.
        by_verdict: Whether random labels were counted verdict by verdict, or without any.
    """
    if situation == "random-labels":
        drawn = ", or from all of one verdict" if by_verdict else " that were judged"
        alike = "units with the same verdict" if by_verdict else "units"
        return (
            "The interval of the whole run, and of an area counted from its own labels, holds "
            "whatever the model's errors are, if the labels were drawn at random from all units "
            f"of the run{drawn}. An area counted from the labels of the whole run rests on one "
            f"thing more: that {alike} are as often damaged there as elsewhere."
        )
    missing = _missing(labels)
    rates = None if card is None else ErrorRates.of_card(card)
    if rates is None:
        return f"{missing} {HOW_TO_CALIBRATE}"
    measured = (
        f"The rates are those on the model's card: of damaged units it flags "
        f"{_share(rates.recall)}, of undamaged ones {_share(rates.alarms)}."
    )
    useless = (
        ""
        if rates.tell_apart
        else " With these rates a flag tells next to nothing, so the totals are meaningless: "
        "nearly any number of damaged units explains what was flagged."
    )
    return f"{missing} {measured}{useless} {HOW_TO_CALIBRATE}"


def _missing(labels: Labels) -> str:
    if labels.known.any():
        return (
            "None of the labels is marked as drawn at random, so they count as known truths only, "
            "and nothing says how often the model errs in this event."
        )
    return "There are no labels of this event, so nothing says how often the model errs in it."


def _share(rate: Rate) -> str:
    return f"{100 * rate.value:.1f} % ({100 * rate.low:.1f} to {100 * rate.high:.1f}, n {rate.n:,})"


def label_notes(labels: Labels, name: str, kind: str, *, not_judged: int) -> list[str]:
    """Return what became of the labels, none where there are none.

    Args:
        labels: Joined with the units.
        name: Of their file.
        kind: What a unit is called.
        not_judged: Labels of units that were not judged.
    """
    join = labels.join
    if join is None:
        return []
    how = "id" if join.joined_by == "id" else "place (nearest within 10 m)"
    random = int(labels.random.sum())
    told = [
        f"{join.matched:,} labels of {name} joined by {how}, {random:,} of them drawn at random; "
        f"{join.truth_unmatched:,} match no {kind}{elsewhere_told(join)}",
        words_told(join.words),
    ]
    if join.truth_ignored:
        words = ", ".join(f"{count:,} {word}" for word, count in join.truth_ignored.items())
        told.append(f"labels that say nothing, taken as missing by chance: {words}")
    if not_judged:
        told.append(
            f"{not_judged:,} labels are of {kind}s that were not judged (outside, without imagery "
            "or obscured): they speak for those, as nothing else does"
        )
    if 0 < random < FEWEST:
        told.append(f"only {random} random labels: the intervals are wide; draw {FEWEST} or more")
    return told


def learned_note(learned: int, kind: str) -> list[str]:
    """Return what is done about labels that the model was adapted to, none where there are none.

    Args:
        learned: How many labels that may be.
        kind: What a unit is called.
    """
    if not learned:
        return []
    return [
        f"the model was adapted to ground of {learned:,} of these labels, so that its verdicts fit "
        f"them better than other {kind}s: the totals rest on the random labels alone, whatever the "
        "verdicts say; labels drawn after the adaptation would make the intervals narrower"
    ]


def likeness_note(chance: float, *, shared: bool) -> str:
    """Return what the random labels say of borrowing between areas, and what was done.

    Args:
        chance: How often alike areas would differ as much; see `chance_of_likeness`.
        shared: Whether areas with few labels borrowed.
    """
    differ = chance < DOUBT
    found = (
        f"between areas the random labels differ more than chance explains (p = {chance:.3f})"
        if differ
        else f"the random labels do not show that areas differ (p = {chance:.2f}), nor do they "
        "prove that areas are alike"
    )
    if not shared:
        advice = "" if differ else ", or pass --share if you know that areas are alike"
        return (
            f"every area is counted from its own random labels, so its interval holds: where it is "
            f"too wide, label more there at random{advice}; {found}"
        )
    if differ:
        return f"{found}, and yet --share lets areas borrow: do not trust the rows that did"
    return f"areas with few labels borrow from the whole run (--share): {found}"


def contradiction_note(areas: list[str]) -> list[str]:
    """Return the note on areas whose flags no number of damaged units explains."""
    if not areas:
        return []
    shown = ", ".join(areas[:5]) + (" and others" if len(areas) > 5 else "")
    return [
        f"in {shown} the share of flagged units fits none of the card's error rates, so they do "
        "not hold here: nothing is said beyond the labels"
    ]
