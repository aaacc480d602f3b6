"""How good a model is on one part of the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainkit.data.pipeline import Batches
from trainkit.preprocessing import Preprocessing

_BATCH_SIZE = 64
_EPSILON = 1e-7  # as Keras clips probabilities before their logarithm


def class_probabilities(output: np.ndarray) -> np.ndarray:
    """Return `(N, classes)` for what a model gave: a single sigmoid `p` becomes `[1 - p, p]`."""
    return np.hstack([1 - output, output]) if output.shape[1] == 1 else output


def predict_pixels(model: Any, pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return float32 `(N, outputs)` of a Keras model for uint8 pixels as `Preprocessing.to_pixels` has them."""
    batches = Batches(pixels, to_input=preprocessing.to_input, batch_size=_BATCH_SIZE)
    return np.asarray(model.predict(batches, verbose=0))


def measure(probabilities: np.ndarray, labels: np.ndarray, class_names: list[str]) -> dict[str, Any]:
    """Return the figures of a part: `test_accuracy`, `test_loss`, `classes` and `confusion_matrix`, as JSON has them.

    Args:
        probabilities: `(N, classes)`.
        labels: int `(N,)`.
        class_names: of the columns.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    indices = np.arange(len(class_names))
    predicted = probabilities.argmax(axis=1)
    figures = precision_recall_fscore_support(labels, predicted, labels=indices, zero_division=0)
    of_truth = np.clip(probabilities[np.arange(len(labels)), labels].astype(np.float64), _EPSILON, 1 - _EPSILON)
    return {
        "test_accuracy": float((predicted == labels).mean()),
        "test_loss": float(-np.log(of_truth).mean()),
        "classes": [
            {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "images": int(n)}
            for name, p, r, f, n in zip(class_names, *figures, strict=True)
        ],
        "confusion_matrix": confusion_matrix(labels, predicted, labels=indices).tolist(),
    }
