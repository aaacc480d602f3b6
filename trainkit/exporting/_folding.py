"""Folds constant arithmetic into the weights beside it, so that a graph is no larger and no slower than it must be."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from trainkit.exporting._graph import Graph, Node

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")


def fold(graph: Graph) -> None:
    """Fold until nothing changes."""
    passes: list[Callable[[Graph], bool]] = [
        _drop_nothing,
        _merge_equal,
        _merge_reshapes,
        _move_behind_flatten,
        _fold_forwards,
        _fold_through,
        _fold_backwards,
        _drop_around_softmax,
        _merge_dense,
        _find_hard_sigmoid,
        _merge_powers,
        _fold_padding,
        _leave_out_before_convolving,
    ]
    while any(one(graph) for one in passes):
        graph.remove_unused()


def _affine(graph: Graph, node: Node) -> tuple[np.ndarray, np.ndarray]:
    scale, shift = (graph.constants[name].astype(np.float64) for name in node.inputs[1:3])
    return scale, shift


def _only_reader(graph: Graph, name: str, readers_of: dict[str, list[Node]]) -> Node | None:
    readers = readers_of.get(name, [])
    return readers[0] if len(readers) == 1 and name != graph.output and readers[0].inputs.count(name) == 1 else None


def _drop_nothing(graph: Graph) -> bool:
    """1x + 0 = x."""
    for node in graph.nodes:
        if node.op == "Affine":
            scale, shift = _affine(graph, node)
            if (scale == 1).all() and not shift.any():
                graph.nodes.remove(node)
                graph.rename_reads(node.output, node.inputs[0])
                return True
    return False


def _merge_equal(graph: Graph) -> bool:
    """Compute once what is computed twice."""
    seen: dict[str, Node] = {}
    changed = False
    for node in list(graph.nodes):
        # A Reshape and a Resize say by nothing but their shape what they do.
        sides = graph.rows_of(node.output), graph.shapes[node.output]
        key = repr((node.op, node.inputs, sorted(node.attributes.items()), sides))
        if key in seen:
            graph.nodes.remove(node)
            graph.rename_reads(node.output, seen[key].output)
            changed = True
        else:
            seen[key] = node
    return changed


def _merge_reshapes(graph: Graph) -> bool:
    """Go from the first of several shapes to the last at once."""
    producers = graph.producers()
    for node in graph.nodes:
        if node.op not in ("Reshape", "Flatten"):
            continue
        before = producers.get(node.inputs[0])
        if before is not None and before.op in ("Reshape", "Flatten"):
            node.inputs = list(before.inputs)
            if graph.rows_of(node.inputs[0]) != graph.rows_of(node.output):
                node.op = "Reshape"  # a Flatten leaves the first side as it is
            return True
        if _sides(graph, node.inputs[0]) == _sides(graph, node.output):
            graph.nodes.remove(node)
            graph.rename_reads(node.output, node.inputs[0])
            return True
    return False


def _sides(graph: Graph, name: str) -> tuple[int, ...]:
    return graph.rows_of(name), *graph.shapes[name]


def _move_behind_flatten(graph: Graph) -> bool:
    """Let an affine map in front of a Flatten come behind it, where a dense layer can take it up."""
    readers_of = graph.readers()
    for node in graph.nodes:
        flatten = _only_reader(graph, node.output, readers_of) if node.op == "Affine" else None
        dense = _only_reader(graph, flatten.output, readers_of) if flatten and flatten.op == "Flatten" else None
        if flatten is None or dense is None or dense.op != "Gemm":
            continue
        shape = graph.shapes[node.output]
        values = [np.repeat(value, math.prod(shape[1:])) for value in _affine(graph, node)]
        _swap(graph, node, flatten)
        node.inputs[1:] = [graph.constant(value) for value in values]
        return True
    return False


def _swap(graph: Graph, first: Node, second: Node) -> None:
    """Let two operations, of which the second alone reads the first, change places."""
    source = first.inputs[0]
    place = graph.nodes.index(second)
    graph.nodes.remove(first)
    graph.nodes.insert(place, first)
    after = graph.shapes[second.output]
    for reader in graph.consumers(second.output):
        reader.inputs = [first.output if name == second.output else name for name in reader.inputs]
    second.inputs[0], first.inputs[0] = source, second.output
    graph.shapes[first.output] = after


def _fold_forwards(graph: Graph) -> bool:
    """Fold an affine map into the weights of what made its input: s(Wx + b) + t = (sW)x + (sb + t)."""
    producers, readers_of = graph.producers(), graph.readers()
    for node in graph.nodes:
        before = producers.get(node.inputs[0]) if node.op == "Affine" else None
        if before is None or before.op not in (*_WEIGHTED, "Affine") or len(readers_of[before.output]) != 1:
            continue
        _scale_weights(graph, before, *_affine(graph, node))
        graph.nodes.remove(node)
        graph.rename_reads(node.output, before.output)
        return True
    return False


def _scale_weights(graph: Graph, node: Node, scale: np.ndarray, shift: np.ndarray) -> None:
    """Let an operation with weights give what it gives times a scale, plus a shift; a value a channel."""
    weights, bias = (graph.constants[name].astype(np.float64) for name in node.inputs[1:3])
    if node.op == "ConvTranspose":
        group = node.attributes["group"]
        by_group = scale.reshape(group, 1, -1, 1, 1)
        weights = (weights.reshape(group, -1, *weights.shape[1:]) * by_group).reshape(weights.shape)
    else:
        weights = weights * scale.reshape(-1, *(1,) * (weights.ndim - 1))
    node.inputs[1:3] = [graph.constant(weights), graph.constant(bias * scale + shift)]


def _fold_through(graph: Graph) -> bool:
    """Fold an affine map into weights from which changes of shape part it; a mere scale through a product too.

    So the scale of an attention, and the biases of its heads, come into the dense layers before it.
    """
    producers, readers_of = graph.producers(), graph.readers()
    for node in graph.nodes:
        found = _carried_back(graph, node, producers, readers_of) if node.op == "Affine" else None
        if found is not None:
            _scale_weights(graph, *found)
            graph.nodes.remove(node)
            graph.rename_reads(node.output, node.inputs[0])
            return True
    return False


def _carried_back(
    graph: Graph, node: Node, producers: dict[str, Node], readers_of: dict[str, list[Node]]
) -> tuple[Node, np.ndarray, np.ndarray] | None:
    """Return the weights before an affine map, and its scale and shift a channel there; `None` where none fold."""
    scale, shift = _affine(graph, node)
    passed = node
    while (before := producers.get(passed.inputs[0])) is not None and len(readers_of[before.output]) == 1:
        channels = graph.shapes[before.output][0]
        if passed is not node:
            carried = _through(graph, passed, before, scale, shift)
            if carried is None:
                return None
            scale, shift = carried
        if before.op in _WEIGHTED:
            alike = not (np.ptp(scale) or np.ptp(shift))
            return before, *((np.full(channels, v[0]) for v in (scale, shift)) if alike else (scale, shift))
        if before.op not in ("Reshape", "Flatten", "Transpose", "MatMul"):
            return None
        passed = before
    return None


def _through(
    graph: Graph, passed: Node, before: Node, scale: np.ndarray, shift: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return what an affine map behind an operation is before it; `None` where it is none there."""
    if not (np.ptp(scale) or np.ptp(shift)):
        return None if passed.op == "MatMul" and shift.any() else (scale, shift)
    channels, rows = graph.shapes[before.output][0], graph.rows_of(before.output)
    if passed.op in ("MatMul", "Transpose") or rows != graph.rows_of(passed.output) or channels % len(scale):
        return None
    each = channels // len(scale)
    return np.repeat(scale, each), np.repeat(shift, each)


