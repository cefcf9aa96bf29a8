"""What every function of the table must do, whatever it computes."""

import copy
import math
from functools import lru_cache

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from damagenet.errors import ConfigError
from models.activations import ACTIVATIONS, build_activation, settle

NAMES = sorted(ACTIVATIONS)
MODES = [(name, False) for name in NAMES] + [
    (name, True) for name in NAMES if ACTIVATIONS[name].in_training
]
IMAGE = (4, 6)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@lru_cache
def entering(name: str, least: int = 1) -> int:
    """Return the fewest channels that the function takes of which `least` come out at least."""
    setting = settle(name, {})
    for channels in range(least, 4 * least + 64):
        try:
            return setting.width(channels)
        except ConfigError:
            continue
    raise AssertionError(f"{name} fits no layer")


def made(name: str, *, channels: int | None = None) -> nn.Module:
    """Return a layer of the function for images of (channels, *IMAGE)."""
    channels = channels or entering(name)
    return build_activation(name, channels=channels, shape=(channels, *IMAGE))


def images(name: str, *, least: int = 1, scale: float = 2.0, count: int = 2) -> torch.Tensor:
    """Return normal numbers that the function takes, at least `least` channels coming out."""
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(count, entering(name, least), *IMAGE, generator=generator)


def largest(name: str, dtype: torch.dtype) -> float:
    """Return how large an input of the function may be in a type, as its row says."""
    # A small factor is left for slopes above 1 and for sums over the numbers of the tensor.
    return float((torch.finfo(dtype).max / 128) ** (1 / ACTIVATIONS[name].degree))


