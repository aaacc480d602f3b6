"""Graphs that a stranger could send: most are wrong in one place, and some end a process that reads them.

`hostile_graphs()` makes the same ones every time. Those under `harmless_graphs()` are the same networks unspoilt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

CHANNELS, SIDE = 3, 32
HUGE = 2**31 - 1
BEYOND = 2**62


@dataclass
class Net:
    """Nodes from `image` to the last node's first output, before they become a model."""

    nodes: list[NodeProto]
    constants: dict[str, np.ndarray | TensorProto] = field(default_factory=dict)
    sides: Sequence[Any] = (1, CHANNELS, SIDE, SIDE)
    opset: int = 13

    def model(self) -> ModelProto:
        """Return the model, unchecked."""
        graph = helper.make_graph(
            self.nodes,
            "hostile",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, list(self.sides))],
            [helper.make_tensor_value_info(self.nodes[-1].output[0], TensorProto.FLOAT, [])],
            [
                value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
                for name, value in self.constants.items()
            ],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=7, producer_name="trainkit"
        )

    def bytes(self) -> bytes:
        """Return what would stand in the file."""
        return bytes(self.model().SerializeToString())


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def _node(op: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    ready = {name: value for name, value in attributes.items() if isinstance(value, AttributeProto)}
    usual = {name: value for name, value in attributes.items() if name not in ready}
    node = helper.make_node(op, ["" if name == "-" else name for name in inputs.split()], output.split(), **usual)
    node.attribute.extend(ready.values())
    return node


def _one(op: str, *values: Any, opset: int = 13, **attributes: Any) -> Net:
    """Return a net of one operator over a convolution's output (1, 4, 32, 32), with values as its other inputs."""
    constants = {f"value{i}": value for i, value in enumerate(values) if value is not None}
    names = ["a", *(f"value{i}" if value is not None else "-" for i, value in enumerate(values))]
    first = _node("Conv", "image first", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    last = _node(op, " ".join(names), "b", **attributes)
    return Net([first, last], {"first": _weights(4, CHANNELS, 3, 3), **constants}, opset=opset)


def _int64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def _floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


CONV: dict[str, Any] = {
    "kernel_shape": [3, 3],
    "strides": [1, 1],
    "pads": [1, 1, 1, 1],
    "dilations": [1, 1],
    "group": 1,
}
POOL: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0]}
NUMBERS = (0, -1, -2, 1000, 65536, HUGE, -HUGE - 1, BEYOND)
WINDOWS: dict[str, tuple[dict[str, Any], tuple[np.ndarray, ...]]] = {
    "Conv": (CONV, (_weights(8, 4, 3, 3),)),
    "Depthwise": ({**CONV, "group": 4}, (_weights(4, 1, 3, 3),)),
    "ConvTranspose": ({**CONV, "output_padding": [0, 0]}, (_weights(4, 8, 3, 3),)),
    "MaxPool": (POOL, ()),
    "AveragePool": (POOL, ()),
    "LpPool": (POOL, ()),
}


def harmless_graphs() -> dict[str, bytes]:
    """Return networks that OpenCV reads and runs."""
    return {name: net.bytes() for name, net in _bases().items()}


def _bases() -> dict[str, Net]:
    nets = {op: _one(op.replace("Depthwise", "Conv"), *values, **usual) for op, (usual, values) in WINDOWS.items()}
    del nets["LpPool"]  # OpenCV has none
    nets["Classifier"] = _classifier()
    nets["Residual"] = _residual()
    nets["Reshape"] = _one("Reshape", _int64(1, -1))
    nets["Slice"] = _one("Slice", _int64(0), _int64(2), _int64(1), _int64(1))
    nets["Pad"] = _one("Pad", _int64(0, 0, 1, 1, 0, 0, 1, 1), opset=11)
    nets["Resize"] = _one("Resize", None, _floats(1, 1, 2, 2), mode="nearest")
    nets["Gather"] = _one("Gather", _int64(0), axis=1)
    return nets


