"""Stored kernels in an ONNX file: in the form that every OpenCV since 4.5.5 folds rightly as it loads.

Probed in nine versions, 4.5.5 to both engines of 5.0.0, with batches of 1, 3 and 8 on one net:

- Whole numbers of 8 bits, a Cast to float, a convolution or a dense layer without a bias, and behind it a batch
  normalisation whose scale is that of the channels and whose shift is the bias. A Mul of constants with a scale a
  channel fails in 4.5.5, and `Gemm`'s alpha is forgotten there.
- Numbers of 16 bits are not read before 5.0.0, and float16 not before 4.7; so they are two of 8 bits, the high one
  divided by 1/256: arithmetic of constants is folded everywhere if they are of one shape, and ConstantOfShape says any
  number in a few bytes. Div and Sub, because OpenCV looks for larger things that end in a Mul or an Add, which would
  take longer than all the rest of loading. Where all channels have one scale, it stands there, and the layer keeps its
  bias.
- A batch normalisation behind a transposed convolution and in front of a ReLU comes out wrong in every version but in
  the new engine, so its kernel is multiplied as a constant: by the scales, put side by side to its whole shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trainkit.exporting._graph import Node
from trainkit.exporting._small_weights._kernels import StoredKernel

if TYPE_CHECKING:
    from trainkit.exporting._onnx_graph import _Writer

_HALF = 256
_LEAST = 1e-12  # the classic engine forgets a shift that is smaller still


def write_stored(writer: _Writer, node: Node, kernel: StoredKernel, **attributes: Any) -> None:
    """Write a convolution or a dense layer whose kernel is stored as whole numbers."""
    source, name, bias = node.inputs
    if kernel.bits == 16 and kernel.is_even:
        writer.add(node.op, [source, _write_halves(writer, name, kernel), bias], node.output, **attributes)
        return
    whole = _write_numbers(writer, name, kernel)
    if node.op == "ConvTranspose":
        writer.add(node.op, [source, _write_scaled(writer, name, whole, kernel), bias], node.output, **attributes)
        return
    channels = len(kernel.scale)
    scale = writer.number(_named(name, "scale"), kernel.scale)
    # Before opset 11 a Gemm has to have a bias.
    none = [writer.number(f"zeros_{channels}", np.zeros(channels))] if node.op == "Gemm" else []
    unscaled = _add(writer, node.op, [source, whole, *none], f"{node.output}_u", **attributes)
    shifts = np.abs(writer.value(bias))
    if ((shifts > 0) & (shifts < _LEAST)).any():
        writer.add_affine(unscaled, scale, bias, node.output, channels)
        return
    # Mean and variance are one constant: (x - 0) / sqrt(0 + 1).
    zeros = _write_full(writer, f"none_{channels}", (channels,), 0.0)
    writer.add("BatchNormalization", [unscaled, scale, bias, zeros, zeros], node.output, epsilon=1.0)


def _named(kernel: str, part: str) -> str:
    """Return a short name: there are a dozen for each kernel."""
    return f"k{kernel.removeprefix('constant_')}_{part}"


def _add(writer: _Writer, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
    """Append an operation without a name; a kernel that was written already stays what it is."""
    if all(output not in node.output for node in writer.nodes):
        writer.nodes.append(helper.make_node(op, inputs, [output], **attributes))
    return output


def _write_numbers(writer: _Writer, name: str, kernel: StoredKernel) -> str:
    """Write the whole numbers, and what makes floats of them."""
    if kernel.bits == 8:
        return _write_floats(writer, _named(name, "int8"), kernel.numbers)
    return _write_halves(writer, name, kernel, scale=1.0)


def _write_halves(writer: _Writer, name: str, kernel: StoredKernel, scale: float | None = None) -> str:
    """Write numbers of 16 bits, and what puts each together of two halves; times the one scale of all channels."""
    numbers = kernel.numbers.astype(np.int32)
    high = (numbers + _HALF // 2 - 1) // _HALF
    minus = high * _HALF - numbers
    unit = float(kernel.scale[0]) if scale is None else scale
    parts = []
    for part, value, factor in (("high", high, _HALF * unit), ("minus", minus, unit)):
        floats = _write_floats(writer, _named(name, part), value)
        if factor != 1:
            shared = f"halves_{'x'.join(map(str, numbers.shape))}"
            full = _named(name, f"{part}_per") if scale is None else shared
            floats = _add(writer, "Div", [floats, _write_full(writer, full, high.shape, 1 / factor)], f"{floats}_s")
        parts.append(floats)
    return _add(writer, "Sub", parts, _named(name, "f"))


def _write_full(writer: _Writer, name: str, shape: tuple[int, ...], value: float) -> str:
    """Write a constant of one number everywhere."""
    sides = writer.number(f"sides_{'x'.join(map(str, shape))}", shape, np.int64)
    return _add(writer, "ConstantOfShape", [sides], name, value=numpy_helper.from_array(np.array([value], np.float32)))


def _write_floats(writer: _Writer, name: str, numbers: np.ndarray) -> str:
    return _add(writer, "Cast", [writer.number(name, numbers, np.int8)], f"{name}_f", to=onnx.TensorProto.FLOAT)


def _write_scaled(writer: _Writer, name: str, whole: str, kernel: StoredKernel) -> str:
    """Multiply the whole numbers of a kernel by their scales, as constants of one shape."""
    sides = kernel.numbers.shape
    shape = [sides[kernel.axis] if axis == kernel.axis else 1 for axis in range(len(sides))]
    scale = writer.number(_named(name, "scale"), kernel.scale.reshape(shape))
    for axis, side in enumerate(sides):
        if axis != kernel.axis:
            scale = _write_repeated(writer, scale, axis, side, _named(name, f"scale{axis}"))
    return _add(writer, "Mul", [whole, scale], _named(name, "scaled"))


def _write_repeated(writer: _Writer, constant: str, axis: int, times: int, name: str) -> str:
    """Put a constant side by side with itself: joined, doubled, joined."""
    result, power = "", constant
    for step in range(times.bit_length()):
        if times >> step & 1:
            result = _add(writer, "Concat", [result, power], f"{name}_{step}", axis=axis) if result else power
        if times >> step > 1:
            power = _add(writer, "Concat", [power, power], f"{name}_{step}d", axis=axis)
    return result


def read_stored(path: Path) -> dict[str, StoredKernel]:
    """Return the kernels that are stored as whole numbers in a file that trainkit wrote, by their names, in order."""
    proto = onnx.load(path, load_external_data=False)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "ConstantOfShape":
            arrays[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    found: dict[str, StoredKernel] = {}
    for tensor in proto.graph.initializer:
        name, _, kind = tensor.name.rpartition("_")
        if kind not in ("int8", "high"):
            continue
        numbers = arrays[tensor.name]
        if kind == "high":
            numbers = (numbers.astype(np.int32) * _HALF - arrays[f"{name}_minus"]).astype(np.int16)
        scale = arrays.get(f"{name}_scale")
        if scale is None and f"{name}_minus_per" in arrays:
            scale = 1 / arrays[f"{name}_minus_per"]
        if scale is not None:
            found[f"constant_{name[1:]}"] = _joined(numbers, scale)
    return found


def _joined(numbers: np.ndarray, scale: np.ndarray) -> StoredKernel:
    if scale.size == 1 and len(numbers) > 1:
        scale = np.full(len(numbers), scale.reshape(-1)[0])
    axis = 0 if scale.ndim == 1 else int(np.argmax(np.array(scale.shape) == scale.size))
    return StoredKernel(numbers, scale.reshape(-1), axis)
