"""From what tf2onnx writes to the few operations of `graph`, one operation at a time.

tf2onnx leaves TensorFlow's order (N, H, W, C) in many places, with Transpose, Reshape, and tails of Shape, Gather and
Cast between. Here none of them becomes an operation as long as it only changes how a value is looked at: a `View` says
which sides of a stored value, in which order, make up the sides of the value that the model means. What is stored is
always channels first. How long a side is, and whether it follows the batch size, is observed by running the graph at
two batch sizes, so that no tail of Shape operations has to be understood.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from trainkit.errors import ExportError
from trainkit.exporting._graph import INPUT, Graph, Shape
from trainkit.exporting._observation import attribute_of, mend, observe
from trainkit.exporting._places import Places
from trainkit.exporting._views import (
    Group,
    Side,
    Value,
    View,
    arrange_as,
    arrange_constant,
    plan_swaps,
    usual_order,
)

_IMAGE_SIDES = 3
_SIDES = 4  # without the batch, from which on a value is not turned at once
_MOST_SIDES = 4  # without the batch, of what OpenCV 4.5.5 adds and multiplies
_OF_TWO = {"Add", "Sub", "Mul", "Max"}
Lower = Callable[["Lowering", onnx.NodeProto], Value]
_WITHOUT_A_LOOP = "Write its steps one after the other, or replace what loops by"
# Operations whose other inputs are shapes and numbers.
_ONE_INPUT = {"Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Slice", "Pad", "Resize", "Clip", "ReduceSum"}


class Lowering:
    """The state of one lowering: the converted graph, and the one that is being built."""

    def __init__(
        self,
        proto: onnx.ModelProto,
        layers: list[Any],
        operations: dict[str, Lower],
        *,
        broadcast: bool,
        channels_last: bool,
    ) -> None:
        self.operations, self.broadcast, self.channels_last = operations, broadcast, channels_last
        mend(proto)
        self.initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        (source,) = [value.name for value in proto.graph.input if value.name not in self.initializers]
        self.source, self.target = source, proto.graph.output[0].name
        self.nodes = {name: node for node in proto.graph.node for name in node.output}
        input_shape = [side.dim_value for side in proto.graph.input[0].type.tensor_type.shape.dim][1:]
        self.places = Places(layers, self.nodes)
        self._check_convertible()
        self.sides, fixed, self.kinds = observe(proto, source, input_shape)
        self.known: dict[str, np.ndarray] = {**self.initializers, **fixed}
        self.graph = Graph(shapes={INPUT: tuple(input_shape)})
        self.values: dict[str, Value] = {source: View(INPUT, tuple((axis,) for axis in range(len(input_shape) + 1)))}
        self.node = proto.graph.node[0]
        self.origin = self.asked = ""  # the operation that is being lowered, and which of its outputs

    def run(self) -> Graph:
        """Lower everything that the output depends on."""
        for name in self._in_order():
            node = self.nodes[name]
            self.node, self.origin, self.asked = node, node.name, name
            if node.op_type not in self.operations:
                raise self.cannot(node, f"the operation {node.op_type}")
            self.values[name] = self.operations[node.op_type](self, node)
        result = self.values[self.target]
        if isinstance(result, np.ndarray):
            raise ExportError("The model's answer does not depend on its input.")
        if self.graph.rows_of(result.name) != 1 or any(0 in group and len(group) > 1 for group in result.groups):
            raise self.moves_the_batch()
        inner = tuple(axis for group in result.groups for axis in group if axis != 0)
        self.graph.output = self.materialize(View(result.name, ((0,), inner)))
        self.graph.remove_unused()
        return self.graph

    def _in_order(self) -> list[str]:
        """Return the names that the output depends on, each after those it reads; shapes are not followed."""
        order: list[str] = []
        done = {self.source}
        waiting = [self.target]
        while waiting:
            name = waiting[-1]
            missing = [n for n in self.reads(self.nodes[name]) if n not in done] if name not in done else []
            if missing:
                waiting.extend(missing)
                continue
            waiting.pop()
            if name not in done:
                done.add(name)
                order.append(name)
        return order

    def reads(self, node: onnx.NodeProto) -> list[str]:
        """Return the inputs of an operation that carry images, without shapes and constants."""
        inputs = node.input[:1] if node.op_type in _ONE_INPUT else node.input
        return [name for name in inputs if name and name not in self.known]

    def cannot(self, node: onnx.NodeProto, what: str, advice: str = "Replace it by") -> ExportError:
        """Say which layer cannot be expressed, where it stands, and what to do."""
        return ExportError(
            f"{self.place(node)} needs {what}, which has no form that every OpenCV since 4.5.5 reads. {advice} "
            "convolutions, pooling, dense layers, normalisations and the usual activations."
        )

    def place(self, node: onnx.NodeProto) -> str:
        """Say of which layer an operation is and where that stands."""
        return self.places.find(node)

    def _check_convertible(self) -> None:
        """Find what tf2onnx left as it was: nothing can run that."""
        for node in self.nodes.values():
            if node.op_type in ("Loop", "Scan", "If") or node.op_type.startswith("TensorList"):
                raise self.cannot(node, "a loop or a condition", _WITHOUT_A_LOOP)
            if not onnx.defs.has(node.op_type, node.domain):
                raise self.cannot(node, f"the operation {node.op_type} of TensorFlow")

    def moves_the_batch(self) -> ExportError:
        """Say that a layer mixes the images of a batch."""
        return ExportError(
            f"{self.place(self.node)} moves the batch to another side, or mixes its images, which no deployment can "
            "follow. Keep the batch first."
        )

    # What an operation reads

    def value(self, name: str) -> Value:
        """Return what a name of the converted graph stands for."""
        return self.known[name] if name in self.known else self.values[name]

    def view(self, node: onnx.NodeProto, position: int = 0) -> View:
        """Return an input that must not be a constant."""
        value = self.value(node.input[position])
        if isinstance(value, np.ndarray):
            sides = self.sides.get(node.input[position], [])
            if value.ndim > 1 and sides[:1] == [(1, True)] and value.dtype.kind == "f":
                return self._for_each_image(value)
            raise self.cannot(node, f"{node.op_type} of a constant")
        return value

    def _for_each_image(self, constant: np.ndarray) -> View:
        """Return a constant that every image of a batch has: as nought times the first number of the image, plus it."""
        name, shape = INPUT, list(self.graph.shapes[INPUT])
        for axis in range(1, len(shape) + 1):
            if shape[axis - 1] > 1:
                shape[axis - 1] = 1
                name = self.emit("Slice", [name], tuple(shape), axis=axis, start=0, end=1)
        nothing = self.dense(self.reshape(name, (1,)), np.zeros((constant.size, 1)))
        row = self.affine(View(nothing, ((0,), (1,))), 1, constant.astype(np.float64).reshape(-1))
        name = self.reshape(row.name, constant.shape[1:])
        return View(name, tuple((axis,) for axis in range(constant.ndim)))

    def constant(self, node: onnx.NodeProto, position: int, attribute: str = "") -> np.ndarray | None:
        """Return a constant input, or the attribute of this name, where the operation has one."""
        if position < len(node.input) and node.input[position]:
            if node.input[position] not in self.known:
                raise self.cannot(node, f"{node.op_type} with weights or sizes that are computed")
            return self.known[node.input[position]]
        found = attribute_of(node, attribute)
        return None if found is None else np.array(found)

    def stored_sides(self, view: View) -> list[Side]:
        """Return the sides of the stored value, the batch first."""
        return [(self.graph.rows_of(view.name), True), *((side, False) for side in self.graph.shapes[view.name])]

    def length(self, view: View, group: Group) -> int:
        """Return how long some stored sides of a value are together, without the batch."""
        return math.prod(self.graph.shapes[view.name][axis - 1] for axis in group if axis)

    def shape(self, name: str) -> list[Side]:
        """Return the sides of a value as the model means it."""
        return self.sides[name]

    # Changing how a value is stored

    def emit(self, op: str, inputs: list[str], shape: Shape, **attributes: Any) -> str:
        """Append an operation; of two values of many sides, which some readers do not combine, the first are joined."""
        if op in _OF_TWO and len(shape) > _MOST_SIDES:
            joined = (math.prod(shape[:-1]), shape[-1], 1)
            inputs = [self.reshape(name, joined) for name in inputs]
            return self.reshape(self.emit(op, inputs, joined, **attributes), shape)
        return self.graph.emit(op, inputs, shape, origin=self.origin, **attributes)

    def materialize(self, view: View) -> str:
        """Store a value in the model's own order, the batch first, and return its name.

        What the model joins to the batch become rows of each image.
        """
        order = [axis for group in view.groups for axis in group]
        shape = tuple(self.length(view, group) for group in view.groups[1:])
        rows = self.graph.rows_of(view.name) * self.length(view, view.groups[0])
        return self.reorder(view.name, order, shape, rows)

    def reorder(self, name: str, order: list[int], shape: Shape, rows: int | None = None) -> str:
        """Store a value with its sides in another order, then cut or joined to a shape; sides of length 1 may miss."""
        if order[0] != 0:
            raise self.moves_the_batch()
        own = self.graph.shapes[name]
        rows = self.graph.rows_of(name) if rows is None else rows  # which turning many sides changes on the way
        long = [axis for axis in order if axis and own[axis - 1] > 1]
        if long != sorted(long):
            order = usual_order(order + [axis for axis in range(len(own) + 1) if axis not in order], own)
            name = self._transpose(name, order) if len(own) < _SIDES else self._transpose_in_blocks(name, [0, *long])
        return self.reshape(name, shape, rows)

    def _transpose(self, name: str, order: list[int]) -> str:
        own = self.graph.shapes[name]
        return self.emit("Transpose", [name], tuple(own[axis - 1] for axis in order[1:]), perm=order)

    def _transpose_in_blocks(self, name: str, order: list[int]) -> str:
        """Bring many sides into another order, two neighbours at a time: readers turn four sides at most.

        Args:
            name: of the stored value.
            order: of its sides that are longer than 1, the batch first.
        """
        stored, rows = View(name, ()), self.graph.rows_of(name)
        for swap in plan_swaps(tuple(order)):
            front, one, other, back = (self.length(stored, axes) for axes in swap)
            tail = (back,) if back > 1 else ()
            name = self.reshape(name, (one, other, *tail), rows * front)
            name = self.emit("Transpose", [name], (other, one, *tail), perm=[0, 2, 1, 3][: 3 + len(tail)])
        return name

    def split_axes(self, view: View) -> View:
        """Store a value so that each of its sides is a stored side, the batch first wherever the model has it."""
        first = next(side for side, group in enumerate(view.groups) if 0 in group)
        sides = [first, *(side for side in range(len(view.groups)) if side != first)]
        name = self.materialize(View(view.name, tuple(view.groups[side] for side in sides)))
        return View(name, tuple((sides.index(side),) for side in range(len(sides))))

    def reshape(self, name: str, shape: Shape, rows: int | None = None) -> str:
        """Give a stored value other sides, in the same order, and as many rows an image as before if not told."""
        own = self.graph.rows_of(name)
        rows = own if rows is None else rows
        if (rows, shape) == (own, self.graph.shapes[name]):
            return name
        if len(shape) == 1 and rows == own:
            return self.emit("Flatten", [name], shape)
        return self.emit("Reshape", [name], shape, rows=rows)

    def as_rows(self, name: str) -> str:
        """Let all but the last side of a stored value become rows of each image."""
        *others, last = self.graph.shapes[name]
        return self.reshape(name, (last,), self.graph.rows_of(name) * math.prod(others))

    def image(self, view: View) -> View:
        """Return a view of a value that is stored as (N, C, H, W), whatever the order in which it is looked at."""
        if len(self.graph.shapes[view.name]) == 3:
            return view
        return self.split_axes(view)

    def align(self, view: View, reference: View) -> tuple[str, View]:
        """Store a value as `relayout_as` does; where that is impossible, both in the model's own order."""
        name = self.relayout_as(view, reference) if self._have_equal_rows(view, reference) else None
        if name is not None:
            return name, reference
        reference = self.split_axes(reference)
        name = self.relayout_as(self.split_axes(view), reference)
        if name is None:
            raise self.moves_the_batch()
        return name, reference

    def _have_equal_rows(self, *views: View) -> bool:
        """Whether all have as many rows an image, and nothing is joined to them."""
        rows = {self.graph.rows_of(view.name) for view in views}
        return len(rows) == 1 and all(len(group) == 1 for view in views for group in view.groups if 0 in group)

    def relayout_as(self, view: View, reference: View) -> str | None:
        """Store a value so that its sides stand where those of another are stored; missing ones become 1.

        Returns:
            Its name; `None` where the other has sides stored as one, or in an order, that this one cannot follow.
        """
        stored, wanted = self.graph.shapes[view.name], self.graph.shapes[reference.name]
        if view.groups == reference.groups and len(stored) == len(wanted):
            return view.name
        found = arrange_as(view.groups, (1, *stored), reference.groups, (1, *wanted))
        return None if found is None else self.reorder(view.name, found.order, found.shape)

    def relayout_constant_as(self, constant: np.ndarray, reference: View) -> np.ndarray:
        """Bring a constant into the order in which a value is stored, without the batch."""
        found = arrange_constant(constant, reference.groups, (1, *self.graph.shapes[reference.name]))
        if found is None:
            raise ExportError(f"{self.place(self.node)} meets a constant that is larger. Put a Reshape between.")
        return found

    # What most operations come down to

    def affine(self, view: View, scale: np.ndarray | float, shift: np.ndarray | float) -> View:
        """Return x * scale + shift; both are scalars, or constants in the order in which the value is stored."""
        shape = self.graph.shapes[view.name]
        scale, shift = (
            np.broadcast_to(np.asarray(value, np.float64), (1,) * len(shape))
            if np.ndim(value) == 0
            else np.asarray(value, np.float64)
            for value in (scale, shift)
        )
        long = [side for value in (scale, shift) for side, own in enumerate(value.shape) if own > 1]
        first = min(long, default=len(shape) - 1)
        if not self.channels_last and first > 0 and (long or len(shape) != _IMAGE_SIDES):
            rows, own = self.graph.rows_of(view.name), shape[first:]
            values = [np.broadcast_to(value.reshape(value.shape[first:]), own).reshape(-1) for value in (scale, shift)]
            name = self.reshape(view.name, (math.prod(own),), rows * math.prod(shape[:first]))
            return View(self.reshape(self.channel_affine(name, *values), shape, rows), view.groups)
        a_channel = (shape[0],) + (1,) * (len(shape) - 1)
        if all(side in (1, own) for value in (scale, shift) for side, own in zip(value.shape, a_channel, strict=True)):
            name = self.channel_affine(view.name, np.broadcast_to(scale, a_channel), np.broadcast_to(shift, a_channel))
            return View(name, view.groups)
        # Of many sides the first become the channels, as many as tell one value from another.
        count = max(long) + 1
        values = [np.broadcast_to(value.reshape(value.shape[:count]), shape[:count]) for value in (scale, shift)]
        flat = self.reshape(view.name, (math.prod(shape[:count]), math.prod(shape[count:]), 1))
        name = self.channel_affine(flat, *values)
        return View(self.reshape(name, shape), view.groups)

    def channel_affine(self, name: str, scale: np.ndarray, shift: np.ndarray) -> str:
        """Return x * scale + shift of a stored value, a value a channel."""
        constants = [self.graph.constant(value.reshape(-1)) for value in (scale, shift)]
        return self.emit("Affine", [name, *constants], self.graph.shapes[name])

    def convolve(self, name: str, weights: np.ndarray, bias: np.ndarray | None = None, *, groups: int = 1) -> str:
        """Return a 1x1 convolution of a stored image; weights (outputs, inputs of a group)."""
        bias = np.zeros(len(weights)) if bias is None else bias
        constants = [self.graph.constant(weights[:, :, None, None]), self.graph.constant(bias)]
        shape = (len(weights), *self.graph.shapes[name][1:])
        return self.emit(
            "Conv", [name, *constants], shape, strides=[1, 1], pads=[0] * 4, dilations=[1, 1], group=groups
        )

    def dense(self, name: str, weights: np.ndarray) -> str:
        """Return a dense layer of a stored (N, K); weights (outputs, inputs)."""
        constants = [self.graph.constant(weights), self.graph.constant(np.zeros(len(weights)))]
        return self.emit("Gemm", [name, *constants], (len(weights),))

    def expand(self, name: str, shape: Shape) -> str:
        """Repeat a stored value along its sides of length 1."""
        own = self.graph.shapes[name]
        if own == shape:
            return name
        if len(shape) == 1:
            return self.dense(name, np.ones((shape[0], 1)))
        if len(shape) == 2 and own == (shape[0], 1) and not self.channels_last:
            rows = self.graph.rows_of(name)
            return self.reshape(self.dense(self.as_rows(name), np.ones((shape[1], 1))), shape, rows)
        if len(shape) != 3:
            return self._expand_each(name, shape)
        if own[0] != shape[0]:
            name = self.convolve(name, np.ones((shape[0], 1)))
        if own[1:] != shape[1:]:
            scales = [wanted // given for wanted, given in zip(shape[1:], own[1:], strict=True)]
            name = self.emit("Upsample", [name], shape, scales=scales)
        return name

    def _expand_each(self, name: str, shape: Shape) -> str:
        """Repeat a value of any number of sides, one after the other as the rows of an image."""
        for axis, wanted in enumerate(shape):
            own = self.graph.shapes[name]
            if own[axis] != wanted:
                before, after = math.prod(own[:axis]), math.prod(own[axis + 1 :])
                name = self.reshape(name, (before, 1, after))
                name = self.emit("Upsample", [name], (before, wanted, after), scales=[wanted, 1])
                name = self.reshape(name, (*own[:axis], wanted, *own[axis + 1 :]))
        return name
