"""What a manifest of trainkit/2 decides, and pictures unlike the training images, in the Python client and trainkit."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import decided
import numpy as np
import pytest
from client import edit

import trainkit
from trainkit.deploy import Classifier, Prediction
from trainkit.deploy.python._brightness import RANGES, inverted_fit, measure_brightness, read_training_pixels
from trainkit.deploy.python._media import read_image
from trainkit.deploy.python._selftest import selftest

TRY_INVERT = "Inverted it would fit better: try --invert."
LEAVE_INVERT = "As it is it would fit better: leave out --invert."


def trainkit_says(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainkit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return decided.write_images(tmp_path / "images")


@pytest.fixture
def dark(tiny_bundle: Path, tmp_path: Path) -> Path:
    return decided.learn_brightness(tiny_bundle, tmp_path)


# None of these, and thresholds


def test_image_of_which_the_network_is_unsure_is_none_of_these(
    tiny_bundle: Path, images: list[Path], tmp_path: Path
) -> None:
    bundle = decided.decide(tiny_bundle, tmp_path, images, "rejects")
    before, after = Classifier(tiny_bundle), Classifier(bundle)
    least = after.manifest["output"]["reject_below"]
    for path in images:
        image = read_image(path)
        found, usual = after.predict(image), before.predict(image)
        if usual[0].probability < least:
            assert found == [Prediction(None, usual[0].probability)]
        else:
            assert found == usual
    assert after.predict_many([read_image(path) for path in images], top=1) == [
        after.predict(read_image(path), top=1) for path in images
    ]


def test_probability_that_is_the_bound_is_enough(tiny_bundle: Path, images: list[Path], tmp_path: Path) -> None:
    image = read_image(images[0])
    best = Classifier(tiny_bundle).predict(image)[0]
    bundle = decided.decide(tiny_bundle, tmp_path, images, "rejects")
    for bound, label in ((best.probability, best.label), (float(np.nextafter(np.float32(best.probability), 1)), None)):
        edit(bundle, output={"reject_below": bound})
        assert Classifier(bundle).predict(image)[0] == Prediction(label, best.probability)


def test_classes_below_their_thresholds_are_left_out(tiny_bundle: Path, images: list[Path], tmp_path: Path) -> None:
    bundle = decided.decide(tiny_bundle, tmp_path, images, "thresholds")
    classifier = Classifier(bundle)
    thresholds = dict(zip(classifier.class_names, classifier.manifest["output"]["thresholds"], strict=True))
    for path in images:
        usual = Classifier(tiny_bundle).predict(read_image(path))
        kept = [one for one in usual if one.probability >= thresholds[str(one.label)]]
        assert classifier.predict(read_image(path)) == kept
        assert classifier.predict(read_image(path), top=1) == kept[:1]


def test_class_of_low_probability_is_not_crowded_out(tiny_bundle: Path, images: list[Path], tmp_path: Path) -> None:
    bundle = decided.decide(tiny_bundle, tmp_path, images, "thresholds")
    usual = Classifier(tiny_bundle).predict(read_image(images[0]))
    names = Classifier(bundle).class_names
    only_last = [1e-9 if name == usual[-1].label else 1 - 1e-9 for name in names]
    edit(bundle, output={"thresholds": only_last})
    assert Classifier(bundle).predict(read_image(images[0]), top=1) == usual[-1:]


@pytest.mark.parametrize("name", decided.NAMES)
def test_selftest_and_the_check_do_not_ask_what_the_manifest_decides(
    tiny_bundle: Path, images: list[Path], tmp_path: Path, name: str
) -> None:
    bundle = decided.decide(tiny_bundle, tmp_path, images, name)
    edit(bundle, output={"reject_below": 0.9999999} if name == "rejects" else {"thresholds": [0.9999999] * 3})
    assert selftest(bundle)["ok"]


@pytest.mark.parametrize("name", decided.NAMES)
def test_script_and_trainkit_say_the_same(tiny_bundle: Path, images: list[Path], tmp_path: Path, name: str) -> None:
    bundle = decided.decide(tiny_bundle, tmp_path, images, name)
    lines, _ = decided.words_of_python(bundle, images)
    decided.assert_decides(lines, name)
    results = trainkit.predict(bundle, images)
    for line, result in zip(lines, results, strict=True):
        labels = [found["label"] or "none of these" for found in result["predictions"]]
        expected = ", ".join(f"{label} #" for label in labels) or "nothing above the confidence asked for"
        assert line == f"{result['image']}: {expected}"


def test_none_of_these_is_null_in_json_and_words_in_a_table(
    tiny_bundle: Path, images: list[Path], tmp_path: Path
) -> None:
    bundle = decided.decide(tiny_bundle, tmp_path, images, "rejects")
    edit(bundle, output={"reject_below": 0.9999999})
    (result,) = json.loads(trainkit_says("predict", bundle, images[0], "--json").stdout)
    assert [found["label"] for found in result["predictions"]] == [None]
    assert 0.3 < result["predictions"][0]["probability"] < 1
    assert re.search(r"00\.png +none of these +0\.\d{4}\n", trainkit_says("predict", bundle, images[0]).stdout)
    out = tmp_path / "out.png"
    assert trainkit_says("predict", bundle, images[0], "--annotate", out).returncode == 0
    assert out.is_file()


# Pictures unlike the training images


def test_inverted_picture_is_warned_of_and_helped(dark: Path, tmp_path: Path) -> None:
    pictures = decided.write_light_and_dark(tmp_path / "pictures")
    lines, warnings = decided.words_of_python(dark, list(pictures.values()))
    assert len(lines) == 3
    assert [line.split(":")[0] for line in warnings] == [str(pictures["inverted"]), str(pictures["grey"])]
    assert warnings[0].endswith(TRY_INVERT)
    assert warnings[1].endswith("The answer may mean little.")
    usual = decided.words_of_python(dark, [pictures["usual"]])
    turned = decided.words_of_python(dark, [pictures["inverted"]], "--invert")
    assert [line.split(": ")[1] for line in turned[0]] == [line.split(": ")[1] for line in usual[0]]
    assert (usual[1], turned[1]) == ([], [])
    _, wrongly = decided.words_of_python(dark, [pictures["usual"]], "--invert")
    assert [line.endswith(LEAVE_INVERT) for line in wrongly] == [True]


def test_warning_says_both_mean_grey_levels(dark: Path) -> None:
    classifier, image = Classifier(dark), 255 - decided.draw_dark(3)
    mean = measure_brightness(list(classifier.to_pixels(image)[0][::-1])).mean
    usual = classifier.manifest["extra"]["training_pixels"]["mean"]
    means = f"mean grey level {mean:.0f}, there {usual:.0f}"
    expected = f"dark and light are not as in the training images ({means}). {TRY_INVERT}"
    assert classifier.brightness_warning(image) == expected


def test_trainkit_warns_in_each_of_its_forms(dark: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures = decided.write_light_and_dark(tmp_path / "pictures")
    done = trainkit_says("predict", dark, pictures["usual"], pictures["inverted"], "--json")
    usual, inverted = json.loads(done.stdout)
    assert list(usual) == ["image", "predictions"]
    assert list(inverted) == ["image", "predictions", "warnings"]
    assert [warning.endswith(TRY_INVERT) for warning in inverted["warnings"]] == [True]
    assert f"{pictures['inverted']}: {inverted['warnings'][0]}" in done.stderr.replace("\n", " ")
    (turned,) = trainkit.predict(dark, pictures["inverted"], invert=True)
    assert {**turned, "image": usual["image"]} == usual
    with caplog.at_level(logging.WARNING):
        arrays = [read_image(pictures["usual"]), read_image(pictures["inverted"])]
        found = trainkit.predict(dark, arrays)
    assert [record.getMessage() for record in caplog.records] == [f"image 1: {inverted['warnings'][0]}"]
    assert trainkit.predict(dark, arrays[1], invert=True) == found[0]


def test_film_is_warned_of_once(dark: Path, film: Path) -> None:
    lines, warnings = decided.words_of_python(dark, [film])
    assert (len(lines), len(warnings)) == (7, 1)
    results = trainkit.predict(dark, film)
    assert all("warnings" in result for result in results)


@pytest.mark.parametrize(
    "changes",
    [
        {"levels": None},
        {"levels": [1.0] * (RANGES - 1)},
        {"levels": ["a"] * RANGES},
        {"levels": [-1] * RANGES},
        {"mean": "dark"},
        {"low": True},
        {"high": []},
        {"inverted_above": None},
    ],
)
def test_other_forms_under_extra_are_passed_over(dark: Path, changes: dict[str, Any]) -> None:
    manifest = json.loads((dark / "manifest.json").read_text(encoding="utf-8"))
    values = {**manifest["extra"]["training_pixels"], **changes}
    values = {key: value for key, value in values.items() if value is not None}
    for section in (values, [values], 5, "dark", None):
        (dark / "manifest.json").write_text(
            json.dumps({**manifest, "extra": {"training_pixels": section}}), encoding="utf-8"
        )
        assert Classifier(dark).brightness_warning(255 - decided.draw_dark(3)) is None


def test_manifest_without_extra_says_nothing(dark: Path) -> None:
    manifest = json.loads((dark / "manifest.json").read_text(encoding="utf-8"))
    assert read_training_pixels(manifest) is not None
    del manifest["extra"]
    assert read_training_pixels(manifest) is None


def test_levels_of_colours_are_those_of_their_grey() -> None:
    planes = [np.full((2, 3), level, np.uint8) for level in (200, 100, 50)]
    found = measure_brightness(planes)
    assert found.mean == (114 * 200 + 587 * 100 + 299 * 50) // 1000
    assert found.levels == [float(number == found.mean // 16) for number in range(RANGES)]
    assert measure_brightness(planes[:1]).mean == 200
    assert measure_brightness([np.array([[0, 255]])]).levels[0] == 0.5


def test_inverted_fit_is_a_log_ratio() -> None:
    training = [0.75, *[0.0] * (RANGES - 2), 0.25]
    light, black = [0.0] * (RANGES - 1) + [1.0], [1.0] + [0.0] * (RANGES - 1)
    assert inverted_fit(light, training) == pytest.approx(np.log(0.76 / 0.26))
    assert inverted_fit(black, training) == pytest.approx(-inverted_fit(light, training))


def test_grey_pictures_and_swapped_colours_are_measured_alike(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "swapped")
    image = np.zeros((24, 32, 3), np.uint8)
    image[:] = (200, 100, 50)
    extra = {"mean": 0, "low": 0, "high": 0, "levels": [0.0] * RANGES, "inverted_above": 100}
    for swap in (True, False):
        edit(bundle, blob={"swapRB": swap}, extra={"training_pixels": extra})
        assert "mean grey level 96, there 0" in str(Classifier(bundle).brightness_warning(image))
