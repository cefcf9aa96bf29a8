"""`summarise_results`: from verdicts, areas and labels to the totals of every area."""

import datetime as dt

import numpy as np
import numpy.typing as npt

from damagenet import __version__
from damagenet.errors import ConfigError
from damagenet.labels import Label
from damagenet.outputs.totals import HEADLINES, AreaTotal, Situation, Totals
from damagenet.outputs.trust import run_trust
from damagenet.totals.areas import NO_AREA, Areas, place_units, read_areas
from damagenet.totals.error_rates import ErrorRates
from damagenet.totals.estimate import Counted, count_by_labels, count_by_rates, count_whole
from damagenet.totals.labels import Labels, no_labels, read_labels
from damagenet.totals.learned_labels import count_learned
from damagenet.totals.likeness import chance_of_likeness
from damagenet.totals.options import SummariseOptions
from damagenet.totals.tally import Tally
from damagenet.totals.verdicts import Verdicts
from damagenet.totals.words import (
    contradiction_note,
    guarantee,
    label_notes,
    learned_note,
    likeness_note,
    sentence,
)

OUTSIDE = "(in no area)"
WHOLE = "(whole run)"


def read_areas_of(options: SummariseOptions) -> Areas | None:
    """Return the areas that the options name, None where they name none."""
    if options.areas is None:
        return None
    return read_areas(options.areas, id_field=options.area_id_field)


def summarise_results(verdicts: Verdicts, areas: Areas | None, options: SummariseOptions) -> Totals:
    """Count damaged units in every area, and in the whole run.

    Args:
        verdicts: What the model said; see `read_verdicts`.
        areas: Where to count; None counts the whole run alone.
        options: Labels, and how they are read.

    Raises:
        EvaluationError: If labels or areas do not match the verdicts, or contradict themselves.
        FootprintError: If the labels cannot be read.
    """
    labels = _labels(verdicts, options)
    tally, names = _tally(verdicts, labels, areas)
    learned = count_learned(verdicts, labels) if labels.random.any() else 0
    known = tally.without_verdicts if learned else tally
    situation, counted, whole, told = _count(known, verdicts, labels, options)
    rows = [
        _row(tally, index, one, name=names[index], whole=False)
        for index, one in enumerate(counted)
        if areas is not None and (index < len(areas.ids) or tally.units[index].any())
    ]
    rows.append(_row(tally.whole, 0, whole, name=WHOLE, whole=True))
    contradicted = [names[index] for index, one in enumerate(counted) if one.contradicted]
    return Totals(
        situation=situation,
        headline=HEADLINES[situation],
        sentence=sentence(rows[-1], situation, verdicts.kind),
        guarantee=guarantee(situation, labels, verdicts.card, by_verdict=not learned),
        notes=(
            *(areas.warnings if areas else ()),
            *_strangeness_note(verdicts),
            *label_notes(
                labels,
                options.labels.name if options.labels else "",
                verdicts.kind,
                not_judged=int((labels.known & _not_judged(verdicts)).sum()),
            ),
            *learned_note(learned, verdicts.kind),
            *_outside_note(rows, verdicts.kind),
            *told,
            *_card_note(verdicts),
            *contradiction_note(contradicted),
        ),
        kind=verdicts.kind,
        model=verdicts.model,
        results=verdicts.path,
        areas=options.areas,
        labels=options.labels,
        rows=tuple(rows),
        assessments=tuple(one.key for one in verdicts.assessments),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        damagenet=__version__,
    )


def _labels(verdicts: Verdicts, options: SummariseOptions) -> Labels:
    if options.labels is None:
        return no_labels(len(verdicts.units))
    if options.field is None:  # `require_together` made sure
        raise ConfigError("to read --labels, name --field too")
    return read_labels(
        verdicts.units,
        options.labels,
        options.field,
        options.words,
        id_field=options.id_field,
        all_random=options.labels_are_random,
    )


def _tally(verdicts: Verdicts, labels: Labels, areas: Areas | None) -> tuple[Tally, list[str]]:
    """Return the counts of every area and, as the last place, of all units in none."""
    units = verdicts.units
    names = [] if areas is None else list(areas.ids)
    placed = np.full(len(units), NO_AREA) if areas is None else place_units(units, areas)
    places = np.where(placed == NO_AREA, len(names), placed)
    tally = Tally.of(units, labels, places, count=len(names) + 1, threshold=verdicts.thresholds)
    return tally, [*names, OUTSIDE]


def _count(
    tally: Tally, verdicts: Verdicts, labels: Labels, options: SummariseOptions
) -> tuple[Situation, list[Counted], Counted, list[str]]:
    """Return the situation, every place, the whole run, and what must be said of sharing."""
    if labels.random.any():
        counted = count_by_labels(tally, own_labels=options.own_labels, shared=options.share)
        told = []
        if len(tally.units) > 1:
            chance = chance_of_likeness(tally.random, tally.random_damaged)
            told = [likeness_note(chance, shared=options.share)]
        return "random-labels", counted, count_whole(tally), told
    card = verdicts.card
    rates = None if card is None else ErrorRates.of_card(card)
    situation: Situation = "no-rates" if rates is None else "card-rates"
    return situation, count_by_rates(tally, rates), count_by_rates(tally.whole, rates)[0], []


def _row(tally: Tally, index: int, counted: Counted, *, name: str, whole: bool) -> AreaTotal:
    flagged, undamaged, uncertain, not_judged = (int(count) for count in tally.units[index])
    outside = not whole and index == len(tally.units) - 1
    return AreaTotal(
        scope="all" if whole else "outside" if outside else "area",
        area=name,
        estimate=None if counted.estimate is None else _rounded(counted),
        low=counted.low,
        high=counted.high,
        units=int(tally.units[index].sum()),
        flagged=flagged,
        undamaged=undamaged,
        uncertain=uncertain,
        not_judged=not_judged,
        labelled_random=int(tally.random[index].sum()),
        labelled_random_damaged=int(tally.random_damaged[index].sum()),
        labelled_otherwise=int(tally.other_damaged[index] + tally.other_undamaged[index]),
        method=counted.method,
    )


def _rounded(counted: Counted) -> float:
    estimate = counted.estimate or 0.0
    return min(max(round(estimate, 1), float(counted.low)), float(counted.high))


def _outside_note(rows: list[AreaTotal], kind: str) -> list[str]:
    return [
        f"{row.units:,} {kind}s lie in no area; they are a row of their own"
        for row in rows
        if row.scope == "outside"
    ]


def _not_judged(verdicts: Verdicts) -> npt.NDArray[np.bool_]:
    return (verdicts.units["label"] == Label.NOT_JUDGED.value).to_numpy(bool)


def _strangeness_note(verdicts: Verdicts) -> list[str]:
    return [run_trust(verdicts.assessments)["strangeness"]] if verdicts.assessments else []


def _card_note(verdicts: Verdicts) -> list[str]:
    if verdicts.assessments:
        return []
    return [
        f"no assessment of this model lies beside {verdicts.path}, so that its card is unknown and "
        "no report shows the totals: name the folder that `damagenet assess` wrote"
    ]
