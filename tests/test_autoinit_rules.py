"""AutoInit's rules, each against drawn numbers, and the moments of activations."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from models.activations import ACTIVATIONS, build_activation, parameter_names, settle
from models.autoinit import AutoInit, walk
from models.autoinit.sampling import through_activation
from models.autoinit.signal import STANDARD, Signal, dropped, joined

# Mean, variance and scale of the next layer on N(0, 1): section 4 of the reference.
REFERENCE = [
    ("relu", {}, 0.39894, 0.34085, 2.00000),
    ("leaky_relu", {"slope": 0.01}, 0.39495, 0.34406, 1.99980),
    ("tanh", {}, 0, 0.39429, 2.53618),
    ("sigmoid", {}, 0.50000, 0.04338, 3.40856),
    ("silu", {}, 0.20662, 0.31308, 2.81076),
    ("gelu", {}, 0.28209, 0.34564, 2.35172),
    ("elu", {}, 0.16052, 0.61918, 1.55052),
    ("selu", {}, 0, 1, 1.00000),
    ("softplus", {}, 0.80606, 0.27151, 1.08549),
    ("mish", {}, 0.24040, 0.39455, 2.21072),
]
SHIFTED = Signal(0.6, 1.7)


class Calling(nn.Module):
    """A network of one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *features):
        return self.function(*features)


def after(function, *shapes, signal=SHIFTED):
    """Return what the walk says of one function of tensors of those shapes."""
    options = AutoInit(input_mean=signal.mean, input_var=signal.variance)
    network = function if isinstance(function, nn.Module) else Calling(function)
    return walk(network, [torch.empty(1, *shape) for shape in shapes], options).signals[""]


@pytest.mark.parametrize("row", REFERENCE, ids=lambda row: row[0])
def test_activations_have_the_moments_of_the_reference(row):
    name, parameters, mean, variance, scale = row
    found = through_activation(settle(name, parameters), STANDARD, channels=8, draws=1000)
    assert [found.mean, found.variance] == pytest.approx([mean, variance], abs=1e-3)
    assert 1 / found.second == pytest.approx(scale, abs=1e-3)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_agrees_with_drawn_numbers_in_training(name):
    torch.manual_seed(0)
    parameters = {"per": "layer"} if "per" in parameter_names(name) else {}
    layer = build_activation(name, channels=48, **parameters)
    entering = settle(name, parameters).width(48)
    found = through_activation(settle(name, parameters), SHIFTED, channels=entering, draws=100_000)
    values = SHIFTED.mean + math.sqrt(SHIFTED.variance) * torch.randn(8192, entering)
    with torch.no_grad():
        values = layer(values).double()
    assert values.mean().item() == pytest.approx(found.mean, abs=0.02 * math.sqrt(found.second))
    assert values.square().mean().item() == pytest.approx(found.second, rel=0.05)


