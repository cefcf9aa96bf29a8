"""Which files are opened as rasters, how GDAL is set up, and how its complaints become errors."""

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError, RasterioIOError
from rasterio.io import DatasetReader

from damagenet.addresses import RemotePath, is_address, without_queries
from damagenet.errors import SceneError
from data_prep.remote import gdal_name, look_up, remote_fault, remote_settings, require_allowed
from data_prep.truncation import find_truncation

DRIVERS = ("GTiff", "PNG", "JPEG")
"""GDAL drivers that open without being asked for; COGs are read by GTiff."""

GDAL_SETTINGS: dict[str, object] = {
    "GDAL_CACHEMAX": 256 * 2**20,  # bytes of decoded blocks; rasterio passes the number on as it is
    # Look for .msk, .ovr and .aux.xml by name; never list a folder of a million files.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    "GDAL_HTTP_MAX_RETRY": 3,
    "OGR_CT_FORCE_TRADITIONAL_GIS_ORDER": "YES",
}

GDAL_ERRORS = (RasterioError, CRSError, CPLE_BaseError)
"""What rasterio raises; some calls let the last, which has no public name, through."""

_MAGIC = {
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
}
_BENIGN = re.compile(
    r"Unknown field with tag|TIFFReadDirectory|TIFFFetchNormalTag|^PROJ\b|iCCP|\bretrying\b"
)
_DAMAGE = re.compile(r"corrupt|truncat|premature|incomplete|read error|decod|CRC|checksum", re.I)
"""What a warning must speak of to count as damage; an error always counts."""


def open_raster(
    path: Path, allow_driver: tuple[str, ...] = (), allow_url: tuple[str, ...] = ()
) -> DatasetReader:
    """Open a raster for reading, if it is of a kind that may be opened.

    Args:
        path: File, or the address of a GeoTIFF; GDAL's virtual paths only where their file system
            (`vsizip`, ...) is in `allow_driver`.
        allow_driver: GDAL drivers and file systems to allow beside `DRIVERS`.
        allow_url: Addresses that may be read, and what lies below them.

    Raises:
        SceneError: If the file is missing, of a refused kind, empty, damaged or truncated, or if
            its address is not allowed or cannot be read by ranges.
    """
    if isinstance(path, RemotePath):
        require_allowed(path, allow_url)
        look_up(path)
        return open_remote(path)
    name = _allowed_name(path, allow_driver)
    with gdal_session(path, strict=False):
        dataset = _open_first(name, path, (*DRIVERS, *_driver_names(allow_driver)))
        if dataset is None:
            raise SceneError(_why_not(path, allow_driver))
        fault = find_truncation(dataset, path)
        if fault:
            dataset.close()
            raise SceneError(f"{path} is truncated: {fault}; copy or download it again")
    return dataset


def open_remote(path: RemotePath) -> DatasetReader:
    """Open a GeoTIFF at an address that was found to be allowed.

    Raises:
        SceneError: If it cannot be read.
    """
    with gdal_session(path, strict=False), _LISTENER.listen() as heard:
        try:
            return rasterio.open(gdal_name(path), driver="GTiff")
        except (*GDAL_ERRORS, ValueError) as err:
            # Not chained: what GDAL says holds the whole address, which may be signed.
            fault = remote_fault(path, [*heard, str(err)])
    raise SceneError(fault)


@contextmanager
def gdal_session(path: Path, *, strict: bool = True) -> Iterator[None]:
    """Run GDAL with our settings and make errors of what it only logs.

    GDAL reads some corrupt blocks (JPEG above all) as grey or zeros and merely logs it.

    Args:
        path: File to name in the error.
        strict: Also fail on logged messages, not only on raised ones.

    Raises:
        SceneError: If anything inside fails to read.
    """
    settings = GDAL_SETTINGS | (remote_settings(path) if isinstance(path, RemotePath) else {})
    with rasterio.Env(**settings), _LISTENER.listen() as heard:
        try:
            yield
        except GDAL_ERRORS as err:
            reason = heard[0] if heard else str(err)
            raise SceneError(_damaged(path, reason)) from err
    if strict and heard:
        raise SceneError(_damaged(path, heard[0]))


