"""Scenes read by ranges from their address: what GDAL is told, and what is asked beforehand.

GDAL follows redirects and says little of what a server answers, so that a web server is asked
first, for sixteen bytes: whether the file is there, whether ranges are served, how long it is and
by which tag it is known. Buckets are asked by GDAL alone, which signs what it asks.
"""

import hashlib
import http.client
import os
import re
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NoReturn
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    Request,
    build_opener,
)

import certifi
from rasterio.io import DatasetReader
from rasterio.windows import Window

from damagenet import __version__
from damagenet.addresses import RemotePath, is_allowed, without_queries
from damagenet.errors import SceneError, UnreachableError
from data_prep.truncation import sampled_blocks

FILE_SYSTEMS = {
    "http": "/vsicurl/http://",
    "https": "/vsicurl/https://",
    "s3": "/vsis3/",
    "gs": "/vsigs/",
    "az": "/vsiaz/",
}
"""How GDAL calls addresses, by their kind."""

CONNECT_S = 10
RETRIES = 3
RETRIED = (429, 500, 502, 503, 504)
"""Answers after which the same is asked again, each time after twice the wait."""
BACK_OFF_S = 1.0

REMOTE_SETTINGS: dict[str, object] = {
    # The file that was named and no other: no listing, no side files (which may name others).
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "CPL_VSIL_CURL_AUTHORIZATION_HEADER_ALLOWED_IF_REDIRECT": "NO",
    "CPL_VSIL_CURL_USE_S3_REDIRECT": "NO",
    "CPL_VSIL_CURL_CHUNK_SIZE": 64 * 1024,
    "CPL_VSIL_CURL_CACHE_SIZE": 64 * 2**20,
    "GDAL_INGESTED_BYTES_AT_OPEN": 64 * 1024,  # a COG's whole index in one request, mostly
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": CONNECT_S,
    "GDAL_HTTP_TIMEOUT": 120,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,  # bytes per second
    "GDAL_HTTP_LOW_SPEED_TIME": 30,
    "GDAL_HTTP_MAX_RETRY": RETRIES,
    "GDAL_HTTP_RETRY_DELAY": BACK_OFF_S,
    "GDAL_HTTP_RETRY_CODES": ",".join(map(str, RETRIED)),
}
"""Pinned for every read from an address; credentials are GDAL's own, from the environment."""

_TIFF = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_HEAD = 16
_GONE = re.compile(
    r"HTTP response code.*?: ?404\b|specified (key|bucket|blob|container) does not exist", re.I
)
_DENIED = re.compile(
    r"HTTP response code.*?: ?40[13]\b|access.?denied|forbidden|access key|signature", re.I
)
"""What GDAL says of it, in its own words or in those of a bucket's keeper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """What a web server says of a file.

    Attributes:
        length: Bytes; None where it does not say.
        version: Its entity tag, else the time it was changed; empty where it says neither.
    """

    length: int | None
    version: str


def require_allowed(path: RemotePath, allow_url: Sequence[str]) -> None:
    """Raise SceneError unless an address is on the list or below an address of it."""
    if not is_allowed(path.address, allow_url):
        beginning = str(path).rpartition("/")[0]
        raise SceneError(
            f"{path} is an address, which is not read unasked: name it to `damagenet assess` or "
            f"`inspect` with --allow-url {beginning}/ if you trust it, else download the file"
        )


def gdal_name(path: RemotePath) -> str:
    """Return the name by which GDAL reads an address, its query included: never to be shown."""
    return FILE_SYSTEMS[path.address.scheme] + path.secret.partition("://")[2]


def remote_settings(path: RemotePath) -> dict[str, object]:
    """Return GDAL's settings for one address: only this file exists, and it is not remembered."""
    name = gdal_name(path)
    return REMOTE_SETTINGS | {
        "CPL_VSIL_CURL_ALLOWED_FILENAME": name,
        "CPL_VSIL_CURL_NON_CACHED": name,  # once it is closed; it may be another file tomorrow
        # What is signed is signed for GET, of which GDAL then drops all but the headers.
        "CPL_VSIL_CURL_USE_HEAD": "NO" if path.query else "YES",
    }


def look_up(path: RemotePath) -> RemoteFile | None:
    """Ask a web server for a file's first bytes; None for a bucket, which only GDAL can ask.

    Raises:
        UnreachableError: If it is not there or not given out, or if the server answers late, sends
            on to another address or serves no ranges.
        SceneError: If the file is empty or no TIFF.
    """
    if path.address.scheme not in ("http", "https"):
        return None
    for attempt in range(RETRIES):
        try:
            return _asked(path)
        except SceneError:
            raise
        except HTTPError as err:
            with err:  # it holds the connection
                if err.code not in RETRIED:
                    _refuse(path, err)
                waited_for = f"answers {err.code}"
        except (http.client.HTTPException, OSError) as err:
            reason = err.reason if isinstance(err, URLError) else err
            waited_for = f"cannot be reached ({_plain(reason)})"
        if attempt < RETRIES - 1:
            time.sleep(BACK_OFF_S * 2**attempt)
    raise UnreachableError(
        f"{path}: its server {waited_for}, {RETRIES} times: check address and network, and run "
        "the same command again"
    )


