"""Files as Keras wrote them before it was part of TensorFlow, 2.1 and 2.2: reconstructed from those of TensorFlow 2.2.

These versions need a TensorFlow 1 that can be installed no more. What they wrote is known from their source: a model is
a `Model`, no layer has a `dtype`, a Sequential gives its shape to its first layer and was a bare list before 2.2.3,
initialisers go by `VarianceScaling`, and before 2.2 there was no ReLU layer but an activation `relu6`.
"""

from __future__ import annotations

import json

import h5py

GLOROT = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None},
}


def rewrite(path, version: str) -> None:  # type: ignore[no-untyped-def]
    """Write the config of a file again in the words of `2.1.6` or `2.2.4`."""
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(_in_old_words(config, version)).encode()
        for group in (file, file["model_weights"]):
            group.attrs["keras_version"] = version.encode()
            group.attrs["backend"] = b"tensorflow"
        if "top_level_model_weights" in file["model_weights"]:
            del file["model_weights"]["top_level_model_weights"]


def _in_old_words(part, version: str):  # type: ignore[no-untyped-def]
    if isinstance(part, list):
        return [_in_old_words(entry, version) for entry in part]
    if not isinstance(part, dict):
        return part
    part = {key: _in_old_words(value, version) for key, value in part.items()}
    kind, config = part.get("class_name"), part.get("config")
    if kind == "GlorotUniform":
        return GLOROT
    if kind == "Functional":
        part["class_name"] = "Model"
    if kind == "Sequential":
        part["config"] = _sequential(config, version)
    elif isinstance(config, dict) and kind != "InputLayer":
        part["config"] = {key: value for key, value in config.items() if key not in ("dtype", "groups")}
        if kind == "BatchNormalization":
            part["config"]["axis"] = -1
    elif kind == "InputLayer":
        config.pop("ragged", None)
    if kind == "ReLU" and version < "2.2":
        part["class_name"] = "Activation"
        part["config"] = {"name": config["name"], "trainable": True, "activation": "relu6"}
    return part


def _sequential(config, version: str):  # type: ignore[no-untyped-def]
    layers = config["layers"]
    shape = config.get("build_input_shape") or layers[0]["config"].get("batch_input_shape")
    if layers[0]["class_name"] == "InputLayer":
        shape = layers[0]["config"]["batch_input_shape"]
        layers = layers[1:]
    if layers[0]["class_name"] not in ("Model", "Sequential"):
        layers[0]["config"].update(batch_input_shape=shape, dtype="float32")
    return layers if version < "2.2.3" else {"name": config["name"], "layers": layers}
