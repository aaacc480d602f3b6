"""What comes into the layers of a graph: the second moments of their inputs on some images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from onnx import helper

from trainkit.exporting._graph import INPUT, Graph, Node
from trainkit.exporting._onnx_graph import to_onnx
from trainkit.exporting._onnxruntime import load_onnxruntime

_ROWS = 64  # pixels of a layer that are looked at, of each image
_WIDEST = 1536  # inputs of which each two are looked at together


def measure_moments(
    graph: Graph, readers: Mapping[str, list[Node]], blobs: Iterable[np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the mean product of each two inputs that meet a kernel, by kernel.

    Where many inputs meet in one sum, blocks of them are looked at: those of two blocks are taken for independent.

    Args:
        graph: the graph with its own weights.
        readers: the kernels, and what reads each.
        blobs: images (N, C, H, W), so many at a time as memory should hold.

    Returns:
        float64 (groups * blocks, inputs of a block, inputs of a block), a kernel.
    """
    values = list(dict.fromkeys(node.inputs[0] for nodes in readers.values() for node in nodes))
    run = _open(graph, [name for name in values if name != INPUT])
    totals: dict[str, Any] = dict.fromkeys(readers, 0.0)
    counts = dict.fromkeys(readers, 0)
    for number, blob in enumerate(blobs):
        found = {INPUT: blob, **run(blob)}
        for name, nodes in readers.items():
            for node in nodes:
                rows = _rows(node, found[node.inputs[0]], graph.constants[name], np.random.default_rng(number))
                parts = rows.reshape(len(rows), *blocks_of(node, graph.constants[name])).transpose(1, 2, 0)
                totals[name] = totals[name] + parts @ parts.transpose(0, 2, 1)
                counts[name] += len(rows)
    return {name: np.asarray(total, np.float64) / counts[name] for name, total in totals.items()}


def blocks_of(node: Node, kernel: np.ndarray) -> tuple[int, int]:
    """Return in how many blocks the inputs of a layer are looked at, and how many there are in each."""
    group = node.attributes.get("group", 1)
    inputs = len(kernel) if node.op == "ConvTranspose" else math.prod(kernel.shape[1:])
    parts = next(parts for parts in range(math.ceil(inputs / _WIDEST), inputs + 1) if inputs % parts == 0)
    return group * parts, inputs // parts


def _open(graph: Graph, names: list[str]) -> Any:
    """Return what runs a graph in onnxruntime up to some of its values."""
    proto = to_onnx(graph, "softmax", {})
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda blob: dict(zip(names, session.run(names, {INPUT: blob}) if names else [], strict=True))


def _rows(node: Node, value: np.ndarray, kernel: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return what meets a kernel at some pixels of each image, (rows, all inputs)."""
    if value.ndim == 2:
        return value
    if node.op != "Conv":
        count, channels = value.shape[:2]
        pixels = value.reshape(count, channels, -1)
        chosen = _choose(random, count, pixels.shape[2])
        return np.asarray(pixels[np.arange(count)[:, None], :, chosen]).reshape(-1, channels)
    top, left, bottom, right = node.attributes["pads"]
    padded = np.pad(value, ((0, 0), (0, 0), (top, bottom), (left, right)))
    window, steps, strides = kernel.shape[2:], node.attributes["dilations"], node.attributes["strides"]
    reach = [(side - 1) * step + 1 for side, step in zip(window, steps, strict=True)]
    height, width = ((padded.shape[2 + axis] - reach[axis]) // strides[axis] + 1 for axis in (0, 1))
    chosen = _choose(random, len(value), height * width)
    images = np.arange(len(value))[:, None]
    y, x = chosen // width * strides[0], chosen % width * strides[1]
    taps = [
        padded[images, :, y + row * steps[0], x + column * steps[1]]
        for row in range(window[0])
        for column in range(window[1])
    ]
    return np.stack(taps, axis=-1).reshape(chosen.size, -1)


def _choose(random: np.random.Generator, images: int, pixels: int) -> np.ndarray:
    """Return numbers of pixels, (images, as many as are looked at)."""
    if pixels <= _ROWS:
        return np.broadcast_to(np.arange(pixels), (images, pixels))
    return np.stack([random.choice(pixels, _ROWS, replace=False) for _ in range(images)])
