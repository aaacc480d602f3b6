"""A bundle with small weights: on which images they are rounded, what they cost, and how a check brings them back."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from trainkit._progress import counting_chunks
from trainkit.data._dataset import Part, take_evenly
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._opencv import version_of
from trainkit.errors import BundleError, ExportError, UsageError, unknown
from trainkit.preprocessing import Preprocessing

if TYPE_CHECKING:
    from trainkit.bundles._exportable import Exportable
    from trainkit.exporting._graph import Graph
    from trainkit.exporting._small_weights._kernels import StoredKernel
    from trainkit.exporting._tracing import Traced

WEIGHTS = ("float32", "float16", "int8")
_ROUNDED_ON = 256  # images
_MEASURED_ON = 2000
_CHUNK = 16
_EPSILON = 1e-9  # by which a difference of two shares may be off
_MANIFEST_BYTES = 2000  # of what a file says about itself, beside the class names


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How weights are stored, and what that may cost.

    Raises:
        UsageError: there is no such way, or the tolerance is no share.
    """

    weights: str = "float32"
    tolerance: float = 0.005  # of the accuracy, or of the labels where no true ones are known

    def __post_init__(self) -> None:
        """Check both."""
        if self.weights not in WEIGHTS:
            raise unknown("weights_as", self.weights, WEIGHTS)
        share = self.tolerance
        if isinstance(share, bool) or not isinstance(share, Real) or not 0 <= share < 1:
            raise UsageError(
                "`tolerance` must be the share of the accuracy that small weights may cost, at least 0 and below 1, "
                f"such as 0.005. Received: {share!r}"
            )

    @property
    def is_small(self) -> bool:
        """Whether there is anything to be done."""
        return self.weights != "float32"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Small:
    """The graph of a model with small weights, and what they cost."""

    graph: Graph
    kernels: dict[str, StoredKernel]
    float_graph: Graph  # of the same model with its own weights
    measured: dict[str, Any]  # `extra.small_weights` of the manifest


@contextmanager
def shrunk(exportable: Exportable, traced: Traced, storage: Storage, *, broadcast: bool) -> Iterator[Small | None]:
    """Let a model have small weights while the block runs; yield nothing where they are to stay as they are.

    Raises:
        ExportError: they cost more than they may.
    """
    if not storage.is_small:
        yield None
        return
    from trainkit.exporting._small_weights._shrinking import shrink

    preprocessing = exportable.preprocessing
    names = len(json.dumps(exportable.class_names, ensure_ascii=False).encode())
    part = take_evenly([exportable.measured_images], _MEASURED_ON)
    before = _decide(traced, part, preprocessing, "Answering with the weights as they are")
    found = shrink(
        traced,
        storage.weights,
        _blobs(take_evenly([exportable.rounding_images], _ROUNDED_ON), preprocessing),
        broadcast=broadcast,
        other_bytes=2 * names + _MANIFEST_BYTES,
    )
    with found.held(traced) as (graph, kernels):
        if not kernels:
            raise ExportError(
                f"Small weights would save nothing for the model {traced.model.name}: those of each layer have few "
                "bytes, are shared, or are joined with those of another. Leave out --weights-as."
            )
        after = _decide(traced, part, preprocessing, f"Answering with weights of {storage.weights}")
        cost = _cost(exportable, part, before, after)
        _check_cost(cost, storage, traced.model.name)
        measured = {"weights": storage.weights, **cost}
        yield Small(graph=graph, kernels=kernels, float_graph=found.graph, measured=measured)


def _blobs(part: Part, preprocessing: Preprocessing) -> Iterator[np.ndarray]:
    for pixels in _pixels(part, preprocessing, "Measuring what comes into each layer"):
        yield preprocessing.to_blob(pixels)


def _pixels(part: Part, preprocessing: Preprocessing, text: str) -> Iterator[list[np.ndarray]]:
    for start in counting_chunks(len(part), _CHUNK, text):
        yield [preprocessing.to_pixels(part.images[i]) for i in range(start, min(start + _CHUNK, len(part)))]


