"""The machine under the figures: processor, cores, load, versions, threads, commit."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import rasterio
import torch
from bench_result import Machine

from damagenet.study.machine import processor

PACKAGES = ("damagenet", "torch", "torchvision", "numpy", "onnxruntime", "pyarrow", "geopandas")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "MALLOC_ARENA_MAX",
    "GDAL_CACHEMAX",
    "GDAL_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "LD_PRELOAD",
)


def describe_machine() -> Machine:
    """Return this machine as it is now."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return Machine(
        processor=processor(),
        cores=os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        gpu=gpu,
        system=platform.platform(),
        torch_threads=torch.get_num_threads(),
        environment={name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ},
        versions={
            "python": platform.python_version(),
            "gdal": rasterio.__gdal_version__,
            "rasterio": rasterio.__version__,
            **{name: _version(name) for name in PACKAGES},
        },
    )


def commit() -> str:
    """Return the commit of this checkout, with `+changes` where files differ from it."""
    here = Path(__file__).parent
    try:
        named = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{named}+changes" if changed else named


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
