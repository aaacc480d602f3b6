"""What the networks share: the last layer, and weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainkit.errors import ModelError, WeightsError

WEIGHT_SUFFIXES = (".h5", ".keras")


def build_classes(class_count: int, *, multi_label: bool = False) -> Any:
    """Return the last layer.

    That is one sigmoid unit for two classes (the probability of the second), else a softmax; where an image may have
    several classes, a sigmoid unit for each, also for two.
    """
    from trainkit.backend import keras

    if multi_label:
        return keras.layers.Dense(class_count, activation="sigmoid", name="classes")
    if class_count == 2:
        return keras.layers.Dense(1, activation="sigmoid", name="classes")
    return keras.layers.Dense(class_count, activation="softmax", name="classes")


def check_weights_file(weights: str) -> Path:
    """Return the path of a weights file that exists, is of a kind that holds no code, and does not lead out of itself.

    Raises:
        WeightsError: it is missing, no `.h5` or `.keras`, damaged, or not safe.
    """
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(
            f"No such weights file: {weights}. Expected imagenet, none, or a .weights.h5, .h5 or .keras file."
        )
    if path.suffix not in WEIGHT_SUFFIXES:
        raise WeightsError(f"{weights} is no weights file. Expected .weights.h5, .h5 or .keras.")
    _check_contents(path)
    return path


def _check_contents(path: Path) -> None:
    """Look at a file in the form that Keras takes its suffix for."""
    from trainkit.models._archive_checks import check_archive
    from trainkit.models._hdf5_checks import open_hdf5

    try:
        if path.suffix == ".keras":
            check_archive(path)
        else:
            with open_hdf5(path):
                pass
    except ModelError as error:
        raise WeightsError(str(error)) from error
    except Exception as error:  # zipfile and h5py raise whatever they meet in a damaged file
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"The weights in {path} cannot be read ({reason}). Save or download them again.") from error


def load_weights(model: Any, weights: str) -> Any:
    """Load a file of a model's own weights into it, where `weights` is not `none`; return the model.

    Raises:
        WeightsError: the file is missing or does not fit.
    """
    if weights != "none":
        path = check_weights_file(weights)
        try:
            model.load_weights(path)
        except Exception as error:  # h5py and Keras raise what they meet in a file of another shape
            raise does_not_fit(path, model.name, error) from error
    return model


def does_not_fit(path: Path, model_name: str, error: Exception) -> WeightsError:
    """Say in one line that a weights file belongs to another network."""
    reason = " ".join(str(error).split())[:200]
    return WeightsError(
        f"The weights in {path} do not fit {model_name} ({reason}). Give a file saved from the same network."
    )
