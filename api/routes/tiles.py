"""What GIS programs ask of a finished job's map tiles: TileJSON and WMTS; `tiler` has the tiles."""

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from api.atlas import ShownMap
from api.map_index import LAYERS, Layer
from api.maptiles import Ending
from api.problems import problems
from api.schemas import Answer
from api.shown import Shown
from api.tiler import GRID, Pictures, SceneName
from api.wmts import TileLayer, wmts_capabilities

router = APIRouter(prefix="/v1/assessments/{job_id}/tiles", tags=["map"])

TITLES: dict[Layer, str] = {
    "imagery": "Imagery after the storm",
    "pre": "Imagery before the storm",
    "damage": "P(damaged), green 0 to red 1",
}
ENDINGS: dict[Layer, tuple[Ending, ...]] = {
    "imagery": ("webp", "jpg", "png"),
    "pre": ("webp", "jpg", "png"),
    "damage": ("png", "webp"),
}
"""File types of each layer, the best one first."""
WIDELY_READ: tuple[Ending, ...] = ("png", "jpg", "webp")


class TileJson(Answer):
    """TileJSON 3.0.0: what MapLibre and QGIS need to know of a layer."""

    tilejson: str = "3.0.0"
    name: str
    tiles: list[str]
    minzoom: int
    maxzoom: int
    bounds: Annotated[list[float], Field(min_length=4, max_length=4)]
    """West, south, east, north in degrees."""
    center: Annotated[list[float], Field(min_length=3, max_length=3)]
    """Longitude, latitude, zoom."""
    scheme: str = "xyz"
    attribution: str = ""
    georeferenced: bool = Field(
        description="False where the picture has no georeference: it is placed at 0/0 then."
    )
    scenes: list[str]
    """Stems of the scenes that have this layer."""


@router.get(
    "/WMTSCapabilities.xml",
    response_class=Response,
    responses={
        200: {"content": {"application/xml": {"schema": {"type": "string"}}}},
        **problems(404, 409, 422),
    },
)
def wmts(request: Request, shown: Shown) -> Response:
    """Return the WMTS capabilities of all layers, for GIS programs."""
    layers = [
        TileLayer(
            name=layer,
            title=TITLES[layer] + ("" if not shown.index.placed else " (place made up)"),
            bounds=shown.index.bounds,
            address=_tile_address(request, shown, layer, "{ending}"),
            # Some programs take the first one and cannot read WebP.
            endings=sorted(ENDINGS[layer], key=WIDELY_READ.index),
        )
        for layer in LAYERS
        if any(scene.holds(layer) for scene in shown.index.scenes)
    ]
    names = ", ".join(scene.name for scene in shown.index.scenes[:3])
    document = wmts_capabilities(
        f"damagenet: {names}",
        layers,
        address=f"{_base(request, shown)}/WMTSCapabilities.xml",
        maxzoom=max(scene.maxzoom for scene in shown.index.scenes),
    )
    return Response(document, media_type="application/xml")


@router.get("/{layer}/tilejson.json", responses=problems(404, 409, 422))
def tilejson(
    *,
    request: Request,
    shown: Shown,
    pictures: Pictures,
    layer: Layer,
    scene: SceneName = None,
    ending: Annotated[Ending | None, Query(description="File type of the tiles.")] = None,
) -> TileJson:
    """Return the TileJSON of a layer."""
    west, south, east, north = pictures.bounds
    maxzoom = pictures.maxzoom
    address = _tile_address(request, shown, layer, ending or ENDINGS[layer][0])
    return TileJson(
        name=TITLES[layer],
        tiles=[address if scene is None else f"{address}?scene={quote(scene)}"],
        minzoom=0,
        maxzoom=maxzoom,
        bounds=[west, south, east, north],
        center=[(west + east) / 2, (south + north) / 2, max(0, maxzoom - 3)],
        attribution="place made up: no georeference" if shown.index.placed else "",
        georeferenced=not shown.index.placed,
        scenes=[one.stem for one in pictures.scenes],
    )


def _tile_address(request: Request, shown: ShownMap, layer: Layer, ending: str) -> str:
    return f"{_base(request, shown)}/{layer}/tiles/{GRID}/{{z}}/{{x}}/{{y}}.{ending}"


def _base(request: Request, shown: ShownMap) -> str:
    return f"{str(request.base_url).rstrip('/')}/v1/assessments/{shown.folder.root.name}/tiles"
