"""The key of an assessment: everything its records depend on, and nothing else."""

from pathlib import Path
from typing import Any

from pydantic import Field

from damagenet.card import Card
from damagenet.config import Settings
from damagenet.engine.fingerprints import file_sha256, scene_sha256, values_sha256
from damagenet.errors import FootprintError
from damagenet.options import EXACT_RUNTIMES, AssessOptions

RECORDS_VERSION = 1
"""Raised when the same inputs would give other records."""

HOW_NOT_WHAT = frozenset(
    {
        "allow_url",
        "asset",
        "batch_size",
        "device",
        "engine",
        "format",
        "on_error",
        "overwrite",
        "ray_address",
        "resume",
    }
)
"""Options that change how an assessment is made and written, not its records (beyond 1e-5)."""

NOT_ALWAYS = frozenset({"dense"})
"""Options that shape the records of some scenes only, whose keys are given them."""

HASHED = frozenset({"buildings", "exclude", "pre", "model"})
"""Options that count by what they lead to, not by their name."""

YOUNGER = frozenset({"prior", "max_error"})
"""Options that results of earlier versions do not know of."""

NOT_IN_RECORDS = {
    "class_prior",
    "command",
    "created",
    "event",
    "licence",
    "recipe",
    "scores",
    "training_tiles",
    "versions",
}
"""Fields of a card that its verdicts do not depend on: a new score makes no new model."""


class InputHashes(Settings):
    """Hashes of the files beside the scene that an assessment reads."""

    buildings: str | None = None
    """SHA-256 of --buildings."""
    exclude: str | None = None
    """SHA-256 of --exclude."""
    pre: str | None = None
    """SHA-256 of the picture before; none in a run's record where --pre is a folder of them."""

    @classmethod
    def of(cls, options: AssessOptions) -> "InputHashes":
        """Hash the files that the options name.

        Raises:
            FootprintError: If the buildings or the excluded ground cannot be read.
            SceneError: If the picture before cannot be read.
        """
        pre = options.pre
        return cls(
            buildings=_sha256(options.buildings),
            exclude=_sha256(options.exclude),
            pre=None if pre is None or pre.is_dir() else scene_sha256(pre),
        )


class AssessmentKey(Settings):
    """What an assessment was made of; equal keys mean equal records."""

    scene: str
    """SHA-256 of the scene."""
    model: str
    """SHA-256 over what the verdicts depend on in the bundle's card, the weights' hash included."""
    inputs: InputHashes
    options: dict[str, Any] = Field(default_factory=dict)
    """The options that shape records."""
    records_version: int = RECORDS_VERSION

    @classmethod
    def of(
        cls,
        scene_sha256: str,
        card: Card,
        options: AssessOptions,
        inputs: InputHashes,
        *,
        acquired: str = "",
        dense: bool = False,
    ) -> "AssessmentKey":
        """Return the key of an assessment that is about to start.

        Args:
            scene_sha256: The scene's.
            card: The model's.
            options: Of the assessment.
            inputs: Hashes of the files that the options name.
            acquired: When the scene was taken, as its STAC Item says; it stands over the option.
            dense: Whether a dense map is tried; if not, results from before there were any count.
        """
        given = {"acquired": acquired} if acquired else {}
        if dense:
            given["dense"] = options.dense
        return cls(
            scene=scene_sha256,
            model=values_sha256(_model_values(card, options)),
            inputs=inputs,
            options=_option_values(options) | given,
        )

    @property
    def sha256(self) -> str:
        """One hash over everything."""
        return values_sha256(self.model_dump(mode="json"))

    def differences(self, other: "AssessmentKey") -> list[str]:
        """Name what differs between two keys, in the words of the command line."""
        names = [name for name in ("scene", "model") if getattr(self, name) != getattr(other, name)]
        names += [
            f"--{name}"
            for name in InputHashes.model_fields
            if getattr(self.inputs, name) != getattr(other.inputs, name)
        ]
        names += [
            f"--{name.replace('_', '-')}"
            for name in sorted(self.options.keys() | other.options.keys())
            if self.options.get(name) != other.options.get(name)
        ]
        return names or ["the version of damagenet"]


def _option_values(options: AssessOptions) -> dict[str, Any]:
    """Return the options that shape records; younger ones count from when they are given."""
    values = options.model_dump(mode="json", exclude=set(HOW_NOT_WHAT | NOT_ALWAYS | HASHED))
    if options.runtime in EXACT_RUNTIMES:
        del values["runtime"]
    return {name: value for name, value in values.items() if name not in YOUNGER or value}


def _model_values(card: Card, options: AssessOptions) -> dict[str, Any]:
    """Return what the verdicts depend on in a card; younger fields count where they are used."""
    values = card.model_dump(mode="json", exclude=NOT_IN_RECORDS)
    prior = values["calibration"].pop("prior")
    if options.prior is not None:
        values["prior"] = prior or card.class_prior
    if options.max_error is None:
        del values["confidence"]
    for younger in ("strangeness", "quantized"):
        if values[younger] is None:
            del values[younger]
    return values


def _sha256(path: Path | None) -> str | None:
    return None if path is None else file_sha256(path, error=FootprintError)
