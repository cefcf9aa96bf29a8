"""The labels in two parts: one to fit, one aside in ground of its own."""

from dataclasses import dataclass, replace

import numpy as np

from damagenet.adapt.blocks import Bools, Parts, Rows, overlapping, set_aside
from damagenet.adapt.labelled import Labelled
from damagenet.adapt.report import LabelCounts
from damagenet.card import Event
from damagenet.errors import DataError
from damagenet.labels import Kind

TOO_NEAR = "too near to labels aside"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Divided:
    """The labels in their parts.

    Attributes:
        parts: Which row is where.
        fitted: The labels that are fitted.
        aside: The labels that are kept aside.
        pairs: Rows of `fitted` whose chips share ground.
        known: How many labels lie on ground that the base learned from.
        known_aside: How many of them are aside: none where enough others are.
        prior: Share of damaged: of all labels drawn at random where all aside are of these, else
            of those aside.
    """

    parts: Parts
    fitted: Labelled
    aside: Labelled
    pairs: Rows
    known: int
    known_aside: int
    prior: float

    @property
    def fitted_block(self) -> Rows:
        """Spatial blocks of the fitted labels."""
        return self.parts.block[self.parts.fitted]

    @property
    def aside_block(self) -> Rows:
        """Spatial blocks of the labels aside."""
        return self.parts.block[self.parts.aside]


def divide(labelled: Labelled, *, known: Bools, share: float, seed: int) -> Divided:
    """Keep a share of the labels aside, in whole blocks.

    Known labels are kept aside only where the others do not suffice; they promise nothing then,
    and do not count as drawn at random.

    Args:
        labelled: N labels.
        known: Which lie on ground that the base learned from (N,).
        share: Wished share aside.
        seed: Seed of the ways that are tried.

    Raises:
        DataError: If no blocks give both classes on both sides.
    """
    pairs = overlapping(labelled.ground, labelled.owner)
    places, said = labelled.centres, labelled.damaged
    drawn_at_random = labelled.random & ~known
    try:
        parts = set_aside(
            places, said, pairs, random=drawn_at_random, known=known, share=share, seed=seed
        )
    except DataError:
        if not known.any():
            raise
        parts = set_aside(places, said, pairs, share=share, seed=seed)
    aside = labelled.only(parts.aside)
    aside = replace(aside, random=drawn_at_random[parts.aside])
    drawn = labelled.damaged[labelled.random] if aside.random.all() else aside.damaged
    return Divided(
        parts=parts,
        fitted=labelled.only(parts.fitted),
        aside=aside,
        pairs=among(pairs, parts.fitted),
        known=int(known.sum()),
        known_aside=int(known[parts.aside].sum()),
        prior=float(drawn.mean()),
    )


def among(pairs: Rows, units: Rows) -> Rows:
    """Return the pairs inside some units, numbered as those are.

    Args:
        pairs: From `overlapping`.
        units: Rows, ascending.
    """
    inside = pairs[np.isin(pairs, units).all(axis=1)]
    return np.searchsorted(units, inside)


def event_of(divided: Divided, base: str) -> Event:
    """Return what a card says of the event.

    Args:
        divided: The labels.
        base: What is adapted, as name@hash.
    """
    aside = divided.aside
    return Event(
        scenes=scenes_of(divided),
        scene_sha256=tuple(sorted({str(one) for one in aside.scene_sha256[aside.random]})),
        units=Kind.BUILDING,
        base=base,
        fitted=len(divided.fitted),
        aside=len(aside),
        aside_damaged=int(aside.damaged.sum()),
        aside_random=int(aside.random.sum()),
    )


def scenes_of(divided: Divided) -> tuple[str, ...]:
    """Return the stems of the scenes that the labels lie on, in alphabetical order."""
    stems = np.concatenate([divided.fitted.scene, divided.aside.scene])
    return tuple(sorted({str(stem) for stem in stems}))


def counts_of(divided: Divided, labelled: Labelled) -> LabelCounts:
    """Return where the labels went, to be shown."""
    near = {TOO_NEAR: divided.parts.dropped} if divided.parts.dropped else {}
    return LabelCounts(
        read=len(labelled) + sum(labelled.left_out.values()),
        used=len(labelled),
        left_out=labelled.left_out | near,
        fitted=len(divided.fitted),
        fitted_damaged=int(divided.fitted.damaged.sum()),
        aside=len(divided.aside),
        aside_damaged=int(divided.aside.damaged.sum()),
        aside_random=int(divided.aside.random.sum()),
        aside_blocks=len(np.unique(divided.aside_block)),
        block_m=divided.parts.block_m,
    )
