"""Which images of a run came out right: kept in its folder, so that two runs can be compared image by image."""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainkit.data._dataset import digest_of_images
from trainkit.errors import OutputError, RunError
from trainkit.runs._documents import MAX_BYTES
from trainkit.runs._predictions import COLUMNS, write_csv
from trainkit.runs._run import Run

if TYPE_CHECKING:
    from trainkit.runs._evaluation import Answered

ANSWERS_FILE = "predictions.csv"
_MOST_PROBABILITIES = 1_000_000  # that are kept; of more, only that of the answer

log = logging.getLogger("trainkit")


@dataclass(frozen=True, slots=True)
class RightAnswers:
    """Which images came out right, and what tells these images from others."""

    images: str  # see `digest_of_images`
    right: list[bool]


def keep_answers(run: Run, answered: Answered) -> str | None:
    """Write the answers into the run's folder.

    Returns:
        What tells their images from others; `None` where they could not be written, of which a warning tells.
    """
    try:
        small = answered.probabilities.size <= _MOST_PROBABILITIES
        write_csv(answered.predictions(), run.path / ANSWERS_FILE, probabilities=small)
    except OutputError as error:
        log.warning("The answers to the images for testing are not kept: %s", error)
        return None
    return digest_of_images(answered.part, answered.class_names)


def right_answers(answered: Answered) -> RightAnswers:
    """Return which images came out right, of answers that were just given."""
    found = answered.predictions()
    right = [true == predicted for true, predicted in zip(found.truth, found.predicted, strict=True)]
    return RightAnswers(digest_of_images(answered.part, answered.class_names), right)


def read_answers(run: Run) -> RightAnswers | None:
    """Return what a run kept, `None` where it was trained by a version that kept nothing, or not to its end.

    Raises:
        RunError: the file is damaged.
    """
    images, path = run.result["test_images"], run.path / ANSWERS_FILE
    if images is None or not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = csv.reader(file)
        if tuple(head[: len(COLUMNS)]) != COLUMNS or any(len(row) != len(head) for row in rows):
            raise ValueError(f"expected rows of {', '.join(COLUMNS)} and more")
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"The run {run.name} is damaged: {ANSWERS_FILE}: {error}") from error
    true, predicted = COLUMNS.index("true"), COLUMNS.index("predicted")
    return RightAnswers(str(images), [row[true] == row[predicted] for row in rows])
