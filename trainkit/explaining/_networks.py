"""What can be explained, opened: a bundle or a manifest through cv2.dnn, a run through Keras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainkit.bundles._inputs import opened
from trainkit.deploy.python._classifier import Classifier
from trainkit.explaining._geometry import Framing
from trainkit.preprocessing import Preprocessing
from trainkit.runs._run import Run

if TYPE_CHECKING:
    from trainkit.exporting._tracing import Traced


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network and what leads to it: from a picture to a blob, from blobs to probabilities."""

    class_names: Sequence[str]
    multi_label: bool  # whether every class is a question of its own
    framing: Framing
    to_blob: Callable[[np.ndarray], np.ndarray]  # uint8 (height, width, 3), BGR -> float32 (1, C, H, W)
    predict: Callable[[np.ndarray], np.ndarray]  # float32 (N, C, H, W) -> probabilities (N, classes)
    traced: Traced | None = None  # the Keras model, of a run
    preprocessing: Preprocessing | None = None  # of a run


def open_bundle(manifest: Path) -> Network:
    """Open what a manifest describes, without TensorFlow.

    Raises:
        BundleError: as `Classifier` does; of a detector too.
    """
    classifier = opened(Classifier, manifest, backend=None, target=None)
    return Network(
        class_names=classifier.class_names,
        multi_label=bool(classifier.manifest["output"].get("multi_label", False)),
        framing=Framing.of_manifest(classifier.manifest),
        to_blob=lambda image: classifier.to_blob([image]),
        predict=lambda blobs: np.concatenate(classifier._forward_many(blobs)),
    )


def open_run(run: Run) -> Network:
    """Load a run's best weights into Keras.

    Raises:
        RunError: the run is unfinished or damaged.
    """
    from trainkit.models._outputs import check_outputs, load_keras_model

    run.check_usable()
    model = load_keras_model(run.model_path)
    check_outputs(model, run.class_names)
    return of_model(model, run.preprocessing, run.class_names)


def of_model(model: Any, preprocessing: Preprocessing, class_names: Sequence[str]) -> Network:
    """Return a Keras model as a network that can be explained.

    Args:
        model: with an output for each class, or one for two.
        preprocessing: how a picture becomes its input.
        class_names: of its outputs.
    """
    from trainkit.exporting._tracing import trace

    grey = np.full((1, *preprocessing.shape), 127, np.uint8)
    traced = trace(model, images=lambda: preprocessing.to_input(grey))
    run = traced.extended(lambda model_input, logits: ([], [logits]))

    def predict(blobs: np.ndarray) -> np.ndarray:
        (logits,) = call_graph(run, model, to_input(blobs, preprocessing))
        return to_probabilities(np.asarray(logits).reshape(-1, traced.units), traced)

    return Network(
        class_names=class_names,
        multi_label=traced.multi_label,
        framing=Framing.of_preprocessing(preprocessing),
        to_blob=lambda image: preprocessing.to_blob([preprocessing.to_pixels(image)]),
        predict=predict,
        traced=traced,
        preprocessing=preprocessing,
    )


def to_input(blobs_nchw: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return the Keras model's input, `(N, H, W, C)`, for blobs."""
    return np.asarray(preprocessing.after_blob(np.ascontiguousarray(blobs_nchw.transpose(0, 2, 3, 1))))


def to_probabilities(logits: np.ndarray, traced: Traced) -> np.ndarray:
    """Return float64 `(N, classes)` for `(N, units)`, in which a sigmoid saturates much later than in float32."""
    z = np.hstack([-logits, logits] if traced.units == 1 else [logits]).astype(np.float64)
    if traced.activation == "relu":  # they are probabilities already
        return z
    if traced.activation == "sigmoid":
        return np.asarray(np.exp(-np.logaddexp(0, -z)))
    return np.asarray(np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True)))


def call_graph(function: Any, model: Any, *inputs: np.ndarray) -> Any:
    """Run a function of a traced model, whose errors become a sentence."""
    from trainkit.backend import tf
    from trainkit.models._calling import calling

    with calling(model, "run"):
        return function(*(tf.constant(value, tf.float32) for value in inputs))