def _classifier() -> Net:
    nodes = [
        _node("Conv", "image w0", "c0", **{**CONV, "strides": [2, 2]}),
        _node("BatchNormalization", "c0 s s s v", "n0"),
        _node("Relu", "n0", "r0"),
        _node("Conv", "r0 w1", "c1", **{**CONV, "group": 8}),
        _node("Clip", "c1 low high", "r1"),
        _node("MaxPool", "r1", "p1", **POOL),
        _node("Conv", "p1 w2", "c2", kernel_shape=[1, 1]),
        _node("Sigmoid", "c2", "g"),
        _node("Mul", "c2 g", "m"),
        _node("GlobalAveragePool", "m", "p2"),
        _node("Flatten", "p2", "f"),
        _node("Gemm", "f w3 b3", "d", transB=1),
        _node("Softmax", "d", "y", axis=1),
    ]
    constants = {
        "w0": _weights(8, CHANNELS, 3, 3),
        "w1": _weights(8, 1, 3, 3),
        "w2": _weights(16, 8, 1, 1),
        "w3": _weights(10, 16),
        "b3": _weights(10),
        "s": _weights(8),
        "v": np.abs(_weights(8)) + 1,
        "low": np.float32(0),
        "high": np.float32(6),
    }
    return Net(nodes, constants, sides=("N", CHANNELS, SIDE, SIDE), opset=11)


def _residual() -> Net:
    nodes = [
        _node("Conv", "image w0", "c0", **CONV),
        _node("LRN", "c0", "n0", size=5),
        _node("Conv", "n0 w1", "c1", **CONV),
        _node("Add", "c0 c1", "a0"),
        _node("Concat", "a0 c1", "a1", axis=1),
        _node("Transpose", "a1", "t", perm=[0, 2, 3, 1]),
        _node("Reshape", "t shape", "f"),
        _node("MatMul", "f w2", "y"),
    ]
    constants = {
        "w0": _weights(4, CHANNELS, 3, 3),
        "w1": _weights(4, 4, 3, 3),
        "w2": _weights(8 * SIDE * SIDE, 5),
        "shape": _int64(1, -1),
    }
    return Net(nodes, constants)


def hostile_graphs(*, flips: int = 160, seed: int = 1) -> dict[str, bytes]:
    """Return ONNX files by name.

    Args:
        flips: so many of them are good ones with a few bytes changed.
        seed: of these changes.
    """
    nets = {name: net.bytes() for part in (_windows, _sizes, _axes, _numbers) for name, net in part()}
    nets.update(_weights_that_disagree())
    nets.update(_structures())
    nets.update(_flipped(flips, seed))
    return nets


def _windows() -> Iterator[tuple[str, Net]]:
    """Kernels, strides, paddings, dilations and groups out of range, or of the wrong length or type."""
    for op, (usual, values) in WINDOWS.items():
        for name, value in usual.items():
            for number in NUMBERS:
                changed: Any = number if name == "group" else [number] * len(value)
                yield f"{op} {name} {number}", _one(_plain(op), *values, **{**usual, name: changed})
            if name != "group":
                yield f"{op} {name} one of them 0", _one(_plain(op), *values, **{**usual, name: [*value[:-1], 0]})
                yield f"{op} {name} empty", _one(_plain(op), *values, **{**usual, name: _no_numbers(name)})
                yield f"{op} {name} too many", _one(_plain(op), *values, **{**usual, name: [*value] * 3})
                yield f"{op} {name} one", _one(_plain(op), *values, **{**usual, name: value[:1]})
            yield f"{op} {name} text", _one(_plain(op), *values, **{**usual, name: "text"})
            yield f"{op} {name} float", _one(_plain(op), *values, **{**usual, name: 0.5})
        yield f"{op} no attributes", _one(_plain(op), *values)
        yield f"{op} auto_pad strides 0", _one(_plain(op), *values, auto_pad="SAME_UPPER", strides=[0, 0])
    for group in (2, 3, 5, 8):
        yield f"Conv group {group}", _one("Conv", _weights(8, 4, 3, 3), **{**CONV, "group": group})
        yield f"ConvTranspose group {group}", _one("ConvTranspose", _weights(4, 8, 3, 3), **{**CONV, "group": group})
    for shape in ((8, 0, 3, 3), (0, 4, 3, 3), (8, 4, 0, 0), (8, 4), (8,), (), (8, 4, 3), (8, 4, 3, 3, 3), (8, 5, 3, 3)):
        yield f"Conv weights {shape}", _one("Conv", np.zeros(shape, np.float32), **CONV)
        yield f"Conv weights {shape} only", _one("Conv", np.zeros(shape, np.float32))
        yield f"ConvTranspose weights {shape}", _one("ConvTranspose", np.zeros(shape, np.float32), **CONV)
        yield f"Gemm weights {shape}", _one("Gemm", np.zeros(shape, np.float32), transB=1)
        yield f"MatMul weights {shape}", _one("MatMul", np.zeros(shape, np.float32))
    yield "Conv bias of another size", _one("Conv", _weights(8, 4, 3, 3), _weights(3), **CONV)
    yield "Conv bias empty", _one("Conv", _weights(8, 4, 3, 3), np.zeros(0, np.float32), **CONV)
    yield "Conv without weights", _one("Conv", **CONV)
    yield "Conv valid kernel over its edge", _one("MaxPool", kernel_shape=[40, 40], strides=[7, 7])