class _Listener(logging.Handler):
    """Keeps what GDAL logs, thread by thread, and keeps it off the terminal."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._threads = threading.local()

    @contextmanager
    def listen(self) -> Iterator[list[str]]:
        """Yield the list to which this thread's messages are appended."""
        before = getattr(self._threads, "heard", None)
        heard: list[str] = []
        self._threads.heard = heard
        try:
            yield heard
        finally:
            self._threads.heard = before

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message that speaks of damage, without what rasterio wraps around it."""
        heard = getattr(self._threads, "heard", None)
        text = record.getMessage()
        message = re.sub(r"^(GDAL signalled.*?msg=|CPLE_\w+:)", "", text).strip("'\" ")
        is_error = text.startswith("GDAL signalled an error") or record.levelno >= logging.ERROR
        damage = (is_error or _DAMAGE.search(message)) and not _BENIGN.search(message)
        if heard is not None and damage:
            heard.append(message)


def _install_listener() -> _Listener:
    listener = _Listener()
    # rasterio passes GDAL's errors and warnings to this logger, errors at level INFO.
    logger = logging.getLogger("rasterio._err")
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return listener


_LISTENER = _install_listener()


def _open_first(name: str, path: Path, drivers: tuple[str, ...]) -> DatasetReader | None:
    for driver in drivers:
        try:
            with warnings.catch_warnings():
                # A picture without georeference is dealt with in `north_up`.
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                return rasterio.open(name, driver=driver)
        except RasterioIOError:
            continue  # not this driver's; `_why_not` tells what the file is
        except (*GDAL_ERRORS, ValueError) as err:
            raise SceneError(_damaged(path, str(err))) from err
    return None


def _allowed_name(path: Path, allow_driver: tuple[str, ...]) -> str:
    """Return the name to give to GDAL: a file that exists, or an allowed virtual path."""
    text = path.as_posix()
    if is_address(text) or _NETWORK.search(text):
        shown = without_queries(text)
        raise SceneError(f"{shown} is not read: write a plain address, as in https://HOST/FILE.tif")
    virtual = re.match(r"/(vsi\w+)/", text)
    if virtual is None:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise SceneError(f"{path} {what}: name a GeoTIFF, PNG or JPEG file")
        return text
    if virtual[1] not in allow_driver:
        raise SceneError(
            f"{text} is a virtual path, which is not opened unasked: unpack the file, or pass "
            f"--allow-driver {virtual[1]}"
        )
    return text


_NETWORK = re.compile(r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs|plugin|rclone)", re.I)
"""File systems of GDAL that reach into a network, also inside an archive's name."""


def _driver_names(allow_driver: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in allow_driver if not name.startswith("vsi"))


def _why_not(path: Path, allow_driver: tuple[str, ...]) -> str:
    head = _head(path)
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if not path.is_file():
        return f"{path} cannot be opened: check the address, and that it is a GeoTIFF, PNG or JPEG"
    if not head:
        return f"{path} is empty (zero bytes): copy or download it again"
    if kind:
        return f"{path} begins like a {kind} but cannot be opened: it is damaged or incomplete"
    if b"<VRTDataset" in head and "VRT" not in allow_driver:
        return (
            f"{path} is a VRT, which may point at any other file, and is not opened unasked: "
            "pass --allow-driver VRT if you trust it, or make a GeoTIFF of it"
        )
    return (
        f"{path} is no GeoTIFF, COG, PNG or JPEG: convert it to GeoTIFF, or name its GDAL driver "
        "with --allow-driver"
    )


def _head(path: Path) -> bytes:
    if not path.is_file():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(1024)
    except OSError as err:
        raise SceneError(f"cannot read {path}: {err.strerror}") from err


def _damaged(path: Path, reason: str) -> str:
    if isinstance(path, RemotePath):
        return remote_fault(path, [reason])
    return f"{path} cannot be read, it is damaged or incomplete ({reason}): copy it again"
