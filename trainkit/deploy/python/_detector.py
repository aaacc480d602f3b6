"""A detector: from the rows of an SSD to labels and boxes."""

from __future__ import annotations

from typing import List, Sequence

import numpy as np

from trainkit.deploy.python._classifier import check_share
from trainkit.deploy.python._network import Network
from trainkit.deploy.python._pixels import padding_to_aspect
from trainkit.deploy.python._values import MAX_TOLERANCE, MIN_DETECTION, Box, BundleError, Detection


class Detector(Network):
    """A detector and its manifest, opened; see `Network` for the arguments and what is raised.

    Its network answers OpenCV's `(1, 1, N, 7)`: in each row the image's place in the batch, the class, the confidence,
    and left, top, right, bottom as shares of the blob's width and height.
    """

    def _check_kind(self, kind: str) -> None:
        if kind != "ssd":
            raise BundleError(f"The manifest describes a classifier (`output.kind` is {kind}). Use trainkit predict.")

    def forward(self, blob_nchw: np.ndarray) -> np.ndarray:
        """Run the network on `(N, C, H, W)` and return its rows, float32 `(rows, 7)`, as they come.

        Raises:
            BundleError: the network fails, or its output is not that of an SSD.
        """
        output = self.run(blob_nchw)
        if output.ndim < 2 or output.shape[-1] != 7 or output.size != 7 * output.shape[-2]:
            raise BundleError(f"The model's output has the shape {output.shape}. That of an SSD is (1, 1, N, 7).")
        return output.reshape(-1, 7)

    def predict(self, image_bgr: np.ndarray, *, min_confidence: float | None = None) -> List[Detection]:
        """Return what is found in an image, the surest first; see `predict_many`."""
        return self.predict_many([image_bgr], min_confidence=min_confidence)[0]

    def predict_many(
        self, images_bgr: Sequence[np.ndarray], *, min_confidence: float | None = None
    ) -> List[List[Detection]]:
        """Return what is found in each of several images, which become one blob.

        A network that takes one image only gets them one after the other. Rows that say nothing are left out: numbers
        that are not finite, no such image or class, the background, a confidence outside 0 to 1, a box that is empty
        or outside the image. Boxes are cut at the image's edges.

        Args:
            images_bgr: uint8 `(height, width, 3)` each, as `cv2.imread` returns them, of any sizes.
            min_confidence: only what is at least so sure, 0 to 1; by default what the manifest says, or 0.5.

        Returns:
            A list for each image, the surest first; an empty one where nothing is found.

        Raises:
            BundleError: the network fails, or its output is not that of an SSD.
            ValueError: `min_confidence` is not from 0 to 1, or an image is not one.
        """
        least = self._least_confidence(min_confidence)
        if not images_bgr:
            return []
        return self.answer_blob(self.to_blob(images_bgr), images_bgr, min_confidence=least)

    def answer_blob(
        self, blob_nchw: np.ndarray, images_bgr: Sequence[np.ndarray], *, min_confidence: float | None = None
    ) -> List[List[Detection]]:
        """Return what `predict_many` returns for images of which `to_blob` has made a blob."""
        least = self._least_confidence(min_confidence)
        rows = self._usable(self._rows_of(blob_nchw), images=len(images_bgr))
        rows = rows[rows[:, 2] >= np.float32(least)]
        return [self._detections(rows[rows[:, 0] == i], image) for i, image in enumerate(images_bgr)]

    def _least_confidence(self, min_confidence: float | None) -> float:
        if min_confidence is None:
            min_confidence = float(self.manifest["output"].get("min_confidence", MIN_DETECTION))
        check_share(min_confidence)
        return min_confidence

    def _rows_of(self, blob_nchw: np.ndarray) -> np.ndarray:
        answers = self._forward_many(blob_nchw)
        if len(answers) > 1:  # to each image by itself, which was the first of its blob
            for i, rows in enumerate(answers):
                rows[rows[:, 0] == 0, 0] = i
        return np.concatenate(answers)

    def _usable(self, rows: np.ndarray, *, images: int) -> np.ndarray:
        rows = rows[np.isfinite(rows).all(axis=1)]
        place, number, confidence = rows[:, 0], rows[:, 1], rows[:, 2]
        known = np.isin(place, range(images)) & np.isin(number, range(len(self.manifest["output"]["class_names"])))
        # OpenCV's convolutions turn NaN into 3.4e38. What is above 1 by more than rounding is no confidence.
        likely = (confidence > 0) & (confidence <= 1 + MAX_TOLERANCE)
        rows = rows[known & likely & (number != self.manifest["output"].get("background", -1))]
        rows[:, 2] = rows[:, 2].clip(max=1)
        return rows[np.argsort(-rows[:, 2], kind="stable")]

    def _detections(self, rows: np.ndarray, image: np.ndarray) -> List[Detection]:
        height, width = image.shape[:2]
        names = self.manifest["output"]["class_names"]
        boxes = self._to_pixels(rows[:, 3:].astype(np.float64), width, height)
        boxes = np.clip(boxes, 0, [width, height, width, height])
        return [
            Detection(names[int(row[1])], float(row[2]), Box(*map(float, box)))
            for row, box in zip(rows, boxes)
            if box[0] < box[2] and box[1] < box[3]
        ]

    def _to_pixels(self, boxes: np.ndarray, width: int, height: int) -> np.ndarray:
        """Turn shares of the blob into pixels of the image that was padded, cropped or stretched to make it."""
        size = self.manifest["blob"]["size"]
        left = top = 0
        if any(step["step"] == "pad" for step in self.manifest.get("before_blob", [])):
            left, top, right, bottom = padding_to_aspect(width, height, *size)
            width, height = left + width + right, top + height + bottom
        if not self.manifest["blob"]["crop"]:
            return np.asarray(boxes * [width, height, width, height] - [left, top, left, top])
        # As blobFromImage does it: a float32 factor that lets the image cover the blob, and the middle of that.
        factor = max(np.float32(size[0]) / np.float32(width), np.float32(size[1]) / np.float32(height))
        scaled = round(width * float(factor)), round(height * float(factor))
        cut = int(0.5 * (scaled[0] - size[0])), int(0.5 * (scaled[1] - size[1]))
        return np.asarray((boxes * [*size, *size] + [*cut, *cut]) / float(factor) - [left, top, left, top])
