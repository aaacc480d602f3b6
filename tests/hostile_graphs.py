"""Graphs that a stranger could send: most are wrong in one place, and some end a process that reads them.

`hostile_graphs()` makes the same ones every time. Those under `harmless_graphs()` are the same networks unspoilt.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
from graph_nets import (
    BEYOND,
    CONV,
    HUGE,
    NUMBERS,
    POOL,
    SIDE,
    WINDOWS,
    Net,
    floats,
    harmless_graphs,
    int64s,
    net_of,
    node_of,
    random_weights,
)
from onnx import AttributeProto, TensorProto, helper


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
                yield f"{op} {name} {number}", net_of(_plain(op), *values, **{**usual, name: changed})
            if name != "group":
                yield f"{op} {name} one of them 0", net_of(_plain(op), *values, **{**usual, name: [*value[:-1], 0]})
                yield f"{op} {name} empty", net_of(_plain(op), *values, **{**usual, name: _no_numbers(name)})
                yield f"{op} {name} too many", net_of(_plain(op), *values, **{**usual, name: [*value] * 3})
                yield f"{op} {name} one", net_of(_plain(op), *values, **{**usual, name: value[:1]})
            yield f"{op} {name} text", net_of(_plain(op), *values, **{**usual, name: "text"})
            yield f"{op} {name} float", net_of(_plain(op), *values, **{**usual, name: 0.5})
        yield f"{op} no attributes", net_of(_plain(op), *values)
        yield f"{op} auto_pad strides 0", net_of(_plain(op), *values, auto_pad="SAME_UPPER", strides=[0, 0])
    for group in (2, 3, 5, 8):
        yield f"Conv group {group}", net_of("Conv", random_weights(8, 4, 3, 3), **{**CONV, "group": group})
        yield (
            f"ConvTranspose group {group}",
            net_of("ConvTranspose", random_weights(4, 8, 3, 3), **{**CONV, "group": group}),
        )
    for shape in ((8, 0, 3, 3), (0, 4, 3, 3), (8, 4, 0, 0), (8, 4), (8,), (), (8, 4, 3), (8, 4, 3, 3, 3), (8, 5, 3, 3)):
        yield f"Conv weights {shape}", net_of("Conv", np.zeros(shape, np.float32), **CONV)
        yield f"Conv weights {shape} only", net_of("Conv", np.zeros(shape, np.float32))
        yield f"ConvTranspose weights {shape}", net_of("ConvTranspose", np.zeros(shape, np.float32), **CONV)
        yield f"Gemm weights {shape}", net_of("Gemm", np.zeros(shape, np.float32), transB=1)
        yield f"MatMul weights {shape}", net_of("MatMul", np.zeros(shape, np.float32))
    yield "Conv bias of another size", net_of("Conv", random_weights(8, 4, 3, 3), random_weights(3), **CONV)
    yield "Conv bias empty", net_of("Conv", random_weights(8, 4, 3, 3), np.zeros(0, np.float32), **CONV)
    yield "Conv without weights", net_of("Conv", **CONV)
    yield "Conv valid kernel over its edge", net_of("MaxPool", kernel_shape=[40, 40], strides=[7, 7])


def _plain(op: str) -> str:
    return "Conv" if op == "Depthwise" else op


def _no_numbers(name: str) -> AttributeProto:
    return AttributeProto(name=name, type=AttributeProto.INTS)


def _sizes() -> Iterator[tuple[str, Net]]:
    """Outputs that would fill the memory, have no pixels or a negative number of them."""
    for number in NUMBERS:
        yield f"Reshape {number}", net_of("Reshape", int64s(number, -1))
        yield f"Reshape to {number} x 4", net_of("Reshape", int64s(*[number] * 4))
        yield f"Expand {number}", net_of("Expand", int64s(1, 4, number, number))
        yield f"Tile {number}", net_of("Tile", int64s(1, 1, number, number))
        yield f"ConstantOfShape {number}", _after_constant(number)
        yield f"Resize sizes {number}", net_of("Resize", None, None, int64s(1, 4, number, number), mode="linear")
        yield f"Pad {number}", net_of("Pad", int64s(0, 0, number, number, 0, 0, number, number))
        yield f"Pad {number} opset 9", net_of("Pad", pads=[0, 0, number, number, 0, 0, number, number], opset=9)
        yield f"declared side {number}", Net([node_of("Relu", "image", "y")], sides=(1, 3, number, number))
        yield (
            f"Split {number}",
            net_of("Split", axis=1, split=[number, 4 - number] if number < 10 else [number], opset=9),
        )
        yield f"DepthToSpace {number}", net_of("DepthToSpace", blocksize=number)
        yield f"SpaceToDepth {number}", net_of("SpaceToDepth", blocksize=number)
        yield f"LRN {number}", net_of("LRN", size=number)
        yield f"MaxUnpool {number}", net_of("MaxUnpool", int64s(0), kernel_shape=[number, number])
        yield (
            f"GroupNorm {number}",
            net_of("GroupNormalization", random_weights(4), random_weights(4), num_groups=number, opset=18),
        )
    for scale in (0.0, -1.0, 1e-30, 1e9, float("inf"), float("nan")):
        yield f"Resize scales {scale}", net_of("Resize", None, floats(1, 1, scale, scale), mode="nearest")
        yield f"Resize linear {scale}", net_of("Resize", None, floats(1, 1, scale, scale), mode="linear")
        yield f"Upsample {scale}", net_of("Upsample", floats(1, 1, scale, scale), mode="nearest", opset=9)
        yield f"Upsample attribute {scale}", net_of("Upsample", scales=[1.0, 1.0, scale, scale], opset=7)
    yield "Resize scales of two", net_of("Resize", None, floats(2, 2), mode="nearest")
    yield "Resize with nothing", net_of("Resize", mode="nearest")
    yield "Reshape two unknown", net_of("Reshape", int64s(-1, -1))
    yield "Reshape many sides", net_of("Reshape", int64s(1, -1, *[1] * 60))
    yield "Reshape no sides", net_of("Reshape", np.zeros(0, np.int64))
    yield "Unsqueeze many", net_of("Unsqueeze", int64s(*range(4, 60)))


def _after_constant(number: int) -> Net:
    net = net_of("Add")
    net.nodes.insert(1, node_of("ConstantOfShape", "sides", "filled"))
    net.nodes[-1].input.append("filled")
    net.constants["sides"] = int64s(1, 4, number, number)
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
    "Gather": (int64s(0),),
    "CumSum": (int64s(1),),
    "TopK": (int64s(1),),
    "LayerNormalization": (random_weights(4, 32, 32), random_weights(4, 32, 32)),
}


def _axes() -> Iterator[tuple[str, Net]]:
    """Axes that are not there."""
    for op, usual in AXES.items():
        yield f"{op} as usual", net_of(op, *INPUTS.get(op, ()), opset=11, **usual)
        for name, value in usual.items():
            for number in (4, 5, -5, 100, HUGE, -HUGE - 1, BEYOND):
                changed: Any = [number] * len(value) if isinstance(value, list) else number
                yield f"{op} {name} {number}", net_of(op, *INPUTS.get(op, ()), opset=11, **{name: changed})
    for index in (4, -5, HUGE, -HUGE - 1, BEYOND):
        yield f"Gather index {index}", net_of("Gather", int64s(index), axis=1)
        yield f"CumSum axis {index}", net_of("CumSum", int64s(index))
        yield f"TopK {index}", net_of("TopK", int64s(index), axis=1, opset=11)
        yield f"OneHot {index}", net_of("OneHot", int64s(index), floats(0, 1))
    yield "Transpose twice the same", net_of("Transpose", perm=[0, 1, 1, 1])
    yield "Transpose of two", net_of("Transpose", perm=[1, 0])
    yield "Gather indices many", net_of("Gather", np.zeros((100, 100, 100), np.int64), axis=1)
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
        yield name, net_of("Slice", int64s(starts), int64s(ends), int64s(axes), int64s(steps))
        yield f"{name} opset 9", net_of("Slice", starts=[starts], ends=[ends], axes=[axes], opset=9)
    yield "Slice of other lengths", net_of("Slice", int64s(0, 0, 0), int64s(2), int64s(1), int64s(1))
    yield "Slice of nothing", net_of("Slice", np.zeros(0, np.int64), np.zeros(0, np.int64))


def _numbers() -> Iterator[tuple[str, Net]]:
    """Arithmetic of whole numbers that has no answer, and what is computed of a shape."""
    for op in ("Div", "Mod"):
        for kind in (np.int32, np.int64):
            values = {"x": np.array([8, 9], kind), "y": np.array([0, 2], kind), "z": np.array([-1], kind)}
            values["least"] = np.array([np.iinfo(kind).min] * 2, kind)
            for first, second in (("x", "y"), ("least", "z"), ("y", "y")):
                nodes = [node_of(op, f"{first} {second}", "q"), node_of("Cast", "q", "c", to=1)]
                nodes += [node_of("ReduceSum", "image", "s", keepdims=0), node_of("Add", "s c", "y0")]
                yield f"{op} {np.dtype(kind)} {first} {second}", Net(nodes, values)
    for op, value in (("Div", 0), ("Mod", 0), ("Sub", 1), ("Mul", HUGE), ("Mul", BEYOND), ("Mul", 0), ("Add", BEYOND)):
        nodes = [
            node_of("Shape", "image", "shape"),
            node_of("Gather", "shape zero", "first", axis=0),
            node_of(op, "first value", "changed"),
            node_of("Unsqueeze", "changed", "row", axes=[0]),
            node_of("Concat", "row rest", "target", axis=0),
            node_of("Reshape", "image target", "y"),
        ]
        constants = {"zero": np.int64(0), "value": np.int64(value), "rest": int64s(-1)}
        yield f"shape {op} {value}", Net(nodes, constants, opset=11)
        yield f"shape {op} {value} any batch", Net(nodes, constants, sides=("N", 3, SIDE, SIDE), opset=11)
    for limits in ((0, HUGE, 1), (0, 10, 0), (0, BEYOND, 1), (10, 0, 1), (0, -HUGE, -1)):
        constants = {f"r{i}": np.int64(value) for i, value in enumerate(limits)}
        nodes = [node_of("Range", "r0 r1 r2", "r"), node_of("Cast", "r", "c", to=1), node_of("Add", "image c", "y")]
        yield f"Range {limits}", Net(nodes, constants)
    for shape in ((0,), (1, 0, 32, 32), (5,), (7, 7), (1, 4, 31, 32), (2, 4, 32, 32, 1, 1)):
        for op in ("Add", "Mul", "Max", "Pow", "PRelu", "Where"):
            values = (np.zeros(shape, np.float32),) * (2 if op == "Where" else 1)
            yield f"{op} {shape}", net_of(op, *values)
    for kind in (0, 7, 9, 10, 16, 21, 99, HUGE):
        yield f"Cast to {kind}", net_of("Cast", to=kind)
    yield "BatchNormalization short", net_of("BatchNormalization", *[random_weights(1)] * 4)
    yield "BatchNormalization empty", net_of("BatchNormalization", *[np.zeros(0, np.float32)] * 4)
    yield "BatchNormalization long", net_of("BatchNormalization", *[random_weights(999)] * 4)
    yield "BatchNormalization without", net_of("BatchNormalization")
    yield "InstanceNormalization short", net_of("InstanceNormalization", random_weights(1), random_weights(1))
    yield "LSTM of nothing", net_of("LSTM", random_weights(1, 4, 4), random_weights(1, 4, 4), hidden_size=0)
    yield "LSTM negative", net_of("LSTM", random_weights(1, 4, 4), random_weights(1, 4, 4), hidden_size=-1)
    yield "GRU of nothing", net_of("GRU", random_weights(1, 3, 4), random_weights(1, 3, 4), hidden_size=0)
    yield "Einsum strange", net_of("Einsum", equation="abcd,->zz")
    yield "QuantizeLinear empty", net_of("QuantizeLinear", np.zeros(0, np.float32), np.zeros(0, np.uint8))
    yield "NonMaxSuppression", net_of("NonMaxSuppression", random_weights(1, 1, 4), int64s(BEYOND))
    yield "ScatterND far", net_of("ScatterND", int64s(0, 99, 0, 0).reshape(1, 4), random_weights(1))
    yield (
        "ScatterElements far",
        net_of("ScatterElements", np.full((1, 4, 1, 1), 99), random_weights(1, 4, 1, 1), axis=1),
    )
    yield "GatherElements far", net_of("GatherElements", np.full((1, 4, 1, 1), 99), axis=1)


def _tensor(**fields: Any) -> TensorProto:
    return TensorProto(name="value0", data_type=fields.pop("data_type", TensorProto.FLOAT), **fields)


def _weights_that_disagree() -> Iterator[tuple[str, bytes]]:
    """Tensors whose sides and bytes are at odds, or that lie in another file."""
    raw = random_weights(8, 4, 3, 3).tobytes()
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
        yield f"tensor {name}", net_of("Conv", tensor, **CONV).bytes()
        constant = net_of("Conv", **CONV)
        constant.nodes.insert(1, node_of("Constant", "", "w", value=tensor))
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
    model = net_of("Conv", random_weights(8, 4, 3, 3), **CONV).model()
    sparse = model.graph.sparse_initializer.add().values
    sparse.CopyFrom(tensor)
    sparse.name = "sparse"
    return bytes(model.SerializeToString())


def _in_subgraph(tensor: TensorProto) -> bytes:
    inner = helper.make_graph([node_of("Identity", "value0", "v")], "inner", [], [], [tensor])
    model = net_of("Relu").model()
    model.graph.node.append(node_of("If", "a", "v2", then_branch=inner, else_branch=inner))
    return bytes(model.SerializeToString())


def _in_function(tensor: TensorProto) -> bytes:
    model = net_of("Relu").model()
    model.functions.append(
        helper.make_function("own", "F", [], ["v"], [node_of("Constant", "", "v", value=tensor)], model.opset_import)
    )
    return bytes(model.SerializeToString())


def _structures() -> Iterator[tuple[str, bytes]]:
    """Graphs that are none: circles, names of nothing, names twice, very many nodes, very deep ones."""
    many = [node_of("Relu", "image" if i == 0 else f"v{i - 1}", f"v{i}") for i in range(20_000)]
    nets = {
        "circle of one": Net([node_of("Add", "image y", "y")]),
        "circle of two": Net([node_of("Add", "image b", "a"), node_of("Relu", "a", "b")]),
        "circle of constants": Net(
            [node_of("Identity", "b", "a"), node_of("Identity", "a", "b"), node_of("Add", "image a", "y")]
        ),
        "input of nothing": Net([node_of("Relu", "nowhere", "y")]),
        "second input of nothing": Net([node_of("Add", "image nowhere", "y")]),
        "no inputs": Net([node_of("Relu", "", "y")]),
        "Add of no inputs": Net([node_of("Add", "", "y")]),
        "Concat of no inputs": Net([node_of("Concat", "", "y", axis=1)]),
        "empty name": Net([node_of("Conv", "image -", "y", **CONV)]),
        "names twice": Net([node_of("Relu", "image", "y"), node_of("Sigmoid", "image", "y")]),
        "name of the input": Net([node_of("Relu", "image", "image")]),
        "name of a constant": Net([node_of("Add", "image c", "c")], {"c": random_weights(1)}),
        "no such operator": Net([node_of("Nonsense", "image", "y")]),
        "many nodes": Net(many),
        "many inputs": Net([node_of("Concat", "image " * 5000, "y", axis=1)]),
        "many sums": Net([node_of("Sum", "image " * 20_000, "y")]),
        "turned round": Net([node_of("Relu", "a", "y"), node_of("Relu", "image", "a")]),
    }
    for name, net in nets.items():
        yield name, net.bytes()
    for name, change in {"no outputs": "output", "no graph inputs": "input", "no nodes": "node"}.items():
        model = net_of("Relu").model()
        model.graph.ClearField(change)  # type: ignore[arg-type]
        yield name, bytes(model.SerializeToString())
    for sides in ((), (1,), (0, 3, 32, 32), (1, 3), (1, 3, 32, 32, 32), (1, 3, "H", "W"), (-1, -1, -1, -1)):
        yield f"input {sides}", Net([node_of("Relu", "image", "y")], sides=sides).bytes()
        yield (
            f"Conv input {sides}",
            Net([node_of("Conv", "image w", "y", **CONV)], {"w": random_weights(4, 3, 3, 3)}, sides).bytes(),
        )
    for kind in (0, 7, 8, 10, 99):
        model = net_of("Relu").model()
        model.graph.input[0].type.tensor_type.elem_type = kind
        yield f"input of type {kind}", bytes(model.SerializeToString())
    for opset in (0, -1, 1, 6, 99, BEYOND):
        yield f"opset {opset}", net_of("MaxPool", opset=opset, **POOL).bytes()
    for op in ("If", "Loop", "Scan"):
        for depth in (1, 30):
            yield f"{op} {depth} deep", _nested(op, depth)
    model = net_of("Relu").model()
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
    inner = helper.make_graph([node_of("Relu", "image", "v")], "inner", [], [helper.make_tensor_value_info("v", 1, [])])
    for _ in range(depth):
        branches = {"then_branch" if op == "If" else "body": inner}
        outer = node_of(op, "image image", "v", **branches)
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
