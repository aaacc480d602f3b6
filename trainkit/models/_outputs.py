"""A run's model, and what its outputs mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import doing
from trainkit.backend import keras
from trainkit.errors import RunError
from trainkit.models._calling import cause_of


def load_keras_model(path: Path) -> Any:
    """Load a `.keras` file, whose layers must all be Keras' own: nothing in it is executed.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        with doing("Loading the network"):
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # zip, JSON, h5py and Keras raise whatever they meet in a damaged file
        raise RunError(
            f"{path} cannot be loaded as a Keras model ({cause_of(error)}). Train it again, or name another file."
        ) from error


def class_probabilities(output: np.ndarray) -> np.ndarray:
    """Return `(N, classes)` for what a model gave: a single sigmoid `p` becomes `[1 - p, p]`."""
    return np.hstack([1 - output, output]) if output.shape[1] == 1 else output
