"""Every function of single numbers against the values of the specification, and its parameters."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damagenet.errors import ConfigError
from damagenet.recipe import Choice
from models.activations import ACTIVATIONS, ALIASES, Activation, activation_maker, build_activation
from models.activations.build import parameter_names

VALUES = "reference/activation_values.json"
POINTWISE = [
    "pvlu",
    "pvlu_identity_preserving",
    "pvlu_alt",
    "nish",
    "nish_sinlu_variant",
    "ada",
    "ada_mlp",
    "ada_charcnn",
    "leaky_ada",
    "leaky_ada_charcnn",
    "leaky_ada_mlp",
    "leaky_ada_lenet",
    "colu",
    "fplus",
    "pfplus",
    "pfplus_relu_like",
    "pfplus_linear_like",
    "asigmoid",
    "asigmoid_alt",
    "atanh",
    "atanh_alt",
    "arelu",
    "arelu_code_init",
    "arelu_alt",
    "gcu",
    "squ",
    "ncu",
    "ssu",
    "dsu",
    "laaf_tanh",
    "laaf_tanh_alt",
    "laaf_sigmoid",
    "laaf_relu",
    "laaf_sin",
    "rowdy_tanh",
    "rowdy_tanh_alt",
    "rowdy_cos_alt",
    "abu",
    "identity",
    "sigmoid",
    "bipolar_sigmoid",
    "logsigmoid",
    "tanh",
    "scaled_tanh",
    "softsign",
    "elliott",
    "hexpo",
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "abrelu",
    "srelu",
    "srelu_alt",
    "elu",
    "selu",
    "celu",
    "celu_alt",
    "pelu",
    "pdelu",
    "ptelu",
    "gelu",
    "gelu_tanh",
    "softplus",
    "silu",
    "swish",
    "swish_benchmark_init",
    "mish",
    "lisht",
    "tanhexp",
    "elish",
    "hard_elish",
    "srs",
    "srs_senet",
    "pau",
    "hardswish",
    "hardsigmoid",
    "hardtanh",
    "gaussian",
    "sine",
    "cosine",
    "sinc",
    "sinlu",
]


@pytest.fixture(scope="module")
def values(harvey_data: Path) -> dict[str, dict[str, object]]:
    """Return the table of exact values, computed with 50 digits."""
    path = harvey_data.parent / VALUES
    if not path.exists():
        pytest.skip(f"needs {VALUES} beside the data")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture
def float64():
    """Build parameters in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_the_list_of_names_is_all_of_the_file_that_takes_one_number(values):
    assert {name for name, entry in values.items() if "x" in entry} == set(POINTWISE)


