"""Model files: missing, changed, damaged, and read."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from client import edit, replace_model, run_script

from trainkit.deploy import Classifier
from trainkit.deploy.python._model import read_net
from trainkit.errors import BundleError

OPENCV_5 = pytest.mark.skipif(not hasattr(cv2.dnn, "ENGINE_CLASSIC"), reason="OpenCV 4 reads it in another way")


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


def test_size_of_a_model_is_looked_at_before_it_is_read(bundle: Path) -> None:
    os.truncate(bundle / "model.onnx", 2**40)  # no disk has so much; it has no blocks
    with pytest.raises(BundleError, match=r"model\.onnx has more than 2147483647 bytes, too many for the model\. Name"):
        Classifier(bundle)
    os.truncate(bundle / "model.onnx", 2**31 - 1)
    with pytest.raises(BundleError, match=r"model\.onnx has 2147483647 bytes; the manifest says \d+\. Copy"):
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
    last = done.stderr.splitlines()[-1]
    assert f"OpenCV {cv2.__version__} cannot r" in last or "is no ONNX file" in last  # read or run


def test_read_net_raises_a_sentence_on_one_line() -> None:
    with pytest.raises(
        BundleError, match=r"^OpenCV \S+ cannot read the model \(.{20,200}\)\. Copy or export the bundle again\.$"
    ):
        read_net(b"\x08\x07", "onnx")  # a model without a graph


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
