"""The residual blocks of torchvision's ResNets, such that their branches can rest."""

import torch
from torch import nn
from torchvision.models import get_model_builder
from torchvision.models.resnet import BasicBlock, Bottleneck

from models.residual import Sum


class BackboneBlock(nn.Module):
    """Computes what one of torchvision's blocks does, with the same layers under their names."""

    def __init__(self, block: BasicBlock | Bottleneck) -> None:
        """Take over a block, whose activations may have been swapped before.

        Args:
            block: Not used any more afterwards.
        """
        super().__init__()
        for name, layer in block.named_children():
            self.add_module(name, layer)
        self.convolutions = 3 if isinstance(block, Bottleneck) else 2
        self.join = Sum()
        self.training = block.training
        if isinstance(self.relu, nn.ReLU):
            # Where the branch rests it would overwrite what the block before has kept.
            self.relu.inplace = False

    @property
    def residual(self) -> nn.Sequential:
        """The branch, of layers that the block itself holds."""
        layers: list[nn.Module] = []
        for number in range(1, self.convolutions + 1):
            if number > 1:
                layers.append(self._activation(number - 1))
            layers += [self.get_submodule(f"conv{number}"), self.get_submodule(f"bn{number}")]
        return nn.Sequential(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (N, channels, H / stride, W / stride)."""
        shortcut = getattr(self, "downsample", None)
        carried = features if shortcut is None else shortcut(features)
        joined = self.join(self.residual, features, carried)
        result: torch.Tensor = self._activation(self.convolutions)(joined)
        return result

    def _activation(self, number: int) -> nn.Module:
        # A swap calls what replaces the second and third call of `relu` by these names.
        own = f"relu_{number}"
        return self.get_submodule(own if own in self._modules else "relu")


def is_resnet(name: str) -> bool:
    """Whether one of torchvision's networks is a ResNet, a ResNeXt or a wide ResNet.

    Args:
        name: torchvision's own.
    """
    return bool(get_model_builder(name).__module__ == "torchvision.models.resnet")


def open_blocks(network: nn.Module) -> None:
    """Put blocks with a `Sum` in the place of torchvision's residual blocks, in a network in place.

    It computes the same as before to the bit, and its state has the same names.
    """
    for path, block in [*network.named_modules()]:
        if isinstance(block, BasicBlock | Bottleneck):
            network.set_submodule(path, BackboneBlock(block))
