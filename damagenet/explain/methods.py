"""The methods, by name: what a map means, what it must not be taken for, how it is made."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from captum.attr import (
    GuidedBackprop,
    IntegratedGradients,
    LayerActivation,
    LayerGradCam,
    LayerGradientXActivation,
)
from torch.nn import functional as F

from damagenet.explain.last_map import MapLayer, map_layer
from damagenet.explain.log_odds import LogOdds
from damagenet.explain.names import MethodName
from damagenet.explain.rectifiers import require_rectifiers
from models.texture import TextureStatistics

Images = tuple[torch.Tensor, ...]
"""One float tensor (N, 3, S, S) in 0..255 for each picture of a chip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a method says of N chips.

    Attributes:
        maps: One for each picture, (N, S, S).
        delta: What is missing to the sum that the method promises, (N,); None where it promises
            none.
    """

    maps: Images
    delta: torch.Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What may be asked of a method.

    Attributes:
        layer: Of Grad-CAM; None takes the last map.
        steps: Of integrated gradients.
        batch_size: Chips that fit the device at a time.
    """

    layer: str | None = None
    steps: int = 50
    batch_size: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A method that is ready for chips of one network.

    Attributes:
        explain: Takes images of N chips.
        note: What it does with this network, for a reader.
    """

    explain: Callable[[Images], Found]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One row of the table."""

    title: str
    meaning: str
    """What a bright place says."""
    caution: str
    """What it does not say."""
    unit: str
    """Of the numbers in the raster."""
    signed: bool
    """Whether there are places that speak against the class."""
    prepare: Callable[[LogOdds, Images, Asked], Prepared]
    """Takes one chip too, whose size is what counts; raises ConfigError for networks that it is
    not made for."""


def prepare_guided(log_odds: LogOdds, example: Images, asked: Asked) -> Prepared:
    """Return guided backpropagation (Springenberg et al. 2015, arXiv:1412.6806).

    At every rectifier what goes back is gated twice: by what went forward and by its own sign.

    Raises:
        ConfigError: If the network has activations that are no rectifiers.
    """
    del asked
    require_rectifiers(log_odds.network, example)

    def explain(images: Images) -> Found:
        with _quiet():
            # A fresh one each time: it keeps its hooks.
            gradients = GuidedBackprop(log_odds).attribute(images)
        return Found(maps=tuple(one.abs().amax(dim=1) for one in gradients))

    return Prepared(explain=explain)


def prepare_grad_cam(log_odds: LogOdds, example: Images, asked: Asked) -> Prepared:
    """Return Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391), with both signs.

    Its numbers are scaled so that their sum over a chip is the sum over the places of the map: of
    a network that averages its last map, the log-odds less a constant.

    Raises:
        ConfigError: If there is no map to draw it from.
    """
    chosen = map_layer(log_odds, example, asked.layer)
    reads_deviations = isinstance(log_odds.network.features, TextureStatistics)
    values = _shares_of_deviation if reads_deviations else _class_activation

    def explain(images: Images) -> Found:
        with _quiet():
            places = values(log_odds, chosen, images)
        # Maps of several pictures may come one after the other in the batch.
        each = places.chunk(len(images)) if len(places) > len(images[0]) else [places] * len(images)
        side = images[0].shape[-1]
        share = places.shape[-1] * places.shape[-2] / side**2
        return Found(maps=tuple(_enlarged(one, side) * share for one in each))

    height, width = chosen.shape[2:]
    note = f"drawn from layer {chosen.name}, {height} x {width} places a chip"
    if reads_deviations:
        note += f"; {DEVIATIONS}"
    elif len(example) > 1 and chosen.shape[0] == 1:
        note += "; the network mixes its pictures before that, so that both show the same map"
    return Prepared(explain=explain, note=note)


DEVIATIONS = (
    "this network reads how much its maps vary over the chip, not what they show at a place, so a "
    "place counts by how far it departs from the chip's mean: rough ground lights up, even ground "
    "stays blank although evenness is what flood water is known by"
)