def index_sha256(dataset: DatasetReader) -> str:
    """Return a hash of a GeoTIFF's index and of three of its blocks, as a stand-in for its bytes.

    The index says sizes, CRS and tags, and where each block lies and how long it is, so that
    compressed pixels hardly change without it. Of a large file it holds a sample of the blocks.
    """
    said = repr(
        (
            *(dataset.width, dataset.height, dataset.dtypes, dataset.nodatavals),
            *(tuple(dataset.transform), dataset.crs and dataset.crs.to_wkt()),
            sorted(dataset.tags().items()),
        )
    )
    found = hashlib.sha256(said.encode())
    for column, row in sampled_blocks(dataset):
        for part in ("OFFSET", "SIZE"):
            tag = dataset.get_tag_item(f"BLOCK_{part}_{column}_{row}", "TIFF", bidx=1)
            found.update(f"{tag};".encode())
    height, width = dataset.block_shapes[0]
    for share in (0.0, 0.5, 1.0):
        column = int(share * (dataset.width - 1)) // width * width
        row = int(share * (dataset.height - 1)) // height * height
        found.update(dataset.read(window=Window(column, row, width, height)).tobytes())
    return found.hexdigest()


def remote_fault(path: RemotePath, heard: Iterable[str]) -> str:
    """Return what is wrong with the file at an address that GDAL could not open or read on.

    Where GDAL's words do not tell, a web server is asked again.

    Args:
        path: The address.
        heard: What GDAL said, in order.

    Raises:
        UnreachableError: If server or network may be at fault, which is all that a broken read
            tells. What GDAL said is not shown beside it: it holds the whole address.
    """
    # GDAL writes an address whole, and also the last step of it alone.
    told = [without_queries(message.replace(f"?{path.query}", "")) for message in heard]
    every = " ".join(told)
    if re.search(r"credentials|AZURE_STORAGE_\w+|GS_\w+", every):
        raise UnreachableError(_withheld(path, f" ({told[0]})")) from None
    if _GONE.search(every):
        raise UnreachableError(_missing(path)) from None
    if _DENIED.search(every):
        raise UnreachableError(_withheld(path, "")) from None
    try:
        look_up(path)
    except UnreachableError as err:
        raise err from None
    except SceneError as err:
        return str(err)
    reason = f" ({told[0]})" if told else ""
    raise UnreachableError(
        f"{path} cannot be read{reason}: check address and network, and run the same command again"
    ) from None


class _StayHere(HTTPRedirectHandler):
    """Follows no redirect: it could lead off the list."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Return no request, so that the redirect is an error with its status."""


@cache  # reading the certificates takes longer than asking
def _opener() -> OpenerDirector:
    context = ssl.create_default_context(cafile=os.environ.get("CURL_CA_BUNDLE"))
    context.load_verify_locations(certifi.where())
    return build_opener(_StayHere(), HTTPSHandler(context=context))


def _asked(path: RemotePath) -> RemoteFile:
    request = Request(path.secret, headers=_headers())
    with _opener().open(request, timeout=CONNECT_S) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            raise UnreachableError(
                f"{path}: its server serves no ranges, so that it could only be read as a whole: "
                "download the file"
            )
        head = answer.read(_HEAD)
        length = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    if not head.startswith(_TIFF):
        raise SceneError(
            f"{path} is no GeoTIFF, it begins with {head!r}: only GeoTIFFs are read from addresses"
        )
    return RemoteFile(length=int(length[1]) if length else None, version=version)


def _headers() -> dict[str, str]:
    """Return the headers of the request, with the credentials that GDAL sends too."""
    headers = {
        "Range": f"bytes=0-{_HEAD - 1}",
        "Accept-Encoding": "identity",
        "User-Agent": f"damagenet/{__version__}",
    }
    for line in os.environ.get("GDAL_HTTP_HEADERS", "").split(","):
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip()] = value.strip()
    if bearer := os.environ.get("GDAL_HTTP_BEARER"):
        headers["Authorization"] = f"Bearer {bearer}"
    return headers


def _refuse(path: RemotePath, err: HTTPError) -> NoReturn:
    """Raise UnreachableError, or SceneError of an empty file: asking again changes neither."""
    if err.code in (404, 410):
        raise UnreachableError(_missing(path))
    if err.code in (401, 403):
        raise UnreachableError(_withheld(path, f" ({err.code})"))
    if err.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise SceneError(f"{path} is empty (zero bytes): upload it again")
    if 300 <= err.code < 400:
        target = without_queries(err.headers.get("Location", "nowhere"))
        raise UnreachableError(
            f"{path} has moved: its server sends on to {target}, which is not followed, as it "
            "could lead off the list: name that address, and allow it with --allow-url"
        )
    raise UnreachableError(
        f"{path}: its server answers {err.code} ({err.reason}): check the address"
    )


def _missing(path: RemotePath) -> str:
    return f"{path} does not exist on its server: check the address"


def _withheld(path: RemotePath, why: str) -> str:
    return (
        f"{path} is not given out by its server{why}: set credentials in the environment as GDAL "
        "reads them, or take a signed address that is still valid"
    )


def _plain(reason: object) -> str:
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return without_queries(str(text))
