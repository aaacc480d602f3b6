"""How good a run or a bundle is: on its own images for testing, or on all images of other data."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import counting
from trainkit.bundles._find import EXPORTED, find_manifest
from trainkit.bundles._folder import Bundle
from trainkit.bundles._others import load_others, measure_others
from trainkit.data._dataset import Dataset, Part
from trainkit.data._reading import AS_NAMED, Reading
from trainkit.data._tables._sheets import naming
from trainkit.data._whole import WHOLE, load_whole
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._manifest import read_manifest
from trainkit.errors import BundleError, DataError, RunError, UsageError
from trainkit.files import scratch_folder
from trainkit.runs._evaluation import Answered, answer_as_run, answer_run, load_measured
from trainkit.runs._predictions import check_predictions_target, decide, save_predictions
from trainkit.runs._run import EXPERIMENTS, Run, find_run

STRANGE = "strange"  # what the side of others is called
_NAMED = 10  # classes, in a sentence

log = logging.getLogger("trainkit")


def evaluate(
    run: str | os.PathLike[str] | Run | Bundle,
    *,
    data: Any = None,
    class_names: Sequence[str] | None = None,
    reading: Reading | None = None,
    predictions: str | os.PathLike[str] | None = None,
    others: str | os.PathLike[str] | None = None,
    experiments: str | Path = EXPERIMENTS,
    exported: str | Path = EXPORTED,
) -> dict[str, Any]:
    """Measure a run's best weights on its test images again, or a run or a bundle on all images of other data.

    A bundle is run by OpenCV alone: TensorFlow is not loaded for it.

    Args:
        run: a `Run`, its path, its name, or `latest`; or, with `data` or `others`, a `Bundle`, its path, its name, or a
            manifest. A name that is both is the run's.
        data: whatever `trainkit.train` takes. All images are looked at, whatever side they are on; its classes are
            found among those of the model by their names.
        class_names: of arrays, in the order of their numbers.
        reading: how a folder or a table is read, where its names do not tell.
        predictions: a `.csv` file for a row an image, or a folder for the same as Parquet.
        others: strangers, images of none of the classes: a folder, of which all images are looked at, or a data set's
            name or file, of which the test images are. A bundle without `data` is held against the test images of its
            run.
        experiments: the folder of runs.
        exported: the folder of bundles.

    Returns:
        `test_accuracy`, `test_loss`, `test_split`, `classes` and `confusion_matrix`, as in `result.json`; `test_split`
        is `data` for other data. Of a bundle that may say none of these also `rejected`, the share of images of which
        it does, and `accepted_accuracy`, the share of the others that came out right. With `others` an object of that
        name: `images`, `auroc`, `reject_below`, `rejected` and `known_rejected`.

    Raises:
        RunError: there is no such run, or it is unfinished or damaged.
        BundleError: the bundle is damaged, or a detector.
        DataError: the data is not where it was, has no test or validation part, or classes that the model has not.
        OutputError: the predictions exist already or cannot be written.
        UsageError: it is a bundle, and there is no data; or an argument means nothing.
    """
    if predictions is not None:
        check_predictions_target(Path(predictions))
    found = _find(run, Path(experiments), Path(exported), bundles=not (data is None and others is None))
    strangers = None if others is None else load_others(others)
    if data is None:
        if class_names is not None or reading not in (None, AS_NAMED):
            raise UsageError("How data is read, and what its classes are called, goes with --data, `data`: name it.")
        answered = _answer_own(found, Path(experiments), with_others=others is not None)
        return _finish(found, answered, predictions, strangers)
    with scratch_folder() as folder:
        dataset = load_whole(data, folder, reading=reading or AS_NAMED, class_names=class_names)
        for warning in dataset.warnings:
            log.warning(warning)
        return _finish(found, _answer_whole(found, dataset, data), predictions, strangers)


def _finish(
    found: Run | Path, answered: Answered, predictions: str | os.PathLike[str] | None, strangers: Part | None
) -> dict[str, Any]:
    if predictions is not None:
        save_predictions(answered.predictions(), Path(predictions))
    figures = {**answered.measure(), **_measure_rejected(answered)}
    if strangers is None:
        return figures
    strange = _answer_others(found, answered, strangers)
    return {**figures, "others": measure_others(answered.probabilities, strange, answered.output)}


def _measure_rejected(answered: Answered) -> dict[str, float | None]:
    """Return how many images are none of the classes, and how many of the others came out right."""
    if "reject_below" not in answered.output:
        return {}
    numbers = [chosen[0] if chosen else -1 for chosen in decide(answered.probabilities, answered.output)]
    accepted = np.array(numbers) >= 0
    right = (np.array(numbers) == answered.part.labels)[accepted]
    return {
        "rejected": float(1 - accepted.mean()),
        "accepted_accuracy": float(right.mean()) if accepted.any() else None,
    }


def _answer_others(found: Run | Path, answered: Answered, strangers: Part) -> np.ndarray:
    if isinstance(found, Run):
        several = answered.output.get("multi_label", False)
        return answer_as_run(found, strangers, STRANGE, multi_label=several).probabilities
    return _answer_by_opencv(Classifier(found), strangers)


def _find(
    run: str | os.PathLike[str] | Run | Bundle, experiments: Path, exported: Path, *, bundles: bool
) -> Run | Path:
    """Return a run, or the manifest or folder of a bundle.

    Raises:
        RunError: there is neither.
    """
    if isinstance(run, (Run, Bundle)):
        return run if isinstance(run, Run) else run.path
    try:
        bundle = find_manifest(run, exported)
    except BundleError:
        return _find_run(run, experiments, f" Nor is there such a bundle in {exported}." if bundles else "")
    try:
        found = find_run(run, experiments)
    except RunError:
        return bundle
    if bundles:
        log.warning("%s is the name of a run and of a bundle: the run is measured. The bundle is %s", run, bundle)
    return found


def _find_run(run: str | os.PathLike[str], experiments: Path, more: str) -> Run:
    try:
        return find_run(run, experiments)
    except RunError as error:
        raise RunError(f"{error}{more}") from error


def _answer_own(found: Run | Path, experiments: Path, *, with_others: bool) -> Answered:
    if isinstance(found, Run):
        return answer_run(found)
    manifest = _classifying(found)
    source = manifest.get("source", {}).get("run")
    run_is_there = bool(source) and (experiments / str(source) / "config.toml").is_file()
    if run_is_there and with_others:
        return _answer_as_bundle(found, manifest, find_run(experiments / str(source)))
    there = f" The run that it came from has images of its own: `trainkit evaluate {source}`." if run_is_there else ""
    raise UsageError(f"{found} is a bundle, which has no images: name them with --data.{there}")


def _answer_as_bundle(found: Path, manifest: dict[str, Any], run: Run) -> Answered:
    """Let a bundle answer the test images of its run.

    Raises:
        BundleError: the run has other classes.
    """
    dataset, output = load_measured(run), manifest["output"]
    if list(output["class_names"]) != dataset.class_names:
        raise BundleError(f"The classes of {found} are not those of the run {run.name}. Name images with --data.")
    side = str(dataset.test_split)
    return _answered(found, dataset.parts[side], side, output)


def _classifying(found: Path) -> dict[str, Any]:
    """Return the manifest of a classifier.

    Raises:
        BundleError: it is that of a detector.
    """
    manifest = read_manifest(found)
    if manifest["output"]["kind"] == "ssd":
        raise BundleError(
            f"{found} is a detector, which finds objects: evaluate measures classifiers. `trainkit detect` "
            "shows what it finds."
        )
    return manifest


def _answered(found: Path, part: Part, side: str, output: dict[str, Any]) -> Answered:
    return Answered(
        side=side,
        part=part,
        probabilities=_answer_by_opencv(Classifier(found), part),
        class_names=list(output["class_names"]),
        output=output,
    )


def _answer_whole(found: Run | Path, dataset: Dataset, data: Any) -> Answered:
    if isinstance(found, Run):
        found.check_usable()
        _warn_of_own_data(found, data)
        several = _has_several_labels(found)
        part = match_classes(dataset, found.class_names, multi_label=several, name=found.name)
        return answer_as_run(found, part, WHOLE, multi_label=several)
    output = _classifying(found)["output"]
    several = output.get("multi_label", False)
    part = match_classes(dataset, output["class_names"], multi_label=several, name=str(found))
    return _answered(found, part, WHOLE, output)


def _warn_of_own_data(run: Run, data: Any) -> None:
    own = run.config.data
    if isinstance(data, (str, os.PathLike)) and (str(data) == own or Path(data).absolute() == Path(own)):
        log.warning("%s was trained on images of %s: those it may have learned by heart.", run.name, data)


def _has_several_labels(run: Run) -> bool:
    """Whether an image of a run may have several labels: then there is no confusion matrix beside its figures."""
    result = run.result
    return not result["confusion_matrix"] if result["classes"] else run.load_data().multi_label


def _answer_by_opencv(client: Classifier, part: Part) -> np.ndarray:
    rows = [client.probabilities(part.images[index]) for index in counting(range(len(part)), "Evaluating")]
    return np.stack(rows)


def match_classes(dataset: Dataset, class_names: Sequence[str], *, multi_label: bool, name: str) -> Part:
    """Return the images of a data set with the numbers that a model has for their classes, found by their names.

    Args:
        dataset: as `load_whole` gives it.
        class_names: of the model.
        multi_label: whether its images may have several labels. Where each image of the data has one, it has no other.
        name: what the model is called in a sentence.

    Raises:
        DataError: images are of classes that the model does not have, or have several labels, and it gives one.
    """
    part = dataset.parts[WHOLE]
    if dataset.multi_label and not multi_label:
        raise DataError(
            f"The images of {dataset.name} have several labels, and {name} gives one to each. Expected images with one."
        )
    numbers_there = np.flatnonzero(part.labels.any(axis=0)) if part.labels.ndim == 2 else np.unique(part.labels)
    there = np.isin(np.arange(len(dataset.class_names)), numbers_there)
    used = [one for one, has_images in zip(dataset.class_names, there, strict=True) if has_images]
    _check_known(used, class_names, dataset.name, name)
    if missing := [one for one in class_names if one not in set(used)]:
        log.warning(
            "%s has no image of %s: nothing is said of how many of these would be found.", dataset.name, _named(missing)
        )
    number_of = {one: number for number, one in enumerate(class_names)}
    numbers = np.array([number_of.get(one, -1) for one in dataset.class_names], np.int64)
    if not multi_label:
        return Part(part.images, numbers[part.labels])
    rows = part.labels if part.labels.ndim == 2 else np.eye(len(numbers), dtype=np.float32)[part.labels]
    labels = np.zeros((len(part), len(class_names)), np.float32)
    labels[:, numbers[there]] = rows[:, there]
    return Part(part.images, labels)


def _check_known(used: Sequence[str], class_names: Sequence[str], data: str, name: str) -> None:
    """Raise unless a model has each of these classes, and once.

    Raises:
        DataError: names those that it has not, or has twice.
    """
    known = set(class_names)
    if twice := [one for one in used if list(class_names).count(one) > 1]:
        raise DataError(
            f"{name} has several classes that are called {_named(twice)}: which one is meant, no name says."
        )
    strangers = [one for one in used if one not in known]
    if not strangers:
        return
    lower = {one.lower(): one for one in class_names}
    near = [lower[one] for one in get_close_matches(strangers[0].lower(), lower, n=1, cutoff=0.6)]
    hint = f" Is `{strangers[0]}` its `{near[0]}`?" if near else ""
    numbered = " Arrays call their classes by names where they have `class_names`." if _are_numbers(used) else ""
    raise DataError(
        f"{data} has images of classes that {name} does not have: {_named(strangers)}. It has: {_named(class_names)}."
        f"{hint} Call them as the model does, or leave them out.{numbered}"
    )


def _are_numbers(names: Sequence[str]) -> bool:
    return all(name.isdecimal() for name in names)


def _named(names: Sequence[str]) -> str:
    return naming((f"`{name}`" for name in names), most=_NAMED)
