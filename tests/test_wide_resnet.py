"""Wide residual networks and the residual network of 6 N + 2 layers: counts, blocks, refusals."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.recipe import Choice, ModelSettings, Recipe
from damagenet.training.checks import check_recipe
from models.activations import activation_maker
from models.cifar_resnet import PlainShortcut, cifar_resnet
from models.classifier import Classifier
from models.factory import build_network
from models.wide_resnet import WideBlock, wide_resnet

BOTH = ("cifar_resnet", "wide_resnet")
RELU = activation_maker(Choice(name="relu"))


def parameters(architecture, classes: int, **shape: int) -> int:
    """Return the number of parameters with a head of so many classes, as papers count them."""
    with torch.device("meta"):
        features, count = architecture(channels_in=3, size_px=32, make=RELU, **shape)
        return sum(each.numel() for each in [*features.parameters()]) + (count + 1) * classes


def network(name: str, activation: str = "relu", **shape: float) -> Classifier:
    model = ModelSettings(
        architecture=Choice(name=name, parameters=shape), activation=Choice(name=activation)
    )
    return build_network(model, pixel_mean=(100, 110, 90), pixel_std=(40, 50, 60)).eval()


def images(size_px: int, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size_px, size_px), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("depth", "width", "ten", "hundred", "two"),
    [
        (40, 4, 8_949_210, 8_972_340, 8_947_154),
        (16, 8, 10_961_370, 11_007_540, 10_957_266),
        (28, 10, 36_479_194, 36_536_884, 36_474_066),
        (16, 4, 2_748_890, 2_772_020, 2_746_834),
        (28, 2, 1_467_610, 1_479_220, 1_466_578),
        (16, 2, 691_674, 703_284, 690_642),
        (40, 10, 55_841_754, 55_899_444, 55_836_626),
    ],
)
def test_wide_residual_networks_have_the_published_numbers_of_parameters(
    depth, width, ten, hundred, two
):
    found = [parameters(wide_resnet, each, depth=depth, width=width) for each in (10, 100, 2)]
    assert found == [ten, hundred, two]


def test_the_narrowest_and_shallowest_has_77850_parameters_and_no_first_projection():
    assert parameters(wide_resnet, 10, depth=10, width=1) == 77_850
    first = network("wide_resnet", depth=10, width=1).features.group1[0]
    assert isinstance(first.shortcut, nn.Identity)


@pytest.mark.parametrize(("depth", "ten"), [(110, 1_732_010), (152, 2_414_090), (1202, 19_466_090)])
def test_networks_of_6n_plus_2_layers_have_the_published_numbers_of_parameters(depth, ten):
    assert parameters(cifar_resnet, 10, depth=depth) == ten


@pytest.mark.parametrize(("name", "count"), [("wide_resnet", 690_513), ("cifar_resnet", 269_825)])
def test_our_head_has_one_logit(name, count):
    assert sum(each.numel() for each in network(name).parameters()) == count


def test_a_block_with_a_silent_second_convolution_is_its_shortcut():
    features = torch.randn(2, 8, 6, 6)
    block = WideBlock(8, 8, 1, RELU, dropout=0.0)
    nn.init.zeros_(block.residual[-1].weight)
    assert torch.equal(block(features), features)
    wider = WideBlock(8, 16, 2, RELU, dropout=0.0).eval()
    nn.init.zeros_(wider.residual[-1].weight)
    assert torch.equal(wider(features), wider.shortcut(wider.shared(features)))


def test_branch_and_projection_share_the_first_activation_where_widths_differ():
    wider, alike = WideBlock(8, 16, 1, RELU, 0.0), WideBlock(8, 8, 1, RELU, 0.0)
    assert [type(each).__name__ for each in wider.shared] == ["BatchNorm2d", "Activation"]
    assert isinstance(wider.residual[0], nn.Conv2d)
    assert isinstance(alike.shared, nn.Identity)
    assert isinstance(alike.residual[0], nn.BatchNorm2d)


def test_dropout_draws_in_training_only():
    net = network("wide_resnet", depth=10, width=1, dropout=0.5)
    with torch.no_grad():
        assert torch.equal(net(images(32)), net(images(32)))
        block = net.features.group1[0].train()
        features = torch.randn(2, 16, 8, 8)
        assert not torch.equal(block(features), block(features))


def test_the_plain_shortcut_averages_and_appends_zeros():
    features = torch.randn(2, 3, 8, 8)
    carried = PlainShortcut(2, 3)(features)
    assert torch.equal(carried[:, :3], nn.functional.avg_pool2d(features, 2))
    assert carried.shape == (2, 6, 4, 4)
    assert not carried[:, 3:].any()
    assert not [*PlainShortcut(2, 3).parameters()]


@given(side=st.integers(16, 45), name=st.sampled_from([*BOTH, "compact_resnet"]))
@settings(max_examples=12, deadline=None)
def test_any_side_will_do_and_odd_ones_are_rounded_up(side, name):
    shape = {"compact_resnet": {"width": 8}, "wide_resnet": {"depth": 10, "width": 1}}
    shapes = shape | {"cifar_resnet": {"depth": 8, "width": 8}}
    side += 16 if name == "compact_resnet" else 0
    with torch.no_grad():
        assert network(name, **shapes[name])(images(side)).shape == (2, 1)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("activation", ["or_ail", "crelu", "max_min", "pvlu"])
def test_any_activation_fits_and_learns(name, activation):
    shape = {"depth": 10, "width": 1} if name == "wide_resnet" else {"depth": 8, "width": 8}
    net = network(name, activation, **shape).train()
    net(images(32)).square().sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())


@pytest.mark.parametrize("name", BOTH)
def test_a_stem_of_stride_2_halves_every_side(name):
    sides = []
    for stride in (1, 2):
        net = network(name, stem_stride=stride)
        net.features.pool.register_forward_pre_hook(
            lambda _, given: sides.append(given[0].shape[-1])
        )
        with torch.no_grad():
            net(images(64))
    assert sides == [16, 8]


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(("stride", "smallest"), [(1, 16), (2, 32)])
def test_images_that_leave_less_than_4_positions_a_side_are_refused(name, stride, smallest):
    net = network(name, stem_stride=stride)
    with torch.no_grad():
        assert net(images(smallest)).shape == (2, 1)
    with pytest.raises(ConfigError, match=f"must be at least {smallest} px on each side, got"):
        net(images(smallest - 1))


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (
            {"name": "wide_resnet", "depth": 15},
            r"depth must be one of 10, 16 \.\.\. 1204 .* got 15",
        ),
        ({"name": "wide_resnet", "depth": 4}, r"depth must be one of 10, 16 \.\.\. 1204 .* got 4"),
        ({"name": "wide_resnet", "depth": 16.0}, r"depth must be one of 10, .* got 16\.0"),
        (
            {"name": "cifar_resnet", "depth": 21},
            r"depth must be one of 8, 14 \.\.\. 1202 .* got 21",
        ),
        ({"name": "wide_resnet", "width": 0}, r"width must be a whole number within 1\.\.32"),
        ({"name": "wide_resnet", "width": 1.5}, r"width must be a whole number within 1\.\.32"),
        ({"name": "wide_resnet", "dropout": 1.0}, r"dropout must be a number within 0\.0\.\.0\.95"),
        ({"name": "wide_resnet", "stem_stride": 3}, r"stem_stride must be a whole number within 1"),
        ({"name": "wide_resnet", "stem_stride": True}, "stem_stride must be a whole number"),
        ({"name": "cifar_resnet", "dropout": 0.1}, "no parameter 'dropout'; it takes: depth, wid"),
    ],
)
def test_a_shape_that_cannot_be_is_refused_when_the_recipe_is_read(architecture, message):
    recipe = make_settings(Recipe, {"model": {"architecture": architecture}})
    with pytest.raises(ConfigError, match=rf"model\.architecture: architecture .*{message}"):
        check_recipe(recipe)
