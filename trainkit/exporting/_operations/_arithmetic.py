"""Number by number: what two values, or a value and a constant, make together, and the activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from trainkit.exporting._lowering import Lower, Lowering
from trainkit.exporting._observation import attribute_of
from trainkit.exporting._views import Side, Value, View

_NO_BOUND = 3e38  # that of float32 itself
_LARGEST_BOUND = 1e3  # beside it, x - bound + bound keeps the precision that the answers are held to


def lower_elementwise(op: str, **attributes: Callable[[onnx.NodeProto], Any]) -> Lower:
    """Return what lowers an operation that treats every number by itself; how the value is looked at stays the same."""

    def lower_elementwise(lowering: Lowering, node: onnx.NodeProto) -> Value:
        view = lowering.view(node)
        values = {key: read(node) for key, read in attributes.items()}
        return View(lowering.emit(op, [view.name], lowering.graph.shapes[view.name], **values), view.groups)

    return lower_elementwise


def read_number(name: str, default: float) -> Callable[[onnx.NodeProto], float]:
    """Return what reads a number among an operation's attributes."""
    return lambda node: float(attribute_of(node, name, default))


def lower_clip(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write clip(x, low, high); with one bound, max(x, low) = relu(x - low) + low or min(x, high) = -max(-x, -high)."""
    view = lowering.view(node)
    least, most = (lowering.constant(node, 1, "min"), lowering.constant(node, 2, "max"))
    low = -math.inf if least is None else float(least.reshape(-1)[0])
    high = math.inf if most is None else float(most.reshape(-1)[0])
    return _clipped(lowering, view, low, high)


def _clipped(lowering: Lowering, view: View, low: float, high: float) -> View:
    if math.isinf(high) or high > _NO_BOUND:
        return at_least(lowering, view, low)
    if math.isinf(low) or low < -_NO_BOUND:
        return lowering.affine(at_least(lowering, lowering.affine(view, -1, 0), -high), -1, 0)
    name = lowering.emit("Clip", [view.name], lowering.graph.shapes[view.name], min=low, max=high)
    return View(name, view.groups)


def at_least(lowering: Lowering, view: View, low: np.ndarray | float) -> View:
    shifted = lowering.affine(view, 1, -np.asarray(low)) if np.any(low) else view
    name = lowering.emit("Relu", [shifted.name], lowering.graph.shapes[shifted.name])
    return lowering.affine(View(name, view.groups), 1, low) if np.any(low) else View(name, view.groups)


def lower_negative(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write -x as -1x + 0, which folds into the weights beside it."""
    return lowering.affine(lowering.view(node), -1, 0)


def _power(lowering: Lowering, view: View, exponent: float) -> View:
    return View(lowering.emit("Pow", [view.name], lowering.graph.shapes[view.name], exponent=exponent), view.groups)


def lower_reciprocal(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write 1 / x as x ** -1: OpenCV 4.5.5 knows no Reciprocal."""
    return _power(lowering, lowering.view(node), -1.0)


def lower_pow(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write x ** p; x ** 2 as x * x, which is right for negative numbers in every reader."""
    exponent = lowering.constant(node, 1)
    if exponent is None or exponent.size != 1:
        raise lowering.cannot(node, "a power with more than one exponent")
    view, power = lowering.view(node), float(exponent.reshape(-1)[0])
    if power == 2:
        return View(lowering.emit("Mul", [view.name] * 2, lowering.graph.shapes[view.name]), view.groups)
    return _power(lowering, view, power)


def lower_binary(op: str) -> Lower:
    """Return what combines two values or more, two at a time: x / y as x * y ** -1, min(x, y) as -max(-x, -y)."""

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
        return with_constant(lowering, node, op, one, other, constant_first=False)
    if isinstance(one, np.ndarray):
        return with_constant(lowering, node, op, other, one, constant_first=True)
    if op == "Div":
        return _combine(lowering, node, "Mul", one, _power(lowering, other, -1.0))
    if op == "Min":
        negated = [lowering.affine(view, -1, 0) for view in (one, other)]
        return lowering.affine(_combine(lowering, node, "Max", *negated), -1, 0)
    return combine_views(lowering, op, one, other)


def combine_views(lowering: Lowering, op: str, one: View, other: View) -> View:
    first_leads = lowering.graph.size(one.name) >= lowering.graph.size(other.name) and len(one.groups) >= len(
        other.groups
    )
    if lowering.graph.size(one.name) == lowering.graph.size(other.name) and len(one.groups) == len(other.groups):
        first_leads = first_leads and (_is_plain(one) or not _is_plain(other))
    reference, follower = (one, other) if first_leads else (other, one)
    name, reference = lowering.align(follower, reference)
    shapes = lowering.graph.shapes[reference.name], lowering.graph.shapes[name]
    shape = tuple(max(sides) for sides in zip(*shapes, strict=True))
    names = [reference.name, name]
    by_channel = shapes[1] == (shape[0], 1, 1) and shapes[0] == shape and op != "Max"
    if not (lowering.broadcast and by_channel):
        names = [lowering.expand(one, shape) for one in names]
    return View(lowering.emit(op, names if first_leads else names[::-1], shape), reference.groups)


def _is_plain(view: View) -> bool:
    """Whether a value is stored in the model's own order, as what comes from products in rows is."""
    return view.groups == tuple((axis,) for axis in range(len(view.groups)))


def with_constant(
    lowering: Lowering, node: onnx.NodeProto, op: str, view: View, constant: np.ndarray, *, constant_first: bool
) -> View:
    """Combine a value with a constant, mostly into an affine map that folds into the weights beside it."""
    if _outgrows(lowering, constant, view):
        view = broadcast(lowering, view, lowering.shape(node.output[0]))
    if constant.size == 1:
        value: np.ndarray | float = float(constant.reshape(-1)[0])
    else:
        value = lowering.relayout_constant_as(constant.astype(np.float64), view)
    if op in ("Max", "Min"):
        return _bounded(lowering, node, op, view, value)
    if op == "Div" and constant_first:  # c / x = c * x ** -1
        return lowering.affine(_power(lowering, view, -1.0), value, 0)
    return lowering.affine(view, *_as_affine(op, value, constant_first=constant_first))


def _outgrows(lowering: Lowering, constant: np.ndarray, view: View) -> bool:
    """Whether a constant is longer on some side than the value that it meets."""
    return constant.ndim > len(view.groups) or any(
        length > 1 and not _is_long(lowering, view, axis - constant.ndim) for axis, length in enumerate(constant.shape)
    )


def _as_affine(
    op: str, value: np.ndarray | float, *, constant_first: bool
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Return scale and shift: x + c = 1x + c, x - c = 1x - c, c - x = -1x + c, x * c = cx + 0, x / c = (1 / c)x + 0."""
    if op == "Add":
        return 1, value
    if op == "Sub":
        return (-1, value) if constant_first else (1, -value)
    return (value if op == "Mul" else 1 / value), 0


def _bounded(lowering: Lowering, node: onnx.NodeProto, op: str, view: View, value: np.ndarray | float) -> View:
    """Return max(x, c) = relu(x - c) + c, or min(x, c) = -max(-x, -c)."""
    if np.all(value <= -_NO_BOUND if op == "Max" else value >= _NO_BOUND):  # of saturate_cast, say
        return view
    bounded = _bounded_power(lowering, view, value) if op == "Min" else None
    if bounded is not None:
        return bounded
    if np.abs(value).max() > _LARGEST_BOUND:
        raise lowering.cannot(node, f"a bound of {np.abs(value).max():g}, too large for single precision")
    if op == "Max":
        return at_least(lowering, view, value)
    return lowering.affine(at_least(lowering, lowering.affine(view, -1, 0), -value), -1, 0)


def _bounded_power(lowering: Lowering, view: View, most: np.ndarray | float) -> View | None:
    """Return min(x ** -p, most) as max(x, most ** (-1 / p)) ** -p, since normalisations bound 1 / norm by 1e12.

    Bounded as others are, by most - relu(most - x), nothing would be left of x beside such a number.
    """
    made_by = lowering.graph.producers().get(view.name)
    if made_by is None or made_by.op != "Pow" or made_by.attributes["exponent"] >= 0 or isinstance(most, np.ndarray):
        return None
    exponent, base = made_by.attributes["exponent"], View(made_by.inputs[0], view.groups)
    before = lowering.graph.producers().get(base.name)
    if before is not None and before.op == "Sqrt":
        exponent, base = exponent / 2, View(before.inputs[0], view.groups)
    return _power(lowering, at_least(lowering, base, most ** (1 / exponent)), exponent)


def _is_long(lowering: Lowering, view: View, axis: int) -> bool:
    stored = [2, *lowering.graph.shapes[view.name]]
    return any(stored[side] > 1 for side in view.groups[axis])


def broadcast(lowering: Lowering, view: View, sides: list[Side]) -> View:
    """Repeat a value to the sides that the model means: as it is stored where that is possible."""
    groups = ((0,),) + ((),) * (len(sides) - len(view.groups)) + view.groups[1:]
    if all(len(group) == 1 for group in groups):
        shape = list(lowering.graph.shapes[view.name])
        for (length, _), (axis,) in zip(sides[1:], groups[1:], strict=True):
            shape[axis - 1] = length
        return View(lowering.expand(view.name, tuple(shape)), groups)
    name = lowering.materialize(View(view.name, groups))
    name = lowering.expand(name, tuple(length for length, _ in sides[1:]))
    return View(name, tuple((axis,) for axis in range(len(sides))))


def lower_prelu(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write relu(x) - slope * relu(-x): a slope for each pixel is read wrongly up to OpenCV 4.8.1."""
    slope = lowering.constant(node, 1)
    assert slope is not None
    view = lowering.view(node)
    positive = at_least(lowering, view, 0.0)
    negative = at_least(lowering, lowering.affine(view, -1, 0), 0.0)
    scaled = with_constant(lowering, node, "Mul", negative, -slope, constant_first=False)
    return combine_views(lowering, "Add", positive, scaled)


def lower_tanh(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write tanh(x) as 2 * sigmoid(2 * x) - 1: that of OpenCV 5.0.0 is no number from x = 45 on."""
    doubled = lowering.affine(lowering.view(node), 2, 0)
    name = lowering.emit("Sigmoid", [doubled.name], lowering.graph.shapes[doubled.name])
    return lowering.affine(View(name, doubled.groups), 2, -1)


def lower_softplus(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write softplus(x) as relu(x) + softplus(-|x|): that of every OpenCV is infinite from x = 89 on."""
    view = lowering.view(node)
    shape = lowering.graph.shapes[view.name]
    below = lowering.affine(View(lowering.emit("Abs", [view.name], shape), view.groups), -1, 0)
    rest = lowering.emit("Softplus", [below.name], shape)
    return View(lowering.emit("Add", [at_least(lowering, view, 0.0).name, rest], shape), view.groups)


def lower_hard_swish(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write x * hard_sigmoid(x): the operation itself is younger than opset 9."""
    view = lowering.view(node)
    shape = lowering.graph.shapes[view.name]
    gate = lowering.emit("HardSigmoid", [view.name], shape, alpha=1 / 6, beta=0.5)
    return View(lowering.emit("Mul", [view.name, gate], shape), view.groups)


def lower_softsign(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write x / (1 + |x|)."""
    view = lowering.view(node)
    name = lowering.emit("Abs", [view.name], lowering.graph.shapes[view.name])
    below = lowering.affine(View(name, view.groups), 1, 1)
    return _combine(lowering, node, "Div", view, below)


_STEEP = 1e30  # makes 1 or more of every difference of two numbers that float32 can tell apart


def is_positive(lowering: Lowering, view: View) -> View:
    """Return 1 where a value is above 0, and 0 elsewhere: min(relu(x) * 1e30, 1)."""
    shape = lowering.graph.shapes[view.name]
    steep = lowering.affine(at_least(lowering, view, 0.0), _STEEP, 0)
    return View(lowering.emit("Clip", [steep.name], shape, min=0.0, max=1.0), view.groups)


def lower_comparison(*, swapped: bool = False, negated: bool = False) -> Lower:
    """Return what lowers x > y to 1 and 0; `swapped` means y > x, `negated` the opposite: x <= y is not x > y."""

    def lower_comparison(lowering: Lowering, node: onnx.NodeProto) -> Value:
        one, other = (lowering.value(node.input[position]) for position in ((1, 0) if swapped else (0, 1)))
        above = is_positive(lowering, _combine(lowering, node, "Sub", one, other))
        return lowering.affine(above, -1, 1) if negated else above

    return lower_comparison


def lower_equal(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write x == y, to the last bit, as 1 - (x > y) - (y > x)."""
    one, other = (lowering.value(name) for name in node.input)
    difference = _combine(lowering, node, "Sub", one, other)
    sign = [is_positive(lowering, lowering.affine(difference, way, 0)) for way in (1, -1)]
    return lowering.affine(combine_views(lowering, "Add", *sign), -1, 1)


def lower_never(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write what no finite number is, infinite or no number at all, as 0."""
    return lowering.affine(lowering.view(node), 0, 0)


def whole(lowering: Lowering, view: View) -> View:
    """Return a value without its fraction: floor(relu(x)) - floor(relu(-x))."""
    shape = lowering.graph.shapes[view.name]
    parts = [at_least(lowering, lowering.affine(view, way, 0), 0.0) for way in (1, -1)]
    floors = [View(lowering.emit("Floor", [part.name], shape), part.groups) for part in parts]
    return combine_views(lowering, "Sub", *floors)


def lower_sign(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write sign(x) as (x > 0) - (-x > 0)."""
    view = lowering.view(node)
    return combine_views(lowering, "Sub", *(is_positive(lowering, lowering.affine(view, way, 0)) for way in (1, -1)))


def lower_thresholded_relu(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write x where it is above a threshold, else 0."""
    view = lowering.view(node)
    above = is_positive(lowering, lowering.affine(view, 1, -float(attribute_of(node, "alpha", 1.0))))
    return combine_views(lowering, "Mul", view, above)


def lower_not(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write not x, of 1 and 0, as 1 - x."""
    return lowering.affine(lowering.view(node), -1, 1)


def lower_where(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write a where c, and else b, as c * a + (1 - c) * b, of a condition that is 1 or 0."""
    condition, *branches = (_finite(lowering.value(name)) for name in node.input)
    if isinstance(condition, np.ndarray):
        condition = condition.astype(np.float64)
        otherwise: Value = 1 - condition
    else:
        otherwise = lowering.affine(condition, -1, 1)
    parts = [
        _scaled(lowering, node, weight, branch) for weight, branch in zip((condition, otherwise), branches, strict=True)
    ]
    found = [part for part in parts if part is not None]
    return found[0] if len(found) == 1 else _combine(lowering, node, "Add", found[0], found[1])


def _finite(value: Value) -> Value:
    """Return a constant without infinities, which nought times would be no number."""
    return np.nan_to_num(value, posinf=_NO_BOUND, neginf=-_NO_BOUND) if isinstance(value, np.ndarray) else value


def _scaled(lowering: Lowering, node: onnx.NodeProto, weight: Value, branch: Value) -> Value | None:
    """Return a branch times its weight, none where that is nothing."""
    if isinstance(branch, np.ndarray) and not branch.any():
        return None
    if isinstance(weight, np.ndarray) and isinstance(branch, np.ndarray):
        return weight * branch
    return _combine(lowering, node, "Mul", branch, weight)
