from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from photographs import COLORS_BGR, draw_photo

from trainkit.deploy import Classifier
from trainkit.deploy._build import build_classify
from trainkit.deploy.python import _values
from trainkit.deploy.python._drawing import save_picture
from trainkit.deploy.python._media import read_image
from trainkit.deploy.python._model import read_net
from trainkit.deploy.python._opencv import describe_needs, has_engines
from trainkit.deploy.python._pixels import apply_before_blob, check_image, pad_to_aspect
from trainkit.deploy.python._selftest import selftest
from trainkit.deploy.python._values import NOTHING_FOUND
from trainkit.errors import BundleError

OPENCV_5 = pytest.mark.skipif(not hasattr(cv2.dnn, "ENGINE_CLASSIC"), reason="OpenCV 4 reads it in another way")


SPEED = re.compile(r"[0-9]+ images? in [0-9.]+ s: [0-9.]+ images/s\n")


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Path) -> Classifier:
    return Classifier(tiny_bundle)


def edit(bundle: Path, **sections: dict[str, Any] | list[Any]) -> Path:
    """Change values in sections of a manifest; `None` takes a key out."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name, values in sections.items():
        if isinstance(values, dict):
            values = {**manifest.get(name, {}), **values}
            values = {key: value for key, value in values.items() if value is not None}
        manifest[name] = values
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return bundle


def replace_model(bundle: Path, data: bytes, model_format: str = "onnx") -> Path:
    """Put another model into a bundle, with the checksum and size that belong to it."""
    (bundle / "model.onnx").write_bytes(data)
    size = len(data) or None  # 0 is no size that a manifest may state
    return edit(bundle, model={"format": model_format, "bytes": size, "sha256": hashlib.sha256(data).hexdigest()})


def run_script(
    bundle: Path, *arguments: str, options: tuple[str, ...] = ("-I",), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the bundle's own classify.py in its folder."""
    command = [sys.executable, *options, "classify.py", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=bundle, env=env, capture_output=True, encoding="utf-8", errors="replace", check=False
    )


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


def test_backend_and_target_have_the_names_of_opencv(tiny_bundle: Path, street_image: np.ndarray) -> None:
    expected = Classifier(tiny_bundle).predict(street_image)
    for backend, target in (
        ("OPENCV", "CPU"),
        ("dnn_backend_opencv", None),
        (None, "DNN_TARGET_CPU"),
        ("DEFAULT", "cpu"),
    ):
        assert Classifier(tiny_bundle, backend=backend, target=target).predict(street_image) == expected


@pytest.mark.parametrize(("backend", "target"), [("CUDA", None), ("CUDA", "CUDA_FP16"), (None, "MYRIAD")])
def test_backend_that_this_opencv_lacks_is_a_sentence(
    tiny_bundle: Path, backend: str | None, target: str | None
) -> None:
    with pytest.raises(BundleError, match=r"cannot compute with .* on this machine\. It has: .*OPENCV on CPU"):
        Classifier(tiny_bundle, backend=backend, target=target)


@pytest.mark.parametrize("choice", [{"backend": "PENTIUM"}, {"target": "ABACUS"}, {"backend": ""}])
def test_backend_that_opencv_does_not_know_is_a_value_error(tiny_bundle: Path, choice: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"OpenCV .* knows no (backend|target) .* It knows: .*"):
        Classifier(tiny_bundle, **choice)


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


def test_model_whose_sha256_differs_is_refused(bundle: Path) -> None:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(data)
    with pytest.raises(
        BundleError, match=r"model\.onnx does not match the sha256 in the manifest: it was changed\. Copy"
    ):
        Classifier(bundle)


def test_model_whose_size_differs_is_refused(bundle: Path) -> None:
    size = (bundle / "model.onnx").stat().st_size
    os.truncate(bundle / "model.onnx", size - 1)
    with pytest.raises(BundleError, match=rf"model\.onnx has {size - 1} bytes; the manifest says {size}\. Copy"):
        Classifier(bundle)


@pytest.mark.parametrize("instead", ["nothing", "folder", "dangling link"])
def test_model_that_is_missing_is_named(bundle: Path, instead: str) -> None:
    (bundle / "model.onnx").unlink()
    if instead == "folder":
        (bundle / "model.onnx").mkdir()
    if instead == "dangling link":
        (bundle / "model.onnx").symlink_to("nowhere.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx is missing: the manifest names it as the model\. Copy"):
        Classifier(bundle)


