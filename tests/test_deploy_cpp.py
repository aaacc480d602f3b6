from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import draw_photo
from strange_models import colored_cells, write_color_detector

import trainkit
from trainkit.clients import add_clients
from trainkit.deploy import Classifier, classify

SOURCE = Path(trainkit.__file__).parent / "deploy" / "cpp"


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, built with the OpenCV that this machine has for C++; skips where it has none."""
    folder = tmp_path_factory.mktemp("cpp")
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"the C++ client was not built: there is no {tool} (Debian: cmake, g++, libopencv-dev)")
    flags = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
    made = subprocess.run(
        ["cmake", "-S", SOURCE, "-B", folder, f"-DCMAKE_CXX_FLAGS={flags}"], capture_output=True, text=True
    )
    if made.returncode and "OpenCVConfig.cmake" in made.stderr:
        pytest.skip("the C++ client was not built: there is no OpenCV for C++ (Debian: libopencv-dev)")
    assert made.returncode == 0, made.stderr
    built = subprocess.run(["cmake", "--build", folder], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "classify"


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle, tmp_path / "tiny")


def run(program: Path, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def edit(bundle: Path, **sections: Any) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name, value in sections.items():
        if isinstance(value, dict) and isinstance(manifest.get(name), dict):
            manifest[name] = {key: one for key, one in {**manifest[name], **value}.items() if one is not None}
        else:
            manifest[name] = value
    path.write_text(json.dumps(manifest, ensure_ascii=False), encoding="utf-8")


def answers(done: subprocess.CompletedProcess[str]) -> dict[str, list[tuple[str, float]]]:
    """Return what a client printed: the labels and probabilities of each input."""
    found = {}
    for line in done.stdout.splitlines():
        name, _, rest = line.partition(": ")
        pairs = [pair.rpartition(" ") for pair in rest.split(", ")]
        found[name] = [(label, float(probability)) for label, _, probability in pairs]
    return found


def assert_same_answers(program: Path, bundle: Path, images: list[Path]) -> None:
    classifier = Classifier(bundle)
    found = answers(run(program, bundle, *images))
    for path in images:
        expected = classifier.predict(classify.read_image(path))
        assert [label for label, _ in found[str(path)]] == [one.label for one in expected]
        probabilities = [probability for _, probability in found[str(path)]]
        np.testing.assert_allclose(probabilities, [one.probability for one in expected], atol=6e-5)


@pytest.mark.parametrize("model_format", ["onnx", "frozen-graph"])
def test_self_test_agrees_in_both_formats(program: Path, trained_run, model_format: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    bundle = trainkit.export(trained_run, format=model_format, name="bundle", exported=tmp_path, clients="cpp").path
    assert not (bundle / "classify.py").exists()
    done = run(program, "..", "--selftest", cwd=bundle / "cpp")
    assert (done.returncode, done.stderr) == (0, "")
    assert ": the same answers as Keras. 8 of 8 labels, largest difference " in done.stdout
    assert done.stdout.endswith(", 8 of 8 originals equal. Model file: size checked.\n")


def test_answers_are_those_of_python(program: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    images = []
    for number, suffix in enumerate((".png", ".jpg", ".jpg", ".png")):
        path = tmp_path / f"{number}{suffix}"
        cv2.imwrite(str(path), draw_photo(number, (200, 60, 30), 40 + 30 * number, 90))
        images.append(path)
    assert_same_answers(program, tiny_bundle, images)


@pytest.mark.parametrize(
    "sections",
    [
        {"output": {"class_names": ['café "x"', "b:{[", "猫"]}},
        {"output": {"kind": "logits"}},
        {"output": {"kind": "logits", "multi_label": True}},
        {"blob": {"crop": True}},
        {"before_blob": [{"step": "pad", "color_bgr": [10, 20, 30]}]},
        {"opencv": None, "source": None, "preprocessing": None},
    ],
)
def test_manifest_is_obeyed(program: Path, bundle: Path, sections: dict[str, Any], tmp_path: Path) -> None:
    path = bundle / "manifest.json"
    edit(bundle, **sections)
    manifest = json.loads(path.read_text(encoding="utf-8"))
    left = {key: value for key, value in manifest.items() if value is not None}
    path.write_text(json.dumps(left, ensure_ascii=False), encoding="utf-8")
    cv2.imwrite(str(tmp_path / "photo.png"), draw_photo(5, (30, 50, 210), 47, 120))
    assert_same_answers(program, bundle, [tmp_path / "photo.png"])


def test_class_names_can_be_a_file(program: Path, bundle: Path) -> None:
    (bundle / "names.txt").write_text("n01440764 tench, Tinca tinca\nn01443537  goldfish\nn7 x\n", encoding="utf-8")
    edit(bundle, output={"class_names": "names.txt"})
    done = run(program, bundle, bundle / "selftest" / "1.png", "--top", "3")
    assert done.returncode == 0
    assert all(name in done.stdout for name in (" tench, Tinca tinca 0.", " goldfish 0.", " x 0."))


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"schema": "trainkit/2"},
        "manifest.json: this client reads schema trainkit/1. Received: trainkit/2. Take a newer",
    ),
    ({"opencv": {"minimum": "97.1.0"}}, "This bundle needs OpenCV 97.1.0 or later. Received: "),
    ({"model": {"bytes": 5}}, "bytes; the manifest says 5. Copy the bundle again."),
    ({"model": {"file": "other.onnx"}}, "other.onnx is missing: the manifest names it as the model. Copy it there."),
    ({"model": {"file": "../model.onnx"}}, "`model.file` must be the plain name of a file in the same folder"),
    ({"model": {"format": "darknet"}}, "`model.format` must be one of onnx, frozen-graph, caffe"),
    ({"blob": {"mean": "mean.npy"}}, "`blob.mean` names a file, which the Python client alone reads. Use classify.py."),
    ({"blob": {"size": [0, 5]}}, "`blob.size` must be [width, height]"),
    ({"blob": {"scalefactor": "much"}}, "`blob.scalefactor` must be a number"),
    ({"blob": {"swapRB": None}}, "`blob` needs the key `swapRB`. Add it, or export the bundle again."),
    ({"output": {"kind": "segments"}}, "`output.kind` must be one of softmax, sigmoid, logits, ssd"),
    ({"output": {"class_names": ["one"]}}, "the manifest's class names need 1."),
    ({"before_blob": [{"step": "turn"}]}, "`before_blob` knows the steps pad and gray"),
    ({"blob": {"size": [999, 5]}}, "OpenCV "),
]


@pytest.mark.parametrize(("sections", "message"), REFUSED)
def test_what_cannot_be_done_is_one_sentence(
    program: Path, bundle: Path, sections: dict[str, Any], message: str
) -> None:
    edit(bundle, **sections)
    done = run(program, bundle, bundle / "selftest" / "1.png")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr


def test_model_that_is_a_link_out_of_the_folder_is_refused(program: Path, bundle: Path) -> None:
    shutil.move(bundle / "model.onnx", bundle.parent / "elsewhere.onnx")
    (bundle / "model.onnx").symlink_to(bundle.parent / "elsewhere.onnx")
    done = run(program, bundle, bundle / "selftest" / "1.png")
    assert (done.returncode, done.stdout) == (1, "")
    assert "model.onnx is a link that leaves the bundle. Put the file itself there." in done.stderr


def test_changed_model_fails_the_self_test(program: Path, bundle: Path) -> None:
    edit(bundle, blob={"swapRB": False})
    done = run(program, bundle, "--selftest")
    assert (done.returncode, done.stderr) == (1, "")
    assert "NOT the answers that Keras gave" in done.stdout
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[: len(data) // 2] = os.urandom(len(data) // 2)
    (bundle / "model.onnx").write_bytes(data)
    done = run(program, bundle, "--selftest")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_hostile_manifests_end_with_a_sentence(program: Path, bundle: Path) -> None:
    originals = {name: (bundle / name).read_bytes() for name in ("manifest.json", "selftest/selftest.json")}
    pieces = [
        b"null",
        b"[" * 100_000,
        b'"',
        b"\\u0041",
        b"1e999",
        b"99999999999999",
        b"\0",
        b"\xef\xbb\xbf",
        b"$base64$",
    ]
    generator = random.Random(0)
    for number in range(60):
        name = list(originals)[number % 3 == 0]
        data = bytearray(originals[name])
        place = generator.randrange(len(data))
        if number % 4 == 0:
            del data[place:]
        elif number % 4 == 1:
            data[place] = generator.randrange(256)
        elif number % 4 == 2:
            data[place:place] = generator.choice(pieces)
        else:
            data[place : place + 40] = b""
        (bundle / name).write_bytes(data)
        done = subprocess.run([program, bundle, "--selftest"], capture_output=True, timeout=60)
        assert done.returncode in (0, 1), (number, done)
        assert len(done.stdout.splitlines()) + len(done.stderr.splitlines()) == 1, (number, done)
        (bundle / name).write_bytes(originals[name])


def test_inputs_that_cannot_be_read_do_not_stop_the_others(program: Path, bundle: Path, film: Path) -> None:
    done = run(program, bundle, "none.png", bundle / "labels.txt", bundle / "selftest" / "1.png", "none.mp4")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 1
    first, second, third, speed = done.stderr.splitlines()
    assert first == "No such image: none.png"
    assert second == f"OpenCV cannot read {bundle / 'labels.txt'} as an image. Convert it to JPEG or PNG."
    assert third == "No such video: none.mp4"
    assert speed.startswith("1 image in ")
    camera = run(program, bundle, "--camera", "97")
    assert (camera.returncode, camera.stdout) == (1, "")
    assert "gets no frame from camera 97. Try another file or camera." in camera.stderr
    frames = run(program, bundle, film, "--every", "3", "--top", "1")
    assert [line.split(": ")[0] for line in frames.stdout.splitlines()] == [f"{film} frame {n}" for n in (0, 3, 6)]


def test_folders_are_read_and_pictures_drawn(program: Path, bundle: Path, tmp_path: Path) -> None:
    done = run(program, bundle, bundle / "selftest", "--annotate", tmp_path / "new")
    images = [path for path in (bundle / "selftest").iterdir() if path.suffix != ".json"]
    assert len(answers(done)) == len(images)
    assert done.returncode == 0
    drawn = classify.read_image(tmp_path / "new" / "1.png")
    assert not np.array_equal(drawn, classify.read_image(bundle / "selftest" / "1.png"))
    again = run(program, bundle, bundle / "selftest" / "1.png", "--annotate", tmp_path / "new")
    assert again.returncode == 1
    assert "1.png exists already, and nothing is overwritten. Choose another --annotate." in again.stderr
    (tmp_path / "empty").mkdir()
    assert "No images in " in run(program, bundle, tmp_path / "empty").stderr


@pytest.mark.parametrize("arguments", [(), ("x.png", "--top", "0"), ("--nonsense", "1"), ("x.png", "--camera", "0")])
def test_wrong_usage_ends_with_2(program: Path, bundle: Path, arguments: tuple[str, ...]) -> None:
    done = run(program, bundle, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: classify BUNDLE INPUT..." in done.stderr


def test_confidence_leaves_out(program: Path, bundle: Path) -> None:
    done = run(program, bundle, bundle / "selftest" / "1.png", "--min-confidence", "1")
    assert done.stdout == f"{bundle / 'selftest' / '1.png'}: {classify.NOTHING_FOUND}\n"


@pytest.mark.parametrize("crop", [False, True])
def test_detector_finds_what_python_finds(program: Path, tmp_path: Path, crop: bool) -> None:
    folder = write_color_detector(tmp_path / "colors")
    edit(folder, blob={"crop": crop})
    cells = colored_cells({(1, 1): "red", (3, 3): "blue", (2, 1): "red"})
    cv2.imwrite(str(tmp_path / "photo.png"), cv2.resize(cells, (250, 128), interpolation=cv2.INTER_NEAREST))
    add_clients(folder, "python")
    python = subprocess.run(
        [sys.executable, folder / "classify.py", tmp_path / "photo.png"], capture_output=True, text=True
    )
    done = run(program, folder, tmp_path / "photo.png", "--annotate", tmp_path / "drawn.png")
    assert (done.returncode, done.stdout) == (0, python.stdout)
    assert " at " in done.stdout
    assert (tmp_path / "drawn.png").is_file()
