"""The parts of an assessment on disk: kept, refused or removed before work starts."""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from geopandas import GeoDataFrame

from damagenet.assessment import (
    ASSESSMENT_FILE,
    DISTANCE_COLUMN,
    PARTS_FOLDER,
    Assessment,
    Counts,
    part_path,
)
from damagenet.engine.key import AssessmentKey
from damagenet.errors import (
    CancelledError,
    DamageNetError,
    FootprintError,
    OutputError,
    SceneError,
    UnreachableError,
)
from damagenet.labels import Label
from damagenet.outputs.atomic import appears
from damagenet.outputs.layer import read_schema, reading_part

KEY_FILE = "key.json"

OURS = ("damage.*", "report.html", "summary.json", "item.json", ASSESSMENT_FILE)
"""What damagenet writes into a scene's folder beside the parts."""


CUT_FILE = "cut.sha256"


def open_parts(
    folder: Path, key: AssessmentKey, *, cut: str, resume: bool, overwrite: bool
) -> None:
    """Make a scene's folder ready for parts made with this key.

    Parts made with the same key are kept, unless `resume` is false, or they are unfinished and
    another version cut the work into other pieces. Anything else in the way is removed with
    `overwrite`, and refused without.

    Args:
        folder: Of the scene.
        key: What its records depend on.
        cut: How the work is cut into pieces; see `work.cut_sha256`.
        resume: Keep parts made with the same key.
        overwrite: Remove what is in the way.

    Raises:
        OutputError: If the folder holds results that were made with other inputs, or it cannot
            be written.
    """
    found = read_key(folder)
    if found == key and resume and (finished_assessment(folder) or _read_cut(folder) == cut):
        _remove_stale(folder)
        return
    if found != key and not overwrite:
        _refuse(folder, key, found)
    clear_results(folder)
    _make_folder(folder / PARTS_FOLDER)
    with appears(folder / PARTS_FOLDER / KEY_FILE) as path:
        path.write_text(key.model_dump_json(indent=2), encoding="utf-8")
    with appears(folder / PARTS_FOLDER / CUT_FILE) as path:
        path.write_text(cut, encoding="ascii")


def _read_cut(folder: Path) -> str:
    try:
        return (folder / PARTS_FOLDER / CUT_FILE).read_text(encoding="ascii")
    except OSError:
        return ""


def read_key(folder: Path) -> AssessmentKey | None:
    """Return the key of the parts in a scene's folder; None where there is none to read."""
    try:
        text = (folder / PARTS_FOLDER / KEY_FILE).read_text(encoding="utf-8")
        return AssessmentKey.model_validate_json(text)
    except (OSError, ValueError):
        return None


def part_bytes(records: GeoDataFrame) -> bytes:
    """Return the records of a finished piece as its part's file."""
    file = io.BytesIO()
    records.to_parquet(file, index=False, compression="zstd")
    return file.getvalue()


def write_part(folder: Path, number: int, part: bytes) -> None:
    """Write the part of one finished piece; it appears whole or not at all."""
    with appears(part_path(folder, number)) as path:
        path.write_bytes(part)


def missing_parts(folder: Path, pieces: int) -> tuple[int, ...]:
    """Return the numbers of the pieces without a part; those of a cluster end in any order.

    A part that cannot be read, as a machine leaves it that lost its power, counts as none.
    """
    return tuple(n for n in range(pieces) if not _is_part(part_path(folder, n)))


def _is_part(path: Path) -> bool:
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException):
        return False
    return True


def any_records(folder: Path, parts: int) -> bool:
    """Return whether a scene's parts hold a record; raise OutputError if one cannot be read."""
    for path in (part_path(folder, number) for number in range(parts)):
        with reading_part(path):
            if pq.read_metadata(path).num_rows:
                return True
    return False


def count_records(folder: Path, parts: int, *, units: int) -> Counts:
    """Count the verdicts in a scene's parts, reading three columns of one part at a time.

    Raises:
        OutputError: If a part is missing or damaged.
    """
    labels: dict[str, int] = {}
    hindrances: dict[str, int] = {}
    records = chips = 0
    for number in range(parts):
        path = part_path(folder, number)
        with reading_part(path):
            table = pq.read_table(path, columns=["label", "reason", "chips"])
        label, reason = (table[name].to_numpy() for name in ("label", "reason"))
        _add(labels, label)
        _add(hindrances, reason[label == Label.NOT_JUDGED])
        chips += int(table["chips"].to_numpy().sum())
        records += table.num_rows
    return Counts(
        units=records,
        damaged=labels.get(Label.DAMAGED, 0),
        undamaged=labels.get(Label.UNDAMAGED, 0),
        uncertain=labels.get(Label.UNCERTAIN, 0),
        not_judged=dict(sorted(hindrances.items())),
        empty_cells=units - records,
        chips=chips,
    )


