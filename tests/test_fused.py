"""Compiled kernels of activations: equal to the plain form, light, and not needed."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from models.activations import build_activation, fused

LARGE = (4, 32, 48, 48)
NOISY = ("probact", "rrelu")
ROOT = Path(__file__).parent.parent

# torch hides this warning of its own, but not from a test run in which warnings are errors.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")


def with_saved_bytes(layer: nn.Module, features: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return the output, and the bytes of all that is kept for backward."""
    storages: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = layer(features)
    return result, sum(storages.values())


def trained_once(layer: nn.Module, features: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return output and gradients of one pass with the same random numbers each time."""
    torch.manual_seed(7)
    layer.zero_grad()
    features = features.clone().requires_grad_()
    result = layer(features)
    result.backward(torch.cos(torch.arange(result.numel())).view(result.shape))
    gradients = {name: each.grad.clone() for name, each in layer.named_parameters()}
    return {"output": result.detach(), "features": features.grad, **gradients}


@pytest.mark.parametrize("name", ["pvlu", *NOISY, "or_ail"])
def test_a_compiled_kernel_learns_what_the_plain_form_learns_and_keeps_its_input_only(
    name, monkeypatch
):
    layer = build_activation(name, channels=LARGE[1])
    features = torch.randn(LARGE).to(memory_format=torch.channels_last)
    before = fused._kernel.cache_info().misses
    found = trained_once(layer, features)
    _, kept = with_saved_bytes(layer, features.clone().requires_grad_())
    assert fused._kernel.cache_info().misses == before + 1
    assert kept <= features.nbytes + 2000
    monkeypatch.setattr(fused, "SMALLEST", sys.maxsize)
    expected = trained_once(layer, features)
    for what, values in expected.items():
        # A parameter's gradient is a sum of 300,000 numbers.
        slack = 1e-5 if values.shape == expected["output"].shape else 5e-3
        torch.testing.assert_close(found[what], values, rtol=1e-5, atol=slack)
    assert found["features"].is_contiguous(memory_format=torch.channels_last)


def test_copies_of_a_layer_share_its_kernel_and_every_size_too():
    layer = build_activation("pvlu", channels=LARGE[1])
    layer(torch.randn(LARGE, requires_grad=True))
    before = fused._kernel.cache_info().misses
    for size in (LARGE, (5, 32, 52, 52)):
        copy.deepcopy(layer)(torch.randn(size, requires_grad=True))
    assert fused._kernel.cache_info().misses == before


@pytest.mark.parametrize("asked", [torch.zeros(8, requires_grad=True), torch.zeros(LARGE)])
def test_small_tensors_and_inference_are_not_worth_a_compilation(asked):
    layer = build_activation("pvlu").requires_grad_(asked.requires_grad)
    before = fused._kernel.cache_info()
    layer(asked)
    assert fused._kernel.cache_info() == before


WITHOUT_COMPILER = """
import logging, sys, torch
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from models.activations import fused
from test_fused import LARGE, build_activation, trained_once, with_saved_bytes
for name in ("pvlu", "probact", "or_ail"):
    layer = build_activation(name, channels=LARGE[1])
    features = torch.randn(LARGE)
    found = trained_once(layer, features)
    result, kept = with_saved_bytes(layer, features.clone().requires_grad_())
    assert kept <= features.nbytes + 2000, (name, kept)
    smallest, fused.SMALLEST = fused.SMALLEST, sys.maxsize
    expected = trained_once(layer, features)
    fused.SMALLEST = smallest
    assert all(torch.equal(found[what], each) for what, each in expected.items()), name
    with torch.no_grad(), fused.kernels_without_gradients():
        for count in (1, 2):
            images = features[:count].contiguous(memory_format=torch.channels_last)
            assert torch.equal(layer.eval()(images), layer(images.requires_grad_())), name
            images.requires_grad_(False)
print("done")
"""


def test_without_a_compiler_the_plain_form_is_recomputed_after_one_line(tmp_path):
    settings = {
        "CXX": str(tmp_path / "no-such-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    line, end = done.stdout.splitlines()
    assert line.startswith("activations run without compiled kernels on cpu, slower but equal: ")
    assert end == "done"
