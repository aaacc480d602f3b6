"""Keras models from files that others wrote: `.keras`, and `.h5` of Keras 2 and 3.

Such a file may hold code (a Lambda, a custom class) or be made to fill the memory. So it is looked at before Keras is
given it, and what is not Keras' own is refused by its name and place.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trainkit._progress import doing
from trainkit.backend import keras
from trainkit.errors import ModelError
from trainkit.models._calling import LAMBDA_ADVICE, cause_of

_MEMBERS = ("metadata.json", "config.json", "model.weights.h5")
_MAX_CONFIG_BYTES = 2**26
_SMALL_BYTES = 2**24  # a member below it cannot fill anything
_MAX_EXPANSION = 20  # Keras stores its members uncompressed, and weights hardly compress
_CODE = ("Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "ModuleWrapper")
_OPERATIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod", "InstanceMethod")
_PLAIN_DATA = ("__keras_tensor__", "__tensor__", "__numpy__", "__tuple__", "__bytes__", "__slice__", "__ellipsis__")
# What Keras 2 wrote into a layer's config and Keras 3 does not take; it may be dropped where it has this value.
_DROPPED: dict[str, dict[str, Any]] = {
    "DepthwiseConv2D": {"groups": 1},
    "SeparableConv2D": {"groups": 1},
    "Conv2DTranspose": {"groups": 1},
    "InputLayer": {"ragged": False, "sparse": False},
}


class UnsafeModelError(ModelError):
    """A model's file would run code, which `unsafe` would let it."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A Keras model, and what the file says about its training."""

    model: Any
    from_logits: bool  # whether it was compiled with a loss for a model that ends without its softmax or sigmoid


@contextmanager
def offering_unsafe() -> Iterator[None]:
    """Name the option `--unsafe` to who could not load a file without it."""
    try:
        yield
    except UnsafeModelError as error:
        raise ModelError(
            f"{error} Or, if you trust the file, register with Keras what is not its own, and load it with --unsafe."
        ) from error


def load_model_file(path: Path, *, unsafe: bool = False) -> LoadedModel:
    """Load a `.keras` or `.h5` file; without `unsafe`, nothing in it is executed.

    Args:
        path: of the file.
        unsafe: build Lambda layers, and custom classes that the caller has registered with Keras.

    Raises:
        ModelError: the file is missing, damaged, or holds what Keras 3 cannot build safely; names the layer.
    """
    if not path.is_file():
        raise ModelError(f"No Keras model at {path}. Expected a .keras or .h5 file.")
    load = _load_zip if zipfile.is_zipfile(path) else _load_hdf5
    if load is _load_hdf5 and not h5py.is_hdf5(path):
        raise ModelError(f"{path} is no Keras model. Expected a .keras or .h5 file, as model.save() writes it.")
    try:
        with doing("Loading the network"):
            return load(path, unsafe)
    except ModelError:
        raise
    except Exception as error:  # zip, JSON, h5py and Keras raise whatever they meet in a damaged file
        raise _cannot_load(path, error) from error


def _cannot_load(path: Path, error: Exception) -> ModelError:
    if missing := re.search(r"Could not locate (?:class|function) '([^']+)'", str(error)):
        name = missing[1]
        return ModelError(
            f"{path} needs {name!r}, whose code is not in the file. Load it in Python, with "
            f"keras.models.load_model({path.name!r}, custom_objects={{{name!r}: {name}}}), and give trainkit.export() "
            "the model itself."
        )
    advice = "Save it again with model.save(), from Keras 3 where you can."
    return ModelError(
        f"{path} cannot be loaded as a Keras model ({cause_of(error)}). "
        + (LAMBDA_ADVICE if "Lambda" in str(error) else advice)
    )


def _load_zip(path: Path, unsafe: bool) -> LoadedModel:
    with zipfile.ZipFile(path) as archive:
        check_members(path, archive.infolist(), unsafe)
        config = json.loads(archive.read("config.json"))
    check_config(path, config, unsafe)
    with tempfile.TemporaryDirectory() as folder:
        # Keras goes by the suffix, and what was looked at is what is loaded.
        copy = Path(shutil.copyfile(path, Path(folder, "model.keras")))
        model = keras.models.load_model(copy, compile=False, safe_mode=not unsafe)
    return _loaded(model, (config.get("compile_config") or {}).get("loss"))


