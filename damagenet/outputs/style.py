"""How the results look: colours that colour-blind readers can tell apart, as QGIS styles."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal
from xml.etree import ElementTree as Xml

Geometry = Literal["point", "polygon"]

COLOURS: dict[str, str] = {
    "damaged": "#d1361b",
    "uncertain": "#f2b134",
    "undamaged": "#1b8a7a",
    "not-judged": "#8a8f98",
}
"""Colour of each label, in the order of a legend."""

MARKERS: dict[str, str] = {
    "damaged": "circle",
    "uncertain": "diamond",
    "undamaged": "square",
    "not-judged": "cross2",
}
OUTLINES: dict[str, str] = {"damaged": "solid", "uncertain": "dash", "undamaged": "dot"}
"""Shapes and outlines by label, in QGIS words: red and green are not all that tells them apart."""

RAMP: tuple[tuple[float, str], ...] = (
    (0.0, "#1b8a7a"),
    (0.25, "#a9cfc4"),
    (0.5, "#f6e8c3"),
    (0.75, "#eb8a5a"),
    (1.0, "#d1361b"),
)
"""Colours of P(damaged) from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A value of a raster and how it looks."""

    value: float
    label: str
    colour: str
    alpha: int = 255


@lru_cache
def vector_qml(geometry: Geometry) -> str:
    """Return the QGIS style of a layer of records, coloured by label."""
    return _document(geometry, raster=False)


@lru_cache
def sidecar_qml(geometry: Geometry) -> str:
    """Return the QGIS style that lies beside `damage.tif` and `damage.geojson`.

    QGIS looks for one file, `damage.qml`, for both; a raster reads its `pipe`, a vector layer its
    `renderer-v2`, so that one document serves the two.
    """
    return _document(geometry, raster=True)


def _document(geometry: Geometry, *, raster: bool) -> str:
    root = Xml.Element("qgis", version="3.22", styleCategories="Symbology")
    if raster:
        add_ramp(root, [Stop(value, f"{value:.2f}", colour) for value, colour in RAMP])
    _add_labels(root, geometry)
    Xml.SubElement(root, "layerGeometryType").text = "2" if geometry == "polygon" else "0"
    return qml_document(root)


def qml_document(root: Xml.Element) -> str:
    """Return the text of a QGIS style file."""
    Xml.indent(root)
    doctype = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"
    return f"{doctype}\n{Xml.tostring(root, encoding='unicode')}\n"


def _add_labels(root: Xml.Element, geometry: Geometry) -> None:
    renderer = Xml.SubElement(
        root, "renderer-v2", type="categorizedSymbol", attr="label", forceraster="0"
    )
    categories = Xml.SubElement(renderer, "categories")
    symbols = Xml.SubElement(renderer, "symbols")
    for number, (label, colour) in enumerate(COLOURS.items()):
        name = str(number)
        Xml.SubElement(categories, "category", value=label, label=label, symbol=name, render="true")
        kind = "fill" if geometry == "polygon" else "marker"
        symbol = Xml.SubElement(symbols, "symbol", type=kind, name=name, alpha="1")
        if geometry == "point":
            add_marker(symbol, colour, MARKERS[label])
        elif label == "not-judged":
            _add_hatch(symbol, colour)
        else:
            add_fill(symbol, colour, OUTLINES[label])


def add_fill(symbol: Xml.Element, colour: str, outline: str, *, opacity: int = 140) -> None:
    """Fill a polygon's symbol.

    Args:
        symbol: Where it is added.
        colour: As in #1b8a7a.
        outline: Of the kinds of line, in QGIS words.
        opacity: Of the inside, 0 to 255.
    """
    options = {
        "color": _rgba(colour, opacity),
        "outline_color": _rgba(colour, 255),
        "outline_style": outline,
        "outline_width": "0.4",
        "style": "solid",
    }
    _add_layer(symbol, "SimpleFill", options)


def _add_hatch(symbol: Xml.Element, colour: str) -> None:
    options = {
        "color": _rgba(colour, 200),
        "outline_color": _rgba(colour, 255),
        "outline_width": "0.3",
        "style": "b_diagonal",
    }
    _add_layer(symbol, "SimpleFill", options)


def add_marker(symbol: Xml.Element, colour: str, shape: str) -> None:
    """Give a point's symbol a shape, in QGIS words."""
    options = {
        "name": shape,
        "color": _rgba(colour, 230),
        # A cross is all outline.
        "outline_color": _rgba(colour, 255) if shape == "cross2" else "255,255,255,255",
        "outline_width": "0.3",
        "size": "2.6",
    }
    _add_layer(symbol, "SimpleMarker", options)


def _add_layer(symbol: Xml.Element, kind: str, options: dict[str, str]) -> None:
    layer = Xml.SubElement(
        symbol, "layer", {"class": kind, "enabled": "1", "pass": "0", "locked": "0"}
    )
    # QGIS reads <Option> from 3.20 on and <prop> before.
    group = Xml.SubElement(layer, "Option", type="Map")
    for name, value in options.items():
        Xml.SubElement(group, "Option", type="QString", name=name, value=value)
    for name, value in options.items():
        Xml.SubElement(layer, "prop", k=name, v=value)


def add_ramp(root: Xml.Element, stops: Sequence[Stop], *, opacity: float = 0.8) -> None:
    """Colour the first band of a raster.

    Args:
        root: The style.
        stops: Values from low to high with their colours; between them colours are mixed.
        opacity: Of the whole layer, 0..1.
    """
    low, high = f"{stops[0].value:g}", f"{stops[-1].value:g}"
    pipe = Xml.SubElement(root, "pipe")
    renderer = Xml.SubElement(
        pipe,
        "rasterrenderer",
        type="singlebandpseudocolor",
        band="1",
        opacity=f"{opacity:g}",
        alphaBand="-1",
        classificationMin=low,
        classificationMax=high,
    )
    shader = Xml.SubElement(renderer, "rastershader")
    ramp = Xml.SubElement(
        shader,
        "colorrampshader",
        colorRampType="INTERPOLATED",
        minimumValue=low,
        maximumValue=high,
        classificationMode="1",
        clip="0",
    )
    for stop in stops:
        Xml.SubElement(
            ramp,
            "item",
            value=f"{stop.value:g}",
            label=stop.label,
            color=stop.colour,
            alpha=str(stop.alpha),
        )


def _rgba(colour: str, alpha: int) -> str:
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"{red},{green},{blue},{alpha}"
