"""Spiking networks: neurons, norms for each time step, codings, sizes, what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from damagenet.config import make_settings
from damagenet.errors import ConfigError
from damagenet.inference import fused
from damagenet.recipe import ModelSettings, Recipe
from damagenet.training.checks import check_recipe
from models.classifier import Classifier
from models.factory import build_network
from models.spiking.coding import PoissonCoding
from models.spiking.head import VotingHead
from models.spiking.neurons import LeakyNeurons, surrogate
from models.spiking.norm import NormThroughTime
from models.spiking.rates import firing_rates
from models.spiking.sresnet import sresnet
from models.stages import stages

SMALL = {"name": "sresnet", "n": 1, "width": 4, "time_steps": 3}
MEAN, STD = (100.0, 110.0, 90.0), (40.0, 50.0, 60.0)


def network(**parameters: object) -> Classifier:
    torch.manual_seed(0)
    model = ModelSettings.model_validate({"architecture": SMALL | parameters})
    return build_network(model, pixel_mean=MEAN, pixel_std=STD, size_px=32)


def images(n: int = 4, size_px: int = 32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, 3, size_px, size_px), generator=generator, dtype=torch.uint8)


def settled(**parameters: object) -> Classifier:
    """Return a network in evaluation mode whose norms have seen a few batches."""
    net = network(**parameters)
    for _ in range(5):
        net(images())
    return net.eval()


def spikes_of(currents: list[float], **constants: float) -> list[float]:
    steps = [torch.tensor([current]) for current in currents]
    return LeakyNeurons(**{"leak": 1.0, "threshold": 1.0} | constants)(steps).tolist()


def test_the_published_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        features, count = sresnet(channels_in=3, size_px=32, make=None, time_steps=50)
    norms = [part for part in features.modules() if isinstance(part, NormThroughTime)]
    of_norms = sum(each.numel() for norm in norms for each in norm.parameters())
    size = sum(each.numel() for each in features.parameters())
    assert of_norms == 50 * 5_824
    assert size - of_norms + 10 * count == 2_242_656
    # A linear layer without bias for 10, 100 and 2 classes, and ten votes for each of 10.
    sizes = [size + outputs * count for outputs in (10, 100, 2, 10 * 10)]
    assert sizes == [2_533_856, 2_545_376, 2_532_832, 2_545_376]


def test_a_boosted_head_has_ten_votes_and_nothing_else_changes():
    with torch.device("meta"):
        plain, boosted = network(), network(boosting=True)
    extra = {name: each.shape for name, each in boosted.named_parameters()}
    for name, each in plain.named_parameters():
        shape = (10, *each.shape[1:]) if name.startswith("head.") else each.shape
        assert extra.pop(name) == shape
    assert not extra


def test_spikes_take_the_threshold_off_and_the_leak_takes_its_share():
    # 0.6, then 0.3 + 0.8 = 1.1 spikes and leaves 0.1, then 0.05 + 0.96 = 1.01 spikes.
    assert spikes_of([0.6, 0.8, 0.96, 0.99], leak=0.5) == [0, 1, 1, 0]
    assert spikes_of([2.5, 0.0, 0.0, 0.0]) == [1, 1, 0, 0]
    # Reaching the threshold is not passing it.
    assert spikes_of([2.0, 0.5], threshold=2.0) == [0, 1]


@given(current=st.floats(0, 1), steps=st.integers(1, 40))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_constant_current_without_leak_is_told_by_the_number_of_spikes(current, steps):
    assert abs(sum(spikes_of([current] * steps)) - int(steps * current)) <= 1


@pytest.mark.parametrize(
    ("u", "slope"), [(0.0, 0.3), (0.5, 0.15), (-0.5, 0.15), (1.0, 0.0), (-1.0, 0.0), (3.0, 0.0)]
)
@pytest.mark.parametrize("threshold", [1.0, 2.0])
def test_the_gradient_of_a_spike_is_a_hat(u, slope, threshold):
    assert float(surrogate(torch.tensor(u))) == pytest.approx(slope)
    current = torch.tensor([threshold * (u + 1)], requires_grad=True)
    LeakyNeurons(leak=0.5, threshold=threshold)([current]).sum().backward()
    assert float(current.grad) == pytest.approx(slope / threshold)


class PlainSpike(torch.autograd.Function):
    """One step of one threshold, as torch's own differentiation would need it."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        (u,) = ctx.saved_tensors
        return gradient * 0.3 * (1 - u.abs()).clamp(min=0)


