"""What Keras 2 wrote, in Keras 3's words: the config of a model, and its weights by their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

# What Keras 2 wrote into a layer's config and Keras 3 does not take; it may be dropped where it has this value.
_DROPPED: dict[str, dict[str, Any]] = {
    "DepthwiseConv2D": {"groups": 1},
    "SeparableConv2D": {"groups": 1},
    "Conv2DTranspose": {"groups": 1},
    "InputLayer": {"ragged": False, "sparse": False},
}


def migrate(config: Any) -> Any:
    """Return a model's config of Keras 2 in words that Keras 3 knows; one of Keras 3 comes back as it is."""
    if isinstance(config, list):
        return [migrate(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    changed = {key: migrate(value) for key, value in config.items()}
    name, inner = changed.get("class_name"), changed.get("config")
    if name == "Sequential":
        inner = _with_input_layer(inner)
    if name == "Policy" and isinstance(inner, dict):
        return inner.get("name", "float32")
    if isinstance(inner, dict):
        dropped = _DROPPED.get(str(name), {})
        inner = {key: value for key, value in inner.items() if not (key in dropped and dropped[key] == value)}
        if name == "BatchNormalization" and isinstance(inner.get("axis"), list) and len(inner["axis"]) == 1:
            inner["axis"] = inner["axis"][0]
        for key in ("input_layers", "output_layers"):
            if _is_list_of_one(inner.get(key)):  # Keras 3 would make the one tensor a list of one
                inner[key] = inner[key][0]
        changed["config"] = inner
    if name == "Model":
        changed["class_name"] = "Functional"
    return changed


def _with_input_layer(inner: Any) -> dict[str, Any]:
    """Say the input of a Sequential once: Keras 2 gave its shape to the first layer, with or without an InputLayer."""
    settings = dict(inner) if isinstance(inner, dict) else {"layers": inner}  # a bare list before 2.2
    layers = [
        {**layer, "config": {key: value for key, value in layer["config"].items() if key != "batch_input_shape"}}
        if layer["class_name"] != "InputLayer"
        else layer
        for layer in settings["layers"]
    ]
    shape = settings["layers"][0]["config"].get("batch_input_shape")
    if layers[0]["class_name"] != "InputLayer" and shape:
        layers.insert(0, {"class_name": "InputLayer", "config": {"batch_input_shape": shape, "dtype": "float32"}})
    return {**settings, "layers": layers}


def _is_list_of_one(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and isinstance(value[0], list)


def assign_by_name(model: Any, group: Any) -> None:
    """Give each variable what the file holds under its layer's name, where there is just one of this name.

    Keras goes by the order of the weights, in which Keras 2 put those of frozen layers behind the others.
    """
    variables: dict[str, list[Any]] = {}
    for layer in _leaves(model):
        for variable in layer.weights:
            variables.setdefault(f"{layer.name}/{variable.name}", []).append(variable)
    values: dict[str, list[np.ndarray]] = {}
    for name, value in _datasets(group):
        values.setdefault(_tail(name), []).append(value)
    for name, (variable, *others) in variables.items():
        found = values.get(name, [])
        if others or len(found) != 1 or found[0].shape != tuple(variable.shape):
            continue
        if not np.array_equal(found[0], variable.numpy()):
            variable.assign(found[0])


def _leaves(layer: Any) -> Iterator[Any]:
    inner = list(getattr(layer, "layers", []))
    if not inner:
        yield layer
    for entry in inner:
        yield from _leaves(entry)


def _datasets(group: Any, prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, entry in group.items():
        if name == "top_level_model_weights":
            continue
        if isinstance(entry, h5py.Group):
            yield from _datasets(entry, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", entry[()]


def _tail(name: str) -> str:
    """Return `layer/variable` of `model/layer/variable:0`, in Keras 3's words."""
    layer, variable = name.split("/")[-2:] if "/" in name else ("", name)
    variable = variable.split(":")[0]
    return f"{layer}/{'kernel' if variable == 'depthwise_kernel' else variable}"
