"""A classifier that is opened: what it answers, and what it refuses."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client import edit
from photographs import COLORS_BGR, draw_photo

from trainkit.deploy import Classifier
from trainkit.deploy.python._pixels import check_image


def photos() -> list[np.ndarray]:
    """Photographs of every class and of none, none of them square."""
    colors = [*COLORS_BGR.values(), (128, 128, 128)]
    return [draw_photo(seed, color, 49 + 9 * seed, 82 - 8 * seed) for seed, color in enumerate(colors)]


def test_predict_answers_as_keras_does(classifier: Classifier, trained_run, street_image: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    from trainkit.models._outputs import load_keras_model

    model, preprocessing = load_keras_model(trained_run.model_path), trained_run.preprocessing
    images = [*photos(), street_image]
    inputs = preprocessing.to_input([preprocessing.to_pixels(image) for image in images])
    expected = model.predict(inputs, verbose=0)
    assert 0.3 < expected.max(axis=1).min() < expected.max() < 0.999  # neither saturated nor uniform
    actual = np.array([classifier.probabilities(image) for image in images])
    assert np.abs(actual - expected).max() <= 1e-5
    logits, expected_logits = (
        np.log(values) - np.log(values).mean(axis=1, keepdims=True) for values in (actual, expected)
    )
    assert np.abs(logits - expected_logits).max() <= 1e-4 * expected_logits.std()
    for image, row in zip(images, expected, strict=True):
        found = classifier.predict(image)
        assert [name for name, _ in found] == [classifier.class_names[index] for index in np.argsort(-row)]
        assert [probability for _, probability in found] == pytest.approx(sorted(row, reverse=True), abs=1e-5)


def test_batch_answers_as_its_images_one_by_one(classifier: Classifier) -> None:
    images = photos()
    together = classifier.forward(classifier.to_blob(images))
    assert together.shape == (len(images), 3)
    assert np.abs(together - [classifier.probabilities(image) for image in images]).max() <= 1e-6


@pytest.mark.parametrize("path", ["", "manifest.json"])
@pytest.mark.parametrize("as_type", [str, Path])
def test_classifier_opens_a_folder_or_its_manifest(tiny_bundle: Path, path: str, as_type: type) -> None:
    opened = Classifier(as_type(tiny_bundle / path))
    assert opened.folder == tiny_bundle
    assert opened.class_names == ["blue", "green", "red"]
    assert opened.predict(draw_photo(1, COLORS_BGR["red"]))[0].label == "red"


def test_classifier_opens_the_working_folder(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_bundle)
    assert Classifier("manifest.json").class_names == Classifier(".").class_names == ["blue", "green", "red"]


def test_classifier_reads_a_manifest_with_required_keys_only(bundle: Path, classifier: Classifier) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    minimal = {key: manifest[key] for key in ("schema", "blob", "output")}
    minimal["model"] = {key: manifest["model"][key] for key in ("file", "format")}
    (bundle / "manifest.json").write_text(json.dumps(minimal))
    image = draw_photo(1, COLORS_BGR["red"])
    assert Classifier(bundle).predict(image) == classifier.predict(image)


def test_predict_returns_at_most_top_labels_best_first(classifier: Classifier, street_image: np.ndarray) -> None:
    whole = classifier.predict(street_image)
    assert len(whole) == 3
    assert [found.probability for found in whole] == sorted((found.probability for found in whole), reverse=True)
    assert sum(found.probability for found in whole) == pytest.approx(1)
    assert isinstance(whole[0].probability, float)
    for top in (1, 2, 3, 100):
        assert classifier.predict(street_image, top=top) == whole[:top]


def test_predict_leaves_out_what_is_below_the_confidence(classifier: Classifier, street_image: np.ndarray) -> None:
    whole = classifier.predict(street_image)
    middle = whole[1].probability
    assert classifier.predict(street_image, min_confidence=middle) == whole[:2]
    assert classifier.predict(street_image, min_confidence=np.nextafter(middle, 1)) == whole[:1]
    assert classifier.predict(street_image, min_confidence=1) == []
    assert classifier.predict(street_image, min_confidence=0, top=2) == whole[:2]


@pytest.mark.parametrize(
    ("arguments", "message"), [({"top": -1}, "top"), ({"min_confidence": float("nan")}, "min_confidence")]
)
def test_predict_refuses_what_can_mean_nothing(
    classifier: Classifier, street_image: np.ndarray, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        classifier.predict(street_image, **arguments)


def test_results_stay_as_they_were_given(classifier: Classifier) -> None:
    red, blue = (draw_photo(1, COLORS_BGR[name]) for name in ("red", "blue"))
    blob = classifier.to_blob([red])
    results = classifier.forward(blob), classifier.probabilities(red), blob
    kept = [result.copy() for result in results]
    classifier.probabilities(blue)
    for result, copy in zip(results, kept, strict=True):
        np.testing.assert_array_equal(result, copy)


def test_images_in_one_blob_are_answered_as_one_by_one(classifier: Classifier) -> None:
    several = classifier.predict_many(photos(), top=2, min_confidence=0.01)
    assert len(several) == len(photos())
    for found, photo in zip(several, photos(), strict=True):
        alone = classifier.predict(photo, top=2, min_confidence=0.01)
        assert [one.label for one in found] == [one.label for one in alone]
        np.testing.assert_allclose([one.probability for one in found], [one.probability for one in alone], atol=1e-6)
    assert classifier.predict_many([]) == []


def test_results_stay_as_they_were_after_the_next_call(classifier: Classifier) -> None:
    first, blob = classifier.predict_many(photos()), classifier.to_blob(photos())
    rows, raw = classifier.forward(blob), classifier.run(blob)
    copies = [list(found) for found in first], rows.copy(), raw.copy()
    others = [255 - photo for photo in photos()]
    assert classifier.predict_many(others) != first
    classifier.forward(classifier.to_blob(others))
    assert first == copies[0]
    np.testing.assert_array_equal(rows, copies[1])
    np.testing.assert_array_equal(raw, copies[2])


def test_a_net_a_thread_answers_as_one_alone(tiny_bundle: Path) -> None:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (40, 50, 3), np.uint8) for _ in range(50)]
    classifier = Classifier(tiny_bundle)
    expected = [classifier.predict(image) for image in images]

    def work(thread: int) -> bool:
        own = Classifier(tiny_bundle)
        return all(own.predict(images[i % 50]) == expected[i % 50] for i in range(thread, thread + 1250))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_results_can_be_changed_without_harm(classifier: Classifier) -> None:
    image = draw_photo(1, COLORS_BGR["red"])
    untouched, before = image.copy(), classifier.predict(image)
    for result in (classifier.probabilities(image), classifier.forward(classifier.to_blob([image]))):
        result[:] = 0
    classifier.class_names.clear()
    classifier.predict(image).clear()
    assert classifier.predict(image) == before
    np.testing.assert_array_equal(image, untouched)


def test_predict_takes_views_of_an_image(classifier: Classifier, street_image: np.ndarray) -> None:
    for view in (
        street_image[:, ::-1],
        street_image[5:, 7::2],
        np.asfortranarray(street_image),
        street_image[..., ::-1],
    ):
        assert classifier.predict(view) == classifier.predict(view.copy())


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (3000, 2, 3)])
def test_predict_takes_any_size(classifier: Classifier, shape: tuple[int, int, int]) -> None:
    assert len(classifier.predict(np.full(shape, 90, np.uint8))) == 3


@pytest.mark.parametrize("image", [None, 5.0, "photo.jpg", Path("photo.jpg"), [[[0, 0, 0]]], b"bytes"])
def test_predict_of_what_is_no_array_is_a_type_error(classifier: Classifier, image: Any) -> None:
    with pytest.raises(TypeError, match=r"Expected an image as cv2\.imread returns it, a uint8 array\. Received: \w+"):
        classifier.predict(image)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 6, 3), np.float32),
        np.zeros((5, 6, 3), np.int8),
        np.zeros((5, 6, 3), np.uint16),
        np.zeros((5, 6, 3), bool),
        np.zeros((5, 6), np.uint8),
        np.zeros((5, 6, 1), np.uint8),
        np.zeros((5, 6, 4), np.uint8),
        np.zeros((3, 5, 6), np.uint8),
        np.zeros((1, 5, 6, 3), np.uint8),
        np.zeros((0, 6, 3), np.uint8),
        np.zeros((5, 0, 3), np.uint8),
        np.array(5, np.uint8),
    ],
    ids=lambda image: f"{image.dtype}-{image.shape}",
)
def test_predict_of_another_kind_of_image_is_a_value_error(classifier: Classifier, image: np.ndarray) -> None:
    for call in (classifier.predict, classifier.probabilities, classifier.prepare, check_image):
        with pytest.raises(
            ValueError, match=r"Expected a uint8 image of shape \(height, width, 3\), BGR.* Received: \w+"
        ):
            call(image)


def test_several_labels_at_once_are_all_found(bundle: Path, classifier: Classifier, street_image: np.ndarray) -> None:
    opened = Classifier(edit(bundle, output={"kind": "sigmoid", "multi_label": True}))
    lowest = classifier.predict(street_image)[-1].probability
    assert opened.predict(street_image, min_confidence=lowest) == classifier.predict(street_image)
    assert len(opened.predict(street_image, top=2)) == 2


@pytest.mark.parametrize(
    ("blob", "before"),
    [
        ({"scalefactor": 1 / 127.5, "mean": [127.5, 127.5, 127.5, 0]}, []),
        ({"scalefactor": 0.017, "mean": [123.675, 116.28, 103.53, 0], "swapRB": True, "crop": True}, []),
        ({"scalefactor": 1.0, "mean": [103.939, 116.779, 123.68, 0], "swapRB": False}, []),
        (
            {"scalefactor": 1 / 255, "mean": [33.3, 0, 0, 0]},
            [{"step": "pad", "color_bgr": [255, 0, 9]}, {"step": "gray"}],
        ),
    ],
)
def test_blob_of_levels_is_the_blob(
    tiny_bundle: Path, tmp_path: Path, blob: dict[str, Any], before: list[Any], street_image: np.ndarray
) -> None:
    bundle = edit(shutil.copytree(tiny_bundle, tmp_path / "bundle"), blob=blob, before_blob=before)
    classifier = Classifier(bundle, trial=False)  # which takes no grey images, but nobody asks it
    for image in (street_image, 255 - street_image[::-1, :57], np.zeros((1, 1, 3), np.uint8)):
        made, levels = classifier.to_blob_and_levels(image)
        expected = classifier.to_blob([image])
        assert (made.dtype, made.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(made, expected)
        np.testing.assert_array_equal(levels, classifier.to_pixels(image))
