"""`report.html`: one page that a person opens first, complete in itself and offline."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from damagenet import __version__
from damagenet.assessment import Assessment
from damagenet.card import ChipGround
from damagenet.outputs.atomic import appears
from damagenet.outputs.batches import Batches
from damagenet.outputs.compared import compared_section
from damagenet.outputs.highlights import SHOWN, Highlight, Highlights
from damagenet.outputs.histogram import Histogram
from damagenet.outputs.marks import BinMarks, UnitMarks, make_marks
from damagenet.outputs.pictures import Picture, chip_pictures, picture_size, scene_picture
from damagenet.outputs.placement import pixel_placer
from damagenet.outputs.style import COLOURS, RAMP
from damagenet.outputs.summary import Summary, summarise, used_threshold
from damagenet.outputs.templates import page_template
from damagenet.outputs.totals import read_totals
from damagenet.outputs.totals_section import totals_section
from damagenet.outputs.words import MEANINGS, REASONS, advice
from data_prep.pairing import Pictures
from data_prep.scene import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """One chip with what was said of it, and where it lies on the picture."""

    unit: Highlight
    picture: Picture
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """A row of thumbnails under a title."""

    title: str
    note: str
    thumbnails: tuple[Thumbnail, ...]


def write_report(
    path: Path, assessment: Assessment, batches: Batches, pictures: Pictures, files: Sequence[str]
) -> None:
    """Write the page.

    Args:
        path: Where it appears.
        assessment: What it is about.
        batches: All records.
        pictures: The open scene, for its picture and chips, and the one before it.
        files: Names of the other files in the folder.

    Raises:
        OutputError: If the file cannot be written.
        SceneError: If the scene turns out to be damaged.
    """
    with appears(path) as temporary:
        page = _render(assessment, batches, pictures, files)
        temporary.write_text(page, encoding="utf-8")


def _render(
    assessment: Assessment, batches: Batches, pictures: Pictures, files: Sequence[str]
) -> str:
    scene = pictures.scene
    width, height = picture_size(scene)
    marks = make_marks(
        units=assessment.counts.units,
        scale=(width / scene.width, height / scene.height),
        picture=(height, width),
        attributes=assessment.attributes,
    )
    highlights = Highlights(threshold=used_threshold(assessment))
    place = pixel_placer(assessment)
    # The picture is C throughout, so that records are gone through meanwhile.
    with ThreadPoolExecutor(1, thread_name_prefix="picture") as painter:
        painted = painter.submit(scene_picture, scene)
        for batch in batches():
            placed = place(batch.geometry)
            marks.add(batch, placed)
            highlights.add(batch, placed)
    picture = painted.result()
    return page_template("report.html").render(
        assessment=assessment,
        summary=summarise(assessment, files),
        picture=picture,
        map_data=_json(_map_data(assessment, marks, picture, scene)),
        aggregated=isinstance(marks, BinMarks),
        galleries=_galleries(assessment, highlights, pictures, marks.scale),
        listed=highlights.damaged,
        histogram=Histogram(highlights.histogram.tolist(), used_threshold(assessment)),
        scale=marks.scale,
        colours=COLOURS,
        counts=_label_counts(summarise(assessment)),
        ramp=RAMP,
        meanings=MEANINGS,
        reasons=REASONS,
        advice=advice(assessment.card),
        window=_window(assessment.card.chip),
        totals=totals_section(read_totals(assessment.folder, assessment.key)),
        # Filled in when all scenes of the run are there.
        compared=compared_section(None),
        version=__version__,
    )


def _map_data(
    assessment: Assessment, marks: UnitMarks | BinMarks, picture: Picture, scene: Scene
) -> dict[str, object]:
    return {
        "width": picture.width,
        "height": picture.height,
        "metres": scene.pixel_m[0] / marks.scale[0],
        "geometry": assessment.geometry,
        "kind": assessment.kind.value,
        "labels": list(COLOURS),
        "colours": list(COLOURS.values()),
        "ramp": RAMP,
        **marks.data(),
    }


def _galleries(
    assessment: Assessment, highlights: Highlights, pictures: Pictures, scale: tuple[float, float]
) -> list[Gallery]:
    rows = (
        ("Surest damaged", "Highest probability of damage.", highlights.damaged),
        ("Surest undamaged", "Lowest probability of damage.", highlights.undamaged),
        ("Least sure", "Nearest to the threshold: check these by eye.", highlights.unsure),
    )
    wanted = [one for _, _, units in rows for one in units[:SHOWN]]
    shown = iter(chip_pictures(pictures, wanted, assessment.card.chip))
    return [
        Gallery(
            title=title,
            note=note,
            thumbnails=tuple(
                Thumbnail(unit=one, picture=next(shown), x=one.col * scale[0], y=one.row * scale[1])
                for one in units[:SHOWN]
            ),
        )
        for title, note, units in rows
    ]


def _window(ground: ChipGround) -> str:
    return f"{ground.width_m:.0f} × {ground.height_m:.0f} m"


def _label_counts(summary: Summary) -> dict[str, int]:
    counts = summary.counts
    return {
        "damaged": counts.damaged,
        "uncertain": counts.uncertain,
        "undamaged": counts.undamaged,
        "not-judged": sum(counts.not_judged.values()),
    }


def _json(value: object) -> str:
    """Return JSON that is safe inside a script element, whatever the caller's file says."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
