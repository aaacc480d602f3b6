"""Run a bundle, or a model with a manifest written by hand, with OpenCV alone: nothing here ever imports TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.deploy.python._classifier import Classifier
    from trainkit.deploy.python._detector import Detector
    from trainkit.deploy.python._values import Box, Detection, Prediction

__all__ = ["Box", "Classifier", "Detection", "Detector", "Prediction"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Box": "trainkit.deploy.python._values",
        "Classifier": "trainkit.deploy.python._classifier",
        "Detection": "trainkit.deploy.python._values",
        "Detector": "trainkit.deploy.python._detector",
        "Prediction": "trainkit.deploy.python._values",
    },
)
