"""The stages of a network from the image to the features, whoever made it.

Fine-tuning trains stages near the image less than those near the head, or not at all.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import nn

from damagenet.errors import ConfigError
from models.activations import Activation
from models.classifier import Classifier

HOLDERS = frozenset(
    {"backbone", "blocks", "encoder", "features", "layers", "stages", "trunk", "trunk_output"}
)
"""Names of modules, here, in torchvision and in timm, that hold a network's stages."""
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
"""They belong to the stage whose features they scale."""


@dataclass(slots=True)
class Stage:
    """A run of layers that train alike.

    Attributes:
        name: Dotted path of its first module inside the features.
        modules: In order.
        loose: Parameters that stand beside the modules, such as position embeddings.
    """

    name: str
    modules: list[nn.Module]
    loose: list[nn.Parameter] = field(default_factory=list)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield all parameters of the stage."""
        yield from self.loose
        for module in self.modules:
            yield from module.parameters()


def stages(network: Classifier) -> list[Stage]:
    """Return the stages of a network's features in order; together they hold every parameter.

    A stage is a module with parameters on the top level, or one level deeper in a holder
    (`HOLDERS`): `layer1` of a ResNet, `features.3` of a ConvNeXt, one block of a transformer. A
    norm or an activation joins the stage before it. Parameters that a holder has itself (class
    token, position embeddings) belong to the first stage. The head is none of the stages.
    """
    found: list[Stage] = []
    loose: list[nn.Parameter] = []
    for name, module in _parts(network.features, "", loose):
        if found and _only_adjusts(module):
            found[-1].modules.append(module)
        else:
            found.append(Stage(name, [module]))
    found[0].loose += loose
    return found


def freeze(network: Classifier, count: int) -> list[nn.Module]:
    """Fix the first stages of a network in place and return their modules.

    The caller keeps the modules in evaluation mode, so that their batch norms rest too.

    Args:
        network: What is trained.
        count: How many stages, from the image.

    Raises:
        ConfigError: If it has fewer stages.
    """
    found = stages(network)
    if count > len(found):
        names = ", ".join(stage.name.removeprefix("backbone.") for stage in found)
        raise ConfigError(
            f"training.freeze_stages is {count}, the network has {len(found)} stages: {names}"
        )
    for stage in found[:count]:
        for parameter in stage.parameters():
            parameter.requires_grad_(False)
    return [module for stage in found[:count] for module in stage.modules]


def _parts(
    holder: nn.Module, path: str, loose: list[nn.Parameter]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that may be stages with their paths; collect the holders' parameters."""
    loose += holder.parameters(recurse=False)
    for name, module in holder.named_children():
        if name in HOLDERS:
            yield from _parts(module, f"{path}{name}.", loose)
        elif next(module.parameters(), None) is not None:
            yield f"{path}{name}", module


def _only_adjusts(module: nn.Module) -> bool:
    """Whether all parameters of a module are those of norms and activations."""
    adjusting = [part for part in module.modules() if isinstance(part, (*NORMS, Activation))]
    known = {id(parameter) for part in adjusting for parameter in part.parameters()}
    return all(id(parameter) in known for parameter in module.parameters())