def tolerances(double: bool) -> dict[str, float]:
    # The file stores ten significant digits.
    return {"rtol": 1e-9, "atol": 2e-12} if double else {"rtol": 1e-5, "atol": 2e-6}


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("name", POINTWISE)
def test_values_and_slopes_are_those_of_the_specification(values, name, double, float64):
    entry = values[name]
    layer = build_activation(name, **entry["params"])
    x = torch.tensor(entry["x"], requires_grad=True)
    if not double:
        layer, x = layer.float(), torch.tensor(entry["x"], dtype=torch.float32, requires_grad=True)
    y = layer(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    close = tolerances(double)
    torch.testing.assert_close(y.double(), torch.tensor(entry["y"]), **close)
    for got, wanted in zip(slope.double(), entry["dy"], strict=True):
        if wanted is not None:
            torch.testing.assert_close(got, torch.tensor(wanted), **close)


@pytest.mark.parametrize("name", POINTWISE)
def test_the_slope_at_a_kink_lies_between_its_two_sides(values, name, float64):
    entry = values[name]
    layer = build_activation(name, **entry["params"])
    for kink in entry.get("kinks", []):
        x = torch.tensor([kink["x"]], requires_grad=True)
        (slope,) = torch.autograd.grad(layer(x).sum(), x)
        low, high = sorted((kink["left"], kink["right"]))
        assert low - 1e-9 <= float(slope) <= high + 1e-9


@pytest.mark.parametrize("name", POINTWISE)
def test_slopes_in_the_parameters_are_those_of_the_specification(values, name, float64):
    entry = values[name]
    base, preset = ALIASES.get(name, (name, {}))
    function = ACTIVATIONS[base]
    for parameter, wanted in (entry.get("dparams") or {}).items():
        if function.value is None:
            layer = build_activation(name, **entry["params"])
            (trained,) = layer.parameters()
            points = [layer(torch.tensor([x])) for x in entry["x"]]
        else:
            words = {key: preset.get(key, words[0]) for key, words in function.words.items()}
            numbers = {key: torch.tensor(each) for key, each in entry["params"].items()}
            trained = numbers[parameter].requires_grad_()
            points = [function.value(torch.tensor(x), **words, **numbers) for x in entry["x"]]
        for point, slope in zip(points, wanted, strict=True):
            if slope is None:
                continue
            (got,) = torch.autograd.grad(point.sum(), trained)
            torch.testing.assert_close(got.sum(), torch.tensor(slope), **tolerances(True))


@pytest.mark.parametrize("name", [name for name in POINTWISE if name != "abrelu"])
def test_the_file_and_the_table_agree_on_what_is_trained(values, name):
    trained = {
        n.split(".")[-2 if "original" in n else -1]
        for n, _ in build_activation(name).named_parameters()
    }
    if name == "prelu":
        trained = {"a"}
    assert trained == set(values[name]["learnable"])


@given(slope=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_parameters_reach_the_function(slope):
    layer = build_activation("leaky_relu", slope=slope)
    x = torch.tensor([-2.0, 3.0])
    assert torch.allclose(layer(x), torch.tensor([-2.0 * slope, 3.0]))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            Choice(name="rleu"),
            "unknown activation 'rleu' .*'relu'.*; choose one of: abrelu, abu, ada",
        ),
        (Choice(name="relu", parameters={"slope": 1}), "has no parameter 'slope'; it takes: none"),
        (
            Choice(name="leaky_relu", parameters={"slope": "steep"}),
            "slope must be a number, got 's",
        ),
        (Choice(name="ada", parameters={"alpha": 0.0}), "'ada': alpha must be above 0, got 0.0"),
        (Choice(name="ada", parameters={"alpha": -1}), "'ada': alpha must be above 0, got -1"),
        (Choice(name="pfplus", parameters={"mu": -0.5}), "mu must be at least 0, got -0.5"),
        (Choice(name="pdelu", parameters={"t": 1.0}), "t must be at least 0 and below 1, got 1.0"),
        (Choice(name="selu", parameters={"alpha": 2.0}), "alpha is fixed at 1.673"),
        (Choice(name="gaaf", parameters={"base": "tan"}), "base must be one of tanh, sigmoid"),
        (Choice(name="rowdy", parameters={"terms": 99}), r"within 1\.\.16, got 99"),
        (Choice(name="rowdy", parameters={"terms": 2, "a3": 0.1}), "has no parameter 'a3'"),
        (Choice(name="rowdy", parameters={"terms": 2.5}), "terms must be a whole number"),
        (Choice(name="rowdy", parameters={"terms": math.nan}), "terms must be a whole number"),
        (Choice(name="or_ail", parameters={"k": math.inf}), "k must be a whole number"),
        (Choice(name="pvlu", parameters={"alpha": math.nan}), "alpha must be a finite number"),
        (Choice(name="pvlu", parameters={"alpha": 1e300}), "alpha must be a finite number"),
        (Choice(name="l_laaf", parameters={"n": 1e-300}), "1 / n is needed, and n is 1e-300"),
        (Choice(name="pvlu", parameters={"learnable": "no"}), "learnable must be true or false"),
        (Choice(name="relu", parameters={"per": "channel"}), "no parameter 'per'; it takes: none"),
        (Choice(name="pvlu", parameters={"per": "row"}), "per must be one of layer, channel"),
        (Choice(name="prelu", parameters={"per": "pixel"}), "per: pixel is not possible"),
    ],
)
def test_a_wrong_activation_is_refused(choice, message):
    with pytest.raises(ConfigError, match=message):
        activation_maker(choice)(8)


