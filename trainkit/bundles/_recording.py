"""Answers to images as a file, beside what is shown of them: every class of every image, whatever is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.bundles._inputs import Picture
from trainkit.deploy.python._classifier import Classifier
from trainkit.errors import DataError
from trainkit.runs._predictions import build_predictions, check_predictions_target, save_predictions


class _Recording(Classifier):
    """A classifier that keeps the probabilities it has given."""

    def __init__(self, *arguments: Any, **choices: Any) -> None:
        self.rows: list[np.ndarray] = []
        super().__init__(*arguments, **choices)

    def forward(self, blob_nchw: np.ndarray) -> np.ndarray:
        """Run the network, and keep what it says."""
        rows = super().forward(blob_nchw)
        self.rows.extend(rows)
        return rows


class Recorder:
    """Opens a classifier, and writes its answers into a file when there are no more; without a file it does nothing."""

    def __init__(self, target: Path | None) -> None:
        """Raise where nothing can be written there; see `check_predictions_target`."""
        self._target = target
        self._opened: _Recording | None = None
        if target is not None:
            check_predictions_target(target)

    def open(self, *arguments: Any, **choices: Any) -> Classifier:
        """Return a `Classifier`."""
        if self._target is None:
            return Classifier(*arguments, **choices)
        self._opened = _Recording(*arguments, **choices)
        return self._opened

    def watch(self, answers: Iterator[tuple[Picture, Any]]) -> Iterator[tuple[Picture, Any]]:
        """Yield the answers of the classifier, and write the file at their end; also where images were left out."""
        files = []
        try:
            for picture, found in answers:
                files.append(_name_of(picture))
                yield picture, found
        except DataError:  # some could not be read, and the others are answered
            self._save(files)
            raise
        self._save(files)

    def _save(self, files: list[str]) -> None:
        if self._target is None or self._opened is None or not files:
            return
        output = self._opened.manifest["output"]
        found = build_predictions(files, np.stack(self._opened.rows), output["class_names"], output=output)
        save_predictions(found, self._target)


def _name_of(picture: Picture) -> str:
    source = str(picture.source.absolute()) if isinstance(picture.source, Path) else str(picture.source)
    return source if picture.frame is None else f"{source}[{picture.frame}]"
