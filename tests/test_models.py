"""Networks: sizes, inputs they take and refuse, names they know."""

import math

import pytest
import torch
from torch import nn

from damagenet.errors import ConfigError
from damagenet.recipe import Choice, ModelSettings
from models.activations import ACTIVATIONS, Activation
from models.classifier import Classifier
from models.factory import ARCHITECTURES, build_network
from models.optimisers import build_optimizer, parameter_roles
from models.schedules import SCHEDULES, build_schedule, check_schedule

MEAN, STD = (100.0, 110.0, 90.0), (40.0, 50.0, 60.0)


def network(**settings: object) -> Classifier:
    return build_network(
        ModelSettings.model_validate(settings), pixel_mean=MEAN, pixel_std=STD
    ).eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def images(n: int = 2, size_px: int = 128) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size_px, size_px), generator=generator, dtype=torch.uint8)


def test_compact_resnet_has_under_a_million_parameters():
    assert count(network()) == 383_009


def test_cao_choe_has_the_published_number_of_parameters():
    at_150 = network(architecture={"name": "cao_choe", "size_px": 150})
    assert count(at_150) == 3_453_121
    assert count(network(architecture="cao_choe")) == 2_601_153
    assert at_150(images()).shape == (2, 1)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_uint8_and_float_pixels_give_the_same_logits(name):
    net = network(architecture=name)
    with torch.inference_mode():
        logits = net(images())
        assert logits.shape == (2, 1)
        assert torch.equal(logits, net(images().float()))


def test_the_first_layer_makes_zero_mean_and_unit_deviation():
    net = network()
    flat = torch.tensor(MEAN).view(1, 3, 1, 1) + torch.tensor(STD).view(1, 3, 1, 1)
    assert torch.allclose(net.normalise(flat.expand(1, 3, 64, 64)), torch.ones(1, 3, 64, 64))


def test_a_network_of_two_inputs_takes_two_images():
    net = build_network(ModelSettings(), pixel_mean=MEAN, pixel_std=STD, inputs=("post", "pre"))
    net.eval()
    assert net(images(), images()).shape == (2, 1)
    with pytest.raises(ConfigError, match=r"takes 2 image\(s\) a chip, got 1"):
        net(images())


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.zeros(3, 128, 128), r"must be \(N, 3, H, W\), got \(3, 128, 128\)"),
        (torch.zeros(1, 4, 128, 128), r"got \(1, 4, 128, 128\)"),
        (torch.zeros(0, 3, 128, 128), "batch is empty"),
        (torch.zeros(1, 3, 16, 128), "at least 32 px on each side, got 16 x 128"),
        (torch.zeros(1, 3, 128, 128, dtype=torch.int64), "uint8 or float in 0..255, got torch.int"),
    ],
)
def test_a_wrong_batch_is_refused_in_one_sentence(batch, message):
    with pytest.raises(ConfigError, match=message):
        network()(batch)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_every_activation_keeps_the_shape_and_trains(name):
    # Its channels divide by two and by three, as functions that join channels need.
    architecture = Choice(name="compact_resnet", parameters={"width": 24})
    model = ModelSettings(architecture=architecture, activation=Choice(name=name))
    net = build_network(model, pixel_mean=MEAN, pixel_std=STD, size_px=64)
    loss = net(images(size_px=64)).square().sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert net.head.weight.grad is not None


@pytest.mark.parametrize(("name", "first"), [("compact_resnet", 64), ("cao_choe", 126)])
def test_every_site_has_a_parameter_for_each_of_its_pixels(name, first):
    net = network(architecture=name, activation={"name": "pvlu", "per": "pixel"})
    sites = [module for module in net.modules() if isinstance(module, Activation)]
    assert next(sites[0].parameters()).shape == (32, first, first)
    with torch.inference_mode():
        assert net(images(1)).shape == (1, 1)


def test_a_network_with_parameters_per_pixel_refuses_images_of_another_size():
    with pytest.raises(ConfigError, match="one parameter per pixel was made for"):
        network(activation={"name": "pvlu", "per": "pixel"})(images(1, 64))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"architecture": "resnet"}, "unknown architecture 'resnet'; choose one of: .*compact_"),
        ({"architecture": {"name": "compact_resnet", "widht": 8}}, "no parameter 'widht'"),
        ({"architecture": {"name": "compact_resnet", "width": 9999}}, r"within 8\.\.256, got 9999"),
        ({"architecture": {"name": "compact_resnet", "width": 9.5}}, "must be a whole number"),
        ({"architecture": {"name": "compact_resnet", "dropout": 1.0}}, r"within 0\.0\.\.0\.95"),
        ({"init": "uniform"}, "unknown init 'uniform'; choose one of: autoinit, default, h"),
        ({"init": {"name": "xavier", "gian": 2}}, "no parameter 'gian'; it takes: gain"),
        ({"regulariser": "depth"}, "unknown regulariser 'depth'; choose one of: none"),
    ],
)
def test_a_wrong_model_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        network(**wrong)


