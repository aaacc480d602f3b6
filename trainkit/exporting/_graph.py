"""The graph between Keras and a file: few operations, all of them ones that every OpenCV since 4.5.5 reads rightly.

Values are float32, batch first, channels second; a shape leaves the batch size out: `(C, H, W)` or `(K,)`. A value may
have several rows an image, one for each head of an attention: then its first side is N * rows. The writer of ONNX
(`_onnx_graph`) knows exactly these operations, that of frozen graphs those without an asterisk, in the terms of ONNX
but where noted:

    Conv  ConvTranspose              weights as in ONNX, always with a bias; strides, pads, dilations, group
    Gemm                             weights (outputs, inputs), always with a bias
    Affine                           x * scale + shift, one value a channel: batch normalisation at rest
    MaxPool  AveragePool             kernel, strides, pads; the padding of an average is not counted
    GlobalMaxPool  GlobalAveragePool
    Relu  LeakyRelu  Elu  Selu  Sigmoid  HardSigmoid  Softplus  Exp  Log  Erf  Sqrt  Abs  Clip
    Ceil  Floor  Round               and Sin, Cos, Tan, their inverses and hyperbolic relatives*
    Pow                              with a constant exponent
    Add  Sub  Mul  Max               of two values of the same shape; where asked for, (C, H, W) with (C, 1, 1)
    Softmax                          over the channels of (K,) and (C, H, W); over the last side of (T, K)*
    MatMul*                          of two values, (M, K) with (K, L), row by row
    Concat  Slice  Pad  Transpose  Reshape  Flatten
    Upsample                         nearest, by whole factors
    Resize                           linear, to any size
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

INPUT, LOGITS, OUTPUT = "input", "logits", "probabilities"
Shape = tuple[int, ...]


def factor_of(before: int, after: int) -> float:
    """Return the least float32 by which a length becomes another one when a reader multiplies and rounds down."""
    factor = np.float32(after / before)
    while float(factor) * before < after:
        factor = np.nextafter(factor, np.float32(np.inf))
    return float(factor)


@dataclass(eq=False, slots=True)
class Node:
    """One operation: what it reads (values, then constants), what it makes, and which layer it came from."""

    op: str
    inputs: list[str]
    output: str
    attributes: dict[str, Any]
    origin: str = ""


@dataclass(slots=True)
class Graph:
    """Operations in the order in which they run, from the value `input` to the value named by `output`."""

    shapes: dict[str, Shape]
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    output: str = INPUT
    rows: dict[str, int] = field(default_factory=dict)  # how many an image has, where that is not one
    _names: dict[bytes, str] = field(default_factory=dict)
    _count: int = 0

    def emit(
        self, op: str, inputs: list[str], shape: Shape, *, origin: str = "", rows: int | None = None, **attributes: Any
    ) -> str:
        """Append an operation and return the name of its result, which has as many rows an image as its first input."""
        self._count += 1
        name = f"{op.lower()}_{self._count}"
        self.nodes.append(Node(op, inputs, name, attributes, origin))
        self.shapes[name] = tuple(int(side) for side in shape)
        rows = self.rows_of(inputs[0]) if rows is None else rows
        if rows != 1:
            self.rows[name] = rows
        return name

    def rows_of(self, name: str) -> int:
        """Return how many rows a value has for one image."""
        return self.rows.get(name, 1)

    def constant(self, value: np.ndarray) -> str:
        """Keep an array as float32 and return its name; equal arrays share one."""
        array = np.array(value, np.float32, order="C")
        key = hashlib.sha256(repr(array.shape).encode() + array.tobytes()).digest()
        if key not in self._names:
            self._count += 1
            self._names[key] = f"constant_{self._count}"
            self.constants[self._names[key]] = array
        return self._names[key]

    def consumers(self, name: str) -> list[Node]:
        """Return the operations that read a value."""
        return [node for node in self.nodes if name in node.inputs]

    def readers(self) -> dict[str, list[Node]]:
        """Return, for each value, the operations that read it: `consumers` of all at once."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found

    def producers(self) -> dict[str, Node]:
        """Return the operations by the values they make."""
        return {node.output: node for node in self.nodes}

    def size(self, name: str) -> int:
        """Return how many numbers a value has for one image."""
        return self.rows_of(name) * math.prod(self.shapes[name])

    def rename_reads(self, before: str, after: str) -> None:
        """Let every reader of one value read another."""
        for node in self.nodes:
            node.inputs = [after if name == before else name for name in node.inputs]
        if self.output == before:
            self.output = after

    def remove_unused(self) -> None:
        """Take out operations whose results nobody reads."""
        used = {self.output}
        kept = []
        for node in reversed(self.nodes):
            if node.output in used:
                used.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: value for name, value in self.constants.items() if name in used}
        self._names = {key: name for key, name in self._names.items() if name in used}


def plain_name(name: str) -> str:
    """Return a layer's name as TensorFlow gives it to operations: Keras takes a space or an accent too."""
    return re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
