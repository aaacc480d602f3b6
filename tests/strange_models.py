"""Models that trainkit did not make, for the tests of manifests written by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FACE_DETECTOR: dict[str, Any] = {
    "schema": "trainkit/1",
    "model": {
        "file": "opencv_face_detector_uint8.pb",
        "format": "frozen-graph",
        "graph": "opencv_face_detector.pbtxt",
    },
    "blob": {"scalefactor": 1, "size": [300, 300], "mean": [104, 177, 123], "swapRB": False, "crop": False},
    "output": {"kind": "ssd", "class_names": ["background", "face"], "background": 0, "min_confidence": 0.5},
}
WIDTH, HEIGHT = 5, 4
BY_HAND: dict[str, Any] = {
    "schema": "trainkit/1",
    "model": {"file": "net.onnx", "format": "onnx"},
    "blob": {"scalefactor": 1, "size": [WIDTH, HEIGHT], "mean": [0], "swapRB": False, "crop": False},
    "output": {"kind": "softmax", "class_names": ["a", "b", "c"]},
}


def write_manifest(folder: Path, manifest: dict[str, Any], **sections: dict[str, Any]) -> Path:
    """Write a manifest, with keys of its sections added or changed; `None` takes one out."""
    manifest = {**manifest, **{name: {**manifest.get(name, {}), **values} for name, values in sections.items()}}
    for name in sections:
        manifest[name] = {key: value for key, value in manifest[name].items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _to_onnx(
    nodes: list[Any],
    constants: dict[str, Any],
    *,
    images: int | str,
    width: int,
    height: int,
    output: Sequence[int | str],
    channels: int = 3,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "strange",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [images, channels, height, width])],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, output)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 6
    return bytes(model.SerializeToString())


def fixed_output(values: np.ndarray, *, width: int, height: int) -> bytes:
    """Return a network of one image that answers the same whatever it sees."""
    count = values.size
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["average"]),
        helper.make_node("Conv", ["average", "zero", "values"], ["column"], kernel_shape=[1, 1]),
        helper.make_node("Reshape", ["column", "shape"], ["answer"]),
    ]
    constants = {
        "zero": np.zeros((count, 3, 1, 1), np.float32),
        "values": values.astype(np.float32).ravel(),
        "shape": np.array(values.shape, np.int64),
    }
    return _to_onnx(nodes, constants, images=1, width=width, height=height, output=values.shape)


def mean_color(*, width: int, height: int, channels: int = 3) -> bytes:
    """Return a network whose outputs are the means of its input channels, for any number of images."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["average"]),
        helper.make_node("Flatten", ["average"], ["answer"], axis=1),
    ]
    return _to_onnx(nodes, {}, images="N", width=width, height=height, output=("N", channels), channels=channels)


