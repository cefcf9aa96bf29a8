import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.activations.noise import fresh_seed, normal_like, uniform_like

COUNT = 1 << 20
seeds = st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1))


def seed_of(pair: tuple[int, int]) -> torch.Tensor:
    return torch.tensor(pair, dtype=torch.int32)


@given(pair=seeds)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_normal_numbers_have_the_moments_of_the_normal_distribution(pair):
    z = normal_like(torch.empty(COUNT, dtype=torch.float64), seed_of(pair))
    # Mean and standard error of z, z^2, z^3, z^4 and of products of neighbours; a million draws.
    for found, expected, spread in (
        (z, 0, 1),
        (z**2, 1, math.sqrt(2)),
        (z**3, 0, math.sqrt(15)),
        (z**4, 3, math.sqrt(96)),
        (z[1:] * z[:-1], 0, 1),
        (z[64:] * z[:-64], 0, 1),
        (z[1 << 16 :] * z[: -(1 << 16)], 0, 1),
    ):
        assert abs(found.mean().item() - expected) < 5 * spread / math.sqrt(len(found))
    assert 4.4 < z.abs().max() < 6


@given(pair=seeds)
@settings(max_examples=8, deadline=None, derandomize=True)
def test_uniform_numbers_fill_the_unit_evenly(pair):
    values = uniform_like(torch.empty(COUNT), seed_of(pair))
    assert values.min() > 0
    assert values.max() <= 1
    counts = torch.histc(values, bins=256, min=0, max=1)
    chi_square = ((counts - COUNT / 256) ** 2 / (COUNT / 256)).sum().item()
    assert abs(chi_square - 255) < 5 * math.sqrt(2 * 255)


@pytest.mark.parametrize("other", [(1, 3), (2, 2), (-1, 2)])
def test_another_seed_gives_unrelated_numbers(other):
    x = torch.empty(COUNT)
    one, two = (normal_like(x, seed_of(pair)) for pair in ((1, 2), other))
    assert abs((one * two).mean().item()) < 5 / math.sqrt(COUNT)
    # Nor are they the same numbers at other places.
    shift = (one[0] - two).abs().argmin()
    assert not torch.equal(one[1:100], two.roll(-int(shift))[1:100])


def test_a_seed_gives_the_same_numbers_again_in_any_type():
    seed = seed_of((5, 6))
    x = torch.empty(3, 4, 5)
    assert torch.equal(normal_like(x, seed), normal_like(x, seed))
    torch.testing.assert_close(
        normal_like(x, seed), normal_like(x.double(), seed).float(), rtol=1e-4, atol=1e-5
    )


def test_seeds_follow_the_seed_of_torch():
    x = torch.empty(2)
    torch.manual_seed(1)
    first, second = fresh_seed(x), fresh_seed(x)
    torch.manual_seed(1)
    assert torch.equal(fresh_seed(x), first)
    assert not torch.equal(first, second)
