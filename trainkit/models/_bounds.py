"""How large a model may be that a file describes: bounds that are held before its layers are built, and while."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainkit.backend import keras
from trainkit.errors import ModelError
from trainkit.models._hdf5_checks import may_grow_to

MAX_LAYERS = 5_000  # NASNetLarge has 1,041
_FLOAT_BYTES = 4


@contextmanager
def bounding_weights(path: Path) -> Iterator[None]:
    """Refuse a model whose layers ask for more weights, while they are built, than its file can hold.

    A few digits in a config would otherwise fill the memory: `"units": 1000000000`.

    Raises:
        ModelError: it asks for more.
    """
    layer, room = keras.layers.Layer, may_grow_to(path.stat().st_size)
    add, asked = layer.add_weight, 0

    def counted(self: Any, shape: Any = None, *args: Any, **named: Any) -> Any:
        nonlocal asked
        asked += _FLOAT_BYTES * math.prod(int(side) for side in ([shape] if isinstance(shape, int) else shape or ()))
        if asked > room:
            raise _too_large(path, asked)
        return add(self, shape, *args, **named)

    layer.add_weight = counted
    try:
        yield
    except Exception as error:  # Keras wraps what is raised in a layer in errors of its own
        if asked > room:
            raise _too_large(path, asked) from error
        raise
    finally:
        layer.add_weight = add


def _too_large(path: Path, asked: int) -> ModelError:
    return ModelError(
        f"{path}: its layers ask for at least {asked} bytes of weights, and the file has {path.stat().st_size}: it is "
        "not safe to load."
    )
