"""A classifier: from the network's answer to labels and probabilities."""

from __future__ import annotations

from typing import List, Sequence

import numpy as np

from trainkit.deploy.python._network import Network
from trainkit.deploy.python._values import MAX_TOLERANCE, BundleError, Prediction


class Classifier(Network):
    """A classifier and its manifest, opened; see `Network` for the arguments and what is raised."""

    def _check_kind(self, kind: str) -> None:
        if kind == "ssd":
            raise BundleError("The manifest describes a detector (`output.kind` is ssd). Use trainkit detect.")

    def forward(self, blob_nchw: np.ndarray) -> np.ndarray:
        """Run the network on `(N, C, H, W)` and return the probabilities, float32 `(N, classes)`, a copy of its own.

        Raises:
            BundleError: the network fails, or its output is not one row of probabilities (or logits) an image.
        """
        kind = self.manifest["output"]["kind"]
        shape = (blob_nchw.shape[0], len(self.manifest["output"]["class_names"]))
        output = self.run(blob_nchw)
        if output.size != shape[0] * shape[1]:
            raise BundleError(
                f"The model's output has the shape {output.shape}; the manifest's class names need {shape}."
            )
        rows = output.reshape(shape)
        if kind == "logits":
            rows = _squash(rows, each=self.manifest["output"].get("multi_label", False))
        least, most = rows.min(), rows.max()
        if not (least >= -MAX_TOLERANCE and most <= 1 + MAX_TOLERANCE):  # so written, NaN is refused too
            raise BundleError(
                f"The model's output goes from {least:.4g} to {most:.4g}. Expected probabilities for the kind {kind}. "
                "If the network ends without a softmax, write `logits` as `output.kind`."
            )
        return rows

    def probabilities(self, image_bgr: np.ndarray) -> np.ndarray:
        """Return the probability of each class, float32 `(classes,)`, for a uint8 BGR image of any size."""
        return np.asarray(self.forward(self.to_blob([image_bgr]))[0])

    def predict(self, image_bgr: np.ndarray, *, top: int = 5, min_confidence: float = 0.0) -> List[Prediction]:
        """Return the likeliest classes of an image, best first; with `multi_label` several may be right at once.

        Where the manifest has `thresholds`, a class is there only if its probability reaches its own. Where it has
        `reject_below` and no class is so likely, the answer is one prediction whose label is None: none of these.

        Args:
            image_bgr: uint8 `(height, width, 3)`, as `cv2.imread` returns it, of any size.
            top: at most so many.
            min_confidence: only those with at least this probability, 0 to 1.

        Raises:
            ValueError: `top` is below 1, or `min_confidence` not from 0 to 1.
        """
        return self.predict_many([image_bgr], top=top, min_confidence=min_confidence)[0]

    def predict_many(
        self, images_bgr: Sequence[np.ndarray], *, top: int = 5, min_confidence: float = 0.0
    ) -> List[List[Prediction]]:
        """Return the likeliest classes of each of several images, which become one blob; see `predict`.

        A network that takes one image only gets them one after the other.
        """
        _check_choices(top, min_confidence)
        if not images_bgr:
            return []
        return self.answer_blob(self.to_blob(images_bgr), images_bgr, top=top, min_confidence=min_confidence)

    def answer_blob(
        self, blob_nchw: np.ndarray, images_bgr: Sequence[np.ndarray], *, top: int = 5, min_confidence: float = 0.0
    ) -> List[List[Prediction]]:
        """Return what `predict_many` returns for images of which `to_blob` has made a blob."""
        _check_choices(top, min_confidence)
        rows = np.concatenate(self._forward_many(blob_nchw))
        return [self._best(row, top, min_confidence) for row in rows]

    def _best(self, probabilities: np.ndarray, top: int, min_confidence: float) -> List[Prediction]:
        output = self.manifest["output"]
        names, likely = output["class_names"], probabilities >= min_confidence
        if "thresholds" in output:
            likely &= probabilities >= np.asarray(output["thresholds"], np.float32)
        order = np.argsort(-probabilities, kind="stable")
        best = order[likely[order]][:top]
        found = [Prediction(names[i], float(probabilities[i])) for i in best]
        if found and found[0].probability < np.float32(output.get("reject_below", 0)):
            return [Prediction(None, found[0].probability)]
        return found


def _check_choices(top: int, min_confidence: float) -> None:
    if top < 1:
        raise ValueError(f"`top` must be at least 1. Received: {top}")
    check_share(min_confidence)


def check_share(min_confidence: float) -> None:
    """Raise unless it is from 0 to 1."""
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"`min_confidence` must be from 0 to 1. Received: {min_confidence}")


def _squash(logits: np.ndarray, *, each: bool) -> np.ndarray:
    """Return probabilities: the softmax of each row, or the sigmoid of each number."""
    with np.errstate(all="ignore"):  # what is not finite is found in the result
        if each:
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
