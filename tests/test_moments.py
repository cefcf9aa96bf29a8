import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damagenet.errors import ConfigError
from models.activations import ACTIVATIONS, build_activation, parameter_names
from models.activations.moments import moments

# Name, parameters, E f, sd f, E f^2, gain, E f'^2: section 11 of the reference, computed there
# by Simpson's rule.
REFERENCE = [
    ("relu", {}, 0.3989, 0.5838, 0.5000, 1.4142, 0.5000),
    ("prelu", {"a": 0.25}, 0.2992, 0.6646, 0.5312, 1.3720, 0.5312),
    ("elu", {}, 0.1605, 0.7869, 0.6449, 1.2452, 0.6681),
    ("celu", {}, 0.1605, 0.7869, 0.6449, 1.2452, 0.6681),
    ("selu", {}, 0, 1, 1, 1, 1.0716),
    ("gelu", {}, 0.2821, 0.5879, 0.4252, 1.5335, 0.4558),
    ("silu", {}, 0.2066, 0.5595, 0.3558, 1.6765, 0.3795),
    ("swish", {"beta": 0.25}, 0.0616, 0.5073, 0.2611, 1.9569, 0.2647),
    ("mish", {}, 0.2404, 0.6281, 0.4523, 1.4868, 0.4791),
    ("tanhexp", {}, 0.2621, 0.6785, 0.5291, 1.3748, 0.5612),
    ("elish", {}, 0.2392, 0.5346, 0.3431, 1.7073, 0.3665),
    ("hardswish", {}, 0.1662, 0.5513, 0.3316, 1.7367, 0.3585),
    ("softplus", {}, 0.8061, 0.5211, 0.9212, 1.0419, 0.2934),
    ("sigmoid", {}, 0.5000, 0.2083, 0.2934, 1.8462, 0.0448),
    ("asigmoid", {}, 0.5000, 0.2083, 0.2934, 1.8462, 0.0448),
    ("tanh", {}, 0, 0.6279, 0.3943, 1.5925, 0.4644),
    ("atanh", {}, 0, 0.6279, 0.3943, 1.5925, 0.4644),
    ("softsign", {}, 0, 0.4278, 0.1830, 2.3375, 0.2277),
    ("elliott", {}, 0.5000, 0.2139, 0.2958, 1.8388, 0.0569),
    ("lisht", {}, 0.6057, 0.6253, 0.7579, 1.1487, 0.8657),
    ("srs", {"alpha": 5, "beta": 3}, 0.1179, 0.9198, 0.8600, 1.0784, 0.8780),
    ("pdelu", {}, 0.1541, 0.7936, 0.6535, 1.2370, 0.6769),
    ("pau", {}, 0.3949, 0.5862, 0.4996, 1.4147, 0.4852),
    ("sine", {}, 0, 0.6575, 0.4323, 1.5209, 0.5677),
    ("pvlu", {"alpha": 0.1, "beta": 1}, 0.3989, 0.6370, 0.5650, 1.3304, 0.5663),
    ("nish", {}, 0.3204, 0.6418, 0.5145, 1.3941, 0.5309),
    ("nish_sinlu_variant", {}, 0.2242, 0.7218, 0.5712, 1.3231, 0.6272),
    ("ada", {"alpha": 0.5, "c": 0}, 0.2241, 0.2720, 0.1242, 2.8374, 0.1553),
    ("ada", {"alpha": 0.5, "c": 1}, 0.6093, 0.7393, 0.9178, 1.0438, 1.1473),
    ("colu", {}, 0.2767, 0.6900, 0.5526, 1.3452, 0.6246),
    ("fplus", {}, 0.2064, 0.7409, 0.5915, 1.3002, 0.6138),
    ("pfplus", {}, 0.2064, 0.7409, 0.5915, 1.3002, 0.6138),
    ("gcu", {}, 0, 0.5450, 0.2970, 1.8349, 1.0000),
    ("squ", {}, 1.0000, 1.7321, 4.0000, 0.5000, 5.0000),
    ("ncu", {}, 0, 3.1623, 10.0000, 0.3162, 22.0000),
    ("ssu", {}, 0.2633, 0.8929, 0.8665, 1.0743, 0.9359),
    ("dsu", {}, 0, 0.8366, 0.6999, 1.1953, 0.7313),
    ("abu", {}, 0.1532, 0.6908, 0.5007, 1.4132, 0.5090),
    ("and_ail", {}, -0.6810, 0.9723, 1.4092, 0.8424, None),
    ("or_ail", {}, 0.6810, 0.9723, 1.4092, 0.8424, None),
    ("xnor_ail", {}, 0, 0.6028, 0.3634, 1.6589, None),
]


