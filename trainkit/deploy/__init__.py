"""Run a bundle, or a model with a manifest written by hand, with OpenCV alone: nothing here ever imports TensorFlow."""

from trainkit.deploy.classify import Classifier, Prediction
from trainkit.deploy.detect import Box, Detection, Detector

__all__ = ["Box", "Classifier", "Detection", "Detector", "Prediction"]
