"""What a reader must know before believing a map: said once, written into every kind of file."""

from collections.abc import Mapping

from damagenet.card import Card

MEANINGS: dict[str, str] = {
    "damaged": (
        "Visible flood water or damage around the building when the picture was taken. "
        "It is no FEMA or EMS-98 grade."
    ),
    "undamaged": (
        "Nothing visible from above. Flooded interiors, water that has receded and damage to "
        "walls are unseen."
    ),
    "uncertain": "The model cannot tell: its probability lies in the band where it errs most.",
    "not-judged": "Not looked at, for the reason given: no verdict either way.",
}
"""What each label means, by label."""

REASONS: dict[str, str] = {
    "outside": "The unit lies outside the scene.",
    "no-imagery": "Too few usable pixels cover it.",
    "obscured": "Cloud, thick haze, blown-out pixels or an excluded area hides it.",
    "forced-coarse": "Judged although the scene is too coarse for the model (--force-coarse).",
}
"""What stands against a verdict, by reason."""

CLOUD_NOTES: dict[str, str] = {
    "check": (
        "Cloud, thick haze and blown-out pixels were looked for; what they hide counts as not "
        "usable."
    ),
    "ignore": (
        "Cloud, thick haze and blown-out pixels were not looked for (--clouds ignore): a verdict "
        "may be on a cloud."
    ),
}
"""What was done about hidden ground, by the option `clouds`."""

WINDOW_NOTE = (
    "Each verdict is on the window of ground_m metres around the building, not on its walls."
)


NEARLY_ALL = 0.9
"""From this share of false alarms on, a flag says next to nothing."""


def advice(card: Card) -> str:
    """Return what a reader should do about the card's headline; empty where totals are counts."""
    alarms = card.after_storm("false_alarm_rate")
    if alarms is None:
        return "Nobody measured how often it is wrong after a storm: check every flag by eye."
    if alarms.value > NEARLY_ALL:
        return (
            "It flags nearly everything in a picture taken after a storm, damaged or not: a flag "
            "by itself says next to nothing. Check by eye before you act on one."
        )
    if card.ranking_only:
        return (
            "Use the map to decide where to look first. The totals say how many the model flagged, "
            "not how many are damaged."
        )
    return ""


def statements(card: Card, trust: Mapping[str, str]) -> dict[str, str]:
    """Return what stands in the metadata of every map, by key, in the order of reading.

    Args:
        card: The model's card.
        trust: What is said of the probabilities; see `outputs.trust`.
    """
    return {
        "headline": card.headline,
        "sentence": card.sentence,
        **trust,
        **{f"meaning_{label.replace('-', '_')}": meaning for label, meaning in MEANINGS.items()},
        "window": WINDOW_NOTE,
        "model": f"{card.name} {card.weights_sha256[:12]}",
        "licence": card.licence,
        "training_data_licence": card.training_tiles.licence,
        "non_commercial": "yes" if card.training_tiles.non_commercial else "no",
    }


def abstract(card: Card, trust: Mapping[str, str]) -> str:
    """Return the statements as one paragraph, for formats with a single description field."""
    said = statements(card, trust)
    return (
        f"{said['headline']}. {said['sentence']} {' '.join(trust.values())} "
        f"Damaged: {MEANINGS['damaged']} "
        f"Undamaged: {MEANINGS['undamaged']} {WINDOW_NOTE} Licence of the model: {card.licence}."
    ).replace("..", ".")
