"""Classifiers that trainkit did not make, each with a manifest written by hand."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from strange_models import (
    BY_HAND,
    FACE_DETECTOR,
    HEIGHT,
    WIDTH,
    blob_proto,
    fixed_output,
    mean_color,
    protobuf,
    write_caffe_model,
    write_color_detector,
    write_manifest,
)

from trainkit.deploy import Classifier
from trainkit.deploy.python._manifest import read_class_names, read_manifest
from trainkit.deploy.python._mean import read_mean
from trainkit.deploy.python._values import MAX_MEAN_BYTES
from trainkit.errors import BundleError

sys.path.insert(0, str(Path(__file__).parents[1] / "compat"))
import environments

ENVIRONMENTS = Path(__file__).parents[2] / ".compat"
OPENCV_5 = pytest.mark.skipif(hasattr(cv2.dnn, "readNetFromCaffe"), reason="OpenCV 4 reads Caffe")


def answering(folder: Path, values: list[float], **sections: dict[str, Any]) -> Classifier:
    """Return a classifier that answers the same whatever it sees."""
    write_manifest(folder, BY_HAND, **sections)
    (folder / "net.onnx").write_bytes(fixed_output(np.array([values]), width=WIDTH, height=HEIGHT))
    return Classifier(folder)


def seeing(folder: Path, mean: np.ndarray | bytes | list[float], name: str = "mean.npy", **blob: Any) -> Classifier:
    """Return a classifier with a mean, whose input can be looked at."""
    if isinstance(mean, list):
        write_manifest(folder, BY_HAND, blob={"mean": mean, **blob})
    else:
        write_manifest(folder, BY_HAND, blob={"mean": name, **blob})
        (folder / name).write_bytes(mean if isinstance(mean, bytes) else npy(mean))
    (folder / "net.onnx").write_bytes(mean_color(width=WIDTH, height=HEIGHT))
    return Classifier(folder)


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


# Class names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\ndog\nfish", ["cat", "dog", "fish"]),
        ("cat\r\ndog, hound\r\n\ufefffish\r\n\r\n", ["cat", "dog, hound", "\ufefffish"]),
        ("\ufeffcat\ndog\nfish\n", ["cat", "dog", "fish"]),
        ("n01440764 tench, Tinca\nn01443537\tgoldfish\nn02012849  crane", ["tench, Tinca", "goldfish", "crane"]),
        ("n02012849 crane\nn03126707 crane\nn1 cat", ["crane", "crane", "cat"]),
        ("n01440764 tench\nn01443537\nnurse shark", ["n01440764 tench", "n01443537", "nurse shark"]),
        ("tabby cat\n  dog \n猫", ["tabby cat", "dog", "猫"]),
    ],
)  # fmt: skip
def test_class_names_come_from_a_text_file(tmp_path: Path, text: str, names: list[str]) -> None:
    (tmp_path / "names.txt").write_bytes(text.encode())
    opened = answering(tmp_path, [0.7, 0.2, 0.1], output={"class_names": "names.txt"})
    assert opened.class_names == names
    assert read_manifest(tmp_path)["output"]["class_names"] == names
    assert [label for label, _ in opened.predict(np.zeros((9, 9, 3), np.uint8))] == names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"names\.txt: line 1 must be a class name of 1 to 3999 bytes without control characters\. Received: ''"),
        (b"\n\n", "line 1 must be a class name"),
        (b"cat\n\ndog", "line 2 must be a class name"),
        (b"cat\ndog \x1b[31mred", r"line 2 must be a class name .* Received: 'dog \\x1b"),
        (b"cat\n" + b"x" * 4000, "line 2 must be a class name"),
        (b"cat\xff", r"names\.txt is not UTF-8 \(invalid start byte at byte 3\)\. Convert it"),
        (b"c\n" * (10**6 + 1), r"names\.txt has 1000001 lines\. Expected at most 1000000 class names"),
        (b"c" * (2**24 + 1), r"names\.txt has more than 16777216 bytes, too many for the class names"),
    ],
)
def test_class_names_that_are_none_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(BundleError, match=message):
        read_class_names(tmp_path, "names.txt")


@pytest.mark.parametrize("name", ["names.txt", "n" * 300, "folder"])
def test_class_names_that_are_missing_are_asked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BundleError, match=r"is missing: the manifest names it as the class names\. Copy it there"):
        read_manifest(write_manifest(tmp_path, BY_HAND, output={"class_names": name}))


@pytest.mark.parametrize(
    ("section", "key", "name"),
    [("output", "class_names", "names.txt"), ("blob", "mean", "mean.npy"), ("model", "graph", "net.pbtxt")],
)
def test_file_that_is_a_link_out_of_the_folder_is_refused(tmp_path: Path, section: str, key: str, name: str) -> None:
    (tmp_path / name).write_text("secret")
    folder = write_manifest(tmp_path / "by-hand", BY_HAND, **{section: {key: name}})
    if key == "graph":
        write_manifest(folder, BY_HAND, model={"format": "frozen-graph", "graph": name})
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(BundleError, match=r"is a link that leaves the bundle\. Put the file itself there"):
        Classifier(folder)


@pytest.mark.parametrize("name", ["../mean.npy", "/etc/mean.npy", "a\\mean.npy", "mean.txt", "mean"])
def test_mean_outside_the_folder_or_of_another_kind_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        BundleError, match=r"`blob\.mean` must be 1 to 4 numbers .*, or the name of an \.npy or \.binaryproto"
    ):
        Classifier(write_manifest(tmp_path, BY_HAND, blob={"mean": name}))


# Means


def expected_blob(image: np.ndarray, mean: np.ndarray, scale: float = 1, swap: bool = False) -> np.ndarray:
    """Return the input by NumPy; `mean` is (channels, height, width) in the model's order."""
    pixels = cv2.resize(image, (WIDTH, HEIGHT)).astype(np.float32)
    return (pixels[..., :: -1 if swap else 1].transpose(2, 0, 1) - mean)[None] * scale


