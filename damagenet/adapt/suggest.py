"""`suggest_buildings`: the buildings most worth labelling next, as a file to label them in."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from damagenet.adapt.diversity import Choices, metres, uncertainty_of
from damagenet.adapt.footprint_hash import footprint_hashes
from damagenet.adapt.label_file import (
    CHOSEN,
    DRAWN,
    RANDOM,
    LabelFile,
    no_label_file,
    read_label_file,
    require_unchanged,
    write_label_file,
)
from damagenet.adapt.rounds import Round, plan_round
from damagenet.adapt.seen import Progress, Seen, see_buildings
from damagenet.adapt.suggest_options import SuggestOptions
from damagenet.bundle import load_bundle, model_id
from damagenet.config import Settings
from damagenet.errors import DataError, OutputError
from damagenet.inference import Predictor
from damagenet.outputs.atomic import appears
from damagenet.outputs.label_style import label_qml
from data_prep.footprints import Buildings, read_buildings

P_DIGITS, UNCERTAINTY_DIGITS = 6, 4


class Suggested(Settings):
    """One building that was added to the file."""

    unit_id: str
    drawn: str
    """random or chosen."""
    rank: int
    """Its place in the order of labelling: whoever stops early has a fair share of both."""
    p_damaged: float
    uncertainty: float
    """1 where the model's threshold lies, less the surer it is."""
    disagree: bool
    """One scene says damaged and another undamaged."""
    scene: str


class Suggestions(Settings):
    """What was suggested, and what must be said of it."""

    out: Path
    round: int
    model: str
    judged: int
    """Buildings that the model could judge, from which the random ones were drawn."""
    kept: int
    """Labels that the file held before, all of which it holds still."""
    newly_random: tuple[str, ...]
    """Ids of buildings that were chosen earlier and are now drawn at random."""
    buildings: tuple[Suggested, ...]
    notes: tuple[str, ...]

    def drawn(self, word: str) -> int:
        """Return how many of the buildings were drawn so."""
        return sum(one.drawn == word for one in self.buildings)


def suggest_buildings(
    scenes: Sequence[Path], options: SuggestOptions, *, progress: Progress | None = None
) -> Suggestions:
    """Pick buildings to label next and write them, with the labels that exist, to `options.out`.

    Args:
        scenes: Files of scenes.
        options: Buildings, labels, model and the rest.
        progress: Called after each piece of a scene.

    Raises:
        FootprintError: If the buildings cannot be used, or none of them can be judged.
        DataError: If the labels are not of these buildings, or nothing is left to suggest.
        SceneError: If a scene cannot be read.
        OutputError: If the file is there and holds other things, or cannot be written.
    """
    adding = _adds_to_labels(options)
    buildings = read_buildings(options.buildings, id_field=options.id_field)
    labels, told = _labels(options, buildings)
    predictor = Predictor(load_bundle(options.looking.bundle), device=options.device)
    seen = see_buildings(scenes, buildings, options.looking, predictor, progress)
    candidates = _Candidates.of(seen, labels, predictor)
    planned = candidates.plan(options)
    rows = _rows(candidates, planned)
    kept = _kept(labels, candidates, planned)
    if adding:
        require_unchanged(options.out, labels)
    write_label_file(options.out, _joined(kept, rows), buildings)
    _write_style(options.out, buildings)
    fields = list(Suggested.model_fields)
    return Suggestions(
        out=options.out,
        round=labels.round + 1,
        model=model_id(predictor.bundle.card),
        judged=len(seen.frame),
        kept=len(kept),
        newly_random=tuple(candidates.ids[list(planned.again)]),
        buildings=tuple(Suggested.model_validate(row) for row in rows[fields].to_dict("records")),
        notes=(*buildings.warnings, *told, *candidates.notes(planned, options)),
    )


def _adds_to_labels(options: SuggestOptions) -> bool:
    """Return whether the file to write is the one with the labels; refuse to replace any other."""
    out, labels = options.out, options.labels
    if not out.exists():
        return False
    if labels is not None and labels.exists() and out.samefile(labels):
        return True
    raise OutputError(
        f"{out} exists already and may hold labels: add to it with --labels {out}, or name another "
        "file with --out"
    )


