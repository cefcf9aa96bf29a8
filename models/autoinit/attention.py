"""Rules of attention: what is looked up is a weighted mean of the values."""

import math

import torch

from models.autoinit.operation import Operation
from models.autoinit.sampling import drawn_through
from models.autoinit.signal import Signal


def attention(operation: Operation) -> Signal:
    """`scaled_dot_product_attention` of queries, keys and values (..., tokens, width)."""
    query, key, value = (
        operation.tensor(at, name) for at, name in enumerate(("query", "key", "value"))
    )
    scale = operation.options.get("scale")
    logits = _logits(operation.signal_of(query), operation.signal_of(key))
    if isinstance(scale, float):
        logits = logits.scaled(scale * math.sqrt(query.shape[-1]))
    return _looked_up(operation, logits, operation.signal_of(value), tokens=value.shape[-2])


def attention_of_heads(operation: Operation) -> Signal:
    """`multi_head_attention_forward`, with its own dense layers on both sides (tokens first)."""
    plan, entering = operation.plan, operation.signal
    packed, narrow = operation.given(5, "in_proj_weight"), operation.tensor(11, "out_proj_weight")
    if not isinstance(packed, torch.Tensor):
        return entering
    inner = plan.add(packed, operation.given(6, "in_proj_bias"), entering)
    if inner is None:
        return entering
    tokens = operation.features.shape[0]
    found = _looked_up(operation, _logits(inner, inner), inner, tokens=tokens)
    return plan.add(narrow, operation.given(12, "out_proj_bias"), found) or found


def _logits(query: Signal, key: Signal) -> Signal:
    """Return what the logits of one query have, divided by the root of their width.

    What the mean of the keys adds is the same for all of them, and softmax does not see it.
    """
    return Signal(0.0, query.second * key.variance)


def _looked_up(operation: Operation, logits: Signal, value: Signal, *, tokens: int) -> Signal:
    weights = drawn_through(
        lambda rows: torch.softmax(rows, -1),
        logits,
        shape=(tokens,),
        results=tokens,
        draws=operation.plan.options.monte_carlo,
    )
    # The weights add up to 1, so that the mean stays and brings no variance.
    return Signal(value.mean, tokens * weights.second * value.variance)
