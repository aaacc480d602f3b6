"""Objects that fit together: a run or a bundle is itself, its path or its name; each is one line, and HTML."""

from __future__ import annotations

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photographs import COLORS_BGR, draw_photo
from strange_models import colored_cells, write_color_detector

import trainkit
import trainkit.deploy
from trainkit.files import sha256_of


class Page(HTMLParser):
    """Holds that every tag is closed, and keeps the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


@pytest.fixture(scope="module")
def workplace(trained_run: trainkit.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained run as `<time>-mob` and its bundle `pets`."""
    folder = tmp_path_factory.mktemp("objects")
    shutil.copytree(trained_run.path, folder / "experiments" / "20260101-000000-mob")
    config = folder / "experiments" / "20260101-000000-mob" / "config.toml"
    config.write_text(re.sub(r'^name = ".*"', 'name = "mob"', config.read_text(), count=1, flags=re.M))
    return folder


@pytest.fixture
def here(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workplace)
    return workplace


@pytest.fixture(scope="module")
def bundle(workplace: Path) -> trainkit.Bundle:
    return trainkit.export("mob", name="pets", experiments=workplace / "experiments", exported=workplace / "exported")


@pytest.fixture(params=["object", "path", "text", "name"])
def run(request: pytest.FixtureRequest, here: Path) -> Any:
    """A run in each form that a person may have it in."""
    found = trainkit.find_run("mob")
    return {"object": found, "path": found.path, "text": str(found.path), "name": "mob"}[request.param]


@pytest.fixture(params=["object", "path", "text", "name"])
def any_bundle(request: pytest.FixtureRequest, here: Path, bundle: trainkit.Bundle) -> Any:
    """A bundle in each form that a person may have it in."""
    forms = {"object": bundle, "path": bundle.path, "text": str(bundle.path), "name": "pets"}
    return forms[request.param]


def test_what_takes_a_run_takes_it_in_each_form(run: Any) -> None:
    found = trainkit.find_run(run)
    assert found.name == "20260101-000000-mob"
    assert trainkit.evaluate(run)["test_accuracy"] == pytest.approx(found.result["test_accuracy"])
    assert trainkit.compare([run, run]).names == [found.name] * 2
    assert trainkit.shapes(run).model == found.name
    with pytest.raises(trainkit.RunError, match="20260101-000000-mob is finished"):
        trainkit.resume(run)


def test_export_and_report_take_a_run(here: Path, tmp_path: Path) -> None:
    run = trainkit.find_run("mob")
    written = trainkit.export(run, name="again", exported=tmp_path)
    assert Path(written) == tmp_path / "again"
    assert trainkit.report(run, exported=tmp_path).parent.name == "20260101-000000-mob"


def test_what_takes_a_bundle_takes_it_in_each_form(any_bundle: Any, bundle: trainkit.Bundle) -> None:
    image = draw_photo(1, COLORS_BGR["red"])
    found = trainkit.find_bundle(any_bundle)
    assert Path(found).resolve() == bundle.path
    assert repr(found).replace(", checked", "") == repr(bundle).replace(", checked", "")
    assert (found / "labels.txt").is_file()
    classifier = trainkit.Classifier(any_bundle)
    assert trainkit.predict(any_bundle, image) == classifier.predict(image)
    assert trainkit.check(any_bundle, max_images=2).images == 2
    assert trainkit.bench(any_bundle, batches=[1], seconds=0.01).milliseconds["opencv"][1] > 0


def test_clients_are_added_to_a_bundle_in_each_form(any_bundle: Any, bundle: trainkit.Bundle) -> None:
    target = bundle.path / "node"
    try:
        assert trainkit.add_clients(any_bundle, "node")["node"].resolve() == target
    finally:
        shutil.rmtree(target)


def test_classifier_is_that_of_the_client_and_prefers_a_path(here: Path, bundle: trainkit.Bundle) -> None:
    assert isinstance(trainkit.Classifier("pets"), trainkit.deploy.Classifier)
    assert isinstance(trainkit.Classifier(bundle.path / "manifest.json"), trainkit.deploy.Classifier)
    assert trainkit.Classifier("pets", exported=bundle.path.parent).class_names == ["blue", "green", "red"]
    with pytest.raises(trainkit.BundleError, match=r"No bundle nothing .* There are: pets"):
        trainkit.Classifier("nothing")
    assert repr(trainkit.Classifier("pets")) == f"Classifier({Path('exported', 'pets')}: 3 classes)"
    (here / "pets").mkdir()
    try:
        with pytest.raises(trainkit.BundleError, match=r"manifest\.json"):
            trainkit.Classifier("pets")
    finally:
        (here / "pets").rmdir()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (None, "Expected paths of images, or images as uint8 arrays. Received: None"),
        (7, "Expected paths of images, or images as uint8 arrays. Received: 7"),
        ((), "There is no image. Expected paths of images, or images as uint8 arrays. Received: nothing"),
    ],
)
def test_what_is_no_image_is_refused_in_a_sentence(here: Path, images: Any, message: str) -> None:
    for call in (trainkit.predict, trainkit.detect):
        with pytest.raises(trainkit.UsageError, match=re.escape(message)):
            call("pets", images)


