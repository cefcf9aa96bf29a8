"""What cannot be swapped is refused in one sentence, and nothing has been touched."""

import pytest
import torch
from swapping import images, maker, pvlu_at_zero
from torch import nn
from torch.nn import functional as F
from torchvision import models

from damagenet.errors import ConfigError
from models.swap import swap_activations


class Overwriting(nn.Module):
    def forward(self, x):
        x = x + 1
        F.relu_(x)
        return x


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (nn.Conv2d(3, 2, 1), {}, "Conv2d has no activation to swap in 'all'"),
        (models.resnet18(), {"where": "head"}, "'head', but 17 in 'all', 4 in 'last_stage', 0 in"),
        (models.resnet18(), {"where": "tail"}, "one of all, last_stage, head, got 'tail'"),
        (models.resnet18(), {"kinds": ["rleu"]}, "unknown kind of activation 'rleu'; choose from"),
        (nn.Sequential(nn.Conv2d(4, 2, 1), nn.ReLU()), {}, r"not run on an example of \(2, 3, 32"),
        (
            nn.Sequential(Overwriting()),
            {},
            "activations of 0 cannot be swapped: it uses .* only to",
        ),
    ],
)
def test_what_cannot_be_swapped_is_refused_in_one_sentence(network, options, message):
    with pytest.raises(ConfigError, match=message):
        swap_activations(network, maker("relu"), example=images(32), **options)


def test_a_forward_that_cannot_be_followed_is_refused_and_the_network_left_as_it_was():
    class Untraceable(nn.Module):
        def forward(self, x):
            return torch.cat([F.relu(image) for image in x])

    network = nn.Sequential(nn.ReLU(), Untraceable())
    with pytest.raises(ConfigError, match=r"activations of 1 \(Untraceable\) cannot be swapped"):
        swap_activations(network, pvlu_at_zero(), example=images(8))
    assert type(network[0]) is nn.ReLU
    assert type(network[1]) is Untraceable


def test_a_function_that_changes_the_width_is_refused_by_name():
    with pytest.raises(ConfigError, match="'or_ail' changes the number of channels, so the wei"):
        swap_activations(models.resnet18(), maker("or_ail"), example=images(64))
