"""What a bundle takes from the validation images of its run: a temperature, when to say none of these, thresholds."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from trainkit._progress import counting_chunks
from trainkit.data._dataset import Dataset, Part
from trainkit.deploy.python._schema import is_number
from trainkit.deploy.python._values import PROBABILITY_TOLERANCE
from trainkit.errors import BundleError, DataError, UsageError
from trainkit.runs._evaluation import warn_of_other_images
from trainkit.runs._figures import side_in_words
from trainkit.runs._run import Run
from trainkit.runs._temperature import Scores, fit_temperature

if TYPE_CHECKING:
    from trainkit.bundles._exportable import Exportable
    from trainkit.exporting._tracing import Traced

_CHUNK = 256  # images held in memory at a time
_MIDDLE = 0.5  # from which probability on an image has a class, where nothing is chosen
_DIGITS = 6  # of a bound that is written
_NAMED = 10  # classes, in a sentence
_CALIBRATION = ("temperature", "images", "measured_images", "expected_error_before", "expected_error_after")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What is chosen on validation images; by default nothing.

    Raises:
        UsageError: the share of images that keep their answer is none.
    """

    calibrate: bool = False
    reject: float | None = None  # the share of the validation images that keep their answer
    thresholds: bool = False

    def __post_init__(self) -> None:
        """Check the share, and take it for a float."""
        share = self.reject
        if share is None:
            return
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 < share <= 1:
            raise UsageError(
                "`reject` must be the share of the validation images that keep their answer, above 0 and at most 1, "
                f"such as 0.95. Received: {share!r}"
            )
        object.__setattr__(self, "reject", float(share))

    def __bool__(self) -> bool:
        """Whether anything is to be chosen."""
        return bool(self.options())

    def options(self) -> list[str]:
        """Return the names of the options that were given."""
        given = {"--calibrate": self.calibrate, "--reject": self.reject is not None, "--thresholds": self.thresholds}
        return [name for name, is_given in given.items() if is_given]


def held_out_for(choices: Choices, run: Run, dataset: Dataset | None) -> dict[str, Part]:
    """Return the validation images of a run, and its test images where there are such.

    Args:
        choices: what is chosen on them.
        run: a finished one.
        dataset: its data, `None` where it has gone.

    Raises:
        DataError: there are no validation images, or they are no longer of the classes of the run.
        UsageError: a choice means nothing for what the run tells apart.
    """
    named = " and ".join(choices.options())
    if dataset is None:
        raise DataError(
            f"{named}: chosen on the validation images of {run.name}, which are no longer at {run.config['data']}. Put "
            f"them back there, or leave out {named}."
        )
    run.check_classes(dataset)
    _check_meaning(choices, several=dataset.multi_label, name=run.name)
    if not len(dataset.parts.get("val", ())):
        raise DataError(
            f"{named}: chosen on validation images, and {run.name} has none. What a network was trained on does not "
            f"tell how sure it may be. Train with --validation 0.1, or leave out {named}."
        )
    warn_of_other_images(run, dataset)
    return {side: dataset.parts[side] for side in ("val", "test") if len(dataset.parts.get(side, ()))}


def _check_meaning(choices: Choices, *, several: bool, name: str) -> None:
    if choices.reject is not None and several:
        raise UsageError(
            f"--reject is for one class an image. {name} may give an image several, or none, each by its own "
            "threshold: take --thresholds."
        )
    if choices.thresholds and not several:
        raise UsageError(
            f"--thresholds is for several labels an image. {name} gives one class to each: the likeliest. To have it "
            "say that it is none of these, take --reject 0.95."
        )


def choose(exportable: Exportable, traced: Traced) -> tuple[Exportable, Traced]:
    """Make the choices of an `Exportable`; return it with what was chosen, and its model with its temperature.

    Raises:
        DataError: a validation image cannot be read any more.
        UsageError: a choice means nothing for such a model.
    """
    choices = exportable.choices
    if not choices:
        return exportable, traced
    _check_meaning(choices, several=traced.multi_label, name=f"The model {traced.model.name}")
    scores, temperature, chosen = _score(exportable, traced, "val"), 1.0, {}
    if choices.calibrate:
        temperature = fit_temperature(scores)
        judged = "test" if "test" in exportable.held_out else "val"
        seen = scores if judged == "val" else _score(exportable, traced, judged)
        chosen["calibration"] = _describe(temperature, len(scores.labels), judged, seen)
    probabilities = scores.probabilities(temperature).astype(np.float32)
    if choices.reject is not None:
        bound = choose_bound(probabilities.max(axis=1), choices.reject)
        kept = float((probabilities.max(axis=1) >= np.float32(bound)).mean())
        exportable = replace(exportable, reject_below=bound)
        chosen["rejection"] = {"asked": choices.reject, "kept": round(kept, _DIGITS), "images": len(probabilities)}
    if choices.thresholds:
        exportable = replace(exportable, thresholds=choose_thresholds(probabilities, scores.labels))
    return replace(exportable, chosen=chosen), traced.calibrated(temperature)


def _score(exportable: Exportable, traced: Traced, side: str) -> Scores:
    """Let the Keras model answer the images of a side."""
    from trainkit.data._pipeline import read_pixels

    part, preprocessing = exportable.held_out[side], exportable.preprocessing
    pixels = read_pixels(part, preprocessing)
    chunks = counting_chunks(len(part), _CHUNK, f"Answering the {side_in_words(side)} images")
    rows = [traced.scores(traced.predict(preprocessing.to_input(pixels[start : start + _CHUNK]))) for start in chunks]
    labels = np.eye(traced.classes)[part.labels] if traced.multi_label and part.labels.ndim == 1 else part.labels
    return Scores(logits=np.concatenate(rows), labels=labels, kind=traced.kind)


