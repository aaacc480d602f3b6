"""What each operation that tf2onnx writes becomes: one function for each, and the table of them at the end."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from trainkit.exporting.graph import Graph, Shape
from trainkit.exporting.lowering import Lower, Lowering, Side, Value, View, attribute_of

_LARGEST_BOUND = 1e3  # beside it, x - bound + bound keeps the precision that the answers are held to


def lower(proto: onnx.ModelProto, layers: list[Any], *, broadcast: bool = False) -> Graph:
    """Rebuild a converted model, from its input `(N, C, H, W)` to its output `(N, classes)`.

    Args:
        proto: what tf2onnx wrote: one input, one output, opset 13.
        layers: of the Keras model, in order, to say where an operation came from.
        broadcast: leave it to the reader to combine an image with one value a channel.

    Raises:
        ExportError: an operation cannot be expressed; names its layer and its place.
    """
    return Lowering(proto, layers, LOWER, broadcast=broadcast).run()


def _same(lowering: Lowering, node: onnx.NodeProto) -> Value:
    return lowering.view(node)


def _cast(lowering: Lowering, node: onnx.NodeProto) -> Value:
    if attribute_of(node, "to") not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        raise lowering.cannot(node, "numbers of another kind than float32")
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
    name, reference = lowering.meet(follower, reference)
    shapes = lowering.graph.shapes[reference.name], lowering.graph.shapes[name]
    shape = tuple(max(sides) for sides in zip(*shapes, strict=True))
    names = [reference.name, name]
    by_channel = shapes[1] == (shape[0], 1, 1) and shapes[0] == shape and op != "Max"
    if not (lowering.broadcast and by_channel):
        names = [lowering.expand(one, shape) for one in names]
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
    bounded = _bounded_power(lowering, view, value) if op == "Min" else None
    if bounded is not None:
        return bounded
    if np.abs(value).max() > _LARGEST_BOUND:
        raise lowering.cannot(node, f"a bound of {np.abs(value).max():g}, too large for single precision")
    if op == "Max":
        return _at_least(lowering, view, value)
    return lowering.affine(_at_least(lowering, lowering.affine(view, -1, 0), -value), -1, 0)  # Min


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
    return _power(lowering, _at_least(lowering, base, most ** (1 / exponent)), exponent)


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


def _tile(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Repeat a value as a whole: a side of length 1 by copies of its number, another by joining the value to itself."""
    view, before, after = lowering.view(node), lowering.shape(node.input[0]), lowering.shape(node.output[0])
    if after[0] != (1, True):
        raise lowering.moves_the_batch()
    joined = [side for side in range(1, len(after)) if before[side][0] not in (1, after[side][0])]
    if any(len(view.groups[side]) != 1 for side in joined):
        view = lowering.apart(view)
    for side in joined:
        (axis,) = view.groups[side]
        shape = list(lowering.graph.shapes[view.name])
        copies = [view.name] * (after[side][0] // before[side][0])
        shape[axis - 1] = after[side][0]
        view = View(lowering.emit("Concat", copies, tuple(shape), axis=axis), view.groups)
    return _broadcast(lowering, view, after)


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
    turned = View(view.name, ((0,), last, *((axis,) for axis in rest)))
    name, _ = lowering.meet(turned, _IMAGE_VIEWS[len(rest)](lowering))
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
        anew = len(over) < 3 or len(lowering.graph.shapes[view.name]) > 3
        reduced = _reduced(lowering, node, kind, lowering.image(view) if anew else view, over, view)
        if attribute_of(node, "keepdims", 1):
            return reduced
        return View(reduced.name, tuple(group for side, group in enumerate(reduced.groups) if side not in axes))

    return lower_reduce


def _reduced(lowering: Lowering, node: onnx.NodeProto, kind: str, image: View, over: set[int], view: View) -> View:
    if image.groups != view.groups:  # it had to be stored anew, in the model's order
        sides = [side for side, group in enumerate(view.groups) if over.intersection(group)]
        over = {axis for side in sides for axis in image.groups[side]}
    if kind == "Min":
        most = _reduced(lowering, node, "Max", lowering.affine(image, -1, 0), over, image)
        return lowering.affine(most, -1, 0)
    name = image.name
    if len(lowering.graph.shapes[name]) > 3:
        raise lowering.cannot(node, "an average, sum or maximum over a value of more than four sides")
    if len(lowering.graph.shapes[name]) == 1 and 1 in over and kind != "Max":  # a row stays one, for dense layers
        (count,) = lowering.graph.shapes[name]
        return View(lowering.dense(name, np.full((1, count), 1 if kind == "Sum" else 1 / count)), image.groups)
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
    names = [lowering.like(view, reference) for view in views]
    if len(reference.groups[side]) != 1 or None in names:  # of length 1, of several stored sides, or in another order
        views = [lowering.apart(view) for view in views]
        reference = views[0]
        names = [lowering.like(view, reference) for view in views]
    (axis,) = reference.groups[side]
    if axis == 0:
        raise lowering.moves_the_batch()
    stored = [name for name in names if name is not None]
    if len({len(lowering.graph.shapes[name]) for name in stored}) > 1 or len(stored) < len(names):
        raise lowering.cannot(node, "a concatenation of values of different sides")
    shape = list(lowering.graph.shapes[reference.name])
    shape[axis - 1] = sum(lowering.graph.shapes[name][axis - 1] for name in stored)
    return View(lowering.emit("Concat", stored, tuple(shape), axis=axis), reference.groups)


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
            view = lowering.apart(view)
        view = _cut(lowering, node, view, view.groups[side][0], (start, end, step))
    return view


def _cut(lowering: Lowering, node: onnx.NodeProto, view: View, axis: int, bounds: tuple[int, int, int]) -> View:
    start, end, step = bounds
    if step != 1 and axis == 1:
        return _select(lowering, view, list(range(start, end, step)))
    if step < 1:
        raise lowering.cannot(node, "a slice that runs backwards")
    shape = list(lowering.graph.shapes[view.name])
    shape[axis - 1] = end - start
    name = lowering.emit("Slice", [view.name], tuple(shape), axis=axis, start=start, end=end)
    if step > 1:
        if len(shape) != 3:
            raise lowering.cannot(node, "a slice with steps of a value that is no image")
        strides = [step if axis == side else 1 for side in (2, 3)]
        shape[axis - 1] = math.ceil(shape[axis - 1] / step)
        name = lowering.emit("MaxPool", [name], tuple(shape), kernel=[1, 1], strides=strides, pads=[0] * 4)
    return View(name, view.groups)


def _split(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Return the part that is being asked for: each output of the operation is lowered by itself."""
    view = lowering.view(node)
    side = int(attribute_of(node, "axis", 0)) % len(view.groups)
    if len(view.groups[side]) != 1:
        view = lowering.apart(view)
    (axis,) = view.groups[side]
    if axis == 0:
        raise lowering.moves_the_batch()
    lengths = [lowering.shape(name)[side][0] for name in node.output]
    index = list(node.output).index(lowering.asked)
    start = sum(lengths[:index])
    return _cut(lowering, node, view, axis, (start, start + lengths[index], 1))


def _select(lowering: Lowering, view: View, channels: list[int]) -> View:
    """Return some channels in an order of their own, by a matrix of zeros and ones."""
    count, *rest = lowering.graph.shapes[view.name]
    matrix = np.eye(count)[channels]
    if not rest:
        return View(lowering.dense(view.name, matrix), view.groups)
    name = lowering.reshape(view.name, (count, *rest, 1)[:3] if len(rest) < 3 else (count, math.prod(rest), 1))
    return View(lowering.reshape(lowering.convolve(name, matrix), (len(channels), *rest)), view.groups)


def _pad(lowering: Lowering, node: onnx.NodeProto) -> Value:
    view = lowering.view(node)
    if attribute_of(node, "mode", b"constant") != b"constant":
        raise lowering.cannot(node, "a padding that mirrors the image")
    pads, filling = lowering.constant(node, 1, "pads"), lowering.constant(node, 2, "value")
    assert pads is not None
    rank = len(view.groups)
    value = 0.0 if filling is None else float(filling.reshape(-1)[0])
    sides = {side: (int(pads[side]), int(pads[side + rank])) for side in range(rank) if pads[side] or pads[side + rank]}
    if any(len(view.groups[side]) != 1 for side in sides):
        view = lowering.apart(view)
    own = lowering.graph.shapes[view.name]
    by_axis = {view.groups[side][0]: amounts for side, amounts in sides.items()}
    if len(own) > 3 or 0 in by_axis:
        raise lowering.cannot(node, "a padding of more than three sides")
    if any(amount < 0 for amounts in by_axis.values() for amount in amounts):
        raise lowering.cannot(node, "a negative padding")
    shifted = lowering.affine(view, 1, -value) if value else view
    name = _padded(lowering, lowering.reshape(shifted.name, (*own, 1, 1)[:3]), by_axis)
    name = lowering.reshape(name, lowering.graph.shapes[name][: len(own)])
    return lowering.affine(View(name, view.groups), 1, value) if value else View(name, view.groups)


def _padded(lowering: Lowering, name: str, by_axis: dict[int, tuple[int, int]]) -> str:
    """Put zeros around a stored image; (before, after) for each axis, channels among them."""
    (front, back), (top, bottom), (left, right) = (by_axis.get(axis, (0, 0)) for axis in (1, 2, 3))
    channels, height, width = lowering.graph.shapes[name]
    if front or back:
        name = lowering.convolve(name, np.pad(np.eye(channels), ((front, back), (0, 0))))
    if not any((top, bottom, left, right)):
        return name
    shape = (channels + front + back, height + top + bottom, width + left + right)
    return lowering.emit("Pad", [name], shape, pads=[top, left, bottom, right])


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
    elif (mode, coordinates) == ("nearest", "half_pixel") and not any(map(operator.mod, own, shape)):
        result = _every(lowering, name, [was // new for was, new in zip(own[1:], shape[1:], strict=True)])
    elif (mode, coordinates) == ("nearest", "half_pixel"):
        result = _picked(lowering, _picked(lowering, name, 1, shape[1]), 2, shape[2])
    else:
        raise lowering.cannot(node, f"a resize of the kind {mode}, {coordinates}")
    return View(result, ((0,), (1,), (2,), (3,)))


def _picked(lowering: Lowering, name: str, side: int, length: int) -> str:
    """Pick the nearest row (side 1) or column (2) for each of the new ones, as a product with zeros and ones.

    Readers do not agree on which of two pixels is the nearest; a product leaves nothing to agree on.
    """
    own = lowering.graph.shapes[name][side]
    if own == length:
        return name
    nearest = np.minimum(np.floor((np.arange(length) + 0.5) * (own / length)).astype(int), own - 1)
    order = [0, 2, 1, 3] if side == 1 else [0, 3, 2, 1]
    turned = lowering.reorder(name, order, tuple(lowering.graph.shapes[name][axis - 1] for axis in order[1:]))
    picked = lowering.convolve(turned, np.eye(own)[nearest])
    return lowering.reorder(picked, order, tuple(lowering.graph.shapes[picked][axis - 1] for axis in order[1:]))


def _every(lowering: Lowering, name: str, steps: list[int]) -> str:
    """Return the middle one of every so many rows and columns: nearest-neighbour shrinking by whole numbers."""
    for axis, step in enumerate(steps, 2):
        if step > 1:
            shape = list(lowering.graph.shapes[name])
            start, shape[axis - 1] = step // 2, shape[axis - 1] - step // 2
            name = lowering.emit("Slice", [name], tuple(shape), axis=axis, start=start, end=start + shape[axis - 1])
    channels, *sides = lowering.graph.shapes[name]
    shape = [channels, *(math.ceil(side / step) for side, step in zip(sides, steps, strict=True))]
    return lowering.emit("MaxPool", [name], tuple(shape), kernel=[1, 1], strides=steps, pads=[0] * 4)


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


def _tanh(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """tanh(x) as 2 * sigmoid(2 * x) - 1: that of OpenCV 5.0.0 is no number from x = 45 on."""
    doubled = lowering.affine(lowering.view(node), 2, 0)
    name = lowering.emit("Sigmoid", [doubled.name], lowering.graph.shapes[doubled.name])
    return lowering.affine(View(name, doubled.groups), 2, -1)


def _softplus(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """softplus(x) as relu(x) + softplus(-|x|): that of every OpenCV is infinite from x = 89 on."""
    view = lowering.view(node)
    shape = lowering.graph.shapes[view.name]
    below = lowering.affine(View(lowering.emit("Abs", [view.name], shape), view.groups), -1, 0)
    rest = lowering.emit("Softplus", [below.name], shape)
    return View(lowering.emit("Add", [_at_least(lowering, view, 0.0).name, rest], shape), view.groups)


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
    **dict.fromkeys(("Identity", "Dropout"), _same),
    "Cast": _cast,
    **{name: _elementwise(name) for name in ("Relu", "Sigmoid", "Exp", "Log", "Erf", "Sqrt", "Abs")},
    "LeakyRelu": _elementwise("LeakyRelu", alpha=_read("alpha", 0.01)),
    "Elu": _elementwise("Elu", alpha=_read("alpha", 1.0)),
    "Selu": _elementwise("Selu", alpha=_read("alpha", 1.6732632423543772), gamma=_read("gamma", 1.0507009873554805)),
    "HardSigmoid": _elementwise("HardSigmoid", alpha=_read("alpha", 0.2), beta=_read("beta", 0.5)),
    "HardSwish": _hard_swish,
    "Softsign": _softsign,
    "Tanh": _tanh,
    "Softplus": _softplus,
    "PRelu": _prelu,
    "Clip": _clip,
    "Neg": _negative,
    "Reciprocal": _reciprocal,
    "Pow": _pow,
    **{name: _binary(name) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")},
    "Sum": _binary("Add"),
    "Expand": _expand,
    "Tile": _tile,
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
    "ReduceMin": _reduce("Min"),
    "Softmax": _softmax,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Pad": _pad,
    "Resize": _resize,
    "BatchNormalization": _batch_normalization,
}