def _plain(op: str) -> str:
    return "Conv" if op == "Depthwise" else op


def _no_numbers(name: str) -> AttributeProto:
    return AttributeProto(name=name, type=AttributeProto.INTS)


def _sizes() -> Iterator[tuple[str, Net]]:
    """Outputs that would fill the memory, have no pixels or a negative number of them."""
    for number in NUMBERS:
        yield f"Reshape {number}", _one("Reshape", _int64(number, -1))
        yield f"Reshape to {number} x 4", _one("Reshape", _int64(*[number] * 4))
        yield f"Expand {number}", _one("Expand", _int64(1, 4, number, number))
        yield f"Tile {number}", _one("Tile", _int64(1, 1, number, number))
        yield f"ConstantOfShape {number}", _after_constant(number)
        yield f"Resize sizes {number}", _one("Resize", None, None, _int64(1, 4, number, number), mode="linear")
        yield f"Pad {number}", _one("Pad", _int64(0, 0, number, number, 0, 0, number, number))
        yield f"Pad {number} opset 9", _one("Pad", pads=[0, 0, number, number, 0, 0, number, number], opset=9)
        yield f"declared side {number}", Net([_node("Relu", "image", "y")], sides=(1, 3, number, number))
        yield f"Split {number}", _one("Split", axis=1, split=[number, 4 - number] if number < 10 else [number], opset=9)
        yield f"DepthToSpace {number}", _one("DepthToSpace", blocksize=number)
        yield f"SpaceToDepth {number}", _one("SpaceToDepth", blocksize=number)
        yield f"LRN {number}", _one("LRN", size=number)
        yield f"MaxUnpool {number}", _one("MaxUnpool", _int64(0), kernel_shape=[number, number])
        yield f"GroupNorm {number}", _one("GroupNormalization", _weights(4), _weights(4), num_groups=number, opset=18)
    for scale in (0.0, -1.0, 1e-30, 1e9, float("inf"), float("nan")):
        yield f"Resize scales {scale}", _one("Resize", None, _floats(1, 1, scale, scale), mode="nearest")
        yield f"Resize linear {scale}", _one("Resize", None, _floats(1, 1, scale, scale), mode="linear")
        yield f"Upsample {scale}", _one("Upsample", _floats(1, 1, scale, scale), mode="nearest", opset=9)
        yield f"Upsample attribute {scale}", _one("Upsample", scales=[1.0, 1.0, scale, scale], opset=7)
    yield "Resize scales of two", _one("Resize", None, _floats(2, 2), mode="nearest")
    yield "Resize with nothing", _one("Resize", mode="nearest")
    yield "Reshape two unknown", _one("Reshape", _int64(-1, -1))
    yield "Reshape many sides", _one("Reshape", _int64(1, -1, *[1] * 60))
    yield "Reshape no sides", _one("Reshape", np.zeros(0, np.int64))
    yield "Unsqueeze many", _one("Unsqueeze", _int64(*range(4, 60)))


def _after_constant(number: int) -> Net:
    net = _one("Add")
    net.nodes.insert(1, _node("ConstantOfShape", "sides", "filled"))
    net.nodes[-1].input.append("filled")
    net.constants["sides"] = _int64(1, 4, number, number)
    return net


