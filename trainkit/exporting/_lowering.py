"""From what tf2onnx writes to the few operations of `graph`, one operation at a time.

tf2onnx leaves TensorFlow's order (N, H, W, C) in many places, with Transpose, Reshape, and tails of Shape, Gather and
Cast between. Here none of them becomes an operation as long as it only changes how a value is looked at: a `View` says
which sides of a stored value, in which order, make up the sides of the value that the model means. What is stored is
always channels first. How long a side is, and whether it follows the batch size, is observed by running the graph at
two batch sizes, so that no tail of Shape operations has to be understood.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trainkit.errors import ExportError
from trainkit.exporting._graph import INPUT, Graph, Shape, plain_name

_BATCHES = (2, 3)
Side = tuple[int, bool]  # how long, and whether that is to be multiplied by the batch size


@dataclass(frozen=True, slots=True)
class View:
    """A value of the model as a stored one: for each of its sides the stored sides it is made of, slowest first.

    A stored value (N, C, H, W) that the model means as (N, H, W, C) is `((0,), (2,), (3,), (1,))`, as (N, H * W * C) it
    is `((0,), (2, 3, 1))`. A side of length 1 may be made of nothing.
    """

    name: str
    groups: tuple[tuple[int, ...], ...]


Value = View | np.ndarray  # an array is a constant, in the model's own order
Lower = Callable[["Lowering", onnx.NodeProto], Value]
# Operations whose other inputs are shapes and numbers.
_ONE_INPUT = {"Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Slice", "Pad", "Resize", "Clip", "ReduceSum"}


class Lowering:
    """The state of one lowering: the converted graph, and the one that is being built."""

    def __init__(
        self, proto: onnx.ModelProto, layers: list[Any], operations: dict[str, Lower], *, broadcast: bool
    ) -> None:
        self.layers, self.operations, self.broadcast = layers, operations, broadcast
        _mend(proto)
        self.initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        (source,) = [value.name for value in proto.graph.input if value.name not in self.initializers]
        self.source, self.target = source, proto.graph.output[0].name
        self.nodes = {name: node for node in proto.graph.node for name in node.output}
        input_shape = [side.dim_value for side in proto.graph.input[0].type.tensor_type.shape.dim][1:]
        self._check_convertible()
        self.sides, fixed = _observe(proto, source, input_shape)
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
        inner = tuple(axis for group in result.groups for axis in group if axis != 0)
        self.graph.output = self.plain(View(result.name, ((0,), inner)))
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

    def cannot(self, node: onnx.NodeProto, what: str) -> ExportError:
        """Say which layer cannot be expressed, where it stands, and what to do."""
        return ExportError(
            f"{self.place(node)} needs {what}, which has no form that every OpenCV since 4.5.5 reads. Replace it by "
            "convolutions, pooling, dense layers, normalisations and the usual activations."
        )

    def place(self, node: onnx.NodeProto) -> str:
        """Say of which layer an operation is and where that stands; one without a name stands between two layers."""
        if layer := self._layer_of(node):
            return f"The layer {layer}"
        before, after = self._nearest(node, self._before), self._nearest(node, self._after)
        if before == after:
            return f"The layer {before}" if before else "The model"
        if before and after:
            return f"What stands in or between the layers {before} and {after}"
        return f"What stands in or {'behind' if before else 'before'} the layer {before or after}"

    def _layer_of(self, node: onnx.NodeProto) -> str:
        """Return `name` (place of count) of a layer, with the models that it is in; empty where the name tells none."""
        found, layers = "", self.layers
        _, *scopes = node.name.split("/")  # behind the model's own
        for part in scopes:  # a layer's name, mostly with a number of TensorFlow's behind
            names = [plain_name(layer.name) for layer in layers]
            name = next((name for name in (re.sub(r"_\d+$", "", part), part) if name in names), None)
            if name is not None:
                place = names.index(name)
                found = f"`{layers[place].name}` ({place + 1} of {len(names)})" + (f" of {found}" if found else "")
                layers = getattr(layers[place], "layers", [])
        return found

    def _nearest(self, node: onnx.NodeProto, follow: Callable[[onnx.NodeProto], onnx.NodeProto | None]) -> str:
        following = follow(node)
        while following is not None and not self._layer_of(following):
            following = follow(following)
        return self._layer_of(following) if following is not None else ""

    def _before(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        return next((self.nodes[name] for name in node.input if name in self.nodes), None)

    def _after(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        readers = (other for other in self.nodes.values() if set(node.output) & set(other.input))
        return next((other for other in readers if other.op_type != "Shape"), None)

    def _check_convertible(self) -> None:
        """Find what tf2onnx left as it was: nothing can run that."""
        for node in self.nodes.values():
            if node.op_type in ("Loop", "Scan", "If"):
                raise self.cannot(node, "a loop or a condition")
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
            raise self.cannot(node, f"{node.op_type} of a constant")
        return value

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
        return [(1, True), *((side, False) for side in self.graph.shapes[view.name])]

    def shape(self, name: str) -> list[Side]:
        """Return the sides of a value as the model means it."""
        return self.sides[name]

    # Changing how a value is stored

    def emit(self, op: str, inputs: list[str], shape: Shape, **attributes: Any) -> str:
        """Append an operation."""
        return self.graph.emit(op, inputs, shape, origin=self.origin, **attributes)

    def plain(self, view: View) -> str:
        """Store a value in the model's own order, the batch first, and return its name."""
        if view.groups[0] != (0,):
            raise self.moves_the_batch()
        stored = self.graph.shapes[view.name]
        order = [axis for group in view.groups for axis in group]
        shape = tuple(math.prod(stored[axis - 1] for axis in group if axis) for group in view.groups[1:])
        return self.reorder(view.name, order, shape)

    def reorder(self, name: str, order: list[int], shape: Shape) -> str:
        """Store a value with its sides in another order, then cut or joined to a shape; sides of length 1 may miss."""
        if order[0] != 0:
            raise self.moves_the_batch()
        own = self.graph.shapes[name]
        long = [axis for axis in order if axis and own[axis - 1] > 1]
        if long != sorted(long):
            order = _usual_order(order + [axis for axis in range(len(own) + 1) if axis not in order], own)
            name = self.emit("Transpose", [name], tuple(own[axis - 1] for axis in order[1:]), perm=order)
        return self.reshape(name, shape)

    def apart(self, view: View) -> View:
        """Store a value so that each of its sides is a stored side, the batch first wherever the model has it."""
        first = next(side for side, group in enumerate(view.groups) if 0 in group)
        sides = [first, *(side for side in range(len(view.groups)) if side != first)]
        name = self.plain(View(view.name, tuple(view.groups[side] for side in sides)))
        return View(name, tuple((sides.index(side),) for side in range(len(sides))))

    def reshape(self, name: str, shape: Shape) -> str:
        """Give a stored value other sides, in the same order."""
        if shape == self.graph.shapes[name]:
            return name
        if len(shape) == 1:
            return self.emit("Flatten", [name], shape)
        return self.emit("Reshape", [name], shape)

    def image(self, view: View) -> View:
        """Return a view of a value that is stored as (N, C, H, W), whatever the order in which it is looked at."""
        if len(self.graph.shapes[view.name]) == 3:
            return view
        return self.apart(view)

    def meet(self, view: View, reference: View) -> tuple[str, View]:
        """Store a value as `like` does; where that is impossible, both in the model's own order."""
        name = self.like(view, reference)
        if name is not None:
            return name, reference
        reference = self.apart(reference)
        name = self.like(self.apart(view), reference)
        if name is None:
            raise self.moves_the_batch()
        return name, reference

    def like(self, view: View, reference: View) -> str | None:
        """Store a value so that its sides stand where those of another are stored; missing ones become 1.

        Returns:
            Its name; `None` where the other has sides stored as one, or in an order, that this one cannot follow.
        """
        if view.groups == reference.groups and len(self.graph.shapes[view.name]) == len(
            self.graph.shapes[reference.name]
        ):
            return view.name
        stored, wanted_shape = [1, *self.graph.shapes[view.name]], [1, *self.graph.shapes[reference.name]]
        groups = ((),) * (len(reference.groups) - len(view.groups)) + view.groups
        makes: dict[int, tuple[int, ...]] = {}
        cut: dict[int, int] = {}  # sides that come out of one stored side, and their lengths
        for wanted, given in zip(reference.groups, groups, strict=True):
            long = tuple(axis for axis in given if axis == 0 or stored[axis] > 1)
            if not long:
                continue
            lengths = [wanted_shape[axis] for axis in wanted]
            if len(wanted) == 1:
                makes[wanted[0]] = long
            elif lengths == [stored[axis] for axis in long]:
                makes.update({axis: (own,) for axis, own in zip(wanted, long, strict=True)})
            elif len(long) == 1 and math.prod(lengths) == stored[long[0]] and _consecutive(wanted):
                makes[wanted[0]] = long
                cut.update(zip(wanted, lengths, strict=True))
            else:
                return None
        rank = len(wanted_shape)
        order = [axis for side in range(rank) for axis in makes.get(side, ())]
        if not order or order[0] != 0:
            return None
        shape = tuple(
            cut.get(side) or math.prod(stored[axis] for axis in makes.get(side, ())) for side in range(1, rank)
        )
        return self.reorder(view.name, order, shape)

    def constant_like(self, constant: np.ndarray, reference: View) -> np.ndarray:
        """Bring a constant into the order in which a value is stored, without the batch."""
        stored = [1, *self.graph.shapes[reference.name]]
        constant = constant.reshape((1,) * (len(reference.groups) - constant.ndim) + constant.shape)
        sides: dict[int, int] = {}
        shape: list[int] = []
        order: list[int] = []
        for length, group in zip(constant.shape, reference.groups, strict=True):
            for axis in group:
                sides[axis] = stored[axis] if length > 1 else 1
                shape.append(sides[axis])
                order.append(axis)
            if not group and length > 1:
                raise ExportError(f"{self.place(self.node)} meets a constant that is larger. Put a Reshape between.")
        missing = [axis for axis in range(len(stored)) if axis not in order]
        array = constant.reshape(shape + [1] * len(missing))
        return np.asarray(array.transpose(np.argsort(order + missing))[0])

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
        a_channel = (shape[0],) + (1,) * (len(shape) - 1)
        if all(side in (1, own) for value in (scale, shift) for side, own in zip(value.shape, a_channel, strict=True)):
            name = self.channel_affine(view.name, np.broadcast_to(scale, a_channel), np.broadcast_to(shift, a_channel))
            return View(name, view.groups)
        flat = self.reshape(view.name, (math.prod(shape), 1, 1))
        name = self.channel_affine(flat, np.broadcast_to(scale, shape), np.broadcast_to(shift, shape))
        return View(self.reshape(name, shape), view.groups)

    def channel_affine(self, name: str, scale: np.ndarray, shift: np.ndarray) -> str:
        """Return x * scale + shift of a stored value, a value a channel."""
        constants = [self.graph.constant(value.reshape(-1)) for value in (scale, shift)]
        return self.emit("Affine", [name, *constants], self.graph.shapes[name])

    def convolve(self, name: str, weights: np.ndarray, bias: np.ndarray | None = None) -> str:
        """Return a 1x1 convolution of a stored image; weights (outputs, inputs)."""
        bias = np.zeros(len(weights)) if bias is None else bias
        constants = [self.graph.constant(weights[:, :, None, None]), self.graph.constant(bias)]
        shape = (len(weights), *self.graph.shapes[name][1:])
        return self.emit("Conv", [name, *constants], shape, strides=[1, 1], pads=[0] * 4, dilations=[1, 1], group=1)

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


