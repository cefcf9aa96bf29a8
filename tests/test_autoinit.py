"""AutoInit as a whole: what it draws, what it refuses, and what becomes of signals."""

import logging
import math

import pytest
import torch
from made_tiles import make_recipe, make_tiles
from torch import nn
from torchvision import models as nets

from damagenet.bundle import load_bundle
from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.recipe import Choice, ModelSettings, Recipe
from damagenet.training.train import train
from models.activations import activation_maker
from models.autoinit import AutoInit, autoinit, walk
from models.autoinit.draws import LEFT
from models.autoinit.signal import STANDARD, Signal
from models.compatibility import refusal
from models.factory import ARCHITECTURES, build_network, check_model

IMAGE = torch.empty(1, 3, 32, 32)
MEAN, STD = (100.0, 110.0, 90.0), (40.0, 50.0, 60.0)
STARTED = [
    name for name, row in sorted(ARCHITECTURES.items()) if not refusal("autoinit", row.family)
]


def model(**values):
    return ModelSettings.model_validate({"init": "autoinit", **values})


def convolutions(*between):
    return nn.Sequential(nn.Conv2d(3, 96, 3), *between, nn.Conv2d(96, 128, 3))


def started(network, *, seed=0, example=IMAGE, **options):
    torch.manual_seed(seed)
    autoinit(network, [example], AutoInit(**options))
    return network


@pytest.mark.parametrize("relu", [nn.ReLU(), activation_maker(Choice(name="relu"))(96)])
def test_weights_behind_a_relu_are_those_of_he(relu):
    network = started(convolutions(relu))
    fan_in = 96 * 9
    assert network[-1].weight.var().item() == pytest.approx(2 / fan_in, rel=0.02)
    assert network[0].weight.var().item() == pytest.approx(1 / 27, rel=0.05)
    assert not network[0].bias.any()
    assert not network[-1].bias.any()


@pytest.mark.parametrize("distribution", ["truncated_normal", "normal", "uniform", "orthogonal"])
def test_every_distribution_has_the_asked_variance(distribution):
    network = started(convolutions(nn.Tanh()), distribution=distribution, signal_variance=4)
    entering = walk(network, [IMAGE], AutoInit(signal_variance=4)).signals["1"]
    asked = 4 / (96 * 9 * entering.second)
    weight = network[-1].weight.detach()
    assert weight.var().item() == pytest.approx(asked, rel=0.02)
    highest = weight.abs().max().item() / math.sqrt(asked)
    limits = {"truncated_normal": 2 / LEFT, "uniform": math.sqrt(3)}
    if distribution in limits:
        assert highest == pytest.approx(limits[distribution], abs=0.01)
    if distribution == "orthogonal":
        rows = weight.flatten(1)
        gram = rows @ rows.T
        assert torch.allclose(gram, torch.eye(128) * asked * 96 * 9, atol=1e-5)


def test_orthogonal_columns_of_a_widening_layer_keep_the_variance():
    network = started(nn.Linear(16, 64), example=torch.empty(1, 16), distribution="orthogonal")
    assert network.weight.square().mean().item() == pytest.approx(1 / 16, rel=1e-4)


def test_groups_of_channels_have_the_fan_in_of_a_group():
    network = started(nn.Sequential(nn.Conv2d(3, 512, 1), nn.Conv2d(512, 512, 3, groups=512)))
    assert network[1].weight.var().item() == pytest.approx(1 / 9, rel=0.05)


