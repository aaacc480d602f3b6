"""What an interrupted training goes on from: one file, written whole after each epoch.

Keras' own files are not enough: they leave out the generators behind dropout, and what callbacks remember.
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.backend import keras
from trainkit.errors import RunError
from trainkit.files import write_bytes

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


def save_state(path: Path, progress: Progress, model: Any) -> None:
    """Write the state of a compiled model, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    arrays: dict[str, Any] = {
        f"variable_{index:05}": np.asarray(keras.ops.convert_to_numpy(variable))
        for index, variable in enumerate(variables_of(model))
    }
    # NumPy's files know no bfloat16: such a variable is kept as what its values are in float32.
    arrays = {name: array if array.dtype.kind in "fiub" else array.astype(np.float32) for name, array in arrays.items()}
    text = np.frombuffer(json.dumps(asdict(progress)).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, progress=text, **arrays)
    write_bytes(path, buffer.getvalue())


def load_progress(path: Path) -> Progress:
    """Read how far a training came.

    Raises:
        RunError: the file is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return Progress(**json.loads(archive["progress"].tobytes()))
    except _DAMAGES as error:
        raise _damaged(path, error) from error


def restore_variables(path: Path, model: Any) -> None:
    """Give a compiled model, whose optimizer is built, the values that were saved.

    Raises:
        RunError: the file is damaged or belongs to another model.
    """
    variables = variables_of(model)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = [archive[f"variable_{index:05}"] for index in range(len(archive.files) - 1)]
    except _DAMAGES as error:
        raise _damaged(path, error) from error
    shapes = [tuple(variable.shape) for variable in variables]
    if shapes != [array.shape for array in arrays]:
        raise RunError(f"{path} belongs to another network. Train anew.")
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array.astype(variable.dtype) if array.dtype != variable.dtype else array)


# What zipfile, NumPy and JSON raise on a file that is damaged.
_DAMAGES = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


def _damaged(path: Path, error: Exception) -> RunError:
    reason = " ".join(str(error).split())[:150]
    return RunError(f"{path} is damaged ({reason}): this training cannot be resumed. Train anew.")
