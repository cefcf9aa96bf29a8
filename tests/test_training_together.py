"""Trainings shared by processes: the same training as one process, also after one was killed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from made_tiles import make_recipe, make_tiles
from torch import distributed, nn

from damagenet.bundle import load_bundle
from damagenet.config import make_settings
from damagenet.errors import ConfigError, DeviceError, OutputError
from damagenet.recipe import Recipe
from damagenet.training.data import open_training_data
from damagenet.training.hardware import Hardware, check_hardware
from damagenet.training.lightning_module import DamageModule
from damagenet.training.processes import Together
from damagenet.training.train import train
from models.shared_batch import share_batches

TWO = Hardware(devices=2, accelerator="cpu")

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from damagenet.errors import DamageNetError
from damagenet.training.hardware import Hardware
from damagenet.training.lightning_module import DamageModule
from test_training_together import made, make_tiles, train

step, number = DamageModule.training_step, os.environ.get("LOCAL_RANK", "0")

def told(module, batch, index):
    if (number, sys.argv[1], module.current_epoch) == ("1", "killed", 1):
        os.kill(os.getpid(), signal.SIGKILL)
    loss = step(module, batch, index)
    with Path(f"losses.{number}").open("a") as file:
        file.write(json.dumps([module.trainer.global_step, loss.item()]) + chr(10))
    return loss

DamageModule.training_step = told
try:
    bundle = train(made(), Path("out"), tiles=make_tiles(), progress=False,
                   hardware=Hardware(devices=2, accelerator="cpu"))
except DamageNetError as err:
    sys.exit(f"damagenet: {err}")
print(bundle.card.training_tiles.count)
"""


def made():
    """Return a recipe with all that depends on a whole batch: norms, dropout, augmentation."""
    return make_recipe(average_weights=0.9, epochs=3, select_on="loss")


def weights_apart(one, other):
    """Return the largest difference of two bundles' weights."""
    own, theirs = one.network.state_dict(), other.network.state_dict()
    return max(float((own[name] - theirs[name]).abs().max()) for name in own)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Train in one process: the bundle, and the loss of every step."""
    losses, step = {}, DamageModule.training_step

    def told(module, batch, index):
        loss = step(module, batch, index)
        losses[module.trainer.global_step] = loss.item()
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DamageModule, "training_step", told)
        out = tmp_path_factory.mktemp("alone") / "out"
        return train(made(), out, tiles=make_tiles(), progress=False), losses


def run_script(folder, *arguments):
    (folder / "together.py").write_text(SCRIPT)
    tests = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "together.py", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """Train in two processes, of which one is killed in the second epoch; what was said."""
    folder = tmp_path_factory.mktemp("together")
    done = run_script(folder, "killed")
    # A training is found again where it was, so that a copy must wait for its place.
    shutil.copytree(folder / "out", folder / "kept")
    return folder, done


def test_a_killed_process_ends_the_others_with_one_sentence(cut):
    folder, done = cut
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("damagenet:")]
    assert said == [
        "damagenet: process 2 of the training was killed (signal 9; with 9, often for want of "
        "memory): run the same command again to continue"
    ]
    assert "Traceback" not in done.stderr
    assert not (folder / "out" / "bundle").exists()


def test_two_processes_that_were_cut_train_as_one_does(cut, alone):
    folder, _ = cut
    done = run_script(folder, "whole")
    assert done.returncode == 0, done.stderr
    # Both write to one stream, so their lines may run together.
    assert "".join(done.stdout.split()) == "6464"
    bundle, losses = alone
    # Those of the epoch that was cut are told twice, and alike.
    told = [
        dict(json.loads(line) for line in (folder / f"losses.{rank}").read_text().splitlines())
        for rank in (0, 1)
    ]
    assert list(losses) == list(range(12))
    for number, loss in losses.items():
        both = (told[0][number] + told[1][number]) / 2
        assert both == pytest.approx(loss, rel=1e-4)
    assert weights_apart(load_bundle(folder / "out" / "bundle"), bundle) < 1e-4


def test_one_process_continues_what_two_began(cut, alone):
    folder, _ = cut
    shutil.rmtree(folder / "out")
    (folder / "kept").rename(folder / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bundle = train(made(), Path("out"), tiles=make_tiles(), progress=False)
    assert weights_apart(bundle, alone[0]) < 1e-4


@pytest.mark.parametrize("epoch", [0, 3])
def test_processes_share_the_batches_of_one(epoch):
    data = open_training_data(make_recipe(), make_tiles())

    def batches(hardware, rank):
        loader = data.train_loader(batch_size=12, seed=7, hardware=hardware, rank=rank)
        loader.sampler.set_epoch(epoch)
        return [images for (images,), _ in loader]

    whole = batches(Hardware(), 0)
    shares = zip(batches(TWO, 0), batches(TWO, 1), strict=True)
    dealt = [torch.stack(pair, dim=1).flatten(0, 1) for pair in shares]
    assert len(whole) == 5
    assert all(torch.equal(one, both) for one, both in zip(whole, dealt, strict=True))


def test_a_tile_is_seen_otherwise_in_every_epoch():
    data = open_training_data(make_recipe(), make_tiles())
    dataset = data.train_loader(batch_size=64, seed=7, hardware=Hardware()).dataset
    views = {dataset[5 + 64 * epoch][0][0].numpy().tobytes() for epoch in range(40)}
    assert len(views) == 8


def test_no_validation_tile_is_counted_twice():
    data = open_training_data(make_recipe(), make_tiles())
    shares = [
        data.validation_loader(batch_size=4, hardware=Hardware(devices=5), rank=rank)
        for rank in range(5)
    ]
    assert sorted(np.concatenate([list(share.sampler) for share in shares])) == list(range(24))
    with pytest.raises(ConfigError, match="24 validation tiles are too few for 25 processes"):
        data.validation_loader(batch_size=4, hardware=Hardware(devices=25))


@pytest.fixture
def alone_in_a_group(tmp_path):
    """Let this process be a group of its own."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("alone_in_a_group")
