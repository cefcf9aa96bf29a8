"""Stochastic depth: its schedule, what rests and what learns, evaluation, weights, refusals."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchvision.models.resnet import Bottleneck

from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.inference import fused
from damagenet.recipe import Choice, ModelSettings, Recipe
from damagenet.training.checks import check_recipe
from models.activations import activation_maker
from models.classifier import Classifier
from models.cnn import ResidualBlock
from models.factory import build_network
from models.stochastic_depth import (
    ChanceSum,
    skips_layers,
    stochastic_depth,
    survivals,
    take_in_scaling,
    take_out_scaling,
)
from models.transfer.residual_blocks import BackboneBlock

SMALL = {
    "wide_resnet": {"depth": 16, "width": 1},
    "cifar_resnet": {"depth": 14, "width": 8},
    "compact_resnet": {"width": 8, "dropout": 0.0},
    "resnet18": {},
}
"""Each has at least four residual blocks."""


def network(name: str, *, activation: str = "default", **depth: object) -> Classifier:
    """Return the same start for every setting; without `depth`, no stochastic depth."""
    regulariser = {"name": "stochastic_depth", **depth} if depth else "none"
    model = ModelSettings.model_validate(
        {
            "architecture": {"name": name, **SMALL.get(name, {})},
            "activation": activation,
            "regulariser": regulariser,
        }
    )
    torch.manual_seed(0)
    return build_network(model, pixel_mean=(100, 110, 90), pixel_std=(40, 50, 60), size_px=32)


def images(n: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, 32, 32), generator=generator, dtype=torch.uint8)


def sums(net: nn.Module) -> list[ChanceSum]:
    return [part for part in net.modules() if isinstance(part, ChanceSum)]


def blocks(net: nn.Module) -> list[nn.Module]:
    return [part for part in net.modules() if isinstance(getattr(part, "join", None), ChanceSum)]


def test_the_chance_falls_in_a_straight_line_to_that_of_the_last_branch():
    chances = survivals(54, p_last=0.5, mode="linear")
    assert chances[0] == pytest.approx(0.99074, abs=5e-6)
    assert chances[-1] == 0.5
    assert sum(chances) == pytest.approx(40.25)
    assert survivals(3, p_last=0.7, mode="uniform") == [0.7, 0.7, 0.7]


@given(st.integers(1, 200), st.floats(0.01, 1.0))
def test_every_chance_lies_between_that_of_the_last_branch_and_1(blocks, p_last):
    chances = survivals(blocks, p_last=p_last, mode="linear")
    assert chances == sorted(chances, reverse=True)
    assert all(p_last - 1e-12 <= each <= 1 for each in chances)
    assert sum(chances) == pytest.approx(blocks - (blocks + 1) / 2 * (1 - p_last))


@pytest.mark.parametrize("name", SMALL)
def test_blocks_are_found_in_order_and_the_names_of_the_weights_stay(name):
    plain, net = network(name), network(name, p_last=0.2)
    found = [each.survival for each in sums(net)]
    expected = {"compact_resnet": 4, "wide_resnet": 6, "cifar_resnet": 6, "resnet18": 8}
    assert found == survivals(expected[name], p_last=0.2, mode="linear")
    assert list(net.state_dict()) == list(plain.state_dict())
    assert all(map(torch.equal, net.state_dict().values(), plain.state_dict().values()))


@pytest.mark.parametrize("draw", ["batch", "row"])
@pytest.mark.parametrize("name", SMALL)
def test_with_a_chance_of_1_training_is_that_of_the_plain_network_to_the_bit(name, draw):
    after = []
    for net in (network(name), network(name, p_last=1.0, draw=draw)):
        net.train()
        torch.manual_seed(3)
        loss = net(images()).square().sum()
        loss.backward()
        # The numbers drawn later, as by a dropout, are the same too.
        after.append([loss, torch.rand(2), *(each.grad for each in net.parameters())])
        after[-1] += net.state_dict().values()
    assert all(map(torch.equal, *after))


@pytest.mark.parametrize("name", SMALL)
def test_a_branch_that_rests_is_neither_computed_nor_trained(name):
    net = network(name, p_last=0.5).train()
    for join in sums(net):
        join.survival = 1.0
    for number in (1, 3):
        sums(net)[number].survival = 1e-12
    before = copy.deepcopy(net.state_dict())
    net(images()).square().sum().backward()
    for number, block in enumerate(blocks(net)):
        layers = [*block.residual.parameters()]
        assert layers
        assert all((each.grad is None) == (number in (1, 3)) for each in layers)
    rested = {id(value) for number in (1, 3) for value in blocks(net)[number].residual.buffers()}
    for key, value in net.named_buffers():
        if key.endswith("running_mean"):
            assert torch.equal(value, before[key]) == (id(value) in rested)


def test_a_resting_branch_does_not_stop_what_lies_below_from_learning():
    net = network("resnet18", p_last=1e-12, mode="uniform").train()
    net(images()).square().sum().backward()
    assert net.features.backbone.conv1.weight.grad.any()


@pytest.mark.parametrize("scaling", ["test", "train"])
@pytest.mark.parametrize("name", SMALL)
def test_evaluation_takes_every_branch_by_its_chance_or_whole(name, scaling):
    net = network(name, p_last=0.5, scaling=scaling).eval()
    for block in blocks(net):
        seen = []
        with block.join.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given)):
            net(images())
        branch, features, carried = seen[0]
        factor = block.join.survival if scaling == "test" else 1.0
        torch.testing.assert_close(block.join(*seen[0]), factor * branch(features) + carried)


@pytest.mark.parametrize("draw", ["batch", "row"])
def test_the_mean_over_training_passes_is_the_evaluated_branch(draw):
    torch.manual_seed(0)
    features, carried = torch.randn(2, 8, 3, 4, 4)
    join = ChanceSum(0.6, draw=draw, scaling="train").train()
    passes = torch.stack([join(torch.tanh, features, carried) for _ in range(4000)])
    evaluated = join.eval()(torch.tanh, features, carried)
    # Four standard errors of a mean of 4,000 draws of 0 or 1 / 0.6.
    assert (passes.mean(0) - evaluated).abs().max() < 4 * (0.4 / 0.6 / 4000) ** 0.5


def test_a_batch_has_one_draw_and_rows_have_their_own():
    features, carried = torch.ones(64, 1, 1, 1), torch.zeros(64, 1, 1, 1)
    torch.manual_seed(0)
    for draw, values in (("batch", 1), ("row", 2)):
        join = ChanceSum(0.5, draw=draw, scaling="test").train()
        for _ in range(5):
            assert len(join(torch.exp, features, carried).unique()) == values


@pytest.mark.parametrize("draw", ["batch", "row"])
def test_draws_repeat_with_the_seed(draw):
    net = network("cifar_resnet", p_last=0.3, draw=draw).train()
    seen = []
    for seed in (1, 1, 2, 3, 4):
        torch.manual_seed(seed)
        with torch.no_grad():
            seen.append(net(images()))
    assert torch.equal(seen[0], seen[1])
    assert not all(torch.equal(seen[0], each) for each in seen[2:])


@pytest.mark.parametrize("name", SMALL)
def test_folded_batch_norms_compute_the_same(name):
    net = network(name, p_last=0.5)
    net.train()(images())
    net.eval()
    folded = fused(net)
    with torch.inference_mode():
        torch.testing.assert_close(folded(images()), net(images()), rtol=1e-4, atol=1e-5)


def test_evaluation_of_a_backbone_is_exported():
    net = network("resnet18", p_last=0.5).eval()
    program = torch.export.export(net, (images(),))
    torch.testing.assert_close(program.module()(images()), net(images()))


def test_evaluation_runs_in_onnx(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    block = ResidualBlock(3, 4, 2, activation_maker(Choice(name="relu")))
    net = nn.Sequential(block).eval()
    stochastic_depth(net, p_last=0.5)
    # The shortcut averages 9 positions of a side to 5.
    features = torch.randn(2, 3, 9, 9)
    path = tmp_path / "network.onnx"
    torch.onnx.export(net, (features,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: features.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net(features).detach())


@pytest.mark.parametrize("name", ["resnet34", "resnext50_32x4d", "wide_resnet50_2"])
def test_other_resnets_of_torchvision_have_16_blocks(name):
    with torch.device("meta"):
        assert len(sums(network(name, p_last=0.5))) == 16


def test_a_bottleneck_computes_what_it_did():
    block, features = Bottleneck(64, 16), torch.rand(2, 64, 8, 8)
    assert torch.equal(BackboneBlock(copy.deepcopy(block))(features), block(features))


def test_swapped_activations_stay_in_the_blocks():
    plain = network("resnet18", activation="gelu")
    net = network("resnet18", activation="gelu", p_last=1.0)
    assert list(net.state_dict()) == list(plain.state_dict())
    with torch.inference_mode():
        assert torch.equal(plain.train()(images()), net.train()(images()))


@pytest.mark.parametrize("scaling", ["test", "train"])
@pytest.mark.parametrize("name", SMALL)
def test_weights_move_between_a_plain_network_and_this_one(name, scaling):
    plain = network(name)
    plain.train()(images())
    net = network(name, p_last=0.4, scaling=scaling).eval()
    net.load_state_dict(plain.state_dict())
    take_out_scaling(net)
    with torch.inference_mode():
        expected = plain.eval()(images())
        torch.testing.assert_close(net(images()), expected, rtol=1e-4, atol=1e-5)
    take_in_scaling(net)
    torch.testing.assert_close([*net.parameters()], [*plain.parameters()])


def test_only_a_draw_for_a_batch_leaves_layers_without_a_gradient():
    assert skips_layers(network("compact_resnet", p_last=0.5))
    assert not skips_layers(network("compact_resnet", p_last=0.5, draw="row"))
    assert not skips_layers(network("compact_resnet", p_last=1))
    assert not skips_layers(network("compact_resnet"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"p_last": 0}, "p_last must be a number above 0 and at most 1, got 0"),
        ({"p_last": 1.01}, r"p_last must be a number above 0 and at most 1, got 1\.01"),
        ({"p_last": -0.5}, r"p_last must be a number above 0 and at most 1, got -0\.5"),
        ({"p_last": float("nan")}, "p_last must be a number above 0 and at most 1, got nan"),
        ({"p_last": True}, "p_last must be a number above 0 and at most 1, got True"),
        ({"p_last": "half"}, "p_last must be a number, got 'half'"),
        ({"mode": "cosine"}, "mode must be linear or uniform, got 'cosine'"),
        ({"draw": "pixel"}, "draw must be batch or row, got 'pixel'"),
        ({"scaling": 2}, r"scaling must be test or train, got 2"),
        ({"p": 0.5}, "no parameter 'p'; it takes: p_last, mode, draw, scaling"),
        (
            {"architecture": "cao_choe"},
            "'cao_choe': it has no residual blocks that are known: choose",
        ),
        ({"architecture": "vgg11"}, "'vgg11': it has no residual blocks that are known: choose"),
        ({"architecture": "efficientnet_lite0"}, "'efficientnet_lite0': it has no residual blocks"),
    ],
)
def test_a_wrong_setting_is_refused_when_the_recipe_is_read(model, message):
    architecture = model.pop("architecture", "wide_resnet")
    regulariser = {"name": "stochastic_depth", **model}
    settings = {"model": {"architecture": architecture, "regulariser": regulariser}}
    with pytest.raises(ConfigError, match=rf"model\.regulariser.*{message}"):
        check_recipe(make_settings(Recipe, settings))


def test_a_network_without_residual_blocks_is_refused():
    with pytest.raises(ConfigError, match="found no residual blocks in Sequential: choose an arch"):
        stochastic_depth(nn.Sequential(nn.Linear(2, 2)))
