"""The file of the best model, written again and again while a head is trained: all but the head stays as it is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trainkit.backend import keras
from trainkit.models._hdf5_checks import WEIGHTS_MEMBER


class ModelFile:
    """A `.keras` file that is written again whenever the model in it is better than before.

    Keras takes a fifth of a second to write a backbone of a hundred layers, ten times as long as an epoch of its head
    takes. So the first file is Keras' own, and those after it are that one with other values in some of its arrays.
    """

    def __init__(self, path: Path, changing: Sequence[Any]) -> None:
        """Write at a path.

        Args:
            path: where the file is in the end.
            changing: all weights of the model whose values may be others the next time.
        """
        self._path, self._changing = path, list(changing)
        self._is_new = True
        self._places: list[str] | None = None  # of the variables, in the file that was written last

    def save(self, model: Any, temporary: Path) -> None:
        """Write a model, always the same one, to a temporary file that takes the place of the last one."""
        if self._places and self._path.is_file():
            self._save_changes(temporary, self._places)
            return
        model.save(temporary)
        if self._is_new and self._are_few_of(model):
            self._places = _find_places(temporary, self._changing)
        self._is_new = False

    def _are_few_of(self, model: Any) -> bool:
        """Whether what changes is a part of the model, and a small one: else all would have to be written anyway."""
        known = {id(variable) for variable in model.weights}
        return 2 * len(self._changing) < len(known) and all(id(variable) in known for variable in self._changing)

    def _save_changes(self, temporary: Path, places: Sequence[str]) -> None:
        with zipfile.ZipFile(self._path) as before, zipfile.ZipFile(temporary, "w") as after:
            for member in before.infolist():
                content = before.read(member)
                if member.filename == WEIGHTS_MEMBER:
                    content = _replace(content, dict(zip(places, map(_value, self._changing), strict=True)))
                after.writestr(member.filename, content)


def _value(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _find_places(path: Path, variables: Sequence[Any]) -> list[str] | None:
    """Return the array of a file in which each variable is; `None` where that cannot be told with certainty.

    Keras names them by a layer's class and number, and documents neither. But each variable has just been written: if
    one array alone has its values, it is that one.
    """
    with zipfile.ZipFile(path) as archive:
        file = io.BytesIO(archive.read(WEIGHTS_MEMBER))
    arrays: dict[str, h5py.Dataset] = {}
    with h5py.File(file, "r") as weights:
        weights.visititems(lambda name, item: arrays.update({name: item} if isinstance(item, h5py.Dataset) else {}))
        places = []
        for value in map(_value, variables):
            found = [name for name, array in arrays.items() if _holds(array, value)]
            if len(found) != 1:
                return None
            places += found
    return places


def _holds(array: h5py.Dataset, value: np.ndarray) -> bool:
    same_kind = array.shape == value.shape and array.dtype == value.dtype
    return bool(same_kind and array[()].tobytes() == value.tobytes())


def _replace(weights: bytes, values: dict[str, np.ndarray]) -> bytes:
    """Return the bytes of an HDF5 file with other values in some of its arrays."""
    file = io.BytesIO(weights)
    with h5py.File(file, "r+") as opened:
        for name, value in values.items():
            opened[name][...] = value
    return file.getvalue()
