"""How the values of the graph stand in TensorFlow's tensors, and what reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from trainkit.backend import tf
from trainkit.errors import ExportError
from trainkit.exporting._graph import INPUT, Graph, Node, Shape


@dataclass(frozen=True, slots=True)
class Layout:
    """How a value stands in its tensor.

    An image (C, H, W) stands as (N, H, W, C) and a row (K,) as (N, K). The other layouts save a Transpose, which
    OpenCV's TensorFlow importer reads wrongly or not at all.
    """

    sides: Literal["usual", "pixel", "graph", "unrolled"] = "usual"
    """The sides of the tensor:

    - `usual`: as above;
    - `pixel`: a row stands as (N, 1, 1, K), because it comes from an image of one pixel or becomes one again;
    - `graph`: a value (A, B, C) stands as (N, A, B, C), between a Reshape and a Transpose of Keras' own order;
    - `unrolled`: an image of one pixel, (C * H * W, 1, 1), still stands as the image that it was, so that each number
      has a constant of its own.
    """
    image: Shape = ()
    """(C, H, W) of the image that is unrolled, or in whose order (H, W, C) the numbers of a flattened row stand."""
    pads: tuple[int, ...] = ()
    """Zeros around an image that are not in its tensor: top, left, bottom, right. OpenCV shares no Pad, so each reader
    gets one of its own."""

    @property
    def is_ordered(self) -> bool:
        """Whether the numbers stand where those of a usual image or row do."""
        return self.sides in ("usual", "pixel") and not self.image


USUAL = Layout()
PIXEL = Layout("pixel")


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor, and how a value stands in it."""

    tensor: Any
    layout: Layout = USUAL


class Writer:
    """The tensors of a TensorFlow graph that is being built, by the values that stand in them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        channels, height, width = graph.shapes[INPUT]
        source = tf.compat.v1.placeholder(tf.float32, (None, height, width, channels), name=INPUT)
        self.stored = {INPUT: Stored(source)}

    def layout(self, name: str) -> Layout:
        """Return how a value stands in the tensor that `tensor` returns, its padding included."""
        return replace(self.stored[name].layout, pads=())

    def tensor(self, name: str) -> Any:
        """Return the tensor of a value, however it stands there."""
        stored = self.stored[name]
        return padded(stored.tensor, stored.layout.pads) if stored.layout.pads else stored.tensor

    def read(self, node: Node, position: int = 0) -> Any:
        """Return the tensor of an input whose numbers stand in the usual order.

        Raises:
            ExportError: they stand in another one.
        """
        self.check_ordered(node, position)
        return self.tensor(node.inputs[position])

    def check_ordered(self, node: Node, position: int = 0) -> None:
        """Raise unless the numbers of an input stand in the usual order."""
        if not self.layout(node.inputs[position]).is_ordered:
            raise cannot(node)

    def row(self, name: str) -> Any:
        """Return a row as (N, K)."""
        tensor = self.tensor(name)
        if self.layout(name).sides != "pixel":
            return tensor
        return tf.raw_ops.Reshape(tensor=tensor, shape=[-1, tensor.shape[-1]])

    def constant(self, node: Node, position: int) -> np.ndarray:
        """Return a constant input."""
        return self.graph.constants[node.inputs[position]]

    def ordered_constant(self, node: Node, position: int, *, axis: int = 0) -> np.ndarray:
        """Return a constant, the numbers along an axis in the order in which those of the first input stand."""
        constant = self.constant(node, position)
        image = self.layout(node.inputs[0]).image
        if not image:
            return constant
        order = np.arange(np.prod(image)).reshape(image).transpose(*range(1, len(image)), 0).reshape(-1)
        return constant.take(order, axis)

    def shape(self, node: Node, position: int | None = None) -> Shape:
        """Return the shape of a result, or of an input, in the graph's order."""
        return self.graph.shapes[node.output if position is None else node.inputs[position]]

    def shared_layout(self, node: Node) -> Layout:
        """Return how the result of an operation number by number stands: as all that it reads does.

        Raises:
            ExportError: its inputs stand in different ways.
        """
        first, *others = {self.layout(name) for name in node.inputs if name in self.stored}
        if others:
            raise cannot(node)
        return first


def padded(source: Any, pads: tuple[int, ...]) -> Any:
    """Put zeros around an image: top, left, bottom, right."""
    top, left, bottom, right = pads
    paddings = np.array([[0, 0], [top, bottom], [left, right], [0, 0]])
    if source.op.type == "Pad":  # of two in a row OpenCV forgets one
        paddings += tf.get_static_value(source.op.inputs[1])
        source = source.op.inputs[0]
    return tf.raw_ops.Pad(input=source, paddings=paddings.astype(np.int32))


def floats(value: Any) -> Any:
    """Return a constant of float32."""
    return tf.constant(np.asarray(value, np.float32))


def cannot(node: Node) -> ExportError:
    """Say at which layer something has no form in a frozen graph."""
    scopes = [re.sub(r"_\d+$", "", scope) for scope in node.origin.split("/")]
    return ExportError(
        f"At the layer `{scopes[-2] if len(scopes) > 1 else scopes[0]}` the model needs the operation {node.op}, which "
        "OpenCV's TensorFlow importer does not read rightly there. Export --format onnx."
    )