def prepare_integrated(log_odds: LogOdds, example: Images, asked: Asked) -> Prepared:
    """Return integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) of the pixels.

    Their sum over all pixels and pictures is the log-odds of the chip less those of a chip of the
    mean pixel, but for `delta`. Ground that a picture does not show stays black on the way.
    """
    del example
    mean = log_odds.network.normalise.mean

    def explain(images: Images) -> Found:
        baselines = tuple(_blank(image, mean) for image in images)
        with _quiet():
            gradients, delta = IntegratedGradients(log_odds).attribute(
                images,
                baselines,
                n_steps=asked.steps,
                internal_batch_size=max(asked.batch_size, len(images[0])),
                return_convergence_delta=True,
            )
        return Found(maps=tuple(one.sum(dim=1).float() for one in gradients), delta=delta)

    red, green, blue = (round(value) for value in mean.flatten().tolist())
    note = f"{asked.steps} steps from a chip of the mean pixel ({red}, {green}, {blue})"
    return Prepared(explain=explain, note=note)


def _blank(image: torch.Tensor, mean: torch.Tensor) -> torch.Tensor:
    """Return a picture of the mean pixel, black where the image (N, 3, S, S) is.

    Networks may leave out black ground; if it turned black at the end of the way only, that step
    would drown all others.
    """
    unseen = (image == 0).all(dim=1, keepdim=True)
    return torch.where(unseen, image, mean)


def _class_activation(log_odds: LogOdds, chosen: MapLayer, images: Images) -> torch.Tensor:
    """Return (N, 1, h, w)."""
    result: torch.Tensor = LayerGradCam(log_odds, chosen.layer).attribute(images)
    return result.detach()


def _shares_of_deviation(log_odds: LogOdds, chosen: MapLayer, images: Images) -> torch.Tensor:
    """Return each place's gradient times how far it departs from the mean place, (N, 1, h, w).

    Grad-CAM's weights are gradients averaged over places, and of a deviation that average is zero.
    Place by place the gradient is the departure from the mean, over the deviation, so that these
    products add up to the deviation, weighted as the network weighs it.
    """
    by_place = LayerGradientXActivation(log_odds, chosen.layer, multiply_by_inputs=False)
    gradient = by_place.attribute(images).detach()
    maps = LayerActivation(log_odds, chosen.layer).attribute(images).detach()
    # Places that the network does not read, as beyond the edge of a picture, have no gradient.
    read = (gradient != 0).any(dim=1, keepdim=True)
    count = read.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    mean = (maps * read).sum(dim=(2, 3), keepdim=True) / count
    shares: torch.Tensor = (gradient * (maps - mean)).sum(dim=1, keepdim=True)
    return shares


def _enlarged(places: torch.Tensor, side: int) -> torch.Tensor:
    """Return (N, side, side) of (N, 1, h, w)."""
    size = (side, side)
    return F.interpolate(places.float(), size, mode="bilinear", align_corners=False)[:, 0]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what captum says of its hooks and of gradients that it switches on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


METHODS: dict[MethodName, Method] = {
    "grad_cam": Method(
        title="Grad-CAM",
        meaning="where the last map of the network speaks for the class, and where against it",
        caution="Coarse: a place is several metres wide, and reaches as far as the network sees.",
        unit="log-odds per pixel",
        signed=True,
        prepare=prepare_grad_cam,
    ),
    "integrated_gradients": Method(
        title="Integrated gradients",
        meaning="what each pixel adds to the log-odds, or takes from them, compared with a chip of "
        "the mean pixel",
        caution="Fine-grained and noisy: neighbouring pixels of both signs cancel out. Another "
        "baseline gives another map.",
        unit="log-odds per pixel",
        signed=True,
        prepare=prepare_integrated,
    ),
    "guided_backprop": Method(
        title="Guided backpropagation (edge evidence)",
        meaning="which edges and textures the network responds to",
        caution="Edge evidence only: it looks sharp, and stays much the same when the layers that "
        "decide are made random. Read it beside a map of the class.",
        unit="log-odds per grey level, largest of the bands",
        signed=False,
        prepare=prepare_guided,
    ),
}
"""To add a method, add a line here and its name to `MethodName`."""
