"""A run's model, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import doing
from trainkit.errors import ModelError, RunError
from trainkit.models._calling import cause_of


def load_keras_model(path: Path) -> Any:
    """Load a `.keras` file, whose layers must all be Keras' own: nothing in it is executed.

    Raises:
        RunError: it is missing, damaged or not safe.
    """
    from trainkit.models._loading import load_archive

    with _naming(path), doing("Loading the network"):
        return load_archive(path)


def load_best_weights(model: Any, path: Path) -> None:
    """Give a model the weights of a run's `.keras` file, which must lie in it.

    Raises:
        RunError: it is missing, damaged or not safe.
    """
    from trainkit.models._archive_checks import check_archive

    with _naming(path), doing("Loading the best weights"):
        check_archive(path)
        model.load_weights(path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        raise RunError(f"{error} Train it again, or name another file.") from error
    except Exception as error:  # zip, JSON, h5py and Keras raise whatever they meet in a damaged file
        raise RunError(
            f"{path} cannot be loaded as a Keras model ({cause_of(error)}). Train it again, or name another file."
        ) from error


def check_outputs(model: Any, class_names: list[str]) -> None:
    """Raise unless a run's model has an output for each of its classes, or one for two.

    Raises:
        RunError: says how many there are.
    """
    outputs = tuple(model.output_shape) if isinstance(model.output_shape, tuple) else ()
    if len(outputs) != 2 or outputs[1] not in (len(class_names), *((1,) if len(class_names) == 2 else ())):
        raise RunError(
            f"The run is damaged: its model gives {model.output_shape}, and labels.txt has {len(class_names)} class "
            "names. Train it again."
        )


def class_probabilities(output: np.ndarray) -> np.ndarray:
    """Return `(N, classes)` for what a model gave: a single sigmoid `p` becomes `[1 - p, p]`."""
    return np.hstack([1 - output, output]) if output.shape[1] == 1 else output