def color_detector(*, side: int = 64, cell: int = 16) -> bytes:
    """Return an SSD, made of OpenCV's own PriorBox and DetectionOutput, that finds red cells (1) and blue ones (2).

    Its input is RGB, 0 to 1, `(N, 3, side, side)`; each cell of the image is a prior box.
    """
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[1, :, 0, 0] = (20, -20, -20)
    kernel[2, :, 0, 0] = (-20, -20, 20)
    constants = {
        "kernel": kernel,
        "bias": np.array([0, -8, -8], np.float32),
        "no_shift": np.zeros((4, 3, 1, 1), np.float32),
        "rows_of_three": np.array([0, -1, 3], np.int64),
    }
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Conv", ["cells", "kernel", "bias"], ["scores"], kernel_shape=[1, 1]),
        helper.make_node("Transpose", ["scores"], ["scores_last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["scores_last", "rows_of_three"], ["score_rows"]),
        helper.make_node("Softmax", ["score_rows"], ["confidence_rows"], axis=2),
        helper.make_node("Flatten", ["confidence_rows"], ["confidences"], axis=1),
        helper.make_node("Conv", ["cells", "no_shift"], ["shifts"], kernel_shape=[1, 1]),
        helper.make_node("Flatten", ["shifts"], ["shift_rows"], axis=1),
        helper.make_node(
            "PriorBox", ["cells", "image"], ["priors"], min_size=float(cell), step=float(cell), offset=0.5, flip=0,
            clip=0, variance=[0.1, 0.1, 0.2, 0.2],
        ),
        helper.make_node(
            "DetectionOutput", ["shift_rows", "confidences", "priors"], ["found"], num_classes=3, share_location=1,
            background_label_id=0, nms_threshold=0.45, top_k=100, keep_top_k=50, code_type="CENTER_SIZE",
            confidence_threshold=0.01,
        ),
    ]  # fmt: skip
    return _to_onnx(nodes, constants, images="N", width=side, height=side, output=(1, 1, "found", 7))


COLOR_DETECTOR: dict[str, Any] = {
    "schema": "trainkit/1",
    "model": {"file": "colors.onnx", "format": "onnx"},
    "blob": {"scalefactor": 1 / 255, "size": [64, 64], "mean": [0, 0, 0], "swapRB": True, "crop": False},
    "output": {"kind": "ssd", "class_names": ["background", "red", "blue"], "background": 0},
}


def write_color_detector(folder: Path, **sections: dict[str, Any]) -> Path:
    """Write a folder with the detector of colours and its manifest."""
    write_manifest(folder, COLOR_DETECTOR, **sections)
    (folder / "colors.onnx").write_bytes(color_detector())
    return folder


def colored_cells(cells: dict[tuple[int, int], str], *, side: int = 64, cell: int = 16) -> np.ndarray:
    """Return a grey image, uint8 `(side, side, 3)` BGR, with the cells at (column, row) painted."""
    image = np.full((side, side, 3), 90, np.uint8)
    for (column, row), color in cells.items():
        image[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = {
            "red": (0, 0, 255),
            "blue": (255, 0, 0),
        }[color]
    return image


def protobuf(*fields: tuple[int, int | bytes]) -> bytes:
    """Return a protobuf message: whole numbers become varints, everything else has its length before it."""
    message = b""
    for number, value in fields:
        if isinstance(value, int):
            message += _varint(number << 3) + _varint(value)
        else:
            message += _varint(number << 3 | 2) + _varint(len(value)) + value
    return message


def _varint(value: int) -> bytes:
    head = b""
    while value > 127:
        head += bytes([value & 127 | 128])
        value >>= 7
    return head + bytes([value])


def blob_proto(values: np.ndarray, *, legacy: bool = False) -> bytes:
    """Return an array as Caffe's BlobProto; `legacy` with the four sides as numbers of their own."""
    data = (5, np.asarray(values, "<f4").tobytes())
    if legacy:
        sides: Sequence[int] = (1,) * (4 - values.ndim) + values.shape
        return protobuf(*enumerate(sides, 1), data)
    return protobuf((7, protobuf((1, b"".join(map(_varint, values.shape))))), data)


def write_caffe_model(folder: Path, kernel: np.ndarray, bias: np.ndarray, *, width: int, height: int) -> None:
    """Write `net.prototxt` and `net.caffemodel`: a fully connected layer `(classes, 3 * height * width)`, a softmax."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.prototxt").write_text(
        f"""name: "strange"
input: "data"
input_shape {{ dim: 1 dim: 3 dim: {height} dim: {width} }}
layer {{ name: "dense" type: "InnerProduct" bottom: "data" top: "dense"
        inner_product_param {{ num_output: {len(bias)} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "dense" top: "prob" }}
"""
    )
    layer = protobuf((1, b"dense"), (2, b"InnerProduct"), (7, blob_proto(kernel)), (7, blob_proto(bias)))
    (folder / "net.caffemodel").write_bytes(protobuf((1, b"strange"), (100, layer)))
