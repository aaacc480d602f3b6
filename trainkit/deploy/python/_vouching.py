"""Whether a network is one that trainkit writes: then its shapes are followed through, and nothing is left to be tried.

What trainkit writes was run in each OpenCV from 4.5.5 on. So a graph of these operators in these forms, in which every
array has the sides that the next node needs, is handed to OpenCV as it is; any other is first tried elsewhere.
"""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from trainkit.deploy.python._folded import fold_constants
from trainkit.deploy.python._graph import MAX_NUMBERS
from trainkit.deploy.python._onnx import OnnxModel, OnnxNode, OnnxTensor
from trainkit.deploy.python._showing import harmless
from trainkit.deploy.python._values import BundleError

_Shape = Tuple[int, ...]
_MAX_OUTPUT = 2**27  # numbers, of one image: half a gibibyte of float32
_BATCHES = (1, 3)
_TEXTS = ("", "constant", "nearest", "linear", "half_pixel", "asymmetric", "floor")  # of attributes


class _UnknownFormError(Exception):
    """A node is of no form that trainkit writes, or its input has not the sides that it needs."""


class _Step(NamedTuple):
    """A node with the shapes of what it reads, and the constants of the graph."""

    node: OnnxNode
    shapes: List[_Shape]
    constants: Dict[str, OnnxTensor]

    def constant(self, place: int) -> OnnxTensor:
        name = self.node.inputs[place] if place < len(self.node.inputs) else ""
        _expect(name in self.constants)
        return self.constants[name]

    def whole_numbers(self, attribute: str, place: int | None = None) -> List[int]:
        """Return the whole numbers of an attribute or, where there is none, those of an input."""
        if attribute in self.node.attributes or place is None:
            return list(self.node.wholes(attribute) or [])
        values = self.constant(place).values()
        _expect(values is not None and values.dtype.kind == "i")
        return [int(value) for value in values] if values is not None else []


def vouches_for(model: OnnxModel, image_chw: Sequence[int], model_name: str) -> bool:
    """Say whether a network can be run on images of these sides without having been tried.

    Raises:
        BundleError: a window is larger than what it moves over, or a place is read that is not there, which ends the
            process in OpenCV 5.0.
    """
    return all(_follow(model, (batch, *image_chw), model_name) for batch in _BATCHES)


def _follow(model: OnnxModel, blob: _Shape, model_name: str) -> bool:
    """Follow the shapes from node to node as far as they are known; say whether all are."""
    constants = {tensor.name: tensor for tensor in model.graph.constants}
    inputs = [one for one in model.graph.inputs if one.name not in constants]
    if len(inputs) != 1 or len(constants) != len(model.graph.constants):
        return False
    made = fold_constants(model.graph.nodes, constants)
    constants.update({name: tensor for name, tensor in made.items() if name != inputs[0].name})
    shapes = {inputs[0].name: blob, **{name: tuple(tensor.sides) for name, tensor in constants.items()}}
    sides, known = inputs[0].sides, model.producer == "trainkit" and not model.others
    known &= sides is not None and len(sides) == 4 and tuple(sides[1:]) == blob[1:] and sides[0] == -1
    for node in model.graph.nodes:
        if node.outputs[:1] and node.outputs[0] in made:
            continue
        try:
            found = _output_of(node, shapes, constants, model_name)
        except _UnknownFormError:
            known = False
            continue
        shapes[node.outputs[0]] = found
    answer = shapes.get(model.graph.outputs[0], ()) if len(model.graph.outputs) == 1 else ()
    return known and answer[:1] == blob[:1]


def _output_of(node: OnnxNode, shapes: Dict[str, _Shape], constants: Dict[str, OnnxTensor], model_name: str) -> _Shape:
    if node.op == "GatherND":
        _check_places(node, shapes, constants, model_name)
    _expect(node.op in _FORMS)
    follow, attributes = _FORMS[node.op]
    _expect(not node.domain and len(node.outputs) == 1 and node.outputs[0] not in shapes)
    _expect(set(node.attributes) <= set(attributes) and not any(one.twice for one in node.attributes.values()))
    _expect(all(name in shapes or (not name and node.op == "Resize") for name in node.inputs) and bool(node.inputs))
    _expect(all(name.isprintable() and "\\" not in name for name in (*node.inputs, *node.outputs, node.name)))
    _expect(node.inputs[0] not in constants)
    _expect(all(one.text in _TEXTS for one in node.attributes.values()))
    step = _Step(node, [shapes.get(name, ()) for name in node.inputs], constants)
    if node.op in _WINDOWED:
        _check_window(step, model_name)
    shape = follow(step)
    count = 1
    for side in shape:
        _expect(side > 0)
        count *= side
    _expect(count <= _MAX_OUTPUT * shape[0] and count <= MAX_NUMBERS * 3)
    return shape


