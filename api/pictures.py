"""Pictures as answers: drawn in their turn, and not drawn again for who has them already."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import Request, Response

from api.atlas import ShownMap
from api.map_index import Layer, MapScene
from api.maptiles import MEDIA_TYPES, Ending, View, draw, encode, nothing
from api.problems import problems
from api.routes import service_of
from damagenet import __version__

KEPT_S = 3_600
"""How long a browser may keep a picture of a finished job without asking again."""
KEYS = "Authorization, X-API-Key, Cookie"
"""Where a caller's key may be: what is kept for one is not shown to another."""

PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture; transparent where there is none.",
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in MEDIA_TYPES.values()
        },
    },
    304: {"description": "Unchanged, by `If-None-Match`."},
    **problems(404, 409, 422),
}
"""What addresses of pictures answer, for the OpenAPI document."""


async def answer_picture(
    request: Request,
    shown: ShownMap,
    *,
    scenes: Sequence[MapScene],
    layer: Layer,
    view: View,
    ending: Ending,
) -> Response:
    """Return a view of a layer as a file, or 304 where the caller has it."""

    def picture() -> bytes:
        pixels = draw(shown.folder, scenes, layer, view)
        return nothing(view.size_px, ending) if pixels is None else encode(pixels, ending)

    async def drawn() -> bytes:
        return await service_of(request).atlas.draw(picture)

    told = f"{layer} {[scene.stem for scene in scenes]} {view} {ending}"
    return await answer_once(request, shown, told, drawn, ending=ending)


async def answer_once(
    request: Request,
    shown: ShownMap,
    told: str,
    make: Callable[[], Awaitable[bytes]],
    *,
    ending: Ending,
) -> Response:
    """Return a picture, or 304 where the caller has it: then it is not made.

    Args:
        request: The question.
        shown: The map that it is about.
        told: All that the picture depends on besides map and program.
        make: Makes the file.
        ending: Its kind.
    """
    headers, known = kept_headers(request, shown, told)
    if known:
        return Response(status_code=304, headers=headers)
    return Response(await make(), media_type=MEDIA_TYPES[ending], headers=headers)


def kept_headers(request: Request, shown: ShownMap, told: str) -> tuple[dict[str, str], bool]:
    """Return the headers by which a picture is kept, and whether the caller has it already.

    Args:
        request: The question.
        shown: The map that it is about.
        told: All that the picture depends on besides map and program.
    """
    tag = _tag(shown, told)
    headers = {"ETag": tag, "Cache-Control": f"private, max-age={KEPT_S}", "Vary": KEYS}
    known = request.headers.get("if-none-match", "")
    return headers, tag in known or known.strip() == "*"


def _tag(shown: ShownMap, told: str) -> str:
    """Return the entity tag of a picture: the same while map, program and question are."""
    whole = f"{__version__} {shown.version} {told}"
    return f'"{hashlib.sha256(whole.encode()).hexdigest()[:32]}"'
