"""The rule of every function of torch that has one, by name.

`relu_` and `_threshold` are found under `relu` and `threshold`; operators keep their underscores.
"""

from collections.abc import Callable

from models.autoinit import arithmetic, layers, pooling
from models.autoinit.attention import attention, attention_of_heads
from models.autoinit.operation import Operation
from models.autoinit.signal import Signal

Rule = Callable[[Operation], Signal]

FRESH: dict[Rule, str] = {
    arithmetic.zeros: "new_zeros zero zeros zeros_like",
    arithmetic.ones: "new_ones ones ones_like",
    arithmetic.yes_or_no: "bernoulli",
}
"""What comes out of these depends on no number that enters."""

FOLLOWING: dict[Rule, str] = {
    layers.weighted: "conv1d conv2d conv3d linear",
    layers.normalised: "batch_norm group_norm instance_norm layer_norm",
    layers.root_normalised: "rms_norm",
    layers.without_some: "dropout dropout1d dropout2d dropout3d feature_dropout",
    layers.padded: "constant_pad_nd pad",
    layers.of_numbers: """
        abs arctan atan celu clamp clip cos elu erf exp expm1 gelu hardshrink hardsigmoid hardswish
        hardtanh leaky_relu log_sigmoid logsigmoid mish pow prelu relu relu6 rrelu selu sigmoid
        sign silu sin softplus softshrink softsign square tanh tanhshrink threshold
        """,
    layers.of_rows: "log_softmax normalize softmax softmin",
    layers.unchanged: """
        __get__ __getitem__ as_strided broadcast_to channel_shuffle chunk clone contiguous detach
        double expand expand_as flatten flip float gather half index_select interpolate masked_fill
        movedim moveaxis narrow permute pixel_shuffle pixel_unshuffle ravel repeat
        repeat_interleave reshape reshape_as roll select split squeeze swapaxes swapdims t tile to
        transpose type type_as unbind unflatten unfold unsqueeze upsample view view_as
        """,
    pooling.pooled: """
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool1d lp_pool2d max_pool1d
        max_pool2d max_pool3d
        """,
    pooling.averaged: """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d avg_pool2d
        avg_pool3d
        """,
    arithmetic.summed: """
        __add__ __iadd__ __isub__ __radd__ __rsub__ __sub__ add rsub sub subtract
        """,
    arithmetic.product: "__imul__ __mul__ __rmul__ mul multiply",
    arithmetic.quotient: "__itruediv__ __truediv__ div divide true_divide",
    arithmetic.negative: "__neg__ neg negative",
    arithmetic.concatenation: "cat concat concatenate dstack hstack stack vstack",
    arithmetic.mean: "mean",
    arithmetic.total: "sum",
    arithmetic.matrices: "__matmul__ bmm matmul mm",
    arithmetic.einstein: "einsum",
    attention: "scaled_dot_product_attention",
    attention_of_heads: "multi_head_attention_forward",
}
"""What comes out of these follows from what enters."""


def _by_name(table: dict[Rule, str]) -> dict[str, Rule]:
    return {name: rule for rule, names in table.items() for name in names.split()}


CONSTANTS = frozenset(_by_name(FRESH))
RULES = _by_name(FRESH | FOLLOWING)