def _expect(condition: bool) -> None:
    if not condition:
        raise _UnknownFormError


def _check_window(step: _Step, model_name: str) -> None:
    """Raise where a window is larger than the image below it with its margins."""
    kernel, shape = _kernel_of(step), step.shapes[0]
    if len(shape) != 4 or len(kernel) != 2:
        return
    pads = step.node.wholes("pads") or [0] * 4
    dilations = step.node.wholes("dilations") or [1] * 2
    if len(pads) != 4 or len(dilations) != 2 or "auto_pad" in step.node.attributes:
        return
    for i in range(2):
        window, below = (kernel[i] - 1) * dilations[i] + 1, shape[2 + i] + pads[i] + pads[2 + i]
        if window > below:
            title = harmless(f"`{(step.node.name or step.node.outputs[0])[:80]}` ({step.node.op})")
            raise BundleError(
                f"{model_name} is not safe to load: the node {title} looks at windows of {window} numbers, and its "
                f"input has {below}. Check `blob.size` in the manifest, or export the network again."
            )


def _check_places(node: OnnxNode, shapes: Dict[str, _Shape], constants: Dict[str, OnnxTensor], model_name: str) -> None:
    """Raise where places are read that an array has not, which OpenCV 5.0 does without a question."""
    _expect(len(node.inputs) >= 2 and bool(node.outputs))
    data, indices = node.inputs[0], constants.get(node.inputs[1])
    values = indices.values(MAX_NUMBERS) if indices is not None else None
    _expect(data in shapes and indices is not None and values is not None and values.dtype.kind == "i")
    if indices is None or values is None or not values.size:
        return
    batch, depth = (node.wholes("batch_dims") or [0])[0], (indices.sides or [1])[-1]
    sides = shapes[data][max(0, batch) :][:depth]
    places = values.reshape(-1, depth)
    if batch < 0 or len(sides) < depth or (places < -np.array(sides)).any() or (places >= sides).any():
        title = harmless(f"`{(node.name or node.outputs[0])[:80]}` (GatherND)")
        raise BundleError(
            f"{model_name} is not safe to load: the node {title} reads places that its input does not have. "
            "Export the network again."
        )


def _kernel_of(step: _Step) -> List[int]:
    if "kernel_shape" in step.node.attributes or len(step.shapes) < 2:
        return list(step.node.wholes("kernel_shape") or [])
    return list(step.shapes[1][2:])


def _same(step: _Step) -> _Shape:
    _expect(len(step.shapes) == 1)
    return step.shapes[0]


def _along_channels(step: _Step) -> _Shape:
    _expect(len(step.shapes) == 1 and step.node.wholes("axis") == [1] and len(step.shapes[0]) >= 2)
    return step.shapes[0]


