"""The Node.js client: the same answers, pixels and words as the Python client."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import conformance
import cv2
import decided
import numpy as np
import pytest
from filelock import FileLock
from photographs import COLORS_BGR, draw_photo, write_mixed_folder
from pictures import png, write_pictures
from strange_models import (
    BY_HAND,
    COLOR_DETECTOR,
    FACE_DETECTOR,
    color_detector,
    colored_cells,
    fixed_output,
    mean_color,
    write_caffe_model,
    write_color_detector,
    write_manifest,
)
from tools import do_without

import trainkit
from trainkit.bundles._clients import copy_clients
from trainkit.deploy import Classifier, Detector
from trainkit.deploy.python._manifest import parse_manifest
from trainkit.errors import BundleError

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "trainkit" / "deploy" / "node"
ANSWER = Path(__file__).parent / "answer_with_node.mjs"
CONFORM = Path(__file__).parent / "conform_with_node.mjs"
CHECK_GRAPHS = Path(__file__).parent / "check_graphs_with_node.mjs"
GRAPHS = ROOT / "trainkit" / "deploy" / "spec" / "graphs.json"
PINNED = json.loads((CLIENT / "package.json").read_text())["dependencies"]
OPENCV = {"4.12.0": "4.12.0-release.1", "5.0.0": "5.0.0-release.1"}
both = pytest.mark.parametrize("version", ["4.12.0", pytest.param("5.0.0", marks=pytest.mark.slow)])


def installed(version: str) -> Path:
    """Return a `node_modules` with this OpenCV, installed once a checkout; skip where that cannot be."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        do_without("node", "needs node and npm on PATH")
    release = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if [int(part) for part in release.lstrip("v").split(".")[:2]] < [20, 9]:
        do_without("node", f"needs Node.js 20.9 or later. Received: {release}")
    packages = {**PINNED, "@techstark/opencv-js": OPENCV[version]}
    key = hashlib.sha256(json.dumps([packages, release]).encode()).hexdigest()[:8]
    folder = ROOT / ".clients" / f"node-{version}-{key}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # other processes of tests want it too
        if not (folder / "node_modules").is_dir():
            install(packages, folder, npm)
    return folder / "node_modules"