IMAGES = (6, 8, 8)
RULES = [
    ("add", lambda a, b: a + b, [IMAGES, IMAGES]),
    ("subtract", lambda a, b: torch.sub(a, b, alpha=2), [IMAGES, IMAGES]),
    ("multiply", lambda a, b: a * b, [IMAGES, IMAGES]),
    ("average", lambda a, b: (a + b) / 2, [IMAGES, IMAGES]),
    ("numbers", lambda a: 3 - 2 * a, [IMAGES]),
    ("matrices", lambda a, b: a @ b.transpose(-2, -1), [IMAGES, IMAGES]),
    ("einsum", lambda a, b: torch.einsum("n c i j, n c k j -> n c i k", a, b), [IMAGES, IMAGES]),
    ("concatenate", lambda a, b: torch.cat([2 * a, b - 1, b[:, :2]], 1), [IMAGES, IMAGES]),
    ("stack", lambda a, b: torch.stack([a, 3 * b]), [IMAGES, IMAGES]),
    ("reshape", lambda a: F.pixel_shuffle(a[:, :4], 2).flatten(1).unflatten(1, (4, -1)), [IMAGES]),
    ("mean", lambda a: a.mean((2, 3)), [IMAGES]),
    ("sum", lambda a: a.sum(1), [IMAGES]),
    ("zero padding", lambda a: F.pad(a, (1, 2, 0, 1)), [IMAGES]),
    ("crop and pad", lambda a: F.pad(a, (-1, 2, 0, 0), value=0.5), [IMAGES]),
    ("padded channels", lambda a: F.pad(a, (0, 0, 0, 0, 3, 3)), [IMAGES]),
    ("padding by repetition", lambda a: F.pad(a, (1, 1, 1, 1), mode="reflect"), [IMAGES]),
    ("zeros beside it", lambda a: torch.cat([a, a.new_zeros(a.shape)], 1), [IMAGES]),
    ("dropout", nn.Dropout(0.3), [IMAGES]),
    ("dropout of channels", nn.Dropout2d(0.3), [IMAGES]),
    ("softmax", lambda a: a.softmax(1), [IMAGES]),
    ("unit length", lambda a: F.normalize(a, dim=-1), [IMAGES]),
    ("batch norm", nn.BatchNorm2d(6), [IMAGES]),
    ("group norm", nn.GroupNorm(2, 6), [IMAGES]),
    ("layer norm", nn.LayerNorm(8), [IMAGES]),
    ("RMS norm", nn.RMSNorm((6, 8, 8)), [IMAGES]),
    ("max pooling", nn.MaxPool2d(3, 2, padding=1), [IMAGES]),
    ("average pooling", nn.AvgPool2d(2), [IMAGES]),
    ("average pooling with padding", nn.AvgPool2d(3, 2, padding=1), [IMAGES]),
    ("adaptive average pooling", nn.AdaptiveAvgPool2d((2, 4)), [IMAGES]),
    ("uneven average pooling", nn.AdaptiveAvgPool2d(3), [IMAGES]),
    ("adaptive max pooling", nn.AdaptiveMaxPool2d(1), [IMAGES]),
    ("PReLU", nn.PReLU(6), [IMAGES]),
    ("in place", lambda a: F.elu(a.clone(), alpha=0.5, inplace=True).mul_(2), [IMAGES]),
    ("clamp", lambda a: a.clamp(0, 1.5), [IMAGES]),
    ("attention", F.scaled_dot_product_attention, [(8, 64)] * 3),
]


@pytest.mark.parametrize(
    ("function", "shapes"), [row[1:] for row in RULES], ids=[r[0] for r in RULES]
)
def test_a_rule_agrees_with_drawn_numbers(function, shapes):
    found = after(function, *shapes)
    torch.manual_seed(0)
    spread = math.sqrt(SHIFTED.variance)
    drawn = [SHIFTED.mean + spread * torch.randn(3000, *shape) for shape in shapes]
    with torch.no_grad():
        result = (function.train() if isinstance(function, nn.Module) else function)(
            *drawn
        ).double()
    assert result.mean().item() == pytest.approx(found.mean, abs=0.02 * math.sqrt(found.second))
    assert result.var().item() == pytest.approx(found.variance, rel=0.04)


def test_pooling_of_two_by_two_has_the_moments_of_the_reference():
    largest = after(nn.MaxPool2d(2), (1, 32, 32), signal=STANDARD)
    assert [largest.mean, largest.variance] == pytest.approx([1.0294, 0.4917], abs=0.01)
    assert after(nn.AvgPool2d(2), (1, 32, 32), signal=STANDARD) == Signal(0, 0.25)


@given(mean=st.floats(-3, 3), variance=st.floats(0.1, 4), share=st.floats(0, 0.9))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_dropout_keeps_the_mean_and_multiplies_the_mean_square(mean, variance, share):
    signal = Signal(mean, variance)
    found = dropped(signal, share)
    assert found.mean == signal.mean
    assert found.second == pytest.approx(signal.second / (1 - share))


@given(
    parts=st.lists(st.tuples(st.floats(-3, 3), st.floats(0.1, 4), st.integers(1, 9)), min_size=1)
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_join_has_the_mean_square_of_its_parts(parts):
    signals, sizes = [Signal(*part[:2]) for part in parts], [part[2] for part in parts]
    found = joined(signals, sizes)
    seconds = [signal.second * size for signal, size in zip(signals, sizes, strict=True)]
    assert found.second == pytest.approx(sum(seconds) / sum(sizes))
    assert found.variance >= min(signal.variance for signal in signals) - 1e-9
