"""Whether a graph can be handed to OpenCV: what in it is known to end the process, or reads other files, is refused.

OpenCV divides by strides and groups as they stand in the file, and follows names of files in it. What is asked here
needs no shapes but those of constants, so that each reader of a bundle can ask the same.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, NoReturn, Tuple

import numpy as np

from trainkit.deploy.python._onnx import OnnxGraph, OnnxModel, OnnxNode, OnnxTensor, graphs_in, read_onnx
from trainkit.deploy.python._showing import harmless
from trainkit.deploy.python._values import MAX_SIDE, BundleError

MAX_RANK = 32  # sides of an array in OpenCV 4
MAX_NUMBERS = 2**28  # of one array: a gibibyte of float32
MAX_INPUTS = 4096  # of one node
_ANY = 2**63

Bounds = Dict[str, Tuple[int, int]]

_WINDOW: Bounds = {
    **{"kernel_shape": (1, MAX_SIDE), "strides": (1, MAX_SIDE), "dilations": (1, MAX_SIDE), "pads": (0, MAX_SIDE)},
    **{"group": (1, 2**20), "output_padding": (0, MAX_SIDE), "output_shape": (0, MAX_SIDE)},
}
_AXIS: Bounds = {"axis": (-MAX_RANK, MAX_RANK), "axes": (-MAX_RANK, MAX_RANK)}
_RECURRENT: Bounds = {"hidden_size": (1, 2**20)}
_HEADS: Bounds = dict.fromkeys(("num_heads", "q_num_heads", "kv_num_heads"), (1, 2**20))

# Of an operator's attributes: the least and the most that each of their whole numbers may be.
ATTRIBUTE_BOUNDS: Dict[str, Bounds] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv"), _WINDOW),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool", "MaxUnpool", "MaxRoiPool"), _WINDOW),
    **dict.fromkeys(("QLinearAveragePool", "Col2Im"), _WINDOW),
    **dict.fromkeys(("ArgMax", "ArgMin", "Concat", "Flatten", "Gather", "GatherElements", "Hardmax"), _AXIS),
    **dict.fromkeys(("LayerNormalization", "LogSoftmax", "Softmax", "ScatterElements", "Squeeze"), _AXIS),
    **dict.fromkeys(("TopK", "Unsqueeze", "OneHot", "Compress", "DequantizeLinear", "QuantizeLinear", "Slice"), _AXIS),
    **{f"Reduce{op}": _AXIS for op in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min")},
    **{f"Reduce{op}": _AXIS for op in ("Prod", "Sum", "SumSquare")},
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _RECURRENT),
    **dict.fromkeys(("Attention", "MultiHeadAttention", "GroupQueryAttention", "RotaryEmbedding"), _HEADS),
    "Split": {**_AXIS, "split": (0, 2**31 - 1), "num_outputs": (1, 2**20)},
    "Transpose": {"perm": (0, MAX_RANK - 1)},
    "DepthToSpace": {"blocksize": (1, 256)},
    "SpaceToDepth": {"blocksize": (1, 256)},
    "GroupNormalization": {"num_groups": (1, 2**20)},
    "LRN": {"size": (1, MAX_SIDE)},
    "Pad": {"pads": (-MAX_SIDE, MAX_SIDE)},
    "Tile": {"tiles": (1, 2**20)},
}


class _Rule(NamedTuple):
    """Of a constant that an operator reads: bounds of each number and of their product, whether 0 or none may be."""

    least: float = -_ANY
    most: float = _ANY
    no_zero: bool = False
    product: float = float("inf")
    some: bool = False


_RULES: Dict[Tuple[str, int], _Rule] = {
    ("Div", 1): _Rule(no_zero=True),
    ("Mod", 1): _Rule(no_zero=True),
    ("Range", 2): _Rule(no_zero=True),
    ("Slice", 1): _Rule(some=True),
    ("Slice", 2): _Rule(some=True),
    ("Slice", 3): _Rule(-MAX_RANK, MAX_RANK),
    ("Slice", 4): _Rule(-MAX_SIDE, MAX_SIDE, no_zero=True),
    ("Pad", 1): _Rule(-MAX_SIDE, MAX_SIDE),
    ("Reshape", 1): _Rule(-1, MAX_NUMBERS),
    ("Expand", 1): _Rule(0, MAX_NUMBERS, product=MAX_NUMBERS),
    ("ConstantOfShape", 0): _Rule(0, MAX_NUMBERS, product=MAX_NUMBERS),
    ("Tile", 1): _Rule(1, 2**20, product=2**20),
    ("Resize", 3): _Rule(1, MAX_NUMBERS, product=MAX_NUMBERS),
    ("Resize", 2): _Rule(1e-6, MAX_SIDE),
    ("Upsample", 1): _Rule(1e-6, MAX_SIDE),
    ("Split", 1): _Rule(0, 2**31 - 1),
    ("CumSum", 1): _Rule(-MAX_RANK, MAX_RANK),
    ("OneHot", 1): _Rule(1, MAX_NUMBERS),
    ("TopK", 1): _Rule(0, MAX_NUMBERS),
    **{(op, 1): _Rule(-MAX_RANK, MAX_RANK) for op in ("Squeeze", "Unsqueeze")},
}
_WHOLE_ONLY = {("Div", 1), ("Mod", 1), ("Range", 2)}  # division of floats by 0 has an answer
# So many inputs an operator must name, the first ones. Every other operator must name one, but for those that make
# something of nothing.
_LEAST_INPUTS = {
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger", "DeformConv", "Gemm", "MatMul", "PRelu", "Gather"), 2),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Reshape", "Expand"), 2),
    "Range": 3,
    "BatchNormalization": 5,
}
_SOURCES = (
    *("Constant", "RandomNormal", "RandomUniform", "SequenceEmpty", "Optional", "PriorBox", "If", "Loop", "Scan"),
    *("Input", "Dummy"),
)
# Of these the second input, where it is a constant: how many sides it must have, at least and at most.
_WEIGHTS = {"Conv": (3, 5), "ConvTranspose": (3, 5), "Gemm": (1, 10), "MatMul": (1, 10), "PRelu": (0, 10)}


def check_graph(data: bytes, model_format: str, graph: bytes | None, model_name: str) -> OnnxModel | None:
    """Raise unless a model can be handed to OpenCV, as far as that can be said without trying.

    Args:
        data: the bytes of the model file.
        model_format: `onnx`, `frozen-graph` or `caffe`.
        graph: the bytes of the text beside it, where it has one.
        model_name: how it is called in what is raised.

    Returns:
        What is in an ONNX file.

    Raises:
        BundleError: it reads other files, or is known to end the process.
    """
    if model_format == "onnx":
        return check_onnx(data, model_name)
    return None


def check_onnx(data: bytes, model_name: str) -> OnnxModel:
    """Read an ONNX file and raise unless OpenCV can be tried on it.

    Raises:
        BundleError: it is no ONNX file, reads other files, or is known to end the process.
    """
    try:
        model = read_onnx(data)
    except ValueError as error:
        raise BundleError(f"{model_name} is no ONNX file ({error}). Copy or export it again.") from error
    for graph in graphs_in(model):
        constants: Dict[str, OnnxTensor] = {}
        for tensor in graph.constants:
            if tensor.name and tensor.name in constants:
                _refuse(model_name, f"there are two constants `{harmless(tensor.name[:80])}`")
            constants[tensor.name] = tensor
            _check_tensor(tensor, f"the constant `{harmless(tensor.name[:80])}`", model_name)
        for node in graph.nodes:
            _check_node(node, constants, model_name)
    _check_names(model.graph, model_name)
    return model


def _refuse(model_name: str, reason: str) -> NoReturn:
    raise BundleError(f"{model_name} is not safe to load: {reason}. Copy or export the network again.")


def _check_tensor(tensor: OnnxTensor, what: str, model_name: str) -> None:
    if tensor.external:
        raise BundleError(
            f"{model_name} keeps {what} in another file, which could be any file of this machine. Save it with all "
            "its weights inside (`onnx.save(onnx.load(path), path)`)."
        )
    if any(side < 0 for side in tensor.sides):
        _refuse(model_name, f"{what} has a side below 0 ({_shown(tensor.sides)})")
    if tensor.stored not in (-1, tensor.wanted()):
        holds = f"{tensor.stored:.10g} numbers" if tensor.stored >= 0 else "a broken number of bytes"
        _refuse(
            model_name, f"{what} holds {holds}. Expected {tensor.wanted():.10g} for its shape {_shown(tensor.sides)}"
        )


def _check_node(node: OnnxNode, constants: Dict[str, OnnxTensor], model_name: str) -> None:
    where = f"the node {_title(node)}"
    for attribute in node.attributes.values():
        for tensor in attribute.tensors:
            _check_tensor(tensor, f"the constant in {where}", model_name)
    if node.op == "Constant" and node.outputs:
        _remember(node, constants)
    _check_attributes(node, where, model_name)
    _check_inputs(node, where, model_name)
    _check_constants(node, constants, where, model_name)


def _title(node: OnnxNode) -> str:
    name = node.name or (node.outputs[0] if node.outputs else "")
    return harmless(f"`{name[:80]}` ({node.op[:80]})")


def _shown(numbers: List[int]) -> str:
    return f"[{', '.join(f'{number:.10g}' for number in numbers[:8])}{', ...' if len(numbers) > 8 else ''}]"


def _remember(node: OnnxNode, constants: Dict[str, OnnxTensor]) -> None:
    for attribute in node.attributes.values():
        for tensor in attribute.tensors[-1:]:
            constants[node.outputs[0]] = tensor
        if attribute.wholes:
            packed = np.array(attribute.wholes, "<i8").tobytes()
            count = len(attribute.wholes)
            constants[node.outputs[0]] = OnnxTensor("", [count], 7, count, False, {9: [packed]})


def _check_attributes(node: OnnxNode, where: str, model_name: str) -> None:
    for name, (least, most) in ATTRIBUTE_BOUNDS.get(node.op, {}).items():
        numbers = node.wholes(name)
        if numbers is None:
            continue
        if not numbers and (len(node.attributes[name].floats) or node.attributes[name].text or name == "group"):
            _refuse(model_name, f"`{name}` of {where} must hold whole numbers. Received: another type")
        for number in numbers:
            if not least <= number <= most:
                _refuse(model_name, f"`{name}` of {where} must be from {least} to {most}. Received: {number:.10g}")


def _check_inputs(node: OnnxNode, where: str, model_name: str) -> None:
    least = 0 if node.op in _SOURCES or not node.op else _LEAST_INPUTS.get(node.op, 1)
    if node.domain not in ("", "ai.onnx"):
        return
    if len(node.inputs) > MAX_INPUTS:
        _refuse(model_name, f"{where} must have at most {MAX_INPUTS} inputs. Received: {len(node.inputs)}")
    # OpenCV's own message about such a name may end the process, too.
    if not all(" " <= letter <= "~" and letter != "\\" for letter in node.op):
        _refuse(model_name, f"{where} names no operator")
    missing = [i for i in range(least) if not (node.inputs[i : i + 1] or [""])[0]]
    if missing:
        _refuse(
            model_name, f"{where} must have {least} input{'s' * (least > 1)}. Received: none as number {missing[0] + 1}"
        )
    if node.op == "Resize" and sum(map(bool, node.inputs)) < 2:
        _refuse(model_name, f"{where} must have scales or sizes. Received: neither")


def _check_constants(node: OnnxNode, constants: Dict[str, OnnxTensor], where: str, model_name: str) -> None:
    _check_division(node, constants, where, model_name)
    for i, name in enumerate(node.inputs[:5]):
        tensor = constants.get(name)
        if tensor is None:
            continue
        if i == 1 and node.op in _WEIGHTS:
            _check_weights(node, tensor, where, model_name)
        if i == 1 and node.op == "GroupNormalization":
            _check_group_count(node, tensor, where, model_name)
        rule = _RULES.get((node.op, i))
        values = tensor.values() if rule else None
        if rule and values is not None and not (values.dtype.kind == "f" and (node.op, i) in _WHOLE_ONLY):
            _check_values(rule, values, f"input {i + 1} of {where}", model_name)


def _check_weights(node: OnnxNode, tensor: OnnxTensor, where: str, model_name: str) -> None:
    least, most = _WEIGHTS[node.op]
    if tensor.kind == 8 or tensor.wanted() == 0:
        received = "text" if tensor.kind == 8 else f"the shape {_shown(tensor.sides)}"
        _refuse(model_name, f"the weights of {where} must be numbers, and some. Received: {received}")
    if not least <= len(tensor.sides) <= most:
        received = _shown(tensor.sides)
        _refuse(model_name, f"the weights of {where} must have {least} to {most} sides. Received: the shape {received}")


def _check_division(node: OnnxNode, constants: Dict[str, OnnxTensor], where: str, model_name: str) -> None:
    """Raise where the least whole number is divided by -1, which has no answer of its own type."""
    both = [constants[name].values() for name in node.inputs[:2] if name in constants]
    if node.op in ("Div", "Mod") and len(both) == 2 and all(one is not None and one.dtype.kind == "i" for one in both):
        least = [-(2**31), -(2**63)]
        if np.isin(both[0], least).any() and np.isin(both[1], -1).any():  # type: ignore[arg-type]
            _refuse(model_name, f"{where} divides the least whole number by -1, which has no answer")


def _check_group_count(node: OnnxNode, tensor: OnnxTensor, where: str, model_name: str) -> None:
    for number in node.wholes("num_groups") or []:
        if number > tensor.wanted():
            expected = f"at most {tensor.wanted()}, as there are scales"
            _refuse(model_name, f"`num_groups` of {where} must be {expected}. Received: {number}")


def _check_values(rule: _Rule, values: np.ndarray, what: str, model_name: str) -> None:
    if rule.some and not len(values):
        _refuse(model_name, f"{what} must hold numbers. Received: none")
    for value in values.tolist():
        if not rule.least <= value <= rule.most:  # so written, NaN is refused too
            _refuse(model_name, f"{what} must be from {rule.least:.10g} to {rule.most:.10g}. Received: {value:.10g}")
        if rule.no_zero and value == 0:
            _refuse(model_name, f"{what} must not be 0, by which nothing can be divided")
    if np.prod(np.abs(values.astype(np.float64))) > rule.product:
        _refuse(
            model_name, f"{what} asks for more than {rule.product:.10g} numbers. Received: {_shown(values.tolist())}"
        )


def _check_names(graph: OnnxGraph, model_name: str) -> None:
    """Raise where a node reads what none before it makes, or a convolution an input of other sides than its weights.

    ONNX has the nodes in their order, so that a circle is one of these; in OpenCV 5.0 it has no end.
    """
    known = {one.name for one in graph.inputs} | {tensor.name for tensor in graph.constants} | {""}
    declared = {one.name: one.sides for one in graph.inputs}
    weights = {tensor.name: tensor.sides for tensor in graph.constants}
    for node in graph.nodes:
        for name in node.inputs:
            if name not in known:
                unknown = harmless(name[:80])
                _refuse(model_name, f"the node {_title(node)} reads `{unknown}`, which none before it makes")
        known.update(node.outputs)
        sides = declared.get(node.inputs[0]) if node.inputs else None
        kernel = weights.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if node.op in ("Conv", "ConvTranspose") and sides and kernel and len(sides) != len(kernel):
            _refuse(
                model_name, f"the node {_title(node)} has weights of {len(kernel)} sides for an input of {len(sides)}"
            )