parts = st.lists(st.floats(-1, 1, width=32), min_size=24, max_size=24)
EXTREME = [1.0, -1.0, 0.0, -0.0, 1e-30, -1e-30, 0.5, -0.5] * 3
powers = st.sampled_from([1.0, 0.5, 0.1, 0.02, 0.0])


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES.keys())
@pytest.mark.parametrize(("name", "training"), MODES)
def test_no_finite_input_gives_nan_or_inf(name, training, dtype):
    layer = made(name).train(training)

    @given(numbers=parts, power=powers)
    @example(numbers=EXTREME, power=1.0)
    @example(numbers=EXTREME, power=0.1)
    @example(numbers=EXTREME, power=0.0)
    @settings(max_examples=4, deadline=None, derandomize=True, database=None)
    def stays_finite(numbers: list[float], power: float) -> None:
        values = torch.tensor(numbers, dtype=torch.float64) * largest(name, dtype) ** power
        channels = entering(name)
        features = values.view(1, 1, *IMAGE).expand(1, channels, *IMAGE).to(dtype)
        # Neighbouring channels see different numbers, or all would be ties.
        features = torch.stack([row.roll(2 * at) for at, row in enumerate(features.unbind(1))], 1)
        features.requires_grad_()
        layer.zero_grad()
        result = layer(features)
        assert result.isfinite().all()
        result.backward(torch.ones_like(result))
        assert features.grad is not None
        assert features.grad.isfinite().all()
        for parameter in layer.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()

    stays_finite()


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name):
    layer = made(name).double().eval()
    for parameter in layer.parameters():
        # Away from 0, where a function of the size of a parameter has a kink.
        parameter.data.add_(0.05)
    features = images(name, count=1).double().requires_grad_()
    names, parameters = zip(*layer.named_parameters(), strict=True) if _trained(layer) else ((), ())

    def value(features: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        state = dict(zip(names, given, strict=True))
        result: torch.Tensor = torch.func.functional_call(layer, state, (features,))
        return result

    assert torch.autograd.gradcheck(value, (features, *parameters), fast_mode=True)


def _trained(layer: nn.Module) -> bool:
    return any(True for _ in layer.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_computes_the_same_with_parameters_of_its_own(name):
    layer = made(name).eval()
    twin = copy.deepcopy(layer)
    features = images(name)
    expected = layer(features)
    assert torch.equal(twin(features), expected)
    for parameter in twin.parameters():
        parameter.data.add_(0.25)
    assert torch.equal(layer(features), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_carries_all_that_was_learned(name):
    layer, fresh = made(name).eval(), made(name).eval()
    features = images(name)
    for number, parameter in enumerate(layer.parameters()):
        parameter.data.add_(0.1 * (number + 1))
    expected = layer(features)
    if _trained(layer) and name != "probact":
        assert not torch.equal(fresh(features), expected)
    fresh.load_state_dict(copy.deepcopy(layer.state_dict()))
    assert torch.equal(fresh(features), expected)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_gives_finite_values_in_the_type_of_the_input_or_its_own(name):
    layer = made(name).eval()
    for dtype in (torch.float32, torch.bfloat16):
        features = images(name).bfloat16().to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            result = layer(features)
        assert result.dtype in (dtype, torch.bfloat16, torch.float32)
        torch.testing.assert_close(
            result.float(), layer(features.float()).float(), rtol=0.02, atol=0.02
        )
        result.sum().backward()
        assert features.grad is not None
        assert features.grad.dtype == dtype
        assert features.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_the_memory_layout_of_images_is_kept(name):
    features = images(name, least=4).to(memory_format=torch.channels_last).requires_grad_()
    layer = made(name, channels=features.shape[1])
    result = layer(features)
    assert result.shape[1] >= 4
    assert result.is_contiguous(memory_format=torch.channels_last)
    result.backward(torch.ones_like(result))
    assert features.grad is not None
    assert features.grad.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_keeps_its_type_and_the_values_of_float32(name):
    layer = made(name).eval()
    features = images(name).bfloat16()
    expected = layer(features.float())
    half = layer(features)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.02, atol=0.02)


class WholeTable(nn.Module):
    """All functions beside each other, so that one compilation or export tries them all."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.channels = {name: entering(name, 4) for name in names}
        self.layers = nn.ModuleList(made(name, channels=self.channels[name]) for name in names)

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        return [
            layer(features[:, :channels])
            for layer, channels in zip(self.layers, self.channels.values(), strict=True)
        ]


@pytest.fixture(scope="module")
def table() -> WholeTable:
    return WholeTable(NAMES).eval()


@pytest.fixture(scope="module")
def features(table) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.randn(2, max(table.channels.values()), *IMAGE, generator=generator)


def assert_alike(found, expected, *, rtol: float, atol: float) -> None:
    for name, one, other in zip(NAMES, found, expected, strict=True):
        torch.testing.assert_close(
            one, other, rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch's own, hidden
def test_the_whole_table_compiles_without_a_break_and_learns_the_same(table, features):
    compiled = torch.compile(table, backend="aot_eager", fullgraph=True)
    weights = [torch.randn_like(each) for each in table(features)]

    def gradients(network: nn.Module) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
        table.zero_grad()
        entering = features.clone().requires_grad_()
        results = network(entering)
        torch.autograd.backward(results, weights)
        found = {name: each.grad.clone() for name, each in table.named_parameters()}
        return results, {**found, "features": entering.grad}

    (expected, slopes), (found, same_slopes) = gradients(table), gradients(compiled)
    assert_alike(found, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(same_slopes, slopes, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def exported(table, features) -> torch.export.ExportedProgram:
    return torch.export.export(table, (features,))


def test_the_whole_table_can_be_exported(exported, table, features):
    found = exported.module()(features)
    assert_alike(found, table(features), rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_whole_table_runs_in_onnx(exported, table, features, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "table.onnx"
    # Optimising this many operators takes as long again; test_export does it for a network.
    torch.onnx.export(exported, (features,), path, dynamo=True, verbose=False, optimize=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    found = session.run(None, {entry.name: features.numpy()})
    assert_alike(map(torch.from_numpy, found), table(features), rtol=1e-5, atol=1e-5)


@given(scale=st.floats(0.1, 5))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_rows_tell_the_truth_about_how_fast_they_grow(scale):
    for name in NAMES:
        features = images(name).double() * 1e3 * scale
        result = made(name).double().eval()(features).detach()
        bound = 4 * (1 + float(features.abs().max())) ** ACTIVATIONS[name].degree
        assert float(result.abs().max()) <= bound, name


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_what_it_is(name):
    function = ACTIVATIONS[name]
    assert function.formula
    assert function.source
    assert (function.value is None) != (function.layer is None)
    assert math.isfinite(function.degree)
