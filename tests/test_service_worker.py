"""Workers and runners for real: from a request to files, through kills, dismissal and failures."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from service import (
    DAMAGENET,
    DEVICE,
    LAPTOP,
    children,
    client_of,
    ended,
    serve,
    under_way,
    until,
    worker,
)

from api.store.jobs import NewJob
from data_prep.synthetic import MadeScene, make_scene

TABLES = ("damage.csv", "damage.geojson", "damage.parquet")
FINE_GRID = {"stride": "9"}
"""So many cells that an assessment takes long enough to be disturbed."""
FINEST_GRID = {"stride": "3"}
"""So many that it does not end before it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A service in a folder: the application here, one worker beside it."""

    client: TestClient
    folder: Path
    worker: subprocess.Popen[bytes]

    def ask(self, *scenes: Path, files: dict[str, Path] | None = None, **options: Any) -> str:
        sent = [("image", (path.name, path.read_bytes())) for path in scenes]
        sent += [(role, (path.name, path.read_bytes())) for role, path in (files or {}).items()]
        answer = self.client.post("/v1/assessments", files=sent, data=options)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] == f"/v1/assessments/{answer.json()['jobID']}"
        return answer.json()["jobID"]

    def status(self, job_id: str) -> dict[str, Any]:
        return self.client.get(f"/v1/assessments/{job_id}").json()

    def under_way(self, scene: Path, **options: Any) -> str:
        return under_way(self.client, lambda: self.ask(scene, **options))

    def tables(self, job_id: str) -> dict[str, bytes]:
        own = f"/v1/assessments/{job_id}/results"
        return {name: self.client.get(f"{own}/{name}").content for name in TABLES}

    def runner(self) -> int:
        return until(lambda: children(self.worker.pid), "the runner")[0]


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> MadeScene:
    return make_scene(tmp_path_factory.mktemp("made") / "scene.tif", size_px=448)


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with (
        client_of(LAPTOP.settings(folder)) as client,
        worker(LAPTOP, folder) as process,
    ):
        yield Running(client=client, folder=folder, worker=process)


@pytest.fixture(scope="module")
def undisturbed(running, scene) -> dict[str, bytes]:
    """Return the tables of an assessment over the fine grid that nobody disturbed."""
    job_id = running.ask(scene.scene, **FINE_GRID)
    assert ended(running.client, job_id)["status"] == "successful"
    return running.tables(job_id)


def assessed(scene: Path, out: Path, *options: str) -> dict[str, bytes]:
    """Return the tables that the command line makes."""
    formats = ("--format", "gpkg,geojson,parquet,csv,cog,html", "--device", DEVICE)
    command = (*DAMAGENET, "assess", str(scene), "--out", str(out), "-q", *formats, *options)
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return {name: (out / name).read_bytes() for name in TABLES}


def test_the_service_answers_like_the_command_line_to_the_last_byte(running, scene, tmp_path):
    job_id = running.ask(scene.scene, files={"buildings": scene.buildings}, threshold="0.3")
    status = ended(running.client, job_id)
    assert (status["status"], status["progress"]) == ("successful", 100)
    options = ("--buildings", str(scene.buildings), "--threshold", "0.3")
    assert running.tables(job_id) == assessed(scene.scene, tmp_path / "out", *options)
    result = status["result"]
    assert result["counts"]["units"] == scene.count
    assert result["scenes"][0]["stem"] == "scene"
    west, south, east, north = result["scenes"][0]["bounds"]
    assert -95.66 < west < east < -95.64
    assert 29.83 < south < north < 29.84


def test_a_real_scene_gets_the_command_lines_answers(running, harvey_data, tmp_path):
    real = harvey_data / "scenes" / "houston_00_post.tif"
    buildings = real.with_name("houston_00_buildings.geojson")
    job_id = running.ask(real, files={"buildings": buildings})
    assert ended(running.client, job_id)["status"] == "successful"
    options = ("--buildings", str(buildings))
    assert running.tables(job_id) == assessed(real, tmp_path / "out", *options)


def test_a_picture_from_before_takes_the_model_that_compares(running, scene):
    job_id = running.ask(scene.scene, files={"pre": scene.scene.with_name("scene.tif")})
    status = ended(running.client, job_id)
    assert status["model"] == "harvey-pair"
    assert status["result"]["model"].startswith("harvey-pair@")


def test_scenes_that_fail_are_named_beside_those_that_succeed(running, scene, tmp_path):
    empty = tmp_path / "empty.tif"
    make_black(scene.scene, empty)
    status = ended(running.client, running.ask(scene.scene, empty))
    assert status["status"] == "successful"
    (failure,) = status["result"]["failures"]
    assert failure["name"] == "empty.tif"
    assert "no valid pixel" in failure["sentence"] or "nothing" in failure["sentence"]
    assert str(running.folder) not in str(status)
    assert status["message"].endswith("One scene failed.")


def test_a_job_whose_scenes_all_fail_has_failed_and_says_why(running, scene, tmp_path):
    empty = tmp_path / "empty.tif"
    make_black(scene.scene, empty)
    status = ended(running.client, running.ask(empty))
    assert (status["status"], status["problem"]["status"]) == ("failed", 422)
    assert status["problem"]["detail"].startswith("no scene could be assessed: empty.tif: ")
    assert str(running.folder) not in str(status)
    results = running.client.get(f"/v1/assessments/{status['jobID']}/results")
    assert results.status_code == 409


def test_a_running_job_is_dismissed_within_two_seconds_and_its_files_go(running, scene):
    job_id = running.under_way(scene.scene, **FINEST_GRID)
    runner = running.runner()
    begun = time.monotonic()
    answer = running.client.delete(f"/v1/assessments/{job_id}")
    assert answer.json()["status"] == "dismissed"
    folder = running.folder / "jobs" / job_id
    until(lambda: not Path(f"/proc/{runner}").exists() and not folder.exists(), "the end")
    assert time.monotonic() - begun < 2
    assert running.status(job_id)["status"] == "dismissed"
    running.client.delete(f"/v1/assessments/{job_id}")
    assert running.client.get(f"/v1/assessments/{job_id}").status_code == 404


def test_a_killed_runner_costs_an_attempt_and_no_result(running, scene, undisturbed):
    job_id = running.under_way(scene.scene, **FINE_GRID)
    os.kill(running.runner(), signal.SIGKILL)
    assert ended(running.client, job_id)["status"] == "successful"
    assert running.tables(job_id) == undisturbed


def test_a_job_that_no_message_tells_of_is_found(running, scene):
    service = running.client.app.state.service
    new = NewJob(process="assess", owner="local", options={}, inputs={})
    image = service.folders.job(new.id).inputs("image")
    image.mkdir(parents=True)
    (image / "scene.tif").write_bytes(scene.scene.read_bytes())
    service.jobs.create(new)
    assert ended(running.client, new.id)["status"] == "successful"


def test_events_follow_a_job_to_its_end(running, scene):
    job_id = running.ask(scene.scene)
    events = running.client.get(f"/v1/assessments/{job_id}/events")
    assert events.headers["content-type"].startswith("text/event-stream")
    blocks = events.text.strip().split("\n\n")
    assert all(block.startswith("event: status\ndata: {") for block in blocks)
    assert '"status":"successful"' in blocks[-1]
    assert '"status":"successful"' not in "".join(blocks[:-1])


def test_a_worker_that_is_told_to_stop_gives_its_job_back_at_once(running, scene, tmp_path):
    with client_of(LAPTOP.settings(tmp_path)) as client:
        with worker(LAPTOP, tmp_path, lease_s=300) as process:
            here = Running(client=client, folder=tmp_path, worker=process)
            job_id = here.under_way(scene.scene, **FINEST_GRID)
            runner = here.runner()
            process.terminate()
            assert process.wait(10) == 0
        assert here.status(job_id)["status"] == "accepted"
        assert not Path(f"/proc/{runner}").exists()


def test_everything_killed_at_once_goes_on_where_it_stopped(scene, undisturbed, tmp_path):
    with serve(LAPTOP, tmp_path) as served:
        here = Running(client=served.client, folder=tmp_path, worker=served.process)
        job_id = here.under_way(scene.scene, **FINE_GRID)
        done = here.status(job_id)["step"]["units_done"]
        (worker_id,) = children(served.process.pid)
        runner = children(worker_id)[0]
        served.process.kill()
        # They notice by themselves that nobody is left to work for.
        until(lambda: not any(Path(f"/proc/{one}").exists() for one in (worker_id, runner)), "end")
    assert done > 0
    with serve(LAPTOP, tmp_path) as served:
        assert ended(served.client, job_id)["status"] == "successful"
        own = f"/v1/assessments/{job_id}"
        assert served.client.get(own).json()["result"]["counts"]["units"] > done
        kept = {name: served.client.get(f"{own}/results/{name}").content for name in TABLES}
        assert kept == undisturbed


def make_black(like: Path, path: Path) -> None:
    import rasterio

    with rasterio.open(like) as source:
        profile = source.profile | {"nodata": 0}
    with rasterio.open(path, "w", **profile):
        pass
