"""Functions that join channels inside the architectures: widths, refusals, training steps."""

import copy

import pytest
import torch
from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, ModelSettings
from models.activations import ACTIVATIONS, Activation, activation_maker, build_activation
from models.classifier import Classifier
from models.cnn import ResidualBlock, compact_resnet
from models.factory import build_network, check_model

JOINING = sorted(name for name, function in ACTIVATIONS.items() if function.width)
IN_THREES = [name for name in JOINING if name.startswith("and_or_xnor")]
SMALL = Choice(name="compact_resnet", parameters={"width": 12})
"""Its widths 12, 24 and 48 divide by all that operators ask for."""


def network(architecture: Choice, name: str, **parameters: float | str) -> Classifier:
    activation = Choice(name=name, parameters=parameters)
    model = ModelSettings(architecture=architecture, activation=activation)
    return build_network(model, pixel_mean=(100, 110, 90), pixel_std=(40, 50, 60))


def images(size_px: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, size_px, size_px)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "parameters", "entering", "leaving"),
    [
        ("or_ail", {}, 12, 6),
        ("or_ail", {"k": 3}, 12, 4),
        ("xnor_nil", {}, 12, 6),
        ("maxout", {"k": 4}, 12, 3),
        ("signed_geomean", {}, 12, 6),
        ("glu", {}, 12, 6),
        ("pynada", {}, 12, 6),
        ("crelu", {}, 12, 24),
        ("and_or_ail", {}, 12, 12),
        ("and_or_nail", {"k": 3}, 12, 8),
        ("or_xnor_il", {}, 12, 12),
        ("or_xnor_il", {"how": "partition"}, 12, 6),
        ("and_or_xnor_nil", {}, 12, 18),
        ("and_or_xnor_nil", {"k": 4}, 12, 9),
        ("and_or_xnor_nil", {"how": "partition"}, 12, 6),
        ("max_min", {"how": "partition", "k": 3}, 12, 4),
    ],
)
def test_widths_are_those_of_the_specification(name, parameters, entering, leaving):
    make = activation_maker(Choice(name=name, parameters=parameters))
    assert make.width(leaving) == entering
    features = torch.randn(2, entering, 5, 3)
    assert make(leaving)(features).shape == (2, leaving, 5, 3)
    last = build_activation(name, dim=-1, **parameters)(features.movedim(1, -1))
    torch.testing.assert_close(last.movedim(-1, 1), make(leaving)(features))


def test_only_functions_that_keep_every_width_say_so():
    keep = {name for name in JOINING if activation_maker(Choice(name=name)).keeps_width}
    pairs = ("and_or", "or_xnor")
    forms = ("il", "ail", "nil", "nail")
    assert keep == {"max_min", *(f"{pair}_{form}" for pair in pairs for form in forms)}


@pytest.mark.parametrize("name", JOINING)
def test_the_compact_network_learns_with_it(name):
    net = network(SMALL, name)
    before = copy.deepcopy(net.state_dict())
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    loss = net(images()).square().sum()
    loss.backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())
    optimiser.step()
    assert loss.isfinite()
    assert any(not torch.equal(before[key], each) for key, each in net.state_dict().items())
    sites = [site for site in net.modules() if isinstance(site, Activation)]
    assert len(sites) == 9


@pytest.mark.parametrize("name", [name for name in JOINING if name not in IN_THREES])
def test_the_network_of_cao_and_choe_learns_with_it(name):
    net = network(Choice(name="cao_choe", parameters={"size_px": 46}), name)
    net(images()).square().sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())
    wide = activation_maker(Choice(name=name)).width
    assert len(net.features.conv1.weight) == wide(32)
    assert len(net.features.dense.weight) == wide(512)


@pytest.mark.parametrize("name", ["or_ail", "and_or_nil", "pynada"])
def test_weights_go_through_a_state_dict_and_copies_agree(name):
    net = network(SMALL, name).eval()
    twin = network(SMALL, name).eval()
    twin.load_state_dict(net.state_dict())
    with torch.no_grad():
        expected = net(images())
        assert torch.equal(twin(images()), expected)
        assert torch.equal(copy.deepcopy(net)(images()), expected)