def check_members(path: Path, members: list[zipfile.ZipInfo], unsafe: bool) -> None:
    """Raise unless a `.keras` archive has the members that Keras writes, of possible sizes.

    Raises:
        ModelError: names the member.
    """
    names = [member.filename for member in members]
    for member in members:
        name, whole = member.filename, member.file_size
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or ":" in name:
            raise ModelError(f"{path} has the member {name!r}, which points out of the file: it is not safe to load.")
        if names.count(name) > 1:
            raise ModelError(f"{path} has the member {name!r} twice: it is not safe to load.")
        if name.endswith(".json") and whole > _MAX_CONFIG_BYTES:
            raise ModelError(f"{path} has {whole} bytes in {name!r}, more than any model needs: not safe to load.")
        if whole > max(_SMALL_BYTES, _MAX_EXPANSION * member.compress_size):
            raise ModelError(
                f"{path} has the member {name!r}, which would grow from {member.compress_size} to {whole} bytes: it is "
                "not safe to load."
            )
        if name not in _MEMBERS and not name.endswith("/") and not unsafe:
            raise UnsafeModelError(f"{path} has the member {name!r}. Expected {', '.join(_MEMBERS)} only.")
    if "config.json" not in names:
        raise ModelError(f"{path} has no config.json, so it is no .keras file. Save the whole model with model.save().")


def check_config(path: Path, config: dict[str, Any], unsafe: bool) -> None:
    """Raise unless everything that a model's config builds is Keras' own.

    Args:
        path: for the message.
        config: `{"class_name", "config"}`, in the form of Keras 2 or 3.
        unsafe: let code and custom classes pass.

    Raises:
        ModelError: names the layer and its place.
    """
    for place, part in _objects(config.get("config"), "the model"):
        name = str(part["class_name"])
        if name in _OPERATIONS:
            raise ModelError(
                f"{path}: {place} is a {name}, an operation of TensorFlow between Keras 2's layers, which Keras 3 "
                "cannot read. Build the model again from Keras' own layers (Rescaling, Add) and load its weights."
            )
        if unsafe:
            continue
        if name in _CODE:
            raise UnsafeModelError(
                f"{path}: {place} is a {name}, which runs code from the file. Replace it by Keras' own layers "
                "(Rescaling, Activation)."
            )
        if not _is_own(part):
            needed = part.get("config") if name == "function" else name
            raise UnsafeModelError(
                f"{path}: {place} needs {needed!r:.80}, which is not Keras' own. Replace it by Keras' own layers."
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
    if (module, name) == ("keras.src.applications.convnext", "LayerScale"):  # the one layer that only a network has
        return True
    if (found := re.fullmatch(r"keras\.src\.ops\.(image|linalg|math|nn|numpy)", str(module))) is not None:
        # What `keras.ops` puts between layers; those of `core` take functions.
        operation = getattr(getattr(keras.src.ops, found[1]), str(name), None)
        return isinstance(operation, type) and issubclass(operation, keras.Operation)
    homes = (keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.dtype_policies)
    return any(isinstance(getattr(home, str(name), None), type) for home in homes)


def _load_hdf5(path: Path, unsafe: bool) -> LoadedModel:
    with h5py.File(path, "r") as file:
        config = _json_attribute(file, "model_config")
        if config is None:
            raise ModelError(
                f"{path} holds weights without a model. Save the whole model with model.save(), not save_weights()."
            )
        training = _json_attribute(file, "training_config") or {}
        check_config(path, {"config": config}, unsafe)
        check_links(path, file["model_weights"])
    with tempfile.TemporaryDirectory() as folder:
        # Keras goes by the suffix, and reads the layers from an attribute, which may need changes.
        copy = Path(shutil.copyfile(path, Path(folder, "model.h5")))
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(migrate(config))
        model = keras.models.load_model(copy, compile=False, safe_mode=not unsafe)
        with h5py.File(copy, "r") as file:
            assign_by_name(model, file["model_weights"])
    return _loaded(model, training.get("loss"))


def _loaded(model: Any, loss: Any) -> LoadedModel:
    name, from_logits = _loss_of(loss)
    if not from_logits or len(model.outputs) != 1 or not ends_linear(model):
        return LoadedModel(model, False)
    if name == "binary_crossentropy" and class_units(model) > 1:  # several labels at once: no softmax would be right
        outputs = keras.layers.Activation("sigmoid")(model.outputs[0])
        return LoadedModel(keras.Model(model.inputs, outputs, name=model.name), False)
    return LoadedModel(model, True)


def _json_attribute(file: h5py.File, name: str) -> Any:
    text = file.attrs.get(name)
    if text is None:
        return None
    data = text if isinstance(text, str) else bytes(text).decode("utf-8")
    return json.loads(data)


def check_links(path: Path, group: Any) -> None:
    """Raise if an HDF5 group leads out of its file.

    Raises:
        ModelError: names the entry.
    """
    for name in group:
        link = group.get(name, getlink=True)
        entry = group[name] if isinstance(link, h5py.HardLink) else None
        if isinstance(entry, h5py.Group):
            check_links(path, entry)
        elif entry is None or entry.external or entry.is_virtual:
            raise ModelError(f"{path}: the weights {name!r} are a link out of the file: it is not safe to load.")
        elif entry.nbytes > max(_SMALL_BYTES, _MAX_EXPANSION * entry.id.get_storage_size()):
            raise ModelError(f"{path}: the weights {name!r} would grow to {entry.nbytes} bytes: not safe to load.")


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


def _loss_of(loss: Any) -> tuple[str | None, bool]:
    """Return a compiled loss's name in snake case, and whether it takes logits."""
    if isinstance(loss, dict):
        name, inner = loss.get("class_name"), loss.get("config")
        if name == "function" or not isinstance(inner, dict):
            name, inner = inner if isinstance(inner, str) else name, {}
        return _snake_case(str(name)), inner.get("from_logits") is True
    return (_snake_case(loss), False) if isinstance(loss, str) else (None, False)


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


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
            "in. Expected layers between an input and an output. Make it one of them: inputs = keras.Input((height, "
            "width, 3)); model = keras.Model(inputs, model(inputs))."
        ) from error
    if len(inputs) != 1 or len(outputs) != 1:
        names = ", ".join(str(tensor.name) for tensor in (*inputs, *outputs))
        raise ModelError(
            f"The model {model.name} has {len(inputs)} inputs and {len(outputs)} outputs ({names[:200]}). "
            "Expected one image in and one row of classes out."
        )
    shape, output = tuple(inputs[0].shape), tuple(outputs[0].shape)
    if len(shape) != 4 or shape[3] not in (1, 3):
        hint = " Its channels come first: build it again with channels_last." if _is_channels_first(shape) else ""
        raise ModelError(
            f"The model {model.name} takes {shape}. Expected images: (None, height, width, 3), or 1 for grey.{hint}"
        )
    if len(output) != 2 or output[1] is None:
        raise ModelError(
            f"The model {model.name} gives {output}. Expected a row of classes, (None, classes): it is no classifier."
        )
    return shape[1], shape[2], int(shape[3])


