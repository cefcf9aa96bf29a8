"""What is to be said of a finished assessment: counts, honest sentences, scenes and files."""

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.warp import transform_bounds

from api.folders import JobFolder
from api.result_files import present
from damagenet.assessment import Assessment, Counts
from damagenet.card import Card
from damagenet.engine.run_result import RunResult
from damagenet.outputs.trust import run_trust

RUN_TABLE = "damage.parquet"


def assess_result(result: RunResult, folder: JobFolder, card: Card) -> dict[str, Any]:
    """Return the result of a job as JSON values; sentences name files as the caller does."""
    model = result.run.model
    scenes = {scene.folder: scene for scene in result.run.scenes if scene.status == "ok"}
    return {
        "counts": _run_counts(result).model_dump(),
        "model": model.id,
        "headline": model.headline,
        "sentence": model.sentence,
        "licence": model.licence,
        "non_commercial": card.training_tiles.non_commercial,
        "ranking_only": card.ranking_only,
        "trust": run_trust(result.assessments),
        "warnings": [folder.public(warning) for warning in result.warnings],
        "files": present(result.out),
        "scenes": [
            _scene(one, folder, name=scenes[one.stem].path.name) for one in result.assessments
        ],
        "failures": [
            {"name": scene.path.name, "sentence": folder.public(scene.sentence)}
            for scene in result.failures
        ],
    }


def _scene(assessment: Assessment, folder: JobFolder, *, name: str) -> dict[str, Any]:
    return {
        "stem": assessment.stem,
        "name": name,
        "status": "ok",
        "kind": assessment.kind.value,
        "counts": assessment.counts.model_dump(),
        "bounds": lonlat_bounds(assessment),
        "acquired": assessment.scene.acquired,
        "threshold": assessment.options.threshold or assessment.card.threshold,
        "warnings": [folder.public(warning) for warning in assessment.warnings],
        "files": present(assessment.folder),
    }


def lonlat_bounds(assessment: Assessment) -> tuple[float, float, float, float] | None:
    """Return west, south, east, north in degrees; None for a scene without a place on earth."""
    scene = assessment.scene
    if scene.crs is None:
        return None
    a, b, c, d, e, f = scene.transform
    corners = [(x, y) for x in (0, scene.width) for y in (0, scene.height)]
    xs = [a * x + b * y + c for x, y in corners]
    ys = [d * x + e * y + f for x, y in corners]
    try:
        west, south, east, north = transform_bounds(
            CRS.from_wkt(scene.crs), CRS.from_epsg(4326), min(xs), min(ys), max(xs), max(ys)
        )
    except RasterioError:
        return None
    return west, south, east, north


def _run_counts(result: RunResult) -> Counts:
    """Count each unit once, as the run's own table does; one scene's counts are its own."""
    first, *others = result.assessments
    table = result.out / RUN_TABLE
    if not others or not table.is_file():
        return _sum([one.counts for one in result.assessments]) if others else first.counts
    return _count(table, _sum([one.counts for one in result.assessments]))


def _count(table: Path, scenes: Counts) -> Counts:
    columns = pq.read_table(table, columns=["label", "reason"]).to_pydict()
    labels = Counter(columns["label"])
    reasons = Counter(
        reason
        for label, reason in zip(columns["label"], columns["reason"], strict=True)
        if label == "not-judged"
    )
    return Counts(
        units=sum(labels.values()),
        damaged=labels["damaged"],
        undamaged=labels["undamaged"],
        uncertain=labels["uncertain"],
        not_judged=dict(reasons),
        empty_cells=scenes.empty_cells,
        chips=scenes.chips,
    )


def _sum(every: list[Counts]) -> Counts:
    reasons: Counter[str] = Counter()
    for counts in every:
        reasons.update(counts.not_judged)
    numbers = ("units", "damaged", "undamaged", "uncertain", "empty_cells", "chips")
    totals = {name: sum(getattr(counts, name) for counts in every) for name in numbers}
    return Counts.model_validate(totals | {"not_judged": dict(reasons)})
