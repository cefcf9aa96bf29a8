"""`index.html`: the pictures with what they mean and do not mean; opens without a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from damagenet import __version__
from damagenet.bundle import model_id
from damagenet.explain.explainer import Explainer
from damagenet.explain.methods import METHODS
from damagenet.explain.picture import Colours
from damagenet.explain.scene import SceneMaps
from damagenet.explain.shown import LARGE_REST, Shown
from damagenet.outputs.atomic import appears
from damagenet.outputs.templates import page_template

TEMPLATE = "explain.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A scene, or all chips, on the page.

    Attributes:
        name: Its heading.
        folder: Where its pictures lie, as a beginning of links.
        shown: Its units.
        maps: Of a scene; None for chips.
    """

    name: str
    folder: str
    shown: Sequence[Shown]
    maps: SceneMaps | None = None


def write_page(path: Path, explainer: Explainer, sections: Sequence[Section]) -> None:
    """Write the page, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    card = explainer.bundle.card
    text = page_template(TEMPLATE, Path(__file__).parent).render(
        version=__version__,
        model=model_id(card),
        sentence=card.sentence,
        licence=card.licence,
        target=explainer.target,
        two=len(card.inputs) > 1,
        methods=[
            {
                "name": method,
                "row": METHODS[method],
                "note": explainer.note(method),
                "colours": Colours(signed=METHODS[method].signed, target=explainer.target),
            }
            for method in explainer.methods
        ],
        sections=sections,
        large_rest=LARGE_REST,
    )
    with appears(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