def test_detector_is_opened_by_its_name(tmp_path: Path) -> None:
    write_color_detector(tmp_path / "colors")
    detector = trainkit.Detector("colors", exported=tmp_path)
    assert repr(detector) == f"Detector({tmp_path / 'colors'}: {len(detector.class_names)} classes)"
    assert isinstance(detector, trainkit.deploy.Detector)


def test_a_run_and_a_bundle_are_paths(here: Path, bundle: trainkit.Bundle) -> None:
    run = trainkit.find_run("mob")
    assert os.fspath(run) == str(run.path)
    assert sha256_of(Path(run) / "model.keras") == run.result["keras_sha256"]
    assert Path(bundle) == bundle.path


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "photos" / f"{color}.png" for color in ("red", "blue")]
    paths[0].parent.mkdir()
    for path in paths:
        assert cv2.imwrite(str(path), draw_photo(1, COLORS_BGR[path.stem], 60, 90))
    return paths


def test_predict_takes_paths_and_arrays(here: Path, bundle: trainkit.Bundle, photos: list[Path]) -> None:
    by_paths = trainkit.predict("pets", photos, top=1)
    assert json.loads(json.dumps(by_paths)) == by_paths
    assert [one["image"] for one in by_paths] == [str(path) for path in photos]
    assert [one["predictions"][0]["label"] for one in by_paths] == ["red", "blue"]
    assert trainkit.predict("pets", str(photos[0]), top=1) == by_paths[:1]
    assert sorted(trainkit.predict("pets", photos[0].parent, top=1), key=str) == sorted(by_paths, key=str)
    images = [cv2.imread(str(path)) for path in photos]
    by_arrays = trainkit.predict("pets", images, top=1, batch=2)
    assert [[one._asdict() for one in found] for found in by_arrays] == [one["predictions"] for one in by_paths]
    assert isinstance(by_arrays[0][0], trainkit.Prediction)
    assert trainkit.predict("pets", images[0], top=1) == by_arrays[0]


def test_predict_draws_on_files_only(here: Path, bundle: trainkit.Bundle, photos: list[Path], tmp_path: Path) -> None:
    trainkit.predict(bundle, photos[0], annotate=str(tmp_path / "drawn.png"))
    assert (tmp_path / "drawn.png").is_file()
    with pytest.raises(trainkit.UsageError, match="`annotate` goes with paths of images"):
        trainkit.predict(bundle, draw_photo(1, COLORS_BGR["red"]), annotate=tmp_path / "other.png")


@pytest.mark.parametrize(
    ("images", "received"),
    [([], "nothing"), ([1, 2], "int"), (["a.png", np.zeros((2, 2, 3), np.uint8)], "str, ndarray")],
)
def test_predict_says_what_it_takes(here: Path, bundle: trainkit.Bundle, images: Any, received: str) -> None:
    with pytest.raises(trainkit.UsageError, match=rf"Expected paths of images, or images .* Received: {received}$"):
        trainkit.predict(bundle, images)


def test_predict_refuses_an_array_that_is_no_image(here: Path, bundle: trainkit.Bundle) -> None:
    with pytest.raises(ValueError, match=r"Expected a uint8 image of shape .* Received: float64 \(4, 4, 3\)"):
        trainkit.predict(bundle, np.zeros((4, 4, 3)))
    with pytest.raises(trainkit.UsageError, match="NONSENSE"):
        trainkit.predict(bundle, np.zeros((4, 4, 3), np.uint8), backend="NONSENSE")


def test_detect_takes_paths_and_arrays(tmp_path: Path) -> None:
    detector = write_color_detector(tmp_path / "colors")
    image = cv2.resize(colored_cells({(0, 1): "red"}), (256, 128), interpolation=cv2.INTER_NEAREST)
    assert cv2.imwrite(str(tmp_path / "one.png"), image)
    (by_path,) = trainkit.detect(detector, tmp_path / "one.png")
    assert [found["label"] for found in by_path["detections"]] == ["red"]
    by_array = trainkit.detect("colors", image, exported=tmp_path)
    assert isinstance(by_array[0], trainkit.Detection)
    assert isinstance(by_array[0].box, trainkit.Box)
    assert list(by_array[0].box) == by_path["detections"][0]["box"]
    assert trainkit.detect(detector, [image, image]) == [by_array, by_array]


