"""Langevin optimisers: torch's steps without noise, and noise of the size that was asked for."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_tiles import make_recipe, make_tiles
from torch import nn
from torch.optim import SGD, Adadelta, Adam, RMSprop

from damagenet.config import make_settings
from damagenet.errors import ConfigError, EvaluationError
from damagenet.recipe import Choice, ModelSettings, Recipe
from damagenet.training.checks import check_recipe
from damagenet.training.lightning_module import DamageModule
from damagenet.training.train import train
from models.factory import build_network, outline
from models.langevin import LSGD, LAdadelta, LAdam, LAdam2, LRMSprop, Noise
from models.langevin.noise import SIGMA_SCHEDULES
from models.optimisers import build_optimizer, check_optimizer
from models.schedules import build_schedule

FIVE = {"l_adadelta": LAdadelta, "l_adam": LAdam, "l_adam2": LAdam2} | {
    "l_rmsprop": LRMSprop,
    "l_sgd": LSGD,
}
SILENT = Noise(sigma=0.0)


def small(seed=0):
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 1))
    return layers.to(memory_format=torch.channels_last)


def run(make, *, steps=6, seed=0):
    """Return the parameters after some steps on a made problem."""
    network = small()
    optimizer = make(network.parameters())
    batches = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        images = torch.randn(5, 3, 4, 4, generator=batches)
        optimizer.zero_grad()
        network(images).square().mean().backward()
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize(
    ("noisy", "plain"),
    [
        (
            lambda p: LSGD(p, noise=SILENT, lr=0.05, weight_decay=0.1),
            lambda p: SGD(p, lr=0.05, weight_decay=0.1),
        ),
        (
            lambda p: LRMSprop(p, noise=SILENT, lr=0.01, weight_decay=0.1),
            lambda p: RMSprop(p, lr=0.01, alpha=0.9, eps=1e-6, weight_decay=0.1),
        ),
        (
            lambda p: LAdam(p, noise=SILENT, lr=0.01, weight_decay=0.1),
            lambda p: Adam(p, lr=0.01, eps=1e-6, weight_decay=0.1),
        ),
        (
            lambda p: LAdadelta(p, noise=SILENT, lr=1.0, rho=0.95, weight_decay=0.1),
            lambda p: Adadelta(p, lr=1.0, rho=0.95, eps=1e-6, weight_decay=0.1),
        ),
    ],
)
def test_without_noise_the_steps_are_those_of_torch_to_the_bit(noisy, plain):
    assert torch.equal(run(noisy), run(plain))


def test_the_second_adam_goes_along_the_gradient_itself():
    weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    optimizer = LAdam2([weight], noise=SILENT, lr=0.1, beta1=0.9, beta2=0.99)
    expected, v = weight.detach().clone(), torch.zeros(3)
    for t, slope in enumerate(([0.3, -1.0, 2.0], [0.1, 0.4, -3.0], [0.0, 0.2, 1.0]), start=1):
        gradient = torch.tensor(slope)
        weight.grad = gradient.clone()
        optimizer.step()
        v = 0.99 * v + 0.01 * gradient**2
        root = (v / (1 - 0.99**t)).sqrt()
        expected -= 0.1 * gradient / ((1 - 0.9**t) * (1e-6 + root))
    assert torch.allclose(weight, expected, atol=1e-6)


def test_adadelta_accumulates_whole_steps_with_rate_and_noise():
    weight = nn.Parameter(torch.zeros(50))
    optimizer = LAdadelta([weight], noise=Noise(sigma=0.5, noise_seed=1), lr=0.2)
    weight.grad = torch.ones(50)
    optimizer.step()
    moved = optimizer.state[weight]["acc_delta"]
    assert torch.allclose(moved, 0.05 * weight.detach() ** 2)
    quiet = nn.Parameter(torch.zeros(1))
    plain = LAdadelta([quiet], noise=SILENT, lr=0.2)
    quiet.grad = torch.ones(1)
    plain.step()
    whole = 0.2 * math.sqrt(1e-6) / math.sqrt(0.05 + 1e-6)
    assert plain.state[quiet]["acc_delta"].item() == pytest.approx(0.05 * whole**2, rel=1e-4)


def preconditioned(name, squares):
    """Return an optimiser with zero gradient whose P after the next step is known, and that P."""
    weight = nn.Parameter(torch.zeros(20_000))
    weight.grad = torch.zeros(20_000)
    optimizer = FIVE[name]([weight], noise=Noise(sigma=0.3, noise_seed=3), lr=0.02)
    state = optimizer.state[weight]
    v = torch.full((20_000,), squares)
    if name == "l_sgd":
        return optimizer, weight, 1.0
    if name == "l_rmsprop":
        state |= {"step": torch.zeros(()), "square_avg": v}
        return optimizer, weight, 1 / (1e-6 + math.sqrt(0.9 * squares))
    if name == "l_adadelta":
        state |= {"square_avg": v, "acc_delta": torch.full((20_000,), 0.04)}
        return optimizer, weight, math.sqrt(0.04 + 1e-6) / math.sqrt(0.95 * squares + 1e-6)
    state |= {"step": torch.tensor(4.0), "exp_avg": torch.zeros(20_000), "exp_avg_sq": v}
    root = math.sqrt(0.999 * squares / (1 - 0.999**5))
    return optimizer, weight, 1 / ((1 - 0.9**5) * (1e-6 + root))


@pytest.mark.parametrize("name", sorted(FIVE))
@settings(max_examples=5, deadline=None)
@given(squares=st.floats(1e-4, 1e2))
def test_noise_has_the_deviation_sigma_times_the_root_of_rate_and_preconditioner(name, squares):
    optimizer, weight, preconditioner = preconditioned(name, squares)
    optimizer.step()
    expected = 0.3 * math.sqrt(0.02 * preconditioner)
    assert weight.std().item() == pytest.approx(expected, rel=0.02)
    assert abs(weight.mean().item()) < 0.03 * expected


def test_a_weight_without_slope_explodes_unless_the_preconditioner_is_capped():
    free, weight, _ = preconditioned("l_rmsprop", 0.0)
    free.param_groups[0] |= {"lr": 5e-3, "sigma": 5e-3}
    free.step()
    assert weight.std().item() == pytest.approx(0.35, abs=0.01)
    with torch.no_grad():
        weight.zero_()
    capped = LRMSprop([weight], noise=Noise(sigma=5e-3, max_precond=100.0), lr=5e-3)
    capped.step()
    assert weight.std().item() == pytest.approx(5e-3 * math.sqrt(5e-3 * 100), rel=0.03)


def test_neither_what_has_no_gradient_nor_what_is_frozen_gets_noise():
    idle, frozen, moved = (nn.Parameter(torch.zeros(4)) for _ in range(3))
    frozen.grad, moved.grad = torch.zeros(4), torch.zeros(4)
    frozen.requires_grad_(False)
    for kind in FIVE.values():
        kind([idle, frozen, moved], noise=Noise(sigma=1.0), lr=0.1).step()
    assert not idle.any()
    assert not frozen.any()
    assert moved.all()


@pytest.mark.parametrize("name", sorted(FIVE))
def test_the_same_seed_gives_the_same_noise_and_a_saved_state_goes_on_with_it(name):
    def loud(parameters, seed=5):
        return FIVE[name](parameters, noise=Noise(sigma=0.02, noise_seed=seed), lr=0.01)

    whole = run(loud, steps=6)
    assert torch.equal(whole, run(loud, steps=6))
    assert not torch.equal(whole, run(lambda p: loud(p, seed=6), steps=6))

    network = small()
    optimizer = loud(network.parameters())
    batches = torch.Generator().manual_seed(0)
    for number in range(6):
        if number == 3:
            saved = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
            network = small(seed=9)
            optimizer = loud(network.parameters(), seed=99)
            network.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])
        optimizer.zero_grad()
        network(torch.randn(5, 3, 4, 4, generator=batches)).square().mean().backward()
        optimizer.step()
    found = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    assert torch.equal(found, whole)


def test_a_copied_optimiser_keeps_its_noise():
    weight = nn.Parameter(torch.zeros(3))
    noise = Noise(sigma=0.7, sigma_schedule="step", steps=10)
    assert copy.deepcopy(LSGD([weight], noise=noise)).noise == noise


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("step", [1, 1, 0, 0, 0]),
        ("decay", [1 / math.sqrt(math.log(t / 40 + math.e)) for t in (0, 20, 40, 60, 79)]),
    ],
)
def test_sigma_follows_the_schedules_of_the_paper(schedule, expected):
    noise = Noise(sigma_schedule=schedule, change=0.5, steps=80)
    assert [noise.factor(t) for t in (0, 20, 40, 60, 79)] == pytest.approx(expected)


@pytest.mark.parametrize("schedule", sorted(SIGMA_SCHEDULES))
@settings(max_examples=20, deadline=None)
@given(change=st.floats(0.01, 1), steps=st.integers(1, 500))
def test_sigma_never_grows(schedule, change, steps):
    noise = Noise(sigma_schedule=schedule, change=change, steps=steps)
    factors = [noise.factor(taken) for taken in range(steps)]
    assert factors[0] == 1
    assert all(later <= earlier for earlier, later in pairwise(factors))


def test_the_rate_falls_to_its_half_as_the_paper_lowers_it():
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=8.0)
    choice = Choice(name="inverse_time", parameters={"halved": 0.5})
    schedule = build_schedule(choice, optimizer, steps=20)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([8 / (1 + t / 10) for t in range(20)])


def compact(**parameters):
    model = ModelSettings.model_validate(
        {"architecture": {"name": "compact_resnet", "width": 8}, "activation": "prelu"}
    )
    network = build_network(model, pixel_mean=(1, 1, 1), pixel_std=(1, 1, 1))
    choice = Choice(name="l_adam", parameters={"lr": 0.01, "sigma": 0.1, **parameters})
    return network, build_optimizer(choice, network, activation_lr=0.5, layer_decay=0.5, steps=10)


def noisy_names(**parameters):
    network, optimizer = compact(**parameters)
    noisy = {
        id(p) for group in optimizer.param_groups if group["sigma"] > 0 for p in group["params"]
    }
    return [name for name, p in network.named_parameters() if id(p) in noisy]


def test_the_first_share_of_the_layers_gets_noise():
    every = noisy_names()
    assert len(every) == len(list(compact()[0].parameters()))
    assert noisy_names(first_fraction=1.0) == every
    assert noisy_names(first_fraction=0.0) == []
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in every))
    third = noisy_names(first_fraction=0.3)
    assert third == [n for n in every if n.rpartition(".")[0] in layers[: int(0.3 * len(layers))]]
    assert third[:3] == ["features.stem.0.weight", "features.stem.1.weight", "features.stem.1.bias"]


def test_named_layers_get_noise_with_all_that_is_inside_them():
    assert noisy_names(layers="head") == ["head.weight", "head.bias"]
    two = noisy_names(layers="stem, stage2.0")
    assert {name.split(".")[1] for name in two} == {"stem", "stage2"}
    assert not any(name.startswith("features.stage2.1.") for name in two)


def test_groups_keep_their_rates_and_weight_decay_beside_the_noise():
    network, optimizer = compact(first_fraction=0.4, weight_decay=0.05)
    by_id = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    of = {name: by_id[id(p)] for name, p in network.named_parameters()}
    assert len(of) == sum(len(group["params"]) for group in optimizer.param_groups)
    kernel, shift = of["features.stem.0.weight"], of["features.stem.1.bias"]
    assert (kernel["lr"], kernel["weight_decay"], kernel["sigma"]) == (0.01 / 16, 0.05, 0.1)
    assert (shift["lr"], shift["weight_decay"], shift["sigma"]) == (0.01 / 16, 0.0, 0.1)
    head = of["head.weight"]
    assert (head["lr"], head["weight_decay"], head["sigma"]) == (0.01, 0.05, 0.0)
    site = next(group for name, group in of.items() if "stem.2." in name)
    assert (site["lr"], site["weight_decay"], site["sigma"]) == (0.5, 0.0, 0.1)


def test_layers_without_noise_take_exactly_the_plain_step():
    states = []
    for parameters in ({"first_fraction": 0.4}, {"sigma": 0.0}):
        torch.manual_seed(0)
        network, optimizer = compact(**parameters)
        images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
        network(images.float()).square().mean().backward()
        optimizer.step()
        states.append(dict(network.named_parameters()))
    noisy = set(noisy_names(first_fraction=0.4))
    same = {name for name in states[0] if torch.equal(states[0][name], states[1][name])}
    assert same == set(states[0]) - noisy


def test_processes_of_other_random_numbers_draw_the_same_noise():
    weights = []
    for disturbance in (0, 1):
        torch.manual_seed(7)
        weight = nn.Parameter(torch.zeros(9))
        optimizer = LSGD([weight], noise=Noise(sigma=1.0), lr=0.1)
        torch.manual_seed(disturbance)
        weight.grad = torch.zeros(9)
        optimizer.step()
        weights.append(weight)
    assert torch.equal(*weights)
    assert weights[0].all()


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ({"sigma": -1e-3}, r"sigma must be a number 0 or above, got -0\.001"),
        ({"sigma": "x"}, "sigma must be a number 0 or above, got 'x'"),
        ({"lr": 0}, "lr must be a number above 0, got 0"),
        ({"lr": -1}, "Invalid learning rate: -1"),
        ({"beta1": 1.0}, "beta1 must be a number within 0..1, below 1, got 1.0"),
        ({"beta2": -0.1}, "beta2 must be a number within 0..1, below 1, got -0.1"),
        ({"name": "l_rmsprop", "alpha": 1}, "alpha must be a number within 0..1, below 1, got 1"),
        ({"name": "l_adadelta", "rho": 1}, "rho must be a number within 0..1, below 1, got 1"),
        ({"name": "l_adadelta", "weight_decay": -1}, "weight_decay must be a number 0 or above"),
        ({"eps": 0}, "eps must be a number above 0, got 0"),
        ({"first_fraction": 1.2}, r"first_fraction must be a number within 0\.\.1, got 1\.2"),
        ({"first_fraction": 0.5, "layers": "stem"}, "both choose the layers: leave one out"),
        ({"layers": ""}, "layers must be names with commas between, got none"),
        ({"layers": "stem,stage9"}, "no layer 'stage9'; choose among: stem, stage1, stage2, sta"),
        ({"layers": "stem,"}, "no layer ''; choose among: stem"),
        ({"max_precond": 0}, "max_precond must be a number above 0, got 0"),
        ({"name": "l_sgd", "max_precond": 10}, "max_precond is without effect where P is 1"),
        ({"noise_seed": -1}, "noise_seed must be a number of 0 or above, a whole one, got -1"),
        ({"noise_seed": 0.5}, "noise_seed must be a number of 0 or above, a whole one, got 0.5"),
        ({"change": 0}, "change must be a number above 0 and at most 1, got 0"),
        ({"sigma_schedule": "stp"}, r"unknown sigma_schedule 'stp' \(did you mean 'step'\?\)"),
        ({"betas": 0.9}, "no parameter 'betas'; it takes: lr, beta1, beta2, eps, weight_decay, si"),
        ({"steps": 3}, "no parameter 'steps'"),
    ],
)
def test_wrong_noise_is_refused_before_data_is_read(optimizer, message):
    recipe = {
        "data": {"path": "nowhere"},
        "training": {"optimizer": {"name": "l_adam"} | optimizer},
    }
    with pytest.raises(ConfigError, match=r"training\.optimizer: .*" + message):
        check_recipe(make_settings(Recipe, recipe))


def test_optimisers_without_noise_take_no_sigma():
    with pytest.raises(ConfigError, match="optimizer 'adam' has no parameter 'sigma'"):
        check_optimizer(Choice(name="adam", parameters={"sigma": 0.1}))


def test_the_layers_of_a_backbone_are_known_without_its_weights():
    model = ModelSettings.model_validate({"architecture": "resnet18", "activation": "pvlu"})
    choice = Choice(name="l_sgd", parameters={"layers": "layer1,layer4.1"})
    assert build_optimizer(choice, outline(model), steps=1).param_groups
    wrong = Choice(name="l_sgd", parameters={"layers": "layer7"})
    with pytest.raises(ConfigError, match="no layer 'layer7'; choose among: conv1, bn1, "):
        build_optimizer(wrong, outline(model), steps=1)


def test_noise_for_layers_that_rest_is_refused():
    network = outline(ModelSettings())
    network.features.requires_grad_(False)
    recipe = {
        "model": {"architecture": {"name": "compact_resnet", "dropout": 0.2}, "weights": "harvey"},
        "training": {
            "transfer": "linear_probe",
            "optimizer": {"name": "l_sgd", "first_fraction": 0.5},
        },
    }
    with pytest.raises(ConfigError, match="none of the layers that shall get noise is trained"):
        check_recipe(make_settings(Recipe, recipe))
    whole = Choice(name="l_sgd", parameters={"sigma": 0.5})
    assert [group["sigma"] for group in build_optimizer(whole, network).param_groups] == [0.5] * 2


def test_a_schedule_of_sigma_needs_the_number_of_steps():
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer = LSGD([weight], noise=Noise(sigma_schedule="decay"))
    with pytest.raises(ConfigError, match="sigma_schedule 'decay' needs the number of steps"):
        optimizer.step()


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_gradients_that_are_not_finite_stop_the_training(broken):
    weight = nn.Parameter(torch.zeros(3))
    weight.grad = torch.tensor([0.0, 1.0, broken])
    optimizer = LSGD([weight], noise=Noise())
    with pytest.raises(EvaluationError, match="gradients of step 1 are not finite; lower the lea"):
        optimizer.step()
    assert not weight.any()


def test_sparse_gradients_are_refused():
    table = nn.Embedding(5, 2, sparse=True)
    table(torch.tensor([1, 3])).sum().backward()
    with pytest.raises(ConfigError, match="dense gradients only"):
        LSGD(table.parameters(), noise=Noise()).step()


def test_an_interrupted_training_with_noise_continues_to_the_same_weights(tmp_path, monkeypatch):
    class PowerCutError(Exception):
        pass

    def cut(module):
        if module.current_epoch == 1:
            raise PowerCutError

    optimizer = {
        "name": "l_adam",
        "lr": 0.01,
        "sigma": 0.01,
        "sigma_schedule": "decay",
        "first_fraction": 0.5,
    }
    recipe = make_recipe(
        optimizer=optimizer, schedule="inverse_time", average_weights=0.9, layer_decay=0.9
    )

    def trained(out):
        bundle = train(recipe, out, tiles=make_tiles(), progress=False)
        return bundle.card.weights_sha256

    with monkeypatch.context() as patch:
        patch.setattr(DamageModule, "on_train_epoch_start", cut)
        with pytest.raises(PowerCutError):
            trained(tmp_path / "cut")
    assert trained(tmp_path / "cut") == trained(tmp_path / "whole")
