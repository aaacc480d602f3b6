"""A model that others built, as the classifier that leaves: float32 images in, one row of classes out.

A subclassed model becomes layers between an input and an output, one of several outputs is chosen, what computes in
another precision is built again in float32 with its weights, and grey images get the side that stands for the channel.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from trainkit.backend import keras
from trainkit.errors import ModelError, UsageError, unknown
from trainkit.models._calling import calling, cause_of
from trainkit.models._lambdas import lending_names
from trainkit.preprocessing import Preprocessing

log = logging.getLogger("trainkit")

_HALVES = ("float16", "bfloat16")
_OTHERS = (*_HALVES, "float64")
_QUANTIZED = ("int8", "int4", "float8", "gptq", "awq")
_IMAGES = 4  # on which a model that was built again must answer as before
_HALF_TOLERANCE = 0.1  # of a probability: what 8 bits of bfloat16 may cost a deep network
_TOLERANCE = 1e-4


def as_classifier(model: Any, *, output: str | None = None) -> Any:
    """Return a model as layers from one float32 image `(N, H, W, C)` to one row of classes; itself where it is so.

    Args:
        model: of Keras, in whatever form it was brought.
        output: the name of the output that counts, of a model that has several.

    Raises:
        ModelError: it cannot be brought into this form; says why, and what to do.
        UsageError: there is no such output.
    """
    functional = _as_functional(model)
    if not _is_functional(functional):
        return model  # `image_shape` says what to do
    functional = _with_output(functional, output)
    check_weights(functional)
    if len(functional.inputs) != 1:
        return functional
    functional = _without_lists(functional)
    return _with_row(_with_channels(_in_float32(functional)))


def takes_whole_levels(model: Any) -> bool:
    """Whether a model takes whole grey levels from 0 to 255, as an image file has them."""
    return _is_functional(model) and any(str(tensor.dtype).startswith(("uint", "int")) for tensor in model.inputs)


def check_weights(model: Any) -> None:
    """Raise where a weight is not a finite number, or was cut to integers.

    Raises:
        ModelError: names the layer.
    """
    for layer in model._flatten_layers(include_self=False):
        if (mode := getattr(layer, "quantization_mode", None)) in _QUANTIZED:
            raise ModelError(
                f"The layer `{layer.name}` of the model {model.name} was quantized to {mode} by Keras, which rounds "
                "what goes through it too. Expected float32: export the model as it was before quantize()."
            )
        for variable in [] if isinstance(layer, keras.Model) else layer.weights:
            value = np.asarray(variable)
            if value.dtype.kind not in "iub?" and not np.isfinite(value.astype(np.float32)).all():
                raise ModelError(
                    f"The weights `{variable.name}` of the layer `{layer.name}` are not all finite numbers: the "
                    "training of this model diverged. Take a file of an earlier epoch, or train it again at a lower "
                    "learning rate."
                )


def _as_functional(model: Any) -> Any:
    """Call a model of a class of its own on an input, so that it says what goes in and what comes out."""
    shape = None if _is_functional(model) else _built_for(model)
    if shape is None:
        return model
    inputs = keras.Input(shape[1:])
    try:
        outputs = model(inputs)
        return keras.Model(inputs, outputs, name=model.name)
    except Exception as error:  # whatever the model's own code raises
        raise ModelError(
            f"The model {model.name} ({type(model).__name__}) cannot be called on keras.Input({shape[1:]}) "
            f"({cause_of(error)}). Write its call() with keras.ops and layers, without numpy and without asking for "
            "values."
        ) from error


def _is_functional(model: Any) -> bool:
    try:
        return bool(list(model.inputs) and list(model.outputs))
    except (AttributeError, TypeError, ValueError):
        return False


def _built_for(model: Any) -> tuple[int | None, ...] | None:
    """Return the shape of the one input that a model was called, fitted or built with."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    found = [shape for shape in shapes.values() if isinstance(shape, (tuple, list))]
    if isinstance(model, keras.Sequential) or len(found) != 1 or len(found[0]) not in (3, 4):
        return None
    sides = tuple(found[0])
    return sides if all(side is None or isinstance(side, int) for side in sides) else None


