"""From a run to its whole report: what its model makes of its images, what it is made of, and where it went."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from trainkit._progress import doing
from trainkit.bundles._choices import choices_in_words
from trainkit.bundles._find import EXPORTED
from trainkit.bundles._manifest import read_manifest
from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._dataset import Dataset, Part
from trainkit.errors import DataError, OutputError, TrainkitError
from trainkit.files import check_writable, remove_leftovers
from trainkit.reports._answers import Answers, judge, most_confused, name_classes
from trainkit.reports._augmentations import captions, tiles
from trainkit.reports._explanations import choose_right_answers, explain_mistakes, open_reasons
from trainkit.reports._findings import Confusion, ExportFigures, Findings, Mistake, Samples
from trainkit.reports._page import MOST_CONFUSED, write_report
from trainkit.reports._pictures import SIDE, compose, filter_pictures, thumbnail
from trainkit.reports._plots import (
    confusion_figure,
    curves_figure,
    epoch_times_figure,
    mosaic_figure,
    reliability_figure,
    save_figure,
    shorten,
    trade_off_figures,
)
from trainkit.reports._trade_offs import measure_trade_offs
from trainkit.runs._calibration import measure_reliability
from trainkit.runs._figures import has_several_labels
from trainkit.runs._run import EXPERIMENTS, Run, find_run

_MOST_MISTAKES = 24
_MOST_OF_A_CONFUSION, _CONFUSED_SIDE = 6, 112  # pictures; pixels
_MOST_SAMPLES, _MOST_OF_A_CLASS, _MOST_SAMPLED_CLASSES = 120, 8, 60
_EPOCHS_SHOWN, _AUGMENTED_SIDE = 11, 256  # of one image; pixels
_CAPTION = 17  # letters of a name below a picture: more would run into the next one's
_BENCH_SECONDS = 2.0  # of all bundles together
_PICTURES = (
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
)

log = logging.getLogger("trainkit")


def report(run: str | Path | Run, *, experiments: str | Path = EXPERIMENTS, exported: str | Path = EXPORTED) -> Path:
    """Write a run's whole `report.html`, and its charts and pictures as PNG files beside it.

    What cannot be had is left out, and the page says why: the images may have gone, the model may never have been
    saved, the data may have no part for testing.

    Args:
        run: a `Run`, its path, its name, or `latest`.
        experiments: the folder of runs.
        exported: the folder of bundles, where those of the run are looked for.

    Returns:
        The path of the page.

    Raises:
        RunError: there is no such run, or its files cannot be read.
        OutputError: the folder cannot be written.
    """
    found = find_run(run, Path(experiments))
    check_writable(found.path)
    if not found.is_training():
        remove_leftovers(found.path)  # of a process that was killed while it drew
    findings = find_out(found, Path(exported))
    for note in findings.notes:
        log.warning("Left out of the page: %s", note)
    _draw_pictures(found, findings)
    with doing("Writing the page"):
        return write_report(found.path, findings)


def find_out(run: Run, exported: Path) -> Findings:
    """Let a run's model look at its images again, and collect everything that the page tells."""
    notes: list[str] = []
    parts: dict[str, Any] = {}
    model: Any = None
    dataset: Dataset | None = None
    with _noting(notes):
        model = _load_model(run)
        parts |= _describe_network(model, run)
    with _noting(notes):
        dataset = run.load_data()
        run.check_classes(dataset)
        parts["images"] = {side: len(part) for side, part in dataset.parts.items()}
        with doing("Choosing pictures of each class"):
            parts["samples"] = _choose_samples(dataset)
            parts["augmentation"] = _draw_augmentations(run, dataset.parts["train"])
    if model is not None and "samples" in parts and dataset is not None:
        with _noting(notes):
            parts |= _predict(run, model, dataset, notes)
    parts["exports"] = _find_exports(run, exported, notes)
    return Findings(notes=list(dict.fromkeys(notes)), **parts)


@contextmanager
def _noting(notes: list[str]) -> Iterator[None]:
    """Note down what the world lacks, and go on with the rest of the page."""
    try:
        yield
    except TrainkitError as error:
        notes.append(str(error))


def _load_model(run: Run) -> Any:
    run.check_usable()

    from trainkit.models._outputs import check_outputs, load_keras_model

    model = load_keras_model(run.model_path)
    check_outputs(model, run.class_names)
    return model


def _describe_network(model: Any, run: Run) -> dict[str, Any]:
    from trainkit.models._summary import trace_shapes

    preprocessing = run.preprocessing
    return {
        "layers": trace_shapes(model, input_shape=preprocessing.shape),
        "filters": filter_pictures(model, preprocessing.color),
    }


