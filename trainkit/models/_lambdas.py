"""Names that a Lambda layer may use: a file keeps a function without what its module had imported."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from trainkit.backend import keras, tf

# What the function of a Lambda finds by name, as tutorials import it.
LENT: dict[str, Any] = {
    "tf": tf,
    "tensorflow": tf,
    "keras": keras,
    "K": tf.keras.backend,
    "backend": tf.keras.backend,
    "ops": keras.ops,
    "layers": keras.layers,
    "np": np,
    "numpy": np,
    "math": math,
}


@contextmanager
def lending_names() -> Iterator[None]:
    """Let the functions of Lambda layers that are loaded meanwhile find the names in `LENT`, and builtins."""
    functions = keras.src.utils.python_utils
    load = functions.func_load

    def load_with_names(code: Any, defaults: Any = None, closure: Any = None, globs: Any = None) -> Any:
        return load(code, defaults, closure, dict(LENT) if globs is None else globs)

    functions.func_load = load_with_names
    try:
        yield
    finally:
        functions.func_load = load