@pytest.mark.parametrize("name", ["pvlu", "prelu", "abu"])
def test_each_site_has_as_many_numbers_as_per_says(name):
    sizes = {"layer": 1, "channel": 6}
    for per, size in sizes.items():
        make = activation_maker(Choice(name=name, parameters={"per": per}))
        one, other = make(6), make(6)
        assert all(each.numel() == size for each in one.parameters())
        assert not {id(each) for each in one.parameters()} & {
            id(each) for each in other.parameters()
        }


@pytest.mark.parametrize("name", ["ada", "gaaf", "prelu"])
def test_one_set_of_numbers_for_the_network_is_shared_by_all_sites(name):
    make = activation_maker(Choice(name=name, parameters={"per": "network"}))
    sites = torch.nn.ModuleList([make(4), make(8)])
    assert len(list(sites.parameters())) == 1
    assert all(isinstance(site, Activation) for site in sites)


@pytest.mark.parametrize("dim", [1, -1])
def test_numbers_per_channel_act_along_the_axis_of_the_channels(dim):
    layer = build_activation("pvlu", channels=3, dim=dim, per="channel")
    with torch.no_grad():
        layer.coefficients.alpha.copy_(torch.tensor([0.0, 1.0, 2.0]))
    x = torch.full((2, 3, 5, 3), -1.0)
    y = layer(x).movedim(dim, 0)
    for channel, alpha in enumerate((0.0, 1.0, 2.0)):
        assert torch.allclose(y[channel], torch.tensor(-alpha * math.sin(1.0)))


def test_fixed_functions_train_nothing():
    for name in ("vlu", "ada"):
        layer = build_activation(name, **({} if name == "vlu" else {"learnable": False}))
        assert not list(layer.parameters())
    frozen = build_activation("prelu", learnable=False)
    assert not any(each.requires_grad for each in frozen.parameters())


@given(steps=st.lists(st.floats(-50, 50), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_alpha_of_ada_stays_above_zero_whatever_the_optimiser_does(steps):
    layer = build_activation("ada")
    (raw,) = layer.parameters()
    for step in steps:
        with torch.no_grad():
            raw.add_(step)
        assert float(layer.coefficients.alpha.detach()) >= 0
        assert torch.isfinite(layer(torch.linspace(-5, 5, 11))).all()


@given(n=st.floats(0.5, 20))
@settings(max_examples=25, deadline=None)
def test_adaptive_functions_start_as_their_base(n):
    x = torch.linspace(-3, 3, 13)
    for name in ("gaaf", "l_laaf", "rowdy"):
        assert torch.allclose(build_activation(name, n=n, base="tanh")(x), torch.tanh(x), atol=1e-6)


def test_noise_is_drawn_in_training_only():
    x = torch.linspace(-2, 2, 50)
    for name in ("noisy_relu", "probact", "eelu"):
        layer = build_activation(name)
        assert not torch.equal(layer(x), layer(x))
        layer.eval()
        assert torch.equal(layer(x), layer(x))


def test_abrelu_cuts_at_the_average_of_its_input():
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert torch.equal(build_activation("abrelu")(x), torch.relu(x - 3))


def test_the_fractional_rectifier_of_order_nearly_zero_is_the_rectifier():
    x = torch.linspace(-3, 3, 61)
    layer = build_activation("fractional_relu", a=1e-6)
    torch.testing.assert_close(layer(x), torch.relu(x), rtol=1e-4, atol=1e-4)
    half = build_activation("fractional_relu", a=0.5)
    wanted = torch.sqrt(x.clamp(min=0)) / math.gamma(1.5)
    torch.testing.assert_close(half(x), wanted, rtol=1e-5, atol=1e-6)


def test_every_alias_names_a_row_and_parameters_that_it_has():
    for name, (base, preset) in ALIASES.items():
        assert base in ACTIVATIONS
        assert name not in ACTIVATIONS
        assert set(preset) <= {*parameter_names(base), *preset}
        build_activation(name)
