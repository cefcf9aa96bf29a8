"""What an assessment needs, made small: a bundle with real but untrained weights, and scenes."""

import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
import torch
from affine import Affine
from assessments import make_card
from rasterio.errors import NotGeoreferencedWarning

from damagenet.bundle import MANIFEST_FILE, load_bundle
from damagenet.bundle_writing import save_bundle
from damagenet.card import Calibration, Card, ChipGround, Strangeness
from damagenet.inference import Predictor
from damagenet.recipe import Choice, ModelSettings
from damagenet.strangeness import Neighbours
from models.classifier import Classifier
from models.factory import build_network

UTM = "EPSG:32615"
EAST, NORTH = 270_000.0, 3_300_000.0
SIZE_PX = 32
PIXEL_M = 1.0
GROUND = ChipGround(size_px=SIZE_PX, width_m=SIZE_PX * PIXEL_M, height_m=SIZE_PX * PIXEL_M)


def make_bundle(
    folder: Path,
    *,
    seed: int = 0,
    non_commercial: bool = False,
    chip: ChipGround = GROUND,
    inputs: tuple[str, ...] = ("post",),
    compares: bool = False,
    **fields: object,
) -> Card:
    """Write a bundle of an untrained compact network, by default for 32 px chips of 32 m.

    Args:
        compares: Keep neighbours, so that the strangeness of scenes is measured.
        fields: Of the card.
    """
    torch.manual_seed(seed)
    model = ModelSettings(architecture=Choice(name="compact_resnet"))
    card = make_card(non_commercial=non_commercial).model_copy(
        update={
            "model": model,
            "chip": chip,
            "inputs": inputs,
            # Untrained logits lie close together; a low temperature spreads them over 0..1.
            "calibration": Calibration(temperature=0.02),
            "uncertain_band": (0.45, 0.55),
            "strangeness": Strangeness(typical=0.05, limit=1.5, blocks=9, measured_on="made")
            if compares
            else None,
        }
        | fields
    )
    network = build_network(
        card.model,
        pixel_mean=card.pixel_mean,
        pixel_std=card.pixel_std,
        inputs=inputs,
        size_px=chip.size_px,
    )
    manifest = pd.DataFrame({"lon": [-95.0], "lat": [29.0], "label": [1], "sha256": ["0" * 64]})
    neighbours = _made_neighbours(network.eval(), chip.size_px) if compares else None
    return save_bundle(folder, card, network, manifest, neighbours=neighbours)


def _made_neighbours(network: Classifier, size_px: int) -> Neighbours:
    """Return as neighbours thirty blocky chips, like the ground of `make_scene`."""
    blocks = np.random.default_rng(9).integers(1, 255, (30, 3, size_px // 8, size_px // 8))
    chips = blocks.astype(np.uint8).repeat(8, axis=2).repeat(8, axis=3)
    with torch.inference_mode():
        return Neighbours.of(network.embed(torch.from_numpy(chips)))


def make_divided_bundle(folder: Path, scene: Path) -> Card:
    """Write a bundle like `make_bundle`, whose verdicts on a scene are damaged for half of it."""
    make_bundle(folder)
    bundle = load_bundle(str(folder))
    with rasterio.open(scene) as file:
        pixels = file.read()
    rows, columns = pixels.shape[1] // SIZE_PX, pixels.shape[2] // SIZE_PX
    cells = pixels.reshape(3, rows, SIZE_PX, columns, SIZE_PX).transpose(1, 3, 0, 2, 4)
    chips = np.ascontiguousarray(cells).reshape(-1, 3, SIZE_PX, SIZE_PX)
    logits = Predictor(bundle, device="cpu").logits((chips,))
    fitted = Calibration(temperature=logits.std(), bias=-np.median(logits) / logits.std())
    card = bundle.card.model_copy(update={"calibration": fitted})
    return save_bundle(folder, card, bundle.network, pd.read_parquet(folder / MANIFEST_FILE))


def make_scene(
    path: Path,
    *,
    columns: int = 6,
    rows: int = 5,
    seed: int = 0,
    crs: str | None = UTM,
    origin: tuple[float, float] = (EAST, NORTH),
    hole: tuple[slice, slice] | None = None,
    acquired: str | None = None,
    pixel_m: float = PIXEL_M,
) -> Path:
    """Write a GeoTIFF of that many 32 px cells with blocky, random ground.

    Args:
        hole: Rows and columns in pixels without data (nodata 0).
        acquired: Value of the TIFF's date tag, as in `2017:08:31 17:00:00`.
    """
    rng = np.random.default_rng(seed)
    width, height = columns * SIZE_PX, rows * SIZE_PX
    blocks = rng.integers(1, 255, size=(3, -(-height // 8), -(-width // 8)), dtype=np.uint8)
    pixels = blocks.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width].copy()
    if hole is not None:
        pixels[:, hole[0], hole[1]] = 0
    georeference = {}
    if crs is not None:
        transform = Affine(pixel_m, 0, origin[0], 0, -pixel_m, origin[1])
        georeference = {"crs": crs, "transform": transform}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=width,
            height=height,
            count=3,
            dtype="uint8",
            nodata=0,
            photometric="RGB",
            tiled=True,
            blockxsize=64,
            blockysize=64,
            **georeference,
        ) as file:
            file.write(pixels)
            if acquired is not None:
                file.update_tags(TIFFTAG_DATETIME=acquired)
    return path


def pixel_box(column: float, row: float, width: float, height: float) -> shapely.Polygon:
    """Return a rectangle given in pixels of `make_scene`, in its CRS."""
    west, north = EAST + column * PIXEL_M, NORTH - row * PIXEL_M
    return shapely.box(west, north - height * PIXEL_M, west + width * PIXEL_M, north)


def make_buildings(path: Path, shapes: list[shapely.Geometry], *, crs: str = UTM) -> Path:
    """Write buildings with the ids `b0`, `b1` ... and a column `floors`."""
    frame = gpd.GeoDataFrame(
        {"uid": [f"b{n}" for n in range(len(shapes))], "floors": range(len(shapes))},
        geometry=shapes,
        crs=UTM,
    )
    frame.to_crs(crs).to_file(path)
    return path


def folder_bytes(folder: Path, *names: str) -> dict[str, bytes]:
    """Return the bytes of files in a folder."""
    return {name: (folder / name).read_bytes() for name in names}
