"""What an assessment takes beside the scene: read once, before any scene."""

from dataclasses import dataclass, field

from damagenet.assessment import SourceItem
from damagenet.engine.key import InputHashes
from damagenet.options import AssessOptions
from data_prep.exclusion import Exclusion, read_exclusion
from data_prep.footprints import Buildings, read_buildings


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What an assessment takes beside the scene.

    Attributes:
        buildings: Units to judge; without them, the cells of a grid.
        exclusion: Ground that is hidden.
        hashes: Hashes of the files that the options name.
        item: The STAC Item that led to the scene.
    """

    buildings: Buildings | None = None
    exclusion: Exclusion | None = None
    hashes: InputHashes = field(default_factory=InputHashes)
    item: SourceItem | None = None

    @property
    def acquired(self) -> str:
        """When the scene was taken, as its Item says (ISO 8601); empty where none does."""
        return "" if self.item is None else self.item.acquired

    @property
    def warnings(self) -> tuple[str, ...]:
        """What must be said of these files."""
        files = (self.buildings, self.exclusion)
        return tuple(warning for file in files if file is not None for warning in file.warnings)


def read_inputs(options: AssessOptions) -> Inputs:
    """Read the buildings and the excluded ground that the options name.

    Raises:
        FootprintError: If one of the files cannot be used.
    """
    buildings = exclusion = None
    if options.buildings is not None:
        buildings = read_buildings(options.buildings, id_field=options.id_field)
    if options.exclude is not None:
        exclusion = read_exclusion(options.exclude)
    return Inputs(buildings=buildings, exclusion=exclusion, hashes=InputHashes.of(options))