AXES: dict[str, dict[str, Any]] = {
    "Concat": {"axis": 1},
    "Softmax": {"axis": 1},
    "LogSoftmax": {"axis": 1},
    "Flatten": {"axis": 1},
    "Gather": {"axis": 1},
    "Split": {"axis": 1},
    "ArgMax": {"axis": 1},
    "Hardmax": {"axis": 1},
    "ReduceMean": {"axes": [1]},
    "ReduceMax": {"axes": [1]},
    "Transpose": {"perm": [0, 2, 3, 1]},
    "Squeeze": {"axes": [0]},
    "Unsqueeze": {"axes": [0]},
    "Normalizer": {"norm": "L2"},
    "CumSum": {},
    "TopK": {"axis": 1},
    "LayerNormalization": {"axis": 1},
}
INPUTS: dict[str, tuple[Any, ...]] = {
    "Gather": (_int64(0),),
    "CumSum": (_int64(1),),
    "TopK": (_int64(1),),
    "LayerNormalization": (_weights(4, 32, 32), _weights(4, 32, 32)),
}


def _axes() -> Iterator[tuple[str, Net]]:
    """Axes that are not there."""
    for op, usual in AXES.items():
        yield f"{op} as usual", _one(op, *INPUTS.get(op, ()), opset=11, **usual)
        for name, value in usual.items():
            for number in (4, 5, -5, 100, HUGE, -HUGE - 1, BEYOND):
                changed: Any = [number] * len(value) if isinstance(value, list) else number
                yield f"{op} {name} {number}", _one(op, *INPUTS.get(op, ()), opset=11, **{name: changed})
    for index in (4, -5, HUGE, -HUGE - 1, BEYOND):
        yield f"Gather index {index}", _one("Gather", _int64(index), axis=1)
        yield f"CumSum axis {index}", _one("CumSum", _int64(index))
        yield f"TopK {index}", _one("TopK", _int64(index), axis=1, opset=11)
        yield f"OneHot {index}", _one("OneHot", _int64(index), _floats(0, 1))
    yield "Transpose twice the same", _one("Transpose", perm=[0, 1, 1, 1])
    yield "Transpose of two", _one("Transpose", perm=[1, 0])
    yield "Gather indices many", _one("Gather", np.zeros((100, 100, 100), np.int64), axis=1)
    for starts, ends, axes, steps in (
        (0, 2, 1, 0),
        (0, 2, 1, -1),
        (0, 0, 1, 1),
        (3, 1, 1, 1),
        (9, 12, 1, 1),
        (0, HUGE, 1, 1),
        (-BEYOND, BEYOND, 1, 1),
        (0, 2, 7, 1),
        (0, 2, -7, 1),
        (0, 2, HUGE, 1),
        (0, 2, 1, HUGE),
        (0, 2, 1, BEYOND),
        (3, 0, 2, -HUGE),
    ):
        name = f"Slice {starts} {ends} {axes} {steps}"
        yield name, _one("Slice", _int64(starts), _int64(ends), _int64(axes), _int64(steps))
        yield f"{name} opset 9", _one("Slice", starts=[starts], ends=[ends], axes=[axes], opset=9)
    yield "Slice of other lengths", _one("Slice", _int64(0, 0, 0), _int64(2), _int64(1), _int64(1))
    yield "Slice of nothing", _one("Slice", np.zeros(0, np.int64), np.zeros(0, np.int64))


