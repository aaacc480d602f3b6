"""A bundle's graph in cv2.dnn and in onnxruntime, and its Keras model: each opened once, each a function of a blob."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._model import read_net
from trainkit.errors import BundleError, TrainkitError
from trainkit.exporting._onnxruntime import load_onnxruntime

# onnxruntime's messages name a place in its own source, with the function's whole signature, before the reason.
_SOURCE_PLACE = re.compile(r"(?:[A-Za-z]:\\|/)\S+\.(?:cc|h):\d+ [^()]*\([^()]*\)\s*")

Forward = Callable[[np.ndarray], np.ndarray]  # a blob (N, C, H, W) becomes (N, classes)


def open_runtimes(client: Classifier, *, threads: int | None = None) -> dict[str, Forward]:
    """Open a bundle's own graph in every runtime that reads its format.

    Args:
        client: the bundle, as OpenCV has opened it.
        threads: of onnxruntime; as many as it likes by default.
    """
    path, is_onnx = graph_of(client)
    onnxruntime = {"onnxruntime": open_onnxruntime(path, threads)} if is_onnx else {}
    return {"opencv": client.forward, **onnxruntime}


def open_logits(client: Classifier, folder: Path) -> dict[str, Forward]:
    """Open what `open_runtimes` does, ending in the logits; the files of that are written into a folder.

    OpenCV cannot be asked for an inner value where it has fused layers, so a graph of its own ends there.
    """
    path, is_onnx = graph_of(client)
    if is_onnx:
        from trainkit.exporting._onnx_graph import save_logits_model
    else:
        from trainkit.exporting._frozen_graph import save_logits_model
    logits_model = folder / path.name
    with _naming("onnx" if is_onnx else "TensorFlow", path):
        save_logits_model(path, logits_model)
    onnxruntime = {"onnxruntime": open_onnxruntime(logits_model)} if is_onnx else {}
    return {"opencv": _open_opencv(client, logits_model), **onnxruntime}


def graph_of(client: Classifier) -> tuple[Path, bool]:
    """Return the file of a bundle's graph, and whether it is ONNX: else it is a frozen graph."""
    model = client.manifest["model"]
    return client.folder / model["file"], model["format"] == "onnx"


def _open_opencv(client: Classifier, path: Path) -> Forward:
    """Open another graph as the bundle says that its own is to be opened."""
    net = read_net(
        path.read_bytes(), client.manifest["model"]["format"], client.manifest.get("opencv", {}).get("engine")
    )

    def forward(blob: np.ndarray) -> np.ndarray:
        try:
            net.setInput(blob)
            return np.array(net.forward()).reshape(len(blob), -1)
        except (cv2.error, ValueError) as error:
            raise _does_not_take(blob, error) from error

    return forward


def open_onnxruntime(path: Path, threads: int | None = None) -> Forward:
    """Open an ONNX file on the CPU.

    Raises:
        BundleError: onnxruntime refuses what OpenCV may read.
    """
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it would write there, the exception says
    if threads is not None:
        options.intra_op_num_threads = threads
    with _naming("onnxruntime", path):
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name

    def forward(blob: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(session.run(None, {name: blob})[0], np.float32).reshape(len(blob), -1)
        except Exception as error:  # onnxruntime's errors share no class of their own
            raise _does_not_take(blob, error) from error

    return forward


@contextmanager
def _naming(reader: str, path: Path) -> Iterator[None]:
    """Say in a sentence what a reader other than OpenCV refuses; the errors of these share no class of their own."""
    try:
        yield
    except TrainkitError:
        raise
    except Exception as error:
        said = _SOURCE_PLACE.sub("", " ".join(str(error).split()))
        reason = said.replace(str(path.absolute()), path.name)[:200]
        raise BundleError(
            f"OpenCV reads {path.name}, and {reader} does not ({reason}). To compare the two, export the model again."
        ) from error


def open_keras(open_model: Callable[[], Any], threads: int) -> Callable[[np.ndarray], Callable[[], object]]:
    """Load a Keras model and return what makes of a blob the work of predicting it, its axes turned beforehand.

    Raises:
        TrainkitError: TensorFlow runs already, with another number of threads.
    """
    from trainkit.models._calling import calling

    _set_tensorflow_threads(threads)
    model = open_model()

    def prepare(blob: np.ndarray) -> Callable[[], object]:
        batch_nhwc = np.ascontiguousarray(blob.transpose(0, 2, 3, 1))
        predict = partial(model.predict, batch_nhwc, batch_size=len(batch_nhwc), verbose=0)
        with calling(model, "run"):  # what is timed must not be slowed down by looking after it
            predict()
        return predict

    return prepare


def _set_tensorflow_threads(threads: int) -> None:
    from trainkit.backend import tf

    running = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()  # 0: as many as cores
    if running == threads:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise TrainkitError(
            f"TensorFlow runs already, with {running} threads. Expected {threads}: measure in a process of its own."
        ) from error


def version_of_runtime(name: str) -> str:
    """Return the version of `opencv` or `onnxruntime`."""
    if name == "opencv":
        return str(cv2.__version__)
    return str(load_onnxruntime().__version__)


def _does_not_take(blob: np.ndarray, error: Exception) -> BundleError:
    reason = " ".join(str(error).split())[:200]
    return BundleError(
        f"The model does not take the blob {blob.shape} that the manifest describes ({reason}). Export it again."
    )