@pytest.mark.parametrize("name", ["or_ail", "crelu", "and_or_xnor_ail"])
def test_features_stay_channels_last(name):
    net = network(SMALL, name)
    kept = []

    def look(site: nn.Module, given: object, result: torch.Tensor) -> None:
        kept.append(result.is_contiguous(memory_format=torch.channels_last))

    for site in net.modules():
        if isinstance(site, Activation):
            site.register_forward_hook(look)
    net(images())
    assert kept == [True] * 9


def test_the_numbers_of_parameters_are_those_of_the_docs():
    compact, published = Choice(name="compact_resnet"), Choice(name="cao_choe")
    assert count(network(compact, "or_ail")) == 776_513
    assert count(network(compact, "and_or_ail")) == 383_009
    assert count(network(compact, "crelu")) == 194_225
    assert count(network(published, "or_ail")) == 5_201_793


def test_functions_of_one_channel_change_neither_names_nor_first_weights():
    torch.manual_seed(0)
    features, _ = compact_resnet(
        channels_in=3, size_px=64, make=activation_maker(Choice(name="relu"))
    )
    torch.manual_seed(0)
    first = nn.Conv2d(3, 32, 5, 2, padding=2, bias=False)
    second = nn.Conv2d(32, 32, 3, padding=1, bias=False)
    state = features.state_dict()
    assert torch.equal(state["stem.0.weight"], first.weight)
    assert torch.equal(state["stage1.residual.0.weight"], second.weight)
    assert not any(key.startswith("stage1.shortcut") for key in state)


def test_a_shortcut_that_no_longer_fits_becomes_a_projection():
    torch.manual_seed(0)
    block = ResidualBlock(8, 8, 1, activation_maker(Choice(name="or_ail")))
    features = torch.randn(2, 8, 6, 6)
    assert block(features).shape == features.shape
    summed = block.residual(features) + block.shortcut(features)
    assert summed.shape[1] == 16


@pytest.mark.parametrize(
    ("architecture", "activation", "message"),
    [
        (
            {"name": "compact_resnet", "width": 9},
            "and_or_ail",
            r"^model.activation: activation 'and_or_ail': how: duplicate of 2 operators gives "
            "channels in multiples of 2, and the architecture wants 9: 8 or 10 would fit$",
        ),
        (
            "compact_resnet",
            {"name": "and_or_xnor_il", "how": "partition"},
            "how: partition of 3 operators .* multiples of 3, .* wants 32: 30 or 33 would fit",
        ),
        ("cao_choe", "and_or_xnor_nail", "multiples of 3, .* wants 32: 30 or 33 would fit"),
        (
            {"name": "compact_resnet", "width": 9},
            "crelu",
            "a function that doubles .* wants 9: 8 or 10 would fit",
        ),
        ("compact_resnet", {"name": "maxout", "k": 1}, r"k must be .* within 2\.\.32, got 1"),
    ],
)
def test_widths_that_cannot_be_are_refused_before_anything_is_made(
    architecture, activation, message
):
    settings = {"architecture": architecture, "activation": activation}
    model = ModelSettings.model_validate(settings)
    state = torch.random.get_rng_state()
    with pytest.raises(ConfigError, match=message):
        check_model(model)
    with pytest.raises(ConfigError, match=message):
        build_network(model, pixel_mean=(1, 1, 1), pixel_std=(1, 1, 1))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_checking_a_model_draws_no_random_numbers():
    state = torch.random.get_rng_state()
    check_model(ModelSettings(activation=Choice(name="or_ail")))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_one_parameter_per_pixel_has_the_size_of_every_site():
    net = network(SMALL, "n_laaf", n=10)
    sites = [site for site in net.modules() if isinstance(site, Activation)]
    shapes = [tuple(site.function.coefficients.a.shape) for site in sites]
    assert shapes[:3] == [(12, 64, 64), (12, 32, 32), (12, 32, 32)]
    assert shapes[-1] == (48, 8, 8)
    assert net(images(128)).shape == (2, 1)
    with pytest.raises(ConfigError, match=r"made for \(12, 64, 64\), got \(12, 32, 32\)"):
        net(images(64))