@pytest.mark.parametrize("relative", [False, True])
def test_model_that_is_a_link_out_of_the_folder_is_refused(bundle: Path, relative: bool) -> None:
    (bundle / "model.onnx").rename(bundle.parent / "model.onnx")
    (bundle / "model.onnx").symlink_to("../model.onnx" if relative else bundle.parent / "model.onnx")
    with pytest.raises(BundleError, match=r"model\.onnx is a link that leaves the bundle\. Put the file itself there"):
        Classifier(bundle)


def test_model_that_is_a_link_within_the_folder_is_read(bundle: Path, classifier: Classifier) -> None:
    (bundle / "model.onnx").rename(bundle / "weights.onnx")
    (bundle / "model.onnx").symlink_to("weights.onnx")
    assert Classifier(bundle).class_names == classifier.class_names


def test_bundle_that_is_reached_by_a_link_is_read(bundle: Path, classifier: Classifier) -> None:
    (bundle.parent / "link").symlink_to(bundle)
    assert Classifier(bundle.parent / "link").class_names == classifier.class_names


@pytest.mark.parametrize("name", ["n" * 300, "\ud800.onnx"])
def test_model_under_a_name_that_no_file_can_have_is_missing(bundle: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"model"):
        Classifier(edit(bundle, model={"file": name}))


@pytest.mark.parametrize("minimum", ["99.0.0", "99", "99.1-dev", "9999999999.0.0"])
def test_bundle_for_a_newer_opencv_is_refused(bundle: Path, minimum: str) -> None:
    with pytest.raises(BundleError, match=rf"needs OpenCV {minimum} or later\. Received: {cv2.__version__}\. Upgrade"):
        Classifier(edit(bundle, opencv={"minimum": minimum}))


@pytest.mark.parametrize("minimum", ["4.5.5", "4", "4.5.5-rc1", "0", cv2.__version__, None])
def test_bundle_for_this_opencv_or_an_older_one_is_read(bundle: Path, minimum: str | None) -> None:
    assert Classifier(edit(bundle, opencv={"minimum": minimum})).class_names


@pytest.mark.parametrize("names", [["a", "b"], ["a"], list("abcdef")])
def test_model_with_another_number_of_classes_is_refused(
    bundle: Path, street_image: np.ndarray, names: list[str]
) -> None:
    opened = Classifier(edit(bundle, output={"class_names": names}))
    with pytest.raises(
        BundleError, match=rf"output has the shape \(1, 3\); the manifest's class names need \(1, {len(names)}\)"
    ):
        opened.predict(street_image)


def test_model_that_cannot_run_on_the_blob_is_refused(bundle: Path, street_image: np.ndarray) -> None:
    opened = Classifier(edit(bundle, blob={"size": [160, 24]}))
    with pytest.raises(BundleError, match=rf"OpenCV {cv2.__version__} cannot run the model \(.+\)\. Copy or export"):
        opened.predict(street_image)


@OPENCV_5
def test_model_without_the_output_it_declares_is_refused(bundle: Path, street_image: np.ndarray) -> None:
    model = onnx.load_model(bundle / "model.onnx")
    model.graph.output[0].name = "elsewhere"
    replace_model(bundle, model.SerializeToString())
    with pytest.raises(BundleError, match="model"):
        Classifier(bundle).predict(street_image)


