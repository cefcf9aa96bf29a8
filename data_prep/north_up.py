"""Put any scene on a north-up grid: as it is where it can be, else through one `WarpedVRT`."""

from dataclasses import dataclass

from affine import Affine
from pyproj import Transformer
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from damagenet.card import ChipGround
from damagenet.errors import SceneError
from data_prep.ground import pixel_metres, to_crs, to_lonlat
from data_prep.pixels import is_by_nodata

PIXEL_COORDINATES = Affine(1, 0, 0, 0, -1, 0)
"""Grid of a picture without georeference: x is the column, y minus the row, as QGIS shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelGrid:
    """A north-up grid on which a picture of the same ground may be laid."""

    transform: Affine
    crs: CRS
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NorthUp:
    """A dataset whose rows run west to east, from north to south."""

    dataset: DatasetReader | WarpedVRT
    transform: Affine
    crs: CRS | None
    lonlat: Transformer | None
    native_m: tuple[float, float] | None
    """Metres per pixel of the file itself; None without a CRS."""
    warning: str = ""


def north_up(dataset: DatasetReader, chip: ChipGround, grid: PixelGrid | None = None) -> NorthUp:
    """Return the dataset itself if it is north-up, else a view of it that is.

    A rotated scene is warped straight onto the training pixel, so that its chips are resampled
    once; a mirrored one (south-up) is only turned over; one with ground control points is warped
    onto pixels like its own. With a grid to go by, the view is in that grid's CRS, and what is not
    north-up there is warped straight onto that grid.

    Args:
        dataset: Any opened raster.
        chip: What says how large the training pixel is.
        grid: The grid to go by.

    Raises:
        SceneError: If its CRS is not understood or is not one of the Earth.
    """
    if dataset.gcps[0] and dataset.gcps[1] is not None and dataset.transform.is_identity:
        return _warped_by_points(dataset, dataset.gcps[1] if grid is None else grid.crs)
    if dataset.crs is None or dataset.transform.is_identity:
        return _without_crs(dataset)
    transform = dataset.transform
    straight = transform.b == transform.d == 0 and transform.a > 0 > transform.e
    if grid is not None and not (straight and dataset.crs == grid.crs):
        return _warped_onto(dataset, grid)
    if straight:
        lonlat = to_lonlat(dataset.crs.to_wkt())
        return NorthUp(
            dataset=dataset,
            transform=transform,
            crs=dataset.crs,
            lonlat=lonlat,
            native_m=_metres(dataset, transform, lonlat),
        )
    return _warped(dataset, chip)


def _without_crs(dataset: DatasetReader) -> NorthUp:
    transform = dataset.transform
    straight = transform.b == transform.d == 0 and transform.a > 0 > transform.e
    told = "a CRS but no position" if dataset.crs is not None else "no CRS"
    return NorthUp(
        dataset=dataset,
        transform=transform if straight else PIXEL_COORDINATES,
        crs=None,
        lonlat=None,
        native_m=None,
        warning=f"the file has {told}: results are in its own coordinates, without lon and lat",
    )


def _warped(dataset: DatasetReader, chip: ChipGround) -> NorthUp:
    lonlat = to_lonlat(dataset.crs.to_wkt())
    native_m = _metres(dataset, dataset.transform, lonlat)
    grid, width, height = _bounding_grid(dataset)
    method = Resampling.nearest
    if dataset.transform.b or dataset.transform.d:
        method = _method(dataset)
        # Its rows and columns are not those of the file, which may be of other lengths.
        grid_m = pixel_metres(grid, width / 2, height / 2, lonlat)
        grid, width, height = _on_training_pixel(grid, width, height, grid_m, chip)
    view = WarpedVRT(
        dataset,
        transform=grid,
        width=width,
        height=height,
        resampling=method,
        add_alpha=needs_alpha(dataset),
    )
    return NorthUp(dataset=view, transform=grid, crs=dataset.crs, lonlat=lonlat, native_m=native_m)


def _warped_onto(dataset: DatasetReader, grid: PixelGrid) -> NorthUp:
    """Return a view on exactly this grid."""
    view = WarpedVRT(
        dataset,
        crs=grid.crs,
        transform=grid.transform,
        width=grid.width,
        height=grid.height,
        resampling=_method(dataset),
        add_alpha=needs_alpha(dataset),
    )
    return NorthUp(
        dataset=view,
        transform=grid.transform,
        crs=grid.crs,
        lonlat=to_lonlat(grid.crs.to_wkt()),
        native_m=_metres(dataset, dataset.transform, to_lonlat(dataset.crs.to_wkt())),
    )


def _warped_by_points(dataset: DatasetReader, crs: CRS) -> NorthUp:
    """Return a view by ground control points in this CRS, on the grid that GDAL suggests.

    rasterio 1.4 loses the points where a grid is given.
    """
    lonlat = to_lonlat(crs.to_wkt())
    view = WarpedVRT(dataset, crs=crs, resampling=_method(dataset), add_alpha=needs_alpha(dataset))
    native_m = _metres(view, view.transform, lonlat)
    return NorthUp(
        dataset=view, transform=view.transform, crs=crs, lonlat=lonlat, native_m=native_m
    )


def _method(dataset: DatasetReader) -> Resampling:
    # Entries of a palette cannot be averaged.
    palette = ColorInterp.palette in dataset.colorinterp
    return Resampling.nearest if palette else Resampling.cubic


def needs_alpha(dataset: DatasetReader) -> bool:
    """Tell whether a warped view of a dataset must be given a band that says what is valid."""
    return not is_by_nodata(dataset, 1) and ColorInterp.alpha not in dataset.colorinterp


def _bounding_grid(dataset: DatasetReader) -> tuple[Affine, int, int]:
    """Return the north-up grid around a rotated or mirrored one, with pixels of the same size."""
    plain, right, bottom = dataset.transform, dataset.width, dataset.height
    corners = [
        to_crs(plain, *corner) for corner in ((0, 0), (right, 0), (0, bottom), (right, bottom))
    ]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    across = (plain.a**2 + plain.b**2) ** 0.5
    down = (plain.d**2 + plain.e**2) ** 0.5
    grid = Affine(across, 0, min(xs), 0, -down, max(ys))
    return grid, _whole((max(xs) - min(xs)) / across), _whole((max(ys) - min(ys)) / down)


def _on_training_pixel(
    grid: Affine, width: int, height: int, pixel_m: tuple[float, float], chip: ChipGround
) -> tuple[Affine, int, int]:
    across = chip.width_m / chip.size_px / pixel_m[0]
    down = chip.height_m / chip.size_px / pixel_m[1]
    scaled = Affine(grid.a * across, 0, grid.c, 0, grid.e * down, grid.f)
    return scaled, _whole(width / across), _whole(height / down)


def _whole(pixels: float) -> int:
    """Round up, but not for a rounding error."""
    return max(1, -int(-(pixels - 1e-6) // 1))


def _metres(
    dataset: DatasetReader | WarpedVRT, transform: Affine, lonlat: Transformer
) -> tuple[float, float]:
    pixel_m = pixel_metres(transform, dataset.width / 2, dataset.height / 2, lonlat)
    if not all(0 < length < float("inf") for length in pixel_m):
        raise SceneError(
            f"{dataset.name} lies where its CRS is not defined: check its CRS and its position"
        )
    return pixel_m
