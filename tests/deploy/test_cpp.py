"""The C++ client, built once: its answers are those of the Python client, its refusals too, and nothing ends it."""

# ruff: noqa: E501 (sentences are compared word by word, and easier to find whole)

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photographs import draw_photo, write_class_folders
from strange_models import (
    BY_HAND,
    COLOR_DETECTOR,
    HEIGHT,
    WIDTH,
    colored_cells,
    fixed_output,
    mean_color,
    write_caffe_model,
    write_color_detector,
    write_manifest,
)
from tools import do_without
from untrained import save_run, spread_weights

import trainkit
from trainkit.deploy import Classifier, Detector
from trainkit.deploy.python._media import list_files, read_image
from trainkit.deploy.python._values import IMAGE_SUFFIXES, NOTHING_FOUND
from trainkit.errors import BundleError

SOURCE = Path(trainkit.__file__).parent / "deploy" / "cpp"
WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
ODD_NAMES = ['café "x"', "b:{[\\n", "猫 😀"]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, built with the OpenCV that this machine has for C++."""
    folder = tmp_path_factory.mktemp("cpp")
    for tool, package in (("c++", "g++"), ("cmake", "cmake")):
        if shutil.which(tool) is None:
            do_without("cpp", f"the C++ client cannot be built: there is no {tool} (Debian: {package})")
    configure = ["cmake", "-S", SOURCE, "-B", folder, f"-DCMAKE_CXX_FLAGS={WARNINGS}"]
    done = subprocess.run(configure, capture_output=True, text=True)
    if done.returncode and "OpenCVConfig.cmake" in done.stderr:
        do_without("cpp", "the C++ client cannot be built: there is no OpenCV for C++ (Debian: libopencv-dev)")
    assert done.returncode == 0, done.stderr
    done = subprocess.run(["cmake", "--build", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "classify"


@pytest.fixture(scope="session")
def opencv(program: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The version of the OpenCV that the client was built with."""
    folder = answering(tmp_path_factory.mktemp("version"), [0.7, 0.2, 0.1], opencv={"minimum": "97.1"})
    said = run(program, folder, folder / "none.png").stderr
    version = re.fullmatch(r"This bundle needs OpenCV 97\.1 or later\. Received: (.+)\. Upgrade OpenCV\.\n", said)
    assert version, said
    return version[1]


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "tiny")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), draw_photo(5, (30, 50, 210), 47, 120))
    return path


def run(program: Path, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, errors="replace", timeout=60)


def answering(folder: Path, values: list[float], **sections: Any) -> Path:
    """Write a classifier that answers the same whatever it sees."""
    write_manifest(folder, BY_HAND, **sections)
    (folder / "net.onnx").write_bytes(fixed_output(np.array([values]), width=WIDTH, height=HEIGHT))
    return folder


def edit(bundle: Path, section: str, **values: Any) -> None:
    """Change keys of a section of a manifest; `None` takes one out."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest[section] = {
        key: value for key, value in {**manifest.get(section, {}), **values}.items() if value is not None
    }
    path.write_text(json.dumps(manifest), encoding="utf-8")


def assert_same_answers(program: Path, bundle: Path, images: list[Path]) -> None:
    """Compare labels and printed numbers, then all probabilities, by a self-test of Python's answers."""
    classifier = Classifier(bundle)
    predictions = {path: classifier.predict(read_image(path)) for path in images}
    done = run(program, bundle, *images)
    assert (done.returncode, done.stderr) == (0, "")
    for line, (path, found) in zip(done.stdout.splitlines(), predictions.items(), strict=True):
        number = r"([01]\.\d{4})"
        expected = ", ".join(f"{re.escape(label)} {number}" for label, _ in found)
        match = re.fullmatch(f"{re.escape(str(path))}: {expected}", line)
        assert match, (line, expected)
        np.testing.assert_allclose([float(one) for one in match.groups()], [p for _, p in found], atol=6e-5)
    shutil.rmtree(bundle / "selftest", ignore_errors=True)
    (bundle / "selftest").mkdir()
    cases = []
    for path in images:
        shutil.copy(path, bundle / "selftest")
        values = classifier.probabilities(read_image(path)).tolist()
        label = classifier.class_names[int(np.argmax(values))]
        cases.append({"png": path.name, "label": label, "probabilities": values})
    (bundle / "selftest" / "selftest.json").write_text(json.dumps({"tolerance": 1e-5, "images": cases}))
    done = run(program, bundle, "--selftest")
    assert f": the same answers as Keras. {len(images)} of {len(images)} labels, " in done.stdout, done


# Bundles that were exported