@pytest.mark.parametrize("row", REFERENCE, ids=lambda row: row[0])
def test_moments_are_those_of_the_reference(row):
    name, parameters, mean, sd, second, gain, slope_second = row
    found = moments(name, **parameters)
    last_digit = pytest.approx([mean, sd, second, gain], abs=1e-4)
    assert [found.mean, found.sd, found.second, found.gain] == last_digit
    assert found.slope_second == (slope_second and pytest.approx(slope_second, abs=1e-4))
    assert not found.sampled


def test_moments_of_two_inputs_agree_with_the_closed_forms():
    both = moments("and_ail")
    assert both.mean == pytest.approx(
        -(1 / math.sqrt(2 * math.pi) + 1 / (2 * math.sqrt(math.pi))), abs=1e-10
    )
    assert both.sd == pytest.approx(
        math.sqrt(5 / 4 - 1 / (math.sqrt(2) * math.pi) - 1 / (4 * math.pi)), abs=1e-10
    )
    assert moments("xnor_ail").sd == pytest.approx(math.sqrt(1 - 2 / math.pi), abs=1e-10)


@pytest.mark.parametrize(
    ("name", "mean", "sd"),
    [("and_il", -1.298955, 0.948360), ("or_il", 1.298955, 0.948360), ("xnor_il", 0, 0.366415)],
)
def test_moments_of_the_exact_operators_agree_with_the_reference(name, mean, sd):
    found = moments(name)
    assert [found.mean, found.sd] == pytest.approx([mean, sd], abs=2e-6)


@pytest.mark.parametrize(
    ("name", "mean", "sd"),
    [("and_ail", -1.15497, 1.0701), ("parity_ail", 0, 0.4391), ("parity_il", 0, 0.14725)],
)
def test_moments_of_three_inputs_are_drawn_and_agree_to_three_digits(name, mean, sd):
    found = moments(name, k=3)
    assert found.sampled
    assert [found.mean, found.sd] == pytest.approx([mean, sd], abs=5e-3)
    assert found.slope_second is None


def test_a_function_of_the_whole_tensor_is_drawn():
    found = moments("abrelu")
    assert found.sampled
    assert found.gain == pytest.approx(math.sqrt(2), abs=5e-3)


@given(low=st.floats(-2, 2), span=st.floats(0.01, 3))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_a_kink_between_two_nodes_costs_nothing_that_is_seen(low, span):
    threshold = abs(low) + span
    share = math.erfc(threshold / math.sqrt(2))
    density = math.exp(-(threshold**2) / 2) * math.sqrt(2 / math.pi)
    shrink = moments("softshrink", lambd=threshold)
    assert shrink.second == pytest.approx(
        (1 + threshold**2) * share - threshold * density, abs=1e-6
    )
    # A jump is the hardest.
    jump = moments("hardshrink", lambd=threshold)
    assert jump.second == pytest.approx(share + threshold * density, abs=1e-3)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_function_of_the_table_has_a_gain(name):
    found = moments(name)
    numbers = [found.mean, found.sd, found.second, found.gain, found.slope_second or 0.0]
    numbers.append(found.variance_slope)
    assert all(math.isfinite(number) for number in numbers)
    assert found.gain**2 * found.second == pytest.approx(1)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_drawn_numbers_have_the_moments_that_were_integrated(name):
    torch.manual_seed(0)
    parameters = {"per": "layer"} if "per" in parameter_names(name) else {}
    layer = build_activation(name, channels=64, **parameters).eval()
    found = moments(name)
    with torch.no_grad():
        values = layer(torch.randn(8192, 64)).double()
    assert values.mean().item() == pytest.approx(found.mean, abs=0.01 * (1 + found.sd))
    assert values.square().mean().item() == pytest.approx(found.second, rel=0.03, abs=1e-4)


def test_the_slope_of_the_variance_map_is_that_of_the_map():
    assert moments("relu").variance_slope == pytest.approx(1)
    assert moments("maxout").variance_slope == pytest.approx(1)
    assert moments("squ").variance_slope == pytest.approx(1.75)  # of v + 3 v^2
    assert moments("tanh").variance_slope == pytest.approx(0.4611, abs=1e-4)
    assert moments("softmax").variance_slope == pytest.approx(0.80, abs=0.03)


def test_the_sharing_of_parameters_changes_no_moments():
    assert moments("pvlu", per="channel") == moments("pvlu", per="pixel") == moments("pvlu")


def test_an_unknown_name_or_parameter_is_refused():
    with pytest.raises(ConfigError, match="unknown activation 'rleu'"):
        moments("rleu")
    with pytest.raises(ConfigError, match="'gcu' has no parameter 'alpha'"):
        moments("gcu", alpha=1)