def _numbers() -> Iterator[tuple[str, Net]]:
    """Arithmetic of whole numbers that has no answer, and what is computed of a shape."""
    for op in ("Div", "Mod"):
        for kind in (np.int32, np.int64):
            values = {"x": np.array([8, 9], kind), "y": np.array([0, 2], kind), "z": np.array([-1], kind)}
            values["least"] = np.array([np.iinfo(kind).min] * 2, kind)
            for first, second in (("x", "y"), ("least", "z"), ("y", "y")):
                nodes = [_node(op, f"{first} {second}", "q"), _node("Cast", "q", "c", to=1)]
                nodes += [_node("ReduceSum", "image", "s", keepdims=0), _node("Add", "s c", "y0")]
                yield f"{op} {np.dtype(kind)} {first} {second}", Net(nodes, values)
    for op, value in (("Div", 0), ("Mod", 0), ("Sub", 1), ("Mul", HUGE), ("Mul", BEYOND), ("Mul", 0), ("Add", BEYOND)):
        nodes = [
            _node("Shape", "image", "shape"),
            _node("Gather", "shape zero", "first", axis=0),
            _node(op, "first value", "changed"),
            _node("Unsqueeze", "changed", "row", axes=[0]),
            _node("Concat", "row rest", "target", axis=0),
            _node("Reshape", "image target", "y"),
        ]
        constants = {"zero": np.int64(0), "value": np.int64(value), "rest": _int64(-1)}
        yield f"shape {op} {value}", Net(nodes, constants, opset=11)
        yield f"shape {op} {value} any batch", Net(nodes, constants, sides=("N", 3, SIDE, SIDE), opset=11)
    for limits in ((0, HUGE, 1), (0, 10, 0), (0, BEYOND, 1), (10, 0, 1), (0, -HUGE, -1)):
        constants = {f"r{i}": np.int64(value) for i, value in enumerate(limits)}
        nodes = [_node("Range", "r0 r1 r2", "r"), _node("Cast", "r", "c", to=1), _node("Add", "image c", "y")]
        yield f"Range {limits}", Net(nodes, constants)
    for shape in ((0,), (1, 0, 32, 32), (5,), (7, 7), (1, 4, 31, 32), (2, 4, 32, 32, 1, 1)):
        for op in ("Add", "Mul", "Max", "Pow", "PRelu", "Where"):
            values = (np.zeros(shape, np.float32),) * (2 if op == "Where" else 1)
            yield f"{op} {shape}", _one(op, *values)
    for kind in (0, 7, 9, 10, 16, 21, 99, HUGE):
        yield f"Cast to {kind}", _one("Cast", to=kind)
    yield "BatchNormalization short", _one("BatchNormalization", *[_weights(1)] * 4)
    yield "BatchNormalization empty", _one("BatchNormalization", *[np.zeros(0, np.float32)] * 4)
    yield "BatchNormalization long", _one("BatchNormalization", *[_weights(999)] * 4)
    yield "BatchNormalization without", _one("BatchNormalization")
    yield "InstanceNormalization short", _one("InstanceNormalization", _weights(1), _weights(1))
    yield "LSTM of nothing", _one("LSTM", _weights(1, 4, 4), _weights(1, 4, 4), hidden_size=0)
    yield "LSTM negative", _one("LSTM", _weights(1, 4, 4), _weights(1, 4, 4), hidden_size=-1)
    yield "GRU of nothing", _one("GRU", _weights(1, 3, 4), _weights(1, 3, 4), hidden_size=0)
    yield "Einsum strange", _one("Einsum", equation="abcd,->zz")
    yield "QuantizeLinear empty", _one("QuantizeLinear", np.zeros(0, np.float32), np.zeros(0, np.uint8))
    yield "NonMaxSuppression", _one("NonMaxSuppression", _weights(1, 1, 4), _int64(BEYOND))
    yield "ScatterND far", _one("ScatterND", _int64(0, 99, 0, 0).reshape(1, 4), _weights(1))
    yield "ScatterElements far", _one("ScatterElements", np.full((1, 4, 1, 1), 99), _weights(1, 4, 1, 1), axis=1)
    yield "GatherElements far", _one("GatherElements", np.full((1, 4, 1, 1), 99), axis=1)


def _tensor(**fields: Any) -> TensorProto:
    return TensorProto(name="value0", data_type=fields.pop("data_type", TensorProto.FLOAT), **fields)