def _decide(traced: Traced, part: Part, preprocessing: Preprocessing, text: str) -> np.ndarray:
    """Return the answers that Keras gives: a class for each image, or yes and no for each class."""
    found = [
        traced.predict(preprocessing.to_input(pixels))["probabilities"] for pixels in _pixels(part, preprocessing, text)
    ]
    probabilities = np.concatenate(found)
    return probabilities > 0.5 if traced.multi_label else probabilities.argmax(1)


def _cost(exportable: Exportable, part: Part, before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    """Return the measured loss, as the manifest has it."""
    cost: dict[str, Any] = {
        "images": len(part),
        "measured_on": exportable.measured_on,
        "top1_agreement": float((before == after).mean()),
    }
    if exportable.measured_labels:
        labels = part.labels.astype(before.dtype)
        cost |= {
            "accuracy_before": float((before == labels).mean()),
            "accuracy_after": float((after == labels).mean()),
        }
    return cost


def _check_cost(cost: dict[str, Any], storage: Storage, name: str) -> None:
    labelled = "accuracy_after" in cost
    lost = cost["accuracy_before"] - cost["accuracy_after"] if labelled else 1 - cost["top1_agreement"]
    if lost <= storage.tolerance + _EPSILON or lost * cost["images"] < 1.5:  # one image is no measure
        return
    images = f"{cost['images']:,} {'validation ' if cost['measured_on'] == 'val' else ''}images"
    what = f"changes {lost:.2%} of the labels"
    if labelled:
        before, after = cost["accuracy_before"], cost["accuracy_after"]
        what = f"costs {lost:.4f} of the accuracy ({before:.4f} before, {after:.4f} after)"
    finer = {"int8": "Take --weights-as float16", "float16": "Leave out --weights-as"}[storage.weights]
    raise ExportError(
        f"To store the weights of the model {name} as {storage.weights} {what} on {images}, more than the tolerance of "
        f"{storage.tolerance:g}. So nothing was written. {finer}, or allow it: "
        f"--tolerance {math.ceil((lost - _EPSILON) * 1000) / 1000:g}"
    )


@contextmanager
def restored(client: Classifier, traced: Traced) -> Iterator[None]:
    """Let a model have the weights that a bundle's file brings back, while the block runs.

    Raises:
        BundleError: they were not rounded from those of this model.
    """
    manifest = client.manifest
    if manifest["model"].get("weights", "float32") == "float32":
        yield
        return
    from trainkit.exporting._conversion import BROADCASTS_SINCE
    from trainkit.exporting._small_weights._onnx import read_stored
    from trainkit.exporting._small_weights._shrinking import find_shrunk

    path = client.folder / manifest["model"]["file"]
    oldest = tuple(version_of(manifest.get("opencv", {}).get("minimum", "0")))
    found = find_shrunk(traced, read_stored(path), broadcast=oldest >= BROADCASTS_SINCE)
    if found is None:
        raise BundleError(
            f"The weights in {path} were not rounded from those of the Keras model {traced.model.name}, or by another "
            "version of trainkit. Export it again."
        )
    with found.held(traced):
        yield


def cost_in_words(manifest: dict[str, Any]) -> str:
    """Return in a sentence how small the file is and what that costs; nothing where its weights are float32."""
    cost = manifest.get("extra", {}).get("small_weights")
    if cost is None:
        return ""
    share = manifest["model"].get("bytes", 0) / max(cost["bytes_float32"], 1)
    on = f"{cost['images']:,} {'validation ' if cost['measured_on'] == 'val' else ''}images"
    figures = f"{cost['top1_agreement']:.2%} of the labels stay"
    if "accuracy_after" in cost:
        figures += f", accuracy {cost['accuracy_after']:.4f} (was {cost['accuracy_before']:.4f})"
    return f"Weights of {cost['weights']}, {share:.0%} of the bytes: on {on} {figures}."
