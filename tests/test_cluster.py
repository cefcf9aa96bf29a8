"""A run on a Ray cluster ends in the files of a run here, whatever is lost on the way."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
import rasterio
import ray
from affine import Affine
from filelock import FileLock
from made_studies import make_study
from rasters import noise, write_raster
from ray.cluster_utils import Cluster
from tiny_run import EAST, NORTH, folder_bytes, make_bundle, make_scene
from tiny_tiles import make_tiles

from damagenet.bundle import load_bundle
from damagenet.card import ChipGround
from damagenet.cluster.pool import Lost, Pool
from damagenet.cluster.scenes import OpenScene, ScenesOnCluster
from damagenet.cluster.worker import SeenFile
from damagenet.engine.assess import begun, underway_maker
from damagenet.engine.batch import assess_scenes
from damagenet.engine.before import scene_options
from damagenet.engine.inputs import Inputs
from damagenet.engine.parts import part_bytes
from damagenet.engine.run_record import read_record
from damagenet.engine.runner import make_predictor
from damagenet.errors import ConfigError, DeviceError, SceneError, UnreachableError
from damagenet.options import AssessOptions
from damagenet.study.execute import Task, execute
from damagenet.study.plan import Run
from damagenet.study.rows import StudyFolder
from damagenet.study.study import Effort, run_study
from data_prep.scene import Scene

SAME_BYTES = ("damage.geojson", "damage.parquet", "damage.csv")
FORMATS = "csv,parquet,geojson"
PATIENCE_S = 120


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start a head and a second node, of one core each, and join them."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 1, "include_dashboard": False}
    # Tests of this file may be dealt out to several processes; one cluster at a time is enough.
    with FileLock(tmp_path_factory.getbasetemp().parent / "cluster.lock"):
        nodes = Cluster(initialize_head=True, head_node_args=head)
        nodes.add_node(num_cpus=1)
        ray.init(address=nodes.address, configure_logging=False, log_to_driver=False)
        yield nodes
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr("damagenet.engine.work.MAX_WINDOWS", 6)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "toy"
    make_bundle(folder)
    return folder


def parts_of(folder: Path) -> dict[str, bytes]:
    parts = {path.name: path.read_bytes() for path in (folder / "parts").glob("*.parquet")}
    assert parts
    return parts


def make_spoilt_scene(path: Path) -> None:
    """Write a scene with a block in its middle that cannot be decoded."""
    blocks = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    write_raster(path, noise(160, 256), transform=Affine(1, 0, EAST, 0, -1, NORTH), **blocks)
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset + 2000 : offset + 2200] = b"\xff\xd9" * 100
    path.write_bytes(content)


def test_a_folder_with_a_damaged_scene_ends_in_the_same_files(
    cluster, tmp_path, bundle, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    scenes = [Path("in") / f"{name}.tif" for name in ("a", "b", "c")]
    for number, path in enumerate(scenes):
        make_scene(path, columns=8, rows=5, seed=number)
    make_spoilt_scene(scenes[1])
    given = {"model": str(bundle), "format": FORMATS}
    said = []
    here = assess_scenes(scenes, Path("here"), AssessOptions(**given))
    there = assess_scenes(
        scenes, Path("there"), AssessOptions(engine="ray", **given), progress=said.append
    )
    assert here.exit_code == there.exit_code == 3
    for name in ("a", "c"):
        assert parts_of(Path("here") / name) == parts_of(Path("there") / name)
        assert folder_bytes(Path("here") / name, *SAME_BYTES) == folder_bytes(
            Path("there") / name, *SAME_BYTES
        )
    assert folder_bytes(Path("here"), *SAME_BYTES) == folder_bytes(Path("there"), *SAME_BYTES)
    told = [
        [(one.path, one.status, one.sentence) for one in run.run.scenes] for run in (here, there)
    ]
    assert told[0] == told[1]
    assert "in/b.tif" in there.failures[0].sentence
    assert not Path("there/b").exists()
    last = {one.number: one.scene.units_done for one in said}
    assert (last[1], last[3]) == (40, 40)


def test_a_study_on_a_cluster_has_the_rows_of_one_here(cluster, tmp_path, monkeypatch):
    make_tiles(tmp_path / "tiles")
    monkeypatch.chdir(tmp_path)
    settings = make_study(
        data={"path": "tiles/prepared"},
        study={
            "activations": ["relu"],
            "seeds": [0, 1],
            "learning_rates": [1e-2],
            "splits": ["published"],
        },
    )
    folder = StudyFolder(out=tmp_path / "out", work=tmp_path / "work")
    sitting = run_study(settings, folder, Effort(engine="ray"))
    assert (len(sitting.rows), sitting.lost) == (2, [])
    timed = {"seconds", "seconds_per_epoch", "peak_mb", "saved_mb", "date"}
    there = {row.seed: row.model_dump(exclude=timed) for row in folder.rows()}
    for seed in (0, 1):
        run = Run(variant=settings.study.compared[0], split="published", seed=seed, lr=1e-2)
        folder.add(execute(Task(settings=settings, run=run, work=tmp_path / "work", threads=1)))
    here = {row.seed: row.model_dump(exclude=timed) for row in folder.rows()}
    assert there == here
    assert folder.is_free(sitting.rows[0].key)


def live_workers() -> int:
    actors = ray._private.state.actors().values()
    return sum(actor["State"] == "ALIVE" for actor in actors)


def test_a_node_that_dies_mid_run_loses_nothing(
    cluster, tmp_path, harvey_data, monkeypatch, caplog
):
    make_bundle(tmp_path / "real", chip=ChipGround())
    scene = harvey_data / "scenes" / "houston_00_post.tif"
    given = {
        "model": str(tmp_path / "real"),
        "format": FORMATS,
        "buildings": harvey_data / "scenes" / "houston_00_buildings.geojson",
    }
    here = assess_scenes([scene], tmp_path / "here", AssessOptions(**given))
    (node,) = cluster.worker_nodes
    began, ready, after = Pool._began, [], []

    def counted(pool, ref):
        began(pool, ref)
        ready.append(ref)

    def kill_a_node(progress):
        if not progress.scene.units_done or not cluster.worker_nodes:
            return
        deadline = time.monotonic() + PATIENCE_S
        while live_workers() < 2 and time.monotonic() < deadline:
            time.sleep(0.05)  # nothing tells when Ray has started an actor
        if len(ready) == 2:
            after.append(progress)
        if len(after) == 6:  # both have got their first calls since
            cluster.remove_node(node, allow_graceful=False)

    monkeypatch.setattr(Pool, "_began", counted)
    with caplog.at_level(logging.WARNING):
        there = assess_scenes(
            [scene], tmp_path / "there", AssessOptions(engine="ray", **given), progress=kill_a_node
        )
    assert not cluster.worker_nodes
    assert "a worker was lost" in caplog.text
    assert (here.exit_code, there.exit_code) == (0, 0)
    parts = [parts_of(run.out / "houston_00_post") for run in (here, there)]
    assert parts[0] == parts[1]
    assert len(parts[0]) == 64
    assert folder_bytes(here.out, *SAME_BYTES) == folder_bytes(there.out, *SAME_BYTES)


KILLED = """
import os, signal, sys
from pathlib import Path
from damagenet.engine import work
from damagenet.engine.batch import assess_scenes
from damagenet.options import AssessOptions

