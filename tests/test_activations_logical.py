"""Functions that join channels: exact values, laws of logic, what they refuse, how they are run."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from damagenet.errors import ConfigError
from models.activations import build_activation, settle
from models.activations.logical import OPERATORS
from models.activations.normalisers import EXACT, normaliser
from models.activations.planes import Joined

VALUES = "reference/activation_values.json"
JOINING = [
    *(f"{each}_{form}" for each in ("and", "or", "xnor") for form in ("il", "ail", "nail", "nil")),
    *(f"{each}_{form}_k3" for each in ("and", "or", "parity") for form in ("il", "ail")),
    "maxout2",
    "minout2",
    "signed_geomean",
    "glu",
]
BY_LINES, EXACTLY = OPERATORS["ail"], OPERATORS["il"]
FAMILIES = pytest.mark.parametrize("family", [BY_LINES, EXACTLY], ids=["ail", "il"])
numbers = st.floats(-50, 50)
inputs = st.lists(numbers, min_size=2, max_size=5)
laws = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def parts(values: list[float]) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=torch.float64) for value in values]


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-11) -> bool:
    return torch.allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def values(harvey_data: Path) -> dict[str, dict[str, object]]:
    """Return the table of exact values, computed with 50 digits."""
    path = harvey_data.parent / VALUES
    if not path.exists():
        pytest.skip(f"needs {VALUES} beside the data")
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_list_of_names_is_all_of_the_file_that_joins_inputs(values):
    assert {name for name, entry in values.items() if "inputs" in entry} == set(JOINING)


@pytest.mark.parametrize(
    ("dtype", "rtol", "atol"),
    [(torch.float64, 1e-9, 1e-12), (torch.float32, 1e-5, 1e-6)],
    ids=["float64", "float32"],
)
@pytest.mark.parametrize("name", JOINING)
def test_values_and_slopes_are_those_of_the_specification(values, name, dtype, rtol, atol):
    entry = values[name]
    layer = build_activation(name)
    features = torch.tensor(entry["inputs"], dtype=dtype, requires_grad=True)
    result = layer(features)
    result.sum().backward()
    expected = torch.tensor(entry["y"], dtype=dtype)[:, None]
    torch.testing.assert_close(result, expected, rtol=rtol, atol=atol)
    slopes = torch.tensor(entry["dy"], dtype=dtype)
    torch.testing.assert_close(features.grad, slopes, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", [name for name in JOINING if "k3" not in name])
def test_ties_have_the_values_of_the_specification_and_finite_slopes(values, name):
    ties = values[name]["ties"]
    features = torch.tensor(ties["inputs"], dtype=torch.float64, requires_grad=True)
    result = build_activation(name)(features)
    result.sum().backward()
    expected = torch.tensor(ties["y"], dtype=torch.float64)[:, None]
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-12)
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("name", [name for name in JOINING if name.endswith(("nail", "nil"))])
def test_the_moments_of_the_specification_are_the_defaults_and_may_be_given(values, name):
    given = values[name]["params"]
    assert settle(name, {}).numbers == pytest.approx(given, rel=1e-9)
    features = torch.tensor(values[name]["inputs"], dtype=torch.float64)
    assert close(build_activation(name, **given)(features), build_activation(name)(features), 1e-8)
    shifted = build_activation(name, **given | {"mu": given["mu"] + given["sd"]})
    assert close(shifted(features), build_activation(name, **given)(features) - 1)


@FAMILIES
@given(values=inputs)
@laws
def test_de_morgan_s_law_holds(family, values):
    negated = [-value for value in values]
    assert close(family["or"](parts(values)), -family["and"](parts(negated)))


@FAMILIES
@given(values=st.lists(numbers, min_size=3, max_size=3), data=st.data())
@laws
def test_operators_are_associative_and_do_not_care_about_order(family, values, data):
    a, b, c = parts(values)
    order = data.draw(st.permutations(values))
    for name, sign in (("and", 1), ("or", 1), ("xnor", -1)):
        whole = family[name]([a, b, c])
        assert close(family[name]([a, family[name]([b, c])]), sign * whole, 1e-9)
        assert close(family[name]([family[name]([a, b]), c]), sign * whole, 1e-9)
        assert close(family[name](parts(order)), whole, 1e-9)


@given(x=numbers)
@laws
def test_beside_a_zero_or_is_the_rectifier(x):
    (value,) = parts([x])
    zero = torch.zeros_like(value)
    assert torch.equal(BY_LINES["or"]([value, zero]), torch.relu(value))
    assert torch.equal(BY_LINES["and"]([value, zero]), torch.clamp(value, max=0))


@given(values=inputs, scale=st.floats(1e-3, 1e3))
@laws
def test_lines_pass_the_scale_through(values, scale):
    for operator in BY_LINES.values():
        scaled = operator(parts([scale * value for value in values]))
        assert close(scaled, scale * operator(parts(values)))


@given(a=numbers, b=numbers)
@laws
def test_lines_stay_near_the_exact_operators(a, b):
    for name, furthest in (("and", math.log(3)), ("or", math.log(3)), ("xnor", math.log(2))):
        distance = EXACTLY[name](parts([a, b])) - BY_LINES[name](parts([a, b]))
        assert abs(float(distance)) <= furthest + 1e-12


@given(a=numbers, b=numbers)
@laws
def test_xnor_is_odd_in_each_input(a, b):
    for family in (BY_LINES, EXACTLY):
        assert close(family["xnor"](parts([-a, b])), -family["xnor"](parts([a, b])))


@given(values=st.lists(st.floats(-6, 6), min_size=2, max_size=5))
@laws
def test_exact_operators_are_those_of_probabilities(values):
    likely = torch.sigmoid(torch.stack(parts(values)))
    even = torch.ones((), dtype=torch.float64)
    for each in likely:
        even = even * (1 - each) + (1 - even) * each
    joined = {"and": likely.prod(), "or": 1 - (1 - likely).prod(), "xnor": even}
    for name, probability in joined.items():
        assert close(torch.sigmoid(EXACTLY[name](parts(values))), probability, 1e-12)


def test_exact_operators_do_not_saturate():
    far = parts([40.0, 50.0])
    gone = torch.log(torch.exp(torch.tensor(-40.0).double()) + math.exp(-50))
    assert close(EXACTLY["and"](far), -gone)
    assert close(EXACTLY["or"](far), torch.tensor(90.0).double())
    assert float(EXACTLY["xnor"](far)) == pytest.approx(40 - math.log1p(math.exp(-10)), rel=1e-12)


@pytest.mark.parametrize("form", ["il", "ail"])
@pytest.mark.parametrize("pair", [(0, 0), (0, 1), (0, -1), (2, 2), (-2, -2), (3, -3), (5, -1)])
def test_every_pair_has_a_live_input(form, pair):
    for name, operator in OPERATORS[form].items():
        a, b = (torch.tensor(float(each), requires_grad=True) for each in pair)
        slopes = torch.autograd.grad(operator([a, b]), (a, b))
        # XNOR has the shape of a saddle, which is flat in its middle.
        assert any(slopes) or (name == "xnor" and pair == (0, 0))


def test_small_parities_keep_their_digits_in_float32():
    features = torch.full((1, 8), 1e-3)
    expected = 2 * math.atanh(math.tanh(5e-4) ** 8)
    assert build_activation("parity_il", k=8)(features).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["or_il", "and_il", "parity_il"])
def test_sums_beyond_float32_give_no_nan(name):
    largest = torch.finfo(torch.float32).max
    for signs in ([1, 1], [1, -1], [-1, -1]):
        features = (torch.tensor([signs]) * largest).requires_grad_()
        result = build_activation(name)(features)
        result.backward(torch.ones_like(result))
        assert not result.isnan().any()
        assert features.grad.isfinite().all()


TABLE = {
    ("or", "ail"): {3: (1.15497, 1.0701), 5: (1.988, 1.3167), 16: (6.383, 2.335)},
    ("xnor", "ail"): {3: (0, 0.4391), 8: (0, 0.1918), 32: (0, 0.05305)},
    ("or", "il"): {3: (2.27741, 1.00907), 4: (3.1575, 1.09799), 5: (3.9979, 1.19478)},
    ("xnor", "il"): {3: (0, 0.14725), 4: (0, 0.06062), 5: (0, 0.025145)},
}


@pytest.mark.parametrize(("operator", "form"), TABLE)
def test_normalisers_are_those_of_the_specification(operator, form):
    for k, (mean, deviation) in TABLE[operator, form].items():
        assert EXACT[operator, form](k) == pytest.approx((mean, deviation), rel=2e-4)
    assert normaliser(operator, form, 2) == pytest.approx(EXACT[operator, form](2), abs=3e-5)


@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("form", ["nail", "nil"])
@pytest.mark.parametrize("operator", ["and", "or", "parity", "or_xnor", "and_or_xnor"])
def test_normalised_forms_have_mean_0_and_variance_1(operator, form, k):
    generator = torch.Generator().manual_seed(k)
    channels = 6 * k
    features = torch.randn(60_000, channels, generator=generator)
    result = build_activation(f"{operator}_{form}", k=k)(features)
    samples = result.view(len(features), -1, 6).double()
    assert samples.mean().abs() < 0.01
    assert samples.std() == pytest.approx(1, abs=0.02)


def test_neighbours_form_a_group_and_operators_follow_each_other():
    features = torch.tensor([[1.0, 2.0, -3.0, 4.0, -5.0, -6.0, 7.0, -8.0]])
    both = build_activation("and_or_ail")(features)
    assert both.tolist() == [[1, -3, -11, -8, 3, 4, -5, 7]]
    halved = build_activation("or_xnor_ail", how="partition")(features)
    assert halved.tolist() == [[3, 4, 5, -7]]
    assert build_activation("max_min", k=4)(features).tolist() == [[4, 7, -3, -8]]


def test_glu_pairs_the_halves():
    features = torch.tensor([[1.0, 2.0, 0.0, 100.0]])
    assert build_activation("glu")(features).tolist() == [[0.5, 2.0]]


def test_crelu_puts_the_negative_part_behind_the_positive_one():
    assert build_activation("crelu")(torch.tensor([[1.0, -2.0]])).tolist() == [[1, 0, 0, 2]]


@pytest.mark.parametrize("name", ["pynada", "leaky_pynada"])
def test_pynada_is_two_affine_maps_of_one_input(name):
    torch.manual_seed(0)
    wide, images = nn.Conv2d(3, 8, 3), torch.randn(2, 3, 8, 8)
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    for number, half in enumerate((first, second)):
        half.weight.data = wide.weight.data[4 * number : 4 * number + 4]
        half.bias.data = wide.bias.data[4 * number : 4 * number + 4]
    dendrite = build_activation(name.replace("pynada", "ada"), alpha=0.7, c=0.2)
    expected = torch.relu(first(images)) + dendrite(second(images))
    neuron = build_activation(name, alpha=0.7, c=0.2)
    torch.testing.assert_close(neuron(wide(images)), expected)


def test_pynada_s_alpha_stays_positive_and_may_differ_by_channel():
    neuron = build_activation("pynada", per="channel", channels=4)
    (trained,) = neuron.parameters()
    assert trained.shape == (4,)
    trained.data.fill_(-50)
    assert (neuron.coefficients.alpha > 0).all()
    assert neuron(torch.randn(2, 8, 3, 3)).shape == (2, 4, 3, 3)


def test_slopes_of_the_geometric_mean_are_0_at_0_and_clamped_beside_it():
    features = torch.tensor([[0.0, 4.0], [1e-30, 4.0], [-1.0, 4.0]], requires_grad=True)
    build_activation("signed_geomean", clamp=2)(features).sum().backward()
    expected = torch.tensor([[0, 0], [2, 0], [1, -0.25]])
    torch.testing.assert_close(features.grad, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("or_ail", {"k": 1}, r"'or_ail': k must be a whole number within 2\.\.32, got 1"),
        ("or_ail", {"k": 2.5}, "k must be a whole number"),
        ("or_ail", {"how": "partition"}, "'or_ail' has no parameter 'how'; it takes: k"),
        ("and_or_ail", {"how": "partition"}, "no parameter 'how'"),
        ("or_xnor_il", {"how": "apart"}, "how must be one of duplicate, partition, got 'apart'"),
        ("xnor_ail", {"k": 3}, "no parameter 'k'"),
        ("or_nail", {"sd": 0}, "sd must be above 0, got 0"),
        ("pynada", {"alpha": 0}, "alpha must be above 0, got 0"),
        ("pynada", {"per": "pixel"}, "per: pixel is not possible"),
        ("or_ail", {"per": "channel"}, "no parameter 'per'"),
    ],
)
def test_a_wrong_parameter_is_refused(name, parameters, message):
    with pytest.raises(ConfigError, match=message):
        build_activation(name, **parameters)


@pytest.mark.parametrize(
    ("name", "parameters", "entering", "message"),
    [
        ("or_ail", {"k": 2}, 7, "7 channels enter .* multiples of 2: 6 or 8 would fit"),
        ("or_xnor_ail", {"how": "partition"}, 6, "6 channels enter .* multiples of 4: 4 or 8"),
        ("pynada", {}, 3, "3 channels enter .* multiples of 2: 2 or 4"),
        ("max_min", {"k": 5}, 3, "multiples of 5: 5 would fit"),
    ],
)
def test_channels_that_do_not_divide_are_refused(name, parameters, entering, message):
    with pytest.raises(ConfigError, match=message):
        build_activation(name, **parameters)(torch.zeros(1, entering, 2, 2))


def kept_bytes(layer: nn.Module, features: torch.Tensor) -> int:
    """Return the size of all that a layer keeps for backward."""
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(features)
    return sum(kept.values())


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch's own, hidden
@pytest.mark.parametrize("name", ["or_xnor_nail", "pynada"])
def test_large_features_keep_values_slopes_layout_and_little_memory(name):
    layer, reference = build_activation(name), build_activation(name).double()
    generator = torch.Generator().manual_seed(0)
    # Just enough to be worth a kernel of its own; each half of it is not.
    values = torch.randn(8, 32, 32, 32, generator=generator).double()
    exact = values.clone().requires_grad_()
    for half in exact.chunk(2):
        reference(half).square().sum().backward()
    features = values.float().to(memory_format=torch.channels_last).requires_grad_()
    result = layer(features)
    assert result.is_contiguous(memory_format=torch.channels_last)
    result.square().sum().backward()
    assert features.grad.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(features.grad.double(), exact.grad, rtol=1e-4, atol=1e-4)
    for found, expected in zip(layer.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found.grad.double(), expected.grad, rtol=1e-4, atol=1e-4)
    a_few_numbers = 64
    assert kept_bytes(layer, features) <= features.nbytes + a_few_numbers


def test_copies_of_a_layer_share_their_kernels():
    first, second = build_activation("or_xnor_nail"), build_activation("or_xnor_nail")
    assert isinstance(first, Joined)
    assert first.join == second.join == copy.deepcopy(first).join
    assert first.fixed == second.fixed
