"""Pictures, made ready for a classifier or a detector and answered in batches."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Callable, Generator, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from trainkit.deploy.python._ahead import Complain, read_ahead
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._detector import Detector
from trainkit.deploy.python._manifest import read_manifest
from trainkit.deploy.python._media import Picture
from trainkit.deploy.python._network import Network
from trainkit.deploy.python._values import BundleError


def open_bundle(bundle: str | Path, **choices: Any) -> Classifier | Detector:
    """Open what a manifest describes; see `Network` for the choices and what is raised."""
    kind = read_manifest(bundle)["output"]["kind"]
    return (Detector if kind == "ssd" else Classifier)(bundle, **choices)


class Ready(NamedTuple):
    """A picture, and all that can be made of it before the network is asked."""

    picture: Picture
    blob: np.ndarray | None  # `(1, C, H, W)`; None where there is an error
    warning: str | None = None  # that it is unlike the training images
    error: BundleError | None = None  # why no blob can be made of it


def read_ready(
    read: Callable[[Complain], Iterator[Picture]],
    network: Network,
    complain: Complain,
    *,
    invert: bool = False,
    ahead: bool = True,
) -> Generator[Ready, None, None]:
    """Yield pictures, made ready for a network; close it where it may not be exhausted.

    Args:
        read: returns the pictures, and tells what it is given of those that it cannot read; see `read_pictures`.
        network: will be asked.
        complain: see `read_pictures`.
        invert: whether dark is turned into light before anything else.
        ahead: whether the next ones are read and made ready in another thread meanwhile. A camera shows what is now.
    """

    def read_each(complain: Complain) -> Generator[Ready, None, None]:
        for picture in read(complain):
            yield _make_ready(picture, network, invert)

    return read_ahead(read_each, complain, _bytes_of) if ahead else read_each(complain)


def _make_ready(picture: Picture, network: Network, invert: bool) -> Ready:
    image = 255 - picture.image if invert else picture.image
    try:
        blob, levels = network.to_blob_and_levels(image)
        return Ready(picture, blob, network.warning_of(levels, inverted=invert))
    except BundleError as error:
        return Ready(picture, None, error=error)


def _bytes_of(ready: Ready) -> int:
    return int(ready.picture.image.nbytes) + (0 if ready.blob is None else int(ready.blob.nbytes))


def answer_pictures(
    pictures: Iterable[Ready],
    answer_blob: Callable[[np.ndarray, Sequence[np.ndarray]], Sequence[Any]],
    *,
    batch: int = 1,
    complain: Callable[[BundleError, Any], None] | None = None,
) -> Iterator[Tuple[Ready, Any]]:
    """Yield each picture with the answer to it.

    Args:
        pictures: see `read_ready`.
        answer_blob: answers several images, of which it is given the blob; see `Classifier.answer_blob`.
        batch: images in one blob.
        complain: is given the error of a batch that has no answer, and the source of its first picture; the next one
            follows. None: the error is raised.
    """
    for several in in_batches(iter(pictures), batch):
        try:
            answers = answer_blob(_join_blobs(several), [one.picture.image for one in several])
        except BundleError as error:
            if complain is None:
                raise
            complain(error, several[0].picture.source)
            continue
        yield from zip(several, answers)


def _join_blobs(several: Sequence[Ready]) -> np.ndarray:
    for one in several:
        if one.error is not None:
            raise one.error
    blobs = [one.blob for one in several if one.blob is not None]
    return blobs[0] if len(blobs) == 1 else np.concatenate(blobs)


def in_batches(items: Iterator[Any], size: int) -> Iterator[List[Any]]:
    """Yield lists of up to `size` items."""
    batch = list(itertools.islice(items, size))
    while batch:
        yield batch
        batch = list(itertools.islice(items, size))


def describe_speed(count: int, seconds: float) -> str:
    """Say how many images a second were answered."""
    return f"{count} {'image' if count == 1 else 'images'} in {seconds:.2f} s: {count / seconds:.1f} images/s"
