"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


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
