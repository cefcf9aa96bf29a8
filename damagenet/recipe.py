"""The training recipe: the sections `data`, `model` and `training` of a YAML file."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from damagenet.config import Settings, meant, read_settings
from damagenet.errors import ConfigError

Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees."""

Picture = Literal["post", "pre"]
"""When a picture was taken: after the storm, or before it."""

DATA_VARIABLE = "DAMAGENET_DATA"
"""Environment variable with the folder of real data, whose `xbd` holds the graded scenes."""

DEFAULT = "default"
IMAGENET = "imagenet"


class Choice(Settings):
    """A name from one of our tables with its parameters; in YAML a bare name will do."""

    name: str
    parameters: dict[str, float | int | bool | str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_shorthand(cls, value: object) -> object:
        """Accept `relu` and `{name: pvlu, alpha: 0.1}` beside the full form."""
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, dict):
            return value
        named = {key: item for key, item in value.items() if key not in ("name", "parameters")}
        given = value.get("parameters", {})
        if not isinstance(given, dict):
            raise ValueError("parameters must be `name: value` lines")
        merged = {key: _number(item) for key, item in {**given, **named}.items()}
        for key, item in merged.items():
            if not isinstance(item, float | int | bool | str):
                raise ValueError(f"parameter {key!r} must be a number or a word")
        return {key: value[key] for key in ("name",) if key in value} | {"parameters": merged}


def _number(value: object) -> object:
    """Make a number of what PyYAML reads as text, as in `1e-3`."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def check_choice(
    what: str,
    choice: Choice,
    table: Mapping[str, Callable[..., object]],
    *,
    hidden: Collection[str] = (),
    more: Collection[str] = (),
) -> None:
    """Check a choice against the table of makers that it is looked up in.

    Args:
        what: What is chosen, as in `optimizer`.
        choice: Name and parameters.
        table: Maker by name; its arguments are the parameters.
        hidden: Arguments of the makers that no recipe sets.
        more: Parameters that are no arguments of the maker: whoever calls it takes them out.

    Raises:
        ConfigError: If the name or a parameter is unknown, or a word stands for a number.
    """
    if choice.name not in table:
        hint, choices = meant(choice.name, table), ", ".join(sorted(table))
        raise ConfigError(f"unknown {what} {choice.name!r}{hint}; choose one of: {choices}")
    arguments = inspect.signature(table[choice.name]).parameters
    allowed = [*(name for name in arguments if name not in hidden), *more]
    for name, value in choice.parameters.items():
        if name not in allowed:
            takes = ", ".join(allowed) or "none"
            raise ConfigError(
                f"{what} {choice.name!r} has no parameter {name!r}; it takes: {takes}"
            )
        numeric = name in arguments and isinstance(arguments[name].default, int | float)
        if numeric and isinstance(value, str):
            raise ConfigError(f"{what} {choice.name!r}: {name} must be a number, got {value!r}")


class GradedSettings(Settings):
    """Graded buildings of post-event scenes that are learned from beside the tiles."""

    path: Path | None = None
    """Folder of the scenes, laid out as xBD is; without one, `xbd` in $DAMAGENET_DATA."""
    held_out: tuple[str, ...] = ()
    """Scenes that nothing is learned from, by the stem of the file seen after the storm."""
    renderings: int = Field(3, ge=1, le=64)
    """How many augmented views of each building are learned from."""
    damaged_share: float = Field(0.1, ge=0, le=1)
    """Share of the weight of the damaged that graded buildings have; the tiles have the rest."""
    undamaged_share: float = Field(0.75, gt=0, le=1)
    """The same among the undamaged; undamaged tiles have the rest (of two pictures, a tile seen
    before the storm with another rendering of itself)."""
    calibrate_on: Literal["scenes", "quarters"] = "scenes"
    """What is left out of the fit of a head whose verdicts make probabilities of logits: a whole
    scene, or a quarter of each scene. The threshold always comes from whole scenes."""
    prior: float | None = Field(None, gt=0, lt=1)
    """Share of damaged buildings that the probabilities assume; without one, the share among the
    houses that calibrate."""


class DataSettings(Settings):
    """What the network is trained on."""

    path: Path = Path("data/harvey")
    """Prepared data set (made by `damagenet data prepare`)."""
    split: str = "deduplicated"
    """`published`, `deduplicated`, `region:NAME[+NAME]` or `acquisition:ID[+ID]` (held out)."""
    allow_leak: bool = False
    """Accept a split that shares files or ground between training and evaluation."""
    exclude_ground: tuple[Bounds, ...] = ()
    """West, south, east, north of ground no training tile may touch, in degrees."""
    augmentation: Choice = Choice(name="none")
    """Augmentation by name; see `data_prep.augmentation`."""
    balance: Literal["none", "region", "acquisition"] = "none"
    """Draw both classes equally often, and within each class every region, or every satellite pass,
    with replacement; `none` takes every tile once an epoch."""
    renderings: int = Field(1, ge=1, le=64)
    """How many augmented views of each tile a head that is solved for learns from; a training in
    steps draws a new one in every epoch."""
    limit: int | None = Field(None, ge=2)
    """Use only this many training tiles, half of each class; for quick trials."""
    inputs: tuple[Picture, ...] = ("post",)
    """The pictures that one chip is made of: `[post]`, or `[post, pre]` for pairs of one house."""
    passes: tuple[str, ...] = ()
    """Learn damage from tiles of these satellite passes only; without any, from all."""
    graded: GradedSettings | None = None
    """Graded buildings to learn from beside the tiles; for `training.optimizer: lbfgs`."""

    @field_validator("inputs")
    @classmethod
    def _check_inputs(cls, value: tuple[Picture, ...]) -> tuple[Picture, ...]:
        if value not in (("post",), ("post", "pre")):
            raise ValueError("a chip is made of [post] or [post, pre]")
        return value


class ModelSettings(Settings):
    """What network it is."""

    architecture: Choice = Choice(name="compact_resnet")
    """Architecture by name; see `models.factory`."""
    activation: Choice = Choice(name=DEFAULT)
    """Activation by name; see `models.activations`. `default` is the architecture's own."""
    init: Choice = Choice(name=DEFAULT)
    """Weight initialiser by name."""
    regulariser: Choice = Choice(name="none")
    """Regulariser that lives inside the network, by name."""
    weights: str | None = None
    """Weights to start from: `imagenet`, `imagenet:NAME`, or a bundle's name or folder."""

    @property
    def from_imagenet(self) -> bool:
        """Whether the weights to start from are a backbone's ImageNet weights."""
        return self.weights is not None and self.weights.split(":")[0] == IMAGENET

    @property
    def imagenet_name(self) -> str | None:
        """The name of the ImageNet weights, None where the usual ones will do."""
        return (self.weights or "").partition(":")[2] or None

    @property
    def source_bundle(self) -> str | None:
        """Name or folder of the bundle whose weights it starts from, if it does."""
        return None if self.from_imagenet else self.weights