def _is_channels_first(shape: tuple[int | None, ...]) -> bool:
    return len(shape) == 4 and shape[1] in (1, 3)


def check_precision(model: Any) -> None:
    """Raise unless every layer computes in float32.

    Raises:
        ModelError: names the layer.
    """
    for layer in model.layers:
        if layer.compute_dtype != "float32":
            raise ModelError(
                f"The layer `{layer.name}` computes in {layer.compute_dtype}. Expected float32: build the model again "
                "with the policy float32 and load its weights."
            )


def at_size(model: Any, shape_hwc: tuple[int, int, int]) -> Any:
    """Return the model with a free batch and this input, (height, width, channels), with the same weights.

    Raises:
        ModelError: it cannot be built for this size.
    """
    if tuple(model.inputs[0].shape) == (None, *shape_hwc):
        return model
    inputs = keras.Input(shape_hwc)
    try:
        fixed = keras.models.clone_model(model, input_tensors=inputs)
        fixed.set_weights(model.get_weights())
    except Exception as error:  # Keras raises whatever a layer finds wrong with the size
        raise ModelError(
            f"The model {model.name} cannot be built for {shape_hwc} ({cause_of(error)}). Take the size that it was "
            "built for."
        ) from error
    return fixed


def class_units(model: Any) -> int:
    """Return how many values a model gives for an image."""
    return int(model.outputs[0].shape[-1])


def ends_linear(model: Any) -> bool:
    """Whether a model's last layer has no activation of its own."""
    last = model
    while getattr(last, "layers", None):  # a nested model may be the last layer
        last = last.outputs[0]._keras_history.operation
    if isinstance(last, keras.layers.Softmax):
        return False
    return getattr(getattr(last, "activation", None), "__name__", "linear") == "linear"
