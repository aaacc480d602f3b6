"""From a run to its whole report."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from drawings import nothing_drawn
from photographs import write_class_folders
from PIL import Image

import trainkit
from trainkit.errors import OutputError, RunError
from trainkit.reports._findings import Findings
from trainkit.reports._page import write_report
from trainkit.reports._report import _draw, find_out
from trainkit.runs._run import Run

OLD_RUN = Path(__file__).parents[1] / "data" / "run-v1"
AUGMENTATION = {"augmentation.rotation_range": 30, "augmentation.horizontal_flip": True}
PICTURES = [
    "augmentation.png",
    "confusion_matrix.png",
    "curves.png",
    "epoch_times.png",
    "filters.png",
    "mistakes.png",
    "precision_recall.png",
    "reliability.png",
    "roc.png",
    "samples.png",
]
PICTURES_WITHOUT_IMAGES = ["confusion_matrix.png", "curves.png", "epoch_times.png", "filters.png"]
PICTURES_WITHOUT_MODEL = [
    "augmentation.png",
    "confusion_matrix.png",
    "curves.png",
    "epoch_times.png",
    "mine.png",
    "samples.png",
]


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch, which makes mistakes, with its whole report."""
    work = tmp_path_factory.mktemp("reported")
    data = write_class_folders(work / "photos", count=14)
    given = {"size": (24, 16), "epochs": 1, "learning_rate": 1e-5, "experiments": work / "experiments"}
    with nothing_drawn():
        run = trainkit.train(data, settings=AUGMENTATION, **given)
    assert trainkit.report(run, exported=work / "exported") == run.path / "report.html"
    return run


def page_of(run: Run) -> str:
    return (run.path / "report.html").read_text(encoding="utf-8")


def test_page_tells_everything(reported: Run) -> None:
    page = page_of(reported)
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == [
        "Summary",
        "Learning curves",
        "Confusion matrix",
        "Reliability",
        "Classes",
        "What a threshold costs",
        "Most often confused",
        "Most confident mistakes",
        "Why it was right",
        "Samples of each class",
        "Augmentation",
        "Filters of the first layer",
        "The image's way through the layers",
        "Settings",
        "Preprocessing",
        "Environment",
    ]
    assert "Time an epoch" in page and "Learning rate" in page
    assert '<th scope="row">classes</th><td class="text">Dense</td>' in page
    assert re.search(r"<dt>augmentation\.rotation_range</dt><dd[^>]*>30</dd>", page)
    assert "<figcaption>original</figcaption>" in page and "<figcaption>epoch 11</figcaption>" in page


def test_confused_pairs_have_their_pictures(reported: Run, tmp_path: Path) -> None:
    findings = find_out(reported, tmp_path)
    matrix, names = findings.figures["confusion_matrix"], reported.class_names
    counts = [pair.count for pair in findings.confusions]
    assert counts == sorted(counts, reverse=True)
    for pair in findings.confusions:
        row = matrix[names.index(pair.truth)]
        assert pair.count == row[names.index(pair.predicted)] and pair.share == pair.count / sum(row)
        assert len(pair.mistakes) == min(6, pair.count)
        assert {(one.truth, one.predicted) for one in pair.mistakes} == {(pair.truth, pair.predicted)}
        confidences = [one.confidence for one in pair.mistakes]
        assert confidences == sorted(confidences, reverse=True)
    assert sum(counts) == findings.mistakes_in_all, "of three classes all pairs"
    page = page_of(reported)
    for pair in findings.confusions:
        assert f'{pair.truth}</span> → <span class="wrong" dir="auto">{pair.predicted}</span></h3>' in page