@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_shared_norm_computes_what_a_norm_does(momentum):
    plain, shared = (nn.Sequential(nn.BatchNorm2d(5, momentum=momentum)).double() for _ in "ab")
    share_batches(shared)
    features, given = 3 * torch.randn(2, 4, 5, 6, 6, dtype=torch.float64) + 10
    found = []
    for layers in (plain, shared):
        entering = features.clone().requires_grad_()
        made = layers(layers(entering))
        made.backward(given)
        gradients = [parameter.grad for parameter in layers.parameters()]
        found.append([made, entering.grad, *gradients, *layers.state_dict().values()])
    assert type(shared[0]) is not type(plain[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(plain.eval()(features), shared.eval()(features))


@pytest.mark.usefixtures("alone_in_a_group")
def test_shared_dropout_draws_as_dropout_does():
    plain, shared = nn.Sequential(nn.Dropout(0.4)), nn.Sequential(nn.Dropout(0.4))
    share_batches(shared)
    for features in (
        torch.randn(6, 9),
        torch.randn(6, 3, 4, 4).to(memory_format=torch.channels_last),
    ):
        made = []
        for layers in (plain, shared):
            torch.manual_seed(3)
            made.append(layers(features))
        assert torch.equal(*made)
        assert torch.equal(shared.eval()(features), features)
        shared.train()


def test_norms_of_another_kind_are_refused_on_several_devices():
    with pytest.raises(ConfigError, match="norms of the kind BatchNorm1d, whose statistics proc"):
        share_batches(nn.Sequential(nn.BatchNorm1d(3)))


@pytest.mark.parametrize(
    ("hardware", "training", "error", "message"),
    [
        (Hardware(devices=3, accelerator="cpu"), {}, ConfigError, "16 tiles cannot be shared by 3"),
        (Hardware(nodes=2), {}, ConfigError, "--nodes 2: the machines do not know where to meet"),
        (
            Hardware(devices=2, accelerator="cpu"),
            {"optimizer": "lbfgs", "transfer": "linear_probe"},
            ConfigError,
            "'lbfgs' solves for the head at once, in one process: leave --devices",
        ),
        (
            Hardware(devices=64, accelerator="gpu"),
            {"batch_size": 64},
            DeviceError,
            r"64 GPU\(s\) were asked for \(--devices\), this machine has",
        ),
    ],
)
def test_hardware_that_does_not_fit_is_refused(hardware, training, error, message, monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    settings = {"training": {"batch_size": 16} | training}
    with pytest.raises(error, match=message):
        check_hardware(hardware, make_settings(Recipe, settings))


def test_fewer_tiles_than_a_batch_must_be_shared_evenly_too():
    recipe = make_recipe(batch_size=1000)
    data = open_training_data(recipe, make_tiles())
    with pytest.raises(ConfigError, match="a batch of 64 tiles cannot be shared by 5 processes"):
        data.train_loader(batch_size=1000, seed=0, hardware=Hardware(devices=5))


def test_a_machine_that_sees_another_folder_says_so(tmp_path):
    with pytest.raises(OutputError, match="is not the folder that the first machine writes to"):
        Together(tmp_path / "recipe.json").on_fit_start(None, None)
