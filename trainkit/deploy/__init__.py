"""Run an exported bundle with OpenCV alone: nothing here ever imports TensorFlow."""

from trainkit.deploy.classify import Classifier, Prediction

__all__ = ["Classifier", "Prediction"]
