"""How many labels an adaptation needs: the learning curve on scenes whose labels it never saw.

    python benchmarks/adaptation.py [--model harvey] [--seeds 1] [--json FILE] [--markdown FILE]

Every xBD scene after the storm is held out once; from the labels of the others 20, 50, 100, 200 and
400 are drawn (as many damaged as undamaged, as far as there are) and given to the code of
`damagenet adapt`, which keeps a part of them aside for calibration and threshold. The scene that
was held out is then judged as `assess` would. Verdicts of all scenes are pooled; 0 labels is the
model as it is. AUROC counts pairs inside one scene, as every scene has a model of its own. The
scenes are one satellite pass, and all but 15 of the 70 damaged buildings stand in one of them:
these figures are what defaults were selected on, and no promise for another storm. Intervals are
exact binomial ones over buildings, too narrow where neighbours are alike.
"""

import argparse
import json
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from damagenet.adapt.adapt import adapt_to
from damagenet.adapt.fitting import unit_logits
from damagenet.adapt.labelled import Labelled, read_labelled
from damagenet.adapt.options import AdaptOptions
from damagenet.bundle import Bundle, load_bundle
from damagenet.calibration import probabilities
from damagenet.errors import DataError
from damagenet.evaluation.intervals import binomial_interval
from damagenet.evaluation.metrics import make_sample, measure
from damagenet.evaluation.post_event import GRADES
from damagenet.evaluation.truth import Survey, read_survey
from damagenet.options import AssessOptions
from data_prep.graded import GRADE_FIELD, find_scenes

SIZES = (20, 50, 100, 200, 400)
READING = AssessOptions(clouds="ignore", min_valid=0.0)
"""Every building counts, as in the post-event protocol."""


def graded(folder: Path, bundle: Bundle) -> Labelled:
    """Return the graded buildings of all scenes after the storm."""
    scenes = [scene for scene in find_scenes(folder) if scene.after]
    surveys = [read_survey(scene.buildings, GRADE_FIELD, GRADES) for scene in scenes]
    frame = pd.concat([survey.frame for survey in surveys], ignore_index=True).assign(drawn="")
    survey = Survey(frame=frame, ignored={}, words={})
    paths = [scene.path for scene in scenes]
    return read_labelled(survey, paths, READING, bundle.card, source=str(folder))


