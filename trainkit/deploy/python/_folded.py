"""Constants that an ONNX file makes of others, as kernels of whole numbers become floats: what is known of each."""

from __future__ import annotations

from typing import Dict, List

import numpy as np

from trainkit.deploy.python._onnx import OnnxNode, OnnxTensor

_FLOAT, _INT8, _INT64 = 1, 3, 7  # TensorProto.DataType
_MOST = 16  # numbers that are made, for each one that is stored


def fold_constants(nodes: List[OnnxNode], stored: Dict[str, OnnxTensor]) -> Dict[str, OnnxTensor]:
    """Return the constants that nodes make of constants, in the forms that trainkit writes.

    Nothing is computed, only followed: of others, and of more than so small a file may ask for, nothing is said.

    Args:
        nodes: in the order of the file.
        stored: its own constants.
    """
    made: Dict[str, OnnxTensor] = {}
    left = _MOST * sum(max(tensor.stored, 0) for tensor in stored.values())
    for node in nodes:
        read = [stored.get(name) or made.get(name) for name in node.inputs]
        named = all(name.isprintable() and "\\" not in name for name in (*node.inputs, *node.outputs, node.name))
        if len(node.outputs) != 1 or node.domain or not read or None in read or not named:
            continue
        sides = _sides_of(node, [tensor for tensor in read if tensor is not None])
        if not sides or min(sides) < 1 or node.outputs[0] in stored or node.outputs[0] in made:
            continue
        tensor = OnnxTensor(node.outputs[0], sides, _FLOAT, -1, False, {})
        left -= tensor.wanted()
        if left < 0:
            break
        made[node.outputs[0]] = tensor
    return made


def _sides_of(node: OnnxNode, read: List[OnnxTensor]) -> List[int]:
    """Return the sides of what a node makes of constants; none where it is of no form that trainkit writes."""
    given, first = set(node.attributes), read[0]
    if any(one.twice for one in node.attributes.values()):
        return []
    if node.op == "Cast":
        known = len(read) == 1 and first.kind == _INT8 and given == {"to"} and node.wholes("to") == [_FLOAT]
        return list(first.sides) if known else []
    if node.op == "ConstantOfShape":
        return _full_sides(node, first) if len(read) == 1 and given == {"value"} else []
    if any(tensor.kind != _FLOAT for tensor in read):
        return []
    if node.op in ("Add", "Sub", "Mul", "Div"):
        return list(first.sides) if len(read) == 2 and not given and read[1].sides == first.sides else []
    return _joined_sides(node, read) if node.op == "Concat" and given == {"axis"} else []


def _full_sides(node: OnnxNode, shape: OnnxTensor) -> List[int]:
    values = shape.values(16) if shape.kind == _INT64 and len(shape.sides) == 1 else None
    tensors = node.attributes["value"].tensors
    if values is None or [(one.kind, one.sides, one.stored) for one in tensors] != [(_FLOAT, [1], 1)]:
        return []
    return [int(side) for side in np.asarray(values)]


def _joined_sides(node: OnnxNode, read: List[OnnxTensor]) -> List[int]:
    axis, first = node.wholes("axis") or [], list(read[0].sides)
    if len(axis) != 1 or not 0 <= axis[0] < len(first):
        return []
    at = axis[0]
    rest = first[:at] + first[at + 1 :]
    if any(list(one.sides[:at]) + list(one.sides[at + 1 :]) != rest for one in read):
        return []
    return [*first[:at], sum(one.sides[at] for one in read), *first[at + 1 :]]
