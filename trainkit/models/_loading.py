"""Keras models from files that others wrote: `.keras`, and `.h5` of Keras 2 and 3.

Such a file may hold code (a Lambda, a custom class) or be made to fill the memory. So it is looked at before Keras is
given it, and what is not Keras' own is refused by its name and place.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py

from trainkit._progress import doing
from trainkit.backend import keras
from trainkit.errors import ModelError, OutputError
from trainkit.files import scratch_folder
from trainkit.models._adapting import as_classifier, is_of_keras, output_names, takes_whole_levels
from trainkit.models._archive_checks import check_archive
from trainkit.models._bounds import bounding_weights
from trainkit.models._calling import LAMBDA_ADVICE, cause_of
from trainkit.models._file_checks import as_plain_model, check_config, read_config_text
from trainkit.models._hdf5_checks import open_hdf5
from trainkit.models._keras2._loading import is_keras_2, load_keras_2_archive, load_keras_2_hdf5
from trainkit.models._lambdas import lending_names
from trainkit.models._losses import LoadedModel, completed, loss_for


def load_model_file(
    path: Path, *, unsafe: bool = False, output: str | None = None, from_logits: bool = False
) -> LoadedModel:
    """Load a `.keras` or `.h5` file; without `unsafe`, nothing in it is executed.

    Args:
        path: of the file.
        unsafe: build Lambda layers, and custom classes that the caller has registered with Keras.
        output: which of several outputs counts.
        from_logits: the model ends without its softmax or sigmoid, even where its loss does not say so.

    Raises:
        ModelError: the file is missing, damaged, or holds what Keras 3 cannot build safely; names the layer.
        UsageError: there is no such output.
    """
    if not path.is_file():
        raise ModelError(f"No Keras model at {path}. Expected a .keras or .h5 file.")
    load = _load_zip if zipfile.is_zipfile(path) else _load_hdf5
    if load is _load_hdf5 and not h5py.is_hdf5(path):
        raise ModelError(f"{path} is no Keras model. Expected a .keras or .h5 file, as model.save() writes it.")
    try:
        with doing("Loading the network"), lending_names(), bounding_weights(path):
            model, loss = load(path, unsafe)
    except (ModelError, OutputError):  # the second of a full folder for temporary files
        raise
    except Exception as error:  # zip, JSON, h5py and Keras raise whatever they meet in a damaged file
        raise _cannot_load(path, error) from error
    classifier = as_classifier(model, output=output)
    names = output_names(model) if isinstance(loss, list) and output is not None else []
    loaded = completed(classifier, loss_for(loss, output, names), from_logits=from_logits)
    return replace(loaded, whole_levels=takes_whole_levels(model))


def _cannot_load(path: Path, error: Exception) -> ModelError:
    if missing := re.search(r"Could not locate (?:class|function) '([^']+)'", str(error)):
        name = missing[1]
        return ModelError(
            f"{path} needs {name!r}, whose code is not in the file. Load it in Python, with "
            f"keras.models.load_model({path.name!r}, custom_objects={{{name!r}: {name}}}), and give trainkit.export() "
            "the model itself."
        )
    if (name := _missing_name(error)) is not None:
        return ModelError(
            f"{path} has a Lambda that uses the name {name!r}, which the file does not hold. {LAMBDA_ADVICE}"
        )
    advice = "Save it again with model.save(), from Keras 3 where you can."
    return ModelError(
        f"{path} cannot be loaded as a Keras model ({cause_of(error)}). "
        + (LAMBDA_ADVICE if "Lambda" in str(error) else advice)
    )


def _missing_name(error: BaseException | None) -> str | None:
    """Return the name that a Lambda's function did not find: Keras wraps this in an error of its own."""
    while error is not None:
        if isinstance(error, NameError):
            return error.name
        error = error.__cause__ or error.__context__
    return None


def _load_zip(path: Path, unsafe: bool) -> tuple[Any, Any]:
    config, version = _read_archive(path, unsafe)
    loss = (config.get("compile_config") or {}).get("loss")
    if is_keras_2(version):
        return load_keras_2_archive(path, config, unsafe), loss
    plain = as_plain_model(config)
    check_config(path, plain, unsafe)
    with scratch_folder() as folder:
        # Keras goes by the suffix, and what was looked at is what is loaded.
        copy = Path(shutil.copyfile(path, folder / "model.keras"))
        if plain is not config:
            _write_config(copy, plain)
        model = keras.models.load_model(copy, compile=False, safe_mode=not unsafe)
    return model, loss


def load_archive(path: Path) -> Any:
    """Load a `.keras` file that Keras 3 wrote, as it is, where all in it is Keras' own; nothing in it is executed.

    Raises:
        ModelError: it is not safe to load; names the layer.
    """
    config, _ = _read_archive(path, unsafe=False)
    check_config(path, config, unsafe=False)
    with bounding_weights(path):
        return keras.models.load_model(path, compile=False, safe_mode=True)


def _read_archive(path: Path, unsafe: bool) -> tuple[dict[str, Any], Any]:
    """Look at an archive, and return its config and the version of Keras that wrote it."""
    check_archive(path, unsafe)
    with zipfile.ZipFile(path) as archive:
        config = _object("config.json", read_config_text(path, archive.read("config.json")))
        has_metadata = "metadata.json" in archive.namelist()
        metadata = _object("metadata.json", json.loads(archive.read("metadata.json"))) if has_metadata else {}
    return config, metadata.get("keras_version", "3")


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object in {name}. Received: {value!s:.40}")
    return value


