"""How many strangers are turned away."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from client import edit
from decided import set_schema
from photographs import write_class_folders

import trainkit
from trainkit.bundles._others import load_others, measure_others
from trainkit.errors import BundleError, DataError, RunError, UsageError


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey noise in folders of sides and of none, and a file that is no picture."""
    folder, generator = tmp_path_factory.mktemp("strangers"), np.random.default_rng(0)
    for name in ("train/a/1.png", "test/a/2.png", "3.png", "deep/er/4.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), generator.integers(90, 150, (40, 50, 3)).astype(np.uint8))
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def rejecting(tiny_bundle: Path, strangers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that turns away whoever is less likely than the surest stranger but one."""
    classifier, part = trainkit.Classifier(tiny_bundle), load_others(strangers)
    sure = sorted(float(classifier.probabilities(part.images[index]).max()) for index in range(len(part)))
    bundle = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("rejecting") / "rejecting")
    edit(bundle, output={"reject_below": (sure[-1] + sure[-2]) / 2})
    return set_schema(bundle, "trainkit/2")


def test_all_images_below_a_folder_are_strangers(strangers: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trainkit"):
        assert len(load_others(strangers)) == 4
    assert f"Left out 1 of 5 files in {strangers}: broken.png" in caplog.text
    assert len(load_others("digits")) == 360


def test_bundle_turns_them_away(rejecting: Path, strangers: Path, trained_run: trainkit.Run, tmp_path: Path) -> None:
    photos = write_class_folders(tmp_path / "photos", count=4)
    figures = trainkit.evaluate(rejecting, data=photos, others=strangers)
    classifier, others = trainkit.Classifier(rejecting), figures["others"]
    known = [cv2.imread(str(path)) for path in sorted(photos.glob("*/*.png"))]
    kept = [classifier.predict(image)[0].label is not None for image in known]
    assert others["images"] == 4 and others["rejected"] == 3 / 4
    assert others["known_rejected"] == figures["rejected"] == pytest.approx(1 - np.mean(kept))
    assert 0 < figures["accepted_accuracy"] <= 1 and figures["test_split"] == "data"
    strange = load_others(strangers)
    sure = [classifier.probabilities(image).max() for image in known]
    less = [classifier.probabilities(strange.images[index]).max() for index in range(4)]
    pairs = [float(one > other) + 0.5 * float(one == other) for one in sure for other in less]
    assert others["auroc"] == pytest.approx(np.mean(pairs))
    own = trainkit.evaluate(rejecting, others=str(strangers), experiments=trained_run.path.parent)
    assert own["test_split"] == "test" and own["others"]["rejected"] == 3 / 4


def test_run_has_an_auroc_and_turns_nobody_away(trained_run: trainkit.Run, strangers: Path) -> None:
    figures = trainkit.evaluate(trained_run, others=strangers)
    assert "rejected" not in figures
    others = figures["others"]
    assert (others["images"], others["rejected"], others["known_rejected"], others["reject_below"]) == (4, *[None] * 3)
    assert 0 <= others["auroc"] <= 1


def test_measure_of_strangers_counts_equal_ones_half() -> None:
    known, strange = np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([[0.4, 0.6], [0.2, 0.8], [0.5, 0.5]])
    found = measure_others(known, strange, {"reject_below": 0.6})
    assert found["auroc"] == pytest.approx((3 + 0.5 + 0 + 1) / 6)
    assert (found["rejected"], found["known_rejected"]) == (pytest.approx(1 / 3), 0)
    several = measure_others(known, strange, {"multi_label": True, "thresholds": [0.95, 0.6]})
    assert (several["rejected"], several["known_rejected"], several["reject_below"]) == (pytest.approx(1 / 3), 1, None)


def test_command_says_how_many(rejecting: Path, strangers: Path, trained_run: trainkit.Run) -> None:
    where = ("--experiments", trained_run.path.parent)
    command = [sys.executable, "-m", "trainkit", "evaluate", rejecting, "--others", strangers, *where]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True, encoding="utf-8")
    assert "None of these: " in done.stdout and "% of the images; accuracy on the others " in done.stdout
    assert "Strangers: 4 images, AUROC " in done.stdout
    assert "Turned away: 75.0% of them (95% interval 0.301 to 0.954), " in done.stdout
    command[4] = trained_run.path
    done = subprocess.run([*map(str, command), "--json"], capture_output=True, text=True, check=True, encoding="utf-8")
    assert json.loads(done.stdout)["others"]["rejected"] is None


def test_what_cannot_be_measured_is_refused(
    tiny_bundle: Path, trained_run: trainkit.Run, strangers: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"No such folder: .*nowhere"):
        trainkit.evaluate(trained_run, others=tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"No usable image in .*empty\. Expected"):
        trainkit.evaluate(trained_run, others=tmp_path / "empty")
    with pytest.raises(UsageError, match=r"`others` must be a folder of images, .* Received: int"):
        trainkit.evaluate(trained_run, others=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"is a bundle, which has no images: name them with --data\.$"):
        trainkit.evaluate(tiny_bundle, others=strangers, experiments=tmp_path)
    with pytest.raises(RunError, match=r"Nor is there such a bundle in exported\."):
        trainkit.evaluate("nothing", others=strangers, experiments=tmp_path)
    bundle = edit(shutil.copytree(tiny_bundle, tmp_path / "renamed"), output={"class_names": ["red", "green", "blue"]})
    with pytest.raises(BundleError, match=r"The classes of .*renamed.* are not those of the run"):
        trainkit.evaluate(bundle, others=strangers, experiments=trained_run.path.parent)