@pytest.mark.parametrize("content", ["garbage", "empty", "head", "half", "tail", "text"])
@pytest.mark.parametrize("model_format", ["onnx", "frozen-graph"])
def test_damaged_model_with_a_matching_sha256_ends_in_a_sentence(bundle: Path, content: str, model_format: str) -> None:
    data = (bundle / "model.onnx").read_bytes()
    damaged = {
        "garbage": np.random.default_rng(0).bytes(5000),
        "empty": b"",
        "head": data[:100],
        "half": data[: len(data) // 2],
        "tail": data[-1000:],
        "text": b"not a model\n" * 100,
    }[content]
    done = run_script(replace_model(bundle, damaged, model_format), "selftest/1.png")  # it could end the process
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert f"OpenCV {cv2.__version__} cannot r" in done.stderr.splitlines()[-1]  # read or run


def test_read_net_raises_a_sentence_on_one_line() -> None:
    with pytest.raises(
        BundleError, match=r"^OpenCV \S+ cannot read the model \(.{20,200}\)\. Copy or export the bundle again\.$"
    ):
        read_net(b"not a model", "onnx")


@OPENCV_5
def test_read_net_takes_the_engine_that_was_asked_for(tiny_bundle: Path) -> None:
    data = (tiny_bundle / "model.onnx").read_bytes()
    by_path = cv2.dnn.readNetFromONNX(str(tiny_bundle / "model.onnx"), cv2.dnn.ENGINE_CLASSIC)
    assert read_net(data, "onnx", "classic").getLayerNames() == by_path.getLayerNames()
    assert read_net(data, "onnx", "new").getLayerNames() != by_path.getLayerNames()


@pytest.mark.parametrize("engine", ["classic", "new", "auto"])
def test_classifier_answers_alike_with_every_engine(
    tiny_bundle: Path, classifier: Classifier, street_image: np.ndarray, engine: str
) -> None:
    actual = Classifier(tiny_bundle, engine=engine).probabilities(street_image)
    assert np.abs(actual - classifier.probabilities(street_image)).max() <= 1e-5


def test_classifier_refuses_an_unknown_engine(tiny_bundle: Path) -> None:
    with pytest.raises(ValueError, match="engine"):
        Classifier(tiny_bundle, engine="nonsense")


def test_errors_are_those_of_trainkit() -> None:
    assert _values.BundleError is BundleError


@pytest.mark.parametrize(
    ("shape", "width", "height", "expected", "left", "top"),
    [
        ((40, 30), 32, 24, (40, 53), 11, 0),
        ((24, 64), 32, 24, (48, 64), 0, 12),
        ((24, 32), 32, 24, (24, 32), 0, 0),
        ((7, 4), 1, 1, (7, 7), 1, 0),
        ((4, 7), 1, 1, (7, 7), 0, 1),
        ((3, 1), 1, 2, (3, 2), 0, 0),  # 1.5 rounds up
    ],
)
def test_padding_is_centred(
    shape: tuple[int, int], width: int, height: int, expected: tuple[int, int], left: int, top: int
) -> None:
    image = draw_photo(1, (10, 20, 30), *shape)
    padded = pad_to_aspect(image, width, height, (255.0, 128.0, 0.0))
    assert padded.shape == (*expected, 3)
    inner = (slice(top, top + shape[0]), slice(left, left + shape[1]))
    np.testing.assert_array_equal(padded[inner], image)
    padded[inner] = (255, 128, 0)
    assert (padded == (255, 128, 0)).all()


def test_padding_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(BundleError, match=r"An image of 40000x1 padded to 3:2 has more than 268435456 pixels\. Cut it"):
        pad_to_aspect(np.zeros((1, 40000, 3), np.uint8), 3, 2, (0, 0, 0))


def test_steps_are_done_in_their_order(street_image: np.ndarray) -> None:
    pad, gray = {"step": "pad", "color_bgr": [255, 0, 0]}, {"step": "gray"}
    padded = apply_before_blob(street_image, [pad], (10, 10))
    assert padded.shape == (200, 200, 3)
    gray_padded = apply_before_blob(street_image, [pad, gray], (10, 10))
    np.testing.assert_array_equal(gray_padded, cv2.cvtColor(padded, cv2.COLOR_BGR2GRAY))
    assert apply_before_blob(street_image, [], (10, 10)) is street_image


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_read_image_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "photo.png").write_bytes(content)
    with pytest.raises(BundleError, match=r"OpenCV cannot read .*photo\.png as an image\. Convert it to JPEG or PNG"):
        read_image(tmp_path / "photo.png")


@pytest.mark.parametrize("name", ["", "missing.png", "a\0b", "n" * 300])
def test_read_image_that_is_missing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="No such image: "):
        read_image(tmp_path / name)


def cases(bundle: Path) -> list[dict[str, Any]]:
    """Return the cases of a self-test: at least one of each of the three classes."""
    found = json.loads((bundle / "selftest" / "selftest.json").read_text(encoding="utf-8"))["images"]
    assert {int(np.argmax(case["probabilities"])) for case in found} == {0, 1, 2}
    return found


