"""The picture taken before the storm: which it is, how it lies, and what must be said of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import hypot
from pathlib import Path

from damagenet.assessment import Assessment, PreInfo, Shift
from damagenet.card import Card
from damagenet.engine.fingerprints import scene_sha256
from damagenet.engine.scene_list import find_scenes
from damagenet.errors import SceneError
from damagenet.options import AssessOptions
from data_prep.alignment import LARGEST_SHIFT_M, estimate_shift
from data_prep.overlap import Overlap, find_overlap
from data_prep.pairing import Pictures, open_pre
from data_prep.scene import Scene, SceneOptions

UNLIKE_SAMPLING = 1.5
"""Where one picture's pixels are so many times the other's, and the model's, it is said."""
MOST = 0.99
"""A picture that reaches over less of the scene leaves units unjudged, which is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreFile:
    """The file that was chosen as the picture before.

    Attributes:
        path: The file.
        sha256: Its hash.
        overlap: Which part of the scene it reaches over.
    """

    path: Path
    sha256: str
    overlap: Overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All pictures of an assessment, open, with what is known of the one before.

    Attributes:
        pictures: What chips are cut from.
        pre: What is kept of the picture before; None for models that take one.
        warnings: What must be said of it.
    """

    pictures: Pictures
    pre: PreInfo | None = None
    warnings: tuple[str, ...] = ()


def scene_options(options: AssessOptions, card: Card) -> SceneOptions:
    """Return how a scene is opened for an assessment with these options by this model."""
    return SceneOptions(
        bands=options.bands,
        pixel_size=options.pixel_size,
        allow_driver=options.allow_driver,
        allow_url=options.allow_url,
        force_coarse=options.force_coarse,
        chip=card.chip,
    )


def find_pre(scene: Scene, options: AssessOptions) -> PreFile | None:
    """Return the picture before: the file that --pre names, or of a folder the best one.

    Of a folder it is the one that reaches over most of the scene, the first by name of equals.
    The scene itself is passed over.

    Raises:
        SceneError: If nothing overlaps the scene, a file cannot be opened, or --pre is the scene.
        ConfigError: If the folder holds no picture.
    """
    if options.pre is None:
        return None
    named, of_folder = options.pre, options.pre.is_dir()
    paths = find_scenes([str(named)]) if of_folder else [named]
    others = [path for path in paths if not _same_file(path, scene.path)]
    if not others:
        raise SceneError(
            f"--pre {named} leads to the scene itself: name the picture taken before the storm"
        )
    overlaps = {path: find_overlap(path, scene, options.allow_driver) for path in others}
    path = max(overlaps, key=lambda path: overlaps[path].share)
    if not overlaps[path].share:
        what = f"no picture in {named} shows" if of_folder else f"{path} does not show"
        raise SceneError(
            f"{what} any ground of {scene.path}: name a picture of the same ground with --pre"
        )
    return PreFile(path=path, sha256=scene_sha256(path), overlap=overlaps[path])


def found_again(known: Assessment | None, file: PreFile | None) -> Assessment | None:
    """Return a finished assessment with the place where its picture before was found this time.

    Its key says that the picture is the same; only the file may have been moved.
    """
    if known is None or known.pre is None or file is None:
        return known
    return known.model_copy(update={"pre": known.pre.model_copy(update={"path": _kept(file)})})


@contextmanager
def opened_pictures(
    scene: Scene, options: AssessOptions, card: Card, file: PreFile | None
) -> Iterator[Seen]:
    """Yield all pictures that the model compares, the one before laid on the scene's ground.

    Their shift is estimated, and corrected up to `LARGEST_SHIFT_M`. Where it cannot be estimated,
    because nothing matches, the picture is used as its georeference says, with a warning: under
    water or snow nothing may match although both lie well, and nobody could overrule a refusal.

    Args:
        scene: The open scene.
        options: Of the assessment.
        card: The model's.
        file: The picture before, of `find_pre`; None for a model that takes one picture.

    Raises:
        SceneError: If the picture before cannot be used, or lies too far off.
    """
    if file is None:
        yield Seen(pictures=Pictures(scene=scene))
        return
    opening = scene_options(options, card)
    with open_pre(file.path, scene, opening) as pre:
        shift = estimate_shift(scene, pre, file.overlap)
    if hypot(shift.east_m, shift.north_m) > LARGEST_SHIFT_M:
        raise SceneError(
            f"{file.path} lies {_metres(shift)} of where {scene.path} shows the same ground, more "
            f"than the {LARGEST_SHIFT_M:g} m that are corrected: georeference it anew, or take "
            "another picture"
        )
    with open_pre(file.path, scene, opening, shift=shift) as pre:
        yield Seen(
            pictures=Pictures(scene=scene, pre=pre, shift=shift),
            pre=PreInfo(
                path=_kept(file),
                sha256=file.sha256,
                acquired=pre.acquired,
                bands=tuple(pre.bands),
                sampling_m=pre.sampling_m,
                covers=round(file.overlap.share, 4),
                shift=shift,
            ),
            warnings=_warnings(scene, pre, shift, file.overlap, card),
        )


def _kept(file: PreFile) -> Path:
    """Return the path under which the picture is remembered."""
    return file.path.absolute() if file.path.exists() else file.path


def _same_file(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()


def _warnings(
    scene: Scene, pre: Scene, shift: Shift, overlap: Overlap, card: Card
) -> tuple[str, ...]:
    found = [f"of the picture before: {warning}" for warning in pre.warnings]
    found.append(shift_text(shift, pre.path.name))
    if overlap.share < MOST:
        found.append(
            f"the picture before ({pre.path.name}) reaches over {overlap.share:.0%} of the scene: "
            "the rest is not judged (no-imagery)"
        )
    found.append(_sampling_text(scene, pre, card))
    if scene.acquired and pre.acquired and pre.acquired >= scene.acquired:
        found.append(
            f"the picture before ({pre.path.name}) is dated {pre.acquired}, not before the scene "
            f"({scene.acquired}): check that the two are not mixed up"
        )
    return tuple(text for text in found if text)


def shift_text(shift: Shift, name: str) -> str:
    """Return what must be said of a shift; empty where it is too small to matter."""
    blocks = f"{shift.agreed} of {shift.blocks} blocks agree"
    if not shift.found:
        why = blocks if shift.blocks else "too little of both pictures to match"
        return (
            f"the shift of the picture before ({name}) could not be estimated ({why}): it is used "
            "as its georeference says; check by eye that both show the same ground"
        )
    if not shift.corrected:
        return ""
    return (
        f"the picture before ({name}) lay {_metres(shift)} of the scene ({blocks}, within "
        f"{shift.spread_m:.1f} m): corrected"
    )


def _metres(shift: Shift) -> str:
    east = f"{abs(shift.east_m):.1f} m {'east' if shift.east_m >= 0 else 'west'}"
    north = f"{abs(shift.north_m):.1f} m {'north' if shift.north_m >= 0 else 'south'}"
    return f"{east} and {north}"


def _sampling_text(scene: Scene, pre: Scene, card: Card) -> str:
    # Pixels finer than the model's make no difference to what it sees.
    model_m = max(card.chip.width_m, card.chip.height_m) / card.chip.size_px
    here, there = max(scene.sampling_m, model_m), max(pre.sampling_m, model_m)
    if max(here, there) <= UNLIKE_SAMPLING * min(here, there):
        return ""
    return (
        f"the picture before ({pre.path.name}) has pixels of {pre.sampling_m:.2f} m, the scene of "
        f"{scene.sampling_m:.2f} m: what only the finer one shows may look like a change"
    )
