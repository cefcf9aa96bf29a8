"""Capabilities of a WMTS 1.0.0 (OGC 07-057r7) with plain addresses of tiles, for GIS programs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

from api.maptiles import EARTH_M, MEDIA_TYPES

SPACES = {
    "": "http://www.opengis.net/wmts/1.0",
    "ows": "http://www.opengis.net/ows/1.1",
    "xlink": "http://www.w3.org/1999/xlink",
}
GRID = "WebMercatorQuad"
SCALE_PIXEL_M = 0.00028
"""Side of the pixel by which scale denominators are reckoned, in metres."""
TILE_PX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TileLayer:
    """A layer of tiles.

    Attributes:
        name: As in its address.
        title: For people.
        bounds: West, south, east, north in degrees.
        address: Of its tiles, with {z}, {x}, {y}, up to the dot.
        endings: File types, the best one first.
    """

    name: str
    title: str
    bounds: tuple[float, float, float, float]
    address: str
    endings: Sequence[str]


def wmts_capabilities(
    title: str, layers: Sequence[TileLayer], *, address: str, maxzoom: int
) -> bytes:
    """Return the capabilities document.

    Args:
        title: Of the service.
        layers: What it shows.
        address: Of this document.
        maxzoom: Deepest zoom that is offered.
    """
    root = Xml.Element("Capabilities", version="1.0.0")
    for prefix, space in SPACES.items():
        root.set(f"xmlns:{prefix}" if prefix else "xmlns", space)
    service = Xml.SubElement(root, "ows:ServiceIdentification")
    _add(service, "ows:Title", title)
    _add(service, "ows:ServiceType", "OGC WMTS")
    _add(service, "ows:ServiceTypeVersion", "1.0.0")
    contents = Xml.SubElement(root, "Contents")
    for layer in layers:
        _add_layer(contents, layer)
    _add_grid(contents, maxzoom)
    Xml.SubElement(root, "ServiceMetadataURL", {"xlink:href": address})
    Xml.indent(root)
    document: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _add(parent: Xml.Element, name: str, text: str) -> None:
    Xml.SubElement(parent, name).text = text


def _add_layer(contents: Xml.Element, layer: TileLayer) -> None:
    entry = Xml.SubElement(contents, "Layer")
    _add(entry, "ows:Title", layer.title)
    box = Xml.SubElement(entry, "ows:WGS84BoundingBox")
    west, south, east, north = (f"{side:.8f}" for side in layer.bounds)
    _add(box, "ows:LowerCorner", f"{west} {south}")
    _add(box, "ows:UpperCorner", f"{east} {north}")
    _add(entry, "ows:Identifier", layer.name)
    style = Xml.SubElement(entry, "Style", isDefault="true")
    _add(style, "ows:Identifier", "default")
    for ending in layer.endings:
        _add(entry, "Format", MEDIA_TYPES[ending])
    link = Xml.SubElement(entry, "TileMatrixSetLink")
    _add(link, "TileMatrixSet", GRID)
    words = {"{z}": "{TileMatrix}", "{x}": "{TileCol}", "{y}": "{TileRow}"}
    template = layer.address
    for ours, theirs in words.items():
        template = template.replace(ours, theirs)
    for ending in layer.endings:
        Xml.SubElement(
            entry,
            "ResourceURL",
            format=MEDIA_TYPES[ending],
            resourceType="tile",
            template=template.replace("{ending}", ending),
        )


def _add_grid(contents: Xml.Element, maxzoom: int) -> None:
    grid = Xml.SubElement(contents, "TileMatrixSet")
    _add(grid, "ows:Identifier", GRID)
    _add(grid, "ows:SupportedCRS", "urn:ogc:def:crs:EPSG::3857")
    _add(grid, "WellKnownScaleSet", "urn:ogc:def:wkss:OGC:1.0:GoogleMapsCompatible")
    half = EARTH_M / 2
    for zoom in range(maxzoom + 1):
        matrix = Xml.SubElement(grid, "TileMatrix")
        _add(matrix, "ows:Identifier", str(zoom))
        scale = EARTH_M / TILE_PX / 2**zoom / SCALE_PIXEL_M
        _add(matrix, "ScaleDenominator", f"{scale:.{_decimals(scale)}f}")
        _add(matrix, "TopLeftCorner", f"{-half:.9f} {half:.9f}")
        for name, number in (
            ("TileWidth", TILE_PX),
            ("TileHeight", TILE_PX),
            ("MatrixWidth", 2**zoom),
            ("MatrixHeight", 2**zoom),
        ):
            _add(matrix, name, str(number))


def _decimals(number: float) -> int:
    """Return the decimals that make sixteen significant digits."""
    return max(0, 16 - math.ceil(math.log10(number)))
