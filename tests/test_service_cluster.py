"""Many machines: one database, one queue, workers apart from the API; and the composed service."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import pytest
import yaml
from service import (
    DAMAGENET,
    LEASE_S,
    Shape,
    client_of,
    ended,
    free_port,
    postgresql,
    process,
    redis,
    serve,
    under_way,
    until,
    worker,
)
from sqlalchemy import create_engine, text

from data_prep.synthetic import MadeScene, make_scene

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> MadeScene:
    return make_scene(tmp_path_factory.mktemp("made") / "scene.tif", size_px=448)


@pytest.fixture(params=["redis", "postgresql"])
def shape(request, postgres_url) -> Iterator[Shape]:
    """Return PostgreSQL with one of the two queues that machines can share, both empty."""
    database = fresh_database(postgres_url, request.param)
    if request.param == "postgresql":
        yield Shape(database_url=database, queue_url=database.replace("+psycopg", ""))
    else:
        with redis() as url:
            yield Shape(database_url=database, queue_url=url)


def fresh_database(url: str, name: str) -> str:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"create database for_{name}"))
    engine.dispose()
    return f"{url.rpartition('/')[0]}/for_{name}"


def test_a_job_outlives_the_machine_that_did_it(shape, scene, tmp_path):
    image = {"image": ("scene.tif", scene.scene.read_bytes())}
    with serve(shape, tmp_path, "--no-worker") as served:

        def ask() -> str:
            return served.client.post("/v1/assessments", files=image, data={"stride": "9"}).json()[
                "jobID"
            ]

        with worker(shape, tmp_path) as lost:
            disturbed = under_way(served.client, ask)
            lost.kill()
        with worker(shape, tmp_path):
            assert ended(served.client, disturbed)["status"] == "successful"
            quiet = ask()
            assert ended(served.client, quiet)["status"] == "successful"
        for name in ("damage.csv", "damage.geojson"):
            first, second = (
                served.client.get(f"/v1/assessments/{job_id}/results/{name}").content
                for job_id in (disturbed, quiet)
            )
            assert first == second


def test_a_queue_that_is_away_loses_no_job(postgres_url, scene, tmp_path):
    database = fresh_database(postgres_url, "lost_queue")
    image = {"image": ("scene.tif", scene.scene.read_bytes())}
    with ExitStack() as last:
        with redis() as url:
            shape = Shape(database_url=database, queue_url=url)
            client = last.enter_context(client_of(shape.settings(tmp_path)))
        job = client.post("/v1/assessments", files=image)
        assert job.status_code == 201
        port = int(url.rpartition(":")[2].partition("/")[0])
        with redis(port), worker(shape, tmp_path):
            assert ended(client, job.json()["jobID"])["status"] == "successful"


def composed(name: str) -> tuple[list[str], dict[str, str]]:
    """Return command and environment of a service in compose.yaml."""
    service = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"][name]
    return service["command"], service.get("environment", {})


def test_the_composed_commands_serve_and_work(postgres_url, scene, tmp_path):
    database = fresh_database(postgres_url, "compose")
    queue_command, _ = composed("queue")
    places = {
        "/data": str(tmp_path / "data"),
        "postgresql+psycopg://damagenet:damagenet@database/damagenet": database,
    }
    port, queue_port = free_port(), free_port()
    places["redis://queue:6379/0"] = f"redis://127.0.0.1:{queue_port}/0"

    def environment(name: str) -> dict[str, str]:
        # What the containers' network would resolve, on this machine's loopback.
        given = {key: places[value] for key, value in composed(name)[1].items()}
        return os.environ | given | {"OMP_NUM_THREADS": "1", "DAMAGENET_LEASE_S": str(LEASE_S)}

    env, log = environment("api"), tmp_path / "log"
    api = (*DAMAGENET, *composed("api")[0], "--port", str(port))
    refused = subprocess.run(api, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "there is no API key" in refused.stderr
    add = subprocess.run(
        (*DAMAGENET, "keys", "add", "me"), env=env, capture_output=True, text=True, check=True
    )
    key = {"Authorization": f"Bearer {add.stdout.strip()}"}
    with (
        process(*queue_command, "--port", str(queue_port), env=dict(os.environ), log=log),
        process(*api, env=env, log=log),
        process(*DAMAGENET, *composed("worker")[0], env=environment("worker"), log=log),
    ):
        until(lambda: b"serving at" in log.read_bytes(), "the composed API")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/v1/assessments").status_code == 401
            client.headers.update(key)
            image = {"image": ("scene.tif", scene.scene.read_bytes())}
            job = client.post("/v1/assessments", files=image).json()["jobID"]
            assert ended(client, job)["status"] == "successful"


def test_the_composed_services_have_limits_of_memory_and_time_to_end():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for name in ("api", "worker"):
        assert (services[name]["mem_limit"], services[name]["stop_grace_period"]) == ("12g", "30s")


def test_the_image_runs_as_nobody_special_and_tells_its_health():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    last = lines[max(n for n, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert "USER damagenet" in last
    assert any("http://127.0.0.1:8000/healthz" in line for line in last)
    assert "ARG TORCH=cpu" in lines