def _drop_around_softmax(graph: Graph) -> bool:
    """Leave out the changes of shape around a softmax over the last side that leave this side as it is."""
    producers, readers_of = graph.producers(), graph.readers()
    for node in graph.nodes:
        if node.op != "Softmax" or len(graph.shapes[node.output]) != 2:
            continue
        before, after = producers.get(node.inputs[0]), _only_reader(graph, node.output, readers_of)
        if before is None or after is None or before.op != "Reshape" or after.op != "Reshape":
            continue
        sides = _sides(graph, before.inputs[0])
        if sides == _sides(graph, after.output) and len(sides) == 3 and sides[-1] == graph.shapes[node.output][-1]:
            node.inputs = list(before.inputs)
            graph.shapes[node.output] = graph.shapes[after.output]
            graph.rows[node.output] = graph.rows_of(after.output)
            graph.nodes.remove(after)
            graph.rename_reads(after.output, node.output)
            return True
    return False


def _fold_backwards(graph: Graph) -> bool:
    """Fold an affine map into the weights of what reads it: W(sx + t) + b = (Ws)x + (Wt + b).

    A shift only where no zeros are padded beside it.
    """
    readers_of = graph.readers()
    for node in graph.nodes:
        readers = readers_of.get(node.output, []) if node.op == "Affine" and node.output != graph.output else []
        if not readers or any(after.op not in ("Conv", "Gemm") for after in readers):
            continue
        scale, shift = _affine(graph, node)
        if shift.any() and any(any(after.attributes.get("pads", ())) for after in readers):
            continue
        for after in readers:
            _take_up(graph, after, scale, shift)
            after.inputs[0] = node.inputs[0]
        graph.nodes.remove(node)
        return True
    return False