def _usual_order(order: list[int], own: Shape) -> list[int]:
    """Return the turn between channels last and first where it is the same: sides of length 1 stand anywhere."""
    for usual in ([0, 2, 3, 1], [0, 3, 1, 2]):
        orders = [[axis for axis in one if axis == 0 or own[axis - 1] > 1] for one in (usual, order) if len(own) == 3]
        if orders and orders[0] == orders[1]:
            return usual
    return order


def _consecutive(axes: tuple[int, ...]) -> bool:
    return axes == tuple(range(axes[0], axes[0] + len(axes)))


def attribute_of(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute's value."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _mend(proto: onnx.ModelProto) -> None:
    """Correct two things that tf2onnx writes and nothing can run.

    It gives a convolution a second bias where a constant is added behind the first, and it says as a negative pad what
    is output_padding: a transposed kernel shorter than its stride.
    """
    arrays = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Conv" and len(node.input) > 3:
            total = np.sum([numpy_helper.to_array(arrays[name]) for name in node.input[2:]], axis=0)
            proto.graph.initializer.append(numpy_helper.from_array(total, f"{node.name}_biases"))
            del node.input[2:]
            node.input.append(f"{node.name}_biases")
        pads = list(attribute_of(node, "pads", [0]))
        if node.op_type == "ConvTranspose" and min(pads) < 0:
            kept = [attribute for attribute in node.attribute if attribute.name not in ("pads", "output_padding")]
            del node.attribute[:]
            node.attribute.extend(
                [
                    *kept,
                    helper.make_attribute("pads", [max(pad, 0) for pad in pads]),
                    helper.make_attribute("output_padding", [max(-pad, 0) for pad in pads[2:]]),
                ]
            )


def _observe(
    proto: onnx.ModelProto, source: str, input_shape: list[int]
) -> tuple[dict[str, list[Side]], dict[str, np.ndarray]]:
    """Run the converted graph at two batch sizes: the sides of every value, and the values that never change."""
    import onnxruntime

    names = list(dict.fromkeys(name for node in proto.graph.node for name in node.output if name))
    open_proto = onnx.ModelProto()
    open_proto.CopyFrom(proto)
    del open_proto.graph.output[:]
    open_proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            open_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        runs = [_run_on_zeros(session, names, source, (batch, *input_shape)) for batch in _BATCHES]
    except Exception as error:  # onnxruntime's errors share no class of their own
        reason = " ".join(str(error).split())[:200]
        raise ExportError(
            f"The model cannot be converted to ONNX ({reason}). Replace the layer that is named there by convolutions, "
            "pooling, dense layers, normalisations and the usual activations."
        ) from error
    two, three = runs
    sides = {name: [_side(a, b) for a, b in zip(two[name].shape, three[name].shape, strict=True)] for name in two}
    varying = _varying(proto, source)
    return sides, {k: v for k, v in three.items() if k not in varying and np.array_equal(v, two[k])}


def _run_on_zeros(session: Any, names: list[str], source: str, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    zeros = np.zeros(shape, np.float32)
    return {source: zeros, **dict(zip(names, session.run(names, {source: zeros}), strict=True))}


def _side(two: int, three: int) -> Side:
    return (two, False) if two == three else (two // _BATCHES[0], True)


def _varying(proto: onnx.ModelProto, source: str) -> set[str]:
    """Return the values that depend on what is in the input, and not on its shape alone."""
    varying = {source}
    for node in proto.graph.node:
        if node.op_type != "Shape" and varying.intersection(node.input):
            varying.update(node.output)
    return varying
