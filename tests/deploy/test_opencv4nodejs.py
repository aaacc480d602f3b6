"""The manual's program for opencv4nodejs: the same answers as Keras, and refused is what it cannot do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import client
import numpy as np
import opencv4nodejs
import pytest

import trainkit

pytestmark = [pytest.mark.slow, pytest.mark.long]  # the binding is built for minutes


@pytest.fixture(scope="module")
def program() -> Path:
    """The program, beside the binding that it needs."""
    try:
        return opencv4nodejs.built(opencv4nodejs.ROOT / ".clients" / "opencv4nodejs")
    except opencv4nodejs.NotBuiltError as error:
        pytest.skip(f"opencv4nodejs cannot be built: {error}")


def run(program: Path, bundle: Path, *photos: Path) -> subprocess.CompletedProcess[str]:
    command = ["node", program / "opencv4nodejs.js", bundle, *photos]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def answers(program: Path, bundle: Path, *photos: Path) -> list[dict[str, Any]]:
    """Return what it says of each photograph; the binding itself prints lines before that."""
    done = run(program, bundle, *photos)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check_selftest(program: Path, bundle: Path) -> None:
    document = json.loads((bundle / "selftest" / "selftest.json").read_text(encoding="utf-8"))
    cases = document["images"]
    found = answers(program, bundle, *(bundle / "selftest" / case["png"] for case in cases))
    assert [one["label"] for one in found] == [case["label"] for case in cases]
    expected = np.array([case["probabilities"] for case in cases])
    actual = np.array([one["probabilities"] for one in found])
    assert np.abs(actual - expected).max() <= document.get("tolerance", 1e-5)


@pytest.mark.parametrize("model_format", ["onnx", "frozen-graph"])
def test_answers_are_those_of_keras(model_format: str, program: Path, trained_run: Any, tmp_path: Path) -> None:
    done = trainkit.export(
        trained_run, format=model_format, experiments=trained_run.path.parent, exported=tmp_path / "exported"
    )
    check_selftest(program, done.path)


@pytest.mark.usefixtures("undrawn")
def test_grey_images_are_answered_too(program: Path, tmp_path: Path) -> None:
    experiments, exported = tmp_path / "experiments", tmp_path / "exported"
    trained = trainkit.train("digits", epochs=1, experiments=experiments)
    check_selftest(program, trainkit.export(trained, experiments=experiments, exported=exported).path)


def test_none_of_these(program: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    client.edit(bundle, schema="trainkit/2", output={"reject_below": 0.999999})
    photo = bundle / "selftest" / "1.png"
    (found,) = answers(program, bundle, photo)
    assert found["label"] is None
    assert found["probability"] == max(found["probabilities"])
    client.edit(bundle, output={"reject_below": 0.000001})
    (sure,) = answers(program, bundle, photo)
    assert sure == {**found, "label": client.cases(bundle)[0]["label"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "trainkit/3"}, "the schema trainkit/3"),
        ({"model": {"format": "caffe", "graph": "net.prototxt"}}, "the format caffe"),
        ({"output": {"kind": "logits"}}, "the output logits"),
        ({"output": {"kind": "sigmoid", "multi_label": True}}, "several classes an image"),
        ({"blob": {"crop": True}}, r"crop, which this binding drops with OpenCV 4\.6\.0"),
        ({"before_blob": [{"step": "pad", "color_bgr": [0, 0, 0]}]}, "pad"),
        ({"blob": {"mean": "mean.npy"}}, "a mean or class names in a file"),
        ({"output": {"class_names": "labels.txt"}}, "a mean or class names in a file"),
        ({"opencv": {"minimum": "4.99"}}, r"OpenCV 4\.[0-9.]+, older than 4\.99"),
    ],
)
def test_what_it_cannot_do_is_refused(
    changes: dict[str, Any], said: str, program: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    bundle = client.edit(shutil.copytree(tiny_bundle, tmp_path / "bundle"), **changes)
    done = run(program, bundle, bundle / "selftest" / "1.png")
    assert done.returncode == 1
    assert re.search(rf"Error: This example cannot do {said}\. Take the client in node/\.\n", done.stderr)
