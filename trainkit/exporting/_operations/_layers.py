"""Convolutions, pooling, averages, softmax and normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from trainkit.exporting._graph import Shape
from trainkit.exporting._lowering import Lower, Lowering
from trainkit.exporting._observation import attribute_of
from trainkit.exporting._operations._arithmetic import combine_views
from trainkit.exporting._operations._shapes import pick, spatial
from trainkit.exporting._views import Value, View


def _window(lowering: Lowering, node: onnx.NodeProto, name: str, kernel: list[int]) -> dict[str, Any]:
    """Return strides, pads and dilations of a convolution or pooling, the pads as numbers."""
    strides = list(attribute_of(node, "strides", [1, 1]))
    dilations = list(attribute_of(node, "dilations", [1, 1]))
    pads = list(attribute_of(node, "pads", [0] * 4))
    if attribute_of(node, "auto_pad", b"NOTSET") == b"SAME_UPPER":  # TensorFlow did not know the size
        for axis, length in enumerate(lowering.graph.shapes[name][1:]):
            reach = (kernel[axis] - 1) * dilations[axis] + 1
            total = max((math.ceil(length / strides[axis]) - 1) * strides[axis] + reach - length, 0)
            pads[axis], pads[axis + 2] = total // 2, total - total // 2
    return {"strides": strides, "pads": pads, "dilations": dilations}


def lower_conv(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Convolve, with the padding as numbers and always a bias."""
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    if weights is None or weights.ndim != 4:
        raise lowering.cannot(node, "a convolution in other than two dimensions")
    name = lowering.materialize(lowering.view(node))
    window = _window(lowering, node, name, list(weights.shape[2:]))
    constants = [
        lowering.graph.constant(weights),
        lowering.graph.constant(np.zeros(len(weights)) if bias is None else bias),
    ]
    result = lowering.emit(
        "Conv", [name, *constants], spatial(lowering, node), **window, group=int(attribute_of(node, "group", 1))
    )
    return View(result, ((0,), (1,), (2,), (3,)))