def _predict(run: Run, model: Any, dataset: Dataset, notes: list[str]) -> dict[str, Any]:
    """Return figures, reliability, mistakes and right answers of the part for testing.

    Raises:
        DataError: there is none, or an image cannot be read any more.
    """
    from trainkit.data._pipeline import read_pixels
    from trainkit.models._outputs import class_probabilities
    from trainkit.runs._evaluation import measure, predict_pixels

    side = dataset.test_split
    if side is None:
        raise DataError(
            f"The data of {run.name} has neither a test nor a validation part, so there is nothing to measure the "
            "model on. Train with --validation 0.1."
        )
    part, names = dataset.parts[side], dataset.class_names
    pixels = read_pixels(part, run.preprocessing)
    output = predict_pixels(model, pixels, run.preprocessing, text="Evaluating")
    probabilities = output if dataset.multi_label else class_probabilities(output)
    answers = judge(probabilities, part.labels)
    found: dict[str, Any] = {
        "figures": {"test_split": side, **measure(probabilities, part.labels, names)},
        "reliability": measure_reliability(answers.confidence.ravel(), answers.right.ravel()),
        "trade_offs": measure_trade_offs(probabilities, part.labels, names),
        "mistakes": _choose_mistakes(part, answers, names, Path(run.config["data"])),
        "mistakes_in_all": len(answers.mistakes()[0]),
    }
    found["confusions"] = _choose_confusions(part, answers, names, found["figures"], Path(run.config["data"]))
    with _noting(notes):
        found |= _explain(run, model, part, answers, found["mistakes"])
    return found


def _explain(run: Run, model: Any, part: Part, answers: Answers, mistakes: list[Mistake]) -> dict[str, Any]:
    """Return the mistakes again, each with its heat, and right answers with theirs."""
    data = Path(run.config["data"])
    reasons = open_reasons(model, run)
    return {
        "mistakes": explain_mistakes(reasons, part, answers, mistakes),
        "right_answers": choose_right_answers(
            reasons, part, answers, run.class_names, lambda index: _short(part.path(index), data)
        ),
    }


def _choose_mistakes(part: Part, answers: Answers, class_names: list[str], data: Path) -> list[Mistake]:
    positions = answers.mistakes()[0][:_MOST_MISTAKES]
    return [_mistake(part, answers, int(position), class_names, data) for position in positions]


def _mistake(
    part: Part, answers: Answers, position: int, class_names: list[str], data: Path, side: int = SIDE
) -> Mistake:
    return Mistake(
        picture=thumbnail(part.images[position], side),
        truth=name_classes(answers.truth[position], class_names),
        predicted=name_classes(answers.predicted[position], class_names),
        confidence=float(np.where(answers.right[position], -1.0, answers.confidence[position]).max()),
        file=_short(part.path(position), data),
    )


def _choose_confusions(
    part: Part, answers: Answers, class_names: list[str], figures: dict[str, Any], data: Path
) -> list[Confusion]:
    """Return the pairs of classes that were most often taken for each other; none with several labels an image."""
    matrix, surest = figures["confusion_matrix"], answers.mistakes()[0]
    confusions = []
    for row, column, count in most_confused(matrix, MOST_CONFUSED):
        of_pair = surest[answers.truth[surest, row] & answers.predicted[surest, column]][:_MOST_OF_A_CONFUSION]
        mistakes = [_mistake(part, answers, int(one), class_names, data, _CONFUSED_SIDE) for one in of_pair]
        names = {"truth": class_names[row], "predicted": class_names[column]}
        confusions.append(Confusion(**names, count=count, share=count / sum(matrix[row]), mistakes=mistakes))
    return confusions


def _short(path: Path | None, data: Path) -> str | None:
    """Return a path as it is written below the data, a folder or a table in it; of one elsewhere, its end."""
    if path is None:
        return None
    folder = data if data.is_dir() else data.parent
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else f"…/{path.parent.name}/{path.name}"


