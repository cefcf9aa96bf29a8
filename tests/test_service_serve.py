"""`damagenet serve` and `damagenet worker` as commands: start, stop, refusals, leftovers."""

import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from service import DAMAGENET, LAPTOP, children, client_of, serve, until

from api.leftovers import BROKEN_S, clear_leftovers
from api.settings import ServiceSettings, read_service_settings
from api.store.jobs import NewJob
from api.store.tables import Upload
from api.worker_processes import environment
from damagenet.errors import ConfigError
from data_prep.synthetic import make_scene

DOCS = Path(__file__).parent.parent / "docs"


def test_serve_says_one_line_and_ends_in_order_even_amid_a_stream(tmp_path):
    with serve(LAPTOP, tmp_path, "--no-worker") as served:
        said = [
            line
            for line in served.log.read_text(encoding="utf-8").splitlines()
            if "serving" in line
        ]
        assert len(said) == 1
        assert f"{served.client.base_url}".rstrip("/") in said[0]
        with client_of(LAPTOP.settings(tmp_path)) as client:
            store = client.app.state.service.jobs
            job = store.create(NewJob(process="assess", owner="local", options={}, inputs={}))
        opened = threading.Event()

        def follow() -> None:
            address = f"/v1/assessments/{job.id}/events"
            with served.client.stream("GET", address) as events:
                for _ in events.iter_lines():
                    opened.set()

        follower = threading.Thread(target=follow)
        follower.start()
        assert opened.wait(30)
        served.process.terminate()
        assert served.process.wait(30) == 0
        follower.join()
        assert "Traceback" not in served.log.read_text(encoding="utf-8")


def test_workers_of_serve_are_replaced_when_they_die_and_end_with_it(tmp_path):
    with serve(LAPTOP, tmp_path, "--workers", "1") as served:
        (first,) = until(lambda: children(served.process.pid), "a worker")
        os.kill(first, 9)
        (second,) = until(
            lambda: [pid for pid in children(served.process.pid) if pid != first], "another one"
        )
        served.process.terminate()
        assert served.process.wait(30) == 0
    assert not Path(f"/proc/{second}").exists()


def test_a_taken_port_is_refused_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = (*DAMAGENET, "serve", "--port", str(other.getsockname()[1]), "--no-worker")
        env = LAPTOP.environment(tmp_path)
        refused = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "cannot listen on 127.0.0.1" in refused.stderr.splitlines()[-1]


def test_other_machines_are_served_without_keys_where_that_is_asked_for_by_name(tmp_path):
    with serve(LAPTOP, tmp_path, "--host", "0.0.0.0", "--insecure", "--no-worker") as served:
        assert served.client.get("/v1/assessments").status_code == 200


@pytest.mark.parametrize(
    ("setting", "said"),
    [("lease_s: -1", "lease_s: "), ("lease: 5", "lease: "), ("[1]", "holds no settings")],
)
def test_a_wrong_setting_is_named(tmp_path, setting, said):
    path = tmp_path / "settings.yaml"
    path.write_text(setting, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_service_settings(path)


def test_settings_reach_workers_unchanged(tmp_path, monkeypatch):
    settings = ServiceSettings(
        data_dir=tmp_path, allowed_hosts=("a.org", "b.org"), require_keys=True, lease_s=2.5
    )
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert ServiceSettings() == settings


def test_leftovers_of_broken_requests_go_after_a_day_and_jobs_stay(tmp_path):
    with client_of(LAPTOP.settings(tmp_path)) as client:
        service = client.app.state.service
        job = service.jobs.create(NewJob(process="assess", owner="local", options={}, inputs={}))
        old, broken, young = job.id, "a" * 32, "b" * 32
        for name in (old, broken, young):
            (service.folders.job(name).inputs("image")).mkdir(parents=True)
        long_ago = time.time() - BROKEN_S - 60
        for name in (old, broken):
            os.utime(service.folders.job(name).root, (long_ago, long_ago))
        upload = service.uploads.create("local", "a.tif", 3)
        service.folders.uploads.mkdir()
        service.folders.upload(upload.id).write_bytes(b"abc")
        forgotten(service, upload.id)
        assert clear_leftovers(service.folders, service.jobs, service.uploads) == 2
        left = sorted(path.name for path in (tmp_path / "jobs").iterdir())
        assert left == sorted([old, young])
        assert not service.folders.upload(upload.id).exists()
        assert client.get(f"/v1/uploads/{upload.id}").status_code == 404


def forgotten(service, upload_id: str) -> None:
    import datetime as dt

    with service.database.transaction() as session:
        session.get(Upload, upload_id).created -= dt.timedelta(days=8)


def documented(fence: str) -> str:
    """Return the part of the service's page inside a fence."""
    return (DOCS / "SERVICE.md").read_text(encoding="utf-8").split(fence)[1].split("```")[0]


def test_the_documented_commands_do_what_the_page_says(tmp_path):
    here = tmp_path / "here"
    made = make_scene(here / "scene.tif", size_px=200)
    made.buildings.rename(here / "buildings.geojson")
    with serve(LAPTOP, tmp_path / "service") as served:
        address = str(served.client.base_url).rstrip("/")
        script = documented("```sh\n").replace("http://127.0.0.1:8000", address)
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", script],
            cwd=here,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        jobs = json.loads((here / "page.json").read_text(encoding="utf-8"))["jobs"]
        assert [job["status"] for job in jobs] == ["successful"]
    assert (here / "damage.gpkg").read_bytes().startswith(b"SQLite format 3")
    assert "unit_id,kind,label" in done.stdout
    assert '"status":"dismissed"' in done.stdout
    assert '"progress":100' in (here / "events.txt").read_text(encoding="utf-8")


def test_every_setting_stands_in_the_documented_table():
    table = documented("| environment | default | |\n|---|---|---|\n").strip().splitlines()
    rows = []
    for name, field in ServiceSettings.model_fields.items():
        default = "" if field.default in (None, ()) else f"`{field.default}`"
        text = " ".join(field.description.split())
        rows.append(f"| `DAMAGENET_{name.upper()}` | {default} | {text} |")
    assert table == rows