@pytest.mark.slow
@pytest.mark.parametrize("model_format", ["onnx", "frozen-graph"])
def test_self_test_agrees_for_digits(program: Path, opencv: str, model_format: str, tmp_path: Path) -> None:
    finished = trainkit.train("digits", epochs=1, experiments=tmp_path / "experiments")
    bundle = trainkit.export(finished, format=model_format, exported=tmp_path, clients="cpp").path
    done = run(program, "..", "--selftest", cwd=bundle / "cpp")
    start = f"OpenCV {opencv}(, classic engine)?: the same answers as Keras. 8 of 8 labels, largest difference "
    assert re.fullmatch(start + r"\d\.\de-\d\d\. Model file: size checked\.\n", done.stdout), done
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("model_format", ["onnx", "frozen-graph"])
def test_two_classes_with_a_sigmoid(program: Path, model_format: str, tmp_path: Path) -> None:
    from trainkit.backend import keras

    preprocessing = trainkit.Preprocessing(
        height=24, width=32, resize="pad", mean=(90.0, 100.0, 110.0), std=(60.0,) * 3, pad_color=(10.0, 20.0, 30.0)
    )
    dataset = write_class_folders(tmp_path / "photos", count=8, colors=("blue", "red"))
    for old, new in (("blue", ODD_NAMES[0]), ("red", "猫")):
        (dataset / old).rename(dataset / new)
    keras.utils.set_random_seed(1)
    image = keras.Input((24, 32, 3))
    flat = keras.layers.Flatten()(keras.layers.Conv2D(4, 3, activation="relu")(image))
    model = keras.Model(image, keras.layers.Dense(1, "sigmoid")(flat))
    spread_weights(model)
    saved = save_run(tmp_path / "experiments", model, preprocessing, dataset, [ODD_NAMES[0], "猫"])
    bundle = trainkit.export(saved, format=model_format, exported=tmp_path, clients="cpp").path
    assert json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["output"]["kind"] == "sigmoid"
    done = run(program, bundle, "--selftest")
    assert (done.returncode, done.stderr) == (0, "")
    assert ": the same answers as Keras. 8 of 8 labels" in done.stdout
    assert done.stdout.endswith(", 8 of 8 originals equal. Model file: size checked.\n")
    assert_same_answers(program, bundle, sorted(dataset.glob("*/*-00[0-2].png")))


def test_answers_are_those_of_python_on_png_and_jpeg(program: Path, bundle: Path, tmp_path: Path) -> None:
    images = [tmp_path / name for name in ("0.png", "1.jpg", "2.jpeg", "3.PNG", "grey.jpg", "alpha.png", "deep.png")]
    for number, path in enumerate(images[:4]):
        cv2.imwrite(str(path), draw_photo(number, (200, 60, 30), 40 + 30 * number, 90))
    cv2.imwrite(str(images[4]), draw_photo(4, (90, 90, 90))[..., 0])
    cv2.imwrite(str(images[5]), np.dstack([draw_photo(5, (20, 90, 190)), draw_photo(6, (90, 90, 90))[..., 0]]))
    cv2.imwrite(str(images[6]), draw_photo(7, (20, 90, 190)).astype(np.uint16) * 251)
    assert_same_answers(program, bundle, images)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("output", {"class_names": ODD_NAMES}),
        ("output", {"kind": "logits"}),
        ("output", {"kind": "logits", "multi_label": True}),
        ("blob", {"crop": True}),
        ("blob", {"scalefactor": 1.2e-2, "mean": [104.00698793, 116.66876762, 122.67891434], "swapRB": False}),
    ],
)
def test_manifest_is_obeyed(program: Path, bundle: Path, photo: Path, section: str, values: dict[str, Any]) -> None:
    edit(bundle, section, **values)
    assert_same_answers(program, bundle, [photo])