def install(packages: dict[str, str], folder: Path, npm: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": packages}))
    command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        shutil.rmtree(folder)
        do_without("node", f"npm cannot install the packages of the client: {done.stderr[-200:]}")


def with_client(bundle: Path, version: str) -> Path:
    """Put the client and its packages into a bundle, and return the folder of the client."""
    modules = installed(version)
    copy_clients(bundle, ["node"])
    (bundle / "node" / "node_modules").symlink_to(modules)
    return bundle / "node"


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The client by itself, with each OpenCV, as it is asked for."""

    class Clients(dict[str, Path]):
        def __missing__(self, version: str) -> Path:
            self[version] = with_client(tmp_path_factory.mktemp("client"), version)
            return self[version]

    return Clients()


def answer(client: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let the client answer several jobs in one process; see answer_with_node.mjs."""
    command = ["node", str(ANSWER), str(client)]
    done = subprocess.run(
        command, input=json.dumps(jobs, default=str), capture_output=True, encoding="utf-8", timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def run(client: Path, *arguments: str | Path, cwd: Path | None = None, **environment: str) -> Any:
    """Run the client's own command line in its folder, or in another."""
    command = [str(shutil.which("node")), str(client / "classify.mjs"), *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=cwd or client, env=env, capture_output=True, encoding="utf-8", timeout=120, check=False
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, street_image: np.ndarray) -> list[Path]:
    """Photographs as PNG and as JPEG, none of them square."""
    folder = tmp_path_factory.mktemp("photos")
    images = [draw_photo(i, color, 49 + 9 * i, 82 - 8 * i) for i, color in enumerate(COLORS_BGR.values())]
    for number, image in enumerate([*images, street_image]):
        cv2.imwrite(str(folder / f"{number}.png"), image)
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
    return sorted(folder.iterdir())


def python_answers(bundle: Path, images: list[Path]) -> np.ndarray:
    classifier = Classifier(bundle)
    return np.array([classifier.probabilities(cv2.imread(str(path))) for path in images])


def assert_same_answers(client: Path, bundle: Path, images: list[Path]) -> None:
    (result,) = answer(client, [{"bundle": bundle, "images": images, "probabilities": True}])
    assert "error" not in result, result
    expected = python_answers(bundle, images)
    assert np.ptp(expected) > 0.1  # else equal answers would say little
    np.testing.assert_allclose(result["answers"], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("version", OPENCV)
def test_selftest_and_answers_agree(
    version: str, tiny_bundle: Path, tmp_path: Path, photos: list[Path], clients: dict[str, Path]
) -> None:
    client = with_client(shutil.copytree(tiny_bundle, tmp_path / "bundle"), version)
    done = subprocess.run(
        ["npm", "run", "--silent", "selftest"], cwd=client, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"OpenCV {version}: the same answers as Keras. 8 of 8 labels, 8 of 8 inputs equal, ")
    assert done.stdout.endswith("Model file: sha256 checked.\n")
    assert_same_answers(client, tiny_bundle, photos)


# Pixels


def assert_same_pixels(client: Path, paths: list[Path]) -> None:
    results = answer(client, [{"decode": path} for path in paths])
    different = []
    for path, result in zip(paths, results, strict=True):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert image is not None, path
        height, width = image.shape[:2]
        if result != {"sha256": hashlib.sha256(image.tobytes()).hexdigest(), "width": width, "height": height}:
            different.append((path.name, result))
    assert different == []


def test_pixels_are_those_of_imread(tmp_path: Path, street_image: np.ndarray, clients: dict[str, Path]) -> None:
    written = write_pictures(tmp_path, street_image[:61, :83])
    assert len(written) > 70
    assert_same_pixels(clients["4.12.0"], list(written.values()))


@pytest.mark.shared
@pytest.mark.slow
def test_pixels_of_photographs_are_those_of_imread(shared: Path, clients: dict[str, Path]) -> None:
    photographs = [path for path in (shared / "data").rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    assert len(photographs) > 100
    assert_same_pixels(clients["4.12.0"], photographs)


def test_what_cannot_be_read_alike_is_refused(
    tmp_path: Path, street_image: np.ndarray, clients: dict[str, Path]
) -> None:
    written = write_pictures(tmp_path, street_image[:61, :83])
    whole = written["rgb.png"].read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0x55
    drawing = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="9"/></svg>'
    files = {
        "empty.jpg": b"",
        "text.jpg": b"no image",
        "cut.png": whole[:-200],
        "damaged.png": bytes(damaged),
        "drawing.svg": drawing,
        "drawing.png": drawing,
        "header.jpg": written["420.jpg"].read_bytes()[:100],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for name in ("16-bit.tif", "alpha.tif", "bitmap.bmp"):
        depth = street_image.astype(np.uint16) * 201 if name == "16-bit.tif" else street_image
        cv2.imwrite(str(tmp_path / name), np.dstack([depth, depth[..., :1]]) if name == "alpha.tif" else depth)
    paths = [tmp_path / name for name in (*files, "16-bit.tif", "alpha.tif", "bitmap.bmp")]
    results = answer(clients["4.12.0"], [{"decode": path} for path in paths])
    assert [result.get("error") for result in results] == [
        f"OpenCV cannot read {path} as an image. Convert it to JPEG or PNG." for path in paths
    ]
    results = answer(clients["4.12.0"], [{"decode": tmp_path / "none.png"}, {"decode": tmp_path}])
    assert [result["error"] for result in results] == [
        f"No such image: {tmp_path / 'none.png'}",
        f"No such image: {tmp_path}",
    ]


def test_bomb_is_refused_before_it_is_decoded(tmp_path: Path, clients: dict[str, Path]) -> None:
    bomb = tmp_path / "bomb.png"  # 144 kB
    rows = [bytes(40000 // 8)] * 30000
    bomb.write_bytes(png(40000, 30000, bits=1, color=0, rows=rows))
    (result,) = answer(clients["4.12.0"], [{"decode": bomb}])
    assert result["error"] == f"{bomb} has 40000x30000 pixels, more than 268435456. Cut or scale it."


# Bundles, and manifests written by hand


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both formats of a network with one sigmoid, whose second class has quotes and a letter beyond ASCII."""
    from trainkit.backend import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    image = keras.Input((24, 32, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu")(image))
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(x), name="small")
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 4)
    exported = tmp_path_factory.mktemp("two-classes")
    return {
        model_format: trainkit.export(
            model, preprocessing="unit", class_names=["plain", 'café "x"'], format=model_format, exported=exported
        ).path
        for model_format in ("onnx", "frozen-graph")
    }


@both
@pytest.mark.parametrize("model_format", ["onnx", pytest.param("frozen-graph", marks=pytest.mark.slow)])
def test_two_classes_agree_in_both_formats(
    version: str,
    model_format: str,
    two_classes: dict[str, Path],
    photos: list[Path],
    clients: dict[str, Path],
) -> None:
    bundle = two_classes[model_format]
    done = run(clients[version], "--selftest", "--bundle", bundle)
    engine = ", classic engine" if (version, model_format) == ("5.0.0", "frozen-graph") else ""
    assert done.stdout.startswith(f"OpenCV {version}{engine}: the same answers as Keras. 8 of 8 labels, 8 of 8 inputs")
    assert ", 2 of 2 originals equal. Model file: sha256 checked." in done.stdout  # the JPEG of scikit-learn
    assert (done.returncode, done.stderr) == (0, "")
    assert_same_answers(clients[version], bundle, photos)
    line = run(clients[version], "--bundle", bundle, photos[0]).stdout
    found = Classifier(bundle).predict(cv2.imread(str(photos[0])))
    assert line == f"{photos[0]}: " + ", ".join(f"{label} {probability:.4f}" for label, probability in found) + "\n"


@pytest.mark.slow
def test_selftest_says_when_answers_differ(
    two_classes: dict[str, Path], tmp_path: Path, clients: dict[str, Path]
) -> None:
    bundle = shutil.copytree(two_classes["onnx"], tmp_path / "bundle")
    path = bundle / "selftest" / "selftest.json"
    document = json.loads(path.read_text())
    document["images"][0]["probabilities"].reverse()
    path.write_text(json.dumps(document))
    done = run(clients["4.12.0"], "--selftest", "--bundle", bundle)
    assert "OpenCV 4.12.0: NOT the answers that Keras gave. 8 of 8 labels" in done.stdout
    assert done.returncode == 1
    for damage, reason in [
        ({"tolerance": 0.1, "images": document["images"]}, "`tolerance` must be above 0, at most 0.001"),
        ({"images": []}, "it needs plain file names"),
        ({"images": [{**document["images"][0], "png": "../1.png"}]}, "it needs plain file names"),
    ]:
        path.write_text(json.dumps(damage))
        done = run(clients["4.12.0"], "--selftest", "--bundle", bundle)
        assert done.stderr.startswith(f"{bundle / 'selftest'} holds no self-test that can be read ({reason}")
        assert (done.returncode, done.stdout) == (1, "")
    shutil.rmtree(bundle / "selftest")
    done = run(clients["4.12.0"], "--selftest", "--bundle", bundle)
    assert done.stderr.startswith(f"There is no {bundle / 'selftest'}. It holds photographs")


@pytest.mark.parametrize("name", decided.NAMES)
def test_what_the_manifest_decides_is_said_as_in_python(
    clients: dict[str, Path], tiny_bundle: Path, tmp_path: Path, name: str
) -> None:
    images = decided.write_images(tmp_path / "images")
    bundle = decided.decide(tiny_bundle, tmp_path, images, name)
    lines, _ = decided.words_of_python(bundle, images)
    decided.assert_decides(lines, name)
    assert decided.without_digits(run(clients["4.12.0"], "--bundle", bundle, *images).stdout) == lines
    (result,) = answer(clients["4.12.0"], [{"bundle": bundle, "images": images}])
    expected = [Classifier(bundle).predict(cv2.imread(str(path))) for path in images]
    assert [[one["label"] for one in found] for found in result["answers"]] == [
        [one.label for one in found] for found in expected
    ]


@pytest.mark.parametrize("options", [(), ("--invert",)])
def test_pictures_unlike_the_training_images_are_warned_of_as_in_python(
    clients: dict[str, Path], tiny_bundle: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    bundle = decided.learn_brightness(tiny_bundle, tmp_path)
    images = list(decided.write_light_and_dark(tmp_path / "pictures").values())
    lines, warnings = decided.words_of_python(bundle, images, *options)
    assert len(warnings) == 2
    done = run(clients["4.12.0"], "--bundle", bundle, *images, *options)
    assert (decided.without_digits(done.stdout), done.stderr.splitlines()) == (lines, warnings)


def fixed(folder: Path, values: list[Any], **sections: Any) -> Path:
    """Write a bundle that answers the same whatever it sees."""
    write_manifest(
        folder,
        {**BY_HAND, **{k: v for k, v in sections.items() if isinstance(v, list)}},
        **{k: v for k, v in sections.items() if isinstance(v, dict)},
    )
    (folder / "net.onnx").write_bytes(fixed_output(np.array([values]), width=5, height=4))
    return folder


def seeing(folder: Path, *, size: tuple[int, int] = (5, 4), before_blob: list[Any] | None = None, **blob: Any) -> Path:
    """Write a bundle that answers the mean of each channel of its input, as they come."""
    manifest = {**BY_HAND, "before_blob": before_blob or []}
    write_manifest(
        folder, manifest, blob={"scalefactor": 1 / 255, "size": list(size), **blob}, output={"kind": "sigmoid"}
    )
    (folder / "net.onnx").write_bytes(mean_color(width=size[0], height=size[1]))
    return folder


def seeing_grey(folder: Path, **blob: Any) -> Path:
    """Write a bundle that answers the mean of a grey image."""
    seeing(folder, before_blob=[{"step": "gray"}], **blob)
    (folder / "net.onnx").write_bytes(mean_color(width=5, height=4, channels=1))
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**manifest, "output": {"kind": "sigmoid", "class_names": ["grey"]}}), encoding="utf-8")
    return folder


@pytest.mark.slow
@both
def test_manifests_by_hand_agree(version: str, tmp_path: Path, photos: list[Path], clients: dict[str, Path]) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "names.txt").write_text("\ufeffn01440764 tench, Tinca\nn02012849  crane\r\nn1 crane\n", "utf-8")
    pad = {"step": "pad", "color_bgr": [10, 200, 30.5]}
    bundles = [
        fixed(tmp_path / "a", [1.5, -2, 0.25], output={"kind": "logits"}),
        fixed(tmp_path / "b", [1.5, -2, 0.25], output={"kind": "logits", "multi_label": True}),
        fixed(tmp_path / "c", [0.3, 0.9, 0.9], output={"kind": "sigmoid", "multi_label": True}),
        fixed(tmp_path / "d", [0.03125, 0.2, 0.76875], output={"class_names": "names.txt"}),
        fixed(tmp_path / "e", [0.1, 0.2, 0.7], model={"bytes": None}),
        seeing(tmp_path / "f", swapRB=True, mean=[10, 20.5, 30]),
        seeing(tmp_path / "g", before_blob=[pad], size=(7, 3)),
        seeing(tmp_path / "h", before_blob=[pad], size=(3, 8), swapRB=True),
        seeing(tmp_path / "i", crop=True, size=(9, 9)),
        seeing_grey(tmp_path / "j", swapRB=True, mean=[10, 20, 30]),  # nothing is swapped, the means neither
    ]
    jobs = [{"bundle": bundle, "images": photos, "probabilities": True} for bundle in bundles]
    for bundle, result in zip(bundles, answer(clients[version], jobs), strict=True):
        np.testing.assert_allclose(result["answers"], python_answers(bundle, photos), atol=1e-6, err_msg=bundle.name)
    jobs = [{"bundle": bundle, "images": photos[:1], "options": {"top": 2}} for bundle in bundles]
    for bundle, result in zip(bundles, answer(clients[version], jobs), strict=True):
        found = Classifier(bundle).predict(cv2.imread(str(photos[0])), top=2)
        assert [one["label"] for one in result["answers"][0]] == [label for label, _ in found]
    line = run(clients[version], "--bundle", tmp_path / "d", photos[0]).stdout
    assert line == f"{photos[0]}: crane 0.7688, crane 0.2000, tench, Tinca 0.0312\n"


@both
def test_detectors_agree(version: str, tmp_path: Path, clients: dict[str, Path]) -> None:
    cells = colored_cells({(0, 0): "red", (2, 1): "blue", (3, 3): "red"})
    wide = cv2.copyMakeBorder(cells, 3, 11, 40, 25, cv2.BORDER_CONSTANT, value=(90, 90, 90))
    images = []
    for name, image in {"cells": cells, "wide": wide, "none": np.full((50, 70, 3), 90, np.uint8)}.items():
        images.append(tmp_path / f"{name}.png")
        cv2.imwrite(str(images[-1]), image)
    pad = [{"step": "pad", "color_bgr": [90, 90, 90]}]
    bundles = [
        write_color_detector(tmp_path / "plain"),
        write_color_detector(tmp_path / "sure", output={"min_confidence": 0.99}),
        write_color_detector(tmp_path / "crop", blob={"crop": True}),
        write_manifest(tmp_path / "pad", {**COLOR_DETECTOR, "before_blob": pad}),
    ]
    (tmp_path / "pad" / "colors.onnx").write_bytes(color_detector())
    for options in ({}, {"minConfidence": 0.2}):
        jobs = [{"bundle": bundle, "images": images, "options": options} for bundle in bundles]
        for bundle, result in zip(bundles, answer(clients[version], jobs), strict=True):
            detector = Detector(bundle)
            for image, found in zip(images, result["answers"], strict=True):
                expected = detector.predict(cv2.imread(str(image)), min_confidence=options.get("minConfidence"))
                assert [one["label"] for one in found] == [one.label for one in expected]
                for one, other in zip(found, expected, strict=True):
                    assert one["confidence"] == pytest.approx(other.confidence, abs=1e-5)
                    assert tuple(one["box"].values()) == pytest.approx(other.box, abs=1e-3)
    done = run(clients[version], "--bundle", tmp_path / "plain", images[0], images[2])
    lines = done.stdout.splitlines()
    assert lines[1] == f"{images[2]}: nothing above the confidence asked for"
    boxes = [one.box for one in Detector(tmp_path / "plain").predict(cells)]
    assert [part.split(" at ")[1] for part in lines[0].split(", ")] == [
        f"{a:.0f} {b:.0f} {c:.0f} {d:.0f}" for a, b, c, d in boxes
    ]
    assert len(boxes) == 3
    done = run(clients[version], "--bundle", tmp_path / "plain", "--selftest")
    words = "The manifest describes a detector (`output.kind` is ssd). Use trainkit detect.\n"
    assert (done.returncode, done.stderr) == (1, words)


NAN, INF = float("nan"), float("inf")


def test_rows_of_a_detector_that_say_nothing_are_left_out(
    tmp_path: Path, clients: dict[str, Path], photos: list[Path]
) -> None:
    box = [0.1, 0.2, 0.3, 0.4]
    rows = [[0, 1, 0.6, *box], [1, 1, 0.9, *box], [0, 0, 0.9, *box], [0, 3, 0.9, *box], [0, 1.5, 0.9, *box]]
    rows += [[0, 2, 1.0005, -1, -1, 2, 2], [0, 1, 1.5, *box], [0, 1, 0.9, 0.3, 0.2, 0.1, 0.4], [0, 1, 0.9, 2, 2, 3, 3]]
    rows += [[0, 1, -0.5, *box], [-1, 1, 0.9, *box], [0, 1, 0.9, 0.1, 0.2, 1e38, 0.4]]
    folder = write_manifest(tmp_path / "ssd", COLOR_DETECTOR, blob={"size": [5, 4]})
    (folder / "colors.onnx").write_bytes(fixed_output(np.array(rows, np.float32)[None, None], width=5, height=4))
    (result,) = answer(clients["4.12.0"], [{"bundle": folder, "images": photos[:1]}])
    expected = Detector(folder).predict(cv2.imread(str(photos[0])))
    assert [(one["label"], round(one["confidence"], 4)) for one in result["answers"][0]] == [
        (one.label, round(one.confidence, 4)) for one in expected
    ]
    assert len(expected) == 3


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("version", OPENCV)
def test_real_detector_agrees(version: str, shared: Path, tmp_path: Path, clients: dict[str, Path]) -> None:
    folder = write_manifest(tmp_path / "faces", FACE_DETECTOR)
    for file in (shared / "data" / "detector").iterdir():
        shutil.copyfile(file, folder / file.name)
    images = sorted((shared / "data" / "photos").glob("*.jpg"))[:6]
    (result,) = answer(clients[version], [{"bundle": folder, "images": images}])
    detector = Detector(folder)
    count = 0
    for image, found in zip(images, result["answers"], strict=True):
        expected = detector.predict(cv2.imread(str(image)))
        count += len(expected)
        assert [one["confidence"] for one in found] == pytest.approx([one.confidence for one in expected], abs=1e-4)
        for one, other in zip(found, expected, strict=True):
            assert tuple(one["box"].values()) == pytest.approx(other.box, abs=0.1)
    assert count > 0


@pytest.mark.slow
def test_caffe_is_read_before_opencv_5(tmp_path: Path, photos: list[Path], clients: dict[str, Path]) -> None:
    generator = np.random.default_rng(0)
    kernel, bias = generator.normal(0, 0.02, (3, 60)), generator.normal(0, 0.1, 3)
    write_caffe_model(tmp_path, kernel, bias, width=5, height=4)
    model = {"file": "net.caffemodel", "format": "caffe", "graph": "net.prototxt"}
    write_manifest(tmp_path, {**BY_HAND, "model": model}, blob={"mean": [104, 117, 123]})
    image = cv2.imread(str(photos[0]))
    blob = cv2.dnn.blobFromImage(image, 1, (5, 4), (104, 117, 123))
    logits = kernel @ blob.ravel() + bias
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    (result,) = answer(clients["4.12.0"], [{"bundle": tmp_path, "images": photos[:1], "probabilities": True}])
    np.testing.assert_allclose(result["answers"][0], expected, atol=1e-5)
    (result,) = answer(clients["5.0.0"], [{"bundle": tmp_path, "images": photos[:1]}])
    assert result["error"] == (
        "OpenCV 5.0.0 reads no Caffe models any more. Take an OpenCV before 5.0, or convert the model to ONNX."
    )


# Refusals


def refusal(bundle: Path) -> str:
    """Return what the Python client says of a bundle."""
    kind = json.loads((bundle / "manifest.json").read_text()).get("output", {}).get("kind")
    with pytest.raises(BundleError) as caught:
        (Detector if kind == "ssd" else Classifier)(bundle)
    return str(caught.value)


BROKEN: dict[str, dict[str, Any]] = {
    "no blob": {"blob": ...},
    "no size": {"blob": {"size": None}},
    "no class names": {"output": {"class_names": None}},
    "kind": {"output": {"kind": "regression"}},
    "format": {"model": {"format": "darknet"}},
    "path": {"model": {"file": "../net.onnx"}},
    "absolute path": {"model": {"file": "/etc/passwd"}},
    "drive": {"model": {"file": "C:net.onnx"}},
    "missing": {"model": {"file": "other.onnx"}},
    "graph missing": {"model": {"format": "frozen-graph", "graph": "no.pbtxt"}},
    "no graph": {"model": {"format": "caffe"}},
    "needless graph": {"model": {"graph": "net.pbtxt"}},
    "bytes": {"model": {"bytes": 7}},
    "sha256": {"model": {"sha256": "0" * 64}},
    "no sha256": {"model": {"sha256": "x"}},
    "scale": {"blob": {"scalefactor": 0}},
    "huge": {"blob": {"size": [16385, 5]}},
    "mean": {"blob": {"mean": ["a"]}},
    "no bool": {"blob": {"crop": 1}},
    "same names": {"output": {"class_names": ["a", "a", "b"]}},
    "names missing": {"output": {"class_names": "names.txt"}},
    "background": {"output": {"background": 0}},
    "background too high": {"output": {"kind": "ssd", "background": 3}},
    "ssd of many labels": {"output": {"kind": "ssd", "multi_label": True}},
    "step": {"before_blob": [{"step": "blur"}]},
    "steps turned": {"before_blob": [{"step": "gray"}, {"step": "pad", "color_bgr": [0, 0, 0]}]},
    "pad without color": {"before_blob": [{"step": "pad"}]},
    "color": {"before_blob": [{"step": "pad", "color_bgr": [0, 0, 256]}]},
    "minimum": {"opencv": {"minimum": "newest"}},
    "engine": {"opencv": {"engine": "fast"}},
}


def test_refusals_are_those_of_the_python_client(tmp_path: Path, clients: dict[str, Path]) -> None:
    bundles = []
    for name, changes in BROKEN.items():
        manifest = {**BY_HAND, **{key: value for key, value in changes.items() if isinstance(value, list)}}
        sections = {key: value for key, value in changes.items() if isinstance(value, dict)}
        bundles.append(write_manifest(tmp_path / name, manifest, **sections))
        (bundles[-1] / "net.onnx").write_bytes(fixed_output(np.array([[0.2, 0.3, 0.5]]), width=5, height=4))
        if ... in changes.values():
            (bundles[-1] / "manifest.json").write_text(
                json.dumps({k: v for k, v in BY_HAND.items() if k not in changes})
            )
    results = answer(clients["4.12.0"], [{"bundle": bundle, "images": []} for bundle in bundles])
    for bundle, result in zip(bundles, results, strict=True):
        assert result["name"] == "BundleError", result
        assert result["error"] == refusal(bundle)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": "trainkit/3"}', "{where}: this client reads the schemas trainkit/1 and trainkit/2. Received: 't"),
        ("[1]", "{where}: expected a JSON object. Received: [1]"),
        ("null", "{where}: expected a JSON object. Received: null"),
        ("{", "{where} is not valid JSON in UTF-8 ("),
        ('{"a": NaN}', "{where} is not valid JSON in UTF-8 ("),
        ("\ufeff{}", "{where} is not valid JSON in UTF-8 ("),
        ("\udcff", "{where} is not valid JSON in UTF-8 ("),
        ("[" * 10**6, "{where} is not valid JSON in UTF-8 ("),
        ("[" * 10**6 + "]" * 10**6, "{where} is not valid JSON in UTF-8 (nested more than 32 deep). Export"),
        ('{"schema": ' + "[" * 10**5 + "]" * 10**5 + "}", "{where} is not valid JSON in UTF-8 (nested more"),
        ('{"schema": "a\\nb"}', "{where}: this client reads the schemas trainkit/1 and trainkit/2. Received: 'a\\x0ab"),
        ('{"schema": "trainkit/1"}', "{where}: `manifest` needs the key `model`. Add it, or export the bundle again."),
        ('{"__proto__": {"schema": "trainkit/1"}}', "{where}: `manifest` needs the key `schema`."),
        (" " * (2**24 + 1), "{where} has more than 16777216 bytes: no manifest. Export the bundle again."),
    ],
    ids=str.split("schema list null cut nan bom bytes open deep deep-schema lines missing proto large"),
)  # fmt: skip
def test_what_is_no_manifest(text: str, words: str, tmp_path: Path, clients: dict[str, Path]) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = run(clients["4.12.0"], "--bundle", tmp_path, "photo.jpg")
    assert done.stderr.startswith(words.format(where=path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_conformance_cases_get_their_verdicts_and_sentences(tmp_path: Path) -> None:
    node = shutil.which("node") or do_without("node", "needs node on PATH")
    copy_clients(tmp_path, ["node"])
    cases = conformance.read_cases()
    texts = json.dumps([base64.b64encode(case["bytes"]).decode() for case in cases])
    command = [node, str(CONFORM), str(tmp_path / "node")]
    done = subprocess.run(command, input=texts, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    messages = json.loads(done.stdout)
    assert len(messages) == conformance.COUNT
    pairs = zip(cases, messages, strict=True)
    wrong = {case["name"]: said for case, said in pairs if not conformance.agrees(case, said, "a/manifest.json")}
    assert wrong == {}


def test_graphs_of_the_corpus_get_their_sentences(tmp_path: Path) -> None:
    node = shutil.which("node") or do_without("node", "needs node on PATH")
    copy_clients(tmp_path, ["node"])
    cases = json.loads(GRAPHS.read_text(encoding="utf-8"))["cases"]
    texts = json.dumps([case["base64"] for case in cases])
    command = [node, str(CHECK_GRAPHS), str(tmp_path / "node")]
    done = subprocess.run(command, input=texts, capture_output=True, encoding="utf-8", timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    messages = json.loads(done.stdout)
    assert len(messages) == len(cases) >= 200
    said = [message and message.removeprefix("FILE ") for message in messages]
    assert said == [case["sentence"] for case in cases]


def test_files_are_checked_before_they_are_read(tmp_path: Path, clients: dict[str, Path]) -> None:
    bundle = fixed(tmp_path / "bundle", [0.2, 0.3, 0.5], opencv={"minimum": "9.0"})
    fixed(tmp_path / "link", [0.2, 0.3, 0.5])
    (tmp_path / "link" / "net.onnx").unlink()
    (tmp_path / "link" / "net.onnx").symlink_to(bundle / "net.onnx")
    fixed(tmp_path / "damaged", [0.2, 0.3, 0.5])
    (tmp_path / "damaged" / "net.onnx").write_bytes((bundle / "net.onnx").read_bytes()[:100])
    seeing(tmp_path / "mean", mean="mean.npy")
    fixed(tmp_path / "shape", [0.2, 0.3])
    fixed(tmp_path / "range", [0.2, -12345.678, 0.00001234])
    fixed(tmp_path / "nan", [0.2, float("nan"), 0.5], output={"kind": "logits"})
    fixed(tmp_path / "loop", [0.2, 0.3, 0.5], output={"class_names": "loop"})
    (tmp_path / "loop" / "loop").symlink_to("loop")
    fixed(tmp_path / "long", [0.2, 0.3, 0.5], model={"file": "x" * 3000})
    fixed(tmp_path / "letters", [0.2, 0.3, 0.5], output={"class_names": "names"})
    (tmp_path / "letters" / "names").write_bytes(b"cat\n\xff\nfish")
    fixed(tmp_path / "control", [0.2, 0.3, 0.5], output={"class_names": "names"})
    (tmp_path / "control" / "names").write_bytes(b"cat\nd\x1bog\nfish")
    image = tmp_path / "image.png"
    cv2.imwrite(str(image), np.zeros((4, 5, 3), np.uint8))
    expected = {
        "bundle": "This bundle needs OpenCV 9.0 or later. Received: 4.12.0. Upgrade OpenCV.",
        "link": f"{tmp_path}/link/net.onnx is a link that leaves the bundle. Put the file itself there.",
        "damaged": f"{tmp_path}/damaged/net.onnx is no ONNX file (it is no protobuf message, or ends in the middle)",
        "mean": f"{tmp_path}/mean/manifest.json: `blob.mean` names a file, which the Python client alone reads. "
        "Use classify.py.",
        "shape": "The model's output has the shape (1, 2); the manifest's class names need (1, 3).",
        "range": "The model's output goes from -1.235e+04 to 0.2. Expected probabilities for the kind softmax. If the "
        "network ends without a softmax, write `logits` as `output.kind`.",
        "nan": "The model's output goes from nan to nan. Expected probabilities for the kind logits.",
        "loop": f"{tmp_path}/loop/loop is missing: the manifest names it as the class names. Copy it there.",
        "long": f"{tmp_path}/long/{'x' * 3000} is missing: the manifest names it as the model. Copy it there.",
        "letters": f"{tmp_path}/letters/names is not UTF-8",
        "control": f"{tmp_path}/control/names: line 2 must be a class name of 1 to 3999 bytes without control",
        "none": f"No manifest at {tmp_path}/none. Expected the folder of a bundle, with manifest.json in it.",
    }
    jobs = [{"bundle": tmp_path / name, "images": [image]} for name in expected]
    for words, result in zip(expected.values(), answer(clients["4.12.0"], jobs), strict=True):
        assert result["error"].startswith(words)
        assert (result["name"], "\n" in result["error"]) == ("BundleError", False)


def mutated(manifest: Any, generator: random.Random) -> Any:
    """Return a manifest in which one value, somewhere, is another one, or gone."""
    copy = json.loads(json.dumps(manifest))
    place = copy
    while True:
        key = generator.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if isinstance(place[key], dict | list) and place[key] and generator.random() < 0.8:
            place = place[key]
        else:
            break
    strange = [
        None,
        True,
        -1,
        0,
        1,
        3,
        1e308,
        2**40,
        1e-300,
        "",
        "x",
        "..",
        "net.onnx",
        "manifest.json",
        "\ud800",
        [],
        {},
    ]
    strange += [[[]], [1, 2, 3, 4, 5], {"step": "gray"}, "ssd", "caffe", "logits", "a\nb", "x" * 5000, [16384, 16384]]
    if generator.random() < 0.1:
        del place[key]
    else:
        place[key] = generator.choice(strange)
    return copy


@both
def test_hostile_manifests_get_a_sentence(version: str, tmp_path: Path, clients: dict[str, Path]) -> None:
    generator = random.Random(5)
    pad = {"step": "pad", "color_bgr": [0, 100, 255]}
    base = {**BY_HAND, "before_blob": [pad], "opencv": {"minimum": "4.5.5", "engine": "classic"}}
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((6, 5, 3), np.uint8))
    jobs = []
    for number in range(300):
        bundle = fixed(tmp_path / str(number), [0.2, 0.3, 0.5])
        manifest = mutated(mutated(base, generator) if number % 2 else base, generator)
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        jobs.append({"bundle": bundle, "images": [tmp_path / "image.png"]})
    results = answer(clients[version], jobs)
    assert {result.get("name") for result in results} == {None, "BundleError"}
    assert 5 < sum("answers" in result for result in results) < 200
    for job, result in zip(jobs, results, strict=True):
        assert "\n" not in result.get("error", "")
        path = job["bundle"] / "manifest.json"
        try:
            parse_manifest(path.read_bytes(), path)
        except BundleError as error:
            assert result.get("error") == str(error)
        if "answers" in result:
            Classifier(job["bundle"]).probabilities(np.zeros((6, 5, 3), np.uint8))


# The command line


@pytest.fixture(scope="module")
def client(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client in a bundle of its own."""
    bundle = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("node") / "bundle")
    return with_client(bundle, "4.12.0")


def lines_of(bundle: Path, images: list[Path], *, top: int = 5, min_confidence: float = 0) -> list[str]:
    classifier = Classifier(bundle)
    found = [classifier.predict(cv2.imread(str(path)), top=top, min_confidence=min_confidence) for path in images]
    return [
        f"{path}: "
        + (", ".join(f"{one[0]} {one[1]:.4f}" for one in several) or "nothing above the confidence asked for")
        for path, several in zip(images, found, strict=True)
    ]


def test_images_and_folders_are_read_and_the_rest_is_named(client: Path, photos: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deeper").mkdir(parents=True)
    shutil.copy(photos[0], folder / "deeper" / "A.JPG")
    shutil.copy(photos[1], folder / "b.png")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no image")
    inputs = [
        photos[2],
        folder,
        tmp_path / "text.png",
        tmp_path / "none.png",
        tmp_path / "empty",
        tmp_path / "none.mp4",
    ]
    done = run(client, "--top", "2", *inputs)
    expected = [photos[2], folder / "b.png", folder / "deeper" / "A.JPG"]
    assert done.stdout.splitlines() == lines_of(client.parent, expected, top=2)
    assert sorted(line[:60] for line in done.stderr.splitlines()) == sorted(
        line[:60]
        for line in [
            f"OpenCV cannot read {tmp_path / 'text.png'} as an image. Convert it to JPEG or PNG.",
            f"No such image: {tmp_path / 'none.png'}",
            f"No images in {tmp_path / 'empty'}. Expected files that end in .bmp",
            f"No such video: {tmp_path / 'none.mp4'}",
        ]
    )
    assert done.returncode == 1


def test_confidence_is_a_floor(client: Path, photos: list[Path]) -> None:
    for floor in (0.3, 1):
        done = run(client, f"--min-confidence={floor}", *photos[:3])
        assert done.stdout.splitlines() == lines_of(client.parent, photos[:3], min_confidence=floor)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name at least one INPUT, or --camera N, or --selftest"),
        (["a.png", "--selftest"], "name at least one INPUT, or --camera N, or --selftest"),
        (["a.png", "--top", "0"], "--top must be a whole number, 1 or more. Received: 0"),
        (["a.png", "--every", "1.5"], "--every must be a whole number, 1 or more. Received: 1.5"),
        (["--camera", "x"], "--camera must be a whole number, 0 or more. Received: x"),
        (["a.png", "--min-confidence", "1.1"], "--min-confidence must be from 0 to 1. Received: 1.1"),
        (["a.png", "--min-confidence="], "--min-confidence must be from 0 to 1. Received: "),
        (["a.png", "--fast"], "Unknown option '--fast'"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], words: str, client: Path) -> None:
    done = run(client, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    usage, error = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert usage.startswith("usage: node classify.mjs")
    assert error.startswith(f"classify.mjs: error: {words}")


def test_packages_that_are_missing_are_named(tiny_bundle: Path, tmp_path: Path, client: Path) -> None:
    copy_clients(tmp_path, ["node"])
    alone = tmp_path / "node"
    done = run(alone, "--bundle", tiny_bundle, "photo.png")
    assert done.stderr == f"@techstark/opencv-js is not installed. Run npm install in {alone}.\n"
    assert done.returncode == 1
    done = run(alone, "--bundle", tmp_path / "none", "photo.png")
    assert done.stderr.startswith(f"No manifest at {tmp_path / 'none'}. Expected the folder of a bundle")


def test_nothing_is_shown_that_a_terminal_obeys(tmp_path: Path, clients: dict[str, Path]) -> None:
    bundle = fixed(tmp_path / "bundle", [0.2, 0.3, 0.5], output={"class_names": ["a\u202e", "b\u2066c", "\u200fd"]})
    image = np.zeros((40, 600, 3), np.uint8)
    for name in ("a\x1b[31m\nb\u202e.png", "b.png"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    names = ("a\x1b[31m\nb\u202e.png", "b.png", "no\x1b[2J.png")
    paths = [tmp_path / name for name in names]
    done = run(clients["4.12.0"], "--bundle", bundle, *paths, "--annotate", tmp_path / "drawn")
    first = f"{tmp_path}/a\\x1b[31m\\x0ab\\u202e.png: \\u200fd 0.5000, b\\u2066c 0.3000, a\\u202e 0.2000"
    assert done.stdout.split("\n")[0] == first
    assert done.stdout.count("\n") == 2
    assert done.stderr == f"No such image: {tmp_path}/no\\x1b[2J.png\n"
    plain = fixed(tmp_path / "plain", [0.2, 0.3, 0.5], output={"class_names": [r"a\u202e", r"b\u2066c", r"\u200fd"]})
    run(clients["4.12.0"], "--bundle", plain, tmp_path / "b.png", "--annotate", tmp_path / "plain.png")
    assert np.array_equal(cv2.imread(str(tmp_path / "drawn" / "b.png")), cv2.imread(str(tmp_path / "plain.png")))
    wrong = run(clients["4.12.0"], "--x\x1b[2J", "a.png")
    assert (wrong.returncode, r"--x\x1b[2J" in wrong.stderr) == (2, True)
    refused = run(clients["4.12.0"], "--bundle", fixed(bundle, [0.5], output={"class_names": ["\x1b[2J"]}), "a.png")
    assert r"Received: ['\x1b[2J']" in refused.stderr
    shown = done.stdout + done.stderr + wrong.stderr + refused.stderr
    assert not re.search("[\x1b\u202e\u2066\u200f]", shown)


def test_reader_that_goes_away_is_no_crash(client: Path, photos: list[Path]) -> None:
    node = subprocess.Popen(
        ["node", str(client / "classify.mjs"), *map(str, photos)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert node.stdout is not None
    assert node.stderr is not None
    node.stdout.close()
    assert node.stderr.read() == b""
    node.stderr.close()
    assert node.wait(60) == 1


@pytest.mark.slow
def test_annotated_pictures_are_written_once(client: Path, photos: list[Path], tmp_path: Path) -> None:
    image = next(path for path in photos if path.name == "3.png")  # the large one
    done = run(client, image, "--annotate", tmp_path / "one.png")
    assert (done.returncode, done.stderr) == (0, "")
    before, after = cv2.imread(str(image)), cv2.imread(str(tmp_path / "one.png"))
    changed = np.flatnonzero((before != after).any(axis=(1, 2)))
    assert 30 < changed.max() < 50  # three lines of 12 pixels
    np.testing.assert_array_equal(before[40:], after[40:])
    content = (tmp_path / "one.png").read_bytes()
    done = run(client, image, "--annotate", tmp_path / "one.png")
    one = tmp_path / "one.png"
    assert done.stderr == f"{one} exists already, and nothing is overwritten. Choose another --annotate.\n"
    assert (done.returncode, one.read_bytes()) == (1, content)
    assert run(client, *photos[:3:2], "--annotate", tmp_path / "several").returncode == 0
    assert sorted(path.name for path in (tmp_path / "several").iterdir()) == ["0.png", "1.png"]
    for target, words in [
        (
            tmp_path / "one.bmp",
            f"OpenCV cannot write {tmp_path / 'one.bmp'}. Expected a name that ends in .png or .jpg.",
        ),
        (tmp_path / "no" / "no" / "one.png", f"Cannot write {tmp_path / 'no' / 'no' / 'one.png'} (no such file or"),
    ]:
        done = run(client, image, "--annotate", target)
        assert done.stderr.startswith(words)
        assert done.returncode == 1


@both
def test_boxes_are_drawn(version: str, tmp_path: Path, clients: dict[str, Path]) -> None:
    write_color_detector(tmp_path / "colors")
    image = cv2.resize(colored_cells({(1, 1): "red"}), (640, 640), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(tmp_path / "red.png"), image)
    done = run(
        clients[version], "--bundle", tmp_path / "colors", tmp_path / "red.png", "--annotate", tmp_path / "o.png"
    )
    assert (done.returncode, done.stderr) == (0, "")
    left, top, right, bottom = (int(edge) for edge in done.stdout.split(" at ")[1].split())
    drawn = cv2.imread(str(tmp_path / "o.png"))
    assert drawn.shape == image.shape
    for x, y in [(left, bottom - 1), (right - 1, bottom - 1), (right - 1, (top + bottom) // 2)]:
        np.testing.assert_array_equal(drawn[y, x], (90, 220, 0))
    middle = drawn[(top + bottom) // 2, (left + right) // 2]
    np.testing.assert_array_equal(middle, (0, 0, 255))


# Videos


def write_film(path: Path, frames: int = 7) -> list[np.ndarray]:
    """Write a film in which each frame is brighter, and return its frames as OpenCV decodes them."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (80, 60))
    for number in range(frames):
        writer.write(draw_photo(number, (30 * number, 200 - 20 * number, 60)))
    writer.release()
    capture = cv2.VideoCapture(str(path))
    decoded = [capture.read()[1] for _ in range(frames)]
    capture.release()
    return decoded


@pytest.mark.slow
def test_answers_come_in_the_order_of_the_files(client: Path, tmp_path: Path) -> None:
    good, broken = write_mixed_folder(tmp_path / "mixed", 90)
    done = run(client, "--top", "2", tmp_path / "mixed")
    assert done.returncode == 1
    assert done.stdout.splitlines() == lines_of(client.parent, good, top=2)
    sentences = [f"OpenCV cannot read {path} as an image. Convert it to JPEG or PNG." for path in broken]
    assert done.stderr.splitlines() == sentences


@pytest.mark.slow
def test_frames_of_a_video_are_answered(client: Path, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        do_without("node", "needs ffmpeg on PATH")
    name = '-film [%d] "x".avi'  # neither an option nor a pattern
    frames = write_film(tmp_path / name)
    classifier = Classifier(client.parent)
    for every in (1, 3):
        done = run(client, "--top=1", f"--every={every}", "--annotate", f"{tmp_path}/{every}", "--", name, cwd=tmp_path)
        assert done.stderr == ""
        lines = done.stdout.splitlines()
        assert [line.split(":")[0] for line in lines] == [f"{name} frame {number}" for number in range(0, 7, every)]
        for line, frame in zip(lines, frames[::every], strict=True):
            ((label, probability),) = classifier.predict(frame, top=1)
            assert line.split(": ")[1].split()[0] == label
            assert float(line.split()[-1]) == pytest.approx(probability, abs=0.05)  # ffmpeg's colours are not OpenCV's
        assert len(list((tmp_path / str(every)).iterdir())) == len(lines)
    (tmp_path / "no.mp4").write_text("no film")
    done = run(client, tmp_path / "no.mp4")
    assert done.stderr.startswith(f"ffmpeg gets no frame from {tmp_path / 'no.mp4'} (")
    assert done.returncode == 1
    done = run(client, "--camera", "63")
    assert done.stderr.startswith("ffmpeg gets no frame from camera 63 (")
    assert done.returncode == 1


def test_without_ffmpeg_a_video_gets_a_sentence(client: Path, tmp_path: Path, photos: list[Path]) -> None:
    write_film(tmp_path / "film.avi")
    done = run(client, tmp_path / "film.avi", photos[0], PATH=str(tmp_path))
    words = "Videos and cameras need the program ffmpeg, which is not installed. Install it, or use classify.py.\n"
    assert done.stderr == words
    assert done.stdout.startswith(f"{photos[0]}: ")
    assert done.returncode == 1


# In a program


def run_program(client: Path, text: str) -> str:
    done = subprocess.run(
        ["node", "--input-type=module", "--eval", text], cwd=client, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@both
def test_predictions_at_once_are_the_serial_ones(
    version: str, tiny_bundle: Path, photos: list[Path], clients: dict[str, Path]
) -> None:
    text = f"""
        import fs from 'node:fs';
        import {{ open }} from './classify.mjs';
        const images = {json.dumps([str(path) for path in photos])};
        const [one, other] = await Promise.all([open({str(tiny_bundle)!r}), open({str(tiny_bundle)!r})]);
        const serial = [];
        for (const image of images) serial.push(await one.predict(image));
        const kept = JSON.stringify(serial);
        const many = [];
        for (let i = 0; i < 400; i++) {{
          const image = images[i % images.length];
          many.push((i % 3 ? one : other).predict(i % 2 ? image : fs.readFileSync(image)));
        }}
        const equal = (await Promise.all(many)).filter(
          (found, i) => JSON.stringify(found) === JSON.stringify(serial[i % images.length]));
        const last = one.predict(images[0]);
        await one.close();
        const refused = await one.predict(images[0]).catch((error) => `${{error.name}}: ${{error.message}}`);
        await one.close();
        const wrong = [];
        const pixels = {{ data: new Uint8Array(4), width: 1, height: 1 }};
        const options = [{{ top: 0 }}, {{ minConfidence: 2 }}].map((option) => [images[0], option]);
        for (const given of [[7], [undefined], [pixels], ...options, ['none.png'], [new Uint8Array(5)]]) {{
          wrong.push(await other.predict(...given).catch((error) => error.name));
        }}
        console.log(equal.length, JSON.stringify(serial) === kept, (await last).length, refused, wrong.join());
        console.log(process.listenerCount('unhandledRejection'), process.listenerCount('uncaughtException'));
    """
    assert run_program(clients[version], text).splitlines() == [
        "400 true 3 BundleError: This bundle is closed. Open it again. "
        "TypeError,TypeError,TypeError,RangeError,RangeError,BundleError,BundleError",
        "0 0",
    ]


@pytest.mark.slow
def test_module_that_is_loaded_already_is_taken(
    tiny_bundle: Path, photos: list[Path], clients: dict[str, Path]
) -> None:
    text = f"""
        import {{ createRequire }} from 'node:module';
        const loaded = createRequire(process.cwd() + '/x.js')('@techstark/opencv-js');
        let mine = 0;
        loaded.onRuntimeInitialized = () => mine++;
        if (WAIT) await new Promise((resolve) => setInterval(() => loaded.Mat && mine && resolve(), 20));
        const {{ open }} = await import('./classify.mjs');
        const classifier = await open({str(tiny_bundle)!r});
        console.log(mine, (await classifier.predict({str(photos[0])!r})).length);
        process.exit(0);
    """
    for wait in ("true", "false"):
        assert run_program(clients["4.12.0"], text.replace("WAIT", wait)) == "1 3\n"


@pytest.mark.slow
@pytest.mark.parametrize("version", OPENCV)
def test_memory_is_given_back(version: str, tiny_bundle: Path, tmp_path: Path, clients: dict[str, Path]) -> None:
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((1500, 2000, 3), np.uint8))  # 9 MB a prediction
    text = f"""
        import {{ open }} from './classify.mjs';
        import {{ readImage }} from './pictures.mjs';
        const image = await readImage({str(tmp_path / "large.png")!r});
        for (let i = 0; i < 3; i++) {{
          const classifier = await open({str(tiny_bundle)!r});
          for (let k = 0; k < 200; k++) await classifier.predict(image);
          await classifier.close();
        }}
        console.log(process.memoryUsage().rss < 1e9);
    """
    assert run_program(clients[version], text) == "true\n"


# The manual


def section() -> str:
    return (ROOT / "docs" / "deploy-node.md").read_text(encoding="utf-8")


def test_service_of_the_manual_answers(client: Path, photos: list[Path], tmp_path: Path) -> None:
    (script,) = re.findall(r"```js\n(// server\.mjs\n.*?)```", section(), re.DOTALL)
    (client / "server.mjs").write_text(script)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = ["node", "server.mjs"]
    with subprocess.Popen(command, cwd=client, env={**os.environ, "PORT": str(port)}, stderr=subprocess.PIPE) as server:
        try:
            wait_for(port, server)
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda path: post(address, path.read_bytes()), photos * 5))
            serial = [post(address, path.read_bytes()) for path in photos]
            refused = [post(address, data) for data in (b"", b"no image", photos[0].read_bytes()[:60])]
        finally:
            server.terminate()
    assert answers == serial * 5
    for path, (code, text) in zip(photos, serial, strict=True):
        expected = Classifier(client.parent).predict(cv2.imread(str(path)), top=2)
        assert code == 200
        assert [one["label"] for one in json.loads(text)] == [label for label, _ in expected]
        assert [one["probability"] for one in json.loads(text)] == pytest.approx([p for _, p in expected], abs=1e-5)
    assert refused == [(400, "OpenCV cannot read these bytes as an image. Convert it to JPEG or PNG.")] * 3


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        assert server.poll() is None, server.stderr.read() if server.stderr else ""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError("the service does not start")


def post(address: str, data: bytes) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data), timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.slow
def test_commands_of_the_readme_run(tiny_bundle: Path, tmp_path: Path) -> None:
    installed("4.12.0")  # or skip
    shutil.copytree(tiny_bundle, tmp_path / "exported" / "digits")
    commands = re.findall(r"^\$ (.*)$", section().split("```js")[0], re.MULTILINE)
    assert len(commands) == 5
    trainkit_command = f"{sys.executable} -m trainkit"
    script = "\n".join(["set -e", *commands]).replace("trainkit clients", f"{trainkit_command} clients")
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "OpenCV 4.12.0: the same answers as Keras. 8 of 8 labels, 8 of 8 inputs equal" in done.stdout
    (line,) = lines_of(tiny_bundle, [tiny_bundle / "selftest" / "1.png"], top=2)
    assert done.stdout.endswith(f"../selftest/1.png: {line.split(': ')[1]}\n")
    other = re.search(r"npm install (--save-exact\s+\S+)`", section())
    assert other is not None
    install = ["npm", "install", "--no-audit", *other[1].split()]
    assert install[-1] in json.loads((CLIENT / "package.json").read_text())["//"]
    client = tmp_path / "exported" / "digits" / "node"
    subprocess.run(install, cwd=client, capture_output=True, check=True)
    assert run(client, "--selftest").stdout.startswith("OpenCV 5.0.0: the same answers as Keras")
