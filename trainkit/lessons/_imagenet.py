"""What a network that knows ImageNet's thousand classes sees on a photograph: `keras.applications` as they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit._progress import counting, counting_chunks, doing
from trainkit.data._inspection import check_image_file, read_image
from trainkit.errors import UsageError
from trainkit.runs._predictions import build_predictions, check_predictions_target, save_predictions

_BATCH = 16  # images that are decoded and predicted together


def classify(
    images: Sequence[str | Path] | str | Path,
    *,
    model: str = "mobilenet",
    weights: str | Path = "imagenet",
    alpha: float | None = None,
    top: int = 5,
    predictions: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Classify image files by a network of `keras.applications`, each in its own size and with its own preprocessing.

    Args:
        images: files; one of them alone may be given as it is.
        model: one of `trainkit.models._applications.APPLICATIONS`, or its name in Keras.
        weights: `imagenet`, or a file with the weights of the whole network, its 1,000 classes included.
        alpha: the width of mobilenet, mobilenet-v2 or mobilenet-v3.
        top: labels an image, at most.
        predictions: a `.csv` file for a row an image, or a folder for the same as Parquet.

    Returns:
        `{"image", "predictions": [{"label", "probability"}]}` for each image, the most probable label first.

    Raises:
        UsageError: the model is unknown, does not come so, or would have random weights.
        DataError: a file is no image.
        OutputError: the predictions exist already or cannot be written.
        WeightsError: the weights or the class names are not here and cannot be downloaded, or do not fit.
    """
    from trainkit.models._applications import find_application

    name = find_application(model)
    if top < 1:
        raise UsageError(f"`top` must be at least 1. Received: {top}")
    if str(weights) == "none":
        raise UsageError("A network with random weights says nothing about a photograph. Name a file, or leave it out.")
    if predictions is not None:
        check_predictions_target(Path(predictions))
    paths = [Path(images)] if isinstance(images, (str, Path)) else [Path(image) for image in images]
    for path in counting(paths, "Looking at the files", unit="files"):
        check_image_file(path)
    with doing("Building the network"):
        network = _Network(name, str(weights), alpha)
    results, rows = [], []
    for first in counting_chunks(len(paths), _BATCH, "Classifying"):
        some = paths[first : first + _BATCH]
        pixels = np.stack([network.resize(read_image(path)) for path in some])
        for path, probabilities in zip(some, network.predict(pixels), strict=True):
            best = np.argsort(-probabilities, kind="stable")[:top]
            rows.append(probabilities)
            found = [{"label": network.class_names[i], "probability": float(probabilities[i])} for i in best]
            results.append({"image": str(path.absolute()), "predictions": found})
    if predictions is not None:
        files = [str(path.absolute()) for path in paths]
        found_all = build_predictions(files, np.stack(rows), network.class_names, output={})
        save_predictions(found_all, Path(predictions))
    return results


class _Network:
    """A network with its weights, its size, its preprocessing and its class names."""

    def __init__(self, name: str, weights: str, alpha: float | None) -> None:
        import sys

        from trainkit.backend import keras
        from trainkit.models._applications import APPLICATIONS, build_application, load_imagenet_names

        self._model = build_application(name, weights=weights, alpha=alpha)
        self.class_names = load_imagenet_names()
        home = getattr(keras.applications, APPLICATIONS[name]).__module__
        self._preprocess = sys.modules[home].preprocess_input  # of the module that the network is made in

    def resize(self, image_bgr: np.ndarray) -> np.ndarray:
        """Return an image, uint8 `(height, width, 3)`, in the network's size."""
        height, width = self._model.input_shape[1:3]
        return np.asarray(cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_LINEAR))

    def predict(self, pixels_bgr: np.ndarray) -> np.ndarray:
        """Return `(N, 1000)` for uint8 `(N, height, width, 3)`, BGR, in the network's size."""
        rgb = pixels_bgr[..., ::-1].astype(np.float32)
        return np.asarray(self._model.predict(self._preprocess(rgb), verbose=0))