def test_selftest_of_a_whole_bundle(tiny_bundle: Path) -> None:
    result = selftest(tiny_bundle)
    assert result["images"] == result["same_pixels"] == result["same_labels"] == len(cases(tiny_bundle))
    assert result["max_abs_difference"] <= 1e-5
    assert result["ok"] is True
    assert result["originals"] == result["same_originals"] == result["images"]  # they were PNG files
    assert selftest(str(tiny_bundle / "manifest.json")) == result


def change_selftest(bundle: Path, **values: Any) -> Path:
    """Change values of the first case."""
    first, *others = cases(bundle)
    (bundle / "selftest" / "selftest.json").write_text(json.dumps({"images": [{**first, **values}, *others]}))
    return bundle


def test_selftest_detects_another_mean(bundle: Path) -> None:
    mean = json.loads((bundle / "manifest.json").read_text())["blob"]["mean"]
    result = selftest(edit(bundle, blob={"mean": [mean[0] + 1, *mean[1:]]}))
    assert result["ok"] is False
    assert result["same_pixels"] == result["images"]  # they are compared before the mean
    assert result["max_abs_difference"] > 1e-5


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ({"bytes": 1}, "size checked."),
        ({}, "not checked, the manifest says neither size nor sha256."),
    ],
)
def test_script_selftest_says_how_the_model_was_recognised(bundle: Path, left: dict[str, int], said: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    for key in ("bytes", "sha256"):
        value = manifest["model"].pop(key)
        if key in left:
            manifest["model"][key] = value
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert run_script(bundle, "--selftest").stdout.endswith(f"Model file: {said}\n")


@pytest.mark.parametrize("blob", [{"swapRB": False}, {"crop": True}, {"size": [33, 24]}])
def test_selftest_detects_other_pixels(bundle: Path, blob: dict[str, Any]) -> None:
    result = selftest(edit(bundle, blob=blob))
    assert (result["ok"], result["same_pixels"]) == (False, 0)


@pytest.mark.parametrize(
    "values", [{"probabilities": [0, 0, 1]}, {"probabilities": [float("nan")] * 3}, {"pixel_sha256": "0" * 64}]
)
def test_selftest_detects_another_expectation(bundle: Path, values: dict[str, Any]) -> None:
    assert selftest(change_selftest(bundle, **values))["ok"] is False


def test_selftest_detects_classes_in_another_order(bundle: Path) -> None:
    assert selftest(edit(bundle, output={"class_names": ["red", "green", "blue"]}))["ok"] is False


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b'{"images": null}',
        b'{"images": {"a": 1}}',
        b'{"images": [{}]}',
        b'{"images": [5]}',
        b'{"images": []}',
        b"[" * 100_000,
    ],
)
def test_selftest_that_is_damaged_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "selftest" / "selftest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"selftest holds no self-test that can be read .*\. Copy the bundle again"):
        selftest(bundle)


@pytest.mark.parametrize(
    "values",
    [
        {"png": 5},
        {"png": "n" * 300},
        {"probabilities": [0.5, 0.5]},
        {"probabilities": 0.5},
        {"probabilities": ["high", "low", "low"]},
        {"probabilities": None},
    ],
)
def test_selftest_with_an_impossible_case_is_refused(bundle: Path, values: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"selftest"):
        selftest(change_selftest(bundle, **values))


def test_selftest_whose_cases_all_have_too_few_classes_is_refused(bundle: Path) -> None:
    short = [{**case, "probabilities": case["probabilities"][:2]} for case in cases(bundle)]
    (bundle / "selftest" / "selftest.json").write_text(json.dumps({"images": short}))
    with pytest.raises(BundleError, match=r"selftest"):
        selftest(bundle)


@pytest.mark.parametrize("name", ["selftest.json", "1.png"])
def test_selftest_whose_file_is_missing_is_refused(bundle: Path, name: str) -> None:
    (bundle / "selftest" / name).unlink()
    with pytest.raises(BundleError, match=r"selftest"):
        selftest(bundle)


def test_selftest_counts_originals_that_decode_to_other_pixels(bundle: Path) -> None:
    first, second, *_ = (bundle / "selftest" / case["original"] for case in cases(bundle))
    cv2.imwrite(str(first), read_image(first) ^ 1)
    second.unlink()
    result = selftest(bundle)
    assert result["same_originals"] == result["originals"] - 2
    assert result["ok"] is True  # the decoder is another, the network the same
    done = run_script(bundle, "--selftest")
    assert done.returncode == 0
    assert f", {result['originals'] - 2} of {result['originals']} originals equal. Model" in done.stdout


