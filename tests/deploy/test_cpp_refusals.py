"""What the C++ client refuses: in the words of the Python client, and nothing ends it."""

# ruff: noqa: E501 (sentences are compared word by word, and easier to find whole)

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cpp_client import answering, edit, run

from trainkit.deploy import Classifier, Detector
from trainkit.deploy.python._media import read_image
from trainkit.errors import BundleError

# Refusals

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("model", {"bytes": 5}, "{folder}/net.onnx has {bytes} bytes; the manifest says 5. Copy the bundle again."),
    ("model", {"file": "other.onnx"}, "{folder}/other.onnx is missing: the manifest names it as the model. Copy it there."),
    ("output", {"class_names": "no.txt"}, "{folder}/no.txt is missing: the manifest names it as the class names. Copy it there."),
    ("blob", {"mean": "mean.npy"}, "{where}: `blob.mean` names a file, which the Python client alone reads. Use classify.py."),
    ("output", {"class_names": ["a", "b"]}, "The model's output has the shape (1, 3); the manifest's class names need (1, 2)."),
    ("output", {"kind": "ssd"}, "The model's output has the shape (1, 3). That of an SSD is (1, 1, N, 7)."),
    ("model", {"file": "../net.onnx"}, "{where}: `model.file` must be the plain name of a file in the same folder. Received: '../net.onnx'"),
    ("output", {"class_names": ["a", "\x1b[31m\u202e"]}, "{where}: `output.class_names` must be a list of 1 to 1000000 different texts, each of 1 to 3999 bytes without control characters, or the name of a text file in the same folder. Received: ['a', '\\x1b[31m\\u202e']"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "values", "message"), REFUSED)
def test_refusals_are_the_sentences_of_python(
    program: Path, photo: Path, tmp_path: Path, section: str, values: dict[str, Any], message: str
) -> None:
    folder = answering(tmp_path / "refused", [0.7, 0.2, 0.1], **{section: values})
    done = run(program, folder, photo)
    size = (folder / "net.onnx").stat().st_size
    expected = message.format(where=folder / "manifest.json", folder=folder, bytes=size)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", expected + "\n")
    if "Python" in message:
        return
    opened = Detector if values.get("kind") == "ssd" else Classifier
    with pytest.raises(BundleError) as refusal:
        opened(folder).predict(read_image(photo))
    assert str(refusal.value) == expected


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
    folder = answering(tmp_path / "net", [0.5, float("nan"), 0.5], output={"kind": kind})
    done = run(program, folder, photo)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The model's output goes from nan to nan. Expected probabilities for the kind")


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
    line = "must be a class name of 1 to 3999 bytes without control characters. Received: "
    for content, sentence in (
        (b"", f"{names}: line 1 {line}''"),
        (b"cat\n\ndog", f"{names}: line 2 {line}''"),
        (b"cat\ndog \x1b[31mred\n", f"{names}: line 2 {line}'dog \\x1b[31mred'"),
        (b"cat\ndog \xc2\x9bred\n", f"{names}: line 2 {line}'dog \\x9bred'"),
        (b"cat\nx\n" + b"x" * 4000, f"{names}: line 3 {line}'{'x' * 79}"),
        (b"cat\xff", f"{names} is not UTF-8 (byte 3 is not one of it). Convert it."),
        (b"c\n" * (10**6 + 1), f"{names} has 1000001 lines. Expected at most 1000000 class names."),
        (b"c" * (2**24 + 1), f"{names} has more than 16777216 bytes, too many for the class names. Name another file."),
    ):
        names.write_bytes(content)
        done = run(program, folder, photo)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence + "\n")


def test_manifests_that_are_too_much_end_with_a_sentence(program: Path, photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for content, sentence in (
        (b"[1, 2]", f"{path}: expected a JSON object. Received: [1, 2]\n"),
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


@pytest.mark.parametrize("name", ["manifest.json", "net.onnx", "names.txt"])
def test_files_that_cannot_be_read_are_named(program: Path, photo: Path, tmp_path: Path, name: str) -> None:
    purpose = {"net.onnx": "model", "names.txt": "class names"}.get(name)
    for kind in ("loop", "folder", "pipe"):
        folder = answering(tmp_path / kind, [1, 0, 0], output={"class_names": "names.txt"})
        (folder / "names.txt").write_text("a\nb\nc\n")
        path = folder / name
        path.unlink()
        if kind == "loop":
            path.symlink_to(name)
            sentence = f"Cannot read {path} (Too many levels of symbolic links). Copy the bundle again."
        else:
            path.mkdir() if kind == "folder" else os.mkfifo(path)
            sentence = (
                f"{path} is missing: the manifest names it as the {purpose}. Copy it there."
                if purpose
                else f"No manifest at {path}. Expected the folder of a bundle, with manifest.json in it."
            )
        done = run(program, folder, photo)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence + "\n")


def test_model_too_large_for_any_message_is_not_read(program: Path, photo: Path, tmp_path: Path) -> None:
    folder = answering(tmp_path / "large", [0.7, 0.2, 0.1])
    os.truncate(folder / "net.onnx", 2**40)  # no disk has so much; it has no blocks
    sentence = f"{folder}/net.onnx has more than 2147483647 bytes, too many for the model. Name another file."
    for asked in (photo, "--selftest"):
        done = run(program, folder, asked)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence + "\n")


def test_folders_that_lead_to_themselves_are_read_once(program: Path, photo: Path, tmp_path: Path) -> None:
    folder, images = answering(tmp_path / "net", [1, 0, 0]), tmp_path / "images"
    (images / "a").mkdir(parents=True)
    photo.rename(images / "a" / "1.png")
    for name in ("x", "y", "a/z"):
        (images / name).symlink_to(images, target_is_directory=True)
    (images / "loop.png").symlink_to("loop.png")
    (images / "linked.png").symlink_to("a/1.png")
    done = run(program, folder, images)
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [f"{images}/a/1.png", f"{images}/linked.png"]
    assert done.stderr == f"No such image: {images}/loop.png\n"


def test_text_of_strangers_is_shown_harmless(program: Path, photo: Path, tmp_path: Path) -> None:
    folder = answering(tmp_path / "net", [1, 0, 0], output={"class_names": ["\u202egnp.x", "b", "c"]})
    image = photo.rename(tmp_path / "\x1b]0;\n\u2028.png")
    raw = os.fsencode(tmp_path) + b"/\xff\xe2\x80.png"
    Path(os.fsdecode(raw)).write_bytes(image.read_bytes())
    done = subprocess.run([program, folder, image, raw, os.fsencode(tmp_path) + b"/\x9b.png"], capture_output=True)
    assert done.stdout.decode().splitlines() == [
        rf"{tmp_path}/\x1b]0;\x0a\u2028.png: \u202egnp.x 1.0000, b 0.0000, c 0.0000",
        rf"{tmp_path}/\xff\xe2\x80.png: \u202egnp.x 1.0000, b 0.0000, c 0.0000",
    ]
    assert done.stderr.decode() == rf"No such image: {tmp_path}/\x9b.png" + "\n"
    done = subprocess.run([program, folder, b"--\x1b[2J"], capture_output=True)
    assert done.stderr.decode().endswith("unknown option --\\x1b[2J\n")
    drawn = [tmp_path / "1.png", tmp_path / "2.png"]
    for path, name in zip(drawn, ("\u202egnp.x", r"\u202egnp.x"), strict=True):
        edit(folder, "output", class_names=[name, "b", "c"])
        assert run(program, folder, image, "--annotate", path).returncode == 0
    assert np.array_equal(read_image(drawn[0]), read_image(drawn[1]))
