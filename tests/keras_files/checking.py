"""One file of Keras 2: read, compared with Keras 2's own answers, and exported."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import trainkit
from trainkit.backend import keras
from trainkit.errors import TrainkitError
from trainkit.models._loading import load_model_file

EQUAL = 1e-6
BOUND = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a file."""

    kind: str
    version: str  # of TensorFlow
    title: str
    verdict: str  # equal, within, rounding, refused, warned; red where it is wrong
    difference: float | None = None  # the largest, of the answers' scale
    own: float | None = None  # how far Keras 2 is from itself
    reason: str = ""


def check_file(path: Path, entry: dict[str, Any], own: float | None, exported: Path) -> Result:
    """Read a file, compare it and export it.

    Args:
        path: of the file; its images and answers are beside it.
        entry: of the list.
        own: how far Keras 2 is from itself.
        exported: where the bundle is written.
    """
    kind, _, version = path.stem.rpartition("-")
    difference: float | None = None
    with _heard() as words:
        try:
            difference = compare(path)
            export(path, entry, exported)
            reason = ""
        except TrainkitError as error:
            reason = str(error)
    verdict = _verdict(entry, difference, own, reason, " ".join(words))
    text = reason or " ".join(words if verdict == "warned" else [])
    return Result(
        kind=kind, version=version, title=entry["title"], verdict=verdict, difference=difference, own=own, reason=text
    )


def _verdict(entry: dict[str, Any], difference: float | None, own: float | None, reason: str, words: str) -> str:
    if entry["refused"] is not None:
        return "refused" if re.search(entry["refused"], reason) else "red"
    if reason or difference is None:
        return "red"
    if entry["warns"] is not None:
        return "warned" if re.search(entry["warns"], words) else "red"
    if difference <= EQUAL:
        return "equal"
    if difference <= BOUND:
        return "within"
    return "rounding" if own is not None and difference <= 4 * own else "red"


def compare(path: Path) -> float:
    """Return the largest difference from Keras 2's answers, divided by the largest of these where it is above 1."""
    keras.backend.clear_session()
    stored = np.load(path.with_suffix(".npz"))
    answers = np.asarray(load_model_file(path).model.predict(stored["x"], verbose=0))
    return float(np.abs(answers - stored["y"]).max() / max(1, np.abs(stored["y"]).max()))


def export(path: Path, entry: dict[str, Any], exported: Path) -> None:
    """Write a bundle, which compares itself with Keras 3 in the installed OpenCV."""
    stored = np.load(path.with_suffix(".npz"))
    classes = max(2, stored["y"].shape[1])
    levels = stored["x"] if entry["pixels"] else (stored["x"] + 1) * 127.5
    images = [np.repeat(image, 3 // image.shape[-1], axis=-1)[..., ::-1] for image in levels.round().astype(np.uint8)]
    trainkit.export(
        path,
        name=path.name.replace(".", "-"),
        preprocessing="none" if entry["pixels"] else "symmetric",
        class_names=[f"class {number}" for number in range(classes)],
        size=(entry["side"], entry["side"]),
        images=images,
        from_logits=entry["logits"],
        exported=exported,
    )


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect the warnings that trainkit gives."""
    words: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: words.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("trainkit")
    log.addHandler(handler)
    try:
        yield words
    finally:
        log.removeHandler(handler)


def load_list(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the list that the old environment wrote: it imports TensorFlow's own Keras."""
    return dict(json.loads((folder / "list.json").read_text(encoding="utf-8")))