@pytest.mark.parametrize(
    "steps",
    [
        [{"step": "pad", "color_bgr": [250.0, 0.5, 7]}],
        [{"step": "gray"}],
        [{"step": "pad", "color_bgr": [0, 128, 255]}, {"step": "gray"}],
    ],
)
def test_padding_and_grey(program: Path, steps: list[Any], tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    channels = 1 if {"step": "gray"} in steps else 3
    scale = 1 / (300 * channels * WIDTH * HEIGHT)
    blob = {"scalefactor": scale, "mean": [-20.5, -9, 0][:channels], "swapRB": True}  # which a grey image does not need
    folder = write_manifest(tmp_path / "by-hand", {**BY_HAND, "before_blob": steps}, blob=blob)
    count = channels * WIDTH * HEIGHT  # the network answers the blob itself, so each pixel is compared
    shapes = [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1, channels, HEIGHT, WIDTH])]
    answer = [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, count])]
    graph = helper.make_graph([helper.make_node("Flatten", ["in"], ["out"], axis=1)], "blob", shapes, answer)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 6
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    edit(folder, "output", class_names=[str(number) for number in range(count)])
    images = [tmp_path / f"{number}.png" for number in range(4)]
    for path, sides in zip(images, [(3, 100), (101, 7), (50, 40), (1, 1)], strict=True):
        cv2.imwrite(str(path), draw_photo(3, (30, 120, 210), *sides))
    assert_same_answers(program, folder, images)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\ndog\nfish", ["cat", "dog", "fish"]),
        ("\ufeffcat \r\n\tdog, hound\r\nfish\r\n\r\n", ["cat", "dog, hound", "fish"]),
        ("n01440764 tench, Tinca\nn01443537\tgoldfish\nn02012849  crane", ["tench, Tinca", "goldfish", "crane"]),
        ("n01440764 tench\nn01443537\nnurse shark", ["n01440764 tench", "n01443537", "nurse shark"]),
        ("n02012849 crane\nn03126707 crane\nn1 cat\n", ["crane", "crane", "cat"]),
    ],
)
def test_class_names_can_be_a_file(program: Path, photo: Path, tmp_path: Path, text: str, names: list[str]) -> None:
    folder = answering(tmp_path / "named", [0.75, 0.1875, 0.0625], output={"class_names": "names.txt"})
    (folder / "names.txt").write_bytes(text.encode())
    assert Classifier(folder).class_names == names
    done = run(program, folder, photo)
    assert done.stdout == f"{photo}: {names[0]} 0.7500, {names[1]} 0.1875, {names[2]} 0.0625\n", done


def test_manifest_itself_can_be_named_and_escapes_are_letters(program: Path, photo: Path, tmp_path: Path) -> None:
    folder = answering(tmp_path / "named", [0.75, 0.125, 0.125], output={"class_names": ODD_NAMES})
    assert "\\u" in (folder / "manifest.json").read_text()
    done = run(program, "manifest.json", photo, "--top=1", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, f'{photo}: café "x" 0.7500\n', "")
    done = run(program, folder, photo, "--min-confidence", "0.125")
    assert done.stdout == f"{photo}: {ODD_NAMES[0]} 0.7500, {ODD_NAMES[1]} 0.1250, {ODD_NAMES[2]} 0.1250\n"
    done = run(program, folder, photo, "--min-confidence", "0.76")
    assert done.stdout == f"{photo}: {NOTHING_FOUND}\n"


def test_caffe_model_is_read_or_refused(program: Path, opencv: str, photo: Path, tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).normal(0, 0.004, (3, 3 * WIDTH * HEIGHT)).astype(np.float32)
    write_caffe_model(tmp_path / "caffe", kernel, np.array([0.5, 0, -0.5], np.float32), width=WIDTH, height=HEIGHT)
    model = {"file": "net.caffemodel", "format": "caffe", "graph": "net.prototxt"}
    folder = write_manifest(tmp_path / "caffe", BY_HAND, model=model)
    done = run(program, folder, photo)
    if int(opencv.split(".")[0]) >= 5:
        assert done.stderr.startswith(f"OpenCV {opencv} reads no Caffe models any more. Take an OpenCV before 5.0, or")
        return
    logits = kernel @ cv2.dnn.blobFromImage(cv2.imread(str(photo)), size=(WIDTH, HEIGHT)).ravel() + [0.5, 0, -0.5]
    powers = np.exp(logits - logits.max())
    expected = dict(zip("abc", powers / powers.sum(), strict=True))
    found = dict(pair.split() for pair in done.stdout.removeprefix(f"{photo}: ").split(", "))
    for name, probability in expected.items():
        assert float(found[name]) == pytest.approx(probability, abs=6e-5)


# Detectors


def said_by_python(folder: Path, image: Path, **choices: Any) -> str:
    detections = Detector(folder).predict(read_image(image), **choices)
    lines = [f"{label} {sure:.4f} at {' '.join(f'{edge:.0f}' for edge in box)}" for label, sure, box in detections]
    return f"{image}: {', '.join(lines) or NOTHING_FOUND}\n"


