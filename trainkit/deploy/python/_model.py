"""A model file: checked against the manifest, and loaded into cv2.dnn."""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path
from typing import Any, Dict, List

import cv2
import numpy as np

from trainkit.deploy.python._graph import check_graph
from trainkit.deploy.python._manifest import find_beside, read_bytes
from trainkit.deploy.python._opencv import has_engines
from trainkit.deploy.python._values import MAX_MODEL_BYTES, BundleError


def read_model(folder: Path, model: Dict[str, Any]) -> bytes:
    """Return the bytes of the model file; raise unless they are those that the manifest describes."""
    path = find_beside(folder, model["file"], "model", MAX_MODEL_BYTES)
    size = path.stat().st_size
    if size != model.get("bytes", size):  # before so much is read
        raise BundleError(f"{path} has {size} bytes; the manifest says {model['bytes']}. Copy the bundle again.")
    data = read_bytes(path)
    if hashlib.sha256(data).hexdigest() != model.get("sha256", hashlib.sha256(data).hexdigest()):
        raise BundleError(f"{path} does not match the sha256 in the manifest: it was changed. Copy the bundle again.")
    return data


def reason_of(error: Exception) -> str:
    """Return what OpenCV says in one line, without the path of its own source file."""
    return re.sub(r"^OpenCV\([^)]*\) \S+ ", "", " ".join(str(error).split()))[:200]


def read_net(data: bytes, model_format: str, engine: str | None = None, *, graph: bytes | None = None) -> Any:
    """Check a network and load it into cv2.dnn.

    Args:
        data: the bytes of the model file. Not its path: what was checked is what is loaded.
        model_format: `onnx`, `frozen-graph` or `caffe`.
        engine: `classic`, `new` or `auto`; OpenCV 4 has no such choice and ignores it. A frozen graph needs `classic`:
            the new engine of 5.0 ends the process on some of them.
        graph: the bytes of a frozen graph's `.pbtxt`, where it has one, or of Caffe's `.prototxt`.

    Raises:
        BundleError: OpenCV cannot read the model, or it is not safe to let OpenCV try; see `check_graph`. What only
            shows when it is tried is for `Network` to find.
        ValueError: there is no such engine.
    """
    check_graph(data, model_format, graph, "The model")
    return load_net(data, model_format, engine, graph=graph)


def load_net(data: bytes, model_format: str, engine: str | None = None, *, graph: bytes | None = None) -> Any:
    """Load a network that was checked into cv2.dnn; see `read_net`."""
    if engine not in (None, "classic", "new", "auto"):
        raise ValueError(f"`engine` must be classic, new or auto. Received: {engine!r}")
    if model_format == "frozen-graph":
        engine = "classic"
    read_caffe = getattr(cv2.dnn, "readNetFromCaffe", None)
    if model_format == "caffe" and read_caffe is None:
        raise BundleError(
            f"OpenCV {cv2.__version__} reads no Caffe models any more. Take an OpenCV before 5.0, or convert the model "
            "to ONNX."
        )
    arguments = [getattr(cv2.dnn, "ENGINE_" + engine.upper())] if engine and has_engines() else []
    text = np.frombuffer(_shift_channels(graph), np.uint8) if graph else np.empty(0, np.uint8)
    try:
        if read_caffe is not None and model_format == "caffe":
            return read_caffe(text, np.frombuffer(data, np.uint8))
        if model_format == "frozen-graph":
            return cv2.dnn.readNetFromTensorflow(np.frombuffer(data, np.uint8), text, *arguments)
        if engine and has_engines():
            return _read_onnx_by_path(data, arguments)
        return cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8), *arguments)
    except cv2.error as error:
        raise BundleError(
            f"OpenCV {cv2.__version__} cannot read the model ({reason_of(error)}). Copy or export the bundle again."
        ) from error


def run_net(net: Any, blob_nchw: np.ndarray) -> np.ndarray:
    """Run a network on `(N, C, H, W)` and return what comes out of it, float32, nothing where nothing comes.

    Raises:
        BundleError: OpenCV cannot run it.
    """
    try:
        net.setInput(blob_nchw)
        output = net.forward()
    except cv2.error as error:
        raise BundleError(
            f"OpenCV {cv2.__version__} cannot run the model ({reason_of(error)}). Copy or export the bundle again."
        ) from error
    return np.array([] if output is None else output, np.float32)  # a copy: the net writes over its own


def _shift_channels(graph: bytes) -> bytes:
    """Let a graph's biases behind a product work for several images at once.

    OpenCV reads a BiasAdd that follows no convolution as a Shift along the batch, which is right for one image only and
    fails for more (https://github.com/opencv/opencv/issues/13626). As a Scale along the channels it is right for all.
    """
    products = set(re.findall(rb'name:\s*"([^"]*)"\s*op:\s*"Mul"', graph))
    scale = b' attr { key: "axis" value { i: 1 } } attr { key: "bias_term" value { b: true } }'
    return re.sub(
        rb'op:\s*"BiasAdd"(\s*input:\s*"([^"]*)"\s*input:\s*"[^"]*")',
        lambda node: b'op: "Scale"' + node[1] + scale if node[2] in products else node[0],
        graph,
    )


def _read_onnx_by_path(data: bytes, arguments: List[Any]) -> Any:
    """Read ONNX from a file: OpenCV 5.0.0 ignores the engine that is asked for with a buffer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(data)
        return cv2.dnn.readNetFromONNX(str(path), *arguments)
