import math

import pytest
import torch
from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice
from models.activations import activation_maker
from models.activations.moments import moments
from models.initialisers import check_initialiser, gain_of, initialise


def small_network(activation: Choice | None) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64)]
    if activation is not None:
        layers.append(activation_maker(activation)(64))
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(500))


def started(activation: Choice | None, init: Choice) -> nn.Sequential:
    network = small_network(activation)
    network(torch.zeros(1, 3, 9, 9))
    torch.manual_seed(1)
    initialise(network, init)
    return network


def test_he_starts_a_relu_network_with_the_very_weights_of_torch():
    network = started(Choice(name="relu"), Choice(name="he"))
    torch.manual_seed(1)
    for layer in (network[0], network[-1]):
        expected = nn.init.kaiming_normal_(torch.empty_like(layer.weight), nonlinearity="relu")
        assert torch.equal(layer.weight, expected)
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        (Choice(name="gcu"), 1.8349),
        (Choice(name="ada", parameters={"c": 1.0}), 1.0438),
        (Choice(name="prelu", parameters={"a": 0.0}), math.sqrt(2)),
        (None, math.sqrt(2)),
    ],
)
def test_he_scales_weights_by_the_gain_of_the_networks_own_activation(activation, gain):
    network = started(activation, Choice(name="he"))
    assert gain_of(network) == pytest.approx(gain, abs=5e-5)
    for layer in (network[0], network[-1]):
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() * math.sqrt(fan_in) == pytest.approx(gain, rel=0.06)


def test_the_scale_survives_many_layers_with_the_functions_own_gain():
    torch.manual_seed(0)
    make = activation_maker(Choice(name="tanh"))
    layers = [part for _ in range(12) for part in (nn.Linear(512, 512), make(512))]
    network = nn.Sequential(*layers, nn.Linear(512, 512))
    initialise(network, Choice(name="he"))
    assert network(torch.randn(256, 512)).square().mean().item() == pytest.approx(1, abs=0.1)


def test_a_function_that_takes_a_number_from_its_input_has_a_gain():
    assert gain_of(small_network(Choice(name="abrelu"))) == pytest.approx(math.sqrt(2), abs=5e-3)


def test_a_given_gain_comes_before_the_activations():
    network = started(Choice(name="gcu"), Choice(name="he", parameters={"gain": 0.5}))
    assert network[-1].weight.std().item() * math.sqrt(64 * 49) == pytest.approx(0.5, rel=0.01)


def test_xavier_keeps_its_gain():
    network = started(Choice(name="gcu"), Choice(name="xavier", parameters={"gain": 2.0}))
    torch.manual_seed(1)
    expected = nn.init.xavier_uniform_(torch.empty_like(network[0].weight), gain=2.0)
    assert torch.equal(network[0].weight, expected)


def test_default_keeps_what_torch_made():
    network = small_network(Choice(name="relu"))
    before = network[0].weight.clone()
    initialise(network, Choice(name="default"))
    assert torch.equal(network[0].weight, before)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (Choice(name="he", parameters={"gain": "relu"}), "gain must be a number above 0 or the"),
        (Choice(name="he", parameters={"gain": -1}), "above 0 or the word activation, got -1"),
        (Choice(name="xavier", parameters={"gain": 0}), "gain must be a number above 0, got 0"),
        (Choice(name="he", parameters={"network": 1}), "no parameter 'network'; it takes: gain"),
    ],
)
def test_an_unusable_gain_is_refused(init, message):
    with pytest.raises(ConfigError, match=message):
        check_initialiser(init)


def test_the_gain_is_that_of_the_given_parameters():
    plain, steep = moments("elu"), moments("elu", alpha=2.0)
    network = started(Choice(name="elu", parameters={"alpha": 2.0}), Choice(name="he"))
    assert gain_of(network) == steep.gain != plain.gain