def _take_up(graph: Graph, after: Node, scale: np.ndarray, shift: np.ndarray) -> None:
    """Let an operation with weights take its input times a scale, plus a shift; a value a channel."""
    weights, bias = (graph.constants[name].astype(np.float64) for name in after.inputs[1:3])
    group = after.attributes.get("group", 1)
    outputs, inputs = weights.shape[:2]
    per_output = [np.repeat(value.reshape(group, 1, inputs), outputs // group, axis=1) for value in (scale, shift)]
    by_scale, by_shift = (v.reshape(outputs, inputs, *(1,) * (weights.ndim - 2)) for v in per_output)
    bias = bias + (weights * by_shift).reshape(outputs, -1).sum(axis=1)
    after.inputs[1:3] = [graph.constant(weights * by_scale), graph.constant(bias)]


def _merge_dense(graph: Graph) -> bool:
    """Turn two dense layers into one, where that is no larger: V(Wx + b) + c = (VW)x + (Vb + c)."""
    readers_of = graph.readers()
    for node in graph.nodes:
        after = _only_reader(graph, node.output, readers_of) if node.op == "Gemm" else None
        if after is None or after.op != "Gemm":
            continue
        (first, b), (second, c) = (
            [graph.constants[n].astype(np.float64) for n in one.inputs[1:]] for one in (node, after)
        )
        if len(second) * first.shape[1] > first.size + second.size:
            continue
        after.inputs = [node.inputs[0], graph.constant(second @ first), graph.constant(second @ b + c)]
        graph.nodes.remove(node)
        return True
    return False


def _find_hard_sigmoid(graph: Graph) -> bool:
    """clip(ax + b, 0, c) = c * hard_sigmoid(x) with the slope a / c and the offset b / c."""
    producers = graph.producers()
    for clip in graph.nodes:
        before = producers.get(clip.inputs[0]) if clip.op == "Clip" else None
        if before is None or before.op != "Affine" or clip.attributes["min"] != 0:
            continue
        scale, shift = _affine(graph, before)
        if np.ptp(scale) or np.ptp(shift):
            continue
        most = clip.attributes["max"]
        hard = Node(
            "HardSigmoid",
            [before.inputs[0]],
            f"{clip.output}_hard",
            {"alpha": float(scale[0] / most), "beta": float(shift[0] / most)},
            clip.origin,
        )
        shape = graph.shapes[clip.output]
        graph.shapes[hard.output] = shape
        constants = [graph.constant(np.full(shape[0], value)) for value in (most, 0.0)]
        clip.op, clip.inputs, clip.attributes = "Affine", [hard.output, *constants], {}
        graph.nodes.insert(graph.nodes.index(clip), hard)
        return True
    return False


def _is_positive(node: Node | None) -> bool:
    """Whether an operation makes no negative values."""
    if node is None:
        return False
    return node.op in ("Relu", "Sigmoid", "HardSigmoid") or (node.op == "Clip" and node.attributes["min"] >= 0)


def _merge_powers(graph: Graph) -> bool:
    """sqrt(x) ** p = x ** (p / 2)."""
    producers = graph.producers()
    for node in graph.nodes:
        before = producers.get(node.inputs[0]) if node.op == "Pow" else None
        if before is not None and before.op == "Sqrt" and len(graph.consumers(before.output)) == 1:
            node.attributes = {"exponent": node.attributes["exponent"] / 2}
            node.inputs = before.inputs
            graph.nodes.remove(before)
            return True
    return False


def _fold_padding(graph: Graph) -> bool:
    """Let a convolution do the zero padding in front of it; of values that are not negative, a maximum too."""
    producers, readers_of = graph.producers(), graph.readers()
    for node in graph.nodes:
        after = _only_reader(graph, node.output, readers_of) if node.op == "Pad" else None
        if after is None or after.op not in ("Conv", "MaxPool"):
            continue
        if after.op == "MaxPool" and not _is_positive(producers.get(node.inputs[0])):
            continue
        own = node.attributes["pads"]
        total = [one + other for one, other in zip(own, after.attributes["pads"], strict=True)]
        uneven = total[:2] != total[2:]
        if after.op == "MaxPool" and (uneven or max(total) >= min(after.attributes["kernel"])):
            continue  # readers disagree about an uneven one, and a maximum of nothing but padding is no zero
        if uneven and not _pads_as_same(graph, after, total):
            continue
        after.attributes["pads"] = total
        after.inputs[0] = node.inputs[0]
        graph.nodes.remove(node)
        return True
    return False


def _pads_as_same(graph: Graph, node: Node, pads: list[int]) -> bool:
    """Whether a convolution is padded by no more, and no less evenly, than TensorFlow's SAME does it.

    Every reader from 4.5.5 on is right about that; what lies beyond was not looked at.
    """
    kernel = graph.constants[node.inputs[1]].shape[2:]
    sides = zip(pads[:2], pads[2:], kernel, node.attributes["dilations"], strict=True)
    return all(
        abs(before - behind) <= 1 and before + behind <= (length - 1) * dilation
        for before, behind, length, dilation in sides
    )


def _leave_out_before_convolving(graph: Graph) -> bool:
    """Let a 1x1 convolution that steps over rows and columns read an image in which they are left out.

    The new engine of OpenCV 5.0.0 takes up to twice as long for one with a stride; the others do not care. The two
    convolutions at the head of a residual stage share the smaller image.
    """
    for node in graph.nodes:
        if node.op != "Conv" or graph.constants[node.inputs[1]].shape[2:] != (1, 1) or any(node.attributes["pads"]):
            continue
        strides = node.attributes["strides"]
        if max(strides) == 1 or node.attributes["group"] != 1:
            continue
        shape = (graph.shapes[node.inputs[0]][0], *graph.shapes[node.output][1:])
        smaller = graph.emit(
            "MaxPool", node.inputs[:1], shape, origin=node.origin, kernel=[1, 1], strides=strides, pads=[0] * 4
        )
        graph.nodes.insert(graph.nodes.index(node), graph.nodes.pop())
        node.inputs[0], node.attributes = smaller, {**node.attributes, "strides": [1, 1]}
        return True
    return False


_NUMBER_BY_NUMBER = {
    *("Affine", "Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "Softplus", "Exp", "Log", "Erf"),
    *("Sqrt", "Abs", "Clip", "Pow", "Add", "Sub", "Mul", "Max"),
}


def take_pixels_for_rows(graph: Graph) -> None:
    """Let a dense layer do what a 1x1 convolution does to an image of one pixel, as squeeze-and-excite has them.

    The new engine of OpenCV 5.0.0 is slow at such convolutions: EfficientNetB0 takes a ninth less time without them.
    """
    rows: dict[str, str] = {}  # image of one pixel: the row that stands for it
    images: dict[str, str] = {}  # the same, back again
    nodes, graph.nodes = graph.nodes, []
    for node in nodes:
        if _convolves_a_pixel(graph, node):
            weights = graph.constants[node.inputs[1]]
            constants = [graph.constant(weights.reshape(weights.shape[:2])), node.inputs[2]]
            row = _row(graph, node.inputs[0], rows)
            rows[node.output] = graph.emit("Gemm", [row, *constants], (len(weights),), origin=node.origin)
        elif node.op == "Flatten" and node.inputs[0] in rows:
            rows[node.output] = rows[node.inputs[0]]
        elif node.op in _NUMBER_BY_NUMBER and _all_rows(graph, node, rows):
            inputs = [rows.get(name, name) for name in node.inputs]
            shape = graph.shapes[node.output][:1]
            rows[node.output] = graph.emit(node.op, inputs, shape, origin=node.origin, **node.attributes)
        else:
            node.inputs = [_image(graph, name, rows, images) for name in node.inputs]
            graph.nodes.append(node)
    graph.output = rows.get(graph.output, graph.output)
    graph.remove_unused()


def _convolves_a_pixel(graph: Graph, node: Node) -> bool:
    """Whether an operation is a 1x1 convolution of one pixel: without padding, no other kernel fits on it."""
    if node.op != "Conv" or graph.shapes[node.inputs[0]][1:] != (1, 1):
        return False
    return node.attributes["group"] == 1 and not any(node.attributes["pads"])


def _all_rows(graph: Graph, node: Node, rows: dict[str, str]) -> bool:
    return all(name in rows for name in node.inputs if name not in graph.constants)


def _row(graph: Graph, name: str, rows: dict[str, str]) -> str:
    if name not in rows:
        rows[name] = graph.emit("Flatten", [name], graph.shapes[name][:1])
    return rows[name]


def _image(graph: Graph, name: str, rows: dict[str, str], images: dict[str, str]) -> str:
    """Return an image of one pixel as one again, where it has become a row; a row stays what it is."""
    if name not in rows:
        return name
    if len(graph.shapes[name]) == 1:
        return rows[name]
    made_here = all(node.output != name for node in graph.nodes)
    if made_here and name not in images:
        images[name] = graph.emit("Reshape", [rows[name]], graph.shapes[name])
    return images.get(name, name)
