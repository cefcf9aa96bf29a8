"""One unit or chip as it is shown: its verdict, and a picture for each method."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from damagenet.explain.explainer import Explainer, Explanation
from damagenet.explain.methods import METHODS
from damagenet.explain.names import MethodName
from damagenet.explain.picture import Colours, Pixels, chip_picture, full_colour, png
from damagenet.outputs.atomic import appears

PICTURES = "pictures"
"""Folder of pictures, beside a scene's maps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The chip of a unit, with the maps over it.

    Attributes:
        probability: Calibrated probability of damage of this chip.
        images: uint8 (3, S, S) for each picture of the chip, after the storm first.
        found: By method, of one chip: N is 1.
    """

    probability: float
    images: tuple[Pixels, ...]
    found: Mapping[MethodName, Explanation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What stands on the page of one unit or chip.

    Attributes:
        unit_id: Its id, or the chip's file name.
        label: Its verdict.
        probability: P(damaged) of the verdict.
        files: Picture of each method, below the folder of the page.
        remarks: What must be said of each method's map of this chip; empty mostly.
    """

    unit_id: str
    label: str
    probability: float
    files: Mapping[MethodName, Path]
    remarks: Mapping[MethodName, str]


LARGE_REST = 0.05
"""Share of the promised sum beyond which what is missing to it is said."""


def keep_pictures(
    look: Look, explainer: Explainer, *, unit_id: str, label: str, name: str, folder: Path
) -> Shown:
    """Write the pictures of a unit and return how it is shown.

    Args:
        look: Its chip and maps.
        explainer: What explained it.
        unit_id: Its id.
        label: Its verdict.
        name: First part of the files' names.
        folder: Where the page will lie; pictures go into a folder below.

    Raises:
        OutputError: If a file cannot be written.
    """
    files, remarks = {}, {}
    for method, found in look.found.items():
        path = folder / PICTURES / f"{name}_{method}.png"
        with appears(path) as temporary:
            temporary.write_bytes(
                look_png(look, explainer, method, unit={"unit_id": unit_id, "verdict": label})
            )
        files[method] = path.relative_to(folder)
        remarks[method] = rest_remark(found)
    return Shown(
        unit_id=unit_id,
        label=label,
        probability=look.probability,
        files=files,
        remarks=remarks,
    )


def look_png(
    look: Look, explainer: Explainer, method: MethodName, *, unit: Mapping[str, str]
) -> bytes:
    """Return the picture of one method as PNG, with what it is in its texts.

    Args:
        look: The chip and its maps.
        explainer: What explained it.
        method: Which of the maps.
        unit: Texts on the unit, by key.
    """
    found = look.found[method]
    maps = tuple(one[0] for one in found.maps)
    full = full_colour(maps)
    colours = Colours(signed=METHODS[method].signed, target=explainer.target)
    said = {**unit, "p_damaged": f"{look.probability:.6f}", **method_texts(explainer, method)}
    said["full_colour"] = f"{full:.6g}"
    if found.delta is not None and found.change is not None:
        said["log_odds_less_baseline"] = f"{found.change[0]:.6g}"
        said["convergence_delta"] = f"{found.delta[0]:.6g}"
    return png(chip_picture(look.images, maps, colours, full=full), said)


def method_texts(explainer: Explainer, method: MethodName) -> dict[str, str]:
    """Return what stands in the metadata of pictures and rasters, by key."""
    row, card = METHODS[method], explainer.bundle.card
    return {
        "method": method,
        "shows": f"{row.title}: {row.meaning}.",
        "caution": row.caution,
        "note": explainer.note(method),
        "unit_of_numbers": row.unit,
        "speaks_for": explainer.target,
        "model": f"{card.name} {card.weights_sha256[:12]}",
        "licence": card.licence,
    }


def rest_remark(found: Explanation) -> str:
    """Return what must be said of a sum that does not come out for one chip; empty if it does."""
    share = rest_share(found)
    if share is None or found.change is None or share[0] <= LARGE_REST:
        return ""
    return (
        f"The steps leave {share[0]:.0%} of the change in log-odds ({found.change[0]:.2f}) "
        "unexplained: take more --steps."
    )


def rest_share(found: Explanation) -> NDArray[np.float64] | None:
    """Return what is missing to the promised sum as a share of it, (N,); None without a promise."""
    if found.delta is None or found.change is None:
        return None
    return np.asarray(np.abs(found.delta) / np.maximum(np.abs(found.change), 1e-6))
