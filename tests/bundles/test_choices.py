"""What is chosen on validation images, as it is written and as it is obeyed."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawings import nothing_drawn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, softmax
from sklearn.metrics import f1_score

import trainkit
from trainkit.bundles._choices import Choices, choices_in_words, choose_bound, choose_thresholds, temperature_of
from trainkit.deploy.python._selftest import selftest
from trainkit.errors import BundleError, DataError, UsageError
from trainkit.runs._calibration import measure_reliability

pytestmark = pytest.mark.usefixtures("undrawn")

PROBABILITIES = st.floats(0, 1, width=32)


def write_noise(folder: Path, counts: dict[str, int], *, classes: int) -> Path:
    """Write noisy pictures, a bit brighter from class to class."""
    generator = np.random.default_rng(0)
    for side, count in counts.items():
        for number in range(classes):
            (folder / side / f"c{number}").mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(generator.normal(90 + 14 * number, 40, (12, 12, 3)), 0, 255)
                cv2.imwrite(str(folder / side / f"c{number}" / f"{index}.png"), pixels.astype(np.uint8))
    return folder


def train_briefly(folder: Path, classes: int) -> trainkit.Run:
    data = write_noise(folder / "data", {"train": 50, "val": 60, "test": 100}, classes=classes)
    options: dict[str, Any] = {"model": "small-cnn", "size": (12, 12), "batch_size": 16, "learning_rate": 0.01}
    settings = {"model.filters": 8, "model.blocks": 1, "model.dropout": 0.0}
    with nothing_drawn():
        return trainkit.train(data, **options, epochs=25, settings=settings, experiments=folder / "experiments")


@pytest.fixture(scope="module")
def unsure_run(tmp_path_factory: pytest.TempPathFactory) -> trainkit.Run:
    """A run of three classes that is right more often than it is sure."""
    return train_briefly(tmp_path_factory.mktemp("unsure"), 3)


@pytest.fixture(scope="module")
def chosen(unsure_run: trainkit.Run) -> trainkit.Bundle:
    """Its bundle, calibrated and with a bound."""
    where = {"experiments": unsure_run.path.parent, "exported": unsure_run.path.parents[1] / "exported"}
    return trainkit.export(unsure_run, calibrate=True, reject=0.9, **where)


def manifest_of(bundle: trainkit.Bundle | Path) -> dict[str, Any]:
    return dict(json.loads((Path(bundle) / "manifest.json").read_text(encoding="utf-8")))


def answer(bundle: trainkit.Bundle, run: trainkit.Run, side: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what cv2.dnn answers, and the labels."""
    part, classifier = run.load_data().parts[side], trainkit.Classifier(bundle)
    return np.stack([classifier.probabilities(part.images[i]) for i in range(len(part))]), part.labels


def expected_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return measure_reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels).expected_error


def check_calibrated(run: trainkit.Run, bundle: trainkit.Bundle) -> None:
    """Hold a calibrated bundle against a plain one of the same run."""
    plain = trainkit.export(run, name="plain", exported=bundle.path.parent)
    before, labels = answer(plain, run, "test")
    after, _ = answer(bundle, run, "test")
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    calibration = manifest_of(bundle)["extra"]["calibration"]
    temperature = calibration["temperature"]
    assert 0.1 < temperature < 0.8 and calibration["images"] == 60 * len(run.class_names)
    assert calibration["measured_on"] == "test" and calibration["measured_images"] == len(labels)
    assert calibration["expected_error_before"] == pytest.approx(expected_error(before, labels), abs=0.01)
    assert calibration["expected_error_after"] == pytest.approx(expected_error(after, labels), abs=0.01)
    assert calibration["expected_error_after"] < 0.8 * calibration["expected_error_before"]
    logarithms = np.log(before.astype(np.float64))
    if len(run.class_names) == 3:
        expected = softmax(logarithms / temperature, axis=1)
    else:
        expected = expit((logarithms - logarithms[:, ::-1]) / temperature)
    np.testing.assert_allclose(after, expected, atol=1e-4)


def test_bundle_is_as_sure_as_it_is_right(unsure_run: trainkit.Run, chosen: trainkit.Bundle) -> None:
    check_calibrated(unsure_run, chosen)


@pytest.mark.slow
def test_bundle_of_one_sigmoid_is_as_sure_as_it_is_right(tmp_path: Path) -> None:
    run = train_briefly(tmp_path, 2)
    bundle = trainkit.export(run, calibrate=True, format="frozen-graph", exported=tmp_path / "exported")
    check_calibrated(run, bundle)
    assert trainkit.check(bundle, experiments=run.path.parent).ok