def mean_image() -> np.ndarray:
    """float32 (3, height, width): no two pixels and channels alike."""
    return np.arange(3 * HEIGHT * WIDTH, dtype=np.float32).reshape(3, HEIGHT, WIDTH) * 2.5


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("form", ["chw", "hwc", "1chw", "float64", "uint8", "fortran"])
def test_mean_image_is_subtracted_pixel_by_pixel(
    tmp_path: Path, street_image: np.ndarray, form: str, swap: bool
) -> None:
    mean = mean_image()
    written = {
        "chw": mean,
        "hwc": mean.transpose(1, 2, 0),
        "1chw": mean[None],
        "float64": mean.astype(np.float64),
        "uint8": mean.astype(np.uint8),
        "fortran": np.asfortranarray(mean),
    }[form]
    mean = mean.astype(np.uint8).astype(np.float32) if form == "uint8" else mean
    opened = seeing(tmp_path, written, swapRB=swap, scalefactor=0.5)
    np.testing.assert_allclose(opened.to_blob([street_image]), expected_blob(street_image, mean, 0.5, swap), atol=1e-4)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("swap", [False, True])
def test_binaryproto_is_in_the_order_blue_green_red(
    tmp_path: Path, street_image: np.ndarray, legacy: bool, swap: bool
) -> None:
    mean = mean_image()
    proto = blob_proto(mean if legacy else mean[None], legacy=legacy)
    opened = seeing(tmp_path, proto, "mean.binaryproto", swapRB=swap)
    in_order = mean[:: -1 if swap else 1]
    np.testing.assert_allclose(
        opened.to_blob([street_image, street_image]),
        np.repeat(expected_blob(street_image, in_order, 1, swap), 2, axis=0),
        atol=1e-4,
    )


def test_binaryproto_may_hold_doubles_and_single_numbers(tmp_path: Path) -> None:
    mean = mean_image()
    sides = protobuf(*((1, side) for side in mean.shape))  # each dim by itself
    (tmp_path / "a.binaryproto").write_bytes(protobuf((7, sides), (8, mean.astype("<f8").tobytes())))
    np.testing.assert_array_equal(read_mean(tmp_path, "a.binaryproto"), mean)
    unpacked = b"".join(b"\x2d" + np.float32(value).tobytes() for value in mean.ravel())  # field 5, four bytes each
    (tmp_path / "b.binaryproto").write_bytes(protobuf((7, sides)) + unpacked)
    np.testing.assert_array_equal(read_mean(tmp_path, "b.binaryproto"), mean)


