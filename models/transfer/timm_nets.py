"""timm's networks, as `timm:NAME`; timm is an extra."""

from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from torch import nn

from damagenet.errors import BundleError, ConfigError
from models.transfer.backbone import Backbone, PixelStatistics
from models.transfer.checkpoint import fetch

if TYPE_CHECKING:
    from timm.models import PretrainedCfg

PREFIX = "timm:"
SMALLEST_PX = 32
ADDRESS = "https://huggingface.co/{hub}/resolve/main/model.safetensors"


def timm_backbone(name: str) -> Backbone:
    """Return one of timm's networks.

    Args:
        name: timm's own, with or without the tag of its weights: `resnet18.a1_in1k`.

    Raises:
        ConfigError: If timm is not installed, or has no such network or tag.
    """
    timm = _timm()
    architecture = name.split(".", maxsplit=1)[0]
    if not timm.is_model(architecture):
        close = timm.list_models(f"*{architecture}*")[:5] or ["what timm.list_models() lists"]
        raise ConfigError(f"timm has no network {architecture!r}; choose {' or '.join(close)}")
    try:
        usual = timm.get_pretrained_cfg(name)
    except RuntimeError as err:
        raise ConfigError(f"timm has no weights {name!r}: {err}") from err
    return Backbone(
        name=f"{PREFIX}{name}",
        build=partial(_build, architecture),
        weights=_weights(timm, architecture, usual),
        smallest_px=max(SMALLEST_PX, *(usual.min_input_size or (0,))[-2:]),
        fixed_px=usual.input_size[-1] if usual.fixed_input_size else None,
    )


def _timm() -> ModuleType:
    try:
        import timm
    except ModuleNotFoundError as err:
        raise ConfigError("timm is not installed: pip install 'damagenet[timm]'") from err
    return timm


def _weights(
    timm: ModuleType, architecture: str, usual: "PretrainedCfg"
) -> dict[str, PixelStatistics]:
    """Return the pixel statistics of all weights that can be had as safetensors, usual first."""
    known: dict[str, PretrainedCfg] = timm.models.get_arch_pretrained_cfgs(architecture)
    ordered = [usual, *known.values()]
    return {each.tag or "": _pixels(each) for each in ordered if each.hf_hub_id}


def _pixels(published: "PretrainedCfg") -> PixelStatistics:
    (r, g, b), (dr, dg, db) = published.mean, published.std
    return PixelStatistics(mean=(255 * r, 255 * g, 255 * b), std=(255 * dr, 255 * dg, 255 * db))


def _build(architecture: str, size_px: int, weights: str | None) -> tuple[nn.Module, int]:
    timm = _timm()
    name = f"{architecture}.{weights}" if weights else architecture
    published = timm.get_pretrained_cfg(name)
    given: dict[str, object] = {"num_classes": 0}
    if published.fixed_input_size and published.input_size[-1] != size_px:
        given["img_size"] = size_px
    if weights is not None:
        what = f"the weights {name} of timm"
        address = ADDRESS.format(hub=published.hf_hub_id)
        # Only safetensors are read: timm's other files are pickles.
        path = fetch(address, what=what, name=f"timm-{name}.safetensors")
        given |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
    try:
        network = timm.create_model(name, **given)
    except SafetensorError as err:
        raise BundleError(f"{path} does not hold {what} ({err}): get it again") from err
    except (AssertionError, TypeError, ValueError) as err:
        raise ConfigError(f"timm cannot build {name!r} for {size_px} px: {err}") from err
    # What leaves the pooling may pass another layer before the head.
    count: int = getattr(network, "head_hidden_size", None) or network.num_features
    return network, count