def test_selftest_without_originals_does_not_speak_of_them(bundle: Path) -> None:
    plain = [{key: value for key, value in case.items() if key != "original"} for case in cases(bundle)]
    (bundle / "selftest" / "selftest.json").write_text(json.dumps({"images": plain}))
    assert selftest(bundle)["originals"] == 0
    assert "originals" not in run_script(bundle, "--selftest").stdout


def test_engine_that_the_manifest_names_is_said_and_held(bundle: Path) -> None:
    edit(bundle, opencv={"engine": "classic"})
    said = run_script(bundle, "--selftest").stdout
    assert said.startswith(f"OpenCV {cv2.__version__}, classic engine: ") == has_engines()
    assert Classifier(bundle, engine="classic").class_names
    if has_engines():
        with pytest.raises(
            BundleError, match=r"In OpenCV 5 this bundle needs the classic engine\. Received: new\. Leave"
        ):
            Classifier(bundle, engine="new")


@pytest.mark.parametrize(
    ("opencv", "expected"),
    [
        ({}, ""),
        ({"minimum": "4.5.5"}, ""),
        ({"minimum": "4.10.0"}, "This bundle needs OpenCV 4.10.0 or later."),
        ({"minimum": "4.5.5", "engine": "classic"}, "In OpenCV 5 this bundle needs the classic engine."),
    ],
)
def test_needs_are_said_where_there_are_any(opencv: dict[str, Any], expected: str) -> None:
    assert describe_needs(opencv) == expected


def test_several_labels_at_once_are_all_found(bundle: Path, classifier: Classifier, street_image: np.ndarray) -> None:
    opened = Classifier(edit(bundle, output={"kind": "sigmoid", "multi_label": True}))
    lowest = classifier.predict(street_image)[-1].probability
    assert opened.predict(street_image, min_confidence=lowest) == classifier.predict(street_image)
    assert len(opened.predict(street_image, top=2)) == 2


@pytest.mark.parametrize(("more", "numbers"), [((), range(7)), (("--every", "3"), (0, 3, 6))])
def test_script_classifies_the_frames_of_a_video(
    bundle: Path, film: Path, more: tuple[str, ...], numbers: range | tuple[int, ...]
) -> None:
    done = run_script(bundle, str(film), *more, "--top", "1")
    assert done.returncode == 0
    expected = [f"{film} frame {number}: {list(COLORS_BGR)[number % 3]} " for number in numbers]
    assert [line[: len(start)] for line, start in zip(done.stdout.splitlines(), expected, strict=True)] == expected


def test_script_goes_on_after_what_it_cannot_read(bundle: Path, film: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.avi").write_bytes(b"no film")
    done = run_script(bundle, "missing.png", "labels.txt", "selftest/1.png", str(tmp_path / "broken.avi"), "no.mp4")
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["selftest/1.png"]
    for sentence in (
        "No such image: missing.png",
        "cannot read labels.txt",
        "gets no frame from",
        "No such video: no.mp4",
    ):
        assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_script_with_a_camera_that_is_not_there_says_so(bundle: Path) -> None:
    done = run_script(bundle, "--camera", "97")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith("gets no frame from camera 97. Try another file or camera.")


def test_script_ends_quietly_when_its_reader_has_gone(bundle: Path, film: Path) -> None:
    command = [sys.executable, "-I", "classify.py", *[str(film)] * 40]
    process = subprocess.Popen(command, cwd=bundle, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), errors) == (1, b"")