@pytest.mark.parametrize("steps", [[], [{"step": "pad", "color_bgr": [90, 90, 90]}]])
@pytest.mark.parametrize("crop", [False, True])
def test_detector_finds_what_python_finds(program: Path, tmp_path: Path, steps: list[Any], crop: bool) -> None:
    folder = write_color_detector(tmp_path / "colors", blob={"crop": crop})
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "before_blob": steps}))
    cells = colored_cells({(1, 1): "red", (3, 3): "blue", (2, 1): "red", (0, 2): "blue"})
    images = [tmp_path / "0.png", tmp_path / "1.png"]
    for path, sides in zip(images, [(120, 90), (100, 121)], strict=True):
        cv2.imwrite(str(path), cv2.resize(cells, sides, interpolation=cv2.INTER_NEAREST))
    done = run(program, folder, *images, "--annotate", tmp_path / "drawn")
    expected = "".join(said_by_python(folder, path) for path in images)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", expected)
    assert expected.count(" at ") >= 4
    drawn = read_image(tmp_path / "drawn" / "0.png")
    assert drawn.shape == (90, 120, 3)
    assert (drawn == (90, 220, 0)).all(axis=2).sum() > 20


@pytest.mark.parametrize("confidence", [None, 0.3, 0.0, 1.0])
def test_rows_that_say_nothing_are_left_out_and_boxes_cut(
    program: Path, tmp_path: Path, photo: Path, confidence: float | None
) -> None:
    rows = [
        [0, 1, 0.6, 0.1, 0.2, 0.5, 0.9], [0, 2, 0.9, -0.5, -0.5, 1.5, 0.5], [0, 1, 1.0004, 0.25, 0.25, 0.75, 0.75],
        [0, 1, 0.35, 0.2, 0.2, 0.3, 0.3], [0, 0, 0.99, 0, 0, 1, 1], [1, 1, 0.99, 0, 0, 1, 1], [0, 3, 0.99, 0, 0, 1, 1],
        [0, 1.5, 0.99, 0, 0, 1, 1], [0, -1, 0.99, 0, 0, 1, 1], [0, 1, 1.01, 0, 0, 1, 1], [0, 1, 0.9, 1.1, 0, 1.2, 1],
        [0, 1, 0.9, 0.5, 0, 0.4, 1], [0, 1, 0, 0, 0, 1, 1], [0, 2, 0.6, 0.3, 0.3, 0.4, 0.4],
    ]  # fmt: skip
    folder = write_manifest(tmp_path / "rows", COLOR_DETECTOR, output={"min_confidence": 0.55})
    (folder / "colors.onnx").write_bytes(fixed_output(np.array(rows)[None, None], width=64, height=64))
    options = [] if confidence is None else ["--min-confidence", str(confidence)]
    expected = said_by_python(folder, photo, min_confidence=confidence)
    assert run(program, folder, photo, *options).stdout == expected
    assert (NOTHING_FOUND in expected) == (confidence == 1.0 and " 1.0000 at " not in expected)


# Refusals

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("model", {"bytes": 5}, "{folder}/net.onnx has {bytes} bytes; the manifest says 5. Copy the bundle again."),
    ("model", {"file": "other.onnx"}, "{folder}/other.onnx is missing: the manifest names it as the model. Copy it there."),
    ("output", {"class_names": "no.txt"}, "{folder}/no.txt is missing: the manifest names it as the class names. Copy it there."),
    ("model", {"file": "../net.onnx"}, "{where}: `model.file` must be the plain name of a file in the same folder. Received: '../net.onnx'"),
    ("model", {"file": "net.onnx\0"}, "{where} is not valid JSON in UTF-8 (an escape that is no letter at byte {any}). Export the bundle again."),
    ("model", {"bytes": 2**32 + 5}, "{where}: `model.bytes` must be a positive whole number. Received: 4294967301"),
    ("model", {"format": "darknet"}, "{where}: `model.format` must be one of onnx, frozen-graph, caffe. Received: 'darknet'"),
    ("model", {"format": "caffe"}, "{where}: a Caffe model needs the key `model.graph`, the name of its .prototxt. Add it."),
    ("model", {"graph": "g.pbtxt"}, "{where}: an ONNX model has its graph inside. Take the key `model.graph` out."),
    ("blob", {"mean": "mean.npy"}, "{where}: `blob.mean` names a file, which the Python client alone reads. Use classify.py."),
    ("blob", {"mean": []}, "{where}: `blob.mean` must be 1 to 4 numbers, or the name of an .npy or .binaryproto file in the same folder. Received: []"),
    ("blob", {"size": [0, 5]}, "{where}: `blob.size` must be [width, height], each 1 to 16384 pixels. Received: [0, 5]"),
    ("blob", {"size": [5.5, 5]}, "{where}: `blob.size` must be [width, height], each 1 to 16384 pixels. Received: [5.5, 5]"),
    ("blob", {"scalefactor": 0}, "{where}: `blob.scalefactor` must be a number other than 0. Received: 0"),
    ("blob", {"swapRB": None}, "{where}: `blob` needs the key `swapRB`. Add it, or export the bundle again."),
    ("blob", {"swapRB": 2}, "{where}: `blob.swapRB` must be true or false. Received: 2"),
    ("output", {"kind": "segments"}, "{where}: `output.kind` must be one of softmax, sigmoid, logits, ssd. Received: 'segments'"),
    ("output", {"class_names": ["a", "a"]}, "{where}: `output.class_names` must be a list of different texts, or the name of a text file in the same folder. Received: ['a', 'a']"),
    ("output", {"background": 0}, "{where}: an output of the kind softmax has no `output.background`. Take it out."),
    ("output", {"kind": "ssd", "multi_label": False}, "{where}: an output of the kind ssd has no `output.multi_label`. Take it out."),
    ("output", {"kind": "ssd", "background": 3}, "{where}: `output.background` is the class 3, and there are 3 class names, counted from 0. Correct it."),
    ("output", {"kind": "ssd", "min_confidence": 1.5}, "{where}: `output.min_confidence` must be a number from 0 to 1. Received: 1.5"),
    ("output", {"class_names": ["a", "b"]}, "The model's output has the shape (1, 3); the manifest's class names need (1, 2)."),
    ("output", {"kind": "ssd"}, "The model's output has the shape (1, 3). That of an SSD is (1, 1, N, 7)."),
    ("opencv", {"minimum": "four"}, "{where}: `opencv.minimum` must be a version such as 4.10.0. Received: 'four'"),
    ("opencv", {"engine": "steam"}, "{where}: `opencv.engine` must be one of classic, new, auto. Received: 'steam'"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "values", "message"), REFUSED)
