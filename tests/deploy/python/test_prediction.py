"""The loop that answers pictures in batches, for `classify.py` and for `trainkit predict`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from trainkit.deploy.python._media import Picture, read_pictures
from trainkit.deploy.python._prediction import Ready, answer_pictures
from trainkit.errors import BundleError

PICTURES = [
    Ready(Picture(f"{number}.png", None, np.full((2, 2, 3), number, np.uint8)), np.full((1, 3, 2, 2), number))
    for number in range(5)
]


def levels_but_two(blob_nchw: np.ndarray, images: Sequence[np.ndarray]) -> list[int]:
    """Answer with the level of each image, and fail on a batch with the third one."""
    assert blob_nchw[:, 0, 0, 0].tolist() == [image.max() for image in images]
    if any(image.max() == 2 for image in images):
        raise BundleError("no answer")
    return [int(image.max()) for image in images]


def test_batch_without_an_answer_is_complained_of_and_the_next_one_follows() -> None:
    complaints: list[tuple[str, str]] = []
    answers = answer_pictures(
        PICTURES, levels_but_two, batch=2, complain=lambda error, source: complaints.append((str(error), source))
    )
    assert [(ready.picture.name, found) for ready, found in answers] == [("0.png", 0), ("1.png", 1), ("4.png", 4)]
    assert complaints == [("no answer", "2.png")]


def test_batch_without_an_answer_is_an_error_where_nobody_listens() -> None:
    answers = answer_pictures(PICTURES, levels_but_two, batch=2)
    assert [next(answers)[1], next(answers)[1]] == [0, 1]
    with pytest.raises(BundleError, match="no answer"):
        next(answers)


def test_files_are_read_as_they_are_asked_for(tmp_path: Path, film: Path) -> None:
    complaints: list[object] = []
    files = [tmp_path / "missing.png", film, tmp_path / "no.mp4"]
    pictures = read_pictures(iter(files), lambda _, source: complaints.append(source), every=3)
    first = next(pictures)
    assert (first.name, complaints) == (f"{film} frame 0", [files[0]])
    assert [picture.frame for picture in pictures] == [3, 6]
    assert complaints == [files[0], files[2]]
    black = np.zeros((1, 1, 3), np.uint8)
    (own,) = read_pictures(["a.png"], lambda *_: None, read=lambda _: black)
    assert own == ("a.png", None, black)