@given(seed=st.integers(0, 999), leak=st.floats(0, 1), threshold=st.floats(0.25, 3))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_gradients_through_time_are_those_of_the_steps_written_out(seed, leak, threshold):
    generator = torch.Generator().manual_seed(seed)
    currents = torch.randn(6, 2, 3, dtype=torch.float64, generator=generator).mul_(2)
    weights = torch.randn(12, 3, dtype=torch.float64, generator=generator)
    ours, plain = (currents.clone().requires_grad_(True) for _ in range(2))
    spikes = LeakyNeurons(leak=leak, threshold=threshold)(ours.unbind())
    (spikes * weights).sum().backward()
    rest, steps = torch.zeros(2, 3, dtype=torch.float64), []
    for current in plain.unbind():
        voltage = leak * rest + current
        steps.append(PlainSpike.apply(voltage / threshold - 1))
        rest = voltage - threshold * steps[-1].detach()
    (torch.cat(steps) * weights).sum().backward()
    assert torch.equal(spikes, torch.cat(steps))
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-10, atol=1e-12)


def test_spikes_are_the_same_with_and_without_gradients():
    currents = [torch.randn(5, 7) * 2 for _ in range(6)]
    neurons = LeakyNeurons(leak=0.874, threshold=1.0)
    with_gradients = neurons(currents)
    with torch.inference_mode():
        assert torch.equal(neurons(currents), with_gradients)


def test_every_time_step_has_a_norm_of_its_own():
    norm = NormThroughTime(2, 3)
    steps = [torch.randn(8, 2, 4, 4) + 5 * step for step in range(3)]
    for out in norm(steps):
        assert out.mean().abs() < 1e-5
    assert [round(float(each.running_mean.mean()) * 10) for each in norm] == [0, 5, 10]
    assert {(each.eps, each.momentum) for each in norm} == {(1e-4, 0.1)}


@pytest.mark.parametrize("training", [True, False])
def test_layers_say_zero_or_one_before_the_block_input_is_added(training):
    net = settled(n=2).train(training)
    seen = []
    for part in net.modules():
        if isinstance(part, LeakyNeurons):
            part.register_forward_hook(lambda part, given, spikes: seen.append(spikes.unique()))
    net(images())
    assert len(seen) == 13
    assert all(set(values.tolist()) <= {0.0, 1.0} for values in seen)
    assert any(len(values) == 2 for values in seen)


@pytest.mark.parametrize("coding", ["direct", "poisson"])
def test_no_voltage_stays_from_one_call_to_the_next(coding):
    net = settled(coding=coding)
    with torch.inference_mode():
        first = net(images())
        torch.rand(5)
        net(images().flip(0))
        assert torch.equal(net(images()), first)


def test_direct_coding_is_what_the_same_picture_at_every_step_gives():
    stem = settled().features.stem
    pictures = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(stem.at_every_step(pictures), stem(pictures.repeat(3, 1, 1, 1)))


def test_what_a_chip_is_called_by_random_spikes_does_not_depend_on_its_neighbours():
    coding = PoissonCoding(4, 3, 8).eval()
    pictures = torch.randn(3, 3, 8, 8)
    together = coding(pictures).unflatten(0, (4, 3))
    torch.manual_seed(99)
    for number in range(3):
        assert torch.equal(coding(pictures[number : number + 1]), together[:, number])


def test_fixed_numbers_are_the_same_whatever_size_is_usual():
    pictures = torch.randn(2, 3, 8, 8)
    kept, drawn = (PoissonCoding(4, 3, size_px).eval() for size_px in (8, 16))
    assert torch.equal(kept(pictures), drawn(pictures))


def test_random_spikes_have_the_sign_and_half_the_size_of_the_picture():
    pictures = torch.tensor([-2.5, -1.0, 0.0, 0.5, 2.0]).repeat_interleave(400).view(1, 1, 40, 50)
    coding = PoissonCoding(50, 1, 40)
    torch.manual_seed(3)
    drawn = coding(pictures)
    assert set(drawn.unique().tolist()) == {-1.0, 0.0, 1.0}
    mean = drawn.mean(dim=0).flatten().view(5, 400).mean(dim=1)
    assert mean.tolist() == pytest.approx([-1, -0.5, 0, 0.25, 1], abs=0.02)
    torch.manual_seed(3)
    assert torch.equal(coding(pictures), drawn)
    assert not torch.equal(coding(pictures), drawn)


