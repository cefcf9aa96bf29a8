"""Whether an assessment's probabilities may be trusted: said once, for every kind of output."""

from collections.abc import Sequence

from damagenet.assessment import Assessment
from damagenet.card import Card, Event
from damagenet.confidence import CERTAINTY, labels_needed
from damagenet.options import AssessOptions
from damagenet.rules import Rules, least_error

NOT_CALIBRATED = "Not calibrated for this event"
MOST_NAMES = 5


def trust(assessment: Assessment) -> dict[str, str]:
    """Return what is to be said of an assessment's probabilities, by key, in order of reading.

    `calibration` and `strangeness` are always there, `confidence` with `--max-error`.
    """
    said = {"calibration": calibration_note(assessment)}
    if assessment.options.max_error is not None:
        said["confidence"] = confidence_note(assessment)
    return said | {"strangeness": strangeness_note(assessment)}


def run_trust(assessments: Sequence[Assessment]) -> dict[str, str]:
    """Return the same of several scenes; what does not hold for all names its scenes."""
    every = {one.stem: trust(one) for one in assessments}
    together = {
        key: _together({stem: said[key] for stem, said in every.items() if key in said})
        for key in dict.fromkeys(key for said in every.values() for key in said)
    }
    limits = {one.card.strangeness and one.card.strangeness.limit for one in assessments}
    measured = all(one.strangeness is not None for one in assessments)
    if len(assessments) > 1 and len(limits) == 1 and measured:
        together["strangeness"] = _run_strangeness(assessments)
    return together


def calibration_note(assessment: Assessment) -> str:
    """Return on what the probabilities were calibrated, and whether that is this event."""
    card, given = assessment.card, assessment.options.prior
    if card.event is None:
        where = card.calibration.fitted_on or "labels that its card does not name"
        note = f"{NOT_CALIBRATED}: probabilities were calibrated on {where}"
    else:
        note = _event_note(card.event, assessment)
    note += f"; probabilities assume that {100 * card.prior:.3g} % are damaged"
    return note + ("." if given is None else f"; --prior re-weights them to {100 * given:g} %.")


def _event_note(event: Event, assessment: Assessment) -> str:
    labels = f"on {event.aside} labels of {_names(event.scenes)}"
    if not event.random:
        return (
            f"{NOT_CALIBRATED}: probabilities were calibrated {labels}, of which "
            f"{event.aside_random} were drawn at random, so that no share of errors is promised"
        )
    why = _why_elsewhere(event, assessment)
    if not why:
        return f"Calibrated for this event: {labels}, drawn at random"
    return f"{NOT_CALIBRATED}: probabilities were calibrated {labels}, drawn at random, {why}"


def _why_elsewhere(event: Event, assessment: Assessment) -> str:
    """Return why random labels of an event speak of other units than these; blank where not."""
    if not event.scene_sha256 or event.units is None:
        return (
            "and the card keeps no hash of their scenes, so that no share of errors is promised: "
            "adapt the model again"
        )
    if assessment.scene.sha256 not in event.scene_sha256:
        return f"and none of them lies on this file of {assessment.scene.path.stem}"
    if assessment.kind != event.units:
        return f"which are of {event.units}s and say nothing of {assessment.kind}s"
    if is_strange(assessment):
        return "but this scene looks unlike the training ground"
    return ""


def promised(assessment: Assessment) -> bool:
    """Return whether the share of errors is promised.

    It is where random labels of this very file, of the same kind of unit, calibrated the model,
    and the scene is not strange to it.
    """
    event = assessment.card.event
    return event is not None and event.random and not _why_elsewhere(event, assessment)


def confidence_note(assessment: Assessment) -> str:
    """Return what `--max-error` came to."""
    max_error = assessment.options.max_error
    if max_error is None:
        return ""
    if nothing := nothing_stands(assessment.card, assessment.options):
        return nothing
    rules, share = Rules.of(assessment.card, assessment.options), f"{100 * max_error:g} %"
    low, high = rules.uncertain_band
    band = (
        f"Probabilities between {low:.3g} and {high:.3g} are uncertain"
        if low < high
        else "No probability is uncertain"
    )
    kept = f"at most {share} of the damaged and undamaged verdicts are wrong"
    certain = f"with {100 * CERTAINTY:.0f} % certainty over the draw of the labels"
    if promised(assessment):
        given = "" if assessment.options.prior is None else ", if --prior is right"
        return f"{band}: {kept}, {certain}{given}."
    where = f"holds where it was calibrated, {certain}, and is not promised here"
    return f"{band}. That {kept} {where}."


