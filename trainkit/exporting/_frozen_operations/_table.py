"""What writes each operation of the graph."""

from __future__ import annotations

from trainkit.backend import tf
from trainkit.exporting._frozen_operations._arithmetic import (
    Write,
    make_clip,
    make_elu,
    make_hard_sigmoid,
    make_leaky_relu,
    make_maximum,
    make_power,
    make_selu,
    write_activation,
    write_affine,
    write_elementwise,
    write_pair,
    write_softmax,
)
from trainkit.exporting._frozen_operations._layers import (
    write_conv,
    write_conv_transpose,
    write_gemm,
    write_global_pool,
    write_pool,
)
from trainkit.exporting._frozen_operations._shapes import (
    write_concat,
    write_pad,
    write_reshape,
    write_resize,
    write_slice,
    write_transpose,
    write_upsample,
)

WRITE: dict[str, Write] = {
    "Conv": write_conv,
    "ConvTranspose": write_conv_transpose,
    "Gemm": write_gemm,
    "Affine": write_affine,
    "MaxPool": write_pool("MaxPool"),
    "AveragePool": write_pool("AvgPool"),
    "GlobalMaxPool": write_global_pool("MaxPool"),
    "GlobalAveragePool": write_global_pool("AvgPool"),
    "Relu": write_activation(tf.raw_ops.Relu, "features"),
    "LeakyRelu": write_elementwise(make_leaky_relu),
    "Elu": write_elementwise(make_elu),
    "Selu": write_elementwise(make_selu),
    "Sigmoid": write_activation(tf.raw_ops.Sigmoid),
    "HardSigmoid": write_elementwise(make_hard_sigmoid),
    "Softplus": write_activation(tf.raw_ops.Softplus, "features"),
    "Exp": write_activation(tf.raw_ops.Exp),
    "Log": write_activation(tf.raw_ops.Log),
    "Erf": write_activation(tf.raw_ops.Erf),
    "Sqrt": write_activation(tf.raw_ops.Sqrt),
    "Abs": write_activation(tf.raw_ops.Abs),
    "Clip": write_elementwise(make_clip),
    "Pow": write_elementwise(make_power),
    "Add": write_pair(tf.raw_ops.AddV2),
    "Sub": write_pair(tf.raw_ops.Sub),
    "Mul": write_pair(tf.raw_ops.Mul),
    "Max": write_pair(make_maximum),
    "Softmax": write_softmax,
    "Concat": write_concat,
    "Slice": write_slice,
    "Pad": write_pad,
    "Flatten": write_reshape,
    "Reshape": write_reshape,
    "Transpose": write_transpose,
    "Upsample": write_upsample,
    "Resize": write_resize,
}
