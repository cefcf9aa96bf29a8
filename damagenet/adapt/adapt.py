"""`adapt`: a bundle, scenes and labels to a bundle of this event."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from damagenet.adapt.base_task import compare_on_tiles, find_tiles
from damagenet.adapt.card import draft_card, finished_card, learned_places
from damagenet.adapt.comparing import compare_aside
from damagenet.adapt.dividing import Divided, counts_of, divide, event_of, scenes_of
from damagenet.adapt.fitting import Fit, fit, unit_logits
from damagenet.adapt.labelled import Bools, Floats, Labelled, read_labelled
from damagenet.adapt.options import AdaptOptions, require_whole
from damagenet.adapt.progress import Tell, between, no_one
from damagenet.adapt.report import AdaptReport, Comparison
from damagenet.adapt.strangeness import adapted_strangeness
from damagenet.bundle import CARD_FILE, Bundle, load_bundle, model_id
from damagenet.bundle_writing import save_bundle
from damagenet.card import Card
from damagenet.engine.option_checks import check_options
from damagenet.errors import ConfigError, EvaluationError, OutputError
from damagenet.evaluation.seen_ground import learned_tiles, seen_boxes
from damagenet.evaluation.truth import ABSENT, Survey, read_survey, words_told
from damagenet.totals.labels import DRAWN_COLUMN, RANDOM, drawn_at_random
from data_prep.tile import HALF_TILE_DEGREES

logger = logging.getLogger(__name__)

READ, FITTED = 0.05, 0.9
"""Share of the time that is over when labels are read, and when the weights are fitted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adapted:
    """A bundle that is not on disk yet.

    Attributes:
        bundle: The network with its card, all but scores and hashes.
        divided: The labels it came from.
        fit: How it came from them.
        logits: Its logits of the labels aside.
    """

    bundle: Bundle
    divided: Divided
    fit: Fit
    logits: Floats


def adapt(
    scenes: Sequence[Path],
    options: AdaptOptions,
    *,
    command: str = "",
    progress: Tell = no_one,
) -> AdaptReport:
    """Adapt a bundle to an event by labels, and write the new bundle.

    Args:
        scenes: Files of scenes after the event.
        options: Labels, model and the rest.
        command: The command that makes it, for the card.
        progress: Called with the share of the work that is done, now and then.

    Raises:
        ConfigError: If options are missing, or ask for what the model cannot do.
        OutputError: If there is something in the folder already, or it cannot be written.
        DataError: If the labels cannot carry an adaptation.
        DamageNetError: As reading labels, scenes, bundles and tiles does.
    """
    started = time.perf_counter()
    labels, out = require_whole(options)
    require_free(out, overwrite=options.overwrite)
    base = load_bundle(options.assess.bundle)
    check_options(options.assess, base.card)
    tiles, told = find_tiles(options.tiles, base)
    progress(0.0)
    labelled = read_labels(labels, scenes, options, base.card)
    fitting = between(progress, READ, FITTED)
    adapted = adapt_to(base, labelled, options, name=out.name, progress=fitting)
    own, task = learned_places(adapted.divided.fitted), None
    if tiles is not None:
        learned = pd.concat([learned_tiles(base.folder), own], ignore_index=True)
        task, told = compare_on_tiles(tiles, base, adapted.bundle, learned, seed=options.seed)
    report = AdaptReport(
        bundle=out,
        model="",
        base=base.model_id,
        scenes=scenes_of(adapted.divided),
        labels=counts_of(adapted.divided, labelled),
        learned=adapted.fit.learned,
        stages=adapted.fit.stages,
        why=adapted.fit.why,
        aside=_aside(adapted, base, options.seed),
        base_task=task,
        base_task_note=told,
        threshold=adapted.bundle.card.threshold,
        uncertain_band=adapted.bundle.card.uncertain_band,
        seconds=round(time.perf_counter() - started, 1),
        command=command,
    )
    usual, neighbours = adapted_strangeness(base, adapted.fit, adapted.divided.fitted, tiles)
    card = finished_card(adapted.bundle.card, base, report, source=labels.name)
    card = card.model_copy(update={"strangeness": usual})
    manifest = pd.concat([base.training_tiles(), own], ignore_index=True)
    card = save_bundle(out, card, adapted.bundle.network, manifest, neighbours=neighbours)
    return report.model_copy(update={"model": model_id(card)})


