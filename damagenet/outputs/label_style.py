"""How a file of buildings to label looks in QGIS, and which answers it offers there."""

from functools import lru_cache
from xml.etree import ElementTree as Xml

from damagenet.outputs.style import Geometry, add_fill, add_marker, qml_document

DRAWN_COLOURS: dict[str, str] = {"chosen": "#7b3fa0", "random": "#1f78b4"}
"""Colour of each way in which a building was picked; neither is one of a verdict."""
DRAWN_MARKERS: dict[str, str] = {"chosen": "diamond", "random": "circle"}
DRAWN_OUTLINES: dict[str, str] = {"chosen": "solid", "random": "dash"}
ANSWERS: tuple[tuple[str, str], ...] = (
    ("(not looked at, or cannot tell)", ""),
    ("damaged", "damaged"),
    ("undamaged", "undamaged"),
)
"""What QGIS offers for the column `label`: shown, written."""


@lru_cache
def label_qml(geometry: Geometry) -> str:
    """Return the QGIS style of buildings to label: colour by `drawn`, a list for `label`."""
    root = Xml.Element("qgis", version="3.22", styleCategories="Symbology|Fields|Forms")
    _add_drawn(root, geometry)
    _add_answers(root)
    Xml.SubElement(root, "layerGeometryType").text = "2" if geometry == "polygon" else "0"
    return qml_document(root)


def _add_drawn(root: Xml.Element, geometry: Geometry) -> None:
    renderer = Xml.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="drawn", forceraster="0"
    )
    categories = Xml.SubElement(renderer, "categories")
    symbols = Xml.SubElement(renderer, "symbols")
    for number, (drawn, colour) in enumerate(DRAWN_COLOURS.items()):
        name = str(number)
        Xml.SubElement(categories, "category", value=drawn, label=drawn, symbol=name, render="true")
        kind = "fill" if geometry == "polygon" else "marker"
        symbol = Xml.SubElement(symbols, "symbol", type=kind, name=name, alpha="1")
        if geometry == "point":
            add_marker(symbol, colour, DRAWN_MARKERS[drawn])
        else:
            # Almost clear, so that what is to be judged can be seen.
            add_fill(symbol, colour, DRAWN_OUTLINES[drawn], opacity=30)


def _add_answers(root: Xml.Element) -> None:
    fields = Xml.SubElement(root, "fieldConfiguration")
    field = Xml.SubElement(fields, "field", name="label")
    config = Xml.SubElement(Xml.SubElement(field, "editWidget", type="ValueMap"), "config")
    options = Xml.SubElement(config, "Option", type="Map")
    listed = Xml.SubElement(options, "Option", type="List", name="map")
    for shown, written in ANSWERS:
        entry = Xml.SubElement(listed, "Option", type="Map")
        Xml.SubElement(entry, "Option", type="QString", name=shown, value=written)
