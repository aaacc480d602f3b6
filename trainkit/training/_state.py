"""What an interrupted training goes on from: one file, written whole after each epoch.

Keras' own files are not enough: they leave out the generators behind dropout, and what callbacks remember.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.backend import keras
from trainkit.errors import RunError
from trainkit.files import make_folder, write_bytes
from trainkit.runs._documents import MAX_BYTES, check_keys, parse_json_object

STATE_FILE = Path("state", "training.npz")


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far a training has come, besides the values of its variables; JSON as it stands."""

    phase: str = ""  # its name
    phase_index: int = 0
    phase_epochs: int = 0  # finished ones of this phase
    epochs: int = 0  # finished ones, over all phases
    stopped: bool = False  # whether the phase was ended early
    seconds: float = 0.0  # of fitting
    best_epoch: int | None = None
    best_score: list[float] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)  # of metrics.csv
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)  # class name to what it remembers


def variables_of(model: Any) -> list[Any]:
    """Return everything that training changes: weights, seed generators, and what the optimizer keeps."""
    return [*model.variables, *model.optimizer.variables]


def take_state(progress: Progress, model: Any) -> dict[str, np.ndarray]:
    """Return copies of all that is in the state of a compiled model, by the names of its file."""
    arrays = {
        f"variable_{index:05}": np.array(keras.ops.convert_to_numpy(variable))
        for index, variable in enumerate(variables_of(model))
    }
    # NumPy's files know no bfloat16: such a variable is kept as what its values are in float32.
    arrays = {name: array if array.dtype.kind in "fiub" else array.astype(np.float32) for name, array in arrays.items()}
    return {"progress": np.frombuffer(json.dumps(asdict(progress)).encode(), np.uint8), **arrays}


def save_state(path: Path, state: dict[str, np.ndarray]) -> None:
    """Write what `take_state` returned, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **state)  # type: ignore[arg-type]
    make_folder(path.parent)
    write_bytes(path, buffer.getvalue())


def load_progress(path: Path) -> Progress:
    """Read how far a training came.

    Raises:
        RunError: the file is damaged; names what in it.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            raise ValueError("it is no file")
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            text = _read_array(archive, "progress", most=MAX_BYTES).tobytes().decode("utf-8")
        values = parse_json_object(text, constants=True)  # a loss may be NaN, the best one so far infinite
        _check_progress(values)
        return Progress(**values)
    except _DAMAGES as error:
        raise _damaged(path, error) from error


def _check_progress(values: dict[str, Any]) -> None:
    """Raise unless these are the fields of `Progress`.

    Raises:
        ValueError: names the field.
    """
    if unknown := values.keys() - _KINDS.keys():
        raise ValueError(f"it has the unknown key {sorted(unknown)[0]!r:.40}")
    check_keys(values, _KINDS)
    lists = {"rows": _is_row, "best_score": _is_number}
    for key, fits in lists.items():
        if not all(map(fits, values.get(key, []))):
            raise ValueError(f"`{key}` has what is no {_ENTRIES[key]}")
    for name, remembered in values.get("callbacks", {}).items():
        if not isinstance(remembered, dict) or not all(map(_is_remembered, remembered.values())):
            raise ValueError(f"`callbacks` has what {name!r:.40} cannot remember")


def _is_row(row: Any) -> bool:
    return isinstance(row, dict) and all(
        isinstance(value, str) if column == "phase" else _is_number(value) for column, value in row.items()
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_remembered(value: Any) -> bool:
    return isinstance(value, (bool, int, float, type(None)))


def restore_variables(path: Path, model: Any) -> None:
    """Give a compiled model, whose optimizer is built, the values that were saved.

    Raises:
        RunError: the file is damaged or belongs to another model.
    """
    variables = variables_of(model)
    shapes = [tuple(variable.shape) for variable in variables]
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if len(names) != len(shapes) + 1:
                raise _of_another_network(path)
            # Each is read where its header has the shape that is wanted: none is larger than what it is for.
            arrays = [_read_variable(path, archive, index, shape) for index, shape in enumerate(shapes)]
    except _DAMAGES as error:
        raise _damaged(path, error) from error
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array.astype(variable.dtype) if array.dtype != variable.dtype else array)


def _read_variable(path: Path, archive: zipfile.ZipFile, index: int, shape: tuple[int, ...]) -> np.ndarray:
    name = f"variable_{index:05}"
    found, _ = _read_header(archive, name)
    if found != shape:
        raise _of_another_network(path)
    return _read_array(archive, name, most=_BYTES_OF_A_NUMBER * math.prod(shape))


def _read_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(f"{name}.npy") as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{name} is no array that was saved here")
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
    return shape, dtype


def _read_array(archive: zipfile.ZipFile, name: str, *, most: int) -> np.ndarray:
    """Read an array of numbers, no more than so many bytes of it."""
    shape, dtype = _read_header(archive, name)
    if dtype.kind not in "fiub" or not 0 <= math.prod(shape) * dtype.itemsize <= most:
        raise ValueError(f"{name} is no array of numbers, or too large: {shape} of {dtype!s:.40}")
    with archive.open(f"{name}.npy") as member:
        array: np.ndarray = np.lib.format.read_array(member, allow_pickle=False)
    return array


_BYTES_OF_A_NUMBER = 16
_KINDS = {
    "phase": "text",
    "phase_index": "count",
    "phase_epochs": "count",
    "epochs": "count",
    "stopped": "flag",
    "seconds": "number",
    "best_epoch": "count?",
    "best_score": "list",
    "rows": "list",
    "callbacks": "object",
}
_ENTRIES = {"rows": "row of numbers by column", "best_score": "number"}
# What zipfile, NumPy and JSON raise on a file that is damaged.
_DAMAGES = (
    *(OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, RecursionError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, SyntaxError, OverflowError),
)


def _damaged(path: Path, error: Exception) -> RunError:
    reason = " ".join(str(error).split())[:150]
    return RunError(f"{path} is damaged ({reason}): this training cannot be resumed. Train anew.")


def _of_another_network(path: Path) -> RunError:
    return RunError(f"{path} belongs to another network. Train anew.")