def _choose_samples(dataset: Dataset) -> list[Samples]:
    """Return training images of each class, spread over the part; of very many classes only some."""
    part, count = dataset.parts["train"], len(dataset.class_names)
    classes = np.linspace(0, count - 1, min(count, _MOST_SAMPLED_CLASSES)).round().astype(int)
    each = min(_MOST_OF_A_CLASS, max(1, _MOST_SAMPLES // len(classes)))
    samples = []
    for index in classes:
        members = np.flatnonzero(part.labels[:, index] if part.labels.ndim == 2 else part.labels == index)
        chosen = members[np.linspace(0, len(members) - 1, min(each, len(members))).round().astype(int)]
        pictures = [thumbnail(part.images[int(position)]) for position in chosen]
        samples.append(Samples(class_name=dataset.class_names[index], pictures=pictures))
    return samples


def _draw_augmentations(run: Run, part: Part) -> list[np.ndarray]:
    """Return an image and what the first epochs made of it; nothing where a run left its images as they were."""
    augmentation, config = Augmentation(**run.config.section("augmentation")), run.config
    count = _EPOCHS_SHOWN
    if config.training.plain_epochs:
        phases = [row.get("phase") for row in run.metrics]
        of_head = phases.index("fine-tuning") if "fine-tuning" in phases else config.training.epochs
        planned = config.planned_epochs - config.training.epochs + of_head
        count = min(count, planned - config.training.plain_epochs)
    if count < 1 or not (augmentation.moves_pixels or augmentation.mixes):
        return []
    seed = config.training.seed
    pictures = tiles(part, run.preprocessing, augmentation, index=len(part) // 2, count=count, seed=seed)
    return [thumbnail(picture, _AUGMENTED_SIDE) for picture in pictures]


def _find_exports(run: Run, exported: Path, notes: list[str]) -> list[ExportFigures]:
    """Return the figures of each bundle that was made of a run; a damaged one is left out."""
    found = []
    for path in sorted(exported.glob("[!.]*/manifest.json")):
        try:
            manifest = read_manifest(path)
        except TrainkitError:
            continue  # whose it is cannot be told
        if manifest.get("source", {}).get("run") == run.name:
            found.append((path.parent, manifest))
    return [
        ExportFigures(
            name=folder.name,
            format=manifest["model"]["format"],
            minimum=manifest["opencv"]["minimum"],
            verified=manifest["opencv"].get("verified", {}),
            milliseconds=_measure_latency(folder, run, _BENCH_SECONDS / len(found), notes),
            choices=choices_in_words(manifest),
        )
        for folder, manifest in found
    ]


def _measure_latency(bundle: Path, run: Run, seconds: float, notes: list[str]) -> dict[str, float]:
    from trainkit.backend import tf
    from trainkit.bundles._bench import bench

    threads = tf.config.threading.get_intra_op_parallelism_threads() or None  # those that TensorFlow runs with already
    with _noting(notes):
        measured = bench(bundle, batches=[1], threads=threads, seconds=seconds, experiments=run.path.parent)
        return {runtime: figures[1] for runtime, figures in measured.milliseconds.items()}
    return {}


def _draw_pictures(run: Run, findings: Findings) -> None:
    """Write what the page shows as PNG files, and take away those of an earlier page that this one has nothing for."""
    left = set(_PICTURES)
    for name, figure in _draw(run, findings):
        with doing(f"Drawing {name}"):
            save_figure(figure, run.path / name)
        left.remove(name)
    for path in (run.path / name for name in left):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot remove {path}, of an earlier report: {error.strerror}.") from error


def _draw(run: Run, findings: Findings) -> Iterator[tuple[str, Figure]]:
    """Yield names from `_PICTURES` and charts; of what there is nothing, none."""
    confusion_matrix = {**run.result, **findings.figures}["confusion_matrix"]
    if run.metrics:
        several = has_several_labels(run.result)
        yield "curves.png", curves_figure(run.metrics, kept=run.result["best_epoch"], several=several)
        yield "epoch_times.png", epoch_times_figure(run.metrics)
    if confusion_matrix and len(confusion_matrix) == len(run.class_names):
        yield "confusion_matrix.png", confusion_figure(confusion_matrix, run.class_names)
    if findings.reliability:
        yield "reliability.png", reliability_figure(findings.reliability)
    if findings.trade_offs:
        yield from zip(("roc.png", "precision_recall.png"), trade_off_figures(findings.trade_offs), strict=True)
    if findings.mistakes:
        yield "mistakes.png", _mosaic(_in_rows([(one.picture, _caption(one)) for one in findings.mistakes], 6))
    if findings.samples:
        yield "samples.png", _mosaic([_captioned_once(one.pictures, one.class_name) for one in findings.samples])
    if findings.filters:
        yield "filters.png", _mosaic(_in_rows([(picture, "") for picture in findings.filters], 8), side=64)
    if findings.augmentation:
        yield "augmentation.png", _mosaic(_in_rows([*zip(findings.augmentation, captions(), strict=False)], 4))


Captioned = tuple[np.ndarray, str]


def _in_rows(captioned: list[Captioned], columns: int) -> list[list[Captioned]]:
    return [captioned[start : start + columns] for start in range(0, len(captioned), columns)]


def _caption(mistake: Mistake) -> str:
    truth, predicted = shorten(mistake.truth, _CAPTION), shorten(mistake.predicted, _CAPTION)
    lines = [truth, f"→ {predicted}", f"{mistake.confidence:.1%}"]
    return "\n".join([*lines, shorten(Path(mistake.file).name, _CAPTION)] if mistake.file else lines)


def _captioned_once(pictures: list[np.ndarray], caption: str) -> list[Captioned]:
    return [(picture, "" if position else shorten(caption)) for position, picture in enumerate(pictures)]


def _mosaic(rows: list[list[Captioned]], **size: int) -> Figure:
    return mosaic_figure(*compose(rows, **size))