def test_the_same_seed_gives_the_same_weights_and_the_walk_draws_none():
    one, again, other = (started(convolutions(nn.MaxPool2d(2)), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one[-1].weight, again[-1].weight)
    assert not torch.equal(one[-1].weight, other[-1].weight)
    network = convolutions(nn.MaxPool2d(2), nn.RReLU(), nn.Dropout())
    before = torch.get_rng_state()
    walk(network, [IMAGE], AutoInit())
    assert torch.equal(torch.get_rng_state(), before)


def test_thirty_dense_layers_of_tanh_keep_the_variance():
    width = 384
    parts = [part for _ in range(30) for part in (nn.Linear(width, width), nn.Tanh())]
    network = started(nn.Sequential(*parts), example=torch.empty(1, width))
    features = torch.randn(64, width)
    with torch.no_grad():
        for part in network:
            features = part(features)
            if isinstance(part, nn.Linear):
                assert features.var().item() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("name", ["silu", "squ", "or_ail", "and_or_xnor_il", "rrelu", "softmax"])
def test_two_layers_keep_the_variance_with_any_function(name):
    width, make = 510, activation_maker(Choice(name=name))
    found = []
    for seed in range(6):
        network = nn.Sequential(
            nn.Linear(width, make.width(width)),
            make(width),
            nn.Linear(width, make.width(width)),
        )
        started(network, seed=seed, example=torch.empty(1, width))
        with torch.no_grad():
            found.append(network(torch.randn(128, width)).var())
    assert torch.stack(found).mean().item() == pytest.approx(1, abs=0.05)


def test_batch_norm_starts_the_signal_anew():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Sigmoid(), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
    found = walk(network, [IMAGE], AutoInit(signal_variance=9, input_mean=4))
    assert found.signals["0"] == Signal(0, 9)
    assert found.signals["2"] == STANDARD
    assert found.draws[1].variance == pytest.approx(9 / 72)


def test_a_layer_that_runs_twice_keeps_the_weights_of_its_first_run():
    layer = nn.Linear(64, 64)
    found = walk(nn.Sequential(layer, nn.ReLU(), layer), [torch.empty(1, 64)], AutoInit())
    assert [draw.variance for draw in found.draws] == [1 / 64]
    assert found.signals[""].variance == pytest.approx(0.5)


@pytest.mark.parametrize("name", STARTED)
@pytest.mark.parametrize("activation", ["default", "maxout", "selu"])
def test_every_architecture_starts_with_logits_of_the_target_variance(name, activation):
    settings = model(architecture=name, activation=activation)
    torch.manual_seed(0)
    network = build_network(settings, pixel_mean=MEAN, pixel_std=STD)
    found = walk(network, [torch.empty(1, 3, 128, 128)], AutoInit())
    layers = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert {id(draw.weight) for draw in found.draws} == {id(layer.weight) for layer in layers}
    assert found.signals["normalise"] == STANDARD
    assert found.signals["head"] == pytest.approx(found.signals["head"])
    assert found.signals[""].variance == pytest.approx(1)
    assert found.unknown == []


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "swin_t"])
def test_backbones_are_followed_without_a_gap(name):
    network = nets.get_model(name, weights=None)
    found = walk(network, [torch.empty(1, 3, 64, 64)], AutoInit(strict=True))
    layers = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    assert len(found.draws) == len(layers)
    assert found.signals[""].variance == pytest.approx(1)


def test_attention_of_torch_starts_its_own_weights_too():
    layer = nn.MultiheadAttention(64, 4, batch_first=True).eval()

    class Looking(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, tokens):
            return self.layer(tokens, tokens, tokens, need_weights=False)[0]

    found = walk(Looking(), [torch.empty(1, 16, 64)], AutoInit(strict=True))
    assert [
        draw.weight is weight
        for draw, weight in zip(
            found.draws, (layer.in_proj_weight, layer.out_proj.weight), strict=True
        )
    ] == [True, True]
    started(layer_network := Looking(), example=torch.empty(1, 16, 64))
    with torch.no_grad():
        assert layer_network(torch.randn(256, 16, 64)).var().item() == pytest.approx(1, abs=0.15)


class Deciding(nn.Module):
    def forward(self, images):
        return images if images.sum() > 0 else -images


class Flipped(nn.Module):
    def forward(self, images):
        return torch.fft.fft(images).real


