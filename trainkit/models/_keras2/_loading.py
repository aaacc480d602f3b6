"""Files of Keras 2, `.h5` and `.keras`: looked at, built again, and given their weights."""

from __future__ import annotations

import io
import logging
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from trainkit.errors import ModelError
from trainkit.models._calling import cause_of
from trainkit.models._file_checks import as_plain_model, check_config
from trainkit.models._keras2._building import build_part
from trainkit.models._keras2._parts import Part
from trainkit.models._keras2._weights import assign_archive, assign_hdf5
from trainkit.models._keras2._words import migrate

log = logging.getLogger("trainkit")


def is_keras_2(version: Any) -> bool:
    """Whether a file says that Keras 2 wrote it, or Keras 1."""
    text = version if isinstance(version, str) else bytes(version).decode("utf-8", "replace")
    return text.startswith(("1.", "2."))


def load_keras_2_hdf5(path: Path, config: Any, version: Any, group: Any, unsafe: bool) -> Any:
    """Build the model of an `.h5`, with its weights.

    Args:
        path: for messages.
        config: `model_config`.
        version: of Keras, as the file says it.
        group: `model_weights`, in which no link leads out of the file.
        unsafe: build Lambdas and classes that the caller has registered.

    Raises:
        ModelError: Keras 3 cannot build it, or not safely; names the layer.
    """
    with _naming(path):
        part = _build(path, config, unsafe)
        assign_hdf5(part, group)
    _warn_of_random_crop(config, str(version))
    return part.layer


def load_keras_2_archive(path: Path, config: Any, unsafe: bool) -> Any:
    """Build the model of a `.keras` file whose members were looked at, with its weights.

    Raises:
        ModelError: Keras 3 cannot build it, or not safely; names the layer.
    """
    with zipfile.ZipFile(path) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with _naming(path), h5py.File(weights, "r") as file:
        part = _build(path, config, unsafe)
        assign_archive(part, file)
    return part.layer


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say that a file is of Keras 2, and what helps then: Keras 3 could not save it again."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # Keras and h5py raise whatever they meet
        if "Could not locate" in str(error) or "Lambda" in str(error) or _misses_a_name(error):
            raise  # code of the author's own
        raise ModelError(
            f"{path} was written by Keras 2, and cannot be loaded as a Keras model ({cause_of(error)}). Build the "
            "model in Keras 3 with the code that it was built with, load the weights of an .h5 with "
            "model.load_weights(), and give trainkit.export() the model itself."
        ) from error


def _misses_a_name(error: BaseException | None) -> bool:
    """Whether the function of a Lambda did not find a name: Keras wraps this in an error of its own."""
    while error is not None and not isinstance(error, NameError):
        error = error.__cause__ or error.__context__
    return error is not None


def _build(path: Path, config: Any, unsafe: bool) -> Part:
    migrated = migrate(as_plain_model(config))
    check_config(path, {"config": migrated}, unsafe)
    return build_part(migrated, unsafe=unsafe)


def _warn_of_random_crop(config: Any, version: str) -> None:
    """Say which layers answer otherwise than in the Keras that wrote the file."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None or (int(found[1]), int(found[2])) >= (2, 6):
        return
    for name in _names_of("RandomCrop", config):
        log.warning(
            "The layer `%s` (RandomCrop) answers a little otherwise than in Keras %s, which resized the whole image "
            "before it cropped its middle: probabilities may differ by 0.01. Compare some answers.",
            name,
            version,
        )


def _names_of(kind: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value.get("class_name") == kind:
        yield str(value["config"].get("name"))
    if isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _names_of(kind, entry)
