"""Files of Keras 2: calls of layers in a training, models of several tensors, names and the cells of an RNN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras2_files import KERNEL, answers, classified, entry, functional, sigmoid, write

from trainkit.backend import keras
from trainkit.errors import ModelError
from trainkit.models._keras2._building import hard_sigmoid_of_keras_2
from trainkit.models._keras2._parts import Part
from trainkit.models._keras2._weights import assign_archive
from trainkit.models._loading import load_model_file

layers = keras.layers


def called_in_training(*entries: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a model in which a layer is called with training=True."""
    config = functional(*entries)
    found = next(data for data in config["config"]["layers"] if data["name"] == name)
    for source in found["inbound_nodes"][0]:
        source[3] = {"training": True}
    return config


def nested(name: str, *stack: dict[str, Any]) -> dict[str, Any]:
    """Return a Sequential of layers, called on the images."""
    inner = {"name": name, "layers": list(stack), "build_input_shape": [None, 6, 8, 3]}
    return {**entry(name, "Sequential", "images"), "config": inner}


STATISTICS = {
    "norm__gamma": np.float32([1, 2, 3]),
    "norm__beta": np.float32([0.5, 0, -1]),
    "norm__moving_mean": np.float32([1, -1, 0]),
    "norm__moving_variance": np.float32([1, 4, 0.25]),
}