@pytest.mark.parametrize(
    ("between", "options", "message"),
    [
        (Deciding(), {}, "cannot follow Sequential, which may decide by the values"),
        (nn.Hardtanh(2, 2.0000001), {}, "variance .* in '1'.* cannot be started by"),
        (nn.Threshold(99, 1), {}, "at mean 1 in '1', which weights cannot be"),
        (nn.Dropout(1.0), {}, "a dropout of 1 leaves nothing"),
        (Flipped(), {"strict": True}, "there is no rule for fft_fft, and strict is true"),
    ],
)
def test_what_cannot_be_started_is_refused_before_any_weight_is_drawn(between, options, message):
    network = convolutions(between)
    before = [parameter.clone() for parameter in network.parameters()]
    with pytest.raises(ConfigError, match=message):
        autoinit(network, [IMAGE], AutoInit(**options))
    for parameter, was in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, was)


def test_numbers_beyond_all_limits_are_refused():
    class Growing(nn.Module):
        def forward(self, images):
            return torch.exp(images.mul(100))

    with pytest.raises(ConfigError, match="variance nan at mean inf"):
        walk(Growing(), [IMAGE], AutoInit())


def test_a_function_without_a_rule_is_passed_by_with_one_warning(caplog):
    network = convolutions(Flipped(), Flipped())
    with caplog.at_level(logging.WARNING):
        autoinit(network, [IMAGE], AutoInit())
    said = [record.message for record in caplog.records]
    assert len(said) == 1
    assert "no rule for fft_fft" in said[0]


def test_a_layer_that_the_network_does_not_run_is_warned_of(caplog):
    class Resting(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

        def forward(self, images):
            return self.used(images)

    with caplog.at_level(logging.WARNING):
        autoinit(Resting(), [IMAGE], AutoInit())
    assert "does not reach 1 layers, as spare, which keep the start" in caplog.text


@pytest.mark.parametrize(
    ("activation", "warned"), [("gelu", True), ("tanh", False), ("relu", False)]
)
def test_an_activation_that_loses_the_variance_is_warned_of(activation, warned, caplog):
    with caplog.at_level(logging.WARNING):
        build_network(model(activation=activation), pixel_mean=MEAN, pixel_std=STD)
    assert ("activation gelu: an error of the variance grows 1.14-fold" in caplog.text) == warned


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"distribution": "cauchy"}, "distribution: input should be 'truncated_normal', 'normal'"),
        ({"signal_variance": 0}, "signal_variance: input should be greater than 0, got 0"),
        ({"input_var": -1}, "input_var: input should be greater than 0"),
        ({"input_mean": "inf"}, "input_mean: input should be less than inf"),
        ({"monte_carlo": 10}, "monte_carlo: input should be greater than or equal to 1000"),
        ({"strict": "perhaps"}, "strict: input should be a valid boolean"),
        ({"distribtion": "normal"}, r"did you mean 'distribution'\?"),
    ],
)
def test_a_wrong_parameter_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        check_model(model(init={"name": "autoinit", **values}))


def test_a_constant_activation_is_refused_before_data_is_read(tmp_path):
    constant = {"name": "abu"} | {f"w_{each}": 0 for each in ("tanh", "elu", "relu", "id", "swish")}
    recipe = make_settings(
        Recipe,
        {"data": {"path": "nowhere"}, "model": {"init": "autoinit", "activation": constant}},
    )
    with pytest.raises(ConfigError, match=r"model.init: variance 0 .* 'features.stem.2'"):
        train(recipe, tmp_path / "out", progress=False)


def test_given_weights_are_not_drawn_anew(tmp_path):
    changes = {"model": {"init": "autoinit", "weights": "harvey"}}
    recipe = make_settings(Recipe, {"training": {"transfer": "finetune"}, **changes})
    with pytest.raises(ConfigError, match=r"init is 'autoinit' but model\.weights already gives"):
        train(recipe, tmp_path / "out", progress=False)


def test_a_network_that_is_started_so_trains_and_comes_back_from_its_bundle(tmp_path):
    recipe = make_recipe(epochs=1)
    settings = recipe.model.model_copy(update={"init": Choice(name="autoinit")})
    recipe = recipe.model_copy(update={"model": settings})
    bundles = [train(recipe, tmp_path / name, tiles=make_tiles(), progress=False) for name in "ab"]
    assert bundles[0].card.weights_sha256 == bundles[1].card.weights_sha256
    assert load_bundle(bundles[0].folder).card.model.init.name == "autoinit"
