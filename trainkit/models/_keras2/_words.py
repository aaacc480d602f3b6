"""The config of a model of Keras 2 in words that Keras 3 knows.

An argument that Keras 3 does not take is dropped only where it cannot change an answer outside a training.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from trainkit.backend import keras
from trainkit.errors import ModelError

MODELS = ("Sequential", "Functional", "Model")
# How values begin, are kept small, and are drawn in a training: nothing of it is in an answer.
_OF_TRAINING = re.compile(
    r"\w+_(initializer|regularizer|constraint)|trainable|seed|rng_type|noise_shape|implementation|virtual_batch_size|"
    r"input_dim|input_length|(query|key|value)_shape|renorm(_clipping|_momentum)?|fused|dynamic|shared_object_id"
)
# Others that Keras 3 does not take mean nothing where they have the value that Keras 2 wrote unasked.
_UNASKED: dict[str, Any] = {"groups": 1, "time_major": False, "causal": False, "ragged": False, "sparse": False}
_LOST = "Keras 3 has no {kind} layer. Build the model again with layers that keras.layers has, and train it anew."


def migrate(config: Any) -> Any:
    """Return a model's config of Keras 2, JSON, in words that Keras 3 knows.

    Raises:
        ModelError: Keras 3 has no such layer, or not with this argument; names both.
    """
    if isinstance(config, list):
        return [migrate(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    name, inner = config.get("class_name"), config.get("config")
    if name in ("Policy", "PolicyV1") and isinstance(inner, dict):
        return inner.get("name", "float32")
    changed = {key: migrate(value) for key, value in config.items() if key != "compile_config"}
    if name == "Sequential":
        changed["config"] = _with_settings(changed["config"])
    elif isinstance(name, str) and isinstance(inner, dict):
        changed.update(_in_todays_words(name, changed))
    if name == "Model":
        changed["class_name"] = "Functional"
    return changed


def _with_settings(inner: Any) -> dict[str, Any]:
    return dict(inner) if isinstance(inner, dict) else {"layers": inner}  # a bare list before 2.2.3


def _in_todays_words(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """Return a layer's new class and config; what is no layer comes back as it is."""
    config = {key: _number(value) for key, value in part["config"].items()}
    short = name.removeprefix("Custom>")
    if short in _OF_APPLICATIONS and set(config) == _OF_APPLICATIONS[short][1]:
        home = _OF_APPLICATIONS[short][0]
        return {"module": home, "class_name": short, "registered_name": None, "config": config, "keras_2_class": short}
    renamed, change = _CHANGED.get(name, (name, dict))
    kind = getattr(keras.layers, renamed, None)
    if name in _GONE:
        raise ModelError(f"The layer `{config.get('name')}` is a {name}. {_LOST.format(kind=name)}")
    if not isinstance(kind, type) or not issubclass(kind, keras.layers.Layer) or name in _AS_THEY_ARE:
        return {}
    if ">" in str(part.get("registered_name")) or not str(part.get("module", "keras.")).startswith("keras."):
        return {}  # a class of the user, by a name that Keras has too
    return {
        "module": "keras.layers",  # without it, a layer in a layer is not found
        "class_name": renamed,
        "config": _without_the_dropped(kind, name, change(config)),
        "keras_2_class": name,  # by which an archive numbers its weights
    }


def _number(value: Any) -> Any:
    """Return the number in what the first Keras 2 wrote for NumPy's own, {"type": "ndarray", "value": 0.3}."""
    return value["value"] if isinstance(value, dict) and value.get("type") == "ndarray" else value


def _without_the_dropped(kind: type, name: str, config: dict[str, Any]) -> dict[str, Any]:
    accepted = _accepted(kind)
    kept = {}
    for key, value in config.items():
        if key in accepted or key == "batch_input_shape":  # of which a Sequential knows its input
            kept[key] = value
        elif not (_OF_TRAINING.fullmatch(key) or value is None or (key in _UNASKED and value == _UNASKED[key])):
            raise ModelError(
                f"The layer `{config.get('name')}` ({name}) has {key}={value!r:.60}, for which Keras 3 has no word. "
                "Build the model again with what keras.layers has, and train it anew."
            )
    return kept


def _accepted(kind: type) -> set[str]:
    """Return the names that a layer's constructor takes, and those of its bases where it hands names on."""
    names: set[str] = set()
    for base in kind.__mro__:
        init = vars(base).get("__init__")
        if init is None:
            continue
        parameters = inspect.signature(init).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return names


def _normalized(config: dict[str, Any]) -> dict[str, Any]:
    """Return one axis of a list, and no renormalisation: it is one of a training."""
    kept = {key: value for key, value in config.items() if not key.startswith("renorm")}
    axis = kept.get("axis")
    return {**kept, "axis": axis[0]} if isinstance(axis, list) and len(axis) == 1 else kept


def _leaky(config: dict[str, Any]) -> dict[str, Any]:
    return {"negative_slope" if key == "alpha" else key: value for key, value in config.items()}


def _thresholded(config: dict[str, Any]) -> dict[str, Any]:
    return {"threshold" if key == "theta" else key: value for key, value in config.items()}


def _resized(config: dict[str, Any]) -> dict[str, Any]:
    if config.get("interpolation") in ("gaussian", "mitchellcubic"):
        raise ModelError(
            f"The layer `{config.get('name')}` (Resizing) has interpolation={config['interpolation']!r}, for which "
            "Keras 3 has no word. Build the model again with bilinear or bicubic, load its weights, and compare some "
            "answers."
        )
    return config


def _gated(config: dict[str, Any]) -> dict[str, Any]:
    return {"reset_after": False, **config}  # before 2.2.0 there was no other GRU, and no word for it


def _nothing(config: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key in ("name", "trainable", "dtype")}


# By the class of Keras 2: that of Keras 3, and what becomes of its config.
_CHANGED: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "BatchNormalization": ("BatchNormalization", _normalized),
    "BatchNormalizationV1": ("BatchNormalization", _normalized),
    "BatchNormalizationV2": ("BatchNormalization", _normalized),
    "SyncBatchNormalization": ("BatchNormalization", _normalized),
    "GRU": ("GRU", _gated),
    "Resizing": ("Resizing", _resized),
    "LeakyReLU": ("LeakyReLU", _leaky),
    "ThresholdedReLU": ("ReLU", _thresholded),
    # Outside a training it is no crop: the largest part of the wanted shape, resized.
    "RandomCrop": ("Resizing", lambda config: {**config, "crop_to_aspect_ratio": True}),
    "RandomHeight": ("Identity", _nothing),  # outside a training they do nothing
    "RandomWidth": ("Identity", _nothing),
}
# The layers that only a network of keras.applications has: where Keras 3 has them, and their whole config.
_OF_APPLICATIONS = {
    "LayerScale": (
        "keras.src.applications.convnext",
        {"name", "trainable", "dtype", "init_values", "projection_dim"},
    ),
    "CustomScaleLayer": ("keras.src.applications.inception_resnet_v2", {"name", "trainable", "dtype", "scale"}),
}
_AS_THEY_ARE = ("InputLayer", "Lambda", "Layer")
_GONE = (
    "LocallyConnected1D",
    "LocallyConnected2D",
    "RandomFourierFeatures",
    "DenseFeatures",
    "CuDNNLSTM",
    "CuDNNGRU",
    "AbstractRNNCell",
    "MaxoutDense",
    "Highway",
    "Merge",
    "SequenceFeatures",
)