def adapt_to(
    base: Bundle,
    labelled: Labelled,
    options: AdaptOptions,
    *,
    name: str,
    progress: Tell = no_one,
) -> Adapted:
    """Adapt a bundle to labels whose chips are in memory.

    Args:
        base: Stays as it is.
        labelled: The labels.
        options: How much is kept aside, what may change, and the seed.
        name: Name of the new bundle.
        progress: Called now and then.

    Raises:
        BundleError: If nobody knows what the base learned from.
        DataError: If no blocks give both classes on both sides, on ground new to the base.
    """
    known = known_ground(labelled, learned_tiles(base.folder))
    divided = divide(labelled, known=known, share=options.aside, seed=options.seed)
    if divided.known:
        logger.warning(
            "%d of %d labels lie on ground that the base learned from: %s",
            divided.known,
            len(known),
            _known_aside(divided),
        )
    fitted = fit(base, divided, options, progress=progress)
    logits = unit_logits(fitted.network, divided.aside)
    event = event_of(divided, base.model_id)
    card = draft_card(base, name, event, logits=logits, divided=divided)
    bundle = Bundle(card=card, network=fitted.network, folder=base.folder)
    return Adapted(bundle=bundle, divided=divided, fit=fitted, logits=logits)


def known_ground(labelled: Labelled, learned: pd.DataFrame) -> Bools:
    """Say of each label whether a chip of it lies on ground that was learned from, bool (N,).

    Args:
        labelled: N labels.
        learned: Training tiles, columns lon and lat.
    """
    lon, lat = labelled.lonlat.T
    half = HALF_TILE_DEGREES
    boxes = list(zip(lon - half, lat - half, lon + half, lat + half, strict=True))
    return np.bincount(labelled.owner, seen_boxes(boxes, learned), minlength=len(labelled)) > 0


def _known_aside(divided: Divided) -> str:
    if not divided.known_aside:
        return "none of them is kept aside"
    return (
        f"{divided.known_aside} of them had to be kept aside, so that the scores flatter it and "
        "nothing is promised; start from a model that did not learn that ground (--model), or "
        "label other ground"
    )


def require_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something, unless it is a bundle that may be replaced.

    Raises:
        OutputError: If it is in the way.
    """
    if not folder.exists():
        return
    if not (folder / CARD_FILE).exists():
        raise OutputError(f"{folder} exists and holds no bundle: choose another folder with --out")
    if not overwrite:
        raise OutputError(
            f"{folder} holds a bundle already: pass --overwrite to replace it, or choose another "
            "folder with --out"
        )


def read_labels(
    labels: Path, scenes: Sequence[Path], options: AdaptOptions, card: Card
) -> Labelled:
    """Read the labels and what the model sees of them.

    Raises:
        DataError: If too few can be used, or all of one class.
        EvaluationError: If no label says one of the words that mean damaged.
        DamageNetError: As reading labels and scenes does.
    """
    if options.field is None:  # `require_whole` made sure
        raise ConfigError("name the column of --labels with --field")
    survey = read_survey(
        labels, options.field, options.words, id_field=options.id_field, drawn_field=DRAWN_COLUMN
    )
    logger.info("%s: %s", labels.name, words_told(survey.words))
    _require_damaged_words(survey, options, labels)
    random = drawn_at_random(
        survey.frame["drawn"], survey, labels, all_random=options.labels_are_random
    )
    survey.frame.loc[random, "drawn"] = RANDOM
    labelled = read_labelled(survey, scenes, options.assess, card, source=labels.name)
    for reason, count in labelled.left_out.items():
        logger.warning("%s: %d labels are left out: %s", labels.name, count, reason)
    logger.info(
        "%d labels can be used, %d of them damaged: fitting takes about a minute on two cores",
        len(labelled),
        int(labelled.damaged.sum()),
    )
    return labelled


def _require_damaged_words(survey: Survey, options: AdaptOptions, labels: Path) -> None:
    """Refuse words that are not in the field: without a damaged label the others mean nothing."""
    if "damaged" not in survey.words.values():
        held = ", ".join(word for word, kind in survey.words.items() if kind != ABSENT)
        raise EvaluationError(
            f"{labels.name}, field {options.field!r}: no label says {' or '.join(options.damaged)} "
            f"(--damaged); the field holds: {held}"
        )


def _aside(adapted: Adapted, base: Bundle, seed: int) -> Comparison:
    """Score the labels aside before and after, and say how many could not be kept there."""
    aside, known = adapted.divided.aside, adapted.divided.known
    note = (
        f"{known} labels lie on ground that the base learned from: {_known_aside(adapted.divided)}"
    )
    return compare_aside(
        unit_logits(base.network, aside),
        adapted.logits,
        aside.damaged,
        adapted.divided.aside_block,
        card=base.card,
        seed=seed,
        note=note if known else "",
    )
