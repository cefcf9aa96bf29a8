"""Taking the ImageNet head off a network."""

from torch import nn

CLASSES = 1000
"""Outputs of a head trained on ImageNet, by which it is found."""


def without_head(network: nn.Module) -> int:
    """Take the ImageNet head off a network, in place, and return the number of its features.

    The head is the last layer with 1000 outputs. Where it is a convolution, as in SqueezeNet,
    the pooling behind it stays, so that features come out all the same.

    Args:
        network: (N, 3, H, W) -> (N, 1000); afterwards (N, features).
    """
    heads = [
        (name, layer)
        for name, layer in network.named_modules()
        if CLASSES in (getattr(layer, "out_features", None), getattr(layer, "out_channels", None))
    ]
    name, head = heads[-1]
    network.set_submodule(name, nn.Identity())
    if isinstance(head, nn.Conv2d):
        return head.in_channels
    assert isinstance(head, nn.Linear)
    return head.in_features