work.MAX_WINDOWS = 6
scene, out, model, address = sys.argv[1:]

def killed(progress):
    if progress.scene.units_done:
        os.kill(os.getpid(), signal.SIGKILL)

options = AssessOptions(model=model, format="csv", engine="ray", ray_address=address)
assess_scenes([Path(scene)], Path(out), options, progress=killed)
"""


def test_what_a_killed_driver_has_finished_is_kept(cluster, tmp_path, bundle):
    scene = make_scene(tmp_path / "a.tif")
    words = [scene, tmp_path / "out", bundle, cluster.address]
    line = [sys.executable, "-c", KILLED, *map(str, words)]
    ran = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert len(parts_of(tmp_path / "out" / "a")) == 1
    options = AssessOptions(model=str(bundle), format=FORMATS)
    said = []
    again = assess_scenes([scene], tmp_path / "out", options, progress=said.append)
    assert (again.exit_code, said[0].scene.units_kept) == (0, 6)
    whole = assess_scenes([scene], tmp_path / "whole", options)
    assert parts_of(again.out / "a") == parts_of(whole.out / "a")
    assert folder_bytes(again.out, *SAME_BYTES) == folder_bytes(whole.out, *SAME_BYTES)
    statuses = [run.status for run in read_record(again.out).runs]
    assert statuses == ["interrupted", "finished"]


def test_parts_are_kept_whatever_their_order(tmp_path, bundle):
    scene = make_scene(tmp_path / "a.tif")
    options = AssessOptions(model=str(bundle), format="csv")
    whole = assess_scenes([scene], tmp_path / "out", options)
    before = parts_of(whole.out / "a")
    (whole.out / "a" / "assessment.json").unlink()
    for number in (0, 3):
        (whole.out / "a" / "parts" / f"part-{number:06}.parquet").unlink()
    said = []
    assess_scenes([scene], tmp_path / "out", options, progress=said.append)
    assert said[0].scene.units_kept == 30 - 6 - 6
    assert parts_of(whole.out / "a") == before


def test_a_call_that_kills_its_workers_is_given_up_and_the_others_are_answered(
    cluster, monkeypatch, tmp_path
):
    unlucky = tmp_path / "unlucky"

    class Fragile:
        def double(self, number):
            # The call before the one that always kills is lost once itself. Were they asked
            # together again, its answer could go down with the worker, and it would be blamed.
            if number == 2 or (number == 1 and not unlucky.exists()):
                unlucky.touch()
                os._exit(1)
            return 2 * number

        def ready(self):
            return "ready"

    monkeypatch.setattr("damagenet.cluster.pool.MOST_TRIES", 2)
    kind = ray.remote(num_cpus=1, max_restarts=0)(Fragile)
    found = {}
    with Pool(
        size=1,
        start=kind.remote,
        ready=lambda worker: worker.ready.remote(),
        check=lambda answer: None,
        ask=lambda worker, number: worker.double.remote(number),
    ) as pool:
        for number in range(4):
            pool.submit(number)
        deadline = time.monotonic() + PATIENCE_S
        while len(found) < 4 and time.monotonic() < deadline:
            found |= pool.answers()
    lost = found.pop(2)
    assert found == {0: 0, 1: 2, 3: 6}
    assert isinstance(lost, Lost)
    assert lost.reason


@pytest.mark.parametrize(
    ("answer", "sentence", "left"),
    [
        (Lost("out of memory"), "were lost one after the other (out of memory)", 4),
        (UnreachableError("a.tif is not there on node7"), "is not there on node7", 4),
        (SceneError("a.tif is damaged"), "a.tif is damaged", 0),
    ],
)
def test_a_call_that_is_given_up_keeps_what_other_calls_have_made(
    tmp_path, bundle, answer, sentence, left
):
    path, failed = make_scene(tmp_path / "a.tif"), []
    options = AssessOptions(model=str(bundle), format="csv")
    model = load_bundle(str(bundle))
    runner = SimpleNamespace(
        scenes=[path], options=options, failed=lambda number, err, seconds: failed.append(str(err))
    )
    driver = ScenesOnCluster(runner, model, device="cpu")
    opened = ExitStack()
    scene = opened.enter_context(Scene.open(path, scene_options(options, model.card)))
    folder = tmp_path / "out" / "a"
    underway = opened.enter_context(
        begun(scene, folder, options, model.card, inputs=Inputs(), progress=None)
    )
    maker = underway_maker(underway, make_predictor(model, options, device="cpu"), Inputs())
    *made, last = underway.missing
    for number in made:
        underway.keep(number, part_bytes(maker.table(number)))
    one = OpenScene(
        underway=underway,
        opened=opened,
        unsent=deque([(last,)]),
        missing=1,
        file=SeenFile.of(path),
        pre=None,
    )
    driver._open[1], driver._began[1] = one, 0
    driver._take(one.share(1), answer)
    assert sentence in failed[0]
    assert len(list(folder.rglob("part-*.parquet"))) == left
    assert folder.exists() == (left > 0)


def test_a_file_that_is_another_one_on_a_worker_is_named(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(bytes(200_000))
    seen = SeenFile.of(path)
    seen.check()
    path.write_bytes(bytes(199_999) + b"1")
    with pytest.raises(UnreachableError, match=r"a\.tif is another file on .*under the same path"):
        seen.check()
    path.unlink()
    with pytest.raises(UnreachableError, match=r"a\.tif is not there on .*under the same path"):
        seen.check()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"ray_address": "10.0.0.5:6379"}, "is for --engine ray"),
        ({"engine": "ray", "device": "cuda:1"}, "say --device cuda"),
        ({"engine": "ray", "ray_address": "127.0.0.1:1"}, "no Ray cluster to join at 127.0.0.1:1"),
        ({"engine": "ray", "ray_address": "ray://a:10001"}, "no address of a cluster"),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_one_sentence(tmp_path, bundle, given, sentence):
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    with pytest.raises(ConfigError, match=sentence):
        assess_scenes([scene], tmp_path / "out", AssessOptions(model=str(bundle), **given))
    assert not (tmp_path / "out").exists()


def test_without_ray_the_extra_is_named(tmp_path, bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    with pytest.raises(ConfigError, match=r"needs Ray: pip install 'damagenet\[ray\]'"):
        assess_scenes([scene], tmp_path / "out", AssessOptions(model=str(bundle), engine="ray"))


def test_a_gpu_that_no_node_has_is_one_sentence(cluster, tmp_path, bundle):
    scene = make_scene(tmp_path / "a.tif", columns=2, rows=2)
    options = AssessOptions(model=str(bundle), engine="ray", device="cuda")
    with pytest.raises(DeviceError, match="the Ray cluster has no GPU: say --device cpu"):
        assess_scenes([scene], tmp_path / "out", options)
