"""Files of Keras 2 for the tests, written by hand: configs as it writes them, and weights by their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trainkit.models._loading import load_model_file


def entry(name: str, kind: str, *inbound: Any, **config: Any) -> dict[str, Any]:
    """Return a layer of a Functional model of Keras 2; `inbound` are the layers that it takes, or whole nodes."""
    node = [[source, 0, 0, {}] if isinstance(source, str) else source for source in inbound]
    named = {"name": name, **({} if kind == "InputLayer" else {"trainable": True}), "dtype": "float32", **config}
    return {"class_name": kind, "config": named, "name": name, "inbound_nodes": [node] if node else []}


def functional(*entries: dict[str, Any], name: str = "model") -> dict[str, Any]:
    """Return a Functional model of an image of 6x8 and a head of three classes."""
    begin = entry("images", "InputLayer", batch_input_shape=[None, 6, 8, 3], sparse=False, ragged=False)
    last = entries[-1]["name"] if entries else "images"
    pool = entry("pool", "GlobalAveragePooling2D", last, data_format="channels_last")
    dense = entry("classes", "Dense", "pool", units=3, activation="softmax")
    config = {"name": name, "layers": [begin, *entries, pool, dense]}
    return {
        "class_name": "Functional",
        "config": {**config, "input_layers": [["images", 0, 0]], "output_layers": [["classes", 0, 0]]},
    }


KERNEL = np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)


def write(path: Path, config: dict[str, Any], version: str = "2.11.0", **weights: np.ndarray) -> Path:
    """Write an `.h5` of Keras 2; weights are named `layer__variable`."""
    stored = {"classes__kernel": KERNEL, "classes__bias": np.float32([0.1, 0, -0.1]), **weights}
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": version, "backend": "tensorflow", "model_config": json.dumps(config)})
        group = file.create_group("model_weights")
        for name in dict.fromkeys(name.partition("__")[0] for name in stored):
            inner = group.create_group(name)
            own = {key: value for key, value in stored.items() if key.partition("__")[0] == name}
            for key, value in own.items():
                inner.create_dataset(f"{name}/{key.partition('__')[2]}:0", data=value)
            inner.attrs["weight_names"] = [f"{name}/{key.partition('__')[2]}:0".encode() for key in own]
    return path


def answers(path: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return images and what a file answers to them."""
    x = np.random.default_rng(4).uniform(-2, 2, (3, 6, 8, 3)).astype(np.float32)
    return x, load_model_file(path, **options).model.predict(x, verbose=0)


def classified(features: np.ndarray) -> np.ndarray:
    """Return what the head of `functional` makes of a feature map."""
    logits = features.mean(axis=(1, 2)) @ KERNEL + np.float32([0.1, 0, -0.1])
    powers = np.exp(logits)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def node(*values: Any, **named: Any) -> list[Any]:
    """Return the inbound node of an operation, as Keras 2.4 and later write it."""
    return [values[0], 0, 0, named] if isinstance(values[0], str) else ["_CONSTANT_VALUE", -1, values[0], named]


def operation(name: str, function: str, one_node: list[Any]) -> dict[str, Any]:
    """Return an operation of TensorFlow between layers."""
    kind = "SlicingOpLambda" if function == "__operators__.getitem" else "TFOpLambda"
    return {**entry(name, kind, function=function), "inbound_nodes": [one_node]}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))