class EarlyStopping(Settings):
    """When to stop before the last epoch."""

    patience: int = Field(0, ge=0)
    """Epochs without gain on the validation score before stopping; 0 never stops."""


class TrainingSettings(Settings):
    """How it is trained."""

    transfer: Literal["linear_probe", "finetune", "scratch"] = "scratch"
    """Train the head alone, everything from given weights, or everything from nothing."""
    optimizer: Choice = Choice(name="adamw", parameters={"lr": 1e-3, "weight_decay": 0.05})
    """Optimiser by name with its parameters (`lr`, `weight_decay` ...)."""
    schedule: Choice = Choice(name="one_cycle")
    """Learning-rate schedule by name."""
    loss: Choice = Choice(name="bce")
    """Loss by name with its parameters (`label_smoothing`, `positive_weight`)."""
    activation_lr: float | None = Field(None, gt=0)
    """Learning rate of the parameters inside activations; without one, the optimiser's."""
    layer_decay: float = Field(1.0, gt=0, le=1)
    """Factor on the learning rate for each stage from the head backwards; 1 trains all alike."""
    freeze_stages: int = Field(0, ge=0)
    """The first so many stages keep the weights they started from, and their batch norms rest."""
    bn_momentum: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of a batch in the running statistics of batch norms, torch's `momentum`; `auto` is
    10 / steps per epoch, at most 0.1 (arXiv:1805.08974); without one, the network's own."""
    reinit: Choice = Choice(name="none")
    """Layers that start anew: `layerwise` trains in `rounds`, each keeping more `blocks` from the
    image on; `head` starts the head anew `every` so many epochs."""
    epochs: int = Field(20, ge=1)
    """Length of the training; of each round, where `reinit` makes rounds."""
    batch_size: int = Field(64, ge=1)
    seed: int = Field(0, ge=0, lt=2**32)
    """Same seed, same machine and same number of threads: same weights."""
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    select_on: Literal["accuracy", "balanced_accuracy", "loss"] = "accuracy"
    """Validation score by which the epoch is chosen."""
    average_weights: float = Field(0.0, ge=0, lt=1)
    """Decay per step of the averaged weights that are evaluated and kept; 0 keeps the raw ones."""
    early_stopping: EarlyStopping = EarlyStopping()

    @field_validator("precision", mode="before")
    @classmethod
    def _precision_in_words(cls, value: object) -> object:
        """Let YAML's number 32 be the word."""
        return str(value) if isinstance(value, int) else value


class Recipe(Settings):
    """All that a training needs to be repeated."""

    name: str = "harvey"
    """Name of the bundle that the recipe makes."""
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not value.replace("-", "").replace("_", "").isalnum():
            raise ValueError("a name holds letters, digits, - and _ only")
        return value


def read_recipe(path: Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a YAML file, or by the name of one that comes with damagenet.

    Args:
        path: A file, or a bare name such as `harvey`.
        overrides: Texts like `training.epochs=3`.

    Raises:
        ConfigError: If there is neither, or a setting is wrong.
    """
    return read_settings(Recipe, find_shipped(path, studies=False), overrides=overrides)


def find_shipped(path: Path, *, studies: bool) -> Path:
    """Return a YAML file that is there, or the one of that name that comes with damagenet.

    Args:
        path: A file, or a name such as `harvey`, `harvey_three/plain` or `study_activations`.
        studies: Whether a study is meant: those are called `study_NAME`, or `study` in a folder,
            whose name will do.

    Raises:
        ConfigError: If there is neither.
    """
    if path.is_file():
        return path
    root = Path(str(files("configs")))
    shipped = {
        file.relative_to(root).with_suffix("").as_posix().removesuffix("/study"): file
        for file in (*root.glob("*.yaml"), *root.glob("*/*.yaml"))
        if (file.stem.partition("_")[0] == "study") == studies
    }
    # `configs/harvey.yaml` is found from any folder, as the repository's commands are written.
    name = path.as_posix().removeprefix("configs/").removesuffix(".yaml").removesuffix("/study")
    if name not in shipped:
        what = "study" if studies else "recipe"
        raise ConfigError(
            f"no {what} {path}: give a YAML file, or one of {', '.join(sorted(shipped))}"
        )
    return shipped[name]