@pytest.mark.parametrize("runs", ["mob", Path("mob")])
def test_compare_does_not_iterate_letters(here: Path, runs: Any) -> None:
    with pytest.raises(trainkit.UsageError, match=r"compare takes a list of two or more runs\. Received: 'mob'"):
        trainkit.compare(runs)
    with pytest.raises(trainkit.UsageError, match="compare takes a list"):
        trainkit.compare(trainkit.find_run("mob"))  # type: ignore[arg-type]


def found_rates() -> trainkit.LearningRates:
    return trainkit.LearningRates([1e-4, 1e-3, 1e-2, 1e-1], [2.0, 1.0, 0.5, 900.0], 0.003)


def test_each_object_is_one_useful_line(here: Path, bundle: trainkit.Bundle) -> None:
    run = trainkit.find_run("mob")
    accuracy = run.result["test_accuracy"]
    assert repr(run) == f"Run(20260101-000000-mob: small-cnn on photos, finished, test accuracy {accuracy:.3f})"
    assert repr(bundle) == "Bundle(pets: onnx, 3 classes, 32x24 rgb, checked)"
    assert re.fullmatch(
        r"Agreement\(\d+ images: 100\.00% same labels, probabilities within \d\.\de-\d\d, ok\)", repr(bundle.agreement)
    )
    assert repr(found_rates()) == "LearningRates(suggestion 0.003, of 4 from 0.0001 to 0.1)"
    assert repr(trainkit.LearningRates([], [], None)) == "LearningRates(no suggestion, of none)"
    compared = trainkit.compare([run, run])
    assert repr(compared) == "Comparison(20260101-000000-mob, 20260101-000000-mob: 0 settings differ)"
    shapes = trainkit.shapes(run)
    assert repr(shapes) == (
        f"Shapes(20260101-000000-mob: {len(shapes.layers)} layers, {shapes.parameters:,} parameters, "
        f"{shapes.multiply_adds:,} multiply-adds)"
    )


def test_each_object_shows_itself_in_a_notebook(here: Path, bundle: trainkit.Bundle) -> None:
    run = trainkit.find_run("mob")
    page = Page(run._repr_html_())
    assert page.tags.count("svg") == 2 and page.tags.count("polyline") == 4
    assert {"small-cnn", "finished", "training", "validation"} <= set(page.text.splitlines())
    page = Page(bundle._repr_html_())
    assert {"3 classes", "32x24 rgb", "100.00%"} <= set(page.text.splitlines())
    assert "answers as Keras does" in Page(bundle.agreement._repr_html_()).text
    page = Page(trainkit.compare([run, run])._repr_html_())
    assert page.tags.count("svg") == 5
    assert "20260101-000000-mob (2)" in page.text
    page = Page(trainkit.shapes(run)._repr_html_())
    assert page.tags.count("tr") == 1 + len(trainkit.shapes(run).layers)
    page = Page(found_rates()._repr_html_())
    assert page.tags.count("polyline") == 1
    assert "0.003" in page.text and "900" not in page.text


def test_what_a_notebook_shows_is_escaped(here: Path, tmp_path: Path) -> None:
    run = trainkit.Run(shutil.copytree("experiments/20260101-000000-mob", tmp_path / "<b>mob"))
    shown = [run._repr_html_(), trainkit.compare([run, run])._repr_html_(), trainkit.shapes(run)._repr_html_()]
    for html in shown:
        assert "<b>" not in html
        assert "<b>mob" in Page(html).text


def test_a_damaged_run_says_so(tmp_path: Path) -> None:
    run = trainkit.Run(tmp_path / "gone")
    assert repr(run) == "Run(gone: damaged)"
    assert "damaged" in Page(run._repr_html_()).text


def test_a_bundle_that_has_gone_says_so(bundle: trainkit.Bundle, tmp_path: Path) -> None:
    gone = trainkit.Bundle(path=tmp_path / "gone", format="onnx", agreement=bundle.agreement)
    assert repr(gone) == "Bundle(gone: onnx, damaged, checked)"
    assert "damaged" in Page(gone._repr_html_()).text


def test_completion_lists_the_objects() -> None:
    named = {
        "Run",
        "Bundle",
        "Agreement",
        "Comparison",
        "LearningRates",
        "Shapes",
        "predict",
        "detect",
        "TrainkitError",
    }
    assert named <= set(trainkit.__all__) & set(dir(trainkit))
