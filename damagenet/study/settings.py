"""The settings of a study: a recipe, and what is compared on it."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from damagenet.config import Settings, read_settings
from damagenet.errors import ConfigError
from damagenet.recipe import Choice, Recipe

SHIPPED = "study_"
"""Studies that come with damagenet are called so, among the recipes in `configs/`."""


class Candidate(Settings):
    """One activation that is compared; in YAML a name, or a name with parameters and a label."""

    label: str
    """What it is called in tables; without one, its name."""
    choice: Choice
    """Name and parameters, as in `model.activation`."""

    @model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, value: object) -> object:
        """Accept `relu` and `{name: pvlu, alpha: 0.1, label: pvlu 0.1}` beside the full form."""
        if isinstance(value, str):
            return {"label": value, "choice": value}
        if not isinstance(value, dict) or "choice" in value:
            return value
        choice = {key: item for key, item in value.items() if key != "label"}
        return {"label": value.get("label", value.get("name")), "choice": choice}

    @property
    def function(self) -> str:
        """Name and parameters in one canonical text, as in `pvlu(alpha=0.1, per=channel)`."""
        given = sorted(self.choice.parameters.items())
        inside = ", ".join(f"{name}={value}" for name, value in given)
        return f"{self.choice.name}({inside})" if inside else self.choice.name


class Comparison(Settings):
    """What is compared, and how often."""

    activations: tuple[Candidate, ...] = ()
    """The activations, the baseline among them."""
    baseline: str = "relu"
    """Label of the activation that all others are compared with."""
    seeds: tuple[int, ...] = Field((0, 1, 2, 3, 4), min_length=1)
    """A seed chooses tiles, initial weights and order of batches, the same for all activations."""
    splits: tuple[str, ...] = Field(("published", "region:victoria"), min_length=1)
    """`published`, `deduplicated` or `region:NAME[+NAME]`; each test part is scored."""
    learning_rates: tuple[float, ...] = Field((1e-3, 3e-3, 1e-2), min_length=1)
    """For every activation the best of these by validation on one seed."""
    lr_seed: int = Field(0, ge=0, lt=2**32)
    """Seed on which the learning rate is chosen."""
    lr_split: str | None = None
    """Split on which the learning rate is chosen; without one, the first of `splits`."""

    @property
    def tuning_split(self) -> str:
        """The split on which the learning rate is chosen."""
        return self.lr_split or self.splits[0]

    @field_validator("seeds", "splits", "learning_rates")
    @classmethod
    def _named_once(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        repeated = [value for value in values if values.count(value) > 1]
        if repeated:
            raise ValueError(f"{repeated[0]} is named twice")
        return values

    @field_validator("seeds")
    @classmethod
    def _check_seeds(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        outside = [value for value in values if not 0 <= value < 2**32]
        if outside:
            raise ValueError(f"a seed lies within 0..{2**32 - 1}, not {outside[0]}")
        return values

    @field_validator("learning_rates")
    @classmethod
    def _check_rates(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        wrong = [value for value in values if not 0 < value < float("inf")]
        if wrong:
            raise ValueError(f"a learning rate is above 0, not {wrong[0]}")
        return tuple(sorted(values))

    @model_validator(mode="after")
    def _check_labels(self) -> "Comparison":
        labels = [candidate.label for candidate in self.activations]
        repeated = [label for label in labels if labels.count(label) > 1]
        if repeated:
            raise ValueError(f"two activations are called {repeated[0]!r}: give one a label")
        if labels and self.baseline not in labels:
            raise ValueError(
                f"baseline {self.baseline!r} is none of the activations ({', '.join(labels)})"
            )
        return self


class StudySettings(Recipe):
    """A recipe as for `damagenet train`, and the section `study`."""

    study: Comparison = Comparison()


def read_study(path: Path, *, overrides: Sequence[str] = ()) -> StudySettings:
    """Read the settings of a study from a YAML file, or by the name of one that is shipped.

    Args:
        path: A file, or a bare name such as `study_activations`.
        overrides: Texts like `training.epochs=3`.

    Raises:
        ConfigError: If there is neither, or a setting is wrong.
    """
    if path.exists():
        return read_settings(StudySettings, path, overrides=overrides)
    shipped = {
        entry.name.removesuffix(".yaml"): entry
        for entry in files("configs").iterdir()
        if entry.name.startswith(SHIPPED) and entry.name.endswith(".yaml")
    }
    # `configs/study_activations.yaml` is found from any folder.
    name = path.name.removesuffix(".yaml")
    if path.parent not in (Path(), Path("configs")) or name not in shipped:
        raise ConfigError(
            f"no study {path}: give a YAML file, or one of {', '.join(sorted(shipped))}"
        )
    return read_settings(StudySettings, Path(str(shipped[name])), overrides=overrides)
