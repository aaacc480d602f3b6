"""What a Keras file may hold: nothing in it is built before it was looked at."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainkit.backend import keras
from trainkit.errors import ModelError
from trainkit.models._archive_checks import MAX_CONFIG_BYTES, UnsafeModelError
from trainkit.models._bounds import MAX_LAYERS
from trainkit.models._keras2._operations import OPERATIONS, name_of_operation

log = logging.getLogger("trainkit")

_MAX_OBJECTS = 100_000  # that a config builds: a layer with its initializers is about five
_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "ModuleWrapper")
# What `keras.ops` puts between layers: all of these modules' operations, of `core` those that take no function.
_OPS = re.compile(
    r"keras\.src\.ops\.(?:(image|linalg|math|nn|numpy)\.\w+"
    r"|core\.(?:Cast|ConvertToTensor|SaturateCast|Scatter|ScatterUpdate|Slice|SliceUpdate|StopGradient|Unstack))"
)
_CODE_OPS = ("AssociativeScan", "Cond", "ForiLoop", "Map", "Scan", "Switch", "VectorizedMap", "WhileLoop")
# Layers that only a network of keras.applications has.
_LAYERS_OF_NETWORKS = (
    ("keras.src.applications.convnext", "LayerScale"),
    ("keras.src.applications.convnext", "StochasticDepth"),
    ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
)
_PLAIN_DATA = ("__keras_tensor__", "__tensor__", "__numpy__", "__tuple__", "__bytes__", "__slice__", "__ellipsis__")


@contextmanager
def offering_unsafe() -> Iterator[None]:
    """Name the option `--unsafe` to who could not load a file without it."""
    try:
        yield
    except UnsafeModelError as error:
        raise ModelError(
            f"{error} Or, if you trust the file, register with Keras what is not its own, and load it with --unsafe."
        ) from error


def read_config_text(path: Path, text: str | bytes) -> Any:
    """Return a model's config from its JSON.

    Raises:
        ModelError: it is longer than any model needs.
        ValueError, RecursionError: it is no JSON.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise ModelError(f"{path} has {len(text)} bytes of config, more than any model needs: not safe to load.")
    return json.loads(text)


def check_config(path: Path, config: dict[str, Any], unsafe: bool) -> None:
    """Raise unless everything that a model's config builds is Keras' own.

    Args:
        path: for the message.
        config: `{"class_name", "config"}`, in the form of Keras 2 or 3.
        unsafe: let code and custom classes pass.

    Raises:
        ModelError: names the layer and its place.
    """
    model = {key: value for key, value in config.items() if key != "compile_config"}  # which is not needed here
    _check_count(path, model)
    for place, part in _objects(model, "the model"):
        name = str(part["class_name"])
        if name in OPERATIONS:
            if name_of_operation(part) is None:
                raise ModelError(_unknown_operation(path, place, part))
            continue
        if unsafe:
            continue
        if name in _CODE or (name in _CODE_OPS and part.get("module") == "keras.src.ops.core"):
            raise UnsafeModelError(
                f"{path}: {place} is a {name}, which runs code from the file. Replace it by Keras' own layers "
                "(Rescaling, Activation)."
            )
        if _reads_a_file(part):
            raise UnsafeModelError(f"{path}: {place} is a {name} that reads its words from another file.")
        if not _is_own(part):
            needed = part.get("config") if name == "function" else name
            raise UnsafeModelError(
                f"{path}: {place} needs {needed!r:.300}, which is not Keras' own. Replace it by Keras' own layers."
            )


def _check_count(path: Path, config: Any) -> None:
    """Raise where a config has more layers or parts than any model; counted before anything is made of them."""
    layers = objects = 0
    left = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            objects += "class_name" in value
            found = value.get("layers")
            layers += len(found) if isinstance(found, list) else 0
            left += value.values()
        elif isinstance(value, list):
            left += value
        if layers > MAX_LAYERS or objects > _MAX_OBJECTS:
            more = f"{MAX_LAYERS} layers" if layers > MAX_LAYERS else f"{_MAX_OBJECTS} parts of layers"
            raise ModelError(f"{path} has more than {more}, which no classifier of images has: it is not safe to load.")