def drawn(labelled: Labelled, held: str, size: int, seed: int) -> Labelled | None:
    """Draw labels of the other scenes, half of each class as far as there are; None if too few."""
    rng = np.random.default_rng(seed)
    others = labelled.scene != held
    damaged = rng.permutation(np.flatnonzero(others & labelled.damaged))
    undamaged = rng.permutation(np.flatnonzero(others & ~labelled.damaged))
    if len(damaged) + len(undamaged) < size:
        return None
    first = min(len(damaged), max(size // 2, size - len(undamaged)))
    rows = np.concatenate([damaged[:first], undamaged[: size - first]])
    return labelled.only(np.sort(rows))


def verdicts(bundle: Bundle, labelled: Labelled) -> pd.DataFrame:
    """Return what a bundle says of buildings."""
    p = probabilities(unit_logits(bundle.network, labelled), bundle.card.calibration)
    table = {"scene": labelled.scene, "damaged": labelled.damaged, "p": p}
    return pd.DataFrame(table | {"flagged": p >= bundle.card.threshold})


def held_out(base: Bundle, labelled: Labelled, sizes: list[int], seeds: int) -> pd.DataFrame:
    """Return the verdicts on every scene after learning from the others."""
    tables = []
    for held in np.unique(labelled.scene):
        there = labelled.only(np.flatnonzero(labelled.scene == held))
        tables.append(verdicts(base, there).assign(labels=0, learn="nothing", seed=0, seconds=0.0))
        for size in sizes:
            for seed in range(seeds):
                for learn in ("head", "stages"):
                    tables.append(one(base, there, drawn(labelled, held, size, seed), learn, seed))
                    tables[-1]["labels"] = size
    return pd.concat(tables, ignore_index=True)


def one(
    base: Bundle, there: Labelled, given: Labelled | None, learn: str, seed: int
) -> pd.DataFrame:
    """Adapt to some labels and judge the scene; no rows where the labels are refused."""
    began = time.process_time()
    held = there.scene[0]
    if given is None:
        print(f"{held}: too few labels elsewhere", flush=True)
        return pd.DataFrame()
    options = AdaptOptions.model_validate({"learn": learn, "seed": seed})
    try:
        adapted = adapt_to(base, given, options, name="adapted")
    except DataError as err:
        print(f"{held}: {len(given)} labels refused: {err}", flush=True)
        return pd.DataFrame()
    seconds = time.process_time() - began
    table = verdicts(adapted.bundle, there)
    told = Counter(zip(table["damaged"], table["flagged"], strict=True))
    print(f"{held}, {len(given)} labels, {learn}, seed {seed}: {dict(told)}", flush=True)
    return table.assign(learn=adapted.fit.learned, seed=seed, seconds=seconds)


def curve(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per number of labels and way to learn, seeds pooled."""
    rows = []
    # Refused labels leave tables without rows, which make objects of truth values.
    table = table.astype({"damaged": bool, "flagged": bool})
    for (labels, learn), group in table.groupby(["labels", "learn"], sort=True):
        sides = {"false_alarms": group[~group["damaged"]], "recall": group[group["damaged"]]}
        row: dict[str, object] = {"labels": labels, "learn": learn}
        row["scenes"] = group["scene"].nunique()
        for name, side in sides.items():
            k, n = int(side["flagged"].sum()), len(side)
            # Two draws of labels judge the same buildings: they are no more buildings for that.
            draws = group["seed"].nunique()
            interval = binomial_interval(round(k / draws), round(n / draws))
            row |= {name: k / n, f"{name}_low": interval.low, f"{name}_high": interval.high}
            row[f"{name}_n"] = round(n / draws)
        aurocs = [
            measure(
                make_sample(one["p"], one["damaged"], flagged=one["flagged"], groups=one["scene"]),
                "auroc",
            )
            for _, one in group.groupby("seed")
        ]
        row["auroc"] = float(np.mean(np.array(aurocs, dtype=float)))
        row["cpu_seconds"] = float(group.groupby(["scene", "seed"])["seconds"].first().mean())
        rows.append(row)
    return pd.DataFrame(rows)


def as_markdown(rows: pd.DataFrame) -> str:
    """Return the curve as a Markdown table."""
    lines = [
        "| labels | what learned | scenes held out | false alarms % | recall % | AUROC | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows.itertuples():
        shares = [
            f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"
            for value, low, high in (
                (row.false_alarms, row.false_alarms_low, row.false_alarms_high),
                (row.recall, row.recall_low, row.recall_high),
            )
        ]
        cells = [row.labels, row.learn, row.scenes, *shares, f"{row.auroc:.3f}"]
        lines.append(f"| {' | '.join(map(str, cells))} | {row.cpu_seconds:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Adapt with every number of labels, print the curve, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(os.environ.get("DAMAGENET_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data, help="folder with xbd/")
    parser.add_argument("--model", default="harvey", help="bundle to adapt")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="labels")
    parser.add_argument("--seeds", type=int, default=1, help="draws of labels of each size")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--markdown", type=Path, help="write the table here too")
    arguments = parser.parse_args()
    base = load_bundle(arguments.model)
    labelled = graded(arguments.data / "xbd", base)
    rows = curve(held_out(base, labelled, arguments.sizes, arguments.seeds))
    print(as_markdown(rows))
    if arguments.json:
        told = {"model": base.model_id, "seeds": arguments.seeds, "rows": rows.to_dict("records")}
        arguments.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if arguments.markdown:
        arguments.markdown.write_text(as_markdown(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
