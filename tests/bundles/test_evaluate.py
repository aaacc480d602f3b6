"""Runs and bundles on data that they were not trained on."""

from __future__ import annotations

import csv
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
from photographs import COLORS_BGR, draw_photo, write_class_folders

import trainkit
from trainkit.bundles._evaluate import match_classes
from trainkit.data._dataset import ArrayImages, Dataset, Part
from trainkit.data._whole import WHOLE
from trainkit.errors import BundleError, DataError, OutputError, RunError, UsageError

pytestmark = pytest.mark.usefixtures("undrawn")

KEYS = {"test_split", "test_accuracy", "test_loss", "classes", "confusion_matrix"}


@pytest.fixture(scope="module")
def new_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs that the run has never seen; one red one lies among the blue."""
    photos = write_class_folders(tmp_path_factory.mktemp("new") / "photos", count=3)
    assert cv2.imwrite(str(photos / "blue" / "wrong.png"), draw_photo(77, COLORS_BGR["red"]))
    return photos


def run_trainkit(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainkit", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, encoding="utf-8")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_bundle_and_run_say_the_same(
    trained_run: trainkit.Run, tiny_bundle: Path, new_photos: Path, tmp_path: Path
) -> None:
    of_run = trainkit.evaluate(trained_run, data=new_photos, predictions=tmp_path / "run.csv")
    of_bundle = trainkit.evaluate(tiny_bundle, data=str(new_photos), predictions=tmp_path / "bundle.csv")
    assert set(of_run) == set(of_bundle) == KEYS
    assert of_run["test_split"] == of_bundle["test_split"] == "data"
    assert of_run["confusion_matrix"] == of_bundle["confusion_matrix"] == [[3, 0, 1], [0, 3, 0], [0, 0, 3]]
    assert of_run["test_accuracy"] == pytest.approx(9 / 10)
    assert of_bundle["test_loss"] == pytest.approx(of_run["test_loss"], abs=1e-5)
    one, other = rows_of(tmp_path / "run.csv"), rows_of(tmp_path / "bundle.csv")
    assert [(row["file"], row["true"], row["predicted"]) for row in one] == [
        (row["file"], row["true"], row["predicted"]) for row in other
    ]
    wrong = [row for row in one if row["true"] != row["predicted"]]
    assert [Path(row["file"]).name for row in wrong] == ["wrong.png"]


def test_bundle_needs_no_tensorflow(tiny_bundle: Path, new_photos: Path, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom trainkit.cli import app\n"
        f"sys.argv = ['trainkit', 'evaluate', {str(tiny_bundle)!r}, '--data', {str(new_photos)!r}, '--predictions', "
        f"{str(tmp_path / 'a.csv')!r}, '--json']\n"
        "app(standalone_mode=False)\nprint(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert set(json.loads(done.stdout)) == KEYS
    assert not {"tensorflow", "keras"} & set(done.stderr.split())


def test_command_says_of_what_and_how_sure(tiny_bundle: Path, new_photos: Path, tmp_path: Path) -> None:
    options = ("--data", new_photos, "--predictions", tmp_path / "answers")
    done = run_trainkit("evaluate", tiny_bundle.name, *options, "--exported", tiny_bundle.parent)
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first.startswith("accuracy 0.9000 (95% interval 0.596 to 0.982, 10 images), loss ")
    assert "test" not in first and f"Wrote {tmp_path / 'answers'}." in rest
    assert any(line.split() == ["blue", "1.000", "0.750", "0.857", "4"] for line in rest)


def test_name_of_both_means_the_run(
    trained_run: trainkit.Run, tiny_bundle: Path, new_photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exported = tmp_path / "exported"
    shutil.copytree(tiny_bundle, exported / trained_run.name)
    where: dict[str, Any] = {"experiments": trained_run.path.parent, "exported": exported}
    with caplog.at_level(logging.WARNING, "trainkit"):
        trainkit.evaluate(trained_run.name, data=new_photos, **where)
    assert f"{trained_run.name} is the name of a run and of a bundle: the run is measured." in caplog.text
    assert trainkit.evaluate(trained_run.name, **where)["test_split"] == "test"


def test_own_data_is_warned_of(trained_run: trainkit.Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trainkit"):
        figures = trainkit.evaluate(trained_run, data=trained_run.config.data)
    assert np.sum(figures["confusion_matrix"]) == 42, "all of them, on whatever side"
    assert "was trained on images of" in caplog.text


def test_bundle_without_data_is_told_what_to_do(trained_run: trainkit.Run, tiny_bundle: Path) -> None:
    with pytest.raises(UsageError, match=r"is a bundle, which has no images: name them with --data\.$"):
        trainkit.evaluate(tiny_bundle)
    with pytest.raises(UsageError, match=rf"`trainkit evaluate {trained_run.name}`\.$"):
        trainkit.evaluate(tiny_bundle, experiments=trained_run.path.parent)


def test_reading_without_data_means_nothing(trained_run: trainkit.Run) -> None:
    done = run_trainkit("evaluate", trained_run.path, "--labels-from", "name")
    assert done.returncode == 2 and "goes with --data" in done.stderr
    with pytest.raises(UsageError, match="goes with --data"):
        trainkit.evaluate(trained_run, class_names=["cat"])


def test_reading_options_are_obeyed(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for color in COLORS_BGR:
        assert cv2.imwrite(str(tmp_path / "flat" / f"{color}_1.png"), draw_photo(5, COLORS_BGR[color]))
    done = run_trainkit("evaluate", tiny_bundle, "--data", tmp_path / "flat", "--labels-from", "name", "--json")
    assert json.loads(done.stdout)["test_accuracy"] == 1


def test_what_is_neither_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"No run nothing in .*Nor is there such a bundle in exported\."):
        trainkit.evaluate("nothing", data="digits", experiments=tmp_path)
    with pytest.raises(RunError, match="No run nothing"):
        trainkit.evaluate("nothing", experiments=tmp_path)


def test_detector_is_refused(tiny_bundle: Path, new_photos: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "detector")
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["output"] = {"kind": "ssd", "class_names": ["face"]}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BundleError, match=r"is a detector, which finds objects: .*`trainkit detect` shows"):
        trainkit.evaluate(bundle, data=new_photos)


def test_predictions_are_refused_before_anything_is_looked_at(trained_run: trainkit.Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="nothing is overwritten"):
        trainkit.evaluate(trained_run, data="nothing at all", predictions=tmp_path / "a.csv")


def test_predictions_of_a_run_are_those_of_its_test_images(trained_run: trainkit.Run, tmp_path: Path) -> None:
    figures = trainkit.evaluate(trained_run, predictions=tmp_path / "a.csv")
    rows = rows_of(tmp_path / "a.csv")
    assert len(rows) == np.sum(figures["confusion_matrix"])
    assert (tmp_path / "a.csv").read_bytes() == (trained_run.path / "predictions.csv").read_bytes()


def dataset_of(labels: np.ndarray, names: list[str], *, multi_label: bool = False) -> Dataset:
    part = Part(ArrayImages(np.zeros((len(labels), 8, 8), np.uint8)), labels)
    return Dataset(name="photos", class_names=names, parts={WHOLE: part}, multi_label=multi_label)


def test_classes_are_matched_by_name(caplog: pytest.LogCaptureFixture) -> None:
    dataset = dataset_of(np.array([0, 1, 1]), ["dog", "cat"])
    with caplog.at_level(logging.WARNING, "trainkit"):
        part = match_classes(dataset, ["cat", "dog", "owl"], multi_label=False, name="pets")
    assert part.labels.tolist() == [1, 0, 0]
    assert "photos has no image of `owl`" in caplog.text


def test_classes_without_an_image_may_be_unknown() -> None:
    part = match_classes(dataset_of(np.array([1, 1]), ["yak", "cat"]), ["cat"], multi_label=False, name="pets")
    assert part.labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["Cats", "dog"], "does not have: `Cats`. It has: `cats`, `dog`. Is `Cats` its `cats`? Call them as"),
        (["yak", "gnu"], "does not have: `yak`, `gnu`. It has: `cats`, `dog`. Call them as the model does, or leave"),
        (["0", "1"], "Arrays call their classes by names where they have `class_names`."),
    ],
)
def test_unknown_classes_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(DataError) as error:
        match_classes(dataset_of(np.array([0, 1]), names), ["cats", "dog"], multi_label=False, name="pets")
    assert sentence in str(error.value)


def test_a_name_that_the_model_has_twice_is_refused() -> None:
    with pytest.raises(DataError, match="several classes that are called `crane`: which one is meant, no name says"):
        match_classes(dataset_of(np.array([0]), ["crane"]), ["crane", "crane"], multi_label=False, name="imagenet")


def test_labels_of_several_classes() -> None:
    rows = np.array([[1, 1, 0], [0, 1, 0]], np.float32)
    dataset = dataset_of(rows, ["owl", "cat", "unused"], multi_label=True)
    part = match_classes(dataset, ["cat", "dog", "owl"], multi_label=True, name="pets")
    assert part.labels.tolist() == [[1, 0, 1], [1, 0, 0]]
    with pytest.raises(DataError, match="The images of photos have several labels, and pets gives one to each"):
        match_classes(dataset, ["cat", "dog", "owl"], multi_label=False, name="pets")
    single = match_classes(dataset_of(np.array([1, 0]), ["owl", "cat"]), ["cat", "owl"], multi_label=True, name="pets")
    assert single.labels.tolist() == [[1, 0], [0, 1]]


def test_run_and_bundle_of_several_labels(tiny_dataset: Path, new_photos: Path, tmp_path: Path) -> None:
    def write_table(path: Path, folder: Path) -> Path:
        more = {"blue": "|cold", "red": "|warm", "green": ""}
        names = [(file, file.parent.name) for file in sorted(folder.glob("*/*.png"))]
        path.write_text("\n".join(["image,label", *(f"{file},{name}{more[name]}" for file, name in names)]))
        return path

    experiments = tmp_path / "experiments"
    table = write_table(tmp_path / "old.csv", tiny_dataset)
    run = trainkit.train(table, size=(32, 24), epochs=5, learning_rate=0.01, experiments=experiments)
    bundle = trainkit.export(run, experiments=experiments, exported=tmp_path / "exported")
    new = write_table(tmp_path / "new.csv", new_photos)
    of_run = trainkit.evaluate(run, data=new, predictions=tmp_path / "answers.csv")
    of_bundle = trainkit.evaluate(bundle, data=new)
    assert of_run["test_accuracy"] == of_bundle["test_accuracy"] > 0.8 and of_run["confusion_matrix"] == []
    rows = rows_of(tmp_path / "answers.csv")
    assert rows[0]["true"] == "blue|cold" and rows[0]["probability"] == ""
    assert len(rows) == 10 and sum(row["true"] == row["predicted"] for row in rows) >= 7


def test_arrays_in_memory(trained_run: trainkit.Run) -> None:
    images = np.stack([draw_photo(seed, COLORS_BGR[name])[..., ::-1] for seed, name in enumerate(("red", "blue"))])
    figures = trainkit.evaluate(trained_run, data=(images, np.array([0, 1])), class_names=["red", "blue"])
    assert figures["test_accuracy"] == 1 and [row["images"] for row in figures["classes"]] == [1, 0, 1]


def test_predict_writes_what_evaluate_writes(tiny_bundle: Path, new_photos: Path, tmp_path: Path) -> None:
    trainkit.evaluate(tiny_bundle, data=new_photos, predictions=tmp_path / "evaluated.csv")
    trainkit.predict(
        tiny_bundle, new_photos, top=1, batch=4, min_confidence=0.99, predictions=tmp_path / "predicted.csv"
    )
    evaluated = {row["file"]: row for row in rows_of(tmp_path / "evaluated.csv")}
    predicted = {row["file"]: row for row in rows_of(tmp_path / "predicted.csv")}
    assert evaluated.keys() == predicted.keys() and len(evaluated) == 10
    for file, row in predicted.items():
        assert row["true"] == "" and row["predicted"] == evaluated[file]["predicted"]
        for column in ("probability", "p:blue", "p:green", "p:red"):
            assert float(row[column]) == pytest.approx(float(evaluated[file][column]), abs=1e-6)


def test_predict_writes_those_that_could_be_read(tiny_bundle: Path, new_photos: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    good = new_photos / "red" / "red-000.png"
    done = run_trainkit("predict", tiny_bundle, tmp_path / "broken.png", good, "--predictions", tmp_path / "a.csv")
    assert done.returncode == 1 and "broken.png" in done.stderr
    assert [row["file"] for row in rows_of(tmp_path / "a.csv")] == [str(good)]


def test_frames_of_a_video_have_rows(tiny_bundle: Path, film: Path, tmp_path: Path) -> None:
    trainkit.predict(tiny_bundle, film, batch=2, predictions=tmp_path / "a.csv")
    rows = rows_of(tmp_path / "a.csv")
    assert [row["file"] for row in rows] == [f"{film}[{number}]" for number in range(7)]
    assert [row["predicted"] for row in rows[:3]] == ["blue", "green", "red"]


def test_predictions_go_with_files(tiny_bundle: Path, tmp_path: Path) -> None:
    image = draw_photo(1, COLORS_BGR["red"])
    with pytest.raises(UsageError, match="`predictions` goes with paths of images"):
        trainkit.predict(tiny_bundle, image, predictions=tmp_path / "a.csv")
    done = run_trainkit("predict", tiny_bundle, "--camera", 0, "--predictions", tmp_path / "a.csv")
    assert done.returncode == 2 and "what a camera sees has no end" in done.stderr
