"""Capsules: how they squash, route and go backwards without stored activations."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from damagenet.errors import ConfigError
from models.capsules.momentum import MomentumNet
from models.capsules.routing import AGREEMENTS, CapsuleLayer, lengths, scaled_distance, squash

CAPSULES = (6, 8)
BOTH = pytest.mark.parametrize("routing", sorted(AGREEMENTS))


def capsules(n: int = 3, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return squash(torch.randn(n, *CAPSULES, generator=generator, dtype=dtype))


def layer(routing: str = "rba", **options: float) -> CapsuleLayer:
    torch.manual_seed(0)
    return CapsuleLayer(CAPSULES, CAPSULES, routing=routing, spread=0.5, **options)


def net(steps: int, *, gamma: float = 0.9, reversible: bool = True, routing: str = "rba"):
    torch.manual_seed(0)
    layers = [CapsuleLayer(CAPSULES, CAPSULES, routing=routing, spread=0.5) for _ in range(steps)]
    return MomentumNet(layers, gamma=gamma, reversible=reversible)


@given(st.floats(0, 50), st.floats(0, 50))
@settings(max_examples=30, deadline=None)
def test_a_squashed_length_is_below_one_and_grows_with_the_vector(one, other):
    direction = torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64)
    short, long = (squash(size * direction) for size in sorted((one, other)))
    assert lengths(short) <= lengths(long) < 1
    assert lengths(long) == pytest.approx(max(one, other) ** 2 / (1 + max(one, other) ** 2))
    assert torch.allclose(long, lengths(long) * direction)


def test_the_zero_vector_stays_zero_and_gives_no_nan():
    zero = torch.zeros(2, 3, requires_grad=True)
    result = squash(zero)
    lengths(result).sum().backward()
    assert not result.any()
    assert torch.equal(zero.grad, torch.zeros(2, 3))


@BOTH
def test_couplings_sum_to_one_over_the_outputs(routing):
    made = layer(routing)
    couplings = made.couplings(made.votes(capsules()))
    assert couplings.shape == (3, 6, 6)
    assert torch.allclose(couplings.sum(dim=2), torch.ones(3, 6))
    assert couplings.std() > 1e-4


@BOTH
def test_one_iteration_couples_all_outputs_alike(routing):
    made = layer(routing, iterations=1)
    assert torch.allclose(made.couplings(made.votes(capsules())), torch.tensor(1 / 6))


def test_routing_by_agreement_is_that_of_the_paper():
    made, given_capsules = layer(iterations=2), capsules(1)
    weight = made.weight.detach().view(6, 8, 6, 8)
    votes = torch.stack(
        [torch.stack([given_capsules[0, i] @ weight[i, :, j] for j in range(6)]) for i in range(6)]
    )
    first = squash(votes.sum(dim=0) / 6)
    agreed = (votes * first).sum(dim=-1)
    expected = squash((agreed.softmax(dim=1).unsqueeze(2) * votes).sum(dim=0))
    assert torch.allclose(made(given_capsules)[0], expected, atol=1e-6)


@BOTH
def test_only_the_last_iteration_carries_a_gradient(routing):
    made, given_capsules = layer(routing), capsules().requires_grad_()
    couplings = made.couplings(made.votes(given_capsules.detach()))
    together = torch.einsum("nij,nijp->njp", couplings, made.votes(given_capsules))
    offset = 0 if made.offset is None else made.offset
    own = torch.autograd.grad(lengths(made(given_capsules)).sum(), [*made.parameters()])
    fixed = torch.autograd.grad(lengths(squash(together + offset)).sum(), [*made.parameters()])
    assert all(torch.allclose(one, other) for one, other in zip(own, fixed, strict=True))


def test_a_vote_at_half_the_mean_distance_gets_nine_tenths():
    # Distances to four outputs at the origin, 1 in the mean over both capsules.
    distances = torch.tensor([[0.5, 1.0, 1.0, 1.0], [1.5, 1.0, 1.0, 1.0]])
    votes = torch.zeros(1, 2, 4, 3)
    votes[0, :, :, 0] = distances
    logits = scaled_distance(torch.zeros(1, 2, 4), votes, torch.zeros(1, 4, 3))
    assert logits.softmax(dim=2)[0, 0] == pytest.approx([0.9, *3 * [0.1 / 3]], abs=1e-6)


def test_by_scaled_distance_no_vote_is_longer_than_its_capsule_and_an_offset_is_trained():
    made = layer("sda")
    votes = made.votes(capsules())
    assert (lengths(votes) <= lengths(capsules()).unsqueeze(2) + 1e-6).all()
    assert torch.equal(made.offset.detach(), torch.full(CAPSULES, 0.1))
    assert torch.isfinite(made(torch.zeros(2, *CAPSULES))).all()


@BOTH
def test_capsules_do_not_depend_on_the_other_images_of_a_batch(routing):
    made = layer(routing)
    assert torch.allclose(made(capsules())[1:2], made(capsules()[1:2]), atol=1e-6)


def test_unknown_routing_and_no_iteration_are_refused():
    with pytest.raises(ConfigError, match="unknown routing 'em'; choose one of: rba, sda"):
        layer("em")
    with pytest.raises(ConfigError, match="at least 1 iteration, got 0"):
        layer(iterations=0)


def test_momentum_is_that_of_the_equations():
    made, state = net(3, gamma=0.7, reversible=False), capsules()
    velocity = torch.zeros_like(state)
    for step in made.layers:
        velocity = 0.7 * velocity + 0.3 * step(state)
        state = state + velocity
    assert torch.allclose(made(capsules()), state)


def test_gamma_zero_is_the_plain_residual_net():
    made, state = net(4, gamma=0.0, reversible=False), capsules()
    for step in made.layers:
        state = state + step(state)
    assert torch.equal(made(capsules()), state)


@given(st.floats(0.4, 0.99), st.integers(1, 4), st.sampled_from(sorted(AGREEMENTS)))
@settings(max_examples=12, deadline=None)
def test_gradients_are_those_of_plain_backpropagation(gamma, blocks, routing):
    gradients = []
    for reversible in (False, True):
        made = net(2 * blocks, gamma=gamma, reversible=reversible, routing=routing).double()
        given_capsules = capsules(dtype=torch.float64).requires_grad_()
        # Not linear in the output, so that its value counts as well.
        made(given_capsules).pow(3).sum().backward()
        gradients.append([given_capsules.grad, *(one.grad for one in made.parameters())])
    for plain, ours in zip(*gradients, strict=True):
        assert (plain - ours).abs().max() <= 1e-6 * plain.abs().max().clamp_min(1)


def test_the_output_is_the_same_with_and_without_gradients():
    made = net(4)
    with torch.no_grad():
        alone = made(capsules())
    assert torch.equal(made(capsules()), alone)
    assert torch.equal(net(4, reversible=False)(capsules()), alone)


def test_frozen_layers_get_no_gradient_and_shared_ones_the_sum():
    made = net(4)
    made.layers[1] = made.layers[0]
    made.layers[2].requires_grad_(False)
    plain = copy.deepcopy(made)
    plain.reversible = False
    for each in (made, plain):
        each(capsules()).pow(3).sum().backward()
    assert made.layers[2].weight.grad is None
    assert torch.allclose(made.layers[0].weight.grad, plain.layers[0].weight.grad, atol=1e-5)


def stored(blocks: int, *, reversible: bool) -> tuple[int, int]:
    """Return how many tensors autograd keeps beside parameters, and their numbers."""
    made = net(2 * blocks, reversible=reversible)
    own = {one.data_ptr() for one in made.parameters()}
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept.append(tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        made(capsules())
    return len(kept), sum(one.numel() for one in kept)


def test_stored_activations_do_not_grow_with_the_blocks():
    assert stored(2, reversible=True) == stored(8, reversible=True) == (2, 2 * 3 * 6 * 8)
    count, numbers = stored(2, reversible=False)
    assert stored(8, reversible=False) >= (3.9 * count, 3.9 * numbers)


def rebuilt_error(gamma: float, dtype: torch.dtype) -> float:
    """Return the largest error of the first state after 20 steps of tanh there and back."""

    class Tanh(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(0.1 * torch.randn(64, 64, dtype=dtype))

        def forward(self, state: torch.Tensor) -> torch.Tensor:
            seen.append(state.detach().clone())
            return torch.tanh(state @ self.weight)

    torch.manual_seed(0)
    seen: list[torch.Tensor] = []
    made = MomentumNet([Tanh() for _ in range(20)], gamma=gamma, reversible=True)
    made(torch.randn(8, 64, dtype=dtype)).sum().backward()
    return float((seen[0] - seen[-1]).abs().max())


def test_states_are_rebuilt_as_exactly_as_gamma_allows():
    assert rebuilt_error(0.99, torch.float32) < 1e-5
    assert rebuilt_error(0.9, torch.float32) < 1e-4
    assert rebuilt_error(0.9, torch.float64) < 1e-13
    assert rebuilt_error(0.5, torch.float64) < 1e-7
    assert rebuilt_error(0.5, torch.float32) > 0.01


@pytest.mark.parametrize(
    ("layers", "options", "message"),
    [
        ([nn.Dropout(0.1)], {}, "and Dropout would then say something else: leave it out"),
        ([nn.BatchNorm1d(4)], {}, "and BatchNorm1d would then say something else"),
        ([], {"gamma": 0.0}, "above 0 and at most 1, got 0.0, or set reversible to false"),
        ([], {"gamma": 1.5}, "above 0 and at most 1, got 1.5"),
        ([], {"gamma": -0.1, "reversible": False}, "at least 0 and at most 1, got -0.1"),
    ],
)
def test_what_cannot_be_turned_round_is_refused(layers, options, message):
    with pytest.raises(ConfigError, match=message):
        MomentumNet(layers, **{"gamma": 0.9, "reversible": True, **options})


def test_dropout_is_allowed_where_activations_are_stored():
    made = MomentumNet([nn.Dropout(0.1)], gamma=0.0, reversible=False)
    assert made.eval()(torch.ones(2, 4)) == pytest.approx(2 * torch.ones(2, 4))


def test_a_layer_that_changes_the_shape_is_refused():
    made = MomentumNet([nn.Linear(4, 5)], gamma=0.9, reversible=True)
    with pytest.raises(ConfigError, match=r"step 1 of a momentum net makes \(2, 5\) of \(2, 4\)"):
        made(torch.ones(2, 4))


def test_votes_start_small_unless_told_otherwise():
    torch.manual_seed(0)
    made = CapsuleLayer((200, 8), (16, 8))
    assert float(made.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert math.isclose(float(layer().weight.detach().std()), 0.5, rel_tol=0.05)