def test_refusals_are_the_sentences_of_python(
    program: Path, photo: Path, tmp_path: Path, section: str, values: dict[str, Any], message: str
) -> None:
    folder = answering(tmp_path / "refused", [0.7, 0.2, 0.1], **{section: values})
    done = run(program, folder, photo)
    size = (folder / "net.onnx").stat().st_size
    expected = message.format(where=folder / "manifest.json", folder=folder, bytes=size, any="ANY")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(re.escape(expected).replace("ANY", r"\d+") + "\n", done.stderr), (done.stderr, expected)
    if "Python" in message or "JSON" in message:
        return
    opened = Detector if values.get("kind") == "ssd" else Classifier
    with pytest.raises(BundleError) as refusal:  # the same words, where it is no number that each language writes so
        opened(folder).predict(read_image(photo))
    assert str(refusal.value) == expected


STEPS: list[tuple[Any, str]] = [
    ({}, "`manifest.before_blob` must be a list. Received: an object"),
    ([{"step": "turn"}], "`before_blob` knows the steps pad and gray. Received: 'turn'"),
    (["pad"], "`before_blob` knows the steps pad and gray. Received: 'pad'"),
    ([{"step": "gray"}] * 2, "`before_blob` has each step once, pad before gray. Received: ['gray', 'gray']"),
    ([{"step": "pad"}], "`before_blob: pad` needs the key `color_bgr`. Add it, or export the bundle again."),
    ([{"step": "pad", "color_bgr": [0, 0, 256]}], "`before_blob: pad.color_bgr` must be three numbers 0 to 255. Received: [0, 0, 256]"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "message"), STEPS)
def test_steps_that_are_none_are_refused(program: Path, photo: Path, tmp_path: Path, steps: Any, message: str) -> None:
    folder = write_manifest(tmp_path, {**BY_HAND, "before_blob": steps})
    assert run(program, folder, photo).stderr == f"{folder / 'manifest.json'}: {message}\n"


@pytest.mark.parametrize(("schema", "shown"), [("trainkit/2", "trainkit/2"), (2, "2"), (["a"], "['a']")])
def test_other_schemas_are_refused(program: Path, photo: Path, tmp_path: Path, schema: Any, shown: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": schema}))
    done = run(program, tmp_path, photo)
    where = tmp_path / "manifest.json"
    sentence = f"{where}: this client reads schema trainkit/1. Received: {shown}. Take a newer client.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_older_opencv_than_the_manifest_needs_is_refused(
    program: Path, opencv: str, photo: Path, tmp_path: Path
) -> None:
    major, minor, patch = (int("".join(filter(str.isdigit, part))) for part in opencv.split("-")[0].split("."))
    for minimum, refused in (
        (f"{major}.{minor}.{patch}", False), (f"{major}.{minor}.{patch + 1}", True), (f"{major}.{minor + 1}", True),
        (f"{major + 1}", True), ("4.5.5-pre", False), ("0.99.99", False),
    ):  # fmt: skip
        done = run(program, answering(tmp_path / minimum, [1, 0, 0], opencv={"minimum": minimum}), photo)
        sentence = f"This bundle needs OpenCV {minimum} or later. Received: {opencv}. Upgrade OpenCV.\n"
        assert done.stderr == (sentence if refused else "")


