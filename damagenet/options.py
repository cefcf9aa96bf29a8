"""`AssessOptions`: every option of an assessment, said once.

The command line, a YAML file, `run.json` and the service are generated from this class or take
it: names, types, defaults, limits and help live here and nowhere else.
"""

import datetime as dt
import re
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from damagenet.addresses import is_address, parse_prefix
from damagenet.config import Settings

Format = Literal["gpkg", "geojson", "parquet", "csv", "cog", "html"]
FORMATS: tuple[str, ...] = get_args(Format)

Runtime = Literal["torch", "compile", "onnx", "bfloat16"]
"""What computes a network's answers."""
EXACT_RUNTIMES: tuple[Runtime, ...] = ("torch", "compile", "onnx")
"""Those whose probabilities agree within 1e-5: in float32."""


AUTO = "auto"
ONE_PICTURE, TWO_PICTURES = "harvey-event", "harvey-pair"
"""The shipped bundles that `auto` stands for: those that err least after a storm."""


def bundle_name(model: str, pre: Path | None) -> str:
    """Return the bundle that the options `model` and `pre` ask for."""
    if model != AUTO:
        return model
    return ONE_PICTURE if pre is None else TWO_PICTURES


def _split_commas(value: object) -> object:
    """Let `--format gpkg,csv` and `--bands 3,2,1` be written as one word."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaSeparated = BeforeValidator(_split_commas)


def _iso_moment(value: object) -> object:
    """Read ISO 8601 only; left alone, pydantic takes 20170831 for seconds since 1970."""
    if value is None or isinstance(value, dt.date):
        return value
    for read in (dt.date.fromisoformat, dt.datetime.fromisoformat):
        try:
            return read(str(value))
        except ValueError:
            continue
    raise ValueError("give a date or time in ISO 8601, as in 2017-08-31 or 2017-08-31T17:38")


IsoMoment = BeforeValidator(_iso_moment)


def _three_bands(value: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if value is not None and len(value) != 3:
        raise ValueError("name three bands: red, green, blue")
    return value


Bands = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...] | None, CommaSeparated, AfterValidator(_three_bands)
]


def _known_device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("a device is auto, cpu, cuda or cuda:N")
    return value


Device = Annotated[str, AfterValidator(_known_device)]


def _as_prefixes(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(parse_prefix(value)) for value in values)


AllowedUrls = Annotated[tuple[str, ...], CommaSeparated, AfterValidator(_as_prefixes)]


def _no_address(path: Path | None) -> Path | None:
    if path is not None and is_address(str(path)):
        raise ValueError("only scenes are read from addresses: download it")
    return path


LocalFile = Annotated[Path | None, AfterValidator(_no_address)]


class AssessOptions(Settings):
    """How scenes are assessed; frozen, complete, and written into `run.json`."""

    buildings: LocalFile = None
    """File of buildings (polygons or points); without one, the scene is cut into grid cells."""
    id_field: str | None = None
    """Column of --buildings with unique ids; without one uid, id or fid, else the row number."""
    exclude: LocalFile = None
    """Polygons or a raster mask of what hides the ground (clouds); such units become obscured."""
    clouds: Literal["check", "ignore"] = "check"
    """Look for cloud, thick haze and blown-out pixels; units they hide become obscured."""
    pre: LocalFile = None
    """Picture of the same ground before the storm, for models that compare two; of a folder of
    such, each scene takes the one that reaches over most of it."""
    stride: Annotated[float | None, Field(gt=0)] = None
    """Side of a grid cell in metres, at most the model's chip; without one, the chip itself."""
    dense: Literal["auto", "off"] = "auto"
    """With a --stride of much less than the chip, run the network once over the scene and let
    windows share that, where it comes near enough to every chip by itself; or never."""
    model: str = AUTO
    """Bundle: a shipped name (see `damagenet models`) or a folder; auto takes harvey-event, and
    harvey-pair with --pre."""
    bands: Bands = None
    """Bands to read as red, green, blue, counted from 1, as in 3,2,1."""
    pixel_size: Annotated[float | None, Field(gt=0)] = None
    """Ground sampling in metres, for a picture without georeference."""
    threshold: Annotated[float | None, Field(ge=0, le=1)] = None
    """Probability from which a unit counts as damaged; without one, the model's own. Within the
    model's uncertain band it changes no verdict, beyond it nothing is uncertain."""
    prior: Annotated[float | None, Field(gt=0, lt=1)] = None
    """Share of damaged units to expect; probabilities are re-weighted to it, and the model's own
    threshold moves along. Without one, the share in the model's calibration."""
    max_error: Annotated[float | None, Field(gt=0, lt=0.5)] = None
    """Largest share of wrong ones among damaged and undamaged verdicts, as in 0.05; what would
    break it is uncertain. Promised only by a model calibrated on random labels of this event."""
    min_valid: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of a window that must hold usable pixels, else the unit is not judged."""
    acquired: Annotated[dt.datetime | dt.date | None, IsoMoment] = None
    """When the scenes were taken (ISO 8601), where the files do not say."""
    force_coarse: bool = False
    """Assess scenes coarser than 3 m, marking every verdict forced-coarse."""
    allow_driver: Annotated[tuple[str, ...], CommaSeparated] = ()
    """GDAL drivers to open beside GeoTIFF, PNG and JPEG, by name, as in VRT."""
    allow_url: AllowedUrls = ()
    """Addresses that scenes may be read from, with all that lies below them, as in
    https://example.org/harvey/ or s3://bucket/; without any, none is."""
    asset: str | None = None
    """Asset of STAC Items that is the scene; without one, the GeoTIFF whose role says so."""
    format: Annotated[tuple[Format, ...], CommaSeparated] = ("gpkg", "geojson", "cog", "html")
    """Files to write: gpkg, geojson, parquet, csv, cog, html."""
    device: Device = "auto"
    """Where the network runs: auto, cpu, cuda or cuda:N."""
    batch_size: Annotated[int | None, Field(ge=1, le=4096)] = None
    """Chips per forward pass; without one, 16 on a CPU (they fit its cache) and 256 on a GPU."""
    engine: Literal["local", "ray"] = "local"
    """Who does the work: this process alone, or a Ray cluster (see docs/CLUSTER.md)."""
    ray_address: str | None = None
    """Ray cluster to join, as in 10.0.0.5:6379, or auto; without one, this machine's cores."""
    runtime: Runtime = "torch"
    """What computes: torch, compile (torch's compiler: slow to start), onnx (the fastest on a CPU),
    or bfloat16, whose probabilities differ by up to a few hundredths."""
    on_error: Literal["skip", "fail"] = "skip"
    """After a scene fails, go on with the others or stop."""
    resume: bool = True
    """Continue an interrupted run where it stopped."""
    overwrite: bool = False
    """Replace results of the same scene that were made with other inputs."""

    @property
    def bundle(self) -> str:
        """Name or folder of the bundle that is asked for."""
        return bundle_name(self.model, self.pre)

    @field_validator("format")
    @classmethod
    def _check_format(cls, value: tuple[Format, ...]) -> tuple[Format, ...]:
        if not value:
            raise ValueError(f"name at least one of {', '.join(FORMATS)}")
        return tuple(dict.fromkeys(value))