def test_initialisers_start_biases_at_zero():
    torch.manual_seed(0)
    net = network(architecture="cao_choe", init="he")
    biases = [parameter for name, parameter in net.named_parameters() if name.endswith("bias")]
    assert len(biases) == 6
    assert all(not bias.any() for bias in biases)


def test_weight_decay_reaches_kernels_only_and_activations_have_their_own_rate():
    net = build_network(
        ModelSettings(activation=Choice(name="prelu")), pixel_mean=MEAN, pixel_std=STD
    )
    choice = Choice(name="adamw", parameters={"lr": 0.01, "weight_decay": 0.1})
    groups = build_optimizer(choice, net, activation_lr=0.5).param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (0.01, 0.1),
        (0.01, 0.0),
        (0.5, 0.0),
    ]
    roles = parameter_roles(net)
    assert all(parameter.ndim > 1 for parameter in roles.weights)
    assert len(roles.activations) == 9


def rates(schedule: Choice, *, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    made = build_schedule(schedule, optimizer, steps=steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made.step()
    return found


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_keeps_the_rate_positive_and_at_most_the_given_one(name):
    found = rates(Choice(name=name), steps=50)
    assert max(found) == pytest.approx(0.1)
    assert min(found) > 0
    # One keeps the rate, and one has lowered it to a third by then.
    assert name in {"constant", "inverse_time"} or found[-1] < 0.02


def test_a_cosine_without_warmup_starts_at_its_peak_and_takes_the_whole_way():
    found = rates(Choice(name="cosine", parameters={"warmup": 0}), steps=8)
    assert found == pytest.approx([0.05 * (1 + math.cos(math.pi * t / 8)) for t in range(8)])
    rising = rates(Choice(name="cosine", parameters={"warmup": 0.25}), steps=8)
    assert rising[:4] == pytest.approx([0.05, 0.1, 0.1, 0.05 * (1 + math.cos(math.pi / 6))])


def test_one_cycle_may_rise_for_no_step_or_one():
    for warmup in (0, 0.1):
        found = rates(Choice(name="one_cycle", parameters={"warmup": warmup}), steps=10)
        assert found[0] == max(found) == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("name", "parameter", "values"),
    [
        ("one_cycle", "div_factor", (0, -1, math.inf, math.nan)),
        ("one_cycle", "final_div_factor", (0, -1, math.inf, math.nan)),
        ("one_cycle", "warmup", (-0.1, 1, 1.1, math.nan)),
        ("inverse_time", "halved", (0, -1, math.inf, math.nan)),
        ("step", "gamma", (-0.1, math.inf, math.nan)),
        ("milestones", "gamma", (-0.1, math.inf, math.nan)),
    ],
)
def test_parameters_that_would_spoil_the_rate_are_refused_by_name(name, parameter, values):
    for value in values:
        choice = Choice(name=name, parameters={parameter: value})
        with pytest.raises(ConfigError, match=rf"parameter {parameter} must be .* got {value}"):
            check_schedule(choice)


def test_a_number_beyond_all_floats_is_refused():
    with pytest.raises(ConfigError, match="schedule 'one_cycle': int too large"):
        check_schedule(Choice(name="one_cycle", parameters={"div_factor": 10**400}))


def test_milestones_lower_the_rate_after_their_shares_of_the_steps():
    paper = Choice(name="milestones", parameters={"at": "0.3, 0.6, 0.8", "gamma": 0.2})
    expected = [0.1] * 60 + [0.02] * 60 + [0.004] * 40 + [0.0008] * 40
    assert rates(paper, steps=200) == pytest.approx(expected)
    once = Choice(name="milestones", parameters={"at": 0.5})
    assert rates(once, steps=4) == pytest.approx([0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(("at", "word"), [("0.3, half", "half"), ("0.3, 1", "1"), ("", ""), (0, 0)])
def test_milestones_beyond_the_training_are_refused(at, word):
    choice = Choice(name="milestones", parameters={"at": at})
    with pytest.raises(ConfigError, match=f"must hold shares between 0 and 1 .* got '{word}'"):
        check_schedule(choice)
