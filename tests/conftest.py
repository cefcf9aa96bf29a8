"""Fixtures that every test may use."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from damagenet.options import AssessOptions
    from data_prep.harvey import HarveyTiles

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is loaded: there is a process for each core, and a second thread of each would
    # only wait for the core of another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def harvey_data() -> Path:
    """Return the folder of real data, or skip and say why."""
    folder = os.environ.get("DAMAGENET_DATA")
    if not folder:
        pytest.skip("needs the real Harvey data: set DAMAGENET_DATA to its folder")
    path = Path(folder).resolve()
    if not (path / "harvey_tiles.tar").exists():
        pytest.skip(f"DAMAGENET_DATA={folder} holds no harvey_tiles.tar")
    return path


@pytest.fixture(scope="session")
def real_tiles(
    harvey_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[HarveyTiles]":
    """Return the published tiles, prepared once for all processes that test beside each other.

    The gigabyte is given back by the last of them that has it open.
    """
    from data_prep.harvey import HarveyTiles
    from data_prep.preparation import prepare

    base = tmp_path_factory.getbasetemp()
    # Each process of xdist has a folder of its own inside that of the whole run.
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "harvey"
    with (shared / "harvey.open").open("w") as users:
        with one_at_a_time(shared / "harvey.lock"):
            prepare(harvey_data / "harvey_tiles.tar", folder, quiet=True)
            fcntl.flock(users, fcntl.LOCK_SH)
        yield HarveyTiles.open(folder)
        with one_at_a_time(shared / "harvey.lock"), suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny untrained bundle."""
    from tiny_run import make_bundle

    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return folder


@pytest.fixture
def options(bundle: Path) -> "Callable[..., AssessOptions]":
    """Return what makes options of an assessment by that bundle, changed as the caller says."""
    from damagenet.options import AssessOptions

    def make(**changes: object) -> AssessOptions:
        return AssessOptions.model_validate(
            {"model": str(bundle), "format": "csv,parquet"} | changes
        )

    return make


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process is inside."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