def test_script_ends_quietly_on_ctrl_c(bundle: Path, film: Path) -> None:
    command = [sys.executable, "-I", "classify.py", *[str(film)] * 400]
    process = subprocess.Popen(
        command,
        cwd=bundle,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Tests that run in the background ignore it, and so would their child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")


OLD_BUNDLE = Path(__file__).parents[1] / "data" / "bundle-v1"


def test_bundle_of_the_first_version_is_still_read() -> None:
    """It stays as it was written (small-cnn on `digits` at 8x8); a client that cannot read it has broken a promise."""
    result = selftest(OLD_BUNDLE)
    assert result["ok"] is True
    assert result["images"] == 8
    opened = Classifier(OLD_BUNDLE)
    assert opened.class_names == list("0123456789")
    for case in json.loads((OLD_BUNDLE / "selftest" / "selftest.json").read_text(encoding="utf-8"))["images"]:
        found = opened.predict(read_image(OLD_BUNDLE / "selftest" / case["png"]))
        assert found[0].label == case["label"]


def test_client_of_the_first_version_still_runs() -> None:
    done = run_script(OLD_BUNDLE, "--selftest", PYTHONDONTWRITEBYTECODE="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the same answers as Keras. 8 of 8 labels" in done.stdout


def test_bundle_carries_the_client_as_it_is(tiny_bundle: Path) -> None:
    assert (tiny_bundle / "classify.py").read_bytes() == build_classify().encode()


def test_client_is_python_3_8() -> None:
    tree = ast.parse(build_classify(), feature_version=(3, 8))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert imports[0].module == "__future__"  # `str | Path` is no error in 3.8 while annotations are not evaluated
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports}
    assert {name for name in names if name not in sys.stdlib_module_names} == {"cv2", "numpy", "trainkit.errors"}


def test_script_classifies_images(bundle: Path, classifier: Classifier) -> None:
    done = run_script(bundle, "selftest/1.png", "selftest/2.png")
    assert done.returncode == 0
    assert SPEED.fullmatch(done.stderr)
    expected = []
    for name in ("selftest/1.png", "selftest/2.png"):
        found = classifier.predict(read_image(bundle / name))
        expected.append(f"{name}: " + ", ".join(f"{label} {probability:.4f}" for label, probability in found))
    assert done.stdout.splitlines() == expected


def test_script_reads_folders_in_batches(bundle: Path) -> None:
    one_by_one = run_script(bundle, "selftest")
    names = sorted(path.name for path in (bundle / "selftest").iterdir() if path.suffix != ".json")
    assert [line.split(": ")[0] for line in one_by_one.stdout.splitlines()] == [f"selftest/{name}" for name in names]
    together = run_script(bundle, "selftest", "--batch", "5")
    assert together.stdout == one_by_one.stdout
    assert SPEED.fullmatch(together.stderr)
    assert f"{len(names)} images in " in together.stderr


def test_script_says_that_a_folder_has_no_images_and_goes_on(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_script(bundle, str(tmp_path / "empty"), "selftest/1.png")
    assert done.returncode == 1
    assert done.stdout.startswith("selftest/1.png: ")
    assert done.stderr.splitlines()[0].startswith(f"No images in {tmp_path / 'empty'}. Expected files that end in .bmp")


def test_script_draws_what_it_found(bundle: Path, tmp_path: Path) -> None:
    assert run_script(bundle, "selftest/1.png", "--annotate", str(tmp_path / "one.png")).returncode == 0
    assert not np.array_equal(read_image(tmp_path / "one.png"), read_image(bundle / "selftest" / "1.png"))
    again = run_script(bundle, "selftest/2.png", "--annotate", str(tmp_path / "one.png"))
    assert again.returncode == 1
    assert "one.png exists already, and nothing is overwritten. Choose another --annotate." in again.stderr
    several = run_script(bundle, "selftest/1.png", "selftest/2.png", "--annotate", str(tmp_path / "new" / "many"))
    assert several.returncode == 0
    assert sorted(path.name for path in (tmp_path / "new" / "many").iterdir()) == ["1.png", "2.png"]
    wrong = run_script(bundle, "selftest/1.png", "--annotate", str(tmp_path / "one.txt"))
    assert (wrong.returncode, (tmp_path / "one.txt").exists()) == (1, False)
    assert "one.txt. Expected a name that ends in .png or .jpg." in wrong.stderr


def test_script_draws_on_frames(bundle: Path, film: Path, tmp_path: Path) -> None:
    assert run_script(bundle, str(film), "--every", "5", "--annotate", str(tmp_path / "out")).returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["film-0.png", "film-5.png"]
    options = argparse.Namespace(annotate=str(tmp_path / "out"), inputs=[])
    save_picture(options, "camera 0 frame 3", np.zeros((8, 8, 3), np.uint8))
    assert (tmp_path / "out" / "camera 0-3.png").is_file()


def test_script_computes_with_what_is_asked_for(bundle: Path) -> None:
    usual = run_script(bundle, "selftest/1.png")
    assert run_script(bundle, "selftest/1.png", "--backend", "opencv", "--target", "CPU").stdout == usual.stdout
    lacking = run_script(bundle, "selftest/1.png", "--backend", "CUDA")
    assert (lacking.returncode, lacking.stdout, lacking.stderr.count("\n")) == (1, "", 1)
    unknown = run_script(bundle, "selftest/1.png", "--target", "ABACUS")
    assert (unknown.returncode, unknown.stdout, unknown.stderr.count("\n")) == (2, "", 1)


def test_script_obeys_top_and_min_confidence(bundle: Path) -> None:
    assert run_script(bundle, "selftest/1.png", "--top", "1").stdout.count(",") == 0
    assert run_script(bundle, "selftest/1.png", "--top", "2").stdout.count(",") == 1
    assert run_script(bundle, "selftest/1.png", "--min-confidence", "1").stdout == f"selftest/1.png: {NOTHING_FOUND}\n"


def test_script_runs_from_any_folder(bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(bundle / "classify.py"), "--selftest"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_script_selftest_says_one_line(bundle: Path) -> None:
    done = run_script(bundle, "--selftest")
    assert (done.returncode, done.stderr) == (0, "")
    count = len(cases(bundle))
    equal = (
        f"the same answers as Keras. {count} of {count} labels, {count} of {count} inputs equal, largest difference "
    )
    assert done.stdout.startswith(f"OpenCV {cv2.__version__}: {equal}")
    assert done.stdout.endswith(". Model file: sha256 checked.\n")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("blob", [{"swapRB": False}, {"mean": [90, 100, 110]}])
def test_script_selftest_fails_where_the_manifest_was_changed(bundle: Path, blob: dict[str, Any]) -> None:
    done = run_script(edit(bundle, blob=blob), "--selftest")
    assert (done.returncode, done.stderr) == (1, "")
    assert "NOT the answers that Keras gave" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("argument", ["selftest/1.png", "--selftest"])
def test_script_with_a_changed_model_says_one_line(bundle: Path, argument: str) -> None:
    os.truncate(bundle / "model.onnx", 1000)
    done = run_script(bundle, argument)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "model.onnx has 1000 bytes; the manifest says " in done.stderr


@pytest.mark.parametrize(
    ("argument", "message"),
    [("missing.png", "No such image: missing.png"), ("labels.txt", "OpenCV cannot read labels.txt as an image")],
)
def test_script_with_an_impossible_image_says_one_line(bundle: Path, argument: str, message: str) -> None:
    done = run_script(bundle, argument)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--camera", "0", "a.png"),
        ("--every", "0", "a.mp4"),
        ("--camera", "-1"),
        ("--top", "many", "a.png"),
        ("--nonsense",),
        ("--top", "-1", "selftest/1.png"),
    ],
)
def test_script_with_wrong_arguments_ends_with_2(bundle: Path, arguments: tuple[str, ...]) -> None:
    done = run_script(bundle, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: classify.py")


def test_script_prints_any_class_name_where_the_output_has_few_letters(bundle: Path) -> None:
    edit(bundle, output={"class_names": ["blau", "grün", "猫"]})
    done = run_script(bundle, "selftest/3.png", options=(), PYTHONIOENCODING="cp1252")  # a pipe in Windows
    assert done.returncode == 0
    assert SPEED.fullmatch(done.stderr)


def test_script_needs_no_trainkit(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "trainkit.py").write_text("raise ImportError('there is no trainkit on this machine')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    check = [sys.executable, "-c", "import trainkit.errors"]
    blocked = subprocess.run(
        check, env={**os.environ, "PYTHONPATH": path}, cwd=bundle, capture_output=True, check=False
    )
    assert b"there is no trainkit on this machine" in blocked.stderr
    for arguments in (("--selftest",), ("selftest/1.png",)):
        done = run_script(bundle, *arguments, options=(), PYTHONPATH=path)
        assert done.returncode == 0
        assert not SPEED.sub("", done.stderr)
    os.truncate(bundle / "model.onnx", 1000)
    done = run_script(bundle, "selftest/1.png", options=(), PYTHONPATH=path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_script_leaves_the_bundle_as_it_was(bundle: Path) -> None:
    before = sorted(bundle.rglob("*"))
    run_script(bundle, "--selftest")
    assert sorted(bundle.rglob("*")) == before
