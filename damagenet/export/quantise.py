"""Convolutions rounded to eight bits, and what that costs on tiles of known labels.

Static quantisation by ONNX Runtime: the ranges of activations are those of 256 training tiles,
kernels are rounded channel by channel, the head stays in float32.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from damagenet.bundle import Bundle
from damagenet.calibration import probabilities
from damagenet.errors import ConfigError, DataError
from damagenet.evaluation.metrics import make_sample, measure
from damagenet.evaluation.protocols import split_of
from damagenet.runtimes.answers import Forward, Images
from damagenet.runtimes.onnx_runtime import onnx_forward
from data_prep.harvey import HarveyTiles

if TYPE_CHECKING:
    from onnx import ModelProto

RANGED_TILES = 256
"""Training tiles whose activations say what ranges eight bits must span."""
BATCH = 16
MOST_LOSS = 0.3
"""Points of balanced accuracy, or of the area under the ROC curve, that may be lost unasked."""
EXACT = ("Gemm", "MatMul")
"""Operations that stay in float32: those of the head."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a network has lost by quantisation.

    Attributes:
        accuracy: Points of balanced accuracy at the card's threshold; negative for a gain.
        auroc: Points of the area under the ROC curve, likewise.
        mean_difference: Mean absolute difference of probabilities, 0..1.
        largest_difference: The largest one.
        measured_on: The tiles, in words.
    """

    accuracy: float
    auroc: float
    mean_difference: float
    largest_difference: float
    measured_on: str

    @property
    def points(self) -> float:
        """The larger of the two losses."""
        return max(self.accuracy, self.auroc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Tiles that a network learned from, and others to measure it on: row numbers (N,)."""

    ranged: Rows
    scored: Rows
    description: str


def open_parts(bundle: Bundle, tiles: HarveyTiles) -> Parts:
    """Return what to take the ranges from and what to measure the loss on.

    Raises:
        ConfigError: If the network compares two pictures, of which a tile is only one.
        DataError: If the tiles to measure on lack a class.
    """
    card = bundle.card
    if card.inputs != ("post",):
        raise ConfigError(
            f"model {card.name} compares two pictures, and the tiles that int8 is measured on are "
            "one each: export it without --quantize"
        )
    split = split_of(card.recipe, tiles)
    rng = np.random.default_rng(0)
    scored = split.validation
    if len(np.unique(tiles.labels[scored])) < 2:
        raise DataError(
            f"the validation part of split {split.name!r} of {tiles.folder} lacks a class: give "
            f"the tiles that {card.name} was trained on"
        )
    seen = tiles.manifest["sha256"].iloc[scored].isin(bundle.training_tiles()["sha256"])
    learned = ", which it has learned from" if seen.any() else ""
    return Parts(
        ranged=np.sort(rng.permutation(split.train)[:RANGED_TILES]),
        scored=scored,
        description=f"{len(scored):,} validation tiles of split {split.name}{learned}",
    )


def quantised(
    model: "ModelProto", bundle: Bundle, tiles: HarveyTiles, parts: Parts
) -> "ModelProto":
    """Return an ONNX model with eight-bit convolutions.

    Raises:
        ConfigError: If ONNX Runtime is not installed.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, shaped, rounded = (Path(folder) / f"{name}.onnx" for name in ("1", "2", "3"))
        plain.write_bytes(model.SerializeToString())
        quant_pre_process(plain, shaped, skip_symbolic_shape=True)
        quantize_static(
            shaped,
            rounded,
            _Chips(tiles, parts.ranged, bundle.card.inputs[0]),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_exact_nodes(onnx.load(shaped)),
        )
        return onnx.load(rounded)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime from telling of every scale it has chosen, by way of the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _exact_nodes(model: "ModelProto") -> list[str]:
    """Return the nodes that stay in float32."""
    nodes = list(model.graph.node)
    first = next((n for n, node in enumerate(nodes) if node.op_type == "Conv"), len(nodes))
    # What comes before the first convolution is arithmetic on pixels, which eight bits would spoil.
    exact = nodes[:first] + [node for node in nodes[first:] if node.op_type in EXACT]
    return [node.name for node in exact]


class _Chips:
    """Batches of tiles, as ONNX Runtime asks for them."""

    def __init__(self, tiles: HarveyTiles, rows: Rows, name: str) -> None:
        self._feeds: Iterator[dict[str, Images]] = (
            {name: chips} for chips in _batches(tiles, rows)
        )

    def get_next(self) -> dict[str, Images] | None:
        """Return the next batch by the name of the input; None after the last."""
        return next(self._feeds, None)


def measure_loss(
    model: "ModelProto", rounded: "ModelProto", bundle: Bundle, tiles: HarveyTiles, parts: Parts
) -> Loss:
    """Return what a network loses when it runs in eight bits."""
    card, labels = bundle.card, tiles.labels[parts.scored]
    inputs = card.inputs
    p = [
        probabilities(
            _logits(onnx_forward(each.SerializeToString(), inputs), tiles, parts.scored),
            card.calibration,
        )
        for each in (model, rounded)
    ]
    samples = [make_sample(each, labels, flagged=each >= card.threshold) for each in p]

    def lost(metric: str) -> float:
        before, after = (measure(sample, metric) for sample in samples)
        assert before is not None  # both classes are there
        assert after is not None
        return 100 * (before - after)

    return Loss(
        accuracy=lost("balanced_accuracy"),
        auroc=lost("auroc"),
        mean_difference=float(np.abs(p[0] - p[1]).mean()),
        largest_difference=float(np.abs(p[0] - p[1]).max()),
        measured_on=parts.description,
    )


def _logits(forward: Forward, tiles: HarveyTiles, rows: Rows) -> npt.NDArray[np.float64]:
    found = [forward([chips]).logits.numpy() for chips in _batches(tiles, rows)]
    return np.concatenate(found).astype(np.float64)


def _batches(tiles: HarveyTiles, rows: Rows) -> Iterator[Images]:
    for start in range(0, len(rows), BATCH):
        chips = tiles.pixels[rows[start : start + BATCH]].transpose(0, 3, 1, 2)
        yield np.ascontiguousarray(chips)
