"""The C++ client, built once: its answers are those of the Python client, its refusals too, and nothing ends it."""

# ruff: noqa: E501 (sentences are compared word by word, and easier to find whole)

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import decided
import numpy as np
import pytest
from cpp_client import answering, edit, run
from photographs import draw_photo, write_class_folders, write_mixed_folder
from strange_models import (
    BY_HAND,
    COLOR_DETECTOR,
    HEIGHT,
    WIDTH,
    colored_cells,
    fixed_output,
    write_caffe_model,
    write_color_detector,
    write_manifest,
)
from untrained import save_run, spread_weights

import trainkit
from trainkit.deploy import Classifier, Detector
from trainkit.deploy.python._media import list_files, read_image
from trainkit.deploy.python._values import IMAGE_SUFFIXES, NOTHING_FOUND
from trainkit.errors import BundleError

ODD_NAMES = ['café "x"', "b:{[\\n", "猫 😀"]


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
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("model_format", ["onnx", "frozen-graph"])
def test_self_test_agrees_for_digits(program: Path, opencv: str, model_format: str, tmp_path: Path) -> None:
    finished = trainkit.train("digits", epochs=1, experiments=tmp_path / "experiments")
    bundle = trainkit.export(finished, format=model_format, exported=tmp_path, clients="cpp").path
    done = run(program, "..", "--selftest", cwd=bundle / "cpp")
    start = f"OpenCV {opencv}(, classic engine)?: the same answers as Keras. 8 of 8 labels, largest difference "
    assert re.fullmatch(start + r"\d\.\de-\d\d\. Model file: size checked\.\n", done.stdout), done
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
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


@pytest.mark.parametrize("name", decided.NAMES)
def test_what_the_manifest_decides_is_said_as_in_python(
    program: Path, tiny_bundle: Path, tmp_path: Path, name: str
) -> None:
    images = decided.write_images(tmp_path / "images")
    bundle = decided.decide(tiny_bundle, tmp_path, images, name)
    lines, _ = decided.words_of_python(bundle, images)
    decided.assert_decides(lines, name)
    assert decided.without_digits(run(program, bundle, *images).stdout) == lines


@pytest.mark.parametrize("options", [(), ("--invert",)])
def test_pictures_unlike_the_training_images_are_warned_of_as_in_python(
    program: Path, tiny_bundle: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    bundle = decided.learn_brightness(tiny_bundle, tmp_path)
    images = list(decided.write_light_and_dark(tmp_path / "pictures").values())
    lines, warnings = decided.words_of_python(bundle, images, *options)
    assert len(warnings) == 2
    done = run(program, bundle, *images, *options)
    assert (decided.without_digits(done.stdout), done.stderr.splitlines()) == (lines, warnings)


def test_film_unlike_the_training_images_is_warned_of_once(
    program: Path, tiny_bundle: Path, tmp_path: Path, film: Path
) -> None:
    bundle = decided.learn_brightness(tiny_bundle, tmp_path)
    done = run(program, bundle, film)
    assert (len(done.stdout.splitlines()), len(done.stderr.splitlines())) == (7, 1)
    assert done.stderr.startswith(f"{film} frame 0: dark and light are not as in")


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


def test_damaged_model_is_found_by_its_size_or_by_the_check(program: Path, bundle: Path) -> None:
    path = bundle / "model.onnx"
    data = path.read_bytes()
    path.write_bytes(data[:-7])
    sentence = f"{path} has {len(data) - 7} bytes; the manifest says {len(data)}. Copy the bundle again.\n"
    assert run(program, bundle, "--selftest").stderr == sentence
    path.write_bytes(b"\xff" * (len(data) // 2) + data[len(data) // 2 :])
    done = run(program, bundle, "--selftest")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{path} is no ONNX file (it is no protobuf message, or ends in the middle). Copy or export it again.\n"
    )


def test_damaged_frozen_graph_is_found_by_opencv(program: Path, opencv: str, photo: Path, tmp_path: Path) -> None:
    folder = write_manifest(tmp_path, BY_HAND, model={"file": "net.pb", "format": "frozen-graph"})
    (folder / "net.pb").write_bytes(b"\xff" * 999)
    done = run(program, folder, photo)
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


def test_pictures_that_would_fill_the_memory_are_refused(program: Path, bundle: Path, tmp_path: Path) -> None:
    sides = (40_000).to_bytes(4, "big") + (20_000).to_bytes(4, "big")
    little = (16_000).to_bytes(4, "little")
    tiff = b"".join(
        tag.to_bytes(2, "big") + b"\0\4\0\0\0\1" + side.to_bytes(4, "big")
        for tag, side in ((256, 40_000), (257, 20_000))
    )
    large = {
        "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + sides + b"\x08\0\0\0\0",
        "jpeg": b"\xff\xd8\xff\xe0\0\4ab\xff\xc0\0\x0b\x08" + b"\x4e\x20\x9c\x40" + b"\1\1\x11\0",
        "tiff": b"MM\0*\0\0\0\x08\0\2" + tiff + bytes(4),
        "ppm": b"P6 # a comment 1 1\n40000\n20000\n255\n",
        "webp": b"RIFF\x16\0\0\0WEBPVP8X\n\0\0\0"
        + bytes(4)
        + (39_999).to_bytes(3, "little")
        + (19_999).to_bytes(3, "little"),
    }
    bomb = b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + little + little + b"\1\0\x08\0\1" + bytes(23)
    paths = [tmp_path / f"{name}.png" for name in (*large, "bmp", "end")]
    for path, data in zip(paths, (*large.values(), bomb, large["png"][:20]), strict=True):
        path.write_bytes(data)
    done = run(program, bundle, *paths)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        *(
            f"{path} has too many pixels (40000x20000). Expected at most 268435456: scale it down."
            for path in paths[:-2]
        ),
        f"{paths[-2]} has too many pixels for a file of {len(bomb)} bytes (16000x16000): a decompression bomb. Take it out.",
        f"OpenCV cannot read {paths[-1]} as an image. Convert it to JPEG or PNG.",
    ]
    for path in paths:
        with pytest.raises(BundleError):
            read_image(path)


@pytest.mark.parametrize(
    "text", [b"#EXTM3U\n/etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"\xef\xbb\xbfhello\n"]
)
def test_list_of_films_is_not_followed(program: Path, bundle: Path, tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(text)
    done = run(program, bundle, path)
    sentence = f"{path} is text, not a video. Name the video itself.\n"
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


def test_answers_come_in_the_order_of_the_files(program: Path, bundle: Path, tmp_path: Path) -> None:
    good, broken = write_mixed_folder(tmp_path / "mixed", 90)
    done = run(program, bundle, tmp_path / "mixed", "--top", "1")
    assert (done.returncode, [Path(line.split(": ")[0]) for line in done.stdout.splitlines()]) == (1, good)
    assert_same_answers(program, bundle, good)
    sentences = [f"OpenCV cannot read {path} as an image. Convert it to JPEG or PNG." for path in broken]
    assert done.stderr.splitlines() == sentences


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
