"""How each kernel of a graph is stored: as whole numbers of 8 or of 16 bits, or as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from trainkit.exporting._graph import Graph, Node
from trainkit.exporting._small_weights._kernels import StoredKernel, output_axis
from trainkit.exporting._small_weights._moments import blocks_of
from trainkit.exporting._small_weights._rounding import choose_scales, round_in_turn, whole

SHARE = 0.295  # of the bytes of float32, what a file may have whose kernels are of 8 bits
_OVERHEAD = {8: 200, 16: 500}  # bytes of the operations that bring a kernel back
_EVEN = 16  # 2 ** 15 whole numbers, of which float16 has 2 ** 11 below a power of two
_FEWEST = 256  # numbers of a kernel that is worth it


def store_in_16_bits(graph: Graph, readers: Mapping[str, list[Node]]) -> dict[str, StoredKernel]:
    """Round kernels to whole numbers of 16 bits, which is next to nothing."""
    return {
        name: _store(graph.constants[name], nodes[0], None, 16)
        for name, nodes in readers.items()
        if graph.constants[name].size * 2 > _OVERHEAD[16]
    }


def store_in_8_bits(
    graph: Graph, readers: Mapping[str, list[Node]], moments: Mapping[str, np.ndarray], float_bytes: int
) -> dict[str, StoredKernel]:
    """Round kernels to whole numbers of 8 bits; those that lose most by it to 16, as far as the bytes allow that.

    Kernels of one channel each have few bytes, lose most, and each operation more takes time to load: they stay as they
    are, unless the file would be too large.

    Args:
        graph: the graph.
        readers: the kernels, and what reads each.
        moments: of the inputs of those that are worth it, see `worth_8_bits`.
        float_bytes: of the file with kernels of float32.
    """
    fine = store_in_16_bits(graph, readers)
    coarse = {name: _store(graph.constants[name], readers[name][0], moments[name], 8) for name in moments}
    losses = {name: _loss(graph.constants[name], readers[name][0], moments[name], one) for name, one in coarse.items()}
    kernels = {name: kernel for name, kernel in coarse.items() if not _is_depthwise(graph, readers[name][0])}
    depthwise = [name for name in coarse if name not in kernels]
    left = SHARE * float_bytes - (float_bytes - sum(_saved(kernel) for kernel in kernels.values()))
    for better in (fine, coarse):  # where that is too large
        for name in sorted(depthwise, key=lambda name: losses[name] / coarse[name].numbers.size):
            if left < 0 and name in better:
                left += _saved(better[name]) - (_saved(kernels[name]) if name in kernels else 0)
                kernels[name] = better[name]
    for name in sorted(coarse, key=lambda name: losses[name] / coarse[name].numbers.size, reverse=True):
        price = _saved(kernels[name]) - _saved(fine[name]) if name in fine and name in kernels else math.inf
        if kernels.get(name) is coarse[name] and price <= left:
            left -= price
            kernels[name] = fine[name]
    return {name: kernels[name] for name in readers if name in kernels}


def worth_8_bits(graph: Graph, readers: Mapping[str, list[Node]]) -> dict[str, list[Node]]:
    """Return the kernels that are worth rounding to 8 bits."""
    return {name: nodes for name, nodes in readers.items() if graph.constants[name].size >= _FEWEST}


def _is_depthwise(graph: Graph, node: Node) -> bool:
    return node.op == "Conv" and 1 < node.attributes["group"] == graph.shapes[node.inputs[0]][0]


def _saved(kernel: StoredKernel) -> int:
    """Return how many bytes fewer a file has with a kernel stored so."""
    scales = 0 if kernel.bits == 16 and kernel.is_even else 4 * len(kernel.scale)
    return kernel.numbers.size * (4 - kernel.bits // 8) - scales - _OVERHEAD[kernel.bits]


def _store(kernel: np.ndarray, node: Node, moments: np.ndarray | None, bits: int) -> StoredKernel:
    """Round a kernel."""
    axis = output_axis(node)
    by_channel = np.moveaxis(kernel.astype(np.float64), axis, 0)
    flat = by_channel.reshape(len(by_channel), -1)
    if moments is None or bits == 16:
        scales = _scales_of_16_bits(flat)
        numbers = whole(flat, scales, 16).reshape(by_channel.shape)
    else:
        rows = _rows(kernel, node)
        scales = _scales(rows, moments, len(flat), bits)
        numbers = _from_rows(_round(rows, scales, moments, bits), by_channel.shape, node)
    numbers = np.moveaxis(numbers, 0, axis) * (kernel != 0)
    kind = np.int8 if bits == 8 else np.int16
    return StoredKernel(np.ascontiguousarray(numbers.astype(kind)), scales.astype(np.float32), axis)


def _scales_of_16_bits(by_channel: np.ndarray) -> np.ndarray:
    """Return one scale for all channels where each still has as many digits as in float16, which saves bytes."""
    scales = choose_scales(by_channel, np.ones(by_channel.shape[1]), 16)
    largest = np.abs(by_channel).max(axis=1)
    if largest[largest > 0].min(initial=np.inf) >= largest.max() / _EVEN:
        return np.full(len(scales), scales[largest.argmax()])
    return scales


def _rows(kernel: np.ndarray, node: Node) -> np.ndarray:
    """Return a kernel as (groups, rows of a group, inputs): each row is a sum that the layer makes.

    A transposed convolution makes one for each channel and each place in its window.
    """
    values = kernel.astype(np.float64)
    if node.op == "ConvTranspose":
        return values.transpose(1, 2, 3, 0).reshape(1, -1, len(kernel))
    return values.reshape(node.attributes.get("group", 1), -1, math.prod(kernel.shape[1:]))


def _from_rows(rows: np.ndarray, shape: tuple[int, ...], node: Node) -> np.ndarray:
    """Return rows as a kernel, its output channels first."""
    if node.op != "ConvTranspose":
        return rows.reshape(shape)
    outputs, inputs, *window = shape
    return rows.reshape(outputs, *window, inputs).transpose(0, 3, 1, 2)


def _scales(rows: np.ndarray, moments: np.ndarray, channels: int, bits: int) -> np.ndarray:
    groups, _, inputs = rows.shape
    diagonal = np.diagonal(moments, axis1=1, axis2=2).reshape(groups, inputs)
    by_channel = rows.reshape(groups, channels // groups, -1)
    repeats = by_channel.shape[2] // inputs
    found = [
        choose_scales(one, np.tile(squares, repeats), bits) for one, squares in zip(by_channel, diagonal, strict=True)
    ]
    return np.concatenate(found)


def _round(rows: np.ndarray, scales: np.ndarray, moments: np.ndarray, bits: int) -> np.ndarray:
    groups, count, inputs = rows.shape
    by_row = np.repeat(scales, groups * count // len(scales)).reshape(groups, count)
    parts = len(moments) // groups
    width = inputs // parts
    numbers = np.empty_like(rows)
    for group in range(groups):
        for part in range(parts):
            where = slice(part * width, (part + 1) * width)
            one = rows[group, :, where]
            numbers[group, :, where] = round_in_turn(one, by_row[group], moments[group * parts + part], bits)
    return numbers


def _loss(kernel: np.ndarray, node: Node, moments: np.ndarray, stored: StoredKernel) -> float:
    """Return how large the error of a layer's answers is, as a share of their mean square."""
    change = _in_blocks(kernel - stored.restored, node, kernel)
    own = _in_blocks(kernel, node, kernel)
    return float(np.einsum("bri,bij,brj->", change, moments, change, optimize=True)) / max(
        float(np.einsum("bri,bij,brj->", own, moments, own, optimize=True)), float(np.finfo(np.float64).tiny)
    )


def _in_blocks(values: np.ndarray, node: Node, kernel: np.ndarray) -> np.ndarray:
    rows = _rows(values, node)
    count, width = blocks_of(node, kernel)
    return rows.reshape(rows.shape[0], rows.shape[1], -1, width).transpose(0, 2, 1, 3).reshape(count, -1, width)