def test_page_has_the_mean_of_the_classes(reported: Run) -> None:
    figures = trainkit.evaluate(reported)
    means = [sum(row[key] for row in figures["classes"]) / 3 for key in ("precision", "recall", "f1")]
    written = r"\s*".join(f"<td>{mean:.1%}</td>" for mean in means)
    page = page_of(reported)
    assert re.search(rf"Mean of 3 classes</th>\s*{written}", page)
    assert re.search(rf"<dt>Balanced accuracy</dt><dd>{means[1]:.1%}", page)
    assert re.search(rf"<dt>Mean F1</dt><dd>{means[2]:.1%}", page)


def test_class_without_images_is_not_in_the_mean(reported: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(reported.path, tmp_path / reported.name))
    row = {"precision": 0.5, "recall": 1.0, "f1": 0.75, "images": 4}
    classes = [{"label": "blue", **row}, {"label": "green", **row}, {"label": "red", **dict.fromkeys(row, 0)}]
    run.set_result(classes=classes, confusion_matrix=[[4, 0, 0], [0, 4, 0], [0, 0, 0]])
    page = write_report(run.path).read_text(encoding="utf-8")
    assert re.search(r"Mean of 2 classes</th>\s*<td>50.0%</td><td>100.0%</td><td>75.0%</td>", page)
    assert "1 without images are not in the mean" in page


def test_mistakes_are_drawn_with_the_names_of_their_files(reported: Run, tmp_path: Path) -> None:
    figures = dict(_draw(reported, find_out(reported, tmp_path)))
    texts = [text.get_text() for text in figures["mistakes.png"].axes[0].texts]
    assert texts and all(re.fullmatch(r"\w+\n→ \w+\n[\d.]+%\n\w+-\d+\.png", text) for text in texts), texts
    captions = [text.get_text() for text in figures["augmentation.png"].axes[0].texts]
    assert captions == ["original", *(f"epoch {number}" for number in range(1, 12))]


def test_layers_are_folded_where_there_are_many(reported: Run, tmp_path: Path) -> None:
    assert page_of(reported).count('<details class="block" open>') == 3
    layers = trainkit.shapes("mobilenet").layers
    page = write_report(reported.path, Findings(layers=layers)).read_text(encoding="utf-8")
    assert page.count('<details class="block">') == 15
    assert page.count('<th scope="row">conv_') == sum(one.name.startswith("conv_") for one in layers)


def test_old_run_is_reported(tmp_path: Path) -> None:
    run = Run(shutil.copytree(OLD_RUN, tmp_path / "20260101-000000-old"))
    trainkit.report(run, exported=tmp_path)
    page = page_of(run)
    assert "What a threshold costs" in page and "Mean of 10 classes" in page and "more, as they come" in page
    assert (run.path / "roc.png").is_file()


def test_page_loads_nothing(reported: Run) -> None:
    links = re.findall(r'(?:src|href)="(.*?)"', page_of(reported))
    assert len(links) > 30 and all(link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"<script|@import|url\((?!#)|https?:(?!//www.w3.org/)", page_of(reported))


def test_charts_and_pictures_lie_beside_it(reported: Run) -> None:
    assert sorted(path.name for path in reported.path.glob("*.png")) == PICTURES
    for name in PICTURES:
        with Image.open(reported.path / name) as picture:
            picture.load()
            assert min(picture.size) > 60, name


def test_figures_are_those_of_evaluate(reported: Run, tmp_path: Path) -> None:
    findings = find_out(reported, tmp_path)
    assert findings.notes == []
    assert findings.figures == trainkit.evaluate(reported)
    wrong = sum(sum(row) - row[index] for index, row in enumerate(findings.figures["confusion_matrix"]))
    assert findings.mistakes_in_all == len(findings.mistakes) == wrong > 0
    confidences = [mistake.confidence for mistake in findings.mistakes]
    assert confidences == sorted(confidences, reverse=True)
    for mistake in findings.mistakes:
        assert mistake.truth != mistake.predicted
        assert mistake.file is not None and mistake.file.startswith(f"{mistake.truth}/{mistake.truth}-")
    assert [sample.class_name for sample in findings.samples] == ["blue", "green", "red"]
    for channel, sample in enumerate(findings.samples):  # each class is mostly of its colour, BGR
        assert all(picture.mean(axis=(0, 1)).argmax() == channel for picture in sample.pictures)
    assert len(findings.augmentation) == 12