def mean_distance(folder: Path, parts: int) -> float | None:
    """Return the mean distance of a scene's judged chips to the training tiles.

    Returns:
        None where the model does not measure it, or nothing was judged.

    Raises:
        OutputError: If a part is missing or damaged.
    """
    total = chips = 0.0
    for number in range(parts):
        path = part_path(folder, number)
        if DISTANCE_COLUMN not in read_schema(path).names:
            continue
        with reading_part(path):
            table = pq.read_table(path, columns=[DISTANCE_COLUMN, "chips"])
        distance, count = (table[name].to_numpy() for name in (DISTANCE_COLUMN, "chips"))
        measured = ~np.isnan(distance)
        total += float((distance * count)[measured].sum())
        chips += float(count[measured].sum())
    return total / chips if chips else None


def read_assessment(folder: Path) -> Assessment | None:
    """Return the finished assessment in a scene's folder; None where there is none.

    Raises:
        OutputError: If the file is there and is no assessment.
    """
    path = folder / ASSESSMENT_FILE
    if not path.exists():
        return None
    try:
        found = Assessment.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise OutputError(f"{path} cannot be read: assess the scene again, --overwrite") from err
    # The folder may have been moved or named another way since.
    return found.model_copy(update={"folder": folder})


def finished_assessment(folder: Path) -> Assessment | None:
    """Return the assessment in a scene's folder if all its parts are there; else None.

    Raises:
        OutputError: As `read_assessment`.
    """
    found = read_assessment(folder)
    return None if found is None or missing_parts(folder, found.parts_written) else found


def _add(counts: dict[str, int], values: np.ndarray) -> None:
    names, numbers = np.unique(values.astype(str), return_counts=True)
    for name, number in zip(names.tolist(), numbers.tolist(), strict=True):
        counts[name] = counts.get(name, 0) + number


def _refuse(folder: Path, key: AssessmentKey, found: AssessmentKey | None) -> None:
    if found is not None:
        what = ", ".join(found.differences(key))
        raise OutputError(
            f"{folder} holds results made with another {what}: "
            "choose another --out, or pass --overwrite to replace them"
        )
    in_the_way = _ours(folder)
    if in_the_way:
        raise OutputError(
            f"{folder} holds {in_the_way[0].name}, which no assessment here explains: "
            "choose another --out, or pass --overwrite to replace it"
        )


def _ours(folder: Path) -> list[Path]:
    return sorted(path for pattern in OURS for path in folder.glob(pattern))


@contextmanager
def whole_or_none(folder: Path) -> Iterator[None]:
    """Leave no results in a scene's folder if the block finds a file that they are of to be bad.

    What was finished stays where the work may go on: after an interruption, a cancel, when the
    disk is full, or when a server, a network or a worker failed.
    """
    try:
        yield
    except (CancelledError, OutputError):
        raise
    except DamageNetError as err:
        if _blames_a_file(err) or not any((folder / PARTS_FOLDER).rglob("part-*.parquet")):
            clear_results(folder)
        raise


def _blames_a_file(err: DamageNetError) -> bool:
    return isinstance(err, SceneError | FootprintError) and not isinstance(err, UnreachableError)


def clear_results(folder: Path) -> None:
    """Remove everything that damagenet wrote into a scene's folder, and the folder if empty.

    Raises:
        OutputError: If a file cannot be removed.
    """
    try:
        for path in _ours(folder):
            path.unlink()
        if (folder / PARTS_FOLDER).exists():
            shutil.rmtree(folder / PARTS_FOLDER)
        if folder.exists() and not any(folder.iterdir()):
            folder.rmdir()
    except OSError as err:
        raise OutputError(f"cannot remove {err.filename}: {err.strerror}") from err


def _remove_stale(folder: Path) -> None:
    """Forget the files of a run that stopped while it wrote."""
    for path in (folder / PARTS_FOLDER).rglob(".*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(f"cannot make the folder {folder}: {err.strerror}") from err
