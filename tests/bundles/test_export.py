"""What leaves: the form of the graphs, their answers at every batch size, and the bundle's folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from photographs import write_class_folders
from untrained import save_run, spread_weights

import trainkit
from trainkit.backend import keras
from trainkit.bundles._bundle import why_not_for_samples
from trainkit.deploy.python._model import read_net
from trainkit.errors import BundleError, ExportError, OutputError, RunError, UsageError
from trainkit.exporting import _frozen_graph as frozen_graph
from trainkit.exporting import _onnx_graph as onnx_graph
from trainkit.exporting._conversion import build_graph
from trainkit.exporting._tracing import Traced, trace
from trainkit.models._builders import BUILDERS
from trainkit.models._outputs import class_probabilities
from trainkit.preprocessing import PREPROCESSINGS, build_preprocessing

NETWORKS = {
    "small-cnn": ((40, 56, 3), {"blocks": 0, "filters": 8, "dropout": 0.2, "weights": "none"}),
    "fashion-mnist": ((28, 28, 1), {"weights": "none"}),
    "vgg16": ((32, 48, 3), {"weights": "none", "dense": 16, "dropout": 0.5}),
    "mobilenet": ((64, 64, 3), {"weights": "none", "alpha": 0.25, "dropout": 0.2}),
}
CASES = [
    pytest.param(
        name, classes, marks=[pytest.mark.slow] if name == "vgg16" or (name, classes) == ("mobilenet", 2) else []
    )
    for name in NETWORKS
    for classes in (2, 5)
    if (name, classes) != ("vgg16", 2)  # it is large
]
ENGINES = ["classic", "new", "auto"] if hasattr(cv2.dnn, "ENGINE_CLASSIC") else ["auto"]
GAIN = (0.8, 1.1, 1.3)


@cache
def build(name: str, classes: int):  # type: ignore[no-untyped-def]
    keras.utils.set_random_seed(1)
    shape, settings = NETWORKS[name]
    model = BUILDERS[name].build(shape, classes, **settings)
    spread_weights(model)
    return model


def answers(net, inputs_nhwc: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    net.setInput(np.ascontiguousarray(inputs_nhwc.transpose(0, 3, 1, 2)))
    return np.array(net.forward())


def trace_with_gain(model, gain: tuple[float, ...]) -> Traced:  # type: ignore[no-untyped-def]
    return trace(model, after_blob=lambda blob: blob * np.array(gain, np.float32))


def assert_close(model, nets, inputs: np.ndarray, gain: tuple[float, ...]) -> None:  # type: ignore[no-untyped-def]
    """Hold probabilities and logits against Keras, with batch sizes that change on one net."""
    scaled = inputs * np.array(gain, np.float32)
    answers_of_keras = trace(model).predict(scaled)
    whole = class_probabilities(model.predict(scaled, verbose=0))
    np.testing.assert_allclose(answers_of_keras["probabilities"], whole, atol=2e-6)
    for kind, net in nets.items():
        expected = answers_of_keras[kind]
        tolerance = 1e-5 if kind == "probabilities" else 1e-4 * expected.std()
        for count in (1, 3, 8, 2):
            actual = answers(net, inputs[:count])
            assert actual.shape == expected[:count].shape
            assert np.abs(actual - expected[:count]).max() <= tolerance


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_onnx_answers_as_keras_does(tmp_path: Path, name: str, classes: int) -> None:
    model = build(name, classes)
    gain = GAIN if model.input_shape[-1] == 3 else (1.7,)
    traced = trace_with_gain(model, gain)
    onnx_graph.save_onnx(build_graph(traced), traced.kind, tmp_path / "model.onnx", metadata={})
    onnx_graph.save_logits_model(tmp_path / "model.onnx", tmp_path / "logits.onnx")
    inputs = np.random.default_rng(0).normal(0, 1, (8, *model.input_shape[1:])).astype(np.float32)
    for engine in ENGINES:
        nets = {
            "probabilities": read_net((tmp_path / "model.onnx").read_bytes(), "onnx", engine),
            "logits": read_net((tmp_path / "logits.onnx").read_bytes(), "onnx", engine),
        }
        assert_close(model, nets, inputs, gain)


@pytest.mark.parametrize(("name", "classes"), CASES)
def test_frozen_graph_answers_as_keras_does(tmp_path: Path, name: str, classes: int) -> None:
    model = build(name, classes)
    gain = GAIN if model.input_shape[-1] == 3 else (1.7,)
    traced = trace_with_gain(model, gain)
    frozen_graph.save_frozen_graph(build_graph(traced), traced.kind, tmp_path / "model.pb")
    frozen_graph.save_logits_model(tmp_path / "model.pb", tmp_path / "logits.pb")
    inputs = np.random.default_rng(0).normal(0, 1, (8, *model.input_shape[1:])).astype(np.float32)
    nets = {
        "probabilities": read_net((tmp_path / "model.pb").read_bytes(), "frozen-graph"),
        "logits": read_net((tmp_path / "logits.pb").read_bytes(), "frozen-graph"),
    }
    assert_close(model, nets, inputs, gain)


@pytest.mark.parametrize("name", ["small-cnn", "fashion-mnist", "mobilenet"])
def test_onnx_holds_only_what_old_readers_know(tmp_path: Path, name: str) -> None:
    model = build(name, 5)
    traced = trace(model)
    onnx_graph.save_onnx(build_graph(traced), traced.kind, tmp_path / "model.onnx", metadata={})
    proto = onnx.load(tmp_path / "model.onnx")
    known = {"Conv", "Relu", "Clip", "MaxPool", "Pad", "GlobalAveragePool", "Flatten", "Gemm", "Softmax"}
    assert {node.op_type for node in proto.graph.node} <= known
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 9)]
    assert proto.ir_version == 4
    (source,), (target,) = proto.graph.input, proto.graph.output
    assert (source.name, target.name) == ("input", "probabilities")
    height, width, channels = model.input_shape[1:]
    dims = [d.dim_param or d.dim_value for d in source.type.tensor_type.shape.dim]
    assert dims == ["N", channels, height, width]
    assert [d.dim_param or d.dim_value for d in target.type.tensor_type.shape.dim] == ["N", 5]


def pooling_first(classes: int):  # type: ignore[no-untyped-def]
    """Return a network that begins with no convolution, so that nothing can take up a gain."""
    inputs = keras.Input((16, 20, 3))
    x = keras.layers.AveragePooling2D(2)(inputs)
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="relu")(x))
    model = keras.Model(inputs, keras.layers.Dense(classes, activation="softmax")(x))
    spread_weights(model)
    return model


def test_gain_without_a_first_convolution_becomes_a_node(tmp_path: Path) -> None:
    model = pooling_first(4)
    traced = trace_with_gain(model, GAIN)
    graph = build_graph(traced)
    assert graph.nodes[0].op == "Affine"
    onnx_graph.save_onnx(graph, traced.kind, tmp_path / "model.onnx", metadata={})
    frozen_graph.save_frozen_graph(graph, traced.kind, tmp_path / "model.pb")
    inputs = np.random.default_rng(0).normal(0, 1, (8, 16, 20, 3)).astype(np.float32)
    for engine in ENGINES:
        net = read_net((tmp_path / "model.onnx").read_bytes(), "onnx", engine)
        assert_close(model, {"probabilities": net}, inputs, GAIN)
    net = read_net((tmp_path / "model.pb").read_bytes(), "frozen-graph")
    assert_close(model, {"probabilities": net}, inputs, GAIN)


def test_flatten_that_feeds_no_dense_layer_keeps_its_order(tmp_path: Path) -> None:
    inputs = keras.Input((12, 10, 3))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="relu")(inputs))
    x = keras.layers.ReLU()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    spread_weights(model)
    traced = trace(model)
    onnx_graph.save_onnx(build_graph(traced), traced.kind, tmp_path / "model.onnx", metadata={})
    batch = np.random.default_rng(0).normal(0, 1, (8, 12, 10, 3)).astype(np.float32)
    net = read_net((tmp_path / "model.onnx").read_bytes(), "onnx")
    assert_close(model, {"probabilities": net}, batch, (1.0,))


def test_single_sigmoid_has_two_columns() -> None:
    model = build("small-cnn", 2)
    inputs = np.random.default_rng(0).normal(0, 3, (20, 40, 56, 3)).astype(np.float32)
    expected = class_probabilities(model.predict(inputs, verbose=0))
    actual = trace(model).predict(inputs)["probabilities"]
    assert actual.shape == (20, 2)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "linear"])
def test_model_without_probabilities_is_refused(activation: str) -> None:
    inputs = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, activation=activation, name="last")(flat))
    ending = {"tanh": "Tanh", "linear": "AddV2|BiasAdd"}[activation]
    with pytest.raises(
        ExportError, match=rf"ends in ({ending}), in the layer `last`\. Expected a softmax or a sigmoid"
    ):
        trace(model)


CHOICES = [
    (name, color, resize)
    for name in PREPROCESSINGS
    for color, resize in (("rgb", "stretch"), ("bgr", "crop"), ("gray", "pad"))
    if not (color == "gray" and name in ("caffe", "torch"))
]


IN_EVERY_COLOR = ("caffe", "mean-image", "standardize", "torch")  # which have a number for each channel


def is_quick(name: str, color: str, model_format: str) -> bool:
    """Tell what is tried by `make test`: each in one colour, what differs by channel in all, and each frozen graph."""
    own = ("rgb" if name in ("caffe", "torch") else "gray") if model_format == "frozen-graph" else "bgr"
    return color == own or (model_format == "onnx" and name in IN_EVERY_COLOR)


EACH_CHOICE = [
    pytest.param(
        name, color, resize, each, marks=[] if is_quick(name, color, each) else [pytest.mark.slow, pytest.mark.long]
    )
    for name, color, resize in CHOICES
    for each in ("onnx", "frozen-graph")
]


@pytest.mark.parametrize(("name", "color", "resize", "model_format"), EACH_CHOICE)
def test_every_preprocessing_leaves_with_the_same_answer(
    tmp_path: Path, tiny_dataset: Path, name: str, color: str, resize: str, model_format: str
) -> None:
    channels = 1 if color == "gray" else 3
    statistics = (101.0, 120.5, 90.25)[:channels], (40.0, 55.5, 71.25)[:channels]
    mean_image = np.random.default_rng(0).uniform(0, 255, (24, 36, channels)).astype(np.float32)
    preprocessing = build_preprocessing(
        name, height=24, width=36, resize=resize, color=color, statistics=statistics, mean_image=mean_image
    )
    model = BUILDERS["small-cnn"].build(preprocessing.shape, 3, blocks=2, filters=4, dropout=0.1, weights="none")
    if name in ("none", "center", "caffe", "mean-image"):  # inputs of hundreds would saturate the softmax
        model.layers[1].kernel.assign(model.layers[1].kernel / 64)
    run = save_run(tmp_path / "experiments", model, preprocessing, tiny_dataset, ["blue", "green", "red"])
    bundle = trainkit.export(run, format=model_format, exported=tmp_path / "exported")
    assert bundle.agreement.ok
    assert bundle.agreement.max_abs_pixel_difference == 0
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    steps = [step["step"] for step in manifest["before_blob"]]
    assert steps == (["pad"] if resize == "pad" else []) + (["gray"] if color == "gray" else [])
    assert (bundle.path / "models.yml").exists() == (color == "rgb")
    assert (bundle.path / "mean_image.npy").exists() == (name == "mean-image")


@pytest.fixture(scope="module")
def bundle(trained_run, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """An ONNX bundle of the trained run."""
    return trainkit.export(trained_run, name="tiny", exported=tmp_path_factory.mktemp("bundles"))


def test_bundle_holds_what_a_deployment_needs(bundle, trained_run) -> None:  # type: ignore[no-untyped-def]
    names = {path.name for path in bundle.path.iterdir()}
    assert names == {"model.onnx", "manifest.json", "labels.txt", "classify.py", "selftest", "models.yml"}
    assert (bundle.path / "labels.txt").read_text() == "blue\ngreen\nred\n"
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert manifest["source"]["run"] == trained_run.name
    verified = manifest["opencv"]["verified"][cv2.__version__]
    assert verified["top1_agreement"] == 1
    assert bundle.to_json()["bundle"] == str(bundle.path.absolute())


def test_bundle_answers_without_trainkit(bundle, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    (copy / "trainkit.py").write_text("raise ImportError('not here')")
    ended = subprocess.run([sys.executable, "classify.py", "--selftest"], cwd=copy, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "the same answers as Keras. 8 of 8 labels, 8 of 8 inputs equal" in ended.stdout


def test_selftest_notices_another_model(bundle, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["blob"]["mean"][0] += 30
    (copy / "manifest.json").write_text(json.dumps(manifest))
    ended = subprocess.run([sys.executable, "classify.py", "--selftest"], cwd=copy, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "NOT the answers that Keras gave" in ended.stdout


def test_models_yml_says_what_the_blob_says(bundle) -> None:  # type: ignore[no-untyped-def]
    storage = cv2.FileStorage(str(bundle.path / "models.yml"), cv2.FILE_STORAGE_READ)
    zoo = storage.getNode("classifier")
    blob = json.loads((bundle.path / "manifest.json").read_text())["blob"]
    mean = zoo.getNode("mean")
    assert [mean.at(i).real() for i in range(3)] == blob["mean"][:3]
    assert zoo.getNode("scale").real() == blob["scalefactor"]
    assert [zoo.getNode("width").real(), zoo.getNode("height").real()] == blob["size"]
    assert zoo.getNode("rgb").real() == 1 or zoo.getNode("rgb").string() == "true"  # 5.0 and 4.x; the sample takes both
    assert zoo.getNode("labels").string() == "labels.txt"
    std = zoo.getNode("std")
    assert [std.at(i).real() for i in range(3)] == [1, 1, 1]  # without it the sample's Python form divides by 0


@pytest.mark.parametrize(
    ("crop", "steps", "reason"),
    [
        (True, [], "crops only when it is told so"),
        (False, [{"step": "pad", "color_bgr": [0, 0, 0]}, {"step": "gray"}], r"comes before the blob \(pad, gray\)"),
    ],
)
def test_models_yml_is_left_out_where_the_sample_could_not_obey(crop: bool, steps: list[Any], reason: str) -> None:
    assert re.search(reason, str(why_not_for_samples({"before_blob": steps, "blob": {"crop": crop}})))
    assert why_not_for_samples({"before_blob": [], "blob": {"crop": False}}) is None


def test_export_never_overwrites(bundle, trained_run) -> None:  # type: ignore[no-untyped-def]
    before = {path: path.read_bytes() for path in bundle.path.rglob("*") if path.is_file()}
    with pytest.raises(OutputError, match="exists already, and nothing is overwritten"):
        trainkit.export(trained_run, name="tiny", exported=bundle.path.parent)
    assert {path: path.read_bytes() for path in bundle.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["../tiny", "/tmp/tiny", "a/b", ".hidden", ""])
def test_export_takes_only_a_plain_name(trained_run, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    if name:
        with pytest.raises(UsageError, match="`name` must be letters, digits"):
            trainkit.export(trained_run, name=name, exported=tmp_path)


def test_export_of_an_unknown_format_names_the_nearest(trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError, match=r"Unknown format `onx`. Did you mean `onnx`"):
        trainkit.export(trained_run, format="onx", exported=tmp_path)


def test_export_that_fails_leaves_nothing(tmp_path: Path, tiny_dataset: Path) -> None:
    preprocessing = build_preprocessing("unit", height=24, width=36)
    model = BUILDERS["small-cnn"].build(preprocessing.shape, 3, blocks=1, filters=4, dropout=0.1, weights="none")
    model.layers[-1].kernel.assign(np.full(model.layers[-1].kernel.shape, np.nan))
    run = save_run(tmp_path / "experiments", model, preprocessing, tiny_dataset, ["blue", "green", "red"])
    with pytest.raises(ExportError, match="numbers that are not finite"):
        trainkit.export(run, exported=tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


@pytest.mark.parametrize(
    ("model_format", "advice"), [("onnx", r"\.$"), ("frozen-graph", r"\. Export --format onnx\.$")]
)
def test_graph_that_opencv_cannot_run_is_refused(
    trained_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_format: str, advice: str
) -> None:  # type: ignore[no-untyped-def]
    def fail(*_: Any) -> None:
        raise BundleError("OpenCV 5.0.0 cannot run the model (an assertion failed). Copy or export the bundle again.")

    monkeypatch.setattr("trainkit.bundles._bundle.compare", fail)
    message = rf"cannot be used, so nothing was written\. OpenCV 5\.0\.0 cannot run the model \(an assert.*\){advice}"
    with pytest.raises(ExportError, match=message):
        trainkit.export(trained_run, format=model_format, exported=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_export_into_a_file_is_refused(trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "exported").write_text("a file")
    with pytest.raises(OutputError, match="Cannot write"):
        trainkit.export(trained_run, exported=tmp_path / "exported")


def test_export_of_a_damaged_run_is_refused(trained_run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    copy = shutil.copytree(trained_run.path, tmp_path / "experiments" / "20260101-000000-copy")
    (copy / "model.keras").write_bytes((copy / "model.keras").read_bytes()[:-100])
    with pytest.raises(RunError, match=r"model.keras is missing or was changed"):
        trainkit.export(copy, exported=tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_class_names_leave_as_they_are(tmp_path: Path) -> None:
    names = ["blue", 'café "x"', "日本 \\ 語"]
    folder = write_class_folders(tmp_path / "photos", count=6)
    (folder / "green").rename(folder / names[1])
    (folder / "red").rename(folder / names[2])
    preprocessing = build_preprocessing("unit", height=24, width=36)
    model = BUILDERS["small-cnn"].build(preprocessing.shape, 3, blocks=1, filters=4, dropout=0.1, weights="none")
    run = save_run(tmp_path / "experiments", model, preprocessing, folder, sorted(names))
    path = trainkit.export(run, exported=tmp_path / "exported").path
    assert trainkit.Classifier(path).class_names == sorted(names)
    storage = cv2.FileStorage(str(path / "manifest.json"), cv2.FILE_STORAGE_READ)
    node = storage.getNode("output").getNode("class_names")
    assert [node.at(i).string() for i in range(3)] == sorted(names)


def test_bundle_with_a_changed_model_is_refused(bundle, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    copy = shutil.copytree(bundle.path, tmp_path / "copy")
    data = bytearray((copy / "model.onnx").read_bytes())
    data[-1] ^= 1
    (copy / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError, match="does not match the sha256"):
        trainkit.Classifier(copy)
