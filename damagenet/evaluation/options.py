"""`EvaluateOptions`: every option of an evaluation, said once, and the names of the protocols."""

import os
from pathlib import Path
from typing import Annotated, Literal, get_args

from damagenet.errors import ConfigError
from damagenet.evaluation.survey_options import SURVEY_FIELDS, SurveyOptions, require_named
from damagenet.options import CommaSeparated, Device
from damagenet.recipe import DATA_VARIABLE

Protocol = Literal["published", "deduplicated", "region", "acquisition", "post-event", "shortcuts"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)


class EvaluateOptions(SurveyOptions):
    """What is scored, on what, and where the report goes."""

    protocol: Protocol | None = None
    """Way to score a recipe (-c) or a model."""
    all: bool = False
    """Score by every protocol, into one page (evaluation.html)."""
    model: str | None = None
    """Score this bundle as it is, on ground that it was not trained on."""
    trained: Annotated[tuple[Path, ...], CommaSeparated] = ()
    """Outputs of `damagenet train` to take as networks of folds instead of training again."""
    data: Path | None = None
    """Prepared tiles (see `damagenet data prepare`); without it the recipe's data.path."""
    xbd: Path | None = None
    """Folder of xBD scenes for post-event; without it $DAMAGENET_DATA/xbd."""
    write_card: bool = False
    """Keep the scores in the cards of the bundles that were scored."""
    card: str | None = None
    """Keep the scores of a recipe's folds in the card of this bundle, which the recipe made."""
    truth: Path | None = None
    """Surveyed buildings that RESULTS is scored against."""
    device: Device = "auto"
    """Where the network runs: auto, cpu, cuda or cuda:N."""
    out: Path | None = None
    """Folder for reports, plots and networks; for a protocol runs/eval unless named."""

    @property
    def xbd_folder(self) -> Path | None:
        """Folder of the xBD scenes, where one is named or the environment has one."""
        data = os.environ.get(DATA_VARIABLE)
        return self.xbd if self.xbd is not None or not data else Path(data) / "xbd"


def require_one_way(options: EvaluateOptions, *, results: bool, recipe: bool) -> None:
    """Check that the options ask for one of the three ways to score, and for all that it needs.

    Args:
        options: What was asked for.
        results: Whether an assessment was named.
        recipe: Whether a recipe was named.

    Raises:
        ConfigError: If something is missing, or belongs to another way.
    """
    survey = ("truth", *SURVEY_FIELDS)
    network = ("protocol", "all", "model", "trained", "data", "xbd", "write_card", "card")
    if results:
        _refuse(options, network, "belongs to a protocol, not to RESULTS")
        require_named(options, ("truth", "field", "damaged"), to="to score RESULTS")
        return
    _refuse(options, survey, "needs RESULTS: name the assessment to score")
    if options.protocol is None and not options.all:
        raise ConfigError(
            f"name RESULTS with --truth, or --protocol ({', '.join(PROTOCOLS)}) or --all with -c "
            "or --model"
        )
    if options.protocol is not None and options.all:
        raise ConfigError(f"--all scores by {options.protocol} too: leave out --protocol")
    if recipe == (options.model is not None):
        raise ConfigError("name either a recipe (-c) to train and score, or a --model to score")
    if not recipe:
        _refuse(options, ("trained", "card"), "needs a recipe (-c)")


def _refuse(options: EvaluateOptions, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(options, name):
            raise ConfigError(f"--{name.replace('_', '-')} {why}")