@pytest.mark.parametrize(
    ("values", "kind", "sentence"),
    [
        ([3.0, -2.0, 0.5], "softmax", "The model's output goes from -2 to 3. Expected probabilities for the kind softmax. "),
        ([1.002, 0, 0], "sigmoid", "The model's output goes from 0 to 1.002. Expected probabilities for the kind sigmoid. "),
    ],
)  # fmt: skip
def test_what_is_no_probability_is_refused(
    program: Path, photo: Path, tmp_path: Path, values: list[float], kind: str, sentence: str
) -> None:
    done = run(program, answering(tmp_path / "net", values, output={"kind": kind}), photo)
    advice = "If the network ends without a softmax, write `logits` as `output.kind`.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence + advice)


@pytest.mark.parametrize("kind", ["softmax", "logits"])
def test_numbers_that_are_not_finite_are_refused(program: Path, photo: Path, tmp_path: Path, kind: str) -> None:
    folder = write_manifest(tmp_path / "net", BY_HAND, blob={"scalefactor": 1e300}, output={"kind": kind})
    (folder / "net.onnx").write_bytes(mean_color(width=WIDTH, height=HEIGHT))
    done = run(program, folder, photo)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.match(r"The model's output goes from \S+ to \S+\. Expected probabilities for the kind", done.stderr)


@pytest.mark.parametrize(("section", "key"), [("model", "file"), ("output", "class_names"), ("model", "graph")])
def test_links_out_of_the_folder_are_refused(
    program: Path, photo: Path, tmp_path: Path, section: str, key: str
) -> None:
    folder = answering(tmp_path / "net", [1, 0, 0], **{section: {key: "link"}})
    if key == "graph":
        edit(folder, "model", format="frozen-graph")
    (tmp_path / "secret").write_text("secret\n")
    (folder / "link").symlink_to(tmp_path / "secret")
    done = run(program, folder, photo)
    sentence = f"{folder / 'link'} is a link that leaves the bundle. Put the file itself there.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_class_names_that_are_none_are_refused(program: Path, photo: Path, tmp_path: Path) -> None:
    folder = answering(tmp_path / "net", [1, 0, 0], output={"class_names": "names.txt"})
    names = folder / "names.txt"
    line = "must be a class name of 1 to 3999 bytes without control characters. Correct it."
    for content, sentence in (
        (b"", f"{names}: line 1 {line}"),
        (b"cat\n\ndog", f"{names}: line 2 {line}"),
        (b"cat\ndog \x1b[31mred\n", f"{names}: line 2 {line}"),
        (b"cat\nx\n" + b"x" * 4000, f"{names}: line 3 {line}"),
        (b"cat\xff", f"{names} is not UTF-8 (byte 3 is not one of it). Convert it."),
        (b"c\n" * (10**6 + 1), f"{names} has 1000001 lines. Expected at most 1000000 class names."),
        (b"c" * (2**24 + 1), f"{names} has more than 16777216 bytes, too many for the class names. Name another file."),
    ):
        names.write_bytes(content)
        done = run(program, folder, photo)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence + "\n")


HOSTILE: list[tuple[bytes, str]] = [
    (b"", "expected a value at byte 0"),
    (b"{", 'expected " at byte 1'),
    (b"[" * 100_000, "nested too deeply at byte 101"),
    (b'{"a":' * 100_000, "nested too deeply at byte 505"),
    (b'\xef\xbb\xbf{"schema":1}', "expected a value at byte 0"),
    (b'{"schema":"\xff"}', "byte 11 is not one of UTF-8"),
    (b'{"schema":"\xed\xa0\x80"}', "byte 11 is not one of UTF-8"),
    (b'{"schema":"\\ud800"}', "an escape that is no letter at byte 17"),
    (b'{"schema":"\x1b"}', "a control character in a text, or no end of it at byte 11"),
    (b'{"schema":1}\0', "something behind the end at byte 12"),
    (b'{"schema":1}}', "something behind the end at byte 12"),
    (b'{"schema":1,}', 'expected " at byte 12'),
    (b'{"schema":1,"schema":2}', "a key that is there twice at byte 20"),
    (b'{"schema":NaN}', "expected a value at byte 10"),
    (b'{"schema":01}', "expected , at byte 11"),
    (b'{"schema":/**/1}', "expected a value at byte 10"),
    (b'{"schema":"' + b"x" * 5000 + b'"}', "a text of more than 3999 bytes at byte 5012"),
    (b'{"schema":"$base64$MmkA"}', "a text that cv::FileStorage takes for numbers at byte 24"),
]


