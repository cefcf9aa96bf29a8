"""`SurveyOptions`: how what people found is read from a file, said once for every command."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from damagenet.config import Settings
from damagenet.errors import ConfigError
from damagenet.options import CommaSeparated

WordList = Annotated[tuple[str, ...], CommaSeparated]


class Words(Settings):
    """Which words of a field mean what."""

    damaged: tuple[str, ...] = Field(min_length=1)
    """Words that mean damaged."""
    undamaged: tuple[str, ...] = ()
    """Words that mean undamaged; without any, every word that is named nowhere."""
    ignored: tuple[str, ...] = ()
    """Words that say nothing; such buildings are left out and counted."""


class SurveyOptions(Settings):
    """Which column of a file holds what was found, and what its words mean."""

    field: str | None = None
    """Column of that file with what was found."""
    damaged: WordList = ()
    """Words of --field that mean damaged, as in minor,major."""
    undamaged: WordList = ()
    """Words of --field that mean undamaged; without any, all words that are not named."""
    ignore: WordList = ()
    """Words of --field that say nothing; such buildings are counted and left out."""
    id_field: str | None = None
    """Column of that file with unique ids, those of RESULTS where there are any; without one uid,
    id, fid or the row number."""

    @property
    def words(self) -> Words:
        """The words and what they mean; `damaged` must name one."""
        return Words(damaged=self.damaged, undamaged=self.undamaged, ignored=self.ignore)


SURVEY_FIELDS = tuple(SurveyOptions.model_fields)


class LabelOptions(SurveyOptions):
    """The same of labels, some of which may have been drawn at random."""

    labels_are_random: bool = False
    """Take all labels as drawn at random, where the file has no column `drawn` that says so."""


def require_named(options: Settings, names: Sequence[str], *, to: str) -> None:
    """Check that options which a task needs are there.

    Args:
        options: What was asked for.
        names: Fields that must hold something.
        to: The task, for the sentence, as in `to score RESULTS`.

    Raises:
        ConfigError: If one is missing; all that are missing are named.
    """
    missing = [f"--{name.replace('_', '-')}" for name in names if not getattr(options, name)]
    if missing:
        raise ConfigError(f"{to}, name {', '.join(missing)} too")