def _write_config(path: Path, config: dict[str, Any]) -> None:
    """Write another configuration into a `.keras` archive."""
    changed = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(changed, "w") as target:
        target.writestr("config.json", json.dumps(config))
        for member in archive.infolist():
            if member.filename != "config.json" and not member.is_dir():
                with archive.open(member) as source, target.open(member.filename, "w", force_zip64=True) as copy:
                    shutil.copyfileobj(source, copy)
    changed.replace(path)


def _load_hdf5(path: Path, unsafe: bool) -> tuple[Any, Any]:
    with open_hdf5(path) as file:
        config = _json_attribute(path, file, "model_config")
        if config is None:
            raise ModelError(
                f"{path} holds weights without a model. Save the whole model with model.save(), not save_weights()."
            )
        training = _json_attribute(path, file, "training_config") or {}
        version = file.attrs.get("keras_version", "2.0")
        if is_keras_2(version):
            model = load_keras_2_hdf5(path, config, version, file["model_weights"], unsafe)
            return model, training.get("loss")
    check_config(path, {"config": config}, unsafe)
    with scratch_folder() as folder:
        copy = Path(shutil.copyfile(path, folder / "model.h5"))  # Keras goes by the suffix
        model = keras.models.load_model(copy, compile=False, safe_mode=not unsafe)
    return model, training.get("loss")


def _json_attribute(path: Path, file: h5py.File, name: str) -> Any:
    text = file.attrs.get(name)
    if text is None:
        return None
    data = text if isinstance(text, str) else bytes(text).decode("utf-8")
    return read_config_text(path, data)


def image_shape(model: Any) -> tuple[int | None, int | None, int]:
    """Return (height, width, channels) of a model's input, `None` for a side that it leaves open.

    Raises:
        ModelError: the model has not one image in and one row of classes out.
    """
    try:
        inputs, outputs = list(model.inputs), list(model.outputs)
    except (AttributeError, TypeError, ValueError) as error:
        if isinstance(model, keras.Sequential):
            raise ModelError(
                f"The model {model.name} was never given an input. Begin it with keras.Input((height, width, 3))."
            ) from error
        raise ModelError(
            f"The model {model.name} is of a class of its own ({type(model).__name__}), which does not say what goes "
            "in. Call it once on a batch of images before, model(images), or make it layers between an input and an "
            "output: inputs = keras.Input((height, width, 3)); model = keras.Model(inputs, model(inputs))."
        ) from error
    if len(inputs) != 1 or len(outputs) != 1:
        names = ", ".join(f"`{tensor.name}` {tuple(tensor.shape)}" for tensor in inputs)
        raise ModelError(
            f"The model {model.name} has {len(inputs)} inputs: {names}. Expected one image in: a bundle gives the "
            "network one image at a time. Build one with a single input, such as the part that looks at one image."
        )
    shape, output = tuple(inputs[0].shape), tuple(outputs[0].shape)
    if len(shape) != 4 or shape[3] not in (1, 3):
        hint = " Its channels come first: build it again with channels_last." if _is_channels_first(shape) else ""
        hint = hint or _hint_for_a_row(shape)
        raise ModelError(
            f"The model {model.name} takes {shape}. Expected images: (None, height, width, 3), or 1 for grey, as a "
            f"photograph has them.{hint}"
        )
    if len(output) != 2 or output[1] is None:
        raise ModelError(
            f"The model {model.name} gives {output}. Expected a row of classes, (None, classes): it is no classifier. "
            "If it should be one, put a GlobalAveragePooling2D or a Flatten, and a Dense with a softmax, behind it."
        )
    return shape[1], shape[2], int(shape[3])


def _hint_for_a_row(shape: tuple[int | None, ...]) -> str:
    """Return how a model of rows of pixels, as of MNIST, becomes one of images."""
    for channels in (1, 3):
        side = math.isqrt((shape[-1] or 0) // channels)
        if len(shape) == 2 and side > 1 and side * side * channels == shape[-1]:
            return (
                " If these are the pixels of an image, put it behind one: keras.Sequential([keras.Input("
                f"({side}, {side}, {channels})), keras.layers.Flatten(), model])."
            )
    return ""


def _is_channels_first(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == 4 and shape[1] in (1, 3)


def at_size(model: Any, shape_hwc: tuple[int, int, int]) -> Any:
    """Return the model with a free batch and this input, (height, width, channels), with the same weights.

    Raises:
        ModelError: it cannot be built for this size.
    """
    if tuple(model.inputs[0].shape) == (None, *shape_hwc):
        return model
    inputs = keras.Input(shape_hwc)
    try:
        with lending_names():
            fixed = keras.models.clone_model(model, input_tensors=inputs)
        fixed.set_weights(model.get_weights())
    except Exception as error:  # Keras raises whatever a layer finds wrong with the size
        if called := _called_at(model, inputs):
            return called
        raise ModelError(
            f"The model {model.name} cannot be built for {shape_hwc} ({cause_of(error)}). Take the size that it was "
            "built for."
        ) from error
    return fixed


def _called_at(model: Any, inputs: Any) -> Any:
    """Return a model around one that cannot be copied, for it is of a class of its own; none where it fits no more."""
    if all(is_of_keras(type(layer)) for layer in model._flatten_layers()):
        return None
    try:
        return keras.Model(inputs, model(inputs), name=model.name)
    except Exception:  # what the copy failed for says more
        return None


def class_units(model: Any) -> int:
    """Return how many values a model gives for an image."""
    return int(model.outputs[0].shape[-1])