@pytest.mark.parametrize(("content", "reason"), HOSTILE)
def test_what_is_no_json_ends_with_a_sentence(
    program: Path, photo: Path, tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    done = run(program, tmp_path, photo)
    sentence = f"{path} is not valid JSON in UTF-8 ({reason}). Export the bundle again.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)
    with pytest.raises(BundleError):
        Classifier(tmp_path)


def test_manifests_that_are_too_much_end_with_a_sentence(program: Path, photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for content, sentence in (
        (b"[1, 2]", f"{path}: expected a JSON object. Received: another value\n"),
        (b" " * (2**24 + 1), f"{path} has more than 16777216 bytes: no manifest. Export the bundle again.\n"),
        (b'{"a": [' + b"1," * (2**22) + b"1]}", f"{path}: `manifest` needs the key `schema`. Add it, or export the bundle again.\n"),
    ):  # fmt: skip
        path.write_bytes(content)
        done = run(program, tmp_path, photo)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)
    path.unlink()
    for bundle in (tmp_path, tmp_path / "none"):
        shown = path if bundle == tmp_path else bundle
        sentence = f"No manifest at {shown}. Expected the folder of a bundle, with manifest.json in it.\n"
        assert run(program, bundle, photo).stderr == sentence


@pytest.mark.slow
@pytest.mark.parametrize("name", ["manifest.json", "selftest/selftest.json"])
def test_damage_ends_with_one_line(program: Path, bundle: Path, name: str) -> None:
    original = (bundle / name).read_bytes()
    pieces = [b"null", b"[" * 9999, b'"', b"\\u0041", b"1e999", b"99999999999999", b"\0", b"\xef\xbb\xbf", b"-", b"../"]
    generator = random.Random(0)
    for number in range(60):
        data = bytearray(original)
        place = generator.randrange(len(data))
        if number % 4 == 0:
            del data[place:]
        elif number % 4 == 1:
            data[place] = generator.randrange(256)
        elif number % 4 == 2:
            data[place:place] = generator.choice(pieces)
        else:
            del data[place : place + generator.choice([1, 5, 60])]
        (bundle / name).write_bytes(data)
        done = run(program, bundle, "--selftest")
        assert done.returncode in (0, 1), (number, bytes(data), done)
        assert len(done.stdout.splitlines()) + len(done.stderr.splitlines()) == 1, (number, bytes(data), done)


# The self-test


def test_self_test_that_cannot_be_read_is_refused(program: Path, bundle: Path) -> None:
    folder, path = bundle / "selftest", bundle / "selftest" / "selftest.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    first = document["images"][0]
    for changed, reason in (
        ({**document, "tolerance": 0.1}, "selftest.json: `selftest.tolerance` must be above 0, at most 0.001"),
        ({**document, "images": []}, "it needs at least one image"),
        ({"tolerance": 1e-5}, "selftest.json: `selftest` needs the key `images`"),
        ({"images": [{**first, "png": "../1.png"}]}, "selftest.json: `images.png` must be the plain name of a file in the same folder"),
        ({"images": [{**first, "probabilities": [1.0]}]}, "selftest.json: `images.probabilities` must be one probability for each class"),
    ):  # fmt: skip
        path.write_text(json.dumps(changed))
        done = run(program, bundle, "--selftest")
        sentence = f"{folder} holds no self-test that can be read ({reason}). Copy the bundle again.\n"
        assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)
    path.write_text(json.dumps({"images": [{**first, "png": "none.png"}]}))
    assert run(program, bundle, "--selftest").stderr == f"No such image: {folder / 'none.png'}\n"
    shutil.rmtree(folder)
    sentence = f"There is no {folder}. It holds photographs, and may have been taken out for that reason.\n"
    assert run(program, bundle, "--selftest").stderr == sentence


def test_self_test_says_what_differs(program: Path, bundle: Path) -> None:
    images = bundle / "selftest"
    cv2.imwrite(
        str(images / json.loads((images / "selftest.json").read_text())["images"][0]["original"]), np.zeros((9, 9))
    )
    done = run(program, bundle, "--selftest")
    assert done.returncode == 0
    assert "the same answers as Keras. 8 of 8 labels" in done.stdout
    assert ", 7 of 8 originals equal. Model file: size checked." in done.stdout
    edit(bundle, "model", bytes=None)
    edit(bundle, "blob", swapRB=False)
    done = run(program, bundle, "--selftest")
    assert (done.returncode, done.stderr) == (1, "")
    assert ": NOT the answers that Keras gave. " in done.stdout
    assert done.stdout.endswith(" Model file: not checked, the manifest says neither size nor sha256.\n")


