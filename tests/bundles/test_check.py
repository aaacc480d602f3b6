"""Whether a check finds what it must find."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from photographs import write_class_folders

import trainkit
from trainkit.deploy.python._selftest import selftest
from trainkit.errors import BundleError, DataError
from trainkit.files import sha256_of


@pytest.fixture(scope="module")
def bundle(trained_run, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    """An ONNX bundle of the trained run."""
    return trainkit.export(trained_run, name="tiny", exported=tmp_path_factory.mktemp("bundles")).path


def copy_with(bundle: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    copy = shutil.copytree(bundle, folder / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def test_check_compares_every_runtime(bundle: Path, trained_run) -> None:  # type: ignore[no-untyped-def]
    agreement = trainkit.check(bundle, experiments=trained_run.path.parent)
    assert agreement.ok
    assert agreement.images == len(trained_run.load_data().parts["test"])
    assert set(agreement.runtimes) == {"keras", "opencv", "onnxruntime"}
    document = agreement.to_json()
    assert set(document) == {
        "images",
        "top1_agreement",
        "max_abs_difference",
        "max_relative_logit_difference",
        "max_abs_pixel_difference",
        "probability_tolerance",
        "logit_tolerance",
        "runtimes",
    }
    assert document["max_abs_pixel_difference"] == 0
    assert document["max_abs_difference"] <= 1e-5
    assert document["max_relative_logit_difference"] <= 1e-4


def with_graph(bundle: Path, folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """Return a copy of a bundle whose graph was changed, with the size and checksum that its manifest needs."""
    copy = shutil.copytree(bundle, folder / "copy")
    proto = onnx.load(copy / "model.onnx")
    change(proto)
    (copy / "model.onnx").write_bytes(proto.SerializeToString())
    manifest = json.loads((copy / "manifest.json").read_text())
    path = copy / "model.onnx"
    manifest["model"] |= {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def of_a_later_version(proto: onnx.ModelProto) -> None:
    proto.ir_version = 99


def without_operators(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 99


def with_a_stray_attribute(proto: onnx.ModelProto) -> None:
    proto.graph.node[-1].attribute.append(onnx.helper.make_attribute("no_such_attribute", 1))


def with_an_input_twice(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(proto.graph.input[0])


@pytest.mark.parametrize(
    "change",
    [of_a_later_version, without_operators, with_a_stray_attribute, with_an_input_twice],
    ids=lambda f: f.__name__,
)
def test_graph_that_only_opencv_reads_ends_in_a_sentence(
    bundle: Path,
    trained_run,  # type: ignore[no-untyped-def]
    tmp_path: Path,
    change: Callable[[onnx.ModelProto], None],
) -> None:
    copy = with_graph(bundle, tmp_path, change)
    if change is with_an_input_twice and int(cv2.__version__.split(".")[0]) < 5:
        with pytest.raises(BundleError, match=r"OpenCV 4\.\d+\.\d+ cannot read the model"):
            trainkit.check(copy, experiments=trained_run.path.parent)
        return
    if change is not without_operators:
        assert trainkit.predict(copy, [copy / "selftest" / "1.png"])
    message = (
        r"OpenCV reads model\.onnx, and onnxruntime does not \(.+\)\. To compare the two, export the model again\."
    )
    with pytest.raises(BundleError, match=message):
        trainkit.check(copy, experiments=trained_run.path.parent)
    with pytest.raises(BundleError, match=message):
        trainkit.bench(copy, experiments=trained_run.path.parent, batches="1", seconds=0.1)


def test_refusal_of_onnxruntime_gives_its_reason_whole(bundle: Path, trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Before the reason it writes a place in its own source, with a signature longer than the reason."""
    copy = with_graph(bundle, tmp_path, of_a_later_version)
    with pytest.raises(BundleError, match=r"failed:Unsupported model IR version: 99, max supported IR version: \d+\)"):
        trainkit.check(copy, experiments=trained_run.path.parent)


