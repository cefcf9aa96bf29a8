"""Chips as pictures: the ground that a verdict is on, cut from the map's pictures."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from api.atlas import ShownMap
from api.explaining import scenes_of
from api.features import Features
from api.map_index import Layer, MapScene
from api.maptiles import View
from api.pictures import PICTURE, answer_picture
from api.problems import not_found
from api.routes import service_of
from api.shown import Shown

router = APIRouter(prefix="/v1/assessments/{job_id}", tags=["map"])

SMALLEST_M = 32.0
"""Ground that is shown at least, as around a unit that was not judged."""
LAYER: dict[str, Layer] = {"post": "imagery", "pre": "pre"}


@router.get("/chips/{unit_id:path}.png", response_class=Response, responses=PICTURE)
async def chip(
    *,
    request: Request,
    shown: Shown,
    unit_id: Annotated[str, Path(description="Id of a unit, as in the results.")],
    picture: Annotated[Literal["post", "pre"], Query(description="After or before.")] = "post",
    size: Annotated[int, Query(ge=16, le=512, description="Pixels along a side.")] = 256,
) -> Response:
    """Return the ground that a unit's verdict is on, north up: a square around its centre."""
    atlas = service_of(request).atlas
    features = await atlas.draw(lambda: atlas.features(shown))
    view, scenes = _ground(features, shown, unit_id, size)
    layer = LAYER[picture]
    scenes = [scene for scene in scenes if scene.holds(layer)]
    if not scenes:
        raise not_found(f"picture {picture} of this unit")
    return await answer_picture(request, shown, scenes=scenes, layer=layer, view=view, ending="png")


def _ground(
    features: Features, shown: ShownMap, unit_id: str, size_px: int
) -> tuple[View, list[MapScene]]:
    """Return a unit's ground, and the scenes that its verdict may come from."""
    (unit,) = features.table.take(features.rows_of(unit_id)).to_pylist()
    lon, lat = unit["lon"], unit["lat"]
    if lon is None or lat is None:
        raise not_found("place of this unit on the map")
    ground_m = max(unit["ground_m"], SMALLEST_M)
    return View.around(lon, lat, ground_m=ground_m, size_px=size_px), scenes_of(unit, shown)
