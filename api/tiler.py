"""Map tiles by titiler: its factory, on the pictures of one layer of one job and nothing else."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.routing import APIRoute
from morecantile import TileMatrixSet, TileMatrixSets
from morecantile import tms as known_grids
from rio_tiler.io.base import BaseReader
from rio_tiler.models import ImageData
from titiler.core.dependencies import DefaultDependency
from titiler.core.factory import TilerFactory
from titiler.core.resources.enums import ImageType

from api.atlas import ShownMap
from api.map_index import Layer, MapScene
from api.maptiles import MEDIA_TYPES, Ending, View, draw, encode, is_tile
from api.pictures import PICTURE, kept_headers
from api.problems import ServiceError, not_found
from api.routes import service_of
from api.shown import Shown

GRID = "WebMercatorQuad"
TILE_PX = 256
LARGEST_TILE_PX = 1024
OF_TYPE: dict[str, Ending] = {"png": "png", "webp": "webp", "jpg": "jpg", "jpeg": "jpg"}
"""File types that are offered, of all that titiler has."""

SceneName = Annotated[str | None, Query(description="Only this scene: its stem.", max_length=255)]
TileSize = Annotated[
    int, Query(gt=0, le=LARGEST_TILE_PX, description="Pixels along a side of the tile.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPictures:
    """What tiles are cut from.

    Attributes:
        shown: The map of the job.
        layer: One of its layers.
        scenes: Those that are looked at, the first one on top.
    """

    shown: ShownMap
    layer: Layer
    scenes: Sequence[MapScene]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees."""
        return self.shown.index.model_copy(update={"scenes": tuple(self.scenes)}).bounds

    @property
    def maxzoom(self) -> int:
        """Zoom that shows every pixel."""
        return max(scene.maxzoom for scene in self.scenes)


class UnchangedError(Exception):
    """The caller has this picture already."""


class KeptRoute(APIRoute):
    """A route whose pictures have entity tags: what a caller has is not drawn again."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which adds the headers that `tag_picture` has left."""
        handle = super().get_route_handler()

        async def handle_kept(request: Request) -> Response:
            try:
                response = await handle(request)
            except UnchangedError:
                response = Response(status_code=304)
            response.headers.update(request.state.kept_headers)
            return response

        return handle_kept


def layer_pictures(shown: Shown, layer: Layer, scene: SceneName = None) -> LayerPictures:
    """Return the pictures of a layer, or of one scene in it; raise ServiceError 404 if none."""
    held = [one for one in shown.index.scenes if one.holds(layer)]
    found = [one for one in held if scene is None or one.stem == scene]
    if not found:
        what = f"layer {layer}" if scene is None else f"scene {scene[:80]!r} with the layer {layer}"
        raise not_found(f"{what} of this assessment")
    return LayerPictures(shown=shown, layer=layer, scenes=found)


Pictures = Annotated[LayerPictures, Depends(layer_pictures)]


def tag_picture(request: Request, pictures: Pictures) -> None:
    """Leave the headers of the answer for `KeptRoute`; UnchangedError if the caller has it."""
    asked = f"{request.url.path}?{request.url.query}"
    headers, known = kept_headers(request, pictures.shown, asked)
    request.state.kept_headers = headers
    if known:
        raise UnchangedError


async def take_turn(request: Request) -> AsyncIterator[None]:
    """Hold one of the places of those who draw, until the tile is made."""
    async with service_of(request).atlas.threads:
        yield


def tile_source(
    request: Request,
    pictures: Pictures,
    # Only checked: titiler reads it too, and knows no upper limit.
    tilesize: TileSize = TILE_PX,
    _tagged: Annotated[None, Depends(tag_picture)] = None,
    # The place is free again before the answer is sent: a slow reader keeps nobody waiting.
    _turn: Annotated[None, Depends(take_turn, scope="function")] = None,
) -> LayerPictures:
    """Return what titiler opens: never an address or a path of the caller's.

    Raises:
        ServiceError: 404 if there is no such layer or scene, 422 for other file types.
        UnchangedError: If the caller has the tile.
    """
    ending = request.path_params.get("format")
    if ending is not None and ending not in OF_TYPE:
        raise ServiceError(422, f"tiles have no file type {ending}: take {', '.join(OF_TYPE)}")
    return pictures


class MapReader:
    """Reads tiles of a job's layer; what titiler's factory asks of a reader for `tile`.

    rio-tiler's own readers let GDAL suggest a grid, for which GDAL opens a VRT document: a driver
    that `hardening` takes away, as a VRT can name any other file. `maptiles` needs none.
    """

    def __init__(self, pictures: LayerPictures, tms: TileMatrixSet) -> None:
        self.pictures = pictures
        self.tms = tms

    def __enter__(self) -> "MapReader":
        return self

    def __exit__(self, *_raised: object) -> None:
        """Files are open only while a tile is read."""

    def tile(self, x: int, y: int, z: int, *, tilesize: int | None) -> ImageData:
        """Return a tile as RGB (3, h, w) with its alpha; all clear where nothing is seen.

        Raises:
            ServiceError: 404 if there is no such tile, or the job was deleted meanwhile.
        """
        if not is_tile(z, x, y):
            raise not_found(f"tile {z}/{x}/{y}")
        view = View.of_tile(z, x, y, size_px=tilesize or TILE_PX)
        pictures = self.pictures
        drawn = draw(pictures.shown.folder, pictures.scenes, pictures.layer, view)
        if drawn is None:
            drawn = np.zeros((view.size_px, view.size_px, 4), np.uint8)
        colours, alpha = drawn[..., :3].transpose(2, 0, 1), drawn[..., 3]
        return ImageData(
            np.ma.MaskedArray(colours, mask=np.broadcast_to(alpha == 0, colours.shape)),
            alpha_mask=alpha,
            bounds=view.bounds,
            crs=self.tms.rasterio_crs,
        )


def render_tile(
    image: ImageData, *, output_format: ImageType | None, **_options: object
) -> tuple[bytes, str]:
    """Return a tile as a file, and its media type.

    rio-tiler lets GDAL write it, whose WebP driver is not among those that are left.
    """
    pixels = np.dstack([*image.data, image.mask])
    if output_format is None:
        ending: Ending = "jpg" if pixels[..., 3].all() else "png"
    else:
        ending = OF_TYPE[output_format]
    return encode(pixels, ending), MEDIA_TYPES[ending]


class JobTiler(TilerFactory):
    """titiler's addresses of tiles; its other ones would let callers choose sizes without limit."""

    def register_routes(self) -> None:
        """Register `tiles/{tileMatrixSetId}/{z}/{x}/{y}`, with and without a file type."""
        self.tile()  # type: ignore[no-untyped-call]
        for route in self.router.routes:
            if isinstance(route, APIRoute):
                route.responses = PICTURE


router = JobTiler(
    router=APIRouter(
        prefix="/v1/assessments/{job_id}/tiles/{layer}", route_class=KeptRoute, tags=["map"]
    ),
    name="map",
    reader=cast(type[BaseReader], MapReader),
    path_dependency=tile_source,
    # Bands, no-data values, algorithms and colours are settled: nothing of them can be asked for.
    layer_dependency=DefaultDependency,
    dataset_dependency=DefaultDependency,
    tile_dependency=DefaultDependency,
    process_dependency=lambda: None,
    colormap_dependency=lambda: None,
    render_dependency=DefaultDependency,
    render_func=render_tile,
    supported_tms=TileMatrixSets({GRID: known_grids.get(GRID)}),
).router