@pytest.mark.parametrize("name", ["mean.npy", "mean.binaryproto"])
def test_mean_image_of_another_size_becomes_its_channel_means(
    tmp_path: Path, street_image: np.ndarray, name: str
) -> None:
    mean = np.random.default_rng(0).uniform(0, 255, (3, 8, 9)).astype(np.float32)
    opened = seeing(tmp_path, npy(mean) if name.endswith(".npy") else blob_proto(mean), name, scalefactor=2)
    expected = expected_blob(street_image, mean.mean(axis=(1, 2))[:, None, None], 2)
    np.testing.assert_allclose(opened.to_blob([street_image]), expected, atol=1e-3)


def test_mean_in_a_file_or_in_the_manifest_is_the_same(tmp_path: Path, street_image: np.ndarray) -> None:
    numbers = [103.939, 116.779, 123.68]
    blobs = [
        seeing(tmp_path / str(i), mean).to_blob([street_image])
        for i, mean in enumerate((numbers, np.array(numbers), np.array(numbers, np.float32)[:, None, None]))
    ]
    for blob in blobs[1:]:
        np.testing.assert_allclose(blob, blobs[0], atol=1e-4)


def test_mean_image_of_a_grey_network(tmp_path: Path, street_image: np.ndarray) -> None:
    mean = mean_image()[0]
    write_manifest(tmp_path, {**BY_HAND, "before_blob": [{"step": "gray"}]}, blob={"mean": "mean.npy"})
    (tmp_path / "mean.npy").write_bytes(npy(mean))
    (tmp_path / "net.onnx").write_bytes(mean_color(width=WIDTH, height=HEIGHT))
    gray = cv2.resize(cv2.cvtColor(street_image, cv2.COLOR_BGR2GRAY), (WIDTH, HEIGHT)).astype(np.float32)
    np.testing.assert_allclose(Classifier(tmp_path).to_blob([street_image]), (gray - mean)[None, None], atol=1e-4)
    (tmp_path / "mean.npy").write_bytes(npy(mean_image()))
    with pytest.raises(BundleError, match=r"mean\.npy is a mean of 3 channels\. The model sees 1"):
        Classifier(tmp_path)


def claiming(shape: str, dtype: str = "<f4") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


HUGE_SIDE = protobuf((7, protobuf((1, 2**62), (1, 2**62))), (5, b"\0" * 12))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("mean.npy", b"", "."),
        ("mean.npy", b"not an array", "magic"),
        ("mean.npy", npy(np.zeros((3, 4, 5)))[:-1], "buffer size|reshape"),
        ("mean.npy", npy(np.zeros((3, 4, 5))) + b"more", "."),
        ("mean.npy", claiming("(3, 1000000, 1000000)"), "reshape"),
        ("mean.npy", claiming("(3, -1)") + b"\0" * 12, "sides below 0"),
        ("mean.npy", claiming("(3,)", "O") + b"\0" * 24, "expected numbers"),
        ("mean.npy", claiming("__import__('os')"), "."),
        ("mean.npy", npy(np.array(["a", "b", "c"])), "expected numbers"),
        ("mean.npy", npy(np.array([1j, 1, 1])), "expected numbers"),
        ("mean.npy", npy(np.zeros((2, 4, 5))), "expected one or three channels"),
        ("mean.npy", npy(np.zeros((2, 3, 4, 5))), "expected one or three channels"),
        ("mean.npy", npy(np.zeros((3, 0, 5))), "expected one or three channels"),
        ("mean.npy", npy(np.zeros(())), "expected one or three channels"),
        ("mean.npy", npy(np.array([1, np.nan, 2])), "numbers that are not finite"),
        ("mean.npy", npy(np.array([1, 1e300, 2])), "numbers that are not finite"),
        ("mean.binaryproto", b"", "."),
        ("mean.binaryproto", b"not a protobuf", "no protobuf message"),
        ("mean.binaryproto", b"\xff" * 50, "no protobuf message"),
        ("mean.binaryproto", blob_proto(np.zeros((3, 4, 5)))[:-1], "no protobuf message, or ends in the middle"),
        ("mean.binaryproto", protobuf((7, protobuf((1, 3))), (5, b"\0" * 8)), "reshape"),
        ("mean.binaryproto", protobuf((7, 3), (5, b"\0" * 12)), "."),
        ("mean.binaryproto", protobuf((7, protobuf((1, 3))), (5, 7)), "."),
        ("mean.binaryproto", protobuf((1, b"\1"), (5, b"\0" * 12)), "."),
        ("mean.binaryproto", protobuf((7, protobuf((1, 3))), (5, b"\0" * 11)), "buffer size"),
        ("mean.binaryproto", HUGE_SIDE, "."),
        ("mean.binaryproto", blob_proto(np.full((3, 4, 5), np.inf)), "numbers that are not finite"),
        ("mean.binaryproto", blob_proto(np.zeros((4, 4, 6))), "expected one or three channels"),
    ],
)  # fmt: skip
def test_mean_that_is_none_is_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} holds no mean that can be read \(.*{reason}.*\)\. Write it again"):
        read_mean(tmp_path, name)