def nothing_stands(card: Card, options: AssessOptions) -> str:
    """Return why `--max-error` leaves everything uncertain and what to do; blank where it does not.

    It depends on no scene, so that it can be said before one is read.
    """
    if options.max_error is None:
        return ""
    rules, share = Rules.of(card, options), f"{100 * options.max_error:g} %"
    if rules.kept == "too few labels":
        why = (
            f"to keep errors under {share} takes at least {labels_needed(options.max_error)} "
            f"calibration labels, and there are {rules.labels}"
        )
    elif rules.kept == "not kept":
        why = (
            f"no band of doubt keeps errors under {share} on the {rules.labels} calibration "
            "labels, as verdicts far from the threshold are wrong too"
        )
    else:
        return ""
    least = least_error(card, options)
    larger = (
        "No --max-error under 0.5 lets any verdict stand"
        if least is None
        else f"The smallest --max-error that lets verdicts stand is {least:g}"
    )
    return (
        f"Everything is uncertain: {why}. {larger}; to keep fewer errors, calibrate on more labels "
        "of this event, drawn at random (damagenet suggest, then adapt)."
    )


def strangeness_note(assessment: Assessment) -> str:
    """Return how strange the scene looks to the model, and beside what."""
    usual, found = assessment.card.strangeness, assessment.strangeness
    if usual is None:
        return (
            "How much this scene looks like the training ground was not measured: the model "
            "keeps nothing to compare it with."
        )
    if found is None:
        return "How much this scene looks like the training ground was not measured: no chip was."
    beside = (
        f"distance {found:.2f}, where 95 % of the held-out blocks of ground lie below "
        f"{usual.limit:.2f}"
    )
    if is_strange(assessment):
        return (
            f"This scene looks unlike the training ground: {beside}. Probabilities and measured "
            "rates may not hold here."
        )
    return f"This scene looks like the training ground: {beside}."


def _run_strangeness(assessments: Sequence[Assessment]) -> str:
    """Return how strange the scenes of a run look, all of them measured against one limit."""
    strange = [one for one in assessments if is_strange(one)]
    usual = sorted(one.strangeness or 0.0 for one in assessments if one not in strange)
    card = assessments[0].card
    limit = 0.0 if card.strangeness is None else card.strangeness.limit
    beside = f"where 95 % of the held-out blocks of ground lie below {limit:.2f}"
    spread = f"{usual[0]:.2f} to {usual[-1]:.2f}" if usual else ""
    alike = f"look like the training ground: distance {spread}"
    if not strange:
        return f"All {len(assessments)} scenes {alike}, {beside}."
    named = _names([f"{one.stem} {one.strangeness:.2f}" for one in strange])
    told = (
        f"{len(strange)} of {len(assessments)} scenes look unlike the training ground: distance "
        f"{named}, {beside}. Probabilities and measured rates may not hold there."
    )
    return f"{told} The other {len(usual)} {alike}." if usual else told


def is_strange(assessment: Assessment) -> bool:
    """Return whether the scene lies beyond what 95 % of the held-out ground shows."""
    usual, found = assessment.card.strangeness, assessment.strangeness
    return usual is not None and found is not None and found > usual.limit


def _together(sentences: dict[str, str]) -> str:
    """Return the sentences of scenes as one text, naming the scenes where they differ."""
    scenes: dict[str, list[str]] = {}
    for stem, sentence in sentences.items():
        scenes.setdefault(sentence, []).append(stem)
    if len(scenes) == 1:
        return next(iter(scenes))
    return " ".join(f"{_names(stems)}: {sentence}" for sentence, stems in scenes.items())


def _names(names: Sequence[str]) -> str:
    """Return names in one row, the first five of many."""
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[:MOST_NAMES])} and {len(names) - MOST_NAMES} more"
