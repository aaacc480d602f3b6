"""What a converted graph shows when it is run: how long every side is, and what never changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trainkit.errors import ExportError
from trainkit.exporting._onnxruntime import load_onnxruntime
from trainkit.exporting._views import Side

_BATCHES = (2, 3)


def attribute_of(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """Return an attribute's value."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def mend(proto: onnx.ModelProto) -> None:
    """Correct two things that tf2onnx writes and nothing can run.

    It gives a convolution a second bias where a constant is added behind the first, and it says as negative pads what
    is output_padding: of a transposed kernel shorter than its stride, or asked for. TensorFlow has all of that behind
    the image, whatever half of it tf2onnx puts in front.
    """
    arrays = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Conv" and len(node.input) > 3:
            total = np.sum([numpy_helper.to_array(arrays[name]) for name in node.input[2:]], axis=0)
            proto.graph.initializer.append(numpy_helper.from_array(total, f"{node.name}_biases"))
            del node.input[2:]
            node.input.append(f"{node.name}_biases")
        pads = list(attribute_of(node, "pads", [0]))
        if node.op_type == "ConvTranspose" and min(pads) < 0:
            kept = [attribute for attribute in node.attribute if attribute.name not in ("pads", "output_padding")]
            del node.attribute[:]
            node.attribute.extend(
                [
                    *kept,
                    helper.make_attribute("pads", [max(pad, 0) for pad in pads]),
                    helper.make_attribute("output_padding", [max(-pads[side] - pads[side + 2], 0) for side in (0, 1)]),
                ]
            )


def observe(
    proto: onnx.ModelProto, source: str, input_shape: list[int]
) -> tuple[dict[str, list[Side]], dict[str, np.ndarray], dict[str, str]]:
    """Run the converted graph at two batch sizes.

    Returns:
        The sides of every value, the values that never change, and of which kind of number each is, as NumPy has it.
    """
    onnxruntime = load_onnxruntime()
    names = list(dict.fromkeys(name for node in proto.graph.node for name in node.output if name))
    open_proto = onnx.ModelProto()
    open_proto.CopyFrom(proto)
    del open_proto.graph.output[:]
    open_proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            open_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        runs = [_run_on_zeros(session, names, source, (batch, *input_shape)) for batch in _BATCHES]
    except Exception as error:  # onnxruntime's errors share no class of their own
        reason = " ".join(str(error).rpartition("[ONNXRuntimeError] : ")[2].split())[:600]
        raise ExportError(
            f"The model cannot be converted to ONNX ({reason}). Replace the layer that is named there by convolutions, "
            "pooling, dense layers, normalisations and the usual activations."
        ) from error
    two, three = runs
    sides = {name: [_side(a, b) for a, b in zip(two[name].shape, three[name].shape, strict=True)] for name in two}
    varying = _varying(proto, source)
    fixed = {name: value for name, value in three.items() if name not in varying and np.array_equal(value, two[name])}
    repeated = {
        name: value[:1]
        for name, value in three.items()
        if name not in varying and _is_repeated(two[name], value) and value.dtype.kind == "f"
    }
    return sides, {**fixed, **repeated}, {name: value.dtype.kind for name, value in three.items()}


def _is_repeated(two: np.ndarray, three: np.ndarray) -> bool:
    """Whether a value is the same for each image of a batch, as the zeros that a recurrent layer begins with."""
    counts = (len(two), len(three)) if two.ndim > 1 else ()
    return counts == _BATCHES and np.array_equal(two, three[:2]) and bool((three == three[:1]).all())


def _run_on_zeros(session: Any, names: list[str], source: str, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    zeros = np.zeros(shape, np.float32)
    return {source: zeros, **dict(zip(names, session.run(names, {source: zeros}), strict=True))}


def _side(two: int, three: int) -> Side:
    return (two, False) if two == three else (two // _BATCHES[0], True)


def _varying(proto: onnx.ModelProto, source: str) -> set[str]:
    """Return the values that depend on what is in the input, and not on its shape alone."""
    varying = {source}
    for node in proto.graph.node:
        if node.op_type != "Shape" and varying.intersection(node.input):
            varying.update(node.output)
    return varying
