"""Bundles with small weights: what they say, what they cost, and that a check brings the weights back."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import trainkit
from trainkit.backend import keras
from trainkit.bundles import _small_weights as small_weights
from trainkit.bundles._small_weights import Storage, cost_in_words
from trainkit.deploy.python._selftest import selftest
from trainkit.errors import BundleError, ExportError, UsageError
from trainkit.files import sha256_of


@pytest.fixture(scope="module", params=["int8", "float16"])
def bundle(request: pytest.FixtureRequest, trained_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A bundle of the trained run with small weights."""
    exported = tmp_path_factory.mktemp("bundles")
    return trainkit.export(trained_run, name="small", weights_as=request.param, tolerance=0.05, exported=exported)


def manifest_of(folder: Any) -> dict[str, Any]:
    return dict(json.loads(Path(folder, "manifest.json").read_text(encoding="utf-8")))


def test_bundle_says_what_its_weights_are_and_cost(bundle: Any, tiny_bundle: Path, trained_run: Any) -> None:
    manifest = manifest_of(bundle)
    weights = manifest["model"]["weights"]
    cost = manifest["extra"]["small_weights"]
    part = trained_run.load_data().parts["val"]
    assert cost["weights"] == weights
    assert (cost["images"], cost["measured_on"]) == (len(part), "val")
    assert cost["top1_agreement"] > 0.9
    assert cost["accuracy_before"] == pytest.approx(trained_run_accuracy(tiny_bundle, part))
    assert cost["accuracy_after"] == pytest.approx(trained_run_accuracy(bundle.path, part))
    assert cost["bytes_float32"] == pytest.approx(manifest_of(tiny_bundle)["model"]["bytes"], rel=1e-4)
    assert manifest["model"]["bytes"] < {"int8": 0.35, "float16": 0.55}[weights] * cost["bytes_float32"]
    inside = {entry.key: entry.value for entry in onnx.load(bundle / "model.onnx").metadata_props}
    assert json.loads(inside["manifest"])["model"]["weights"] == weights
    document = bundle.to_json()
    assert (document["weights"], document["small_weights"]) == (weights, cost)
    sentence = (
        rf"Weights of {weights}, \d+% of the bytes: on \d+ validation images [\d.]+% of the labels stay, accuracy .*"
    )
    assert re.fullmatch(sentence, bundle.cost)


def trained_run_accuracy(bundle: Path, part: Any) -> float:
    """Return how many images of a part OpenCV names rightly."""
    client = trainkit.Classifier(bundle)
    found = client.forward(client.to_blob([part.images[index] for index in range(len(part))])).argmax(1)
    return float((found == part.labels).mean())


def test_bundle_with_the_weights_as_they_are_says_nothing(tiny_bundle: Path) -> None:
    manifest = manifest_of(tiny_bundle)
    assert "weights" not in manifest["model"]
    assert "small_weights" not in manifest["extra"]
    bundle = trainkit.find_bundle(tiny_bundle)
    assert bundle.to_json()["weights"] == "float32"
    assert "small_weights" not in bundle.to_json()
    assert bundle.cost == ""


def test_check_brings_the_weights_back(bundle: Any, trained_run: Any) -> None:
    """From the bundle's file and the run alone; against the run's own weights the answers would differ."""
    agreement = trainkit.check(bundle, experiments=trained_run.path.parent)
    assert agreement.ok
    assert agreement.max_abs_difference <= 1e-5
    assert selftest(bundle.path)["ok"]


def test_check_against_the_weights_as_they_were_differs(trained_run: Any, tmp_path: Path) -> None:
    bundle = trainkit.export(trained_run, weights_as="int8", tolerance=0.05, exported=tmp_path)
    exact = trainkit.check(bundle, experiments=trained_run.path.parent).max_abs_difference
    manifest = manifest_of(bundle)
    del manifest["model"]["weights"]
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert trainkit.check(bundle, experiments=trained_run.path.parent).max_abs_difference > 5 * exact


def with_changed_numbers(bundle: Path, folder: Path, change: Any) -> Path:
    """Return a copy of a bundle whose stored kernels were changed, with the checksum that its manifest needs."""
    copy = shutil.copytree(bundle, folder / "copy")
    proto = onnx.load(copy / "model.onnx")
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8:
            numbers = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(change(numbers).astype(np.int8), tensor.name))
    onnx.save(proto, copy / "model.onnx")
    manifest = manifest_of(copy)
    manifest["model"] |= {"bytes": (copy / "model.onnx").stat().st_size, "sha256": sha256_of(copy / "model.onnx")}
    (copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return copy


def test_weights_of_another_model_are_refused(bundle: Any, trained_run: Any, tmp_path: Path) -> None:
    copy = with_changed_numbers(bundle.path, tmp_path, lambda numbers: numbers[::-1])
    with pytest.raises(BundleError, match=r"were not rounded from those of the Keras model .* Export it again"):
        trainkit.check(copy, experiments=trained_run.path.parent)


def test_model_in_memory_keeps_its_weights(tmp_path: Path, street_image: np.ndarray) -> None:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((24, 32, 3)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ],
        name="small",
    )
    before = model.get_weights()
    images = [np.ascontiguousarray(street_image[:, start : start + 80]) for start in range(0, 120, 5)]
    names = ["a", "b", "c"]
    options = {"preprocessing": "unit", "class_names": names, "images": images, "exported": tmp_path}
    bundle = trainkit.export(model, weights_as="float16", **options)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    cost = manifest_of(bundle)["extra"]["small_weights"]
    assert (cost["images"], cost["measured_on"]) == (24, "images")
    assert not {"accuracy_before", "accuracy_after"} & set(cost)  # nobody knows what is on them