def test_export_is_told_with_agreement_and_latency(trained_run: Run, tiny_bundle: Path, tmp_path: Path) -> None:
    findings = find_out(trained_run, tiny_bundle.parent)
    (export,) = findings.exports
    assert export.name == tiny_bundle.name
    assert all(agreement["top1_agreement"] == 1 for agreement in export.verified.values())
    assert export.milliseconds["opencv"] > 0
    assert find_out(trained_run, tmp_path).exports == []
    assert findings.augmentation == []  # it trained on the images as they were


def test_images_that_have_gone_are_a_note(reported: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(reported.path, tmp_path / "experiments" / reported.name))
    config = (run.path / "config.toml").read_text(encoding="utf-8")
    (run.path / "config.toml").write_text(config.replace("photos", "gone"), encoding="utf-8")
    trainkit.report(run, exported=tmp_path)
    page = page_of(run)
    assert "are no longer at" in page
    assert "Confusion matrix" in page and "way through the layers" in page  # what training left, and the model
    assert "Most confident mistakes" not in page and "Samples" not in page
    assert sorted(path.name for path in run.path.glob("*.png")) == PICTURES_WITHOUT_IMAGES


def test_other_pictures_in_a_run_are_left_alone(reported: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(reported.path, tmp_path / reported.name))
    shutil.copy(run.path / "samples.png", run.path / "mine.png")
    run.model_path.unlink()
    trainkit.report(run, exported=tmp_path)
    assert sorted(path.name for path in run.path.glob("*.png")) == PICTURES_WITHOUT_MODEL


def test_model_that_has_gone_is_a_note(reported: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(reported.path, tmp_path / reported.name))
    run.model_path.unlink()
    trainkit.report(run, exported=tmp_path)
    page = page_of(run)
    assert "model.keras is missing or was changed" in page
    assert "Samples of each class" in page and "way through the layers" not in page


def test_report_of_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No run nothing"):
        trainkit.report("nothing", experiments=tmp_path)


def test_report_that_cannot_be_written(reported: Run, tmp_path: Path) -> None:
    run = Run(shutil.copytree(reported.path, tmp_path / reported.name))
    (run.path / "report.html").unlink()
    (run.path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html"):
        trainkit.report(run, exported=tmp_path)


@pytest.mark.slow
def test_report_of_images_with_several_labels(tmp_path: Path) -> None:
    data = write_class_folders(tmp_path / "photos", count=14)
    rows = [
        f"{path.relative_to(tmp_path)},{path.parent.name}{'|even' if number % 2 else ''}"
        for number, path in enumerate(sorted(data.rglob("*.png")))
    ]
    (tmp_path / "table.csv").write_text("image,label\n" + "\n".join(rows), encoding="utf-8")
    run = trainkit.train(
        tmp_path / "table.csv", size=(24, 16), epochs=1, learning_rate=1e-5, experiments=tmp_path / "experiments"
    )
    trainkit.report(run, exported=tmp_path)
    page = page_of(run)
    assert "Confusion matrix" not in page and "Most often confused" not in page
    assert "Reliability" in page and "Most confident mistakes" in page and "What a threshold costs" in page
    assert find_out(run, tmp_path).figures == trainkit.evaluate(run)


@pytest.mark.slow
def test_command_names_what_it_wrote(reported: Run) -> None:
    place = ["--experiments", str(reported.path.parent), "--json"]
    command = [sys.executable, "-m", "trainkit", "report", reported.name, *place]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    document = json.loads(done.stdout)
    assert document["report"] == str(reported.path / "report.html")
    assert [Path(path).name for path in document["pictures"]] == PICTURES
