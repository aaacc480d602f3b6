"""A bundle's own classify.py, run in its folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
from client import SPEED, cases, edit, run_script
from photographs import COLORS_BGR, write_mixed_folder

from trainkit.deploy import Classifier
from trainkit.deploy.python._media import read_image
from trainkit.deploy.python._values import NOTHING_FOUND


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ({"bytes": 1}, "size checked."),
        ({}, "not checked, the manifest says neither size nor sha256."),
    ],
)
def test_script_selftest_says_how_the_model_was_recognised(bundle: Path, left: dict[str, int], said: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    for key in ("bytes", "sha256"):
        value = manifest["model"].pop(key)
        if key in left:
            manifest["model"][key] = value
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert run_script(bundle, "--selftest").stdout.endswith(f"Model file: {said}\n")


@pytest.mark.parametrize(("more", "numbers"), [((), range(7)), (("--every", "3"), (0, 3, 6))])
def test_script_classifies_the_frames_of_a_video(
    bundle: Path, film: Path, more: tuple[str, ...], numbers: range | tuple[int, ...]
) -> None:
    done = run_script(bundle, str(film), *more, "--top", "1")
    assert done.returncode == 0
    expected = [f"{film} frame {number}: {list(COLORS_BGR)[number % 3]} " for number in numbers]
    assert [line[: len(start)] for line, start in zip(done.stdout.splitlines(), expected, strict=True)] == expected


def test_script_goes_on_after_what_it_cannot_read(bundle: Path, film: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.avi").write_bytes(b"\0no film")
    done = run_script(bundle, "missing.png", "labels.txt", "selftest/1.png", str(tmp_path / "broken.avi"), "no.mp4")
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["selftest/1.png"]
    for sentence in (
        "No such image: missing.png",
        "cannot read labels.txt",
        "gets no frame from",
        "No such video: no.mp4",
    ):
        assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_script_with_a_camera_that_is_not_there_says_so(bundle: Path) -> None:
    done = run_script(bundle, "--camera", "97")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith("gets no frame from camera 97. Try another file or camera.")


def test_script_ends_quietly_when_its_reader_has_gone(bundle: Path, film: Path) -> None:
    command = [sys.executable, "-I", "classify.py", *[str(film)] * 40]
    process = subprocess.Popen(command, cwd=bundle, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), errors) == (1, b"")


def test_script_ends_quietly_on_ctrl_c(bundle: Path, film: Path) -> None:
    command = [sys.executable, "-I", "classify.py", *[str(film)] * 400]
    process = subprocess.Popen(
        command,
        cwd=bundle,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Tests that run in the background ignore it, and so would their child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")


def test_script_classifies_images(bundle: Path, classifier: Classifier) -> None:
    done = run_script(bundle, "selftest/1.png", "selftest/2.png")
    assert done.returncode == 0
    assert SPEED.fullmatch(done.stderr)
    expected = []
    for name in ("selftest/1.png", "selftest/2.png"):
        found = classifier.predict(read_image(bundle / name))
        expected.append(f"{name}: " + ", ".join(f"{label} {probability:.4f}" for label, probability in found))
    assert done.stdout.splitlines() == expected


def test_script_reads_folders_in_batches(bundle: Path) -> None:
    one_by_one = run_script(bundle, "selftest")
    names = sorted(path.name for path in (bundle / "selftest").iterdir() if path.suffix != ".json")
    assert [line.split(": ")[0] for line in one_by_one.stdout.splitlines()] == [f"selftest/{name}" for name in names]
    together = run_script(bundle, "selftest", "--batch", "5")
    assert together.stdout == one_by_one.stdout
    assert SPEED.fullmatch(together.stderr)
    assert f"{len(names)} images in " in together.stderr


def test_script_answers_in_the_order_of_the_files(bundle: Path, classifier: Classifier, tmp_path: Path) -> None:
    good, broken = write_mixed_folder(tmp_path / "mixed", 90)
    for more in ((), ("--batch", "4")):
        done = run_script(bundle, str(tmp_path / "mixed"), "--top", "1", *more)
        assert done.returncode == 1
        best = [classifier.predict(read_image(path), top=1)[0] for path in good]
        assert done.stdout.splitlines() == [
            f"{path}: {one.label} {one.probability:.4f}" for path, one in zip(good, best, strict=True)
        ]
        *named, speed = done.stderr.splitlines()
        assert named == [f"OpenCV cannot read {path} as an image. Convert it to JPEG or PNG." for path in broken]
        assert SPEED.fullmatch(f"{speed}\n")


def test_script_says_that_a_folder_has_no_images_and_goes_on(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_script(bundle, str(tmp_path / "empty"), "selftest/1.png")
    assert done.returncode == 1
    assert done.stdout.startswith("selftest/1.png: ")
    assert done.stderr.splitlines()[0].startswith(f"No images in {tmp_path / 'empty'}. Expected files that end in .bmp")


def test_script_computes_with_what_is_asked_for(bundle: Path) -> None:
    usual = run_script(bundle, "selftest/1.png")
    assert run_script(bundle, "selftest/1.png", "--backend", "opencv", "--target", "CPU").stdout == usual.stdout
    lacking = run_script(bundle, "selftest/1.png", "--backend", "CUDA")
    assert (lacking.returncode, lacking.stdout, lacking.stderr.count("\n")) == (1, "", 1)
    unknown = run_script(bundle, "selftest/1.png", "--target", "ABACUS")
    assert (unknown.returncode, unknown.stdout, unknown.stderr.count("\n")) == (2, "", 1)


def test_script_obeys_top_and_min_confidence(bundle: Path) -> None:
    assert run_script(bundle, "selftest/1.png", "--top", "1").stdout.count(",") == 0
    assert run_script(bundle, "selftest/1.png", "--top", "2").stdout.count(",") == 1
    assert run_script(bundle, "selftest/1.png", "--min-confidence", "1").stdout == f"selftest/1.png: {NOTHING_FOUND}\n"


def test_script_runs_from_any_folder(bundle: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(bundle / "classify.py"), "--selftest"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_script_selftest_says_one_line(bundle: Path) -> None:
    done = run_script(bundle, "--selftest")
    assert (done.returncode, done.stderr) == (0, "")
    count = len(cases(bundle))
    equal = (
        f"the same answers as Keras. {count} of {count} labels, {count} of {count} inputs equal, largest difference "
    )
    assert done.stdout.startswith(f"OpenCV {cv2.__version__}: {equal}")
    assert done.stdout.endswith(". Model file: sha256 checked.\n")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("blob", [{"swapRB": False}, {"mean": [90, 100, 110]}])
def test_script_selftest_fails_where_the_manifest_was_changed(bundle: Path, blob: dict[str, Any]) -> None:
    done = run_script(edit(bundle, blob=blob), "--selftest")
    assert (done.returncode, done.stderr) == (1, "")
    assert "NOT the answers that Keras gave" in done.stdout
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("argument", ["selftest/1.png", "--selftest"])
def test_script_with_a_changed_model_says_one_line(bundle: Path, argument: str) -> None:
    os.truncate(bundle / "model.onnx", 1000)
    done = run_script(bundle, argument)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "model.onnx has 1000 bytes; the manifest says " in done.stderr


@pytest.mark.parametrize(
    ("argument", "message"),
    [("missing.png", "No such image: missing.png"), ("labels.txt", "OpenCV cannot read labels.txt as an image")],
)
def test_script_with_an_impossible_image_says_one_line(bundle: Path, argument: str, message: str) -> None:
    done = run_script(bundle, argument)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert message in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--camera", "0", "a.png"),
        ("--every", "0", "a.mp4"),
        ("--camera", "-1"),
        ("--top", "many", "a.png"),
        ("--nonsense",),
        ("--top", "-1", "selftest/1.png"),
    ],
)
def test_script_with_wrong_arguments_ends_with_2(bundle: Path, arguments: tuple[str, ...]) -> None:
    done = run_script(bundle, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: classify.py")


def test_script_prints_any_class_name_where_the_output_has_few_letters(bundle: Path) -> None:
    edit(bundle, output={"class_names": ["blau", "grün", "猫"]})
    done = run_script(bundle, "selftest/3.png", options=(), PYTHONIOENCODING="cp1252")  # a pipe in Windows
    assert done.returncode == 0
    assert SPEED.fullmatch(done.stderr)


def test_script_shows_nothing_that_a_terminal_obeys(bundle: Path) -> None:
    edit(bundle, output={"class_names": ["blue\u202e", "gr\u2066een", "\u200fred"]})
    name = "a\x1b[31m\nb\u202e.png"
    (bundle / name).write_bytes((bundle / "selftest" / "3.png").read_bytes())
    done = run_script(bundle, name, "missing\x1b[2J.png", "--annotate", "drawn")
    assert done.stdout.startswith("a\\x1b[31m\\x0ab\\u202e.png: ")
    assert done.stdout.count("\n") == 1
    assert all(shown in done.stdout for shown in ("blue\\u202e ", "gr\\u2066een ", "\\u200fred "))
    assert "No such image: missing\\x1b[2J.png\n" in done.stderr
    wrong = run_script(bundle, "--x\x1b[2J", "a.png")
    assert (wrong.returncode, "--x\\x1b[2J" in wrong.stderr) == (2, True)
    edit(bundle, output={"class_names": ["blue", "green\x1b[2J", "red"]})
    refused = run_script(bundle, "selftest/3.png")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert "Received: ['blue', 'green\\x1b[2J', 'red']" in refused.stderr
    shown = done.stdout + done.stderr + wrong.stderr + refused.stderr
    assert not re.search("[\x1b\u202e\u2066\u200f]", shown)


def test_script_leaves_the_bundle_as_it_was(bundle: Path) -> None:
    before = sorted(bundle.rglob("*"))
    run_script(bundle, "--selftest")
    assert sorted(bundle.rglob("*")) == before


@pytest.mark.parametrize("arguments", ["--help", "--selftest", "selftest/1.png"])
@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        (">/dev/full", 1, "The answer cannot be written to standard output: No space left on device. Send it"),
        (">&-", 1, "The answer cannot be written to standard output: it is closed. Send it to a file"),
        ("2>/dev/full", 0, ""),
        ("<&- 2>&-", 0, ""),
        ("2>&1 | true", 1, ""),
    ],
)
def test_streams_that_break_cost_no_traceback(bundle: Path, arguments: str, streams: str, code: int, said: str) -> None:
    line = f"{shlex.quote(sys.executable)} classify.py {arguments} {streams}; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", line], cwd=bundle, capture_output=True, text=True, check=False)
    assert ended.returncode == code
    assert ended.stderr.startswith(said)
    assert len(ended.stderr.splitlines()) == bool(said)
    assert bool(ended.stdout) == (code == 0)