def output_names(model: Any) -> list[str]:
    """Return the names of a model's outputs, each once: keys of a dictionary, or the names of their layers."""
    if isinstance(model, keras.Sequential):
        return [str(model.layers[-1].name)]
    if isinstance(model.output, dict):
        keys = {id(tensor): str(key) for key, tensor in model.output.items()}
        names = [keys[id(tensor)] for tensor in model.outputs]
    else:
        names = [str(name) for name in model.output_names]
    return [
        name if names.index(name) == place else f"{name}_{names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def _with_output(model: Any, output: str | None) -> Any:
    """Return a model that ends in the output of this name.

    Raises:
        ModelError: there are several, and none was chosen.
        UsageError: none has this name.
    """
    tensors = list(model.outputs)
    if output is None and len(tensors) < 2:
        return model
    names = output_names(model)
    if output is None:
        shown = ", ".join(f"`{name}` {tuple(tensor.shape)}" for name, tensor in zip(names, tensors, strict=True))
        raise ModelError(
            f"The model {model.name} has {len(tensors)} outputs: {shown}. Expected one row of classes. "
            f"Choose one when you export, such as --output {names[0]} (`output` in Python), or build the model again "
            "so that it ends in one: keras.Model(model.inputs[0], model.outputs[0])."
        )
    if output not in names:
        raise unknown("output", output, names)
    if len(tensors) == 1:
        return model
    return keras.Model(_source(model), tensors[names.index(output)], name=model.name)


def _source(model: Any) -> Any:
    """Return what a model takes: a list of one would have to be called on a list."""
    return model.inputs[0] if len(model.inputs) == 1 else model.inputs


def _in_float32(model: Any) -> Any:
    """Build a model again in float32 where it computes in something else, or takes integers, with the same weights."""
    precisions = {str(layer.compute_dtype) for layer in model._flatten_layers(include_self=False)}
    precisions |= {str(tensor.dtype) for tensor in model.inputs}
    precisions |= {*_OTHERS} & {str(getattr(operation, "dtype", "")) for operation in getattr(model, "operations", [])}
    others = sorted(precisions - {"float32", "None"})
    if not others:
        return model
    try:
        rebuilt = _deserialized(model)
    except Exception as error:  # Keras, or the model's own code, raises whatever it meets
        raise ModelError(
            f"The model {model.name} computes in {', '.join(others)}, and cannot be built again in float32 "
            f"({cause_of(error)}). Build it with keras.config.set_dtype_policy('float32'), and load its weights."
        ) from error
    _check_same(model, rebuilt, others)
    if precisions & {*_HALVES, "float64"}:
        log.warning(
            "The model %s computes in %s. It was built again in float32, with the same weights.",
            model.name,
            " and ".join(name for name in others if name in _OTHERS),
        )
    return rebuilt


def _deserialized(model: Any) -> Any:
    """Return a model of the same configuration, in float32, with the same weights."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)  # may name losses and metrics of the author's own
    classes = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")  # for the layers that a class of its own makes
    try:
        own = {name: kind for name, kind in classes.items() if not is_of_keras(kind)}
        with lending_names(), keras.saving.custom_object_scope(own):
            rebuilt = keras.saving.deserialize_keras_object(_written_in_float32(config), safe_mode=False)
    finally:
        keras.config.set_dtype_policy(policy)
    weights = [np.asarray(weight) for weight in model.get_weights()]
    rebuilt.set_weights([w if w.dtype.kind in "iub?" else w.astype(np.float32) for w in weights])
    return rebuilt


def is_of_keras(kind: type) -> bool:
    """Whether a class is one of Keras' own."""
    return kind.__module__.partition(".")[0] == "keras"


def _written_in_float32(config: Any, key: str = "") -> Any:
    """Return a configuration with float32 wherever it names another precision, and for whole numbers at its input."""
    if isinstance(config, list):
        return [_written_in_float32(entry, key) for entry in config]
    if isinstance(config, str):
        return "float32" if config.removeprefix("mixed_") in _OTHERS and key != "name" else config
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {**config["config"], "name": "float32"}}
    changed = {inner: _written_in_float32(value, inner) for inner, value in config.items()}
    if config.get("class_name") == "InputLayer" and isinstance(changed.get("config"), dict):
        changed["config"]["dtype"] = "float32"
    if config.get("class_name") == "__keras_tensor__" and isinstance(changed.get("config"), dict):
        changed["config"] = {**changed["config"], "dtype": "float32"}
    return changed


def _check_same(model: Any, rebuilt: Any, precisions: list[str]) -> None:
    """Raise unless a model that was built again answers as before, on grey levels or on the range 0 to 1.

    Raises:
        ModelError: says by how much it does not.
    """
    shape = [model.inputs[0].shape[0] or _IMAGES, *(side or 64 for side in model.inputs[0].shape[1:])]
    levels = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    images = levels if takes_whole_levels(model) else levels / 255
    with calling(model, "run"):
        before = np.asarray(model(images.astype(np.dtype(str(model.inputs[0].dtype))), training=False)).astype(float)
        after = np.asarray(rebuilt(images, training=False)).astype(float)
    tolerance = _HALF_TOLERANCE if any(name.removeprefix("mixed_") in _HALVES for name in precisions) else _TOLERANCE
    bound = tolerance * max(1.0, float(np.abs(before).max()))
    if not np.abs(before - after).max() <= bound:
        raise ModelError(
            f"The model {model.name} computes in {', '.join(precisions)}, and answers otherwise in float32: by up to "
            f"{np.abs(before - after).max():.2g}. Expected float32: train it with "
            "keras.config.set_dtype_policy('float32'), and no arithmetic of whole numbers."
        )


def _without_lists(model: Any) -> Any:
    """Return a model that takes a tensor and gives one, of one that has each in a list or a dictionary."""
    if isinstance(model, keras.Sequential):  # which has no `input` before it was called
        return model
    if all(isinstance(one, keras.KerasTensor) for one in (model.input, model.output)):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def _with_channels(model: Any) -> Any:
    """Return a model of images without a side for the channels, (N, H, W), as one of grey images (N, H, W, 1)."""
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 3:
        return model
    inputs = keras.Input((*shape[1:], 1))
    target = tuple(-1 if side is None else side for side in shape[1:])
    flat = keras.layers.Reshape(target)(inputs) if None not in shape[1:] else keras.ops.squeeze(inputs, -1)
    return keras.Model(inputs, model(flat), name=model.name)


def _with_row(model: Any) -> Any:
    """Return a model whose answer is (N, 1, 1, classes) as one whose answer is (N, classes)."""
    shape = tuple(model.outputs[0].shape)
    if len(shape) < 3 or None in shape[1:] or int(np.prod(shape[1:])) != shape[-1]:
        return model
    return keras.Model(_source(model), keras.layers.Flatten()(model.outputs[0]), name=model.name)


def check_whole_levels(name: str, preprocessing: Preprocessing) -> None:
    """Raise where a model that takes whole grey levels would get others.

    Raises:
        UsageError: says so.
    """
    scaled = any(preprocessing.mean) or any(value != 1 for value in preprocessing.std)
    if scaled or preprocessing.mean_image is not None or preprocessing.samplewise != "none":
        raise UsageError(
            f"The model {name} takes whole grey levels from 0 to 255, and scales them itself. Say --preprocessing none."
        )