def test_mean_that_is_too_big_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "mean.npy").touch()
    os.truncate(tmp_path / "mean.npy", MAX_MEAN_BYTES + 1)
    with pytest.raises(BundleError, match=r"mean\.npy has more than 67108864 bytes, too many for the mean"):
        read_mean(tmp_path, "mean.npy")


# Outputs


def test_logits_become_probabilities(tmp_path: Path, street_image: np.ndarray) -> None:
    logits = np.array([3.0, -1.0, 500.0, 499.0])
    names = {"class_names": list("abcd")}
    softmax = np.exp(logits - 500) / np.exp(logits - 500).sum()
    found = answering(tmp_path / "one", [*logits], output={"kind": "logits", **names})
    assert found.probabilities(street_image) == pytest.approx(softmax, abs=1e-6)
    sigmoid = answering(tmp_path / "each", [0, 2, -2, 300], output={"kind": "logits", "multi_label": True, **names})
    assert sigmoid.probabilities(street_image) == pytest.approx([0.5, 0.880797, 0.119203, 1], abs=1e-6)


@pytest.mark.parametrize("values", [[12.3, 0.1, 0], [-2, 1, 0.5], [0.5, float("nan"), 0.5], [0, 0, float("inf")]])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_output_that_is_no_probability_is_refused(
    tmp_path: Path, street_image: np.ndarray, values: list[float], kind: str
) -> None:
    opened = answering(tmp_path, values, output={"kind": kind})
    with pytest.raises(BundleError, match=rf"Expected probabilities for the kind {kind}\. .* write `logits` as"):
        opened.predict(street_image)


# Files of each format


def test_frozen_graph_with_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, FACE_DETECTOR, output={"kind": "softmax", "background": None, "min_confidence": None})
    (tmp_path / "opencv_face_detector_uint8.pb").write_bytes(b"")
    (tmp_path / "opencv_face_detector.pbtxt").write_text("node { no graph")
    code = "import sys; from trainkit.deploy import Classifier\nClassifier(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1  # and no signal
    assert "BundleError: OpenCV" in done.stderr
    (tmp_path / "opencv_face_detector.pbtxt").unlink()
    with pytest.raises(BundleError, match=r"pbtxt is missing: the manifest names it as the graph\. Copy it there"):
        Classifier(tmp_path)


CAFFE = {"file": "net.caffemodel", "format": "caffe", "graph": "net.prototxt"}


def write_caffe(folder: Path) -> np.ndarray:
    """Write a Caffe classifier with its mean and names, and return its weights (classes, 3 * height * width)."""
    kernel = np.random.default_rng(3).normal(0, 0.002, (3, 3 * HEIGHT * WIDTH)).astype(np.float32)
    write_caffe_model(folder, kernel, np.array([0.1, 0, -0.2], np.float32), width=WIDTH, height=HEIGHT)
    (folder / "mean.binaryproto").write_bytes(blob_proto(mean_image()))
    (folder / "synset_words.txt").write_text("n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n")
    output = {"class_names": "synset_words.txt"}
    write_manifest(folder, BY_HAND, model=CAFFE, blob={"mean": "mean.binaryproto"}, output=output)
    return kernel


