"""Run a bundle, or a model with a manifest written by hand, with OpenCV alone: nothing here ever imports TensorFlow."""

from trainkit.deploy.classify import Box, Classifier, Detection, Detector, Prediction

__all__ = ["Box", "Classifier", "Detection", "Detector", "Prediction"]