def test_check_compares_with_the_calibrated_model(
    unsure_run: trainkit.Run, chosen: trainkit.Bundle, tmp_path: Path
) -> None:
    assert chosen.agreement and chosen.agreement.ok and selftest(chosen.path)["ok"]
    found = trainkit.check(chosen, experiments=unsure_run.path.parent)
    assert found.ok and not found.loosened and found.max_abs_difference <= 1e-5
    bundle, manifest = shutil.copytree(chosen.path, tmp_path / "forgotten"), manifest_of(chosen)
    del manifest["extra"]["calibration"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert not trainkit.check(bundle, experiments=unsure_run.path.parent).ok, "the graph is not that of the plain model"


@pytest.mark.parametrize("calibration", [{}, {"temperature": "2"}, {"temperature": -1}, {"temperature": True}, [2]])
def test_temperature_that_is_none_is_refused(calibration: Any) -> None:
    with pytest.raises(BundleError, match=r"pets is .* `extra.calibration.temperature` must be a number above 0"):
        temperature_of({"extra": {"calibration": calibration}}, "pets")
    assert temperature_of({}, "pets") == temperature_of({"extra": {}}, "pets") == 1
    assert temperature_of({"extra": {"calibration": {"temperature": 2.5}}}, "pets") == 2.5


def test_nine_in_ten_validation_images_keep_their_answer(unsure_run: trainkit.Run, chosen: trainkit.Bundle) -> None:
    manifest = manifest_of(chosen)
    assert manifest["schema"] == "trainkit/2"
    part, classifier = unsure_run.load_data().parts["val"], trainkit.Classifier(chosen)
    labels = [classifier.predict(part.images[i], top=1)[0].label for i in range(len(part))]
    kept = sum(label is not None for label in labels)
    assert kept == pytest.approx(0.9 * len(part), abs=1) and kept >= 0.9 * len(part)
    rejection = manifest["extra"]["rejection"]
    assert rejection == {"asked": 0.9, "kept": pytest.approx(kept / len(part), abs=1e-6), "images": len(part)}


def test_what_was_chosen_is_said(unsure_run: trainkit.Run, chosen: trainkit.Bundle) -> None:
    first, error, second = chosen.choices
    count, tests = 60 * len(unsure_run.class_names), 100 * len(unsure_run.class_names)
    assert first.startswith("Temperature 0.") and first.endswith(f", fitted on {count} validation images.")
    assert error.startswith(f"Expected calibration error on {tests} test images: 0.") and error.endswith(" after.")
    bound = manifest_of(chosen)["output"]["reject_below"]
    assert second == f"None of these below {bound:g}: 90.0% of {count} validation images keep their answer."
    document = chosen.to_json()
    assert document["reject_below"] == bound and document["calibration"]["temperature"] < 1
    assert "calibration" not in trainkit.export(unsure_run, name="bare", exported=chosen.path.parent).to_json()


@pytest.mark.parametrize("extra", [{"calibration": 3, "rejection": []}, {"calibration": {"temperature": "hot"}}, {}])
def test_extra_of_others_is_passed_over(extra: Any) -> None:
    assert choices_in_words({"output": {"reject_below": 0.5}, "extra": extra}) == []


@pytest.mark.slow
def test_command_says_what_it_chose(unsure_run: trainkit.Run, tmp_path: Path) -> None:
    options = ("--calibrate", "--reject", "0.95", "--exported", str(tmp_path))
    command = [sys.executable, "-m", "trainkit", "export", str(unsure_run.path), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert "validation images.\nExpected calibration error on" in done.stdout
    assert "None of these below 0." in done.stdout and "same label" in done.stdout


def test_temperature_that_is_not_proven_is_left_out(trained_run: trainkit.Run, tmp_path: Path) -> None:
    bundle = trainkit.export(trained_run, calibrate=True, exported=tmp_path)
    calibration = manifest_of(bundle)["extra"]["calibration"]
    assert calibration["temperature"] == 1
    assert calibration["expected_error_before"] == calibration["expected_error_after"]
    sentence, error = bundle.choices
    assert sentence.startswith("Temperature 1: ") and sentence.endswith("do not prove that another is better.")
    assert error.startswith("Expected calibration error on ") and "before" not in error
    assert manifest_of(bundle)["schema"] == "trainkit/1"
    assert trainkit.check(bundle, experiments=trained_run.path.parent).ok


def several(folder: Path) -> trainkit.Run:
    """Return a run of several labels: bright ones, wide ones, and a label that no image for validation has."""
    generator, rows = np.random.default_rng(0), ["image,label,split"]
    (folder / "data").mkdir(parents=True)
    for index in range(300):
        labels = [name for name, share in (("bright", 0.3), ("red", 0.5)) if generator.random() < share]
        side = "train" if index < 150 else "val" if index < 240 else "test"
        labels += ["rare"] if side == "train" and index % 15 == 0 else []
        level = np.array([90, 90, 90 + 30 * ("red" in labels)]) + 25 * ("bright" in labels)
        pixels = np.clip(generator.normal(level, 60, (12, 12, 3)), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "data" / f"{index}.png"), pixels)
        rows.append(f"{index}.png,{'|'.join(labels)},{side}")
    (folder / "data" / "table.csv").write_text("\n".join(rows))
    settings = {"model.filters": 8, "model.blocks": 1}
    options: dict[str, Any] = {"model": "small-cnn", "size": (12, 12), "learning_rate": 0.01, "epochs": 6}
    with nothing_drawn():
        return trainkit.train(
            folder / "data" / "table.csv", **options, settings=settings, experiments=folder / "experiments"
        )


@pytest.fixture(scope="module")
def several_run(tmp_path_factory: pytest.TempPathFactory) -> trainkit.Run:
    return several(tmp_path_factory.mktemp("several"))


def test_thresholds_are_chosen_and_obeyed(several_run: trainkit.Run, tmp_path: Path) -> None:
    plain = trainkit.export(several_run, name="plain", exported=tmp_path)
    bundle = trainkit.export(several_run, thresholds=True, exported=tmp_path)
    manifest = manifest_of(bundle)
    assert manifest["schema"] == "trainkit/2" and manifest["output"]["multi_label"] is True
    thresholds = dict(zip(manifest["output"]["class_names"], manifest["output"]["thresholds"], strict=True))
    assert thresholds["rare"] == 0.5 and bundle.choices[0].startswith("Thresholds: bright ")
    probabilities, labels = answer(bundle, several_run, "val")
    chosen = f1_score(
        labels, probabilities >= np.array(list(thresholds.values()), np.float32), average=None, zero_division=0
    )
    usual = f1_score(labels, probabilities >= 0.5, average=None, zero_division=0)
    assert (chosen >= usual).all() and chosen.sum() > usual.sum()
    figures = trainkit.evaluate(
        bundle, others=Path(several_run.config.data).parent, experiments=several_run.path.parent
    )
    truth = answer(plain, several_run, "test")
    predicted = truth[0] >= np.array(list(thresholds.values()), np.float32)
    assert figures["test_accuracy"] == pytest.approx((predicted == truth[1]).mean())
    assert figures["others"]["known_rejected"] == pytest.approx((~predicted.any(axis=1)).mean())


def test_several_labels_are_calibrated_with_one_temperature(several_run: trainkit.Run, tmp_path: Path) -> None:
    bundle = trainkit.export(several_run, calibrate=True, thresholds=True, exported=tmp_path)
    calibration = manifest_of(bundle)["extra"]["calibration"]
    probabilities, labels = answer(bundle, several_run, "test")
    confidence = np.maximum(probabilities, 1 - probabilities).ravel()
    right = ((probabilities >= 0.5) == labels.astype(bool)).ravel()
    error = measure_reliability(confidence, right).expected_error
    assert calibration["expected_error_after"] == pytest.approx(error, abs=0.01)
    assert trainkit.check(bundle, experiments=several_run.path.parent).ok


def test_what_means_nothing_is_refused(several_run: trainkit.Run, trained_run: trainkit.Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--reject is for one class an image\. .* take --thresholds\."):
        trainkit.export(several_run, reject=0.95, exported=tmp_path)
    with pytest.raises(UsageError, match=r"--thresholds is for several labels an image\. .* take --reject 0\.95\."):
        trainkit.export(trained_run, thresholds=True, exported=tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0, 95, -0.1, 1.01, float("nan"), "0.95", True])
def test_share_that_is_none_is_refused(share: Any) -> None:
    with pytest.raises(UsageError, match=r"`reject` must be the share .*, above 0 and at most 1, such as 0\.95\. Rec"):
        trainkit.export("no such run", reject=share)


def test_only_a_run_has_validation_images(tmp_path: Path) -> None:
    (tmp_path / "pets.keras").write_bytes(b"")
    for source, options in ((tmp_path / "pets.keras", {}), (None, {"model": "mobilenet"})):
        with pytest.raises(UsageError, match=r"Only a run has validation images, .* no run: --calibrate, --reject\. T"):
            trainkit.export(source, calibrate=True, reject=0.95, **options)


def test_run_without_validation_images_says_so(tiny_dataset: Path, tmp_path: Path) -> None:
    run = trainkit.train(tiny_dataset, size=(12, 12), epochs=1, validation=0, experiments=tmp_path / "experiments")
    with pytest.raises(DataError, match=r"--calibrate: chosen on validation images, and .* has none\. .* 0\.1, or lea"):
        trainkit.export(run, calibrate=True, exported=tmp_path / "exported")
    assert not (tmp_path / "exported").exists()


def test_images_that_have_gone_are_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = write_noise(tmp_path / "data", {"train": 8, "val": 8}, classes=2)
    run = trainkit.train(data, model="small-cnn", size=(12, 12), epochs=1, experiments=tmp_path / "experiments")
    (data / "val" / "c0" / "0.png").unlink()
    with caplog.at_level(logging.WARNING, "trainkit"):
        bundle = trainkit.export(run, calibrate=True, exported=tmp_path / "exported")
    assert "are no longer those that it was trained with" in caplog.text
    assert " on the same images: " in bundle.choices[1]
    shutil.move(data, tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"--calibrate and --reject: chosen on the validation images of .* longer at"):
        trainkit.export(run, calibrate=True, reject=0.9, name="more", exported=tmp_path / "exported")
    assert trainkit.export(run, name="without", exported=tmp_path / "exported").choices == []


@given(
    arrays(np.float32, st.integers(1, 60), elements=st.floats(0.125, 1, width=32)), st.floats(0, 1, exclude_min=True)
)
def test_bound_keeps_the_share_and_not_needlessly_more(confidence: np.ndarray, share: float) -> None:
    bound = choose_bound(confidence, share)
    assert 0 < bound < 1 and (confidence >= np.float32(bound)).mean() >= share - 1e-9
    higher = np.float32(bound + 2.1e-5)
    assert (confidence >= higher).sum() < max(1, np.ceil(share * len(confidence) - 1e-9))


def test_bound_is_not_moved_by_rounding() -> None:
    confidence = np.linspace(0.4, 0.99, 20).astype(np.float32)
    bound = choose_bound(confidence, 0.95)
    assert bound == pytest.approx(float(confidence[1]) - 1e-5, abs=2e-6)
    assert (confidence - np.float32(9e-6) >= np.float32(bound)).sum() == 19
    assert choose_bound(confidence, 1) < confidence[0]
    assert choose_bound(np.ones(9, np.float32), 0.5) == pytest.approx(0.99999, abs=2e-6)


@given(arrays(np.float32, 12, elements=PROBABILITIES), arrays(bool, 12))
def test_threshold_is_of_the_best_f1(probabilities: np.ndarray, truth: np.ndarray) -> None:
    (threshold,) = choose_thresholds(probabilities[:, None], truth[:, None])
    assert 0 < threshold < 1
    if not truth.any():
        assert threshold == 0.5
        return
    every = [f1_score(truth, probabilities >= at, zero_division=0) for at in probabilities if at > 0]
    assert f1_score(truth, probabilities >= np.float32(threshold), zero_division=0) >= max(every, default=0) - 1e-9


def test_equally_good_thresholds_are_as_near_to_a_half_as_can_be() -> None:
    def choose(probabilities: list[float], truth: list[int]) -> float:
        rows = np.array(probabilities, np.float32)[:, None]
        return choose_thresholds(rows, np.array(truth)[:, None])[0]

    assert choose([0.2, 0.4, 0.7, 0.9], [0, 0, 1, 1]) == 0.5
    assert choose([0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]) == pytest.approx(0.25)
    assert choose([0.1, 0.2, 0.3], [1, 1, 1]) == pytest.approx(0.05)
    # Two of three are as good as four of nine: 2 * 1 / (1 + 3) at 0.85, 2 * 3 / (9 + 3) at 0.05.
    rows = [0.9, 0.8, 0.75, 0.7, 0.65, 0.62, 0.61, 0.2, 0.1]
    assert choose(rows, [1, 0, 0, 0, 0, 0, 0, 1, 1]) == pytest.approx(0.85)


def test_choices_are_true_where_something_is_chosen() -> None:
    assert not Choices() and Choices(reject=0.5) and Choices(calibrate=True)
    assert Choices(reject=1).reject == 1.0
