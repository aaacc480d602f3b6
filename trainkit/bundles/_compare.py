"""The answers of an opened bundle beside those of its Keras model, image by image."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainkit._progress import counting_chunks, doing
from trainkit.bundles._agreement import (
    LOGIT_TOLERANCE,
    Agreement,
    Difference,
    build_agreement,
    compare_answers,
    max_difference,
    worst,
)
from trainkit.bundles._runtimes import Forward, open_logits, open_onnxruntime, open_runtimes, version_of_runtime
from trainkit.data._dataset import Part
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._values import PROBABILITY_TOLERANCE
from trainkit.errors import BundleError
from trainkit.files import scratch_folder
from trainkit.preprocessing import Preprocessing

if TYPE_CHECKING:
    from trainkit.exporting._tracing import Traced

_CHUNK = 256  # images held in memory at a time
_BATCHES = {"opencv": (1, 3, 8, 2), "onnxruntime": (32,)}
Answers = dict[str, np.ndarray]  # `probabilities` and `logits`, (N, classes)


def compare(client: Classifier, traced: Traced, part: Part, preprocessing: Preprocessing) -> Agreement:
    """Compare an opened bundle with a Keras model on the images of a part.

    Args:
        client: the bundle.
        traced: the model that it came from, behind what the blob leaves over of the preprocessing.
        part: the images.
        preprocessing: how they become the model's input.
    """
    if traced.classes != len(client.class_names):
        raise BundleError(
            f"The Keras model has {traced.classes} classes; the bundle has {len(client.class_names)} class names."
        )
    with scratch_folder() as folder:
        with doing("Opening the bundle in OpenCV and onnxruntime"):
            runtimes = _open(client, folder)
        chunks = list(_answer(client, traced, part, preprocessing, runtimes))
    expected = _joined([chunk.expected for chunk in chunks])
    differences = {
        name: compare_answers(version_of_runtime(name), expected, _joined([chunk.actual[name] for chunk in chunks]))
        for name in runtimes
    }
    return build_agreement(
        {"keras": _keras_itself(), **differences},
        images=len(part),
        max_abs_pixel_difference=worst(chunk.pixel_difference for chunk in chunks),
        yardstick=_yardstick(differences, traced, chunks[0]),
    )


def inputs_of(part: Part, preprocessing: Preprocessing, count: int = 64) -> np.ndarray:
    """Return the first images of a part as a model takes them, float32 (N, height, width, channels)."""
    return preprocessing.to_input(
        [preprocessing.to_pixels(part.images[index]) for index in range(min(count, len(part)))]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunk:
    """Some images: what Keras and every runtime answer."""

    expected: Answers
    actual: dict[str, Answers]  # by runtime
    pixel_difference: float  # training's tensor against the blob
    blob: np.ndarray | None  # of the first images only, for the yardstick


def _open(client: Classifier, folder: Path) -> dict[str, dict[str, Forward]]:
    """Return, by runtime and kind of output, what turns a blob into (N, classes)."""
    opened: dict[str, dict[str, Forward]] = defaultdict(dict)
    for kind, runtimes in {"probabilities": open_runtimes(client), "logits": open_logits(client, folder)}.items():
        for name, forward in runtimes.items():
            opened[name][kind] = in_batches(forward, _BATCHES[name])
    return opened


def _answer(
    client: Classifier,
    traced: Traced,
    part: Part,
    preprocessing: Preprocessing,
    runtimes: dict[str, dict[str, Forward]],
) -> Iterator[_Chunk]:
    """Yield the answers to the images of a part, as many at a time as memory should hold."""
    for start in counting_chunks(len(part), _CHUNK, "Comparing with Keras"):
        images = [part.images[i] for i in range(start, min(start + _CHUNK, len(part)))]
        pixels = [preprocessing.to_pixels(image) for image in images]
        blob = client.to_blob(images)
        yield _Chunk(
            expected=traced.predict(preprocessing.to_input(pixels)),
            actual={name: {kind: run(blob) for kind, run in kinds.items()} for name, kinds in runtimes.items()},
            pixel_difference=max_difference(preprocessing.to_blob(pixels), blob),
            blob=blob if start == 0 else None,
        )


def in_batches(forward: Forward, batches: tuple[int, ...]) -> Forward:
    """Run images alone and several at a time, in turn, on one net: a graph may be right for the first size only."""

    def run(blob: np.ndarray) -> np.ndarray:
        ends = [0]
        for size in itertools.cycle(batches):
            ends.append(min(ends[-1] + size, len(blob)))
            if ends[-1] == len(blob):
                break
        return np.concatenate([forward(blob[start:end]) for start, end in itertools.pairwise(ends)])

    return run


def _joined(answers: list[Answers]) -> Answers:
    return {kind: np.concatenate([one[kind] for one in answers]) for kind in answers[0]}


def _yardstick(differences: dict[str, Difference], traced: Traced, first: _Chunk) -> Difference | None:
    """Return how far onnxruntime is from Keras; of a frozen graph, on its ONNX form, and only where that is needed."""
    within = differences["opencv"].within(PROBABILITY_TOLERANCE, LOGIT_TOLERANCE)
    if "onnxruntime" in differences or within or first.blob is None:
        return differences.get("onnxruntime")
    with doing("Measuring onnxruntime's own difference"):
        return _difference_of_onnx(traced, first.blob, first.expected)


def _difference_of_onnx(traced: Traced, blob: np.ndarray, expected: Answers) -> Difference:
    """Return how far onnxruntime is from Keras on the ONNX form of a graph, for the sake of its frozen form."""
    from trainkit.exporting._conversion import build_graph
    from trainkit.exporting._onnx_graph import save_logits_model, save_onnx

    with scratch_folder() as folder:
        paths = {"probabilities": folder / "model.onnx", "logits": folder / "logits.onnx"}
        save_onnx(build_graph(traced), traced.activation, paths["probabilities"], metadata={})
        save_logits_model(paths["probabilities"], paths["logits"])
        answers = {
            kind: in_batches(open_onnxruntime(path), _BATCHES["onnxruntime"])(blob) for kind, path in paths.items()
        }
    return compare_answers(version_of_runtime("onnxruntime"), expected, answers)


def _keras_itself() -> Difference:
    from trainkit.backend import keras

    return Difference(
        version=keras.__version__, top1_agreement=1.0, max_abs_difference=0.0, max_relative_logit_difference=0.0
    )
