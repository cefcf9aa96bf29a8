"""The settings of a study: a recipe, and what is compared on it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from damagenet.config import Settings, read_settings
from damagenet.recipe import Recipe, find_shipped

ACTIVATION = "model.activation"
LR = "training.optimizer.lr"
SECTIONS = ("data", "model", "training")
OF_THE_STUDY = {
    "data.path": "data.path",
    "data.split": "study.splits",
    "data.allow_leak": "data.allow_leak",
    "training.seed": "study.seeds",
    "training.select_on": "training.select_on",
}
"""Settings that no variant has for itself, and where the study has them."""


Value = TypeVar("Value")


def _named_once(values: tuple[Value, ...]) -> tuple[Value, ...]:
    repeated = [value for value in values if values.count(value) > 1]
    if repeated:
        raise ValueError(f"{repeated[0]} is named twice")
    return values


def _check_seeds(values: tuple[int, ...]) -> tuple[int, ...]:
    outside = [value for value in values if not 0 <= value < 2**32]
    if outside:
        raise ValueError(f"a seed lies within 0..{2**32 - 1}, not {outside[0]}")
    return _named_once(values)


def _check_rates(values: tuple[float, ...]) -> tuple[float, ...]:
    wrong = [value for value in values if not 0 < value < float("inf")]
    if wrong:
        raise ValueError(f"a learning rate is above 0, not {wrong[0]}")
    return tuple(sorted(_named_once(values)))


Rates = Annotated[tuple[float, ...], AfterValidator(_check_rates)]
Seeds = Annotated[tuple[int, ...], AfterValidator(_check_seeds)]
Splits = Annotated[tuple[str, ...], AfterValidator(_named_once)]


class Variant(Settings):
    """One training that is compared, by what it has otherwise than the study's recipe."""

    label: str
    """What it is called in tables."""
    set: dict[str, JsonValue] = Field(default_factory=dict)
    """Settings of the recipe by dotted names, as in `training.epochs: 3`."""
    learning_rates: Rates | None = None
    """Its own rates to choose from; without them, the `lr` that it sets, or those of the study."""
    against: str | None = None
    """Label of the variant that it is compared with; without one, the study's baseline."""

    @property
    def sets_lr(self) -> bool:
        """Whether it sets a learning rate, so that none is looked for."""
        optimizer = self.set.get("training.optimizer")
        return LR in self.set or (isinstance(optimizer, dict) and "lr" in _parameters(optimizer))

    @property
    def told(self) -> str:
        """What it sets in one canonical text, as in `architecture=cao_choe(dropout=0.5)`.

        Where it sets an activation alone that is all it says, as in `pvlu(alpha=0.1)`.
        """
        if list(self.set) == [ACTIVATION]:
            return _in_words(self.set[ACTIVATION])
        return ", ".join(
            f"{dotted.rpartition('.')[2]}={_in_words(value)}" for dotted, value in self.set.items()
        )

    @field_validator("set")
    @classmethod
    def _check_names(cls, values: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for dotted in values:
            section, _, name = dotted.partition(".")
            if section not in SECTIONS or not name:
                raise ValueError(f"{dotted!r} is no setting of a recipe, as data.limit is")
            if dotted in OF_THE_STUDY:
                raise ValueError(f"{dotted} is the same for all: set {OF_THE_STUDY[dotted]}")
        return values

    @model_validator(mode="after")
    def _check_one_source_of_rates(self) -> "Variant":
        if self.sets_lr and self.learning_rates is not None:
            raise ValueError("learning_rates and an lr of the optimizer: leave one out")
        return self


def _parameters(choice: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the parameters beside a name, in either of the forms that a choice may have."""
    inner = choice.get("parameters")
    beside = {key: item for key, item in choice.items() if key not in ("name", "parameters")}
    return {**(inner if isinstance(inner, dict) else {}), **beside}


def _in_words(value: JsonValue) -> str:
    if not isinstance(value, dict):
        return "none" if value is None else str(value)
    given = sorted(_parameters(value).items())
    inside = ", ".join(f"{name}={_in_words(item)}" for name, item in given)
    name = str(value.get("name", ""))
    return f"{name}({inside})" if inside else name


class Comparison(Settings):
    """What is compared, and how often."""

    activations: tuple[Variant, ...] = ()
    """Activations to compare, the baseline among them: in YAML a name, or a name with parameters
    and a label."""
    variants: tuple[Variant, ...] = ()
    """Variants to compare, the baseline among them, instead of activations."""
    baseline: str = "relu"
    """Label of the one that all others are compared with."""
    seeds: Seeds = Field((0, 1, 2, 3, 4), min_length=1)
    """A seed chooses tiles, initial weights and order of batches, the same for all variants."""
    splits: Splits = Field(("published", "region:victoria"), min_length=1)
    """`published`, `deduplicated` or `region:NAME[+NAME]`; each test part is scored."""
    learning_rates: Rates = (1e-3, 3e-3, 1e-2)
    """For every variant the best of these by validation on one seed. With a single one nothing
    is chosen; without any, each optimizer keeps its own `lr`."""
    lr_seed: int = Field(0, ge=0, lt=2**32)
    """Seed on which the learning rate is chosen."""
    lr_split: str | None = None
    """Split on which the learning rate is chosen; without one, the first of `splits`."""

    @property
    def compared(self) -> tuple[Variant, ...]:
        """What is compared, be it activations or variants."""
        return self.activations or self.variants

    def base_of(self, variant: Variant) -> str | None:
        """Return the label of what a variant is compared with; None for the baseline."""
        return None if variant.label == self.baseline else variant.against or self.baseline

    @property
    def section(self) -> str:
        """Where what is compared stands in the settings."""
        return "study.activations" if self.activations else "study.variants"

    @property
    def tuning_split(self) -> str:
        """The split on which the learning rate is chosen."""
        return self.lr_split or self.splits[0]

    @field_validator("activations", mode="before")
    @classmethod
    def _from_shorthand(cls, values: object) -> object:
        """Accept `relu` and `{name: pvlu, alpha: 0.1, label: pvlu 0.1}` beside the full form."""
        return [_activation(value) for value in values] if isinstance(values, list) else values

    @model_validator(mode="after")
    def _check_labels(self) -> "Comparison":
        if self.activations and self.variants:
            raise ValueError("activations and variants at once: leave one out")
        labels = [variant.label for variant in self.compared]
        what = self.section.removeprefix("study.")
        repeated = [label for label in labels if labels.count(label) > 1]
        if repeated:
            raise ValueError(f"two {what} are called {repeated[0]!r}: give one a label")
        named = {"baseline": self.baseline} | {
            f"against of {variant.label!r}": variant.against
            for variant in self.compared
            if variant.against is not None
        }
        for variant in self.compared:
            if variant.against and variant.label in (variant.against, self.baseline):
                raise ValueError(f"{variant.label!r} is compared with itself: leave against out")
        for name, label in named.items():
            if labels and label not in labels:
                raise ValueError(f"{name} {label!r} is none of the {what} ({', '.join(labels)})")
        return self


def _activation(value: object) -> object:
    """Return the variant that an activation in YAML stands for."""
    if isinstance(value, str):
        return {"label": value, "set": {ACTIVATION: value}}
    if not isinstance(value, dict) or "set" in value:
        return value
    choice = {key: item for key, item in value.items() if key != "label"}
    return {"label": value.get("label", value.get("name")), "set": {ACTIVATION: choice}}


class StudySettings(Recipe):
    """A recipe as for `damagenet train`, and the section `study`."""

    study: Comparison = Comparison()

    @property
    def recipe(self) -> Recipe:
        """The recipe that variants change."""
        return Recipe(name=self.name, data=self.data, model=self.model, training=self.training)


def read_study(path: Path, *, overrides: Sequence[str] = ()) -> StudySettings:
    """Read the settings of a study from a YAML file, or by the name of one that is shipped.

    Args:
        path: A file, or a bare name such as `study_activations`.
        overrides: Texts like `training.epochs=3`.

    Raises:
        ConfigError: If there is neither, or a setting is wrong.
    """
    return read_settings(StudySettings, find_shipped(path, studies=True), overrides=overrides)