def _window_sides(step: _Step) -> List[int]:
    """Return height and width of what a convolution or pool makes."""
    kernel, shape = _kernel_of(step), step.shapes[0]
    pads = step.node.wholes("pads") or [0] * 4
    strides, dilations = step.node.wholes("strides") or [1] * 2, step.node.wholes("dilations") or [1] * 2
    _expect((len(shape), len(kernel), len(pads), len(strides), len(dilations)) == (4, 2, 4, 2, 2))
    sides = [shape[2 + i] + pads[i] + pads[2 + i] - (kernel[i] - 1) * dilations[i] - 1 for i in range(2)]
    return [side // stride + 1 for side, stride in zip(sides, strides)]


def _weights_of(step: _Step, rank: int) -> Tuple[_Shape, int]:
    """Return the shape of a node's weights and its group, the bias being of one kind with them."""
    weights, groups = step.constant(1), step.node.wholes("group") or [1]
    _expect(weights.kind == 1 and len(weights.sides) == rank and weights.wanted() > 0 and len(groups) == 1)
    return tuple(weights.sides), groups[0]


def _check_bias(step: _Step, count: int) -> None:
    _expect(len(step.node.inputs) in (2, 3))
    if len(step.node.inputs) == 3:
        bias = step.constant(2)
        _expect(bias.kind == 1 and bias.sides == [count])


def _conv(step: _Step) -> _Shape:
    (filters, depth, *kernel), group = _weights_of(step, 4)
    _expect(len(step.shapes[0]) == 4 and step.shapes[0][1] == depth * group and filters % group == 0)
    _expect(_kernel_of(step) == kernel)
    _check_bias(step, filters)
    return (step.shapes[0][0], filters, *_window_sides(step))


def _conv_transpose(step: _Step) -> _Shape:
    (depth, filters, *kernel), group = _weights_of(step, 4)
    shape, node = step.shapes[0], step.node
    _expect(len(shape) == 4 and shape[1] == depth and depth % group == 0 and _kernel_of(step) == kernel)
    _check_bias(step, filters * group)
    pads, strides = node.wholes("pads") or [0] * 4, node.wholes("strides") or [1] * 2
    dilations, extra = node.wholes("dilations") or [1] * 2, node.wholes("output_padding") or [0] * 2
    _expect((len(pads), len(strides), len(dilations), len(extra)) == (4, 2, 2, 2))
    _expect(all(more < max(pair) for more, pair in zip(extra, zip(strides, dilations))))
    _expect(all(pads[i] < kernel[i % 2] * dilations[i % 2] for i in range(4)))
    sides = [
        (shape[2 + i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1 + extra[i] - pads[i] - pads[2 + i]
        for i in range(2)
    ]
    return (shape[0], filters * group, *sides)


def _pool(step: _Step) -> _Shape:
    _expect(len(step.shapes) == 1)
    sides = _window_sides(step)
    kernel, pads = _kernel_of(step), step.node.wholes("pads") or [0] * 4
    _expect(all(pads[i] < kernel[i % 2] for i in range(4)))
    return (*step.shapes[0][:2], *sides)


def _global_pool(step: _Step) -> _Shape:
    _expect(len(step.shapes) == 1 and len(step.shapes[0]) == 4)
    return (*step.shapes[0][:2], 1, 1)


def _normalization(step: _Step) -> _Shape:
    shape = step.shapes[0]
    _expect(len(step.node.inputs) == 5 and len(shape) >= 2)
    _expect(all(step.constant(i).kind == 1 and step.constant(i).sides == [shape[1]] for i in range(1, 5)))
    return shape


def _flatten(step: _Step) -> _Shape:
    _expect(len(step.shapes) == 1 and (step.node.wholes("axis") or [1]) == [1] and len(step.shapes[0]) >= 2)
    return (step.shapes[0][0], int(np.prod(step.shapes[0][1:], dtype=np.float64)))


def _gemm(step: _Step) -> _Shape:
    (rows, columns), _ = _weights_of(step, 2)
    _expect(step.node.wholes("transB") == [1] and len(step.shapes[0]) == 2 and step.shapes[0][1] == columns)
    _check_bias(step, rows)
    return (step.shapes[0][0], rows)


def _matmul(step: _Step) -> _Shape:
    """Three sides at most: with four OpenCV 5.0's classic engine may end the process."""
    _expect(len(step.shapes) == 2)
    first, second = step.shapes
    _expect(len(first) == len(second) == 3 and first[0] == second[0] and first[2] == second[1])
    return (*first[:2], second[2])


def _reshape(step: _Step) -> _Shape:
    """The first side must be the batch's or free, since a fixed one ends the process in OpenCV 4.8."""
    sides = step.whole_numbers("", 1)
    count = int(np.prod(step.shapes[0], dtype=np.float64))
    _expect(1 <= len(sides) <= 5 and len(step.node.inputs) == 2 and sides.count(-1) <= 1)
    sides = [step.shapes[0][i] if side == 0 and i < len(step.shapes[0]) else side for i, side in enumerate(sides)]
    _expect(all(side == -1 or side > 0 for side in sides))
    rest = int(np.prod([side for side in sides if side != -1], dtype=np.float64))
    _expect(count % rest == 0 and (count == rest or -1 in sides))
    return tuple(count // rest if side == -1 else side for side in sides)


def _concat(step: _Step) -> _Shape:
    axis, first = step.node.wholes("axis") or [], step.shapes[0]
    _expect(len(axis) == 1 and 0 < axis[0] < len(first))
    _expect(not any(name in step.constants for name in step.node.inputs))
    at = axis[0]
    _expect(all(one[:at] + one[at + 1 :] == first[:at] + first[at + 1 :] for one in step.shapes))
    _expect(all(len(one) == len(first) for one in step.shapes))
    return (*first[:at], sum(one[at] for one in step.shapes), *first[at + 1 :])


def _transpose(step: _Step) -> _Shape:
    order = step.node.wholes("perm") or []
    _expect(len(step.shapes) == 1 and sorted(order) == list(range(len(step.shapes[0]))))
    return tuple(step.shapes[0][i] for i in order)


def _pad(step: _Step) -> _Shape:
    pads, shape = step.whole_numbers("pads", 1), step.shapes[0]
    _expect(len(pads) == 2 * len(shape) and min(pads) >= 0 and pads[0] == pads[len(shape)] == 0)
    _expect("mode" not in step.node.attributes or step.node.attributes["mode"].text == "constant")
    _expect(len(step.node.inputs) < 3 or step.constant(2).wanted() == 1)
    return tuple(side + pads[i] + pads[len(shape) + i] for i, side in enumerate(shape))


def _slice(step: _Step) -> _Shape:
    starts, ends = step.whole_numbers("starts", 1), step.whole_numbers("ends", 2)
    axes = step.whole_numbers("axes", 3)
    steps = step.whole_numbers("", 4) if len(step.node.inputs) > 4 else [1] * len(axes)
    _expect(len(axes) == len(starts) == len(ends) == len(steps) == len(set(axes)) and min([*steps, 1]) >= 1)
    shape = list(step.shapes[0])
    for start, end, axis, by in zip(starts, ends, axes, steps):
        _expect(0 < axis < len(shape))
        start, end = (min(max(one + shape[axis] if one < 0 else one, 0), shape[axis]) for one in (start, end))
        shape[axis] = -((start - end) // by)
    return tuple(shape)


def _resized(step: _Step, scales_at: int) -> _Shape:
    shape, values = step.shapes[0], step.constant(scales_at).values()
    _expect(len(shape) == 4 and values is not None and len(values) == 4)
    if values is None or values.dtype.kind == "f":
        sides = [int(side * float(scale)) for side, scale in zip(shape, values if values is not None else ())]
    else:
        sides = [int(side) for side in values]
        sides[0] = shape[0]
    _expect(tuple(sides[:2]) == shape[:2])
    return tuple(sides)


def _resize(step: _Step) -> _Shape:
    _expect(len(step.node.inputs) in (3, 4))
    return _resized(step, len(step.node.inputs) - 1)


def _upsample(step: _Step) -> _Shape:
    _expect(len(step.node.inputs) == 2)
    return _resized(step, 1)


def _pairwise(step: _Step) -> _Shape:
    """Two arrays of one shape, or a second one that is spread over the first."""
    _expect(len(step.shapes) == 2)
    first, second = step.shapes
    if first == second:
        return first
    constant = step.constants.get(step.node.inputs[1])
    if constant is not None:
        _expect(constant.kind == 1 and constant.wanted() > 0)
    second = (1,) * (len(first) - len(second)) + tuple(second)
    _expect(len(first) == len(second) and all(b in (1, a) for a, b in zip(first, second)))
    return first


_SAMES: Dict[str, Tuple[str, ...]] = {
    **dict.fromkeys(("Abs", "Erf", "Exp", "Log", "Neg", "Relu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh"), ()),
    **{"Clip": ("min", "max"), "Elu": ("alpha",), "LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")},
    **{"Selu": ("alpha", "gamma")},
}
_WINDOWED = ("Conv", "MaxPool", "AveragePool")
_CONV_ATTRIBUTES = ("kernel_shape", "strides", "pads", "dilations", "group")
_POOL_ATTRIBUTES = ("kernel_shape", "strides", "pads", "count_include_pad")
# Of each operator what follows its shape, and the attributes that trainkit may write.
_FORMS: Dict[str, Tuple[Callable[[_Step], _Shape], Tuple[str, ...]]] = {
    **{op: (_same, attributes) for op, attributes in _SAMES.items()},
    **dict.fromkeys(("Add", "Sub", "Mul", "Max", "Min", "Pow"), (_pairwise, ())),
    **dict.fromkeys(("MaxPool", "AveragePool"), (_pool, _POOL_ATTRIBUTES)),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), (_global_pool, ())),
    "Conv": (_conv, _CONV_ATTRIBUTES),
    "ConvTranspose": (_conv_transpose, (*_CONV_ATTRIBUTES, "output_padding")),
    "BatchNormalization": (_normalization, ("epsilon",)),
    "Flatten": (_flatten, ("axis",)),
    "Softmax": (_along_channels, ("axis",)),
    "Gemm": (_gemm, ("transB",)),
    "MatMul": (_matmul, ()),
    "Reshape": (_reshape, ()),
    "Concat": (_concat, ("axis",)),
    "Transpose": (_transpose, ("perm",)),
    "Pad": (_pad, ("mode", "pads", "value")),
    "Slice": (_slice, ("axes", "starts", "ends")),
    "Resize": (_resize, ("mode", "coordinate_transformation_mode", "nearest_mode")),
    "Upsample": (_upsample, ("mode",)),
}
