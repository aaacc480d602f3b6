"""How a value is looked at, cut, joined, padded and resized."""

from __future__ import annotations

import math
import operator

import numpy as np
import onnx
from onnx import helper

from trainkit.exporting._graph import Shape
from trainkit.exporting._lowering import Lowering
from trainkit.exporting._observation import attribute_of
from trainkit.exporting._operations._arithmetic import broadcast, whole
from trainkit.exporting._operations._products import multiply_side
from trainkit.exporting._views import Side, Value, View, plan_cuts


def lower_same(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Pass a value on: the operation changes nothing at rest."""
    return lowering.view(node)


def lower_cast(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Pass a value on: whole numbers are floats here, true and false 1 and 0. What becomes whole loses its fraction."""
    view, before = lowering.view(node), lowering.kinds[node.input[0]]
    after = helper.tensor_dtype_to_np_dtype(attribute_of(node, "to")).kind
    if after == "b" != before:
        raise lowering.cannot(node, "true and false made of numbers")
    return whole(lowering, view) if (before, after) in (("f", "i"), ("f", "u")) else view


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
    """Look at a value with other sides; where one of its stored sides is cut, it is cut where it stands."""
    view, sides = lowering.view(node), lowering.shape(node.output[0])
    regrouped = _regroup(lowering.stored_sides(view), view.groups, sides)
    if regrouped is not None:
        return View(view.name, regrouped)
    cuts = None if lowering.channels_last else plan_cuts(lowering.stored_sides(view), view.groups, sides)
    if cuts is not None:
        name = lowering.reshape(view.name, tuple(length for side in cuts.lengths[1:] for length in side))
        return View(name, cuts.groups)
    if not sides[0][1] or any(follows for _, follows in sides[1:]):
        raise lowering.moves_the_batch()
    name = lowering.reshape(lowering.materialize(view), tuple(length for length, _ in sides[1:]), sides[0][0])
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
    shape = list(lowering.graph.shapes[view.name])
    if step < 1 or (step > 1 and (axis == 1 or len(shape) != 3)):
        return pick(lowering, node, view, view.groups.index((axis,)), list(range(start, end, step)))
    shape[axis - 1] = end - start
    name = lowering.emit("Slice", [view.name], tuple(shape), axis=axis, start=start, end=end)
    if step > 1:
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


def pick(lowering: Lowering, node: onnx.NodeProto, view: View, side: int, places: list[int]) -> View:
    """Return what stands at some places of a side, in their order: a slice, or a product with zeros and ones."""
    group = view.groups[side]
    length = lowering.length(view, group)
    if len(group) == 1 and 0 not in group and places == list(range(places[0], places[0] + len(places))):
        return _cut(lowering, node, view, group[0], (places[0], places[0] + len(places), 1))
    return multiply_side(lowering, node, view, side, np.eye(length)[places])


def lower_gather(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Return what stands at constant places of a side."""
    view, indices = lowering.view(node), lowering.constant(node, 1)
    assert indices is not None
    side = int(attribute_of(node, "axis", 0)) % len(view.groups)
    length = lowering.length(view, view.groups[side])
    if 0 in view.groups[side]:
        raise lowering.moves_the_batch()
    picked = pick(lowering, node, view, side, [int(place) % length for place in indices.reshape(-1)])
    if indices.ndim == 1:
        return picked
    if indices.ndim == 0:
        return View(picked.name, tuple(group for place, group in enumerate(picked.groups) if place != side))
    shape = lowering.shape(node.output[0])
    name = lowering.reshape(lowering.materialize(picked), tuple(length for length, _ in shape[1:]))
    return View(name, tuple((axis,) for axis in range(len(shape))))


def lower_compress(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Return what stands at those places of a side where a constant is true."""
    view, condition = lowering.view(node), lowering.constant(node, 1)
    axis = attribute_of(node, "axis")
    if axis is None or condition is None:
        raise lowering.cannot(node, "a choice from all the numbers of an image")
    return pick(lowering, node, view, int(axis) % len(view.groups), np.flatnonzero(condition).tolist())


def lower_cumsum(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Add up along a side, each number with those before it: a product with a triangle of ones."""
    view, axis = lowering.view(node), lowering.constant(node, 1)
    assert axis is not None
    side = int(axis.reshape(-1)[0]) % len(view.groups)
    length = lowering.length(view, view.groups[side])
    below = -1 if attribute_of(node, "exclusive", 0) else 0
    triangle = np.tril(np.ones((length, length)), below)
    return multiply_side(lowering, node, view, side, triangle.T if attribute_of(node, "reverse", 0) else triangle)


def lower_depth_to_space(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Let blocks of channels become squares of pixels."""
    name, block = lowering.materialize(lowering.view(node)), int(attribute_of(node, "blocksize"))
    channels, height, width = lowering.graph.shapes[name]
    count = channels // block**2
    if attribute_of(node, "mode", b"DCR") == b"DCR":
        name = lowering.reshape(name, (block, block, count, height, width))
        return View(name, ((0,), (3,), (4, 1), (5, 2)))
    name = lowering.reshape(name, (count, block, block, height, width))
    return View(name, ((0,), (1,), (4, 2), (5, 3)))


def lower_space_to_depth(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Let squares of pixels become blocks of channels."""
    name, block = lowering.materialize(lowering.view(node)), int(attribute_of(node, "blocksize"))
    channels, height, width = lowering.graph.shapes[name]
    name = lowering.reshape(name, (channels, height // block, block, width // block, block))
    return View(name, ((0,), (3, 5, 1), (2,), (4,)))


def lower_pad(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Put a constant around a value: around channels by a product, around rows and columns by a Pad of zeros.

    pad(x, c) = pad(x - c, 0) + c.
    """
    view = lowering.view(node)
    pads, filling = lowering.constant(node, 1, "pads"), lowering.constant(node, 2, "value")
    assert pads is not None
    rank, mode = len(view.groups), attribute_of(node, "mode", b"constant")
    if mode != b"constant":
        return _mirrored(lowering, node, view, pads)
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


def _mirrored(lowering: Lowering, node: onnx.NodeProto, view: View, pads: np.ndarray) -> View:
    """Put around a value what stands in it: its own border, or what is behind that, turned round."""
    mode = attribute_of(node, "mode").decode()
    rank = len(view.groups)
    for side in range(rank):
        around = int(pads[side]), int(pads[side + rank])
        if any(around):
            length = lowering.length(view, view.groups[side])
            view = pick(lowering, node, view, side, np.pad(np.arange(length), around, mode=mode).tolist())
    return view


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
