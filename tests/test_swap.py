"""Swapping activations: which calls are found, what takes their place, what is refused."""

import copy

import pytest
import torch
from swapping import bits, images, maker, operations, outputs, placed, pvlu_at_zero
from torch import nn
from torch.nn import functional as F
from torchvision import models

from damagenet.recipe import ModelSettings
from models.activations import Activation
from models.factory import build_network
from models.swap import activation_sites, swap_activations


class Mixed(nn.Module):
    """Activations in every form that networks write."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.relu = nn.ReLU(inplace=True)
        self.bias = nn.Parameter(torch.full((8, 1, 1), 0.5))
        self.drop = 0.5

    def forward(self, x, shortcut=None):
        x = self.relu(self.conv(x))
        if shortcut is not None:
            x = x + shortcut
        x = self.relu(x - self.bias)
        x = F.leaky_relu(x - 0.1, 0.2)
        x = (x - 0.1).relu() + torch.relu(x)
        x = F.dropout(x, self.drop, training=self.training)
        gate = x.mean((2, 3), keepdim=True).sigmoid()
        return F.gelu(x * gate)


def mixed() -> Mixed:
    torch.manual_seed(0)
    return Mixed().eval()


def paths(network, batch, **options):
    return [site.path for site in activation_sites(network, batch, **options)]


def test_a_site_says_where_it_stands_and_what_it_sees():
    sites = activation_sites(models.resnet18(), images(64))
    assert len(sites) == 17
    assert [site.path for site in sites][:4] == [
        "relu",
        "layer1.0.relu",
        "layer1.0.relu_2",
        "layer1.1.relu",
    ]
    last = sites[-1]
    assert (last.path, last.kind, last.function) == ("layer4.1.relu_2", "module", "relu")
    assert (last.channels, last.dim, last.shape, last.ceiling) == (512, 1, (512, 2, 2), None)


def test_modules_functions_and_methods_are_found_and_gates_are_not():
    found = [(site.path, site.kind) for site in activation_sites(mixed(), images(8))]
    assert found == [
        ("relu", "module"),
        ("relu_2", "module"),
        ("leaky_relu", "functional"),
        ("relu_3", "method"),
        ("relu_4", "functional"),
        ("gelu", "functional"),
    ]


def test_listing_or_swapping_leaves_statistics_modes_and_random_numbers_as_they_were():
    network = models.mobilenet_v3_small()
    network.features[1].eval()
    state = copy.deepcopy(network.state_dict())
    modes = {name: module.training for name, module in network.named_modules()}
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    activation_sites(network, images(64))
    swap_activations(network, maker("hardswish"), example=images(64))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    now = {name: module.training for name, module in network.named_modules()}
    assert {name: now[name] for name in modes} == modes


def test_every_call_of_one_module_gets_parameters_of_its_own():
    network = swap_activations(mixed(), pvlu_at_zero(per="layer"), example=images(8))
    assert len(placed(network)) == 6
    network.relu_2.function.coefficients.alpha.data.fill_(1.0)
    assert network.relu.function.coefficients.alpha == 0
    assert {"relu.function.coefficients.alpha", "relu_4.function.coefficients.beta"} <= set(
        network.state_dict()
    )


def test_one_module_listed_several_times_becomes_several():
    relu = nn.ReLU(inplace=True)
    network = nn.Sequential(nn.Linear(4, 6), relu, nn.Linear(6, 8), relu, nn.Linear(8, 2)).eval()
    batch = torch.randn(3, 4)
    before = outputs(network, batch)
    swap_activations(network, pvlu_at_zero(per="channel"), example=batch)
    assert [each.function.coefficients.alpha.numel() for each in placed(network)] == [6, 8]
    assert torch.equal(outputs(network, batch), before)


def test_a_block_that_runs_twice_shares_its_activation_as_it_shares_its_weights():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

        def forward(self, x):
            return self.block(self.block(x))

    network = swap_activations(Twice(), pvlu_at_zero(), example=torch.zeros(1, 4))
    assert len(placed(network)) == 1


def test_activations_that_a_block_keeps_in_a_list_are_replaced_in_the_list():
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
            self.acts = nn.ModuleList(nn.SiLU() for _ in range(2))

        def forward(self, x):
            for layer, act in zip(self.layers, self.acts, strict=True):
                x = act(layer(x))
            return x

    network = swap_activations(Listed(), maker("gcu"), example=torch.zeros(1, 4))
    assert all(isinstance(act, Activation) for act in network.acts)
    assert type(network) is Listed


def test_nothing_is_overwritten_any_more():
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(3, 2, 1))
    swap_activations(network, maker("relu"), example=images(8))
    batch = images(8)
    network(batch)
    assert torch.equal(batch, images(8))


def test_dropout_in_a_rewritten_forward_follows_the_mode():
    batch = images(8)
    reference = mixed()
    network = mixed()
    for function in ("relu", "leaky_relu", "gelu"):
        parameters = {"slope": 0.2} if function == "leaky_relu" else {}
        swap_activations(network, maker(function, **parameters), example=batch, kinds=[function])
    assert torch.equal(outputs(network, batch), outputs(reference, batch))
    assert torch.equal(outputs(network, batch), outputs(network, batch))
    dropped = []
    for each in (network.train(), reference.train()):
        torch.manual_seed(3)
        dropped.append(each(batch))
    assert torch.equal(*dropped)
    assert not torch.equal(dropped[0], outputs(reference, batch))


def test_classes_and_attributes_of_rewritten_blocks_stay():
    network = models.resnet18()
    block, repr_before = network.layer2[0], type(network.layer2[0]).__name__
    swap_activations(network, maker("silu"), example=images(64))
    assert network.layer2[0] is block
    assert isinstance(block, models.resnet.BasicBlock)
    assert (type(block).__name__, block.stride) == (repr_before, 2)


def test_the_head_is_what_stands_behind_the_pooling():
    assert paths(models.mobilenet_v3_small(), images(64), where="head") == ["classifier.1"]
    assert paths(models.alexnet(), images(64), where="head") == ["classifier.2", "classifier.5"]


@pytest.mark.parametrize("size_px", [32, 64])
def test_the_last_stage_has_the_last_resolution(size_px):
    found = paths(models.resnet18(), images(size_px), where="last_stage")
    assert found == [f"layer4.{block}.{name}" for block in (0, 1) for name in ("relu", "relu_2")]


def test_the_last_stage_of_a_transformer_is_its_last_quarter():
    network = models.VisionTransformer(32, 8, 8, 2, 16, 32)
    found = paths(network, images(32), where="last_stage")
    assert found == [f"encoder.layers.encoder_layer_{number}.mlp.1" for number in (6, 7)]


def test_only_the_chosen_part_changes_and_names_do_not_depend_on_the_choice():
    network = models.resnet18()
    swap_activations(network, pvlu_at_zero(), example=images(64), where="last_stage")
    assert len(placed(network)) == 4
    whole = swap_activations(models.resnet18(), pvlu_at_zero(), example=images(64))
    assert set(network.state_dict()) < set(whole.state_dict())
    swap_activations(network, pvlu_at_zero(), example=images(64))
    assert set(network.state_dict()) == set(whole.state_dict())


def test_kinds_choose_functions_and_name_gates():
    network = models.mobilenet_v3_small()
    assert len(activation_sites(network, images(64), kinds=["relu"])) == 14
    before = operations(network, images(64), training=False)
    swap_activations(network, maker("sigmoid"), example=images(64), kinds=["hardsigmoid"])
    after = operations(network, images(64), training=False)
    assert before["hardsigmoid"] == after["sigmoid"] == 9
    assert after["hardsigmoid"] == 0
    assert after["relu"] == before["relu"]


def test_channels_lie_last_behind_linear_layers():
    network = models.VisionTransformer(32, 8, 2, 2, 16, 24)
    swap_activations(network, maker("pfplus", per="channel"), example=images(32))
    assert [site.function.coefficients.shape for site in placed(network)] == [(24,), (24,)]
    assert outputs(network, images(32)).shape == (2, 1000)


def test_one_parameter_per_pixel_gets_the_size_at_every_site():
    network = swap_activations(models.resnet18(), pvlu_at_zero(per="pixel"), example=images(64))
    shapes = [site.function.coefficients.shape for site in placed(network)]
    assert shapes[0] == (64, 32, 32)
    assert shapes[-1] == (512, 2, 2)
    outputs(network, images(64))


def test_our_own_networks_are_swapped_whatever_they_hold():
    settings = ModelSettings.model_validate({"activation": "tanh"})
    network = build_network(settings, pixel_mean=(100, 100, 100), pixel_std=(50, 50, 50)).eval()
    pixels = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    weights = [key for key in network.state_dict() if "coefficients" not in key]
    assert {site.function for site in activation_sites(network, pixels)} == {"tanh"}
    swap_activations(network, pvlu_at_zero(), example=pixels)
    assert len(placed(network)) == 9
    assert [key for key in network.state_dict() if "coefficients" not in key] == weights
    assert network(pixels).shape == (1, 1)


def test_a_copy_is_independent_and_a_second_swap_fits_the_same_weights():
    network = swap_activations(mixed(), maker("pvlu"), example=images(8))
    copied = copy.deepcopy(network)
    expected = outputs(network, images(8))
    for each in placed(network):
        each.function.coefficients.alpha.data.zero_()
    assert torch.equal(outputs(copied, images(8)), expected)
    assert not torch.equal(outputs(network, images(8)), expected)
    again = swap_activations(mixed(), maker("pvlu"), example=images(8))
    again.load_state_dict(network.state_dict())
    assert torch.equal(outputs(again, images(8)), outputs(network, images(8)))


@pytest.mark.parametrize("build", [mixed, models.resnet18])
def test_torch_compiles_and_exports_what_was_swapped(build):
    network = swap_activations(build(), pvlu_at_zero(), example=images(32)).eval()
    expected = outputs(network, images(32))
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.equal(outputs(compiled, images(32)), expected)
    exported = torch.export.export(network, (images(32),))
    with torch.no_grad():
        assert torch.equal(bits(exported.module()(images(32))), bits(expected))


def test_arguments_that_nobody_gives_keep_their_defaults_and_given_ones_are_passed_on():
    class Around(nn.Module):
        def __init__(self, shortcut: float | None) -> None:
            super().__init__()
            self.inner = mixed()
            self.shortcut = shortcut

        def forward(self, x):
            if self.shortcut is None:
                return self.inner(x)
            return self.inner(x, shortcut=self.shortcut * x.mean())

    for shortcut in (None, 7.0):
        before = outputs(Around(shortcut), images(8))
        swapped = swap_activations(
            Around(shortcut), maker("relu"), example=images(8), kinds=["relu"]
        )
        assert torch.equal(outputs(swapped, images(8)), before)
