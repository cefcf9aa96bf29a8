"""What a file that was sent may be, told from its content before anything works with it."""

import logging
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal

from api.folders import Role
from api.image_inspection import inspect_image
from api.problems import ServiceError
from api.sentences import without_library
from api.settings import ServiceSettings
from api.vector_inspection import inspect_vectors
from api.zipped_vectors import rezip
from damagenet.errors import DamageNetError

logger = logging.getLogger(__name__)

HEAD_BYTES = 4096
SHAPEFILE = "Shapefile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of file that may be sent."""

    name: str
    """What people call it."""
    suffixes: tuple[str, ...]
    """Endings under which the engine takes it for this kind."""
    use: Literal["image", "vectors", "zip"]
    magic: tuple[bytes, ...] = ()
    """How the file begins; without any, its text is looked at."""


KINDS = (
    Kind(
        name="GeoTIFF",
        suffixes=(".tif", ".tiff"),
        use="image",
        magic=(b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    ),
    Kind(name="PNG", suffixes=(".png",), use="image", magic=(b"\x89PNG\r\n\x1a\n",)),
    Kind(name="JPEG", suffixes=(".jpg", ".jpeg"), use="image", magic=(b"\xff\xd8\xff",)),
    Kind(name="GeoPackage", suffixes=(".gpkg",), use="vectors", magic=(b"SQLite format 3\x00",)),
    Kind(name="FlatGeobuf", suffixes=(".fgb",), use="vectors", magic=(b"fgb\x03fgb",)),
    Kind(name="GeoParquet", suffixes=(".parquet", ".geoparquet"), use="vectors", magic=(b"PAR1",)),
    Kind(name="zipped vectors", suffixes=(".zip",), use="zip", magic=(b"PK\x03\x04",)),
    Kind(name="GeoJSON", suffixes=(".geojson", ".json"), use="vectors"),
    Kind(name="CSV", suffixes=(".csv",), use="vectors"),
)
USES: dict[Role, tuple[str, ...]] = {
    "image": ("image",),
    "pre": ("image",),
    "buildings": ("vectors", "zip"),
    "exclude": ("image", "vectors", "zip"),
}
"""What each role takes."""


def inspect_upload(
    path: Path, role: Role, settings: ServiceSettings, closing: Event | None = None
) -> Path:
    """Look into a file that was sent, without decoding its pixels, and return the file to use.

    A zipped vector set is replaced by a file that holds nothing else: `NAME.shp.zip`, or the one
    GeoPackage, GeoJSON or the like that it held. All other files stay as they are.

    Args:
        path: The file, under its cleaned name (`api.names.clean_name`).
        role: What it is for.
        settings: Limits of the service.
        closing: Set when the service ends, with which looking into the file ends too.

    Raises:
        ServiceError: 413 where a limit is passed, 422 where the file is of a kind that is not
            taken or is damaged, 503 where the service ends. The sentence names the file but no
            folder.
    """
    closing = closing or Event()
    try:
        kind = _kind(path, role)
        if kind.use == "image":
            inspect_image(path, kind.name, settings)
        elif kind.use == "vectors":
            inspect_vectors(path, kind.name, settings, closing)
        else:
            path = rezip(path, settings)
            shapefile = path.name.endswith(".shp.zip")
            name = SHAPEFILE if shapefile else _kind(path, role).name
            inspect_vectors(path, name, settings, closing)
    except ServiceError as err:
        raise ServiceError(err.status, _public(err, path), err.headers) from err
    except DamageNetError as err:
        raise ServiceError(422, _public(err, path)) from err
    return path


def _kind(path: Path, role: Role) -> Kind:
    if not path.stat().st_size:
        raise ServiceError(422, f"{path.name} is empty, 0 bytes: send it again, whole")
    kind = _kind_of_content(path)
    wanted = [kind for kind in KINDS if kind.use in USES[role]]
    if kind is None or kind not in wanted:
        found = f"a {kind.name}" if kind else "of another kind"
        names = ", ".join(kind.name for kind in wanted)
        raise ServiceError(422, f"{path.name} is {found}; {role} takes: {names}")
    if path.suffix.lower() not in kind.suffixes and not (
        kind.use == "image" and path.suffix.lower() in _image_suffixes()
    ):
        raise ServiceError(
            422,
            f"{path.name} holds {kind.name}, which its name does not say: "
            f"name it {' or '.join(kind.suffixes)}",
        )
    return kind


def _image_suffixes() -> tuple[str, ...]:
    return tuple(suffix for kind in KINDS if kind.use == "image" for suffix in kind.suffixes)


def _kind_of_content(path: Path) -> Kind | None:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    for kind in KINDS:
        if head.startswith(kind.magic or (b"\x00never",)):
            return kind
    return _kind_of_text(head, path.suffix.lower())


def _kind_of_text(head: bytes, suffix: str) -> Kind | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text or b"\x00" in head or text.startswith(b"<"):
        return None  # nothing, another kind, or XML: SVG, HTML, VRT
    by_name = {kind.name: kind for kind in KINDS}
    if text.startswith(b"{"):
        return by_name["GeoJSON"]
    return by_name["CSV"] if suffix == ".csv" else None


def _public(error: DamageNetError, path: Path) -> str:
    """Return the sentence of an error without folders, and without what a library said."""
    logger.info("a file was refused: %s", error)
    sentence = without_library(str(error))
    return sentence.replace(str(path), path.name).replace(f"{path.parent}/", "")