@OPENCV_5
def test_caffe_model_in_opencv_5_is_a_sentence(tmp_path: Path) -> None:
    write_caffe(tmp_path)
    with pytest.raises(
        BundleError,
        match=r"OpenCV 5\.\S+ reads no Caffe models any more\. Take an OpenCV before 5\.0, or convert the model to O",
    ):
        Classifier(tmp_path)


def run_in(version: str, code: str, *arguments: object) -> str:
    """Run code in the Python of another OpenCV and return what it prints."""
    if not environments.is_ready(ENVIRONMENTS, version):
        pytest.skip(f"no environment for OpenCV {version}: make compat makes it")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [environments.environment_python(ENVIRONMENTS, version), "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("version", [version for version in environments.OPENCV if version.startswith("4.")])
def test_caffe_model_is_read_before_opencv_5(tmp_path: Path, street_image: np.ndarray, version: str) -> None:
    kernel = write_caffe(tmp_path)
    cv2.imwrite(str(tmp_path / "photo.png"), street_image)
    logits = kernel @ expected_blob(street_image, mean_image()).ravel() + [0.1, 0, -0.2]
    expected = np.exp(logits) / np.exp(logits).sum()
    assert 0.05 < expected.min() < expected.max() < 0.9
    code = (
        "import sys, cv2; from trainkit.deploy import Classifier\n"
        "opened = Classifier(sys.argv[1])\n"
        "print(opened.class_names, *opened.probabilities(cv2.imread(sys.argv[2])), sep='|')"
    )
    names, *probabilities = run_in(version, code, tmp_path, tmp_path / "photo.png").strip().split("|")
    assert names == "['tench, Tinca tinca', 'crane', 'crane']"
    assert [float(value) for value in probabilities] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("version", environments.OPENCV)
def test_detector_gives_the_same_in_every_opencv(tmp_path: Path, version: str) -> None:
    write_color_detector(tmp_path)
    code = (
        "import sys, numpy as np; from trainkit.deploy import Detector\n"
        "image = np.full((64, 64, 3), 90, np.uint8); image[16:32, 32:48] = (0, 0, 255)\n"
        "other = np.full((64, 128, 3), 90, np.uint8); other[0:16, 0:32] = (255, 0, 0)\n"
        "opened = Detector(sys.argv[1])\n"
        "for found in opened.predict_many([other, image, image[:, ::-1]]):\n"
        "    print(*[(label, *map(round, box)) for label, _, box in found])"
    )
    assert run_in(version, code, tmp_path).splitlines() == [
        "('blue', 0, 0, 32, 16)",
        "('red', 32, 16, 48, 32)",
        "('red', 16, 16, 32, 32)",
    ]


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("version", environments.OPENCV)
def test_face_detector_takes_several_images_in_every_opencv(tmp_path: Path, shared: Path, version: str) -> None:
    write_manifest(tmp_path, FACE_DETECTOR)
    for key in ("file", "graph"):
        name = FACE_DETECTOR["model"][key]
        (tmp_path / name).write_bytes((shared / "data" / "detector" / name).read_bytes())
    code = (
        "import sys, cv2; from trainkit.deploy import Detector\n"
        "images = [cv2.imread(f'{sys.argv[2]}/{name}') for name in ('no-faces.jpg', 'ivan.jpg', 'got.jpg')]\n"
        "opened = Detector(sys.argv[1])\n"
        "rows = opened.forward(opened.to_blob(images))\n"
        "print(sorted(set(rows[rows[:, 2] > 0.5][:, 0].astype(int).tolist())))\n"
        "print([[round(one.confidence, 3) for one in found] for found in opened.predict_many(images)])"
    )
    printed = run_in(version, code, tmp_path, shared / "data" / "photos").splitlines()
    assert printed == ["[1, 2]", "[[], [0.992], [0.652, 0.541]]"]