def _describe(temperature: float, images: int, side: str, seen: Scores) -> dict[str, Any]:
    """Return `extra.calibration` of a manifest."""
    return {
        "temperature": temperature,
        "images": images,
        "measured_on": side,
        "measured_images": len(seen.labels),
        "expected_error_before": round(seen.expected_error(), _DIGITS),
        "expected_error_after": round(seen.expected_error(temperature), _DIGITS),
    }


def choose_bound(confidence: np.ndarray, share: float) -> float:
    """Return the confidence below which an answer is none of these, so that at least a share of answers is kept.

    It lies a little below that of the least sure answer that is kept, so that no runtime's rounding decides.

    Args:
        confidence: of each answer, float32 `(N,)`.
        share: above 0 and at most 1.
    """
    keep = max(1, math.ceil(share * len(confidence) - 1e-9))  # 0.07 * 100 is more than 7
    least = float(np.sort(confidence)[len(confidence) - keep])
    scale = 10**_DIGITS
    return float(max(math.floor((least - PROBABILITY_TOLERANCE) * scale), 1) / scale)


def choose_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> list[float]:
    """Return for each class the probability from which on it is given: that of the best F1, 2 TP / (2 TP + FP + FN).

    All thresholds between two neighbouring probabilities are equally good: it is 0.5 where that is one of the best,
    else the middle between the two. Of several such middles it is the one nearest to 0.5, the greater one of two. A
    class that no image has keeps 0.5.

    Args:
        probabilities: float32 `(N, classes)`.
        labels: 0 and 1, `(N, classes)`.
    """
    return [
        _best_threshold(column, truth) for column, truth in zip(probabilities.T, labels.T.astype(bool), strict=True)
    ]


def _best_threshold(probabilities: np.ndarray, truth: np.ndarray) -> float:
    if not truth.any():
        return _MIDDLE
    upper, first, counts = np.unique(-probabilities, return_inverse=True, return_counts=True)
    upper = -upper  # the values that occur, the greatest first: a threshold takes all that are not below one of them
    hits, taken = np.cumsum(np.bincount(first, truth)), np.cumsum(counts)
    scores = 2 * hits / (taken + truth.sum())
    lower = np.append(upper[1:], np.float32(0))
    scores = scores[upper > 0]  # no threshold takes what has the probability 0
    if not len(scores):
        return _MIDDLE
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return min((_between(float(lower[at]), float(upper[at])) for at in best), key=_distance)


def _distance(threshold: float) -> tuple[float, float]:
    return abs(threshold - _MIDDLE), -threshold


def _between(low: float, high: float) -> float:
    """Return 0.5 or the middle of two float32, above the first and not above the second, in float32 too."""
    if low < _MIDDLE <= high:
        return _MIDDLE
    middle = (low + high) / 2
    short = round(middle, _DIGITS)
    fitting = [value for value in (short, middle, high) if low < np.float32(value) <= high and 0 < value < 1]
    return fitting[0] if fitting else float(np.nextafter(1.0, 0.0))


def temperature_of(manifest: dict[str, Any], folder: str | os.PathLike[str]) -> float:
    """Return the temperature that is in the graph of a bundle; 1 where it was not calibrated.

    Raises:
        BundleError: the manifest says one that is none.
    """
    calibration = manifest.get("extra", {}).get("calibration")
    if calibration is None:
        return 1.0
    temperature: Any = calibration.get("temperature") if isinstance(calibration, dict) else calibration
    if not is_number(temperature) or temperature <= 0:
        raise BundleError(
            f"The manifest of {folder} is damaged: `extra.calibration.temperature` must be a number above 0. Received: "
            f"{temperature!r}. Export it again."
        )
    return float(temperature)


def choices_in_words(manifest: dict[str, Any]) -> list[str]:
    """Return what was chosen on validation images for a bundle, in sentences; mostly nothing.

    What `extra` of a manifest says otherwise than an export does is passed over.
    """
    extra, output = manifest.get("extra", {}), manifest["output"]
    lines: list[str] = []
    if _has_numbers(calibration := extra.get("calibration"), *_CALIBRATION):
        lines += _calibration_in_words(calibration)
    if "reject_below" in output and _has_numbers(found := extra.get("rejection"), "kept", "images"):
        lines.append(
            f"None of these below {output['reject_below']:g}: {found['kept']:.1%} of {found['images']:,} validation "
            "images keep their answer."
        )
    if "thresholds" in output:
        pairs = [f"{name} {at:.4g}" for name, at in zip(output["class_names"], output["thresholds"], strict=True)]
        more = f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else ""
        lines.append(f"Thresholds: {', '.join(pairs[:_NAMED])}{more}.")
    return lines


def _has_numbers(section: Any, *keys: str) -> bool:
    return isinstance(section, dict) and all(is_number(section.get(key)) for key in keys)


def _calibration_in_words(found: dict[str, Any]) -> list[str]:
    images, seen = f"{found['images']:,} validation images", f"{found['measured_images']:,} test images"
    where = seen if found.get("measured_on") == "test" else "the same images"
    before, after = f"{found['expected_error_before']:.4f}", f"{found['expected_error_after']:.4f}"
    error = f"Expected calibration error on {where}: {before}"
    if found["temperature"] == 1:
        return [f"Temperature 1: {images} do not prove that another is better.", f"{error}."]
    return [f"Temperature {found['temperature']:.4g}, fitted on {images}.", f"{error} before, {after} after."]
