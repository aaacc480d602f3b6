"""Small networks in ONNX that OpenCV reads and runs, of which `hostile_graphs` makes others."""

from __future__ import annotations

from collections.abc import Sequence
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


def random_weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def node_of(op: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    ready = {name: value for name, value in attributes.items() if isinstance(value, AttributeProto)}
    usual = {name: value for name, value in attributes.items() if name not in ready}
    node = helper.make_node(op, ["" if name == "-" else name for name in inputs.split()], output.split(), **usual)
    node.attribute.extend(ready.values())
    return node


def net_of(op: str, *values: Any, opset: int = 13, **attributes: Any) -> Net:
    """Return a net of one operator over a convolution's output (1, 4, 32, 32), with values as its other inputs."""
    constants = {f"value{i}": value for i, value in enumerate(values) if value is not None}
    names = ["a", *(f"value{i}" if value is not None else "-" for i, value in enumerate(values))]
    first = node_of("Conv", "image first", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    last = node_of(op, " ".join(names), "b", **attributes)
    return Net([first, last], {"first": random_weights(4, CHANNELS, 3, 3), **constants}, opset=opset)


def int64s(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
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
    "Conv": (CONV, (random_weights(8, 4, 3, 3),)),
    "Depthwise": ({**CONV, "group": 4}, (random_weights(4, 1, 3, 3),)),
    "ConvTranspose": ({**CONV, "output_padding": [0, 0]}, (random_weights(4, 8, 3, 3),)),
    "MaxPool": (POOL, ()),
    "AveragePool": (POOL, ()),
    "LpPool": (POOL, ()),
}


def harmless_graphs() -> dict[str, bytes]:
    """Return networks that OpenCV reads and runs."""
    return {name: net.bytes() for name, net in harmless_nets().items()}


def harmless_nets() -> dict[str, Net]:
    nets = {op: net_of(op.replace("Depthwise", "Conv"), *values, **usual) for op, (usual, values) in WINDOWS.items()}
    del nets["LpPool"]  # OpenCV has none
    nets["Classifier"] = _classifier()
    nets["Residual"] = _residual()
    nets["Reshape"] = net_of("Reshape", int64s(1, -1))
    nets["Slice"] = net_of("Slice", int64s(0), int64s(2), int64s(1), int64s(1))
    nets["Pad"] = net_of("Pad", int64s(0, 0, 1, 1, 0, 0, 1, 1), opset=11)
    nets["Resize"] = net_of("Resize", None, floats(1, 1, 2, 2), mode="nearest")
    nets["Gather"] = net_of("Gather", int64s(0), axis=1)
    return nets


def _classifier() -> Net:
    nodes = [
        node_of("Conv", "image w0", "c0", **{**CONV, "strides": [2, 2]}),
        node_of("BatchNormalization", "c0 s s s v", "n0"),
        node_of("Relu", "n0", "r0"),
        node_of("Conv", "r0 w1", "c1", **{**CONV, "group": 8}),
        node_of("Clip", "c1 low high", "r1"),
        node_of("MaxPool", "r1", "p1", **POOL),
        node_of("Conv", "p1 w2", "c2", kernel_shape=[1, 1]),
        node_of("Sigmoid", "c2", "g"),
        node_of("Mul", "c2 g", "m"),
        node_of("GlobalAveragePool", "m", "p2"),
        node_of("Flatten", "p2", "f"),
        node_of("Gemm", "f w3 b3", "d", transB=1),
        node_of("Softmax", "d", "y", axis=1),
    ]
    constants = {
        "w0": random_weights(8, CHANNELS, 3, 3),
        "w1": random_weights(8, 1, 3, 3),
        "w2": random_weights(16, 8, 1, 1),
        "w3": random_weights(10, 16),
        "b3": random_weights(10),
        "s": random_weights(8),
        "v": np.abs(random_weights(8)) + 1,
        "low": np.float32(0),
        "high": np.float32(6),
    }
    return Net(nodes, constants, sides=("N", CHANNELS, SIDE, SIDE), opset=11)


def _residual() -> Net:
    nodes = [
        node_of("Conv", "image w0", "c0", **CONV),
        node_of("LRN", "c0", "n0", size=5),
        node_of("Conv", "n0 w1", "c1", **CONV),
        node_of("Add", "c0 c1", "a0"),
        node_of("Concat", "a0 c1", "a1", axis=1),
        node_of("Transpose", "a1", "t", perm=[0, 2, 3, 1]),
        node_of("Reshape", "t shape", "f"),
        node_of("MatMul", "f w2", "y"),
    ]
    constants = {
        "w0": random_weights(4, CHANNELS, 3, 3),
        "w1": random_weights(4, 4, 3, 3),
        "w2": random_weights(8 * SIDE * SIDE, 5),
        "shape": int64s(1, -1),
    }
    return Net(nodes, constants)