def test_damaged_model_is_found_by_its_size_or_by_opencv(program: Path, opencv: str, bundle: Path) -> None:
    path = bundle / "model.onnx"
    data = path.read_bytes()
    path.write_bytes(data[:-7])
    sentence = f"{path} has {len(data) - 7} bytes; the manifest says {len(data)}. Copy the bundle again.\n"
    assert run(program, bundle, "--selftest").stderr == sentence
    path.write_bytes(os.urandom(len(data) // 2) + data[len(data) // 2 :])
    done = run(program, bundle, "--selftest")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"OpenCV {re.escape(opencv)} cannot read the model \(.*\)\. Copy or .* again\.\n", done.stderr)


def test_detector_has_no_self_test(program: Path, tmp_path: Path) -> None:
    done = run(program, write_color_detector(tmp_path), "--selftest")
    sentence = "The manifest describes a detector (`output.kind` is ssd). Use trainkit detect.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


# Inputs


def test_inputs_that_cannot_be_read_do_not_stop_the_others(
    program: Path, opencv: str, bundle: Path, photo: Path
) -> None:
    (bundle / "empty").mkdir()
    (bundle / "noise.jpg").write_bytes(os.urandom(999))
    done = run(program, bundle, "none.png", bundle / "noise.jpg", bundle / "empty", photo, "none.mp4")
    assert done.returncode == 1
    assert done.stdout.startswith(f"{photo}: ")
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr.splitlines() == [
        "No such image: none.png",
        f"OpenCV cannot read {bundle / 'noise.jpg'} as an image. Convert it to JPEG or PNG.",
        f"No images in {bundle / 'empty'}. Expected files that end in {', '.join(IMAGE_SUFFIXES)}, or a video.",
        "No such video: none.mp4",
    ]
    done = run(program, bundle, "--camera", "97")
    sentence = f"OpenCV {opencv} gets no frame from camera 97. Try another file or camera.\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)


def test_frames_of_a_video(program: Path, bundle: Path, film: Path, tmp_path: Path) -> None:
    done = run(program, bundle, film, "--every", "3", "--top", "1", "--annotate", tmp_path / "drawn")
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [f"{film} frame {n}" for n in (0, 3, 6)]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["film-0.png", "film-3.png", "film-6.png"]
    (tmp_path / "cut.avi").write_bytes(film.read_bytes()[:99])
    done = run(program, bundle, tmp_path / "cut.avi")
    assert done.returncode == 1
    assert f" gets no frame from {tmp_path / 'cut.avi'}. Try another file or camera." in done.stderr


def test_folders_are_read_and_pictures_drawn(program: Path, bundle: Path, tmp_path: Path) -> None:
    done = run(program, bundle, bundle / "selftest", "--annotate", tmp_path / "new" / "pictures")
    images = list_files(str(bundle / "selftest"))
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == images
    drawn = read_image(tmp_path / "new" / "pictures" / "1.png")
    assert not np.array_equal(drawn, read_image(bundle / "selftest" / "1.png"))
    for out, sentence in (
        (tmp_path / "new" / "pictures", f"{tmp_path}/new/pictures/1.png exists already, and nothing is overwritten. Choose another --annotate.\n"),
        (tmp_path / "a.xyz", f"OpenCV cannot write {tmp_path}/a.xyz. Expected a name that ends in .png or .jpg.\n"),
    ):  # fmt: skip
        again = run(program, bundle, bundle / "selftest" / "1.png", "--annotate", out)
        assert (again.returncode, again.stderr) == (1, sentence)
        assert again.stdout
    assert np.array_equal(read_image(tmp_path / "new" / "pictures" / "1.png"), drawn)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name the bundle, then at least one INPUT, or --camera N, or --selftest"),
        (("BUNDLE",), "name the bundle, then"),
        (("BUNDLE", "x.png", "--top", "0"), "--top must be a whole number, 1 or more. Received: 0"),
        (("BUNDLE", "x.png", "--every=2.5"), "--every must be a whole number, 1 or more. Received: 2.5"),
        (("BUNDLE", "x.png", "--min-confidence", "nan"), "--min-confidence must be a number from 0 to 1. Received: nan"),
        (("BUNDLE", "x.png", "--top"), "--top needs a value"),
        (("BUNDLE", "--camera", "-1"), "--camera must be a whole number, 0 or more. Received: -1"),
        (("BUNDLE", "x.png", "--camera", "0"), "name the bundle, then"),
        (("BUNDLE", "--nonsense"), "unknown option --nonsense"),
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_2(program: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(program, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: classify BUNDLE ")
    assert f"classify: error: {message}" in done.stderr
    assert run(program, "--help").returncode == 0