def test_what_costs_too_much_is_refused(trained_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By weights of which nothing is left but their signs, and those are the wrong ones."""
    from trainkit.exporting._small_weights import _shrinking as shrinking
    from trainkit.exporting._small_weights._kernels import StoredKernel

    def store(graph: Any, readers: Any, moments: Any, float_bytes: int) -> dict[str, StoredKernel]:
        kernels = {}
        for name in readers:
            kernel = graph.constants[name]
            scale = np.full(len(kernel), np.abs(kernel).max(), np.float32)
            kernels[name] = StoredKernel(-np.sign(kernel).astype(np.int8), scale, 0)
        return kernels

    monkeypatch.setattr(shrinking, "store_in_8_bits", store)
    message = (
        r"To store the weights of the model .* as int8 costs \d\.\d+ of the accuracy \(\d\.\d+ before, \d\.\d+ after\) "
        r"on \d+ validation images, more than the tolerance of 0\.005\. So nothing was written\. "
        r"Take --weights-as float16, or allow it: --tolerance [\d.]+$"
    )
    with pytest.raises(ExportError, match=message):
        trainkit.export(trained_run, weights_as="int8", exported=tmp_path)
    assert not list(tmp_path.iterdir())


def cost(images: int, before: float, after: float | None) -> dict[str, Any]:
    labels = {} if after is None else {"accuracy_before": 0.9, "accuracy_after": after}
    return {"images": images, "measured_on": "images", "top1_agreement": before, **labels}


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (cost(1000, 0.99, 0.895), False),  # as much as the tolerance
        (cost(1000, 0.99, 0.894), True),
        (cost(1000, 0.5, 0.9), False),  # labels change, the accuracy does not
        (cost(100, 0.99, 0.89), False),  # one image
        (cost(100, 0.99, 0.88), True),
        (cost(1000, 0.995, None), False),
        (cost(1000, 0.99, None), True),
        (cost(100, 0.99, None), False),
        (cost(100, 0.98, None), True),
    ],
)
def test_cost_is_held_to_the_tolerance_and_to_one_image(found: dict[str, Any], refused: bool) -> None:
    check = small_weights._check_cost
    if not refused:
        check(found, Storage(weights="int8"), "m")
        check(found, Storage(weights="float16", tolerance=0.5), "m")
        return
    advice = "Take --weights-as float16" if "accuracy_after" in found else "changes .* of the labels .* float16"
    with pytest.raises(ExportError, match=advice):
        check(found, Storage(weights="int8"), "m")
    with pytest.raises(ExportError, match=r"Leave out --weights-as, or allow it: --tolerance (\S+)") as error:
        check(found, Storage(weights="float16"), "m")
    allowed = float(str(error.value).rpartition(" ")[2])
    check(found, Storage(weights="float16", tolerance=allowed), "m")  # the advice works


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights_as": "int4"}, r"Unknown weights_as `int4`\. .* Expected one of: float16, float32, int8"),
        ({"weights_as": "int8", "tolerance": 1.0}, r"`tolerance` must be the share .* Received: 1.0"),
        ({"weights_as": "int8", "tolerance": -0.1}, r"`tolerance` must be the share .* Received: -0.1"),
        ({"weights_as": "int8", "tolerance": True}, r"`tolerance` must be the share .* Received: True"),
        (
            {"weights_as": "int8", "format": "frozen-graph"},
            r"A frozen graph holds float32 only\. .* Take --format onnx",
        ),
    ],
)
def test_impossible_storage_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainkit.export("latest", **arguments)


def test_model_without_large_weights_is_refused(tmp_path: Path, street_image: np.ndarray) -> None:
    image = keras.Input((24, 32, 3))
    answer = keras.layers.Dense(2, "softmax")(keras.layers.GlobalAveragePooling2D()(image))
    model = keras.Model(image, answer)
    options = {"preprocessing": "unit", "class_names": ["a", "b"], "images": [street_image], "exported": tmp_path}
    with pytest.raises(ExportError, match=r"Small weights would save nothing .* Leave out --weights-as"):
        trainkit.export(model, weights_as="int8", **options)


def test_cost_in_words() -> None:
    found = {"weights": "int8", "bytes_float32": 1000, **cost(50, 0.98, None)}
    assert cost_in_words({"model": {"bytes": 280}, "extra": {"small_weights": found}}) == (
        "Weights of int8, 28% of the bytes: on 50 images 98.00% of the labels stay."
    )
