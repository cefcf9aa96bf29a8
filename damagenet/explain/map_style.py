"""How a map of explanations looks in QGIS: clear where it says nothing."""

from xml.etree import ElementTree as Xml

from damagenet.explain.picture import Colours
from damagenet.outputs.style import Stop, add_ramp, qml_document

FAINT = 0.15
"""Share of full colour below which the map is clear."""
OPAQUE = 235


def map_qml(colours: Colours, full: float) -> str:
    """Return the QGIS style of a map.

    Args:
        colours: How numbers look.
        full: The number that is drawn in full colour, at least zero.
    """
    full = full or 1.0
    other = "undamaged" if colours.target == "damaged" else "damaged"
    clear = [Stop(0.0, "says nothing", colours.positive, 0)]
    clear.append(Stop(FAINT * full, "", colours.positive, 0))
    if not colours.signed:
        stops = [*clear, Stop(full, "strong edge", colours.positive, OPAQUE)]
    else:
        stops = [
            Stop(-full, f"for {other}", colours.negative, OPAQUE),
            Stop(-FAINT * full, "", colours.negative, 0),
            *clear,
            Stop(full, f"for {colours.target}", colours.positive, OPAQUE),
        ]
    root = Xml.Element("qgis", version="3.22", styleCategories="Symbology")
    add_ramp(root, stops, opacity=1.0)
    return qml_document(root)