def _labels(options: SuggestOptions, buildings: Buildings) -> tuple[LabelFile, tuple[str, ...]]:
    if options.labels is None:
        return no_label_file(), ()
    return read_label_file(options.labels, buildings, id_field=options.id_field)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidates:
    """All judged buildings, N of them, and what is known of each."""

    seen: Seen
    labels: LabelFile
    uncertainty: np.ndarray
    known: np.ndarray
    random: np.ndarray
    apart_m: float

    @property
    def ids(self) -> np.ndarray:
        """Ids of the buildings, (N,)."""
        return np.asarray(self.seen.frame["unit_id"].to_numpy())

    @classmethod
    def of(cls, seen: Seen, labels: LabelFile, predictor: Predictor) -> "_Candidates":
        card = predictor.bundle.card
        frame = seen.frame
        uncertainty = uncertainty_of(frame["p_damaged"].to_numpy(), card.threshold)
        ids = labels.frame["unit_id"]
        return cls(
            seen=seen,
            labels=labels,
            # Where scenes contradict each other, nothing is less sure than the building.
            uncertainty=np.where(frame["disagree"], 1.0, uncertainty),
            known=frame["unit_id"].isin(ids).to_numpy(),
            random=frame["unit_id"].isin(ids[labels.random]).to_numpy(),
            apart_m=min(card.chip.width_m, card.chip.height_m) / 2,
        )

    def plan(self, options: SuggestOptions) -> Round:
        """Return the buildings of the next round; raise DataError if none is left."""
        if self.known.all():
            raise DataError(
                f"all {len(self.known)} buildings that can be judged are in {options.labels} "
                "already: there is nothing left to suggest"
            )
        frame = self.seen.frame
        choices = Choices(
            embeddings=self.seen.embeddings.astype(np.float64),
            uncertainty=self.uncertainty,
            places=metres(frame["lon"].to_numpy(), frame["lat"].to_numpy()),
            free=~self.known,
            apart_m=self.apart_m,
        )
        rng = np.random.default_rng([options.seed, self.labels.round + 1])
        return plan_round(choices, random=self.random, share=options.random, n=options.n, rng=rng)

    def notes(self, planned: Round, options: SuggestOptions) -> list[str]:
        """Return what must be said of the round."""
        told = []
        left = int((~self.known).sum())
        if left < options.n:
            told.append(f"{options.n} buildings were asked for and {left} were left: all are in")
        before = self.labels.frame["drawn_of"][self.labels.random].dropna().unique()
        others = [int(number) for number in before if number != len(self.known)]
        if planned.draws and others:
            told.append(
                f"earlier labels were drawn at random from {others[0]:,} buildings, now there are "
                f"{len(self.known):,}: drawn from unequal sets, they are no fair sample together; "
                "for totals name the same scenes in each round"
            )
        open_ = int((self.labels.random & ~self.labels.answered).sum())
        if open_:
            told.append(
                f"{open_} of the {int(self.labels.random.sum())} buildings drawn at random earlier "
                "have no label: label them too, or those that are easy to see speak for all"
            )
        return told


def _rows(candidates: _Candidates, planned: Round) -> pd.DataFrame:
    """Return the new rows of the file, in the order of their ranks."""
    units = [unit for unit, _ in planned.order]
    frame = candidates.seen.frame.iloc[units]
    drawn = [RANDOM if random else CHOSEN for _, random in planned.order]
    return pd.DataFrame(
        {
            "unit_id": candidates.ids[units],
            "label": "",
            DRAWN: drawn,
            "rank": range(1, len(units) + 1),
            "p_damaged": frame["p_damaged"].round(P_DIGITS).to_numpy(),
            "uncertainty": candidates.uncertainty[units].round(UNCERTAINTY_DIGITS),
            "disagree": frame["disagree"].to_numpy(),
            "scene": frame["scene"].to_numpy(),
            "round": candidates.labels.round + 1,
            "drawn_of": [len(candidates.known) if word == RANDOM else None for word in drawn],
            "footprint": footprint_hashes(frame.geometry),
        }
    )


def _kept(labels: LabelFile, candidates: _Candidates, planned: Round) -> pd.DataFrame:
    """Return the labels that exist; those that are drawn at random now are marked so."""
    kept = labels.frame.copy()
    again = kept["unit_id"].isin(candidates.ids[list(planned.again)])
    kept.loc[again, DRAWN] = RANDOM
    kept.loc[again, "drawn_of"] = len(candidates.known)
    return kept


def _joined(kept: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    names = [*rows.columns, *(name for name in kept.columns if name not in rows.columns)]
    # As objects, so that gaps turn no whole number of either into a float.
    both = [table.reindex(columns=names).astype(object) for table in (kept, rows)]
    return pd.concat(both, ignore_index=True)


def _write_style(out: Path, buildings: Buildings) -> None:
    """Write how QGIS shows the file beside it, unless a person has a style of their own there."""
    path = out.with_suffix(".qml")
    if path.exists():
        return
    with appears(path) as temporary:
        temporary.write_text(label_qml(buildings.geometry), encoding="utf-8")
