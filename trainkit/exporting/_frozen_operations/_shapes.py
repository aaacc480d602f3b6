"""How a value is cut, joined, padded, resized and looked at."""

from __future__ import annotations

import math
from typing import Any

from trainkit.backend import tf
from trainkit.exporting._frozen_operations._layout import USUAL, Layout, Stored, Writer, cannot
from trainkit.exporting._graph import Node, Shape


def write_concat(writer: Writer, node: Node) -> Stored:
    """Write Concat(x, y, ..., axis)."""
    for position in range(len(node.inputs)):
        writer.check_ordered(node, position)
    values = [writer.row(name) for name in node.inputs]
    axis = _nhwc_axis(node.attributes["axis"], len(values[0].shape))
    return Stored(tf.raw_ops.ConcatV2(values=values, axis=axis))


def _nhwc_axis(axis: int, rank: int) -> int:
    return {1: rank - 1}.get(axis, axis - 1) if axis else 0


def write_slice(writer: Writer, node: Node) -> Stored:
    """Write x[start:end] along an axis."""
    writer.check_ordered(node)
    source = writer.row(node.inputs[0])
    axis = _nhwc_axis(node.attributes["axis"], len(source.shape))
    begin, size = [0] * len(source.shape), [-1, *source.shape[1:]]
    begin[axis], size[axis] = node.attributes["start"], node.attributes["end"] - node.attributes["start"]
    return Stored(tf.raw_ops.Slice(input=source, begin=begin, size=size))


def write_pad(writer: Writer, node: Node) -> Stored:
    """Write zeros around an image: left to its readers."""
    return Stored(writer.read(node), Layout(pads=tuple(node.attributes["pads"])))


def write_reshape(writer: Writer, node: Node) -> Stored:
    """Write a Flatten or a Reshape, or change only the layout of the value."""
    name, before, after = node.inputs[0], writer.shape(node, 0), writer.shape(node)
    source, layout = writer.tensor(name), writer.layout(name)
    if layout.sides == "unrolled":
        if after != layout.image:
            raise cannot(node)
        return Stored(source)
    if layout.sides == "graph" or _is_row(before):
        return _reshape_in_order(node, Stored(source, layout), before, after)
    if len(before) == len(after) == 3 and after[0] == math.prod(before):
        return Stored(source, Layout("unrolled", before))
    if not _is_row(after):
        raise cannot(node)
    return _as_row(node, Stored(source, Layout(image=before)), after)


def _reshape_in_order(node: Node, stored: Stored, before: Shape, after: Shape) -> Stored:
    """Reshape what stands in the graph's own order: a row, or what came from one."""
    layout = stored.layout
    if _is_row(after):
        return _as_row(node, Stored(stored.tensor, Layout(image=layout.image)), after)
    if layout.image or (layout == USUAL and len(before) == 1):
        raise cannot(node)  # OpenCV takes what a MatMul made for an image
    return Stored(tf.raw_ops.Reshape(tensor=stored.tensor, shape=[-1, *after]), Layout("graph"))


def _is_row(shape: Shape) -> bool:
    """Whether the numbers of a value stand in one line: (K,), or an image of one pixel."""
    return max(shape[1:], default=1) == 1


def _as_row(node: Node, stored: Stored, after: Shape) -> Stored:
    """Let a tensor stand as a row (K,), or as an image of one pixel (K, 1, 1); the order of its numbers stays."""
    source, image = stored.tensor, stored.layout.image
    if len(source.shape) == 4 and source.shape[1:-1] == [1, 1]:
        return Stored(source, Layout("pixel" if len(after) == 1 else "usual", image))
    if len(after) == 1:
        return Stored(tf.raw_ops.Reshape(tensor=source, shape=[-1, after[0]]), Layout(image=image))
    if len(source.shape) == 2:
        raise cannot(node)
    return Stored(tf.raw_ops.Reshape(tensor=source, shape=[-1, 1, 1, after[0]]), Layout(image=image))


def write_transpose(writer: Writer, node: Node) -> Stored:
    """Change the layout of a value to the graph's order, or to the usual one again: no tensor is turned."""
    name, order = node.inputs[0], node.attributes["perm"]
    layout = writer.layout(name)
    if layout.sides == "graph" and order == [0, 3, 1, 2]:
        return Stored(writer.tensor(name))
    if layout == USUAL and order == [0, 2, 3, 1]:
        return Stored(writer.tensor(name), Layout("graph"))
    raise cannot(node)


def write_upsample(writer: Writer, node: Node) -> Stored:
    """Write each pixel repeated by whole factors."""
    return Stored(tf.raw_ops.ResizeNearestNeighbor(images=writer.read(node), size=_size(writer, node)))


def write_resize(writer: Writer, node: Node) -> Stored:
    """Write linear interpolation between the centers of pixels."""
    images, size = writer.read(node), _size(writer, node)
    return Stored(tf.raw_ops.ResizeBilinear(images=images, size=size, half_pixel_centers=True))


def _size(writer: Writer, node: Node) -> Any:
    return list(writer.shape(node)[1:])
