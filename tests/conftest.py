"""Fixtures that every test may use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
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
    """Return the published tiles, prepared; the gigabyte is given back at the end."""
    from data_prep.harvey import HarveyTiles
    from data_prep.preparation import prepare

    folder = tmp_path_factory.mktemp("harvey")
    prepare(harvey_data / "harvey_tiles.tar", folder, quiet=True)
    yield HarveyTiles.open(folder)
    shutil.rmtree(folder)
