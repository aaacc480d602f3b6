"""The file of the best model holds what Keras would have written, however it was written."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainkit.backend import keras
from trainkit.training._model_file import ModelFile


def build(units: int = 3) -> tuple[Any, Any]:
    """Return a network and its head, which is to change."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for filters in (4, 5, 6):
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(filters, 3, padding="same")(x))
    features = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(units)(keras.layers.Dropout(0.5)(features))
    return keras.Model(inputs, outputs), keras.Model(features, outputs)


def change(variables: list[Any], seed: int) -> None:
    for variable in variables:
        variable.assign(np.random.default_rng(seed).normal(size=variable.shape))


def save(file: ModelFile, model: Any, path: Path) -> Any:
    """Save as a training does, and return what is in the file."""
    temporary = path.with_name("temporary.keras")
    file.save(model, temporary)
    temporary.replace(path)
    return keras.models.load_model(path)


def check_same(loaded: Any, model: Any) -> None:
    for one, other in zip(loaded.weights, model.weights, strict=True):
        assert one.path.split("/")[-1] == other.path.split("/")[-1]
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_later_files_hold_what_has_changed_and_keras_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, head = build()
    asked: list[Any] = []
    own = type(model).save
    monkeypatch.setattr(type(model), "save", lambda self, path: (asked.append(self), own(self, path))[1])
    file = ModelFile(tmp_path / "model.keras", head.weights)
    for seed in range(3):
        change(head.weights, seed)
        check_same(save(file, model, tmp_path / "model.keras"), model)
    assert len(asked) == 1
    own(model, tmp_path / "own.keras")
    with zipfile.ZipFile(tmp_path / "own.keras") as ours, zipfile.ZipFile(tmp_path / "model.keras") as theirs:
        for one, other in zip(ours.infolist(), theirs.infolist(), strict=True):
            assert (one.filename, one.file_size, one.compress_type) == (
                other.filename,
                other.file_size,
                other.compress_type,
            )
        assert ours.read("config.json") == theirs.read("config.json")


def test_what_could_be_two_arrays_is_left_to_keras(tmp_path: Path) -> None:
    model, head = build(units=4)
    change(head.weights, 0)
    head.weights[1].assign(model.layers[1].bias)  # (4,), as another one's
    file = ModelFile(tmp_path / "model.keras", head.weights)
    for seed in range(3):
        check_same(save(file, model, tmp_path / "model.keras"), model)
        change(head.weights, seed)
    check_same(save(file, model, tmp_path / "model.keras"), model)


def test_network_that_changes_as_a_whole_or_is_another_one_is_left_to_keras(tmp_path: Path) -> None:
    model, _ = build()
    for changing in (model.weights, build()[1].weights):
        file = ModelFile(tmp_path / "model.keras", changing)
        for seed in range(3):
            change(model.trainable_weights, seed)
            check_same(save(file, model, tmp_path / "model.keras"), model)


def test_file_that_has_gone_is_written_anew(tmp_path: Path) -> None:
    model, head = build()
    file = ModelFile(tmp_path / "model.keras", head.weights)
    for seed in range(3):
        change(head.weights, seed)
        check_same(save(file, model, tmp_path / "model.keras"), model)
        (tmp_path / "model.keras").unlink()
