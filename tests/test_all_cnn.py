"""The all convolutional networks: the paper's counts, what they compute, what they refuse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, ModelSettings
from models.activations import ACTIVATIONS, Activation, activation_maker
from models.all_cnn import REDUCTIONS, VARIANTS, all_cnn
from models.classifier import Classifier
from models.factory import build_network, check_model
from models.stages import stages

ALL_CNN, BASE = (
    {"A": 1_254_250, "B": 1_300_618, "C": 1_369_738},
    {
        "A": 839_242,
        "B": 885_610,
        "C": 954_730,
    },
)
"""Parameters with ten classes."""


def features(activation: str = "relu", **parameters: str | float) -> nn.Module:
    make = activation_maker(Choice(name=activation))
    made, count = all_cnn(channels_in=3, size_px=32, make=make, **parameters)
    assert count == 2 * parameters.get("width", 96)
    return made.eval()


def network(
    activation: str = "default", *, size_px: int = 32, **parameters: str | float
) -> Classifier:
    model = ModelSettings(
        architecture=Choice(name="all_cnn", parameters=parameters),
        activation=Choice(name=activation),
    )
    statistics = {"pixel_mean": (100, 110, 90), "pixel_std": (40, 50, 60)}
    return build_network(model, **statistics, size_px=size_px)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def count_with(classes: int, **parameters: str) -> int:
    """Count a network whose last layer is the paper's 1x1 convolution to its classes."""
    with torch.device("meta"):
        return count(features(**parameters)) + count(nn.Conv2d(192, classes, 1))


def images(size_px: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, size_px, size_px)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_every_network_of_the_paper_has_its_number_of_parameters(variant, reduce):
    expected = ALL_CNN if reduce in ("strided_conv", "convpool") else BASE
    assert count_with(10, variant=variant, reduce=reduce) == expected[variant]


@pytest.mark.parametrize(
    ("variant", "two_classes", "one_logit"),
    [("A", 1_252_706, 1_252_513), ("B", 1_299_074, 1_298_881), ("C", 1_368_194, 1_368_001)],
)
def test_two_classes_and_one_logit_have_193_parameters_a_class(variant, two_classes, one_logit):
    assert count_with(2, variant=variant) == two_classes
    with torch.device("meta"):
        assert count(network(variant=variant)) == one_logit


def test_the_head_is_the_last_1x1_convolution_averaged_over_the_picture():
    net = network(width=8).eval()
    as_convolution = nn.Conv2d(16, 1, 1)
    as_convolution.load_state_dict(
        {"weight": net.head.weight[:, :, None, None], "bias": net.head.bias}
    )
    with torch.no_grad():
        maps = net.features[:-2](net.normalise(images()))
        assert maps.shape == (2, 16, 8, 8)
        averaged = as_convolution(maps).mean((2, 3))
        torch.testing.assert_close(net(images()), averaged, rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    side=st.integers(16, 70),
    variant=st.sampled_from([*VARIANTS]),
    reduce=st.sampled_from([*REDUCTIONS]),
    extra_stage=st.booleans(),
)
def test_every_network_halves_the_picture_alike(side, variant, reduce, extra_stage):
    with torch.device("meta"):
        made = features(variant=variant, reduce=reduce, width=8, extra_stage=extra_stage)
        maps = made[:-2](torch.empty(1, 3, side, side))
    left = math.ceil(side / (8 if extra_stage else 4))
    assert maps.shape == (1, 16, left, left)


@pytest.mark.parametrize(("extra_stage", "seen_px"), [(False, 27), (True, 59)])
def test_a_feature_of_c_sees_27_px_and_59_px_with_a_further_stage(extra_stage, seen_px):
    made = features(width=8, extra_stage=extra_stage)
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    picture = torch.ones(1, 3, 96, 96, requires_grad=True)
    made[:-2](picture)[0, 0, 5, 5].backward()
    for axis in (0, 1):
        assert int(picture.grad[0, 0].any(dim=axis).sum()) == seen_px


def test_the_further_stage_leaves_the_others_as_they_are():
    with torch.device("meta"):
        plain, further = features(), features(extra_stage=True)
    assert count(further.stage3) == count(further) - count(plain) == 995_904
    assert {*plain.state_dict()} < {*further.state_dict()}


def test_dropout_stands_on_the_input_and_after_every_halving():
    made = features(width=8, extra_stage=True)
    rates = [layer.p for layer in made.modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.2, 0.5, 0.5, 0.5]
    without = features(width=8, input_dropout=0.0, dropout=0.0)
    picture = torch.randn(2, 3, 16, 16)
    assert torch.equal(without.train()(picture), without.eval()(picture))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_it_learns_with_every_activation(name):
    # Its channels divide by two and by three, as functions that join channels need.
    torch.manual_seed(0)
    net = network(name, size_px=16, variant="A", width=12)
    # Without batch norm, functions that grow faster than their input ask for a small one.
    net.head(net.features(0.1 * torch.randn(2, 3, 16, 16))).square().sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())
    assert sum(isinstance(module, Activation) for module in net.modules()) == 6


def test_its_stages_are_those_of_the_paper():
    assert [stage.name for stage in stages(network(width=8))] == ["stage1", "stage2", "last"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"variant": "D"}, "all_cnn.variant must be one of A, B, C, got 'D'"),
        ({"reduce": "max"}, "must be one of strided_conv, pool, strided_base, convpool, got 'max'"),
        ({"extra_stage": 1}, "all_cnn.extra_stage must be one of False, True, got 1"),
        ({"width": 4}, r"all_cnn.width must be a whole number within 8\.\.256, got 4"),
        ({"dropout": 1}, r"all_cnn.dropout must be a number within 0\.0\.\.0\.95, got 1"),
        ({"classes": 2}, "architecture 'all_cnn' has no parameter 'classes'; it takes: variant"),
    ],
)
def test_what_it_cannot_be_is_refused_when_the_recipe_is_read(parameters, message):
    architecture = Choice(name="all_cnn", parameters=parameters)
    with pytest.raises(ConfigError, match=r"^model\.architecture: .*" + message):
        check_model(ModelSettings(architecture=architecture))


def test_images_under_16_px_are_refused():
    with pytest.raises(ConfigError, match="at least 16 px on each side, got 15 x 15"):
        network(width=8)(images(15))
