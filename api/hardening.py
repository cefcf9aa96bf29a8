"""GDAL made small at start-up: few drivers, no network, no archives, no sidecars.

rasterio and pyogrio bring a GDAL of their own each. Neither can be told from Python which drivers
to do without once they are registered, so it is said to both libraries in C.
"""

import ctypes
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyogrio
import rasterio

from damagenet.errors import ConfigError

DRIVERS = frozenset(
    (
        *("GTiff", "COG", "PNG", "JPEG", "MEM", "Memory"),
        *("GPKG", "GeoJSON", "FlatGeobuf", "ESRI Shapefile"),
    )
)
"""What is read or written; `Memory` is what GDAL called the vectors of MEM before 3.11."""
FILE_SYSTEMS = frozenset(
    ("/vsimem/", "/vsisubfile/", "/vsisparse/", "/vsipythonfilelike/", "/vsizip/")
)
"""Memory, what GeoTIFF and rasterio use inside, and zipped shapefiles; no network, no other
archive. A path that is opened is always one of the service's own."""
SETTINGS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_DRIVER_PATH": "disable",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_NUM_THREADS": "1",
    "GDAL_MAX_DATASET_POOL_SIZE": "100",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".none",
    "OGR_GEOJSON_MAX_OBJ_SIZE": "128",
    "PROJ_NETWORK": "OFF",
}
"""No sidecars, no plug-ins, no network, one thread a file, 128 MB for one GeoJSON feature. They go
into the environment, as options set in one thread are unknown to the others and to children."""


_FETCH = ctypes.CFUNCTYPE(ctypes.c_void_p, *[ctypes.c_void_p] * 7)
_kept: list[object] = []
"""Functions whose address GDAL keeps, so that they must live as long as the process."""


def harden_gdal() -> None:
    """Leave only what the service needs in this process and its children; may be called again.

    Raises:
        ConfigError: If GDAL's libraries are not found, so that nothing can be promised.
    """
    os.environ.update(SETTINGS)
    with rasterio.Env():
        pass  # which registers the drivers, once in the life of a process
    pyogrio.set_gdal_config_options(SETTINGS)
    for library in _libraries():
        _fetch_nothing(library)
        _keep_drivers(library, DRIVERS)
        _keep_file_systems(library, FILE_SYSTEMS)


def _libraries() -> list[ctypes.CDLL]:
    """Return the GDAL libraries that rasterio and pyogrio have loaded."""
    paths = _mapped() if sys.platform == "linux" else _beside_packages()
    if not paths:
        raise ConfigError(
            "the GDAL of rasterio was not found, so its drivers cannot be restricted: "
            "install rasterio and pyogrio from their wheels"
        )
    return [ctypes.CDLL(str(path)) for path in sorted(paths)]


def _mapped() -> set[Path]:
    text = Path("/proc/self/maps").read_text(encoding="utf-8")
    found = re.findall(r"(/\S*/libgdal\S*\.so\S*)$", text, re.MULTILINE)
    return {Path(name) for name in found}


def _beside_packages() -> set[Path]:
    return {
        library
        for package in (rasterio, pyogrio)
        for folder in (Path(package.__file__).parent,)
        for pattern in (".dylibs/libgdal*", f"../{folder.name}.libs/gdal*")
        for library in folder.glob(pattern)
    }


def _fetch_nothing(library: ctypes.CDLL) -> None:
    """Answer every HTTP request of GDAL with an empty result, and send none.

    Without network drivers one is left: a GeoJSON whose CRS is a link is looked up there.
    """
    library.CPLCalloc.restype = ctypes.c_void_p
    library.CPLCalloc.argtypes = [ctypes.c_size_t, ctypes.c_size_t]

    def fetch(*_arguments: object) -> int:
        # A CPLHTTPResult of zeros holds no data; GDAL frees it. Room for later fields is left.
        result: int = library.CPLCalloc(1, 512)
        return result

    callback = _FETCH(fetch)
    _kept.append(callback)
    library.CPLHTTPSetFetchCallback(callback, None)


def _keep_drivers(library: ctypes.CDLL, kept: Iterable[str]) -> None:
    library.GDALGetDriver.restype = ctypes.c_void_p
    library.GDALGetDriverShortName.restype = ctypes.c_char_p
    library.GDALGetDriverShortName.argtypes = [ctypes.c_void_p]
    library.GDALDeregisterDriver.argtypes = [ctypes.c_void_p]
    for number in reversed(range(library.GDALGetDriverCount())):
        driver = library.GDALGetDriver(number)
        if library.GDALGetDriverShortName(driver).decode() not in kept:
            library.GDALDeregisterDriver(driver)


def _keep_file_systems(library: ctypes.CDLL, kept: Iterable[str]) -> None:
    library.VSIRemovePluginHandler.argtypes = [ctypes.c_char_p]
    for prefix in list(_file_systems(library)):
        if prefix not in kept:
            library.VSIRemovePluginHandler(prefix.encode())


def _file_systems(library: ctypes.CDLL) -> Iterator[str]:
    library.VSIGetFileSystemsPrefixes.restype = ctypes.POINTER(ctypes.c_char_p)
    library.CSLDestroy.argtypes = [ctypes.POINTER(ctypes.c_char_p)]
    prefixes = library.VSIGetFileSystemsPrefixes()
    number = 0
    while (prefix := prefixes[number]) is not None:
        yield prefix.decode()
        number += 1
    library.CSLDestroy(prefixes)
