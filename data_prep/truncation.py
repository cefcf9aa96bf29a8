"""Find TIFFs and PNGs that end too early, which GDAL may open and read without a word."""

from collections.abc import Iterator
from pathlib import Path

from rasterio.io import DatasetReader

BLOCKS_CHECKED = 4096
"""At most about this many blocks of a file are looked up; the last row is always among them."""


def find_truncation(dataset: DatasetReader, path: Path) -> str | None:
    """Say what is missing at the end of a file; None where nothing is.

    Of a TIFF only the index of blocks is read, no pixel. Sparse blocks, which are not stored, are
    fine. A JPEG that ends too early is found when it is read.

    Args:
        dataset: The opened file.
        path: Where its bytes are.
    """
    if not path.is_file():
        return None
    if dataset.driver == "PNG" and b"IEND" not in _tail(path):
        return "its end mark is missing"
    return _missing_block(dataset, path.stat().st_size) if dataset.driver == "GTiff" else None


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return file.read()


def _missing_block(dataset: DatasetReader, length: int) -> str | None:
    for band in _bands_with_own_blocks(dataset):
        for column, row in sampled_blocks(dataset):
            offset = dataset.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=band)
            size = dataset.get_tag_item(f"BLOCK_SIZE_{column}_{row}", "TIFF", bidx=band)
            if offset and size and int(offset) + int(size) > length:
                end = int(offset) + int(size)
                return f"band {band} needs {end} bytes, but the file ends at {length}"
    return None


def _bands_with_own_blocks(dataset: DatasetReader) -> tuple[int, ...]:
    by_pixel = dataset.tags(ns="IMAGE_STRUCTURE").get("INTERLEAVE") == "PIXEL"
    return (1,) if by_pixel else tuple(dataset.indexes)


def sampled_blocks(dataset: DatasetReader) -> Iterator[tuple[int, int]]:
    """Yield (column, row) of all blocks of a small file, of the last rows and a sample else."""
    height, width = dataset.block_shapes[0]
    columns, rows = -(-dataset.width // width), -(-dataset.height // height)
    step = max(1, -(-columns * rows // BLOCKS_CHECKED))
    last_row = (rows - 1) * columns
    yield from ((number % columns, number // columns) for number in range(0, last_row, step))
    yield from ((column, rows - 1) for column in range(columns))