def normalized(x: np.ndarray) -> np.ndarray:
    """Return what a BatchNormalization of `STATISTICS` makes of a feature map, outside a training."""
    gamma, beta, mean, variance = STATISTICS.values()
    return np.asarray((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("BatchNormalization", {"axis": [3]}),
        ("Dropout", {"rate": 0.5}),
        ("SpatialDropout2D", {"rate": 0.5}),
        ("GaussianNoise", {"stddev": 0.1}),
        ("RandomFlip", {"mode": "horizontal"}),
        ("RandomCrop", {"height": 4, "width": 4}),
        ("RandomHeight", {"factor": 0.1}),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_call_of_a_training_is_refused(tmp_path: Path, kind: str, config: dict[str, Any], inside: bool) -> None:
    part = nested("inner", entry("noise", kind, **config)) if inside else entry("noise", kind, "images", **config)
    path = write(tmp_path / "model.h5", called_in_training(part, name=part["name"]))
    place = " in `inner`" if inside else ""
    with pytest.raises(ModelError, match=rf"`noise` \({kind}\){place} is called with training=True, so .*set_weights"):
        load_model_file(path)


def test_dropout_in_a_cell_that_is_called_in_a_training_is_refused(tmp_path: Path) -> None:
    rows = entry("rows", "Reshape", "images", target_shape=[6, 24])
    lstm = entry("lstm", "LSTM", "rows", units=3, return_sequences=True, dropout=0.2)
    spread = entry("spread", "Reshape", "lstm", target_shape=[6, 1, 3])
    with pytest.raises(ModelError, match=r"`lstm_cell\w*` \(LSTMCell\) in `lstm` is called with training=True"):
        load_model_file(write(tmp_path / "model.h5", called_in_training(rows, lstm, spread, name="lstm")))


def test_frozen_normalization_is_not_changed_by_a_call_of_a_training(tmp_path: Path) -> None:
    norm = entry("norm", "BatchNormalization", "images", axis=[3], epsilon=1e-3)
    norm["config"]["trainable"] = False
    x, found = answers(write(tmp_path / "model.h5", called_in_training(norm, name="norm"), **STATISTICS))
    np.testing.assert_allclose(found, classified(normalized(x)), atol=1e-6)


@pytest.mark.parametrize("kind", ["Dropout", "RandomFlip", "BatchNormalization"])
def test_call_outside_a_training_is_read(tmp_path: Path, kind: str) -> None:
    own = {"Dropout": {"rate": 0.5}, "RandomFlip": {}, "BatchNormalization": {"axis": [3], "epsilon": 1e-3}}[kind]
    config = functional(entry("norm", kind, "images", **own))
    config["config"]["layers"][1]["inbound_nodes"][0][0][3] = {"training": False}
    more = STATISTICS if kind == "BatchNormalization" else {}
    x, found = answers(write(tmp_path / "model.h5", config, **more))
    np.testing.assert_allclose(found, classified(normalized(x) if more else x), atol=1e-6)


def test_renormalization_answers_by_its_moving_statistics(tmp_path: Path) -> None:
    norm = entry("norm", "BatchNormalization", "images", axis=[3], epsilon=1e-3, renorm=True, renorm_momentum=0.9)
    extra = {f"norm__{name}": np.float32([7, 7, 7]) for name in ("moving_stddev", "renorm_mean", "renorm_stddev")}
    x, found = answers(write(tmp_path / "model.h5", functional(norm), **STATISTICS, **extra))
    np.testing.assert_allclose(found, classified(normalized(x)), atol=1e-6)


def test_renormalization_of_an_archive_takes_its_first_weights(tmp_path: Path) -> None:
    norm = layers.BatchNormalization()
    norm.build((None, 3))
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        group = file.create_group("layers/batch_normalization/vars")
        for place in range(7):
            group[str(place)] = np.full(3, place, np.float32)
        assign_archive(Part("model", "Sequential", None, parts=[Part("norm", "BatchNormalization", norm)]), file)
    assert [weight[0] for weight in norm.get_weights()] == [0, 1, 2, 3]


# Several tensors, names and cells


@pytest.mark.parametrize("kind", ["Add", "Multiply", "Average", "Maximum", "Concatenate"])
def test_merge_of_one_tensor_gives_it(tmp_path: Path, kind: str) -> None:
    x, found = answers(write(tmp_path / "model.h5", functional(entry("merged", kind, "images"))))
    np.testing.assert_allclose(found, classified(x), atol=1e-6)


def dictionary_model() -> dict[str, Any]:
    """Return a nested model {"b", "a"} -> {"u": 3 b - a, "b"}, called with the images and twice these."""
    begins = [entry(name, "InputLayer", batch_input_shape=[None, 6, 8, 3]) for name in ("first", "second")]
    tripled = entry("tripled", "Rescaling", "second", scale=3.0, offset=0.0)
    difference = entry("difference", "Subtract", "tripled", "first")
    inner = {"name": "both", "layers": [*begins, tripled, difference]}
    inner["input_layers"] = {"b": ["second", 0, 0], "a": ["first", 0, 0]}
    inner["output_layers"] = {"u": ["difference", 0, 0], "b": ["second", 0, 0]}
    both = {**entry("both", "Functional"), "config": inner}
    both["inbound_nodes"] = [{"b": ["doubled", 0, 0, {}], "a": ["images", 0, 0, {}]}]
    config = functional(
        entry("doubled", "Rescaling", "images", scale=2.0, offset=0.0), both, entry("cut", "ReLU", "both")
    )
    config["config"]["layers"][3]["inbound_nodes"] = [[["both", 1, 1, {}]]]  # sorted: `b`, `u`
    return config


def test_nested_model_of_dictionaries_is_called_by_their_words(tmp_path: Path) -> None:
    x, found = answers(write(tmp_path / "model.h5", dictionary_model()))
    np.testing.assert_allclose(found, classified(np.maximum(3 * (2 * x) - x, 0)), atol=1e-6)


def test_output_is_chosen_by_the_word_of_a_dictionary_with_its_loss(tmp_path: Path) -> None:
    config = functional()
    config["config"]["layers"] += [entry("other", "Dense", "pool", units=3, activation="linear")]
    config["config"]["output_layers"] = {"tags": ["other", 0, 0], "kind": ["classes", 0, 0]}
    path = write(tmp_path / "model.h5", config, other__kernel=2 * KERNEL, other__bias=np.zeros(3, np.float32))
    losses = {
        "kind": "categorical_crossentropy",
        "tags": {"class_name": "BinaryCrossentropy", "config": {"from_logits": True}},
    }
    with h5py.File(path, "r+") as file:
        file.attrs["training_config"] = json.dumps({"loss": losses})
    with pytest.raises(ModelError, match=r"has 2 outputs: `kind` \(None, 3\), `tags` \(None, 3\)"):
        load_model_file(path)
    x, tags = answers(path, output="tags")
    np.testing.assert_allclose(tags, sigmoid(x.mean(axis=(1, 2)) @ (2 * KERNEL)), atol=1e-6)
    np.testing.assert_allclose(answers(path, output="kind")[1], classified(x), atol=1e-6)


@pytest.mark.parametrize("names", [("a/b", "a_b"), ("a_b", "a/b"), ("a/b/c", "a_b/c")])
def test_names_that_are_the_same_without_slashes_stay_two_layers(tmp_path: Path, names: tuple[str, str]) -> None:
    first = entry(names[0], "DepthwiseConv2D", "images", kernel_size=[1, 1], use_bias=False)
    second = entry(names[1], "DepthwiseConv2D", names[0], kernel_size=[1, 1], use_bias=False)
    path = write(tmp_path / "model.h5", functional(first, second))
    kernels = np.float32([[1, 2, 3], [-1, 0.5, 2]])
    with h5py.File(path, "r+") as file:
        for name, kernel in zip(names, kernels, strict=True):
            group = file["model_weights"].create_group(name)
            group.create_dataset(f"{name}/depthwise_kernel:0", data=kernel.reshape(1, 1, 3, 1))
            group.attrs["weight_names"] = [f"{name}/depthwise_kernel:0".encode()]
    x, found = answers(path)
    np.testing.assert_allclose(found, classified(x * kernels[0] * kernels[1]), atol=1e-6)


def test_hard_sigmoid_of_the_cells_of_an_rnn_is_that_of_keras_2(tmp_path: Path) -> None:
    cells = [
        {"class_name": kind, "config": {"units": 3, "recurrent_activation": "hard_sigmoid"}}
        for kind in ("LSTMCell", "GRUCell")
    ]
    stacked = {"class_name": "StackedRNNCells", "config": {"cells": cells}}
    rows = entry("rows", "Reshape", "images", target_shape=[6, 24])
    rnn = entry("rnn", "RNN", "rows", cell=stacked, return_sequences=True, unroll=True)
    spread = entry("spread", "Reshape", "rnn", target_shape=[6, 1, 3])
    shapes = {"a_kernel": (24, 12), "a_recurrent": (3, 12), "a_bias": (12,), "b_kernel": (3, 9), "b_recurrent": (3, 9)}
    values = {f"rnn__{name}": np.zeros(shape, np.float32) for name, shape in {**shapes, "b_bias": (2, 9)}.items()}
    model = load_model_file(write(tmp_path / "model.h5", functional(rows, rnn, spread), **values)).model
    built = model.get_layer("rnn").cell.cells
    assert [cell.recurrent_activation for cell in built] == [hard_sigmoid_of_keras_2] * 2
