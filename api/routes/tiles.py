"""Map tiles of a finished job: its pictures and P(damaged), as XYZ, TileJSON and WMTS."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import Field

from api.atlas import ShownMap
from api.map_index import LAYERS, Layer, MapScene
from api.maptiles import Ending, View, is_tile
from api.pictures import PICTURE, answer_picture
from api.problems import not_found, problems
from api.schemas import Answer
from api.shown import Shown
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

SceneName = Annotated[str | None, Query(description="Only this scene: its stem.", max_length=255)]
Zoom = Annotated[int, Path(description="Zoom level.")]
Column = Annotated[int, Path(description="Column, from the west.")]
Row = Annotated[int, Path(description="Row, from the north.")]


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
    base = _base(request, shown)
    layers = [
        TileLayer(
            name=layer,
            title=TITLES[layer] + ("" if not shown.index.placed else " (place made up)"),
            bounds=shown.index.bounds,
            address=f"{base}/{layer}/{{z}}/{{x}}/{{y}}.{{ending}}",
            # Some programs take the first one and cannot read WebP.
            endings=sorted(ENDINGS[layer], key=WIDELY_READ.index),
        )
        for layer in LAYERS
        if _scenes(shown, layer)
    ]
    names = ", ".join(scene.name for scene in shown.index.scenes[:3])
    document = wmts_capabilities(
        f"damagenet: {names}",
        layers,
        address=f"{base}/WMTSCapabilities.xml",
        maxzoom=_maxzoom(shown.index.scenes),
    )
    return Response(document, media_type="application/xml")


@router.get("/{layer}/tilejson.json", responses=problems(404, 409, 422))
def tilejson(
    *,
    request: Request,
    shown: Shown,
    layer: Layer,
    scene: SceneName = None,
    ending: Annotated[Ending | None, Query(description="File type of the tiles.")] = None,
) -> TileJson:
    """Return the TileJSON of a layer."""
    scenes = _chosen(shown, layer, scene)
    west, south, east, north = shown.index.model_copy(update={"scenes": tuple(scenes)}).bounds
    address = f"{_base(request, shown)}/{layer}/{{z}}/{{x}}/{{y}}.{ending or ENDINGS[layer][0]}"
    maxzoom = _maxzoom(scenes)
    return TileJson(
        name=TITLES[layer],
        tiles=[address if scene is None else f"{address}?scene={quote(scene)}"],
        minzoom=0,
        maxzoom=maxzoom,
        bounds=[west, south, east, north],
        center=[(west + east) / 2, (south + north) / 2, max(0, maxzoom - 3)],
        attribution="place made up: no georeference" if shown.index.placed else "",
        georeferenced=not shown.index.placed,
        scenes=[one.stem for one in scenes],
    )


@router.get("/{layer}/{z}/{x}/{y}@2x.{ending}", response_class=Response, responses=PICTURE)
async def large_tile(
    *,
    request: Request,
    shown: Shown,
    layer: Layer,
    z: Zoom,
    x: Column,
    y: Row,
    ending: Ending,
    scene: SceneName = None,
) -> Response:
    """Return a tile of 512 pixels."""
    view, scenes = _view(z, x, y, size_px=512), _chosen(shown, layer, scene)
    return await answer_picture(
        request, shown, scenes=scenes, layer=layer, view=view, ending=ending
    )


@router.get("/{layer}/{z}/{x}/{y}.{ending}", response_class=Response, responses=PICTURE)
async def tile(
    *,
    request: Request,
    shown: Shown,
    layer: Layer,
    z: Zoom,
    x: Column,
    y: Row,
    ending: Ending,
    scene: SceneName = None,
) -> Response:
    """Return a tile of 256 pixels; where there is no picture it is transparent, white in JPEG."""
    view, scenes = _view(z, x, y, size_px=256), _chosen(shown, layer, scene)
    return await answer_picture(
        request, shown, scenes=scenes, layer=layer, view=view, ending=ending
    )


def _chosen(shown: ShownMap, layer: Layer, stem: str | None) -> list[MapScene]:
    """Return the scenes that have a layer, or the one of this name; ServiceError 404 if none."""
    found = [one for one in _scenes(shown, layer) if stem is None or one.stem == stem]
    if not found:
        what = f"layer {layer}" if stem is None else f"scene {stem[:80]!r} with the layer {layer}"
        raise not_found(f"{what} of this assessment")
    return found


def _scenes(shown: ShownMap, layer: Layer) -> list[MapScene]:
    return [scene for scene in shown.index.scenes if scene.holds(layer)]


def _maxzoom(scenes: Sequence[MapScene]) -> int:
    return max(scene.maxzoom for scene in scenes)


def _view(zoom: int, column: int, row: int, *, size_px: int) -> View:
    if not is_tile(zoom, column, row):
        raise not_found(f"tile {zoom}/{column}/{row}")
    return View.of_tile(zoom, column, row, size_px=size_px)


def _base(request: Request, shown: ShownMap) -> str:
    return f"{str(request.base_url).rstrip('/')}/v1/assessments/{shown.folder.root.name}/tiles"
