"""How far the work on a scene is."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the work on one scene is; said before the first piece and after every piece.

    Attributes:
        scene: The scene's file.
        units_done: Units that are on disk, those of an earlier run included.
        units_total: All units of the scene, empty grid cells included.
        units_kept: Units that were done before this run began: those that an earlier one had
            finished, and cells where the file stores nothing.
        seconds: Wall time since the first piece of this run started.
    """

    scene: Path
    units_done: int
    units_total: int
    units_kept: int
    seconds: float