def lower_conv_transpose(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Convolve backwards; holes and uneven padding are spelled out, because OpenCV refuses or forgets them."""
    weights, bias = lowering.constant(node, 1), lowering.constant(node, 2)
    if weights is None or weights.ndim != 4 or attribute_of(node, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise lowering.cannot(node, "a transposed convolution of this padding")
    weights = _dilated(weights, attribute_of(node, "dilations", [1, 1]))
    name = lowering.materialize(lowering.view(node))
    window = {**_window(lowering, node, name, list(weights.shape[2:])), "dilations": [1, 1]}
    shape, group = spatial(lowering, node), int(attribute_of(node, "group", 1))
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


def lower_pool(op: str) -> Lower:
    """Return what lowers a pooling, with the padding as numbers."""

    def lower_pool(lowering: Lowering, node: onnx.NodeProto) -> Value:
        kernel = list(attribute_of(node, "kernel_shape"))
        if len(kernel) != 2:
            raise lowering.cannot(node, "a pooling in other than two dimensions")
        name = lowering.materialize(lowering.view(node))
        window = _window(lowering, node, name, kernel)
        if op == "AveragePool" and attribute_of(node, "count_include_pad", 0) and any(window["pads"]):
            raise lowering.cannot(node, "an average that counts its padding")
        result = lowering.emit(
            op, [name], spatial(lowering, node), kernel=kernel, strides=window["strides"], pads=window["pads"]
        )
        return View(result, ((0,), (1,), (2,), (3,)))

    return lower_pool


def lower_global_pool(op: str) -> Lower:
    """Return what lowers a pooling over all rows and columns."""

    def lower_global_pool(lowering: Lowering, node: onnx.NodeProto) -> Value:
        view = lowering.view(node)
        name = lowering.materialize(view)
        name = lowering.reshape(name, (*lowering.graph.shapes[name], 1)[:3])
        result = lowering.emit(op, [name], (lowering.graph.shapes[name][0], 1, 1))
        return View(result, ((0,), (1,), *((),) * (len(view.groups) - 2)))

    return lower_global_pool


def lower_reduce(kind: str) -> Lower:
    """Return what lowers an average, sum, maximum or minimum: pooling over rows and columns, products over channels.

    sum(x) = count * mean(x), min(x) = -max(-x).
    """

    def lower_reduce(lowering: Lowering, node: onnx.NodeProto) -> Value:
        view = lowering.view(node)
        listed = lowering.constant(node, 1, "axes")
        axes = range(1, len(view.groups)) if listed is None else [int(axis) % len(view.groups) for axis in listed]
        over = {axis for side in axes for axis in view.groups[side]}
        if 0 in over:
            raise lowering.cannot(node, "an average over the batch")
        anew = len(over) < 3 and len(lowering.graph.shapes[view.name]) < 4
        reduced = _reduced(lowering, node, kind, lowering.image(view) if anew else view, over, view)
        if attribute_of(node, "keepdims", 1):
            return reduced
        return View(reduced.name, tuple(group for side, group in enumerate(reduced.groups) if side not in axes))

    return lower_reduce


def lower_reduce_product(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Multiply all numbers along sides: one half of them with the other, until one is left."""
    view = lowering.view(node)
    listed = lowering.constant(node, 1, "axes")
    axes = range(1, len(view.groups)) if listed is None else [int(axis) % len(view.groups) for axis in listed]
    for side in axes:
        if 0 in view.groups[side]:
            raise lowering.moves_the_batch()
        view = _multiplied(lowering, node, view, side)
    if attribute_of(node, "keepdims", 1):
        return view
    return View(view.name, tuple(group for side, group in enumerate(view.groups) if side not in axes))


def _multiplied(lowering: Lowering, node: onnx.NodeProto, view: View, side: int) -> View:
    rest = []
    while (length := lowering.length(view, view.groups[side])) > 1:
        half = length // 2
        if length % 2:
            rest.append(pick(lowering, node, view, side, [length - 1]))
        halves = (pick(lowering, node, view, side, list(range(start, start + half))) for start in (0, half))
        view = combine_views(lowering, "Mul", *halves)
    for one in rest:
        view = combine_views(lowering, "Mul", view, one)
    return view


def _reduced(lowering: Lowering, node: onnx.NodeProto, kind: str, image: View, over: set[int], view: View) -> View:
    if image.groups != view.groups:  # it had to be stored anew, in the model's order
        sides = [side for side, group in enumerate(view.groups) if over.intersection(group)]
        over = {axis for side in sides for axis in image.groups[side]}
    if kind == "Min":
        most = _reduced(lowering, node, "Max", lowering.affine(image, -1, 0), over, image)
        return lowering.affine(most, -1, 0)
    name = image.name
    if len(lowering.graph.shapes[name]) > 3:
        return _reduced_in_rows(lowering, kind, image, over)
    if len(lowering.graph.shapes[name]) == 2 and over == {2} and kind != "Max" and not lowering.channels_last:
        rows, (height, count) = lowering.graph.rows_of(name), lowering.graph.shapes[name]
        mean = lowering.dense(lowering.as_rows(name), np.full((1, count), 1 if kind == "Sum" else 1 / count))
        return View(lowering.reshape(mean, (height, 1), rows), image.groups)
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
        if over == {1, 2, 3} and kind != "Max":
            # A mean of a whole image is subtracted from it. OpenCV adds its numbers one after the other in float32,
            # so rows come first: the error of a sum grows with how many numbers it has.
            name = _pooled(lowering, kind, name, [1, kernel[1]])
            kernel = [kernel[0], 1]
        name = _pooled(lowering, kind, name, kernel)
    if 1 in over:
        name = _over_channels(lowering, kind, name)
    result = View(name, image.groups)
    return lowering.affine(result, count, 0) if kind == "Sum" else result


def _reduced_in_rows(lowering: Lowering, kind: str, view: View, over: set[int]) -> View:
    """Reduce a value of many sides: those to be reduced become one, stored last, and the others the channels."""
    shape = lowering.graph.shapes[view.name]
    kept = [axis for axis in range(1, len(shape) + 1) if axis not in over]
    count = lowering.length(view, tuple(over))
    sides = tuple(shape[axis - 1] for axis in kept)
    name = lowering.reorder(view.name, [0, *kept, *sorted(over)], (math.prod(sides), count, 1))
    name = lowering.reshape(_pooled(lowering, kind, name, [count, 1]), sides or (1,))
    places = {axis: (place,) for place, axis in enumerate((0, *kept))}
    result = View(name, tuple(sum((places.get(axis, ()) for axis in group), ()) for group in view.groups))
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


def lower_softmax(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write a softmax over the channels as they are stored, or over one side that is stored last."""
    view = lowering.view(node)
    axis = int(attribute_of(node, "axis", -1)) % len(view.groups)
    over = view.groups[axis]
    if 0 in over:
        raise lowering.cannot(node, "a softmax over the batch")
    shape = lowering.graph.shapes[view.name]
    if len(shape) in (1, 3) and over == (1,):
        return View(lowering.emit("Softmax", [view.name], shape), view.groups)
    if not over or over != tuple(range(len(shape) + 1 - len(over), len(shape) + 1)):
        sides = sorted(
            (side for side in range(len(view.groups)) if side != axis), key=lambda x: 0 not in view.groups[x]
        )
        name = lowering.materialize(View(view.name, (*(view.groups[side] for side in sides), over)))
        places = {side: (place,) for place, side in enumerate((*sides, axis))}
        view = View(name, tuple(places[side] for side in range(len(view.groups))))
    return View(_softmax_over_rows(lowering, view.name, lowering.length(view, view.groups[axis])), view.groups)


def _softmax_over_rows(lowering: Lowering, name: str, count: int) -> str:
    """Return the softmax over the last `count` numbers of a stored value, of the first and the next, and so on."""
    shape = lowering.graph.shapes[name]
    rows = lowering.reshape(name, (math.prod(shape) // count, count))
    return lowering.reshape(lowering.emit("Softmax", [rows], lowering.graph.shapes[rows]), shape)


def lower_log_softmax(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write the logarithm of a softmax, of which the least that it takes is 1e-37."""
    soft = lower_softmax(lowering, node)
    assert isinstance(soft, View)
    shape = lowering.graph.shapes[soft.name]
    bounded = lowering.emit("Clip", [soft.name], shape, min=1e-37, max=1.0)
    return View(lowering.emit("Log", [bounded], shape), soft.groups)


def lower_lrn(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write x * (bias + alpha / size * sum of the squares of the channels around it) ** -beta."""
    name = lowering.materialize(lowering.view(node))
    shape, size = lowering.graph.shapes[name], int(attribute_of(node, "size"))
    distance = np.subtract.outer(np.arange(shape[0]), np.arange(shape[0]))
    around = (distance <= (size - 1) // 2) & (-distance <= size // 2)
    squares = lowering.emit("Mul", [name, name], shape)
    weights = around * float(attribute_of(node, "alpha", 1e-4)) / size
    norm = lowering.convolve(squares, weights, np.full(shape[0], float(attribute_of(node, "bias", 1.0))))
    power = lowering.emit("Pow", [norm], shape, exponent=-float(attribute_of(node, "beta", 0.75)))
    return View(lowering.emit("Mul", [name, power], shape), tuple((axis,) for axis in range(len(shape) + 1)))


def lower_batch_normalization(lowering: Lowering, node: onnx.NodeProto) -> Value:
    """Write gamma * (x - mean) / sqrt(variance + epsilon) + beta as the affine map that it is at rest."""
    gamma, beta, mean, variance = (lowering.constant(node, position) for position in range(1, 5))
    assert gamma is not None and beta is not None and mean is not None and variance is not None
    scale = gamma / np.sqrt(variance.astype(np.float64) + attribute_of(node, "epsilon", 1e-5))
    name = lowering.materialize(lowering.view(node))
    result = lowering.channel_affine(name, scale, beta - mean * scale)
    return View(result, tuple((axis,) for axis in range(len(lowering.graph.shapes[name]) + 1)))