def as_plain_model(config: dict[str, Any]) -> dict[str, Any]:
    """Return a model of a class of the author's own, which consists of layers all the same, as a model of Keras.

    Such a class mostly has a training step of its own. One that was registered with Keras is left as it is.
    """
    inner = config.get("config")
    registered = keras.saving.get_registered_object(str(config.get("registered_name")))
    if not isinstance(inner, dict) or not isinstance(inner.get("layers"), list) or registered is not None:
        return config
    if config.get("class_name") in ("Sequential", "Functional", "Model") and _is_own(config):
        return config
    name = "Functional" if {"input_layers", "output_layers"} <= inner.keys() else "Sequential"
    log.warning(
        "The model is of the class %s, whose code is not in the file. It was read as the layers that it consists of.",
        config.get("class_name"),
    )
    kept = {key: value for key, value in config.items() if key != "compile_config"}
    module = "keras.src.models.functional" if name == "Functional" else "keras"
    return {**kept, "class_name": name, "module": module, "registered_name": None}


def _unknown_operation(path: Path, place: str, part: dict[str, Any]) -> str:
    config = part.get("config") or {}
    function = config.get("function") or (config.get("node_def") or {}).get("op")
    return (
        f"{path}: {place} is a {part['class_name']}, an operation of TensorFlow between Keras 2's layers "
        f"({function!r:.60}), for which Keras 3 has nothing that is known here. Build the model again from Keras' own "
        "layers (Rescaling, Add) and load its weights."
    )


def _objects(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what a config builds, each with the layer that it belongs to."""
    if isinstance(value, list):
        for entry in value:
            yield from _objects(entry, place)
    elif isinstance(value, dict):
        if "class_name" in value:
            yield place, value
        for key, entry in value.items():
            if key == "layers" and isinstance(entry, list):
                number = 0
                for layer in entry:
                    number += not (isinstance(layer, dict) and layer.get("class_name") == "InputLayer")
                    yield from _objects(layer, _place(number, layer))
            elif key != "build_config":
                yield from _objects(entry, place)


def _place(number: int, layer: Any) -> str:
    config = layer.get("config") if isinstance(layer, dict) else None
    name = config.get("name") if isinstance(config, dict) else None
    return f"layer {number} `{name}`"


def _reads_a_file(part: dict[str, Any]) -> bool:
    """Whether it is a lookup layer whose vocabulary is a path: Keras would open it."""
    config = part.get("config")
    return isinstance(config, dict) and isinstance(config.get("vocabulary"), str)


def _is_own(part: dict[str, Any]) -> bool:
    name, module, registered = part["class_name"], part.get("module"), part.get("registered_name")
    if name in _PLAIN_DATA:
        return True
    if name == "function":
        return module in (None, "builtins") and hasattr(keras.activations, str(part.get("config")))
    if (module is not None and not re.fullmatch(r"keras(\..+)?", str(module))) or ">" in str(registered):
        return False
    if name in ("Sequential", "Functional", "Model", "Policy"):
        return True
    if (module, name) in _LAYERS_OF_NETWORKS:
        return True
    if module is not None and str(module).startswith("keras.src.ops."):
        found = _OPS.fullmatch(f"{module}.{name}")
        operation = getattr(getattr(keras.src.ops, str(module).rpartition(".")[2], None), str(name), None)
        return found is not None and isinstance(operation, type) and issubclass(operation, keras.Operation)
    homes = (
        keras.layers,
        keras.initializers,
        keras.regularizers,
        keras.constraints,
        keras.dtype_policies,
        keras.quantizers,
    )
    return any(isinstance(getattr(home, str(name), None), type) for home in homes)
