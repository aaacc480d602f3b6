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
from trainkit.exporting.graph import INPUT, Graph, Shape

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


def lower(proto: onnx.ModelProto, layer_names: list[str]) -> Graph:
    """Rebuild a converted model, from its input `(N, C, H, W)` to its output `(N, classes)`.

    Args:
        proto: what tf2onnx wrote: one input, one output, opset 13.
        layer_names: of the Keras model, in order, to say where an operation came from.

    Raises:
        ExportError: an operation cannot be expressed; names its layer and its place.
    """
    return Lowering(proto, layer_names).run()


class Lowering:
    """The state of one lowering: the converted graph, and the one that is being built."""

    def __init__(self, proto: onnx.ModelProto, layer_names: list[str]) -> None:
        self.layer_names = layer_names
        _mend(proto)
        self.initializers = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        (source,) = [value.name for value in proto.graph.input if value.name not in self.initializers]
        self.source, self.target = source, proto.graph.output[0].name
        self.nodes = {name: node for node in proto.graph.node for name in node.output}
        input_shape = [side.dim_value for side in proto.graph.input[0].type.tensor_type.shape.dim][1:]
        self.sides, observed = _observe(proto, source, input_shape)
        varying = _varying(proto, source)
        self.known = {**self.initializers, **{k: v for k, v in observed.items() if k not in varying}}
        self.graph = Graph(shapes={INPUT: tuple(input_shape)})
        self.values: dict[str, Value] = {source: View(INPUT, tuple((axis,) for axis in range(len(input_shape) + 1)))}
        self.origin = ""

    def run(self) -> Graph:
        """Lower everything that the output depends on."""
        for name in self._in_order():
            node = self.nodes[name]
            self.origin = node.name
            if node.op_type not in LOWER:
                raise self.cannot(node, f"the operation {node.op_type}")
            self.values[name] = LOWER[node.op_type](self, node)
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
        parts = [re.sub(r"_\d+$", "", part) for part in node.name.split("/")] + node.name.split("/")
        found = [(i, name) for i, name in enumerate(self.layer_names) if name in parts]
        where = f"The layer `{found[-1][1]}` ({found[-1][0] + 1} of {len(self.layer_names)})" if found else "The model"
        return ExportError(
            f"{where} needs {what}, which has no form that every OpenCV since 4.5.5 reads. Replace it by convolutions, "
            "pooling, dense layers, normalisations and the usual activations."
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
            value = self.value(node.input[position])
            if not isinstance(value, np.ndarray):
                raise self.cannot(node, f"{node.op_type} with weights that are computed")
            return value
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
        stored = self.graph.shapes[view.name]
        order = [axis for group in view.groups for axis in group]
        shape = tuple(math.prod(stored[axis - 1] for axis in group if axis) for group in view.groups[1:])
        return self.reorder(view.name, order, shape)

    def reorder(self, name: str, order: list[int], shape: Shape) -> str:
        """Store a value with its sides in another order, then cut or joined to a shape; sides of length 1 may miss."""
        if order[0] != 0:
            raise ExportError("A layer moves the batch to another side, which no deployment can follow.")
        own = self.graph.shapes[name]
        long = [axis for axis in order if axis and own[axis - 1] > 1]
        if long != sorted(long):
            order = order + [axis for axis in range(len(own) + 1) if axis not in order]
            name = self.emit("Transpose", [name], tuple(own[axis - 1] for axis in order[1:]), perm=order)
        return self.reshape(name, shape)

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
        name = self.plain(view)
        return View(name, tuple((axis,) for axis in range(len(view.groups))))

    def like(self, view: View, reference: View) -> str:
        """Store a value so that its sides stand where those of another are stored; missing ones become 1."""
        if view.groups == reference.groups and len(self.graph.shapes[view.name]) == len(
            self.graph.shapes[reference.name]
        ):
            return view.name
        stored = [1, *self.graph.shapes[view.name]]
        groups = ((),) * (len(reference.groups) - len(view.groups)) + view.groups
        makes: dict[int, tuple[int, ...]] = {}
        for wanted, given in zip(reference.groups, groups, strict=True):
            long = tuple(axis for axis in given if axis == 0 or stored[axis] > 1)
            if not long:
                continue
            if len(wanted) == 1:
                makes[wanted[0]] = long
            elif len(wanted) == len(long):
                makes.update({axis: (own,) for axis, own in zip(wanted, long, strict=True)})
            else:
                return self._like_plain(view, reference)
        rank = len(self.graph.shapes[reference.name]) + 1
        order = [axis for side in range(rank) for axis in makes.get(side, ())]
        if not order or order[0] != 0:
            return self._like_plain(view, reference)
        shape = tuple(math.prod(stored[axis] for axis in makes.get(side, ())) for side in range(1, rank))
        return self.reorder(view.name, order, shape)

    def _like_plain(self, view: View, reference: View) -> str:
        if reference.groups != tuple((axis,) for axis in range(len(reference.groups))):
            raise ExportError(
                f"{self.origin}: two values meet whose sides are mixed in different orders. Put a Reshape between."
            )
        return self.plain(view)

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
                raise ExportError(
                    f"{self.origin}: a constant is larger than the value it meets. Put a Reshape between."
                )
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
            return self.reshape(self.expand(self.reshape(name, _three(own)), _three(shape)), shape)
        if own[0] != shape[0]:
            name = self.convolve(name, np.ones((shape[0], 1)))
        if own[1:] != shape[1:]:
            scales = [wanted // given for wanted, given in zip(shape[1:], own[1:], strict=True)]
            name = self.emit("Upsample", [name], shape, scales=scales)
        return name


def _three(shape: Shape) -> Shape:
    if len(shape) == 2:
        return (*shape, 1)
    raise ExportError(f"A value of {len(shape) + 1} sides is repeated. Expected at most four.")


def attribute_of(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute's value."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _mend(proto: onnx.ModelProto) -> None:
    """Say as output_padding what tf2onnx says as a negative pad: a transposed kernel shorter than its stride."""
    for node in proto.graph.node:
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
    """Run the converted graph at two batch sizes: the sides of every value, and the values of the second run."""
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
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise _unconverted(proto, error) from None
    runs = []
    for batch in _BATCHES:
        values = session.run(names, {source: np.zeros((batch, *input_shape), np.float32)})
        runs.append({source: np.zeros((batch, *input_shape)), **dict(zip(names, values, strict=True))})
    two, three = runs
    sides = {name: [_side(a, b) for a, b in zip(two[name].shape, three[name].shape, strict=True)] for name in two}
    return sides, three


def _side(two: int, three: int) -> Side:
    return (two, False) if two == three else (two // _BATCHES[0], True)


def _unconverted(proto: onnx.ModelProto, error: Exception) -> ExportError:
    reason = " ".join(str(error).split())[:200]
    return ExportError(f"The model cannot be converted to ONNX ({reason}). Replace the layer that this names.")


def _varying(proto: onnx.ModelProto, source: str) -> set[str]:
    """Return the values that depend on the input, be it only on its shape."""
    varying = {source}
    for node in proto.graph.node:
        if varying.intersection(node.input):
            varying.update(node.output)
    return varying


# One function for each operation that tf2onnx writes


def _same(lowering: Lowering, node: onnx.NodeProto) -> Value:
    return lowering.view(node)


def _elementwise(op: str, **attributes: Callable[[onnx.NodeProto], Any]) -> Lower:
    def lower_elementwise(lowering: Lowering, node: onnx.NodeProto) -> Value:
        view = lowering.view(node)
        chosen = {key: read(node) for key, read in attributes.items()}
        return View(lowering.emit(op, [view.name], lowering.graph.shapes[view.name], **chosen), view.groups)

    return lower_elementwise


def _read(name: str, default: float) -> Callable[[onnx.NodeProto], float]:
    return lambda node: float(attribute_of(node, name, default))


def _clip(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    least, most = (lowering.constant(node, 1, "min"), lowering.constant(node, 2, "max"))
    low = -math.inf if least is None else float(least.reshape(-1)[0])
    high = math.inf if most is None else float(most.reshape(-1)[0])
    return _clipped(lowering, view, low, high)


def _clipped(lowering: Lowering, view: View, low: float, high: float) -> View:
    if math.isinf(high) or high > 3e38:
        return _at_least(lowering, view, low)
    if math.isinf(low) or low < -3e38:
        return lowering.affine(_at_least(lowering, lowering.affine(view, -1, 0), -high), -1, 0)
    name = lowering.emit("Clip", [view.name], lowering.graph.shapes[view.name], min=low, max=high)
    return View(name, view.groups)


def _at_least(lowering: Lowering, view: View, low: np.ndarray | float) -> View:
    shifted = lowering.affine(view, 1, -np.asarray(low)) if np.any(low) else view
    name = lowering.emit("Relu", [shifted.name], lowering.graph.shapes[shifted.name])
    return lowering.affine(View(name, view.groups), 1, low) if np.any(low) else View(name, view.groups)


def _negative(lowering: Lowering, node: onnx.NodeProto) -> Value:
    return lowering.affine(lowering.view(node), -1, 0)


def _power(lowering: Lowering, view: View, exponent: float) -> View:
    return View(lowering.emit("Pow", [view.name], lowering.graph.shapes[view.name], exponent=exponent), view.groups)


def _reciprocal(lowering: Lowering, node: onnx.NodeProto) -> Value:
    return _power(lowering, lowering.view(node), -1.0)


def _pow(lowering: Lowering, node: onnx.NodeProto) -> Value:
    exponent = lowering.constant(node, 1)
    if exponent is None or exponent.size != 1:
        raise lowering.cannot(node, "a power with more than one exponent")
    view, power = lowering.view(node), float(exponent.reshape(-1)[0])
    if power == 2:
        return View(lowering.emit("Mul", [view.name] * 2, lowering.graph.shapes[view.name]), view.groups)
    return _power(lowering, view, power)


def _binary(op: str) -> Lower:
    def lower_binary(lowering: Lowering, node: onnx.NodeProto) -> Value:
        result = lowering.value(node.input[0])
        for position in range(1, len(node.input)):  # pairwise: with three inputs at once OpenCV 4.12 is wrong
            result = _combine(lowering, node, op, result, lowering.value(node.input[position]))
        return result

    return lower_binary


def _combine(lowering: Lowering, node: onnx.NodeProto, op: str, one: Value, other: Value) -> View:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        raise lowering.cannot(node, "an operation on constants only")
    if isinstance(other, np.ndarray):
        assert isinstance(one, View)
        return _with_constant(lowering, node, op, one, other, constant_first=False)
    if isinstance(one, np.ndarray):
        return _with_constant(lowering, node, op, other, one, constant_first=True)
    if op == "Div":
        return _combine(lowering, node, "Mul", one, _power(lowering, other, -1.0))
    if op == "Min":
        negated = [lowering.affine(view, -1, 0) for view in (one, other)]
        return lowering.affine(_combine(lowering, node, "Max", *negated), -1, 0)
    return _combine_views(lowering, op, one, other)


def _combine_views(lowering: Lowering, op: str, one: View, other: View) -> View:
    first_leads = lowering.graph.size(one.name) >= lowering.graph.size(other.name) and len(one.groups) >= len(
        other.groups
    )
    reference, follower = (one, other) if first_leads else (other, one)
    name = lowering.like(follower, reference)
    shapes = lowering.graph.shapes[reference.name], lowering.graph.shapes[name]
    shape = tuple(max(sides) for sides in zip(*shapes, strict=True))
    names = [lowering.expand(reference.name, shape), lowering.expand(name, shape)]
    return View(lowering.emit(op, names if first_leads else names[::-1], shape), reference.groups)


def _with_constant(
    lowering: Lowering, node: onnx.NodeProto, op: str, view: View, constant: np.ndarray, *, constant_first: bool
) -> View:
    if constant.ndim > len(view.groups) or any(
        length > 1 and not _is_long(lowering, view, axis - constant.ndim) for axis, length in enumerate(constant.shape)
    ):
        view = _broadcast(lowering, view, lowering.shape(node.output[0]))
    if constant.size == 1:
        value: np.ndarray | float = float(constant.reshape(-1)[0])
    else:
        value = lowering.constant_like(constant.astype(np.float64), view)
    if op == "Add":
        return lowering.affine(view, 1, value)
    if op == "Sub":
        return lowering.affine(view, -1, value) if constant_first else lowering.affine(view, 1, -value)
    if op == "Mul":
        return lowering.affine(view, value, 0)
    if op == "Div" and constant_first:
        return lowering.affine(_power(lowering, view, -1.0), value, 0)
    if op == "Div":
        return lowering.affine(view, 1 / value, 0)
    if op == "Max":
        return _at_least(lowering, view, value)
    return lowering.affine(_at_least(lowering, lowering.affine(view, -1, 0), -value), -1, 0)  # Min


def _is_long(lowering: Lowering, view: View, axis: int) -> bool:
    stored = [2, *lowering.graph.shapes[view.name]]
    return any(stored[side] > 1 for side in view.groups[axis])


def _broadcast(lowering: Lowering, view: View, sides: list[Side]) -> View:
    """Repeat a value to the sides that the model means: as it is stored where that is possible."""
    groups = ((0,),) + ((),) * (len(sides) - len(view.groups)) + view.groups[1:]
    if all(len(group) == 1 for group in groups):
        shape = list(lowering.graph.shapes[view.name])
        for (length, _), (axis,) in zip(sides[1:], groups[1:], strict=True):
            shape[axis - 1] = length
        return View(lowering.expand(view.name, tuple(shape)), groups)
    name = lowering.plain(View(view.name, groups))
    name = lowering.expand(name, tuple(length for length, _ in sides[1:]))
    return View(name, tuple((axis,) for axis in range(len(sides))))


def _expand(lowering: Lowering, node: onnx.NodeProto) -> Value:
    return _broadcast(lowering, lowering.view(node), lowering.shape(node.output[0]))


def _transpose(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    order = attribute_of(node, "perm", list(range(len(view.groups)))[::-1])
    return View(view.name, tuple(view.groups[axis] for axis in order))


def _reshape(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view, sides = lowering.view(node), lowering.shape(node.output[0])
    regrouped = _regroup(lowering.stored_sides(view), view.groups, sides)
    if regrouped is not None:
        return View(view.name, regrouped)
    if sides[0] != (1, True) or any(follows for _, follows in sides[1:]):
        raise lowering.cannot(node, f"a reshape that cuts the batch into {sides}")
    name = lowering.reshape(lowering.plain(view), tuple(length for length, _ in sides[1:]))
    return View(name, tuple((axis,) for axis in range(len(sides))))


def _regroup(
    stored: list[Side], groups: tuple[tuple[int, ...], ...], sides: list[Side]
) -> tuple[tuple[int, ...], ...] | None:
    """Cut the stored sides, in the order in which they are looked at, into new groups; `None` where none fits."""
    axes = [axis for group in groups for axis in group if stored[axis] != (1, False)]
    result: list[tuple[int, ...]] = []
    for wanted in sides:
        taken: list[int] = []
        while axes and (got := _product(stored, taken)) != wanted:
            if got[0] * stored[axes[0]][0] > wanted[0] or (stored[axes[0]][1] and not wanted[1]):
                return None
            taken.append(axes.pop(0))
        if _product(stored, taken) != wanted:
            return None
        result.append(tuple(taken))
    return None if axes else tuple(result)


def _product(stored: list[Side], axes: list[int]) -> Side:
    return math.prod(stored[axis][0] for axis in axes), any(stored[axis][1] for axis in axes)


def _matmul(lowering: Lowering, node: onnx.NodeProto) -> Value:
    weights = lowering.constant(node, 1)
    if weights is None or weights.ndim != 2:
        raise lowering.cannot(node, "a product of matrices that are both computed")
    return _dense(lowering, node, lowering.view(node), weights)


def _gemm(lowering: Lowering, node: onnx.NodeProto) -> Value:
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    if weights is None or attribute_of(node, "transA", 0):
        raise lowering.cannot(node, "a product of matrices that are both computed")
    weights = weights.T if attribute_of(node, "transB", 0) else weights
    result = _dense(lowering, node, lowering.view(node), weights * attribute_of(node, "alpha", 1.0))
    if bias is None:
        return result
    return _with_constant(lowering, node, "Add", result, bias * attribute_of(node, "beta", 1.0), constant_first=False)


def _dense(lowering: Lowering, node: onnx.NodeProto, view: View, weights: np.ndarray) -> View:
    """Multiply the last side by weights (inputs, outputs): a dense layer, or a 1x1 convolution where there are more."""
    *leading, last = view.groups
    stored = lowering.graph.shapes[view.name]
    rest = [axis for group in leading for axis in group if axis and stored[axis - 1] > 1]
    if 0 in last:
        raise lowering.cannot(node, "a product over the batch")
    if not rest:
        order = sorted(last)
        sides = [stored[axis - 1] for axis in last]
        by_stored = weights.reshape(*sides, -1).transpose(*(last.index(axis) for axis in order), len(last))
        flat = lowering.reshape(view.name, (math.prod(stored),))
        name = lowering.dense(flat, by_stored.reshape(weights.shape).T)
        return View(name, ((0,), *((),) * (len(leading) - 1), (1,)))
    if len(rest) > 2:
        raise lowering.cannot(node, "a dense layer on a value of more than four sides")
    name = lowering.like(View(view.name, ((0,), last, *((axis,) for axis in rest))), _IMAGE_VIEWS[len(rest)](lowering))
    name = lowering.reshape(name, (*lowering.graph.shapes[name], 1)[:3])
    positions = {axis: index + 2 for index, axis in enumerate(rest)} | {0: 0}
    groups = tuple(tuple(positions[axis] for axis in group if axis in positions) for group in leading)
    return View(lowering.convolve(name, weights.T), (*groups, (1,)))


def _channels_then(count: int) -> Callable[[Lowering], View]:
    def build(lowering: Lowering) -> View:
        name = f"reference_{count}"
        lowering.graph.shapes[name] = (1,) * (count + 1)
        return View(name, tuple((axis,) for axis in range(count + 2)))

    return build


_IMAGE_VIEWS = {count: _channels_then(count) for count in (1, 2)}


def _window(lowering: Lowering, node: onnx.NodeProto, name: str, kernel: list[int]) -> dict[str, Any]:
    """Return strides, pads and dilations of a convolution or pooling, the pads as numbers."""
    strides = list(attribute_of(node, "strides", [1, 1]))
    dilations = list(attribute_of(node, "dilations", [1, 1]))
    pads = list(attribute_of(node, "pads", [0] * 4))
    auto = attribute_of(node, "auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        pads = [0] * 4
        for axis, length in enumerate(lowering.graph.shapes[name][1:]):
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            total = max((math.ceil(length / strides[axis]) - 1) * strides[axis] + reach - length, 0)
            pads[axis], pads[axis + 2] = total // 2, total - total // 2
            if auto == b"SAME_LOWER":
                pads[axis], pads[axis + 2] = pads[axis + 2], pads[axis]
    return {"strides": strides, "pads": pads, "dilations": dilations}


def _conv(lowering: Lowering, node: onnx.NodeProto) -> Value:
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    if weights is None or weights.ndim != 4:
        raise lowering.cannot(node, "a convolution in other than two dimensions")
    name = lowering.plain(lowering.view(node))
    window = _window(lowering, node, name, list(weights.shape[2:]))
    constants = [
        lowering.graph.constant(weights),
        lowering.graph.constant(np.zeros(len(weights)) if bias is None else bias),
    ]
    result = lowering.emit(
        "Conv", [name, *constants], _spatial(lowering, node), **window, group=int(attribute_of(node, "group", 1))
    )
    return View(result, ((0,), (1,), (2,), (3,)))


def _spatial(lowering: Lowering, node: onnx.NodeProto) -> Shape:
    return tuple(length for length, _ in lowering.shape(node.output[0])[1:])


def _conv_transpose(lowering: Lowering, node: onnx.NodeProto) -> Value:
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    if weights is None or weights.ndim != 4 or attribute_of(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise lowering.cannot(node, "a transposed convolution of this padding")
    weights = _dilated(weights, attribute_of(node, "dilations", [1, 1]))
    name = lowering.plain(lowering.view(node))
    window = {**_window(lowering, node, name, list(weights.shape[2:])), "dilations": [1, 1]}
    shape, group = _spatial(lowering, node), int(attribute_of(node, "group", 1))
    outputs = weights.shape[1] * group
    # What comes out of it whole is cut to what the model means: with uneven pads OpenCV refuses it.
    sides = zip(lowering.graph.shapes[name][1:], window["strides"], weights.shape[2:], window["dilations"], strict=True)
    whole = [(length - 1) * stride + (kernel - 1) * dilation + 1 for length, stride, kernel, dilation in sides]
    pads = window["pads"]
    if attribute_of(node, "output_shape") is not None:
        total = [max(have - want, 0) for have, want in zip(whole, shape[1:], strict=True)]
        pads = [one // 2 for one in total] + [one - one // 2 for one in total]
    even = pads[:2] == pads[2:] and all(w - 2 * p == s for w, p, s in zip(whole, pads, shape[1:], strict=False))
    constants = [lowering.graph.constant(weights), lowering.graph.constant(np.zeros(outputs) if bias is None else bias)]
    made = shape if even else (outputs, *whole)
    window["pads"] = pads if even else [0] * 4
    result = lowering.emit("ConvTranspose", [name, *constants], made, **window, group=group)
    if not even:
        result = _crop_or_extend(lowering, result, pads[:2], shape, constants[1])
    return View(result, ((0,), (1,), (2,), (3,)))


def _dilated(weights: np.ndarray, dilations: list[int]) -> np.ndarray:
    """Write the holes of a dilated kernel out as zeros; OpenCV forgets about them in a transposed convolution."""
    *channels, height, width = weights.shape
    down, across = dilations
    result = np.zeros((*channels, (height - 1) * down + 1, (width - 1) * across + 1), weights.dtype)
    result[:, :, ::down, ::across] = weights
    return result


def _crop_or_extend(lowering: Lowering, name: str, offsets: list[int], shape: Shape, bias: str) -> str:
    """Cut the sides of an image behind `offsets`; where it is too short, nothing but the bias comes behind it."""
    have = lowering.graph.shapes[name]
    missing = [
        max(want - (length - offset), 0) for want, length, offset in zip(shape[1:], have[1:], offsets, strict=True)
    ]
    if any(missing):
        shift = lowering.graph.constants[bias].astype(np.float64).reshape(-1, 1, 1)
        view = View(name, ((0,), (1,), (2,), (3,)))
        bare = lowering.affine(view, 1, -shift).name
        have = (have[0], have[1] + missing[0], have[2] + missing[1])
        bare = lowering.emit("Pad", [bare], have, pads=[0, 0, *missing])
        name = lowering.affine(View(bare, view.groups), 1, shift).name
    for axis, offset in enumerate(offsets, 2):
        current = list(lowering.graph.shapes[name])
        if current[axis - 1] != shape[axis - 1]:
            current[axis - 1] = shape[axis - 1]
            name = lowering.emit("Slice", [name], tuple(current), axis=axis, start=offset, end=offset + shape[axis - 1])
    return name


def _pool(op: str) -> Lower:
    def lower_pool(lowering: Lowering, node: onnx.NodeProto) -> Value:
        name = lowering.plain(lowering.view(node))
        kernel = list(attribute_of(node, "kernel_shape"))
        window = _window(lowering, node, name, kernel)
        if op == "AveragePool" and attribute_of(node, "count_include_pad", 0) and any(window["pads"]):
            raise lowering.cannot(node, "an average that counts its padding")
        result = lowering.emit(
            op, [name], _spatial(lowering, node), kernel=kernel, strides=window["strides"], pads=window["pads"]
        )
        return View(result, ((0,), (1,), (2,), (3,)))

    return lower_pool


def _global_pool(op: str) -> Lower:
    def lower_global_pool(lowering: Lowering, node: onnx.NodeProto) -> Value:
        view = lowering.view(node)
        name = lowering.plain(view)
        name = lowering.reshape(name, (*lowering.graph.shapes[name], 1)[:3])
        result = lowering.emit(op, [name], (lowering.graph.shapes[name][0], 1, 1))
        return View(result, ((0,), (1,), *((),) * (len(view.groups) - 2)))

    return lower_global_pool


def _reduce(kind: str) -> Lower:
    def lower_reduce(lowering: Lowering, node: onnx.NodeProto) -> Value:
        view = lowering.view(node)
        chosen = lowering.constant(node, 1, "axes")
        axes = range(1, len(view.groups)) if chosen is None else [int(axis) % len(view.groups) for axis in chosen]
        over = {axis for side in axes for axis in view.groups[side]}
        if 0 in over:
            raise lowering.cannot(node, "an average over the batch")
        reduced = _reduced(lowering, node, kind, lowering.image(view) if len(over) < 3 else view, over, view)
        if attribute_of(node, "keepdims", 1):
            return reduced
        return View(reduced.name, tuple(group for side, group in enumerate(reduced.groups) if side not in axes))

    return lower_reduce


def _reduced(lowering: Lowering, node: onnx.NodeProto, kind: str, image: View, over: set[int], view: View) -> View:
    if image.groups != view.groups:  # it had to be stored anew, in the model's order
        sides = [side for side, group in enumerate(view.groups) if over.intersection(group)]
        over = {axis for side in sides for axis in image.groups[side]}
    name = image.name
    if len(lowering.graph.shapes[name]) != 3:
        name = lowering.reshape(name, (*lowering.graph.shapes[name], 1, 1)[:3])
    shape = lowering.graph.shapes[name]
    count = math.prod(shape[axis - 1] for axis in over)
    over = {axis for axis in over if shape[axis - 1] > 1}
    if {2, 3} & over:
        kernel = [side if axis in over else 1 for axis, side in ((2, shape[1]), (3, shape[2]))]
        name = _pooled(lowering, kind, name, kernel)
    if 1 in over:
        name = _over_channels(lowering, kind, name)
    result = View(name, image.groups)
    return lowering.affine(result, count, 0) if kind == "Sum" else result


def _pooled(lowering: Lowering, kind: str, name: str, kernel: list[int]) -> str:
    channels, height, width = lowering.graph.shapes[name]
    op = "MaxPool" if kind == "Max" else "AveragePool"
    if kernel == [height, width]:
        return lowering.emit(f"Global{op}", [name], (channels, 1, 1))
    shape = (channels, height // kernel[0], width // kernel[1])
    return lowering.emit(op, [name], shape, kernel=kernel, strides=kernel, pads=[0] * 4)


def _over_channels(lowering: Lowering, kind: str, name: str) -> str:
    channels, height, width = lowering.graph.shapes[name]
    if kind != "Max":
        return lowering.convolve(name, np.full((1, channels), 1 / channels))
    turned = lowering.reshape(name, (1, channels, height * width))
    return lowering.reshape(_pooled(lowering, "Max", turned, [channels, 1]), (1, height, width))


def _softmax(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    axis = int(attribute_of(node, "axis", -1)) % len(view.groups)
    over = view.groups[axis]
    rank = len(lowering.graph.shapes[view.name])
    if rank not in (1, 3) or over != (1,):
        inner = View(view.name, ((0,), over, *(g for i, g in enumerate(view.groups) if i not in (0, axis))))
        if len(inner.groups) > 4:
            raise lowering.cannot(node, "a softmax of more than four sides")
        name = lowering.plain(inner)
        if len(inner.groups) == 3:
            name = lowering.reshape(name, (*lowering.graph.shapes[name], 1))
        sides = [0, *(i for i in range(1, len(view.groups)) if i != axis)]
        groups = {0: (0,), axis: (1,)} | {side: (index + 1,) for index, side in enumerate(sides) if side}
        view = View(name, tuple(groups[side] for side in range(len(view.groups))))
    return View(lowering.emit("Softmax", [view.name], lowering.graph.shapes[view.name]), view.groups)


def _squeeze(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    axes = lowering.constant(node, 1, "axes")
    gone = {side % len(view.groups) for side in map(int, axes if axes is not None else [])}
    return View(view.name, tuple(group for side, group in enumerate(view.groups) if side not in gone))


def _unsqueeze(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    rank = len(lowering.shape(node.output[0]))
    axes = lowering.constant(node, 1, "axes")
    new = {int(axis) % rank for axis in (axes if axes is not None else [])}
    groups = iter(view.groups)
    return View(view.name, tuple(() if side in new else next(groups) for side in range(rank)))


def _concat(lowering: Lowering, node: onnx.NodeProto) -> Value:
    views = [lowering.view(node, position) for position in range(len(node.input))]
    side = int(attribute_of(node, "axis", 1)) % len(views[0].groups)
    reference = views[0]
    if len(reference.groups[side]) != 1:  # of length 1, or of several stored sides
        name = lowering.plain(reference)
        reference = View(name, tuple((axis,) for axis in range(len(reference.groups))))
    (axis,) = reference.groups[side]
    names = [reference.name, *(lowering.like(view, reference) for view in views[1:])]
    if any(len(lowering.graph.shapes[name]) != len(lowering.graph.shapes[reference.name]) for name in names):
        raise lowering.cannot(node, "a concatenation of values of different sides")
    shape = list(lowering.graph.shapes[reference.name])
    shape[axis - 1] = sum(lowering.graph.shapes[name][axis - 1] for name in names)
    return View(lowering.emit("Concat", names, tuple(shape), axis=axis), reference.groups)


def _slice(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    starts, ends = lowering.constant(node, 1, "starts"), lowering.constant(node, 2, "ends")
    axes, steps = lowering.constant(node, 3, "axes"), lowering.constant(node, 4)
    assert starts is not None and ends is not None
    chosen = range(len(starts)) if axes is None else [int(axis) % len(view.groups) for axis in axes]
    for index, side in enumerate(chosen):
        length, follows = _product(lowering.stored_sides(view), list(view.groups[side]))
        step = 1 if steps is None else int(steps[index])
        start, end, step = slice(int(starts[index]), int(ends[index]), step).indices(length)
        if follows or (start, end, step) == (0, length, 1):
            continue
        if len(view.groups[side]) != 1:
            name = lowering.plain(view)
            view = View(name, tuple((axis,) for axis in range(len(view.groups))))
        view = _cut(lowering, node, view, view.groups[side][0], (start, end, step))
    return view


def _cut(lowering: Lowering, node: onnx.NodeProto, view: View, axis: int, bounds: tuple[int, int, int]) -> View:
    start, end, step = bounds
    if step < 1:
        raise lowering.cannot(node, "a slice that runs backwards")
    shape = list(lowering.graph.shapes[view.name])
    shape[axis - 1] = end - start
    name = lowering.emit("Slice", [view.name], tuple(shape), axis=axis, start=start, end=end)
    if step > 1:
        if len(shape) != 3 or axis == 1:
            raise lowering.cannot(node, "a slice with steps over channels")
        strides = [step if axis == side else 1 for side in (2, 3)]
        shape[axis - 1] = math.ceil(shape[axis - 1] / step)
        name = lowering.emit("MaxPool", [name], tuple(shape), kernel=[1, 1], strides=strides, pads=[0] * 4)
    return View(name, view.groups)


def _pad(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    if attribute_of(node, "mode", b"constant") != b"constant":
        raise lowering.cannot(node, "a padding that mirrors the image")
    pads, filling = lowering.constant(node, 1, "pads"), lowering.constant(node, 2, "value")
    assert pads is not None
    rank = len(view.groups)
    value = 0.0 if filling is None else float(filling.reshape(-1)[0])
    sides = {side: (int(pads[side]), int(pads[side + rank])) for side in range(rank) if pads[side] or pads[side + rank]}
    if any(len(view.groups[side]) != 1 for side in sides) or len(lowering.graph.shapes[view.name]) != 3:
        view = View(lowering.plain(view), tuple((axis,) for axis in range(rank)))
    by_axis = {view.groups[side][0]: amounts for side, amounts in sides.items()}
    if not set(by_axis) <= {2, 3} or len(lowering.graph.shapes[view.name]) != 3:
        raise lowering.cannot(node, "a padding of channels")
    (top, bottom), (left, right) = (by_axis.get(axis, (0, 0)) for axis in (2, 3))
    if min(top, bottom, left, right) < 0:
        raise lowering.cannot(node, "a negative padding")
    channels, height, width = lowering.graph.shapes[view.name]
    shape = (channels, height + top + bottom, width + left + right)
    shifted = lowering.affine(view, 1, -value) if value else view
    name = lowering.emit("Pad", [shifted.name], shape, pads=[top, left, bottom, right])
    return lowering.affine(View(name, view.groups), 1, value) if value else View(name, view.groups)


def _resize(lowering: Lowering, node: onnx.NodeProto) -> Value:
    name = lowering.plain(lowering.view(node))
    shape = _spatial(lowering, node)
    own = lowering.graph.shapes[name]
    if own == shape:
        return View(name, ((0,), (1,), (2,), (3,)))
    mode = attribute_of(node, "mode", b"nearest").decode()
    coordinates = attribute_of(node, "coordinate_transformation_mode", b"half_pixel").decode()
    factors = [wanted / given for wanted, given in zip(shape[1:], own[1:], strict=True)]
    if mode == "nearest" and all(factor == int(factor) for factor in factors):
        result = lowering.emit("Upsample", [name], shape, scales=[int(factor) for factor in factors])
    elif mode == "linear" and coordinates == "half_pixel":
        result = lowering.emit("Resize", [name], shape)
    else:
        raise lowering.cannot(node, f"a resize of the kind {mode}, {coordinates}")
    return View(result, ((0,), (1,), (2,), (3,)))


def _batch_normalization(lowering: Lowering, node: onnx.NodeProto) -> Value:
    gamma, beta, mean, variance = (lowering.constant(node, position) for position in range(1, 5))
    assert gamma is not None and beta is not None and mean is not None and variance is not None
    scale = gamma / np.sqrt(variance.astype(np.float64) + attribute_of(node, "epsilon", 1e-5))
    name = lowering.plain(lowering.view(node))
    result = lowering.channel_affine(name, scale, beta - mean * scale)
    return View(result, tuple((axis,) for axis in range(len(lowering.graph.shapes[name]) + 1)))


def _prelu(lowering: Lowering, node: onnx.NodeProto) -> Value:
    slope = lowering.constant(node, 1)
    assert slope is not None
    view = lowering.view(node)
    positive = _at_least(lowering, view, 0.0)
    negative = _at_least(lowering, lowering.affine(view, -1, 0), 0.0)
    scaled = _with_constant(lowering, node, "Mul", negative, -slope, constant_first=False)
    return _combine_views(lowering, "Add", positive, scaled)


def _hard_swish(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    shape = lowering.graph.shapes[view.name]
    gate = lowering.emit("HardSigmoid", [view.name], shape, alpha=1 / 6, beta=0.5)
    return View(lowering.emit("Mul", [view.name, gate], shape), view.groups)


def _softsign(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    name = lowering.emit("Abs", [view.name], lowering.graph.shapes[view.name])
    below = lowering.affine(View(name, view.groups), 1, 1)
    return _combine(lowering, node, "Div", view, below)


LOWER: dict[str, Lower] = {
    **dict.fromkeys(("Identity", "Cast", "Dropout"), _same),
    **{
        name: _elementwise(name) for name in ("Relu", "Sigmoid", "Tanh", "Softplus", "Exp", "Log", "Erf", "Sqrt", "Abs")
    },
    "LeakyRelu": _elementwise("LeakyRelu", alpha=_read("alpha", 0.01)),
    "Elu": _elementwise("Elu", alpha=_read("alpha", 1.0)),
    "Selu": _elementwise("Selu", alpha=_read("alpha", 1.6732632423543772), gamma=_read("gamma", 1.0507009873554805)),
    "HardSigmoid": _elementwise("HardSigmoid", alpha=_read("alpha", 0.2), beta=_read("beta", 0.5)),
    "HardSwish": _hard_swish,
    "Softsign": _softsign,
    "PRelu": _prelu,
    "Clip": _clip,
    "Neg": _negative,
    "Reciprocal": _reciprocal,
    "Pow": _pow,
    **{name: _binary(name) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")},
    "Sum": _binary("Add"),
    "Expand": _expand,
    "Tile": _expand,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool("MaxPool"),
    "AveragePool": _pool("AveragePool"),
    "GlobalMaxPool": _global_pool("GlobalMaxPool"),
    "GlobalAveragePool": _global_pool("GlobalAveragePool"),
    "ReduceMean": _reduce("Mean"),
    "ReduceSum": _reduce("Sum"),
    "ReduceMax": _reduce("Max"),
    "Softmax": _softmax,
    "Concat": _concat,
    "Slice": _slice,
    "Pad": _pad,
    "Resize": _resize,
    "BatchNormalization": _batch_normalization,
}
_ONE_INPUT = {"Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Slice", "Pad", "Resize", "Clip", "ReduceSum"}
