"""Which place of the input a cell of a feature map looks at: convolutions without padding see less at the edges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from trainkit.backend import tf
from trainkit.explaining._geometry import interpolate

_FADING_CELLS = 2
_SMOOTHING = 1 / 32  # of the input's side, the deviation of a Gaussian


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Along a side: place `t` of a feature map, whose first cell goes from 0 to 1, is `scale * t + start` before."""

    scale: float = 1.0
    start: float = 0.0

    def behind(self, inner: Axis) -> Axis:
        """Return where `inner`'s places lie before this one: `inner` leads to where this one begins."""
        return Axis(scale=self.scale * inner.scale, start=self.scale * inner.start + self.start)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the cells of a feature map lie in the input, in pixels."""

    vertical: Axis
    horizontal: Axis

    def to_input(self, cells: np.ndarray, height: int, width: int) -> np.ndarray:
        """Bring a map `(h, w)` to the input's size; beyond the centres of the outermost cells it fades.

        Otherwise a cell at an edge would be as hot all the way to the border, where it looks least. The map is smoothed
        by less than a cell of most networks, because a gradient reaches one place of each window of max pooling.
        """
        u = (np.arange(width) + 0.5 - self.horizontal.start) / self.horizontal.scale
        v = (np.arange(height) + 0.5 - self.vertical.start) / self.vertical.scale
        laid = interpolate(cells, u, v) * _fading(v, cells.shape[0])[:, None] * _fading(u, cells.shape[1])
        return np.asarray(cv2.GaussianBlur(laid, (0, 0), max(height, width) * _SMOOTHING))


def _fading(places: np.ndarray, count: int) -> np.ndarray:
    beyond = np.abs(places - np.clip(places, 0.5, count - 0.5))
    return np.asarray(np.clip(1 - beyond / _FADING_CELLS, 0, 1), np.float32)


def find_places(image: Any, features: Any) -> Places:
    """Follow a feature map back to the image, and return where its cells lie in it: the centre of what each sees.

    A convolution or pooling of `k` places in steps of `s`, with `p` places of padding in front, looks with its place
    `t` at `s * t + (k - s) / 2 - p`. What changes the size otherwise spreads its cells evenly.

    Args:
        image: the tensor `(N, H, W, C)` that the model is fed with.
        features: a tensor `(N, h, w, K)` that is made of it.
    """
    leading = {op.name for op in operations_between(image, features)}
    places, value = Places(Axis(), Axis()), features
    while value.op is not image.op:
        sources = [one for one in value.op.inputs if one.op.name in leading]
        source = next((one for one in sources if size_of(one) is not None), image)
        down, across = _step(value, source)
        places, value = Places(down.behind(places.vertical), across.behind(places.horizontal)), source
    return places


def _step(value: Any, source: Any) -> tuple[Axis, Axis]:
    """Return where the places of an operation's result lie in what it is made of."""
    op, before, after = value.op, source.shape[1:3], value.shape[1:3]
    margins = tf.get_static_value(op.inputs[1]) if op.type in ("Pad", "PadV2", "MirrorPad") else None
    if margins is not None:
        return Axis(start=-float(margins[1][0])), Axis(start=-float(margins[2][0]))
    window = _window(op)
    if window is None:
        return Axis(scale=before[0] / after[0]), Axis(scale=before[1] / after[1])
    strides, same = op.get_attr("strides")[1:3], op.get_attr("padding") == b"SAME"
    return (
        _window_axis(before[0], after[0], window[0], strides[0], same),
        _window_axis(before[1], after[1], window[1], strides[1], same),
    )


def _window_axis(before: int, after: int, size: int, stride: int, same: bool) -> Axis:
    padding = max((after - 1) * stride + size - before, 0) // 2 if same else 0
    return Axis(scale=float(stride), start=(size - stride) / 2 - padding)


def _window(op: Any) -> tuple[int, int] | None:
    """Return how many places a convolution or pooling sees, down and across; `None` for any other operation."""
    if op.type in ("MaxPool", "AvgPool"):
        down, across = op.get_attr("ksize")[1:3]
        return down, across
    if op.type in ("Conv2D", "DepthwiseConv2dNative"):
        kernel, dilations = op.inputs[1].shape, op.get_attr("dilations")
        return (int(kernel[0]) - 1) * dilations[1] + 1, (int(kernel[1]) - 1) * dilations[2] + 1
    return None


def operations_between(image: Any, end: Any) -> list[Any]:
    """Return the operations that lead from the image to another tensor, in the order in which they are computed."""
    leading, left = set(), [end.op]
    while left:
        op = left.pop()
        if op not in leading:
            leading.add(op)
            left += [value.op for value in op.inputs]
    found: set[Any] = {image.op}
    for op in end.graph.get_operations():  # each behind those whose results it takes
        if op in leading and any(value.op in found for value in op.inputs):
            found.add(op)
    return [op for op in end.graph.get_operations() if op in found]


def size_of(value: Any) -> tuple[int, int] | None:
    """Return the height and width of a tensor, `None` where it is no map of several places."""
    shape = value.shape
    if shape.rank != 4 or None in shape[1:3] or shape[1] * shape[2] == 1:
        return None
    return int(shape[1]), int(shape[2])