def test_check_of_a_frozen_graph_runs_opencv(trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    written = trainkit.export(trained_run, format="frozen-graph", exported=tmp_path)
    agreement = trainkit.check(written.path, experiments=trained_run.path.parent)
    assert agreement.ok
    assert set(agreement.runtimes) == {"keras", "opencv"}


def test_check_reads_a_folder_of_any_images(bundle: Path, trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = write_class_folders(tmp_path / "other", count=5, colors=("blue", "red"))
    (folder / "notes.txt").write_text("no image")
    assert trainkit.check(bundle, data=folder, experiments=trained_run.path.parent).images == 10


def test_check_takes_at_most_so_many_images(bundle: Path, trained_run) -> None:  # type: ignore[no-untyped-def]
    assert trainkit.check(bundle, experiments=trained_run.path.parent, max_images=2).images == 2


def test_check_finds_another_mean(bundle: Path, trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    copy = copy_with(bundle, tmp_path, lambda manifest: manifest["blob"]["mean"].reverse())
    agreement = trainkit.check(copy, experiments=trained_run.path.parent)
    assert not agreement.ok
    assert agreement.max_abs_pixel_difference > 0.1


def test_check_finds_swapped_colors(bundle: Path, trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    copy = copy_with(bundle, tmp_path, lambda manifest: manifest["blob"].update(swapRB=False))
    agreement = trainkit.check(copy, experiments=trained_run.path.parent)
    assert not agreement.ok
    assert agreement.top1_agreement < 1


def test_check_finds_another_padding(bundle: Path, trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    step = {"step": "pad", "color_bgr": [255, 255, 255]}
    copy = copy_with(bundle, tmp_path, lambda manifest: manifest.update(before_blob=[step]))
    assert trainkit.check(copy, experiments=trained_run.path.parent).max_abs_pixel_difference > 0


def test_check_needs_the_run_or_the_keras_model(bundle: Path, trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BundleError, match="name its Keras model with --keras FILE"):
        trainkit.check(bundle, experiments=tmp_path)
    with pytest.raises(DataError, match=r"no run to take the data from. Name it with --data"):
        trainkit.check(bundle, keras=trained_run.model_path, experiments=tmp_path)
    folder = write_class_folders(tmp_path / "other", count=3)
    assert trainkit.check(bundle, keras=trained_run.model_path, data=folder, experiments=tmp_path).ok


def test_check_with_a_keras_model_still_knows_the_run(bundle: Path, trained_run) -> None:  # type: ignore[no-untyped-def]
    assert trainkit.check(bundle, keras=trained_run.model_path, experiments=trained_run.path.parent).ok


def test_check_of_another_size_is_a_sentence(bundle: Path, trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    copy = copy_with(bundle, tmp_path, lambda manifest: manifest["blob"].update(size=[33, 24]))
    with pytest.raises(BundleError, match=r"The model does not take the blob \(3, 3, 24, 33\)"):
        trainkit.check(copy, experiments=trained_run.path.parent)


def test_check_refuses_another_keras_model(bundle: Path, trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.copyfile(trained_run.model_path, tmp_path / "model.keras")
    with (tmp_path / "model.keras").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BundleError, match=r"is not the model that the bundle came from: its sha256 differs"):
        trainkit.check(bundle, keras=tmp_path / "model.keras")
    with pytest.raises(BundleError, match="No Keras model at"):
        trainkit.check(bundle, keras=tmp_path / "missing.keras")


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_check_without_images_is_refused(bundle: Path, trained_run, tmp_path: Path, folder: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"No such folder|No usable image"):
        trainkit.check(bundle, data=tmp_path / folder, experiments=trained_run.path.parent)


@pytest.mark.slow
@pytest.mark.shared
def test_transfer_learning_leaves_with_the_same_answers(shared: Path, tmp_path: Path) -> None:
    run = trainkit.train(
        shared / "data" / "cats-dogs",
        model="mobilenet",
        alpha=0.75,
        epochs=4,
        experiments=tmp_path / "experiments",
    )
    assert run.result["test_accuracy"] >= 0.95
    for model_format in ("onnx", "frozen-graph"):
        path = trainkit.export(run, format=model_format, exported=tmp_path / "exported").path
        agreement = trainkit.check(path, experiments=tmp_path / "experiments")
        assert agreement.images == 200
        assert agreement.ok
    image = np.ascontiguousarray(run.load_data().parts["test"].images[0])
    assert trainkit.Classifier(path).predict(image)[0].label in ("cats", "dogs")


@pytest.fixture(scope="module")
def badly_conditioned(street_image: np.ndarray, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Exports of a network whose logits are small differences of large numbers, by format."""
    from trainkit.backend import keras
    from trainkit.preprocessing import build_preprocessing

    keras.utils.set_random_seed(3)
    inputs = keras.Input((24, 36, 3))
    x = keras.layers.Conv2D(32, 3, activation="relu")(inputs)
    x = keras.layers.Conv2D(32, 3, activation="relu")(x)
    dense = keras.layers.Dense(4, activation="softmax")
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(x)))
    images = [np.clip(street_image.astype(int) + 6 * step, 0, 255).astype(np.uint8) for step in range(8)]
    preprocessing = build_preprocessing("symmetric", height=24, width=36)
    features = keras.Model(model.input, dense.input)
    spread = features(preprocessing.to_input([preprocessing.to_pixels(image) for image in images])).numpy()
    directions = np.linalg.svd(spread - spread.mean(0), full_matrices=False)[2][:4].T
    dense.kernel.assign(directions / (spread @ directions).std(0) * 2)
    dense.bias.assign(-(spread @ dense.kernel.numpy()).mean(0))
    folder = tmp_path_factory.mktemp("badly-conditioned")
    return {
        chosen: trainkit.export(
            model,
            preprocessing=preprocessing,
            class_names=list("abcd"),
            images=images,
            format=chosen,
            name=chosen,
            exported=folder,
        )
        for chosen in ("onnx", "frozen-graph")
    }


@pytest.mark.parametrize("chosen", ["onnx", "frozen-graph"])
def test_check_judges_a_badly_conditioned_network_by_onnxruntime(badly_conditioned, chosen: str) -> None:  # type: ignore[no-untyped-def]
    bundle = badly_conditioned[chosen]
    assert bundle.agreement.ok
    assert 1e-5 < bundle.agreement.max_abs_difference <= bundle.agreement.probability_tolerance <= 1e-3
    document = json.loads((bundle.path / "selftest" / "selftest.json").read_text(encoding="utf-8"))
    assert document["tolerance"] == bundle.agreement.probability_tolerance
    assert selftest(bundle.path)["ok"]


@pytest.mark.parametrize("tolerance", [0, -1e-5, 2e-3, True, "1e-5", None])
def test_selftest_takes_no_other_tolerance(bundle: Path, tmp_path: Path, tolerance: object) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    path = copy / "selftest" / "selftest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tolerance": tolerance}))
    with pytest.raises(BundleError, match=r"`tolerance` must be above 0, at most 0\.001"):
        selftest(copy)


@pytest.mark.parametrize("key", ["png", "original"])
@pytest.mark.parametrize("name", ["../manifest.json", "/etc/hostname", "a/b.png", ""])
def test_selftest_reads_no_file_outside_its_folder(bundle: Path, tmp_path: Path, key: str, name: str) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    path = copy / "selftest" / "selftest.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["images"][0][key] = name
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(BundleError, match="its files must be the plain name of a file in the same folder"):
        selftest(copy)


@pytest.mark.parametrize("chosen", ["onnx", "frozen-graph"])
def test_samplewise_scaling_holds_where_there_is_little_contrast(
    street_image: np.ndarray, tmp_path: Path, chosen: str
) -> None:
    from trainkit.backend import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
    x = keras.layers.Flatten()(keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x))
    model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(x))
    images = [np.clip(120 + street_image * scale, 0, 255).astype(np.uint8) for scale in (1, 0.2, 0.05, 0.03, 0.02)]
    bundle = trainkit.export(
        model,
        preprocessing="samplewise-standardize",
        class_names=list("abcd"),
        images=images,
        format=chosen,
        exported=tmp_path,
    )
    assert bundle.agreement.ok
    assert not bundle.agreement.loosened
