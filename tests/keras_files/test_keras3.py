"""The fifty files of today's Keras become bundles that answer as Keras does, or are refused for the one true reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_files.keras3 import FILES, File, save, save_model

import trainkit
from trainkit.backend import keras
from trainkit.bundles._keras_model import preprocessing_of
from trainkit.data._sources import load_sample_images
from trainkit.errors import TrainkitError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method"),
]


def names_of(model: Any) -> list[str]:
    return [f"class {number}" for number in range(max(2, min(20, model.outputs[0].shape[-1])))]


def to_probabilities(answers: np.ndarray, from_logits: bool) -> np.ndarray:
    rows = answers.reshape(len(answers), -1).astype(np.float64)
    if from_logits and rows.shape[1] > 1:
        rows = np.exp(rows - rows.max(1, keepdims=True))
        return np.asarray(rows / rows.sum(1, keepdims=True))
    if from_logits:
        rows = 1 / (1 + np.exp(-rows))
    return np.hstack([1 - rows, rows]) if rows.shape[1] == 1 else rows


def export(path: Path, file: File) -> tuple[Any, trainkit.Bundle]:
    """Export a file by a name, and return its model as Keras reads it."""
    model = keras.models.load_model(path, compile=False)
    options = {"preprocessing": file.preprocessing, "class_names": names_of(model), "exported": path.parent}
    return model, trainkit.export(path, **options, **file.options)


def assert_answers_as_keras(path: Path, name: str, file: File) -> None:
    """Hold a bundle against both ways in which Keras answers: called at once, and as a compiled graph."""
    model, bundle = export(path, file)
    classifier = trainkit.Classifier(bundle.path)
    preprocessing = preprocessing_of(classifier)
    photos = load_sample_images().images
    images = [photos[index] for index in range(6)]
    inputs = preprocessing.to_input([preprocessing.to_pixels(image) for image in images])
    from_logits = bool(file.options.get("from_logits")) or name == "scratch_guide"  # which was compiled so
    called = np.concatenate([np.asarray(model(one[None], training=False)) for one in inputs])
    predicted = model.predict(inputs, batch_size=1, verbose=0)
    expected = [to_probabilities(answers, from_logits) for answers in (called, predicted)]
    actual = np.stack([classifier.probabilities(image) for image in images])
    assert expected[0].std(0).max() > 0.02  # answers that are all alike would show nothing
    own = np.abs(expected[0] - expected[1]).max()  # a network may be sensitive to rounding in Keras itself
    bound = max(1e-5, own, rounding_of(model, inputs, from_logits))
    assert min(np.abs(actual - one).max() for one in expected) <= bound


def rounding_of(model: Any, inputs: np.ndarray, from_logits: bool) -> float:
    """Return how far Keras' own answers move where the last bit of each input does, which no reader can undercut."""
    moved = [inputs, *(inputs * np.float32(1 + side * 2.0**-23) for side in (-1, 1))]
    answers = [to_probabilities(model.predict(one, batch_size=1, verbose=0), from_logits) for one in moved]
    return max(float(np.abs(answers[0] - one).max()) for one in answers[1:])


@pytest.mark.parametrize("name", [name for name, file in FILES.items() if not file.refused])
def test_file_becomes_a_bundle_that_answers_as_keras(tmp_path: Path, name: str) -> None:
    assert_answers_as_keras(save(name, tmp_path), name, FILES[name])


@pytest.mark.parametrize("name", [name for name, file in FILES.items() if file.refused])
def test_file_is_refused_for_the_true_reason(tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainkitError, match=FILES[name].refused):
        export(save(name, tmp_path), FILES[name])
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize("name", [name for name, file in FILES.items() if file.mended])
def test_what_a_refusal_advises_helps(tmp_path: Path, name: str) -> None:
    mended = FILES[name].mended
    assert mended is not None
    file = File(build=mended, preprocessing=FILES[name].preprocessing)
    assert_answers_as_keras(save_model(mended, tmp_path / "mended.keras", file), name, file)


def test_there_are_fifty_and_most_become_bundles() -> None:
    assert len(FILES) == 50
    assert sum(not file.refused for file in FILES.values()) >= 40
