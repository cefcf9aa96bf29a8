"""The service on a GPU says what it says on a CPU; skipped where there is no GPU."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from service import LAPTOP, ended, serve

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU, and this machine has none"
)
OTHER = "cuda"
NEAR = 0.01


def answers(folder: Path, scenes: Path, device: str) -> tuple[list[float], dict[str, float]]:
    """Return P(damaged) of sixteen chips, and of each building of a real scene."""
    chips = np.random.default_rng(0).integers(0, 256, (16, 3, 128, 128), dtype=np.uint8)
    np.save(folder / "chips.npy", chips)
    with serve(LAPTOP, folder / device, device=device, lease_s=30) as served:
        asked = {"chips": ("chips.npy", (folder / "chips.npy").read_bytes())}
        at_once = served.client.post("/v1/predict", files=asked, data={"model": "harvey"})
        assert at_once.status_code == 200, at_once.text
        files = [
            ("image", ("post.tif", (scenes / "houston_00_post.tif").read_bytes())),
            ("buildings", ("b.geojson", (scenes / "houston_00_buildings.geojson").read_bytes())),
        ]
        asked_for = served.client.post("/v1/assessments", files=files, data={"model": "harvey"})
        job = asked_for.json()["jobID"]
        assert ended(served.client, job)["status"] == "successful"
        found = served.client.get(f"/v1/assessments/{job}/results/damage.geojson").content
    units = [feature["properties"] for feature in json.loads(found)["features"]]
    return (
        [one["p_damaged"] for one in at_once.json()["chips"]],
        {unit["unit_id"]: unit["p_damaged"] for unit in units if unit["p_damaged"] is not None},
    )


def test_probabilities_are_within_a_hundredth_of_the_cpus(tmp_path, harvey_data):
    scenes = harvey_data / "scenes"
    chips, units = answers(tmp_path, scenes, "cpu")
    other_chips, other_units = answers(tmp_path, scenes, OTHER)
    assert other_chips == pytest.approx(chips, abs=NEAR)
    assert other_units == pytest.approx(units, abs=NEAR)
    assert len(units) > 300
