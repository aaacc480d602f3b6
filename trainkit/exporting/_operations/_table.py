"""What each operation that tf2onnx writes becomes: one function for each, and the table of them."""

from __future__ import annotations

from typing import Any

import onnx

from trainkit.exporting._graph import Graph
from trainkit.exporting._lowering import Lower, Lowering
from trainkit.exporting._operations._arithmetic import (
    lower_binary,
    lower_clip,
    lower_comparison,
    lower_elementwise,
    lower_equal,
    lower_hard_swish,
    lower_negative,
    lower_never,
    lower_not,
    lower_pow,
    lower_prelu,
    lower_reciprocal,
    lower_sign,
    lower_softplus,
    lower_softsign,
    lower_tanh,
    lower_thresholded_relu,
    lower_where,
    read_number,
)
from trainkit.exporting._operations._layers import (
    lower_batch_normalization,
    lower_conv,
    lower_conv_transpose,
    lower_global_pool,
    lower_log_softmax,
    lower_lrn,
    lower_pool,
    lower_reduce,
    lower_softmax,
)
from trainkit.exporting._operations._order import lower_arg_max, lower_top_k
from trainkit.exporting._operations._products import lower_einsum, lower_gemm, lower_matmul
from trainkit.exporting._operations._shapes import (
    lower_cast,
    lower_compress,
    lower_concat,
    lower_cumsum,
    lower_depth_to_space,
    lower_expand,
    lower_gather,
    lower_pad,
    lower_reshape,
    lower_resize,
    lower_same,
    lower_slice,
    lower_space_to_depth,
    lower_split,
    lower_squeeze,
    lower_tile,
    lower_transpose,
    lower_unsqueeze,
)


def lower(proto: onnx.ModelProto, layers: list[Any], *, broadcast: bool = False, channels_last: bool = False) -> Graph:
    """Rebuild a converted model, from its input `(N, C, H, W)` to its output `(N, classes)`.

    Args:
        proto: what tf2onnx wrote: one input, one output, opset 13.
        layers: of the Keras model, in order, to say where an operation came from.
        broadcast: leave it to the reader to combine an image with one value a channel.
        channels_last: the file's order is (N, H, W, C), so that sides are cut and joined in that order only.

    Raises:
        ExportError: an operation cannot be expressed; names its layer and its place.
    """
    return Lowering(proto, layers, LOWER, broadcast=broadcast, channels_last=channels_last).run()


TRIGONOMETRIC = ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh")
LOWER: dict[str, Lower] = {
    **dict.fromkeys(("Identity", "Dropout"), lower_same),
    "Cast": lower_cast,
    **{name: lower_elementwise(name) for name in ("Relu", "Sigmoid", "Exp", "Log", "Erf", "Sqrt", "Abs")},
    **{name: lower_elementwise(name) for name in ("Ceil", "Floor", "Round", *TRIGONOMETRIC)},
    "LeakyRelu": lower_elementwise("LeakyRelu", alpha=read_number("alpha", 0.01)),
    "Elu": lower_elementwise("Elu", alpha=read_number("alpha", 1.0)),
    "Selu": lower_elementwise(
        "Selu", alpha=read_number("alpha", 1.6732632423543772), gamma=read_number("gamma", 1.0507009873554805)
    ),
    "HardSigmoid": lower_elementwise("HardSigmoid", alpha=read_number("alpha", 0.2), beta=read_number("beta", 0.5)),
    "HardSwish": lower_hard_swish,
    "Softsign": lower_softsign,
    "Tanh": lower_tanh,
    "Softplus": lower_softplus,
    "PRelu": lower_prelu,
    "Clip": lower_clip,
    "Neg": lower_negative,
    "Reciprocal": lower_reciprocal,
    "Pow": lower_pow,
    **{name: lower_binary(name) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")},
    "Sum": lower_binary("Add"),
    "Greater": lower_comparison(),
    "Less": lower_comparison(swapped=True),
    "GreaterOrEqual": lower_comparison(swapped=True, negated=True),
    "LessOrEqual": lower_comparison(negated=True),
    "Equal": lower_equal,
    "Sign": lower_sign,
    **dict.fromkeys(("IsNaN", "IsInf"), lower_never),
    "ThresholdedRelu": lower_thresholded_relu,
    "Not": lower_not,
    "And": lower_binary("Mul"),
    "Or": lower_binary("Max"),
    "Where": lower_where,
    "Expand": lower_expand,
    "Tile": lower_tile,
    "Transpose": lower_transpose,
    "Reshape": lower_reshape,
    "Flatten": lower_reshape,
    "Squeeze": lower_squeeze,
    "Unsqueeze": lower_unsqueeze,
    "MatMul": lower_matmul,
    "Gemm": lower_gemm,
    "Einsum": lower_einsum,
    "Conv": lower_conv,
    "ConvTranspose": lower_conv_transpose,
    "MaxPool": lower_pool("MaxPool"),
    "AveragePool": lower_pool("AveragePool"),
    "GlobalMaxPool": lower_global_pool("GlobalMaxPool"),
    "GlobalAveragePool": lower_global_pool("GlobalAveragePool"),
    "ReduceMean": lower_reduce("Mean"),
    "ReduceSum": lower_reduce("Sum"),
    "ReduceMax": lower_reduce("Max"),
    "ReduceMin": lower_reduce("Min"),
    "TopK": lower_top_k,
    **dict.fromkeys(("ArgMax", "ArgMin"), lower_arg_max),
    "Softmax": lower_softmax,
    "LogSoftmax": lower_log_softmax,
    "LRN": lower_lrn,
    "Gather": lower_gather,
    "Compress": lower_compress,
    "CumSum": lower_cumsum,
    "DepthToSpace": lower_depth_to_space,
    "SpaceToDepth": lower_space_to_depth,
    "Concat": lower_concat,
    "Slice": lower_slice,
    "Split": lower_split,
    "Pad": lower_pad,
    "Resize": lower_resize,
    "BatchNormalization": lower_batch_normalization,
}