@pytest.mark.parametrize("coding", ["direct", "poisson"])
def test_keeping_less_for_backward_changes_no_bit(coding):
    nets = [network(coding=coding, checkpoint=checkpoint).train() for checkpoint in (False, True)]
    results = []
    for net in nets:
        torch.manual_seed(5)
        logits = net(images())
        logits.square().sum().backward()
        gradients = [each.grad for each in net.parameters()]
        results.append([logits, *gradients, *net.buffers()])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_bfloat16_leaves_voltages_and_gradients_of_spikes_in_single_precision():
    net = network(n=2).train()
    kinds = set()
    for part in net.modules():
        if isinstance(part, NormThroughTime):
            part.register_forward_hook(lambda part, steps, out: kinds.add(steps[0][0].dtype))
        if isinstance(part, LeakyNeurons):
            part.register_forward_hook(lambda part, given, spikes: kinds.add(spikes.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        loss = net(images()).float().square().sum()
    loss.backward()
    assert kinds == {torch.bfloat16, torch.float32}
    assert all(torch.isfinite(each.grad).all() for each in net.parameters())
    currents = [torch.randn(2, 3, requires_grad=True) for _ in range(4)]
    neurons = LeakyNeurons(leak=0.874, threshold=1.0)
    plain = torch.autograd.grad(neurons(currents).sum(), currents)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = torch.autograd.grad(neurons(currents).sum(), currents)
    assert all(torch.equal(one, other) for one, other in zip(plain, mixed, strict=True))


def test_a_boosted_head_says_the_mean_of_its_votes():
    head, features = VotingHead(6), torch.randn(5, 6)
    mean = nn.functional.linear(features, head.weight.mean(0)[None], head.bias.mean()[None])
    torch.testing.assert_close(head(features), mean)


def test_a_boosted_head_takes_the_weights_of_a_head_with_one_output():
    one, head, features = nn.Linear(6, 1), VotingHead(6), torch.randn(5, 6)
    head.load_state_dict(one.state_dict())
    torch.testing.assert_close(head(features), one(features))


def test_folding_norms_leaves_the_norms_of_time_steps_alone():
    net = settled()
    with torch.inference_mode():
        assert torch.equal(fused(net)(images()), net(images()))


def test_it_can_be_exported_for_any_number_of_chips():
    net = settled(time_steps=2, coding="poisson")
    any_number = (({0: torch.export.Dim.DYNAMIC},),)
    graph = torch.export.export(net, (images(3),), dynamic_shapes=any_number).module()
    for _ in range(2):
        assert torch.equal(graph(images(5)), net(images(5)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_runs_in_onnx(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    net, path = settled(time_steps=2), tmp_path / "sresnet.onnx"
    torch.onnx.export(net, (images(),), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    (found,) = session.run(None, {entry.name: images().numpy()})
    torch.testing.assert_close(torch.from_numpy(found), net(images()).detach(), rtol=0, atol=1e-5)


def test_its_stages_are_the_stem_and_three():
    assert [stage.name for stage in stages(network())] == ["stem", "stage1", "stage2", "stage3"]


def test_firing_rates_are_told_layer_by_layer():
    net = settled(n=2).train()
    rates = firing_rates(net, [images()])
    assert list(rates)[:3] == ["stem", "stage1.0.first", "stage1.0.second"]
    assert len(rates) == 13
    assert all(0 <= rate <= 1 for rate in rates.values())
    assert 0 < rates["stem"] < 1
    assert net.training
    assert firing_rates(nn.Identity(), [images()]) == {}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"time_steps": 0}, r"sresnet\.time_steps must be a whole number within 1\.\.50, got 0"),
        ({"leak": 1.2}, r"sresnet\.leak must be a number within 0\.0\.\.1\.0, got 1\.2"),
        ({"leak": -0.1}, r"within 0\.0\.\.1\.0, got -0\.1"),
        ({"threshold": 0}, r"sresnet\.threshold must be a number within 0\.001\.\.1000\.0, got 0"),
        ({"threshold": -1.0}, "got -1.0"),
        ({"coding": "rate"}, r"sresnet\.coding must be one of direct, poisson, got 'rate'"),
        ({"boosting": 10}, r"sresnet\.boosting must be one of False, True, got 10"),
        ({"stem_stride": 4}, r"within 1\.\.2, got 4"),
        ({"dropout": 0.5}, "'sresnet' has no parameter 'dropout'; it takes: n, width, time_steps"),
    ],
)
def test_a_wrong_parameter_is_refused(parameters, message):
    with pytest.raises(ConfigError, match=message):
        network(**parameters)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"architecture": SMALL, "activation": "gelu"}},
            r"model\.activation: 'sresnet' has no place for activation 'gelu': leave it out",
        ),
        (
            {"model": {"architecture": SMALL}, "training": {"precision": "16-mixed"}},
            r"training\.precision 16-mixed is not tested for .*'sresnet': choose 32 or bf16-mixed",
        ),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused_before_data_is_read(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_recipe(make_settings(Recipe, changes))


def test_narrow_networks_learn_from_whole_chips():
    # A stride inside their 1x1 convolutions would end the process, not the test.
    narrow = network(time_steps=2).train()
    narrow(images(2, 128)).sum().backward()
    gradients = [each.grad for each in narrow.parameters()]
    assert all(each is not None and each.isfinite().all() for each in gradients)
