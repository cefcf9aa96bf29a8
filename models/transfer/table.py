"""Backbones by name."""

from difflib import get_close_matches

from models.transfer.backbone import Backbone
from models.transfer.lite0 import NAME as LITE0
from models.transfer.lite0 import lite0_backbone
from models.transfer.timm_nets import PREFIX as TIMM
from models.transfer.timm_nets import timm_backbone


def find_backbone(name: str) -> Backbone | None:
    """Return a backbone; None if there is none of that name.

    Args:
        name: `efficientnet_lite0`, one of torchvision's classification networks, or `timm:NAME`.

    Raises:
        ConfigError: If timm is not installed, or knows no such network.
    """
    if name == LITE0:
        return lite0_backbone()
    if name.startswith(TIMM):
        return timm_backbone(name.removeprefix(TIMM))
    # Seconds to import, as it brings torch's compiler along.
    from models.transfer.torchvision_nets import torchvision_backbone, torchvision_names

    return torchvision_backbone(name) if name in torchvision_names() else None


def backbone_names(like: str) -> list[str]:
    """Return how backbones are named, with some of torchvision's that resemble a name."""
    from models.transfer.torchvision_nets import torchvision_names

    close = get_close_matches(like, torchvision_names(), n=4, cutoff=0.5) or [
        "resnet18",
        "vit_b_16",
    ]
    return [LITE0, f"torchvision's classification networks ({', '.join(close)} ...)", f"{TIMM}NAME"]
