"""Blocks of images, classified: on the threads of this process, each with a network of its own."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit.cluster import _places
from trainkit.cluster._plain_jpeg import read_plain_jpeg
from trainkit.cluster._rows import Answer, Block, Part, write_rows
from trainkit.data._inspection import read_checked_image
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._manifest import read_manifest
from trainkit.deploy.python._media import is_video
from trainkit.errors import BundleError, DataError, UsageError
from trainkit.files import sha256_of

_AT_ONCE = 32  # images that a thread takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """What is to be done with each block; it is sent to other processes.

    Attributes:
        manifest: what `Classifier` opens, absolute.
        folder: of the rows.
        answers: what decides them; see `describe_answers`.
        batch: images in one blob.
        backend: what computes, by OpenCV's name.
        target: on what, likewise.
    """

    manifest: str
    folder: str
    answers: dict[str, Any]
    batch: int = 1
    backend: str | None = None
    target: str | None = None

    def open_network(self) -> Classifier:
        """Return a network for one thread."""
        return Classifier(self.manifest, backend=self.backend, target=self.target)

    def open(self, threads: int) -> BlockClassifier:
        """Return what classifies blocks on so many threads."""
        return BlockClassifier(self, threads)


def describe_answers(manifest: str, *, invert: bool, all_probabilities: bool) -> dict[str, Any]:
    """Return what decides the answers, and what is written of them: files of other ones do not belong together."""
    said = read_manifest(manifest)
    model = (Path(manifest) if Path(manifest).is_dir() else Path(manifest).parent) / said["model"]["file"]
    text = json.dumps(said, sort_keys=True) + sha256_of(model)
    return {
        "bundle": hashlib.sha256(text.encode()).hexdigest(),
        "invert": invert,
        "all_probabilities": all_probabilities,
    }


class BlockClassifier:
    """Threads that classify blocks and write their rows. OpenCV's own threads are turned off meanwhile: one a core."""

    def __init__(self, work: Classification, threads: int) -> None:
        self._work = work
        self._pool = ThreadPoolExecutor(threads)
        self._local = threading.local()
        self._threads_before = cv2.getNumThreads()
        cv2.setNumThreads(1)

    def close(self) -> None:
        """End the threads; what has not begun never does."""
        self._pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(self._threads_before)

    def run(self, block: Block, advance: Callable[[int], None] | None = None) -> Part:
        """Classify a block, write its rows, and return what was written.

        Args:
            block: the rows.
            advance: is told how many images more are done, from time to time.

        Raises:
            BundleError: the network cannot be opened.
            OutputError: the rows cannot be written.
        """
        size = max(_AT_ONCE, self._work.batch)
        chunks = [block.paths[first : first + size] for first in range(0, len(block.paths), size)]
        given: list[Answer] = []
        for one in [self._pool.submit(self._answer, chunk) for chunk in chunks]:
            found = one.result()
            given += found
            if advance is not None:
                advance(len(found))
        output = read_manifest(self._work.manifest)["output"]
        return write_rows(block, given, self._work.folder, output=output, answers=self._work.answers)

    def _answer(self, paths: Sequence[str]) -> list[Answer]:
        network, batch = self._network(), self._work.batch
        return [
            answer
            for first in range(0, len(paths), batch)
            for answer in self._answer_blob(network, paths[first : first + batch])
        ]

    def _answer_blob(self, network: Classifier, paths: Sequence[str]) -> list[Answer]:
        """Answer so many images as one blob has: what was decoded just now is still near the processor."""
        given = [_read(path) for path in paths]
        images = [self._as_wanted(one) for one in given if isinstance(one, np.ndarray)]
        answers = iter(_classify(network, images) if images else ())
        return [Answer(error=one) if isinstance(one, str) else next(answers) for one in given]

    def _as_wanted(self, image: Any) -> np.ndarray:
        return np.asarray(255 - image if self._work.answers["invert"] else image)

    def _network(self) -> Classifier:
        if not hasattr(self._local, "network"):
            self._local.network = self._work.open_network()
        network: Classifier = self._local.network
        return network


def _read(path: str) -> np.ndarray | str:
    """Return an image, or why there is none: the sentence that `predict` says of it."""
    image = read_plain_jpeg(path)
    if image is not None:
        return image
    if not path:
        return "There is no path in this row of the list."
    if is_video(path.partition("?")[0] if _places.is_address(path) else path):
        return f"{path} is a video, which has an answer a frame. Give it to `trainkit predict` by itself."
    try:
        with _places.local_copy(path) as file:
            try:
                return read_checked_image(Path(file))
            except (BundleError, DataError) as error:
                return str(error).replace(file, path)
    except (DataError, UsageError) as error:  # it cannot be fetched, or is an address of another kind
        return str(error)


def _classify(network: Classifier, images: Sequence[np.ndarray]) -> list[Answer]:
    """Answer images as one blob, or by themselves where one of them, or so many, cannot be answered."""
    try:
        return [Answer(row) for row in network.forward(network.to_blob(images))]
    except BundleError as error:
        if len(images) == 1:
            return [Answer(error=str(error))]
    return [answer for image in images for answer in _classify(network, [image])]
