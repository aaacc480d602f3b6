"""TensorFlow's and Caffe's graphs that a stranger could send; see `hostile_graphs`."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from strange_models import blob_proto, protobuf

HUGE = 2**31 - 1
NUMBERS = (0, -1, 1000, 65536, HUGE, 2**62)
_UNSIGNED = 2**64


def _attr(**values: Any) -> bytes:
    """Return attributes of a NodeDef: `i`, `s`, `list`, `tensor`, `type`, `b` or `f` by the type of the value."""
    entries = b""
    for key, value in values.items():
        entries += protobuf((5, protobuf((1, key.encode()), (2, _value(value)))))
    return entries


def _value(value: Any) -> bytes:
    if isinstance(value, tuple):  # a number of TensorFlow's data types
        return protobuf((6, value[0]))
    if isinstance(value, bool):
        return protobuf((5, int(value)))
    if isinstance(value, int):
        return protobuf((3, value % _UNSIGNED))
    if isinstance(value, float):
        return b"\x25" + struct.pack("<f", value)
    if isinstance(value, str):
        return protobuf((2, value.encode()))
    if isinstance(value, list):
        return protobuf((1, b"".join(protobuf((3, one % _UNSIGNED)) for one in value)))
    return protobuf((8, value))


def _node(name: str, op: str, *inputs: str, **attributes: Any) -> bytes:
    named = b"".join(protobuf((3, one.encode())) for one in inputs)
    return protobuf((1, protobuf((1, name.encode()), (2, op.encode())) + named + _attr(**attributes)))


def tensor_proto(values: np.ndarray, sides: Any = None, content: bytes | None = None, kind: int | None = None) -> bytes:
    """Return a TensorProto of TensorFlow, with other sides, bytes or type where they are given."""
    shape = b"".join(
        protobuf((2, protobuf((1, side % _UNSIGNED)))) for side in (values.shape if sides is None else sides)
    )
    kinds = {"float32": 1, "int32": 3, "int64": 9}
    data = values.tobytes() if content is None else content
    return protobuf((1, kinds[str(values.dtype)] if kind is None else kind), (2, shape), (4, data))


def _const(name: str, values: np.ndarray, **changes: Any) -> bytes:
    kinds = {"float32": (1,), "int32": (3,), "int64": (9,)}
    return _node(name, "Const", dtype=kinds[str(values.dtype)], value=tensor_proto(values, **changes))


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


CONV: dict[str, Any] = {"strides": [1, 1, 1, 1], "padding": "SAME", "dilations": [1, 1, 1, 1], "data_format": "NHWC"}
POOL: dict[str, Any] = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID", "data_format": "NHWC"}


def frozen_graph(
    conv: dict[str, Any] | None = None,
    pool: dict[str, Any] | None = None,
    weights: dict[str, Any] | None = None,
    shape: Any = (-1, 8 * 16 * 16),
    extra: bytes = b"",
    depth: int = 3,
) -> bytes:
    """Return a classifier as a frozen graph, parts of it changed."""
    shape_values = np.array(shape, np.int32)
    return b"".join(
        [
            _node("image", "Placeholder", dtype=(1,)),
            _const("w0", _weights(3, 3, depth, 8), **(weights or {})),
            _node("c0", "Conv2D", "image", "w0", T=(1,), **{**CONV, **(conv or {})}),
            _node("r0", "Relu", "c0", T=(1,)),
            _node("p0", "MaxPool", "r0", T=(1,), **{**POOL, **(pool or {})}),
            extra,
            _const("shape", shape_values),
            _node("f", "Reshape", "p0", "shape", T=(1,), Tshape=(3,)),
            _const("w1", _weights(8 * 16 * 16, 10)),
            _node("d", "MatMul", "f", "w1", T=(1,), transpose_a=False, transpose_b=False),
            _node("y", "Softmax", "d", T=(1,)),
        ]
    )


def hostile_frozen_graphs(*, flips: int = 100, seed: int = 1) -> dict[str, bytes]:
    """Return frozen graphs by name, so many of them good ones with a few bytes changed."""
    graphs = dict(_changed())
    draw, data = random.Random(seed), frozen_graph()
    head = data.index(b"w1") - 100  # most of what is behind are weights
    for i in range(flips):
        flipped = bytearray(data)
        place = draw.randrange(head) if i % 4 else draw.randrange(len(data))
        flipped[place] ^= draw.randrange(1, 256)
        graphs[f"flipped {i}"] = bytes(flipped)
    return graphs


def _changed() -> Iterator[tuple[str, bytes]]:
    for number in NUMBERS:
        for name in ("strides", "dilations"):
            yield f"Conv2D {name} {number}", frozen_graph(conv={name: [1, number, number, 1]})
            yield f"Conv2D {name} all {number}", frozen_graph(conv={name: [number] * 4})
        for name in ("ksize", "strides"):
            yield f"MaxPool {name} {number}", frozen_graph(pool={name: [1, number, number, 1]})
            yield f"MaxPool {name} all {number}", frozen_graph(pool={name: [number] * 4})
        yield f"Reshape {number}", frozen_graph(shape=(-1, min(number, HUGE)))
        yield f"weights {number}", frozen_graph(weights={"sides": (3, 3, 3, number)})
        yield f"weights depth {number}", frozen_graph(weights={"sides": (3, 3, number, 8)})
        for op, name in (("DepthToSpace", "block_size"), ("SpaceToDepth", "block_size")):
            yield f"{op} {number}", frozen_graph(extra=_node("x", op, "p0", **{name: number}))
        pads = _const("pads", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32) * min(number, HUGE))
        yield f"Pad {number}", frozen_graph(extra=pads + _node("x", "Pad", "p0", "pads"))
        axis = _const("axis", np.array(min(number, HUGE), np.int32))
        yield f"ConcatV2 {number}", frozen_graph(extra=axis + _node("x", "ConcatV2", "p0", "p0", "axis"))
        yield f"Split {number}", frozen_graph(extra=axis + _node("x", "Split", "axis", "p0", num_split=number))
        size = _const("size", np.array([min(number, HUGE)] * 2, np.int32))
        yield f"ResizeBilinear {number}", frozen_graph(extra=size + _node("x", "ResizeBilinear", "p0", "size"))
        yield f"LRN {number}", frozen_graph(extra=_node("x", "LRN", "p0", depth_radius=number))
    for name, value in {"text": "text", "float": 0.5, "one": [1], "none": [], "many": [1] * 12}.items():
        yield f"Conv2D strides {name}", frozen_graph(conv={"strides": value})
        yield f"MaxPool ksize {name}", frozen_graph(pool={"ksize": value})
    for name, changes in {
        "short": {"content": b"1234"},
        "none": {"content": b""},
        "odd": {"content": b"12345"},
        "text": {"kind": 7},
        "double": {"kind": 2},
        "half": {"kind": 19},
        "int": {"kind": 3},
        "kind 99": {"kind": 99},
        "no sides": {"sides": ()},
        "three sides": {"sides": (3, 3, 24)},
        "overflow": {"sides": (2**31, 2**31, 4, 8)},
    }.items():
        yield f"weights {name}", frozen_graph(weights=changes)
    relu = _node("x", "Relu", "nowhere")
    circle = _node("x", "Relu", "x2") + _node("x2", "Relu", "x")
    for name, extra in {"input of nothing": relu, "circle": circle, "no inputs": _node("x", "Conv2D", **CONV)}.items():
        yield name, frozen_graph(extra=extra)
    for op in (
        "Conv2D",
        "MatMul",
        "BiasAdd",
        "ConcatV2",
        "FusedBatchNorm",
        "Reshape",
        "Mean",
        "Pad",
        "Squeeze",
        "Slice",
    ):
        yield f"{op} alone", _node("image", "Placeholder", dtype=(1,)) + _node("y", op, "image")
        yield f"{op} of nothing", _node("image", "Placeholder", dtype=(1,)) + _node("y", op)
    yield "name twice", frozen_graph(extra=_node("c0", "Relu", "p0"))
    yield "empty", b""
    yield "depth 0", frozen_graph(depth=0)


PROTOTXT = """name: "hostile"
input: "data"
input_shape { dim: 1 dim: 3 dim: 32 dim: 32 }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 8 kernel_size: 3 stride: 1 pad: 1 dilation: 1 group: 1 } }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 pad: 0 } }
layer { name: "norm" type: "LRN" bottom: "pool" top: "norm" lrn_param { local_size: 5 } }
layer { name: "dense" type: "InnerProduct" bottom: "norm" top: "dense" inner_product_param { num_output: 10 axis: 1 } }
layer { name: "prob" type: "Softmax" bottom: "dense" top: "prob" }
"""


def caffemodel(kernel: np.ndarray | None = None, dense: np.ndarray | None = None) -> bytes:
    """Return the weights of `PROTOTXT`."""
    kernel = _weights(8, 3, 3, 3) if kernel is None else kernel
    dense = _weights(10, 8 * 16 * 16) if dense is None else dense
    layers = [("conv", "Convolution", (kernel, _weights(8))), ("dense", "InnerProduct", (dense, _weights(10)))]
    written = [
        protobuf((1, name.encode()), (2, kind.encode()), *((7, blob_proto(one)) for one in blobs))
        for name, kind, blobs in layers
    ]
    return protobuf((1, b"hostile"), *((100, layer) for layer in written))


def hostile_caffe_models(*, flips: int = 60, seed: int = 1) -> dict[str, tuple[bytes, bytes]]:
    """Return Caffe's models by name: the text and the weights."""
    good = PROTOTXT.encode()
    models = {}
    settings = ("num_output: 8", "kernel_size: 3", "stride: 1", "pad: 1", "dilation: 1", "group: 1", "kernel_size: 2")
    settings += ("stride: 2", "pad: 0", "local_size: 5", "axis: 1", "num_output: 10", "dim: 32", "dim: 3")
    for setting in settings:
        for number in (*NUMBERS, "0x0", "1e9", '"text"'):
            changed = PROTOTXT.replace(setting, f"{setting.split(':')[0]}: {number}", 1)
            models[f"{setting} becomes {number}"] = changed.encode(), caffemodel()
    for shape in ((0, 3, 3, 3), (8, 0, 3, 3), (8, 3, 3), (8,), (8, 3, 0, 0)):
        models[f"kernel {shape}"] = good, caffemodel(kernel=np.zeros(shape, np.float32))
    models["dense of nothing"] = good, caffemodel(dense=np.zeros((10, 0), np.float32))
    models["no weights"] = good, b""
    draw = random.Random(seed)
    for i in range(flips):
        text, weights = bytearray(good), bytearray(caffemodel())
        changed_bytes = text if i % 2 else weights
        changed_bytes[draw.randrange(min(len(changed_bytes), 1200))] ^= draw.randrange(1, 256)
        models[f"flipped {i}"] = bytes(text), bytes(weights)
    return models