def _weights_that_disagree() -> Iterator[tuple[str, bytes]]:
    """Tensors whose sides and bytes are at odds, or that lie in another file."""
    raw = _weights(8, 4, 3, 3).tobytes()
    tensors = {
        "short": _tensor(dims=[8, 4, 3, 3], raw_data=raw[:-4]),
        "none": _tensor(dims=[8, 4, 3, 3]),
        "odd": _tensor(dims=[8, 4, 3, 3], raw_data=raw[:-3]),
        "long": _tensor(dims=[8, 4, 3, 3], raw_data=raw * 2),
        "huge": _tensor(dims=[HUGE, HUGE, HUGE, HUGE], raw_data=raw),
        "negative": _tensor(dims=[-8, -4, 3, 3], raw_data=raw),
        "negative one": _tensor(dims=[-1, 4, 3, 3], raw_data=raw),
        "overflow": _tensor(dims=[2**32, 2**32, 3, 3], raw_data=raw),
        "overflow to right": _tensor(dims=[8, 4, 3, 3 + 2**32], raw_data=raw),
        "floats short": _tensor(dims=[8, 4, 3, 3], float_data=[0.5] * 7),
        "sides none": _tensor(raw_data=raw),
        "type 0": _tensor(dims=[8, 4, 3, 3], raw_data=raw, data_type=0),
        "type 99": _tensor(dims=[8, 4, 3, 3], raw_data=raw, data_type=99),
        "type text": _tensor(dims=[8, 4, 3, 3], string_data=[b"a"] * 288, data_type=8),
        "type double": _tensor(dims=[8, 4, 3, 3], raw_data=raw, data_type=11),
        "type int8": _tensor(dims=[8, 4, 3, 3], raw_data=raw[:288], data_type=3),
        "type float16": _tensor(dims=[8, 4, 3, 3], raw_data=raw[:576], data_type=10),
        "segment": _tensor(dims=[8, 4, 3, 3], raw_data=raw, segment=TensorProto.Segment(begin=2**40, end=2**41)),
        "elsewhere": _external("/etc/passwd"),
        "elsewhere relative": _external("../../weights.bin"),
        "elsewhere beside": _external("weights.bin", location=False),
    }
    for name, tensor in tensors.items():
        yield f"tensor {name}", _one("Conv", tensor, **CONV).bytes()
        constant = _one("Conv", **CONV)
        constant.nodes.insert(1, _node("Constant", "", "w", value=tensor))
        constant.nodes[-1].input.append("w")
        yield f"constant {name}", constant.bytes()
    for name in ("elsewhere", "elsewhere beside"):
        yield f"sparse {name}", _sparse(tensors[name])
        yield f"subgraph {name}", _in_subgraph(tensors[name])
        yield f"function {name}", _in_function(tensors[name])


def _external(path: str, *, location: bool = True) -> TensorProto:
    tensor = _tensor(dims=[8, 4, 3, 3])
    tensor.external_data.add(key="location", value=path)
    if location:
        tensor.data_location = TensorProto.EXTERNAL
    return tensor


def _sparse(tensor: TensorProto) -> bytes:
    model = _one("Conv", _weights(8, 4, 3, 3), **CONV).model()
    sparse = model.graph.sparse_initializer.add().values
    sparse.CopyFrom(tensor)
    sparse.name = "sparse"
    return bytes(model.SerializeToString())


def _in_subgraph(tensor: TensorProto) -> bytes:
    inner = helper.make_graph([_node("Identity", "value0", "v")], "inner", [], [], [tensor])
    model = _one("Relu").model()
    model.graph.node.append(_node("If", "a", "v2", then_branch=inner, else_branch=inner))
    return bytes(model.SerializeToString())


def _in_function(tensor: TensorProto) -> bytes:
    model = _one("Relu").model()
    model.functions.append(
        helper.make_function("own", "F", [], ["v"], [_node("Constant", "", "v", value=tensor)], model.opset_import)
    )
    return bytes(model.SerializeToString())


