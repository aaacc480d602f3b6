"""The self-test: does this machine give the answers that Keras gave?"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Dict

import numpy as np

from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._json import parse_json
from trainkit.deploy.python._media import read_image
from trainkit.deploy.python._schema import FILE, is_number
from trainkit.deploy.python._showing import harmless
from trainkit.deploy.python._values import MAX_MANIFEST_BYTES, MAX_TOLERANCE, PROBABILITY_TOLERANCE, BundleError


def pixel_sha256(classifier: Classifier, image_bgr: np.ndarray) -> str:
    """Return the checksum of the resized pixels, before mean and scale, which are the same in every OpenCV."""
    return hashlib.sha256(np.ascontiguousarray(classifier.to_pixels(image_bgr), np.uint8).tobytes()).hexdigest()


def selftest(bundle: str | Path) -> Dict[str, Any]:
    """Compare this machine's answers on the bundle's own images with those that Keras gave.

    Returns:
        `images`, `same_pixels` and `same_labels` (counts), `max_abs_difference` (of probabilities), `ok`; and
        `originals`, the files as they were, and `same_originals`, those that decode here to the pixels that Keras saw.
        The latter says something about this machine's JPEG decoder, not about the network, and does not touch `ok`.

    Raises:
        BundleError: the bundle carries no self-test, or it is damaged.
    """
    classifier = Classifier(bundle)
    folder = classifier.folder / "selftest"
    if not os.path.isdir(folder):
        raise BundleError(f"There is no {folder}. It holds photographs, and may have been taken out for that reason.")
    try:
        document = _read_document(folder / "selftest.json")
        cases, tolerance = document["images"], document.get("tolerance", PROBABILITY_TOLERANCE)
        if not is_number(tolerance) or not 0 < tolerance <= MAX_TOLERANCE:
            raise ValueError(f"`tolerance` must be above 0, at most {MAX_TOLERANCE}")
        files = [case[key] for case in cases for key in ("png", "original") if key in case]
        if not all(map(FILE.holds, files)):
            raise ValueError(f"its files must be {FILE.expected}")
        images = [read_image(folder / case["png"]) for case in cases]
        expected = np.array([case["probabilities"] for case in cases], np.float64)
        checksums = [case["pixel_sha256"] for case in cases]
        labels = [case["label"] for case in cases]
        originals = [(folder / case["original"], image) for case, image in zip(cases, images) if "original" in case]
        if expected.shape != (len(cases), len(classifier.class_names)) or not cases:
            raise ValueError("it needs one probability for each class of at least one image")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = harmless(str(error))
        raise BundleError(f"{folder} holds no self-test that can be read ({reason}). Copy the bundle again.") from error
    actual = np.array([classifier.probabilities(image) for image in images])
    difference = float(np.abs(actual - expected).max())
    same_labels = sum(classifier.class_names[i] == label for i, label in zip(actual.argmax(1), labels))
    same_pixels = sum(pixel_sha256(classifier, image) == checksum for image, checksum in zip(images, checksums))
    return {
        "images": len(images),
        "same_pixels": same_pixels,
        "same_labels": same_labels,
        "originals": len(originals),
        "same_originals": sum(_decodes_to(path, image) for path, image in originals),
        "max_abs_difference": difference,
        "ok": same_pixels == same_labels == len(images) and difference <= tolerance,
    }


def _read_document(path: Path) -> Any:
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise ValueError(f"{path.name} has more than {MAX_MANIFEST_BYTES} bytes")
    return parse_json(path.read_bytes())


def _decodes_to(path: Path, image: np.ndarray) -> bool:
    try:
        return bool(np.array_equal(read_image(path), image))
    except BundleError:  # this OpenCV may be built without the format
        return False


def describe_file_check(model: Dict[str, Any]) -> str:
    """Say by what a model file was recognised when it was opened."""
    done = next((name for name in ("sha256", "bytes") if name in model), None)
    if done is None:
        return "Model file: not checked, the manifest says neither size nor sha256."
    return f"Model file: {'size' if done == 'bytes' else done} checked."
