"""How a value is looked at, cut, joined, padded and resized."""

from __future__ import annotations

import math
import operator

import numpy as np
import onnx

from trainkit.exporting._graph import Shape
from trainkit.exporting._lowering import Lowering
from trainkit.exporting._observation import attribute_of
from trainkit.exporting._operations._arithmetic import broadcast
from trainkit.exporting._views import Side, Value, View


def lower_same(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Pass a value on: the operation changes nothing at rest."""
    return lowering.view(node)


def lower_cast(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Pass a value on where it stays a float; whole numbers have no form here."""
    if attribute_of(node, "to") not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        raise lowering.cannot(node, "numbers of another kind than float32")
    return lowering.view(node)


def lower_expand(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Repeat a value along its sides of length 1."""
    return broadcast(lowering, lowering.view(node), lowering.shape(node.output[0]))


def lower_tile(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Repeat a value as a whole: a side of length 1 by copies of its number, another by joining the value to itself."""
    view, before, after = lowering.view(node), lowering.shape(node.input[0]), lowering.shape(node.output[0])
    if after[0] != (1, True):
        raise lowering.moves_the_batch()
    joined = [side for side in range(1, len(after)) if before[side][0] not in (1, after[side][0])]
    if any(len(view.groups[side]) != 1 for side in joined):
        view = lowering.split_axes(view)
    for side in joined:
        (axis,) = view.groups[side]
        shape = list(lowering.graph.shapes[view.name])
        copies = [view.name] * (after[side][0] // before[side][0])
        shape[axis - 1] = after[side][0]
        view = View(lowering.emit("Concat", copies, tuple(shape), axis=axis), view.groups)
    return broadcast(lowering, view, after)


def lower_transpose(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Look at a value with its sides in another order; nothing is stored anew."""
    view = lowering.view(node)
    order = attribute_of(node, "perm", list(range(len(view.groups)))[::-1])
    return View(view.name, tuple(view.groups[axis] for axis in order))


def lower_reshape(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Look at a value with other sides; it is stored anew only where one of its stored sides is cut."""
    view, sides = lowering.view(node), lowering.shape(node.output[0])
    regrouped = _regroup(lowering.stored_sides(view), view.groups, sides)
    if regrouped is not None:
        return View(view.name, regrouped)
    if sides[0] != (1, True) or any(follows for _, follows in sides[1:]):
        raise lowering.cannot(node, f"a reshape that cuts the batch into {sides}")
    name = lowering.reshape(lowering.materialize(view), tuple(length for length, _ in sides[1:]))
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


def spatial(lowering: Lowering, node: onnx.NodeProto) -> Shape:
    """Return the shape, without the batch, of what an operation makes."""
    return tuple(length for length, _ in lowering.shape(node.output[0])[1:])


def lower_squeeze(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Look at a value without some of its sides of length 1."""
    view = lowering.view(node)
    axes = lowering.constant(node, 1, "axes")
    gone = {side % len(view.groups) for side in map(int, axes if axes is not None else [])}
    return View(view.name, tuple(group for side, group in enumerate(view.groups) if side not in gone))


def lower_unsqueeze(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Look at a value with further sides of length 1."""
    view = lowering.view(node)
    rank = len(lowering.shape(node.output[0]))
    axes = lowering.constant(node, 1, "axes")
    new = {int(axis) % rank for axis in (axes if axes is not None else [])}
    groups = iter(view.groups)
    return View(view.name, tuple(() if side in new else next(groups) for side in range(rank)))


def lower_concat(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Join values along a side, all stored as the first one is."""
    values = [lowering.value(name) for name in node.input]
    first = next((value for value in values if isinstance(value, View)), None)
    if first is None:
        raise lowering.cannot(node, "a concatenation of constants")
    side = int(attribute_of(node, "axis", 1)) % len(first.groups)
    views = [
        value if isinstance(value, View) else _repeated_constant(lowering, node, value, first, side) for value in values
    ]
    reference = views[0]
    names = [lowering.relayout_as(view, reference) for view in views]
    if len(reference.groups[side]) != 1 or None in names:  # of length 1, of several stored sides, or in another order
        views = [lowering.split_axes(view) for view in views]
        reference = views[0]
        names = [lowering.relayout_as(view, reference) for view in views]
    (axis,) = reference.groups[side]
    if axis == 0:
        raise lowering.moves_the_batch()
    stored = [name for name in names if name is not None]
    if len({len(lowering.graph.shapes[name]) for name in stored}) > 1 or len(stored) < len(names):
        raise lowering.cannot(node, "a concatenation of values of different sides")
    shape = list(lowering.graph.shapes[reference.name])
    shape[axis - 1] = sum(lowering.graph.shapes[name][axis - 1] for name in stored)
    return View(lowering.emit("Concat", stored, tuple(shape), axis=axis), reference.groups)


def _repeated_constant(lowering: Lowering, node: onnx.NodeProto, constant: np.ndarray, like: View, side: int) -> View:
    """Return a constant for each image of a batch: as nought times another value, which has the batch, plus it."""
    like = lowering.split_axes(like)
    if constant.ndim != len(like.groups) or constant.shape[0] != 1 or like.groups[side] == (0,):
        raise lowering.cannot(node, "a concatenation with a constant for each image")
    one = _cut(lowering, node, like, like.groups[side][0], (0, 1, 1))
    sides = [(1, True), *((length, False) for length in constant.shape[1:])]
    whole = broadcast(lowering, one, sides)
    return lowering.affine(whole, 0, lowering.relayout_constant_as(constant.astype(np.float64), whole))


def lower_slice(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Cut sides; steps over rows and columns are a pooling of one pixel, over channels a product."""
    view = lowering.view(node)
    starts, ends = lowering.constant(node, 1, "starts"), lowering.constant(node, 2, "ends")
    axes, steps = lowering.constant(node, 3, "axes"), lowering.constant(node, 4)
    assert starts is not None and ends is not None
    sides = range(len(starts)) if axes is None else [int(axis) % len(view.groups) for axis in axes]
    for index, side in enumerate(sides):
        length, follows = _product(lowering.stored_sides(view), list(view.groups[side]))
        step = 1 if steps is None else int(steps[index])
        start, end, step = slice(int(starts[index]), int(ends[index]), step).indices(length)
        if follows or (start, end, step) == (0, length, 1):
            continue
        if len(view.groups[side]) != 1:
            view = lowering.split_axes(view)
        view = _cut(lowering, node, view, view.groups[side][0], (start, end, step))
    return view


def _cut(lowering: Lowering, node: onnx.NodeProto, view: View, axis: int, bounds: tuple[int, int, int]) -> View:
    start, end, step = bounds
    if step != 1 and axis == 1:
        return _select(lowering, view, list(range(start, end, step)))
    shape = list(lowering.graph.shapes[view.name])
    if step < 1:
        if len(shape) != 3:
            raise lowering.cannot(node, "a slice that runs backwards")
        return View(_chosen(lowering, view.name, axis - 1, list(range(start, end, step))), view.groups)
    shape[axis - 1] = end - start
    name = lowering.emit("Slice", [view.name], tuple(shape), axis=axis, start=start, end=end)
    if step > 1:
        if len(shape) != 3:
            raise lowering.cannot(node, "a slice with steps of a value that is no image")
        strides = [step if axis == side else 1 for side in (2, 3)]
        shape[axis - 1] = math.ceil(shape[axis - 1] / step)
        name = lowering.emit("MaxPool", [name], tuple(shape), kernel=[1, 1], strides=strides, pads=[0] * 4)
    return View(name, view.groups)


def lower_split(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Return the part that is being asked for: each output of the operation is lowered by itself."""
    view = lowering.view(node)
    side = int(attribute_of(node, "axis", 0)) % len(view.groups)
    if len(view.groups[side]) != 1:
        view = lowering.split_axes(view)
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


def lower_pad(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Put a constant around a value: around channels by a product, around rows and columns by a Pad of zeros.

    pad(x, c) = pad(x - c, 0) + c.
    """
    view = lowering.view(node)
    if attribute_of(node, "mode", b"constant") != b"constant":
        raise lowering.cannot(node, "a padding that mirrors the image")
    pads, filling = lowering.constant(node, 1, "pads"), lowering.constant(node, 2, "value")
    assert pads is not None
    rank = len(view.groups)
    value = 0.0 if filling is None else float(filling.reshape(-1)[0])
    sides = {side: (int(pads[side]), int(pads[side + rank])) for side in range(rank) if pads[side] or pads[side + rank]}
    if any(len(view.groups[side]) != 1 for side in sides):
        view = lowering.split_axes(view)
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


def lower_resize(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Enlarge by whole factors, interpolate, or pick the nearest pixels, each in a form all readers agree on."""
    name = lowering.materialize(lowering.view(node))
    shape = spatial(lowering, node)
    own = lowering.graph.shapes[name]
    if own == shape:
        return View(name, ((0,), (1,), (2,), (3,)))
    mode = attribute_of(node, "mode", b"nearest").decode()
    coordinates = attribute_of(node, "coordinate_transformation_mode", b"half_pixel").decode()
    factors = [wanted / given for wanted, given in zip(shape[1:], own[1:], strict=True)]
    if mode == "nearest" and all(factor == int(factor) for factor in factors):
        result = lowering.emit("Upsample", [name], shape, scales=[int(factor) for factor in factors])
    elif mode == "linear" and coordinates == "half_pixel":
        # Of one row or column there is nothing to interpolate, and OpenCV 5.0.0 divides by its length less one.
        wide = tuple(wanted if given == 1 else given for wanted, given in zip(shape, own, strict=True))
        name = lowering.expand(name, wide)
        result = name if wide == shape else lowering.emit("Resize", [name], shape)
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
    return _chosen(lowering, name, side, nearest.tolist())


def _chosen(lowering: Lowering, name: str, side: int, places: list[int]) -> str:
    """Return some rows (side 1) or columns (2) of a stored image in an order of their own, by a matrix."""
    own = lowering.graph.shapes[name][side]
    order = [0, 2, 1, 3] if side == 1 else [0, 3, 2, 1]
    turned = lowering.reorder(name, order, tuple(lowering.graph.shapes[name][axis - 1] for axis in order[1:]))
    picked = lowering.convolve(turned, np.eye(own)[places])
    return lowering.reorder(picked, order, tuple(lowering.graph.shapes[picked][axis - 1] for axis in order[1:]))


def _every(lowering: Lowering, name: str, steps: list[int]) -> str:
    """Return the middle one of every N rows and columns: nearest-neighbour shrinking by whole numbers."""
    for axis, step in enumerate(steps, 2):
        if step > 1:
            shape = list(lowering.graph.shapes[name])
            start, shape[axis - 1] = step // 2, shape[axis - 1] - step // 2
            name = lowering.emit("Slice", [name], tuple(shape), axis=axis, start=start, end=start + shape[axis - 1])
    channels, *sides = lowering.graph.shapes[name]
    shape = [channels, *(math.ceil(side / step) for side, step in zip(sides, steps, strict=True))]
    return lowering.emit("MaxPool", [name], tuple(shape), kernel=[1, 1], strides=steps, pads=[0] * 4)