def _structures() -> Iterator[tuple[str, bytes]]:
    """Graphs that are none: circles, names of nothing, names twice, very many nodes, very deep ones."""
    many = [_node("Relu", "image" if i == 0 else f"v{i - 1}", f"v{i}") for i in range(20_000)]
    nets = {
        "circle of one": Net([_node("Add", "image y", "y")]),
        "circle of two": Net([_node("Add", "image b", "a"), _node("Relu", "a", "b")]),
        "circle of constants": Net(
            [_node("Identity", "b", "a"), _node("Identity", "a", "b"), _node("Add", "image a", "y")]
        ),
        "input of nothing": Net([_node("Relu", "nowhere", "y")]),
        "second input of nothing": Net([_node("Add", "image nowhere", "y")]),
        "no inputs": Net([_node("Relu", "", "y")]),
        "Add of no inputs": Net([_node("Add", "", "y")]),
        "Concat of no inputs": Net([_node("Concat", "", "y", axis=1)]),
        "empty name": Net([_node("Conv", "image -", "y", **CONV)]),
        "names twice": Net([_node("Relu", "image", "y"), _node("Sigmoid", "image", "y")]),
        "name of the input": Net([_node("Relu", "image", "image")]),
        "name of a constant": Net([_node("Add", "image c", "c")], {"c": _weights(1)}),
        "no such operator": Net([_node("Nonsense", "image", "y")]),
        "many nodes": Net(many),
        "many inputs": Net([_node("Concat", "image " * 5000, "y", axis=1)]),
        "many sums": Net([_node("Sum", "image " * 20_000, "y")]),
        "turned round": Net([_node("Relu", "a", "y"), _node("Relu", "image", "a")]),
    }
    for name, net in nets.items():
        yield name, net.bytes()
    for name, change in {"no outputs": "output", "no graph inputs": "input", "no nodes": "node"}.items():
        model = _one("Relu").model()
        model.graph.ClearField(change)  # type: ignore[arg-type]
        yield name, bytes(model.SerializeToString())
    for sides in ((), (1,), (0, 3, 32, 32), (1, 3), (1, 3, 32, 32, 32), (1, 3, "H", "W"), (-1, -1, -1, -1)):
        yield f"input {sides}", Net([_node("Relu", "image", "y")], sides=sides).bytes()
        yield (
            f"Conv input {sides}",
            Net([_node("Conv", "image w", "y", **CONV)], {"w": _weights(4, 3, 3, 3)}, sides).bytes(),
        )
    for kind in (0, 7, 8, 10, 99):
        model = _one("Relu").model()
        model.graph.input[0].type.tensor_type.elem_type = kind
        yield f"input of type {kind}", bytes(model.SerializeToString())
    for opset in (0, -1, 1, 6, 99, BEYOND):
        yield f"opset {opset}", _one("MaxPool", opset=opset, **POOL).bytes()
    for op in ("If", "Loop", "Scan"):
        for depth in (1, 30):
            yield f"{op} {depth} deep", _nested(op, depth)
    model = _one("Relu").model()
    model.graph.node[1].ClearField("output")
    yield "node without outputs", bytes(model.SerializeToString())
    yield "empty model", b""
    yield "only a graph", b"\x3a\x00"
    yield "nothing but groups", b"\x0b" * 100_000
    yield "graph in graph", _wrap(b"\x3a", 200)


def _wrap(tag: bytes, times: int) -> bytes:
    data = b""
    for _ in range(times):
        size, head = len(data), b""
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        data = tag + head + bytes([size]) + data
    return data


def _nested(op: str, depth: int) -> bytes:
    inner = helper.make_graph([_node("Relu", "image", "v")], "inner", [], [helper.make_tensor_value_info("v", 1, [])])
    for _ in range(depth):
        branches = {"then_branch" if op == "If" else "body": inner}
        outer = _node(op, "image image", "v", **branches)
        inner = helper.make_graph([outer], "inner", [], [helper.make_tensor_value_info("v", 1, [])])
    return Net(list(inner.node)).bytes()


def _flipped(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    draw, bases = random.Random(seed), list(harmless_graphs().items())
    for i in range(count):
        name, data = bases[i % len(bases)]
        changed = bytearray(data)
        for _ in range(draw.choice([1, 1, 1, 4])):
            changed[_place(draw, data)] ^= draw.randrange(1, 256)
        yield f"{name} flipped {i}", bytes(changed)


def _place(draw: random.Random, data: bytes) -> int:
    """Return a place that is no weight in three of four draws: most bytes are weights, where little can go wrong."""
    place = draw.randrange(len(data))
    for _ in range(40):
        if draw.random() < 0.25 or data[max(0, place - 40) : place + 40].count(b"\n") > 2:
            break
        place = draw.randrange(len(data))
    return place
