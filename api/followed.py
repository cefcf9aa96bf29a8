"""What a job that follows from an assessment takes over from it; loads no torch."""

from pathlib import Path

from api.folders import JobFolder
from damagenet.engine.run_record import read_record

CARRIED = ("bands", "clouds", "min_valid", "force_coarse")
"""Options of an assessment that say how its scenes are read, and hold for the adaptation too."""


def assessed_scenes(folder: JobFolder) -> list[Path]:
    """Return the scenes of a job that did not fail, in the order in which they were assessed."""
    fine = {path.name for path in read_record(folder.results).folders()}
    return [path for path in folder.files("image") if path.name in fine]


def picture_before(folder: JobFolder) -> Path | None:
    """Return the picture before the storm, the folder of several, or None."""
    pictures = folder.files("pre")
    if not pictures:
        return None
    return pictures[0] if len(pictures) == 1 else folder.inputs("pre")
