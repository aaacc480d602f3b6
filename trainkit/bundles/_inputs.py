"""What `predict` and `detect` look at: image files, folders of them, videos, a camera."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import Step, counting, doing
from trainkit.bundles._drawing import find_targets, save_picture
from trainkit.data._inspection import check_image_file, read_checked_image
from trainkit.deploy.python import _media
from trainkit.deploy.python._ahead import Complain
from trainkit.deploy.python._media import is_video, list_inputs, read_pictures
from trainkit.deploy.python._network import Network
from trainkit.deploy.python._prediction import Ready, answer_pictures, describe_speed, read_ready
from trainkit.errors import BundleError, DataError, UsageError
from trainkit.files import check_new, make_folder

log = logging.getLogger("trainkit")

ImagePath = str | os.PathLike[str]
Images = ImagePath | np.ndarray | Sequence[ImagePath] | Sequence[np.ndarray]
LIST_SUFFIXES = (".txt", ".lst", ".list", ".csv", ".tsv", ".parquet")  # of lists, which `trainkit.cluster` reads
_IMAGES = "paths of images, or images as uint8 arrays"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is to be looked at, and how.

    Attributes:
        paths: images, videos, and folders of both.
        camera: its number, instead of paths.
        every: of a video or a camera, only every Nth frame.
        batch: images in one blob.
        annotate: where to write the picture with what was found on it; a folder where there are several.
        invert: whether dark is turned into light before anything else.
    """

    paths: Sequence[Path] = ()
    camera: int | None = None
    every: int = 1
    batch: int = 1
    annotate: Path | None = None
    invert: bool = False


def opened(open_: Callable[..., Any], manifest: Path, *, backend: str | None, target: str | None) -> Any:
    """Return a `Classifier` or `Detector`.

    Raises:
        BundleError: as these do.
        UsageError: OpenCV knows no such backend or target.
    """
    try:
        return open_(manifest, backend=backend, target=target)
    except ValueError as error:
        raise UsageError(str(error)) from error


def list_images(images: Images) -> list[Path] | list[np.ndarray]:
    """Return what `predict` and `detect` were given as a list of paths, or of images in memory.

    Raises:
        UsageError: there is nothing, something else, or some of both.
    """
    if isinstance(images, (str, os.PathLike, np.ndarray)):
        given: list[Any] = [images]
    elif isinstance(images, Iterable):
        given = list(images)
    else:
        raise UsageError(f"Expected {_IMAGES}. Received: {images!r}")
    if not given:
        raise UsageError(f"There is no image. Expected {_IMAGES}. Received: nothing")
    if all(isinstance(one, np.ndarray) for one in given):
        return [one for one in given if isinstance(one, np.ndarray)]
    if all(isinstance(one, (str, os.PathLike)) for one in given):
        return [Path(one) for one in given if not isinstance(one, np.ndarray)]
    received = ", ".join(dict.fromkeys(type(one).__name__ for one in given))
    raise UsageError(f"Expected {_IMAGES}, not both. Received: {received}")


def inverting(predict_many: Callable[..., Any], *, invert: bool) -> Callable[..., Any]:
    """Return what answers several images, each inverted before where that is wanted."""
    if not invert:
        return predict_many
    return lambda images, **options: predict_many([255 - image for image in images], **options)


def check_no_annotate(annotate: ImagePath | None) -> None:
    """Raise where images in memory are to be drawn on: a picture is called by its file.

    Raises:
        UsageError: says so.
    """
    if annotate is not None:
        raise UsageError("`annotate` goes with paths of images. Received: images as arrays.")


def check_no_predictions(predictions: ImagePath | None) -> None:
    """Raise where images in memory are to have rows in a file, which names the files they are of.

    Raises:
        UsageError: says so.
    """
    if predictions is not None:
        raise UsageError("`predictions` goes with paths of images. Received: images as arrays.")


class Picture(_media.Picture):
    """An image, or a frame of a video or a camera: uint8 `(height, width, 3)`, BGR."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return what tells it from others in a document."""
        source = str(self.source.absolute()) if isinstance(self.source, Path) else self.source
        return {"image": source} if self.frame is None else {"image": source, "frame": self.frame}


def find_problems(images: Sequence[Path]) -> dict[Path, str]:
    """Return the files that are no images every OpenCV since 4.5 reads, each with a sentence that says why."""
    problems = {}
    for path in counting(images, "Looking at the files", unit="files"):
        try:
            check_image_file(path)
        except DataError as error:
            problems[path] = str(error)
    return problems


def refuse(problems: dict[Path, str], count: int) -> None:
    """Raise where some of `count` images had problems, each with its sentence.

    Raises:
        DataError: names them.
    """
    if problems:
        left_out = f"Left out {len(problems)} of {count} images: " if count > 1 else ""
        raise DataError(left_out + "; ".join(problems.values()))


def answer(
    inputs: Inputs,
    network: Network,
    answer_blob: Callable[[np.ndarray, Sequence[np.ndarray]], Sequence[Any]],
    draw: Callable[[np.ndarray, Any], np.ndarray],
    *,
    text: str = "Classifying",
) -> Iterator[tuple[Picture, tuple[Any, str | None]]]:
    """Yield each picture with the answer to it and what it is to be warned of, and log how many there were a second.

    What cannot be read is left out, and named at the end. Pictures are read ahead in another thread, but for those of a
    camera. Where they are drawn on, all image files are looked at before the first is answered.

    Args:
        inputs: what is to be looked at.
        network: makes the pictures ready.
        answer_blob: answers several images; see `answer_pictures`.
        draw: draws an answer on an image.
        text: what the progress shows.

    Raises:
        DataError: something could not be read; raised after all that could be.
        OutputError: a picture exists already or cannot be written.
    """
    files = _list_files(inputs)
    targets = _targets(inputs, files.usable)
    started, count = time.perf_counter(), 0
    try:
        with doing(text, total=files.total) as step, closing(_read(inputs, network, files, step)) as pictures:
            for ready, found in answer_pictures(pictures, answer_blob, batch=inputs.batch):
                picture = ready.picture
                if inputs.annotate is not None:
                    save_picture(_target(inputs.annotate, targets, picture), draw(picture.image, found))
                step.advance()
                count += 1
                yield Picture(*picture), (found, ready.warning)
    finally:
        if count:
            log.info(describe_speed(count, time.perf_counter() - started))
    files.refuse_problems()


@dataclass(slots=True)
class _Files:
    """The files that are to be answered, and why some are not."""

    listed: list[Path]
    unlisted: dict[Path, str]  # folders without an image, each with a sentence
    unread: dict[Path, str]  # files
    endless: bool  # whether nobody knows how many pictures there are

    @property
    def usable(self) -> list[Path]:
        """All that nothing is known against."""
        return [file for file in self.listed if file not in self.unread]

    @property
    def total(self) -> int | None:
        """How many pictures there are, where that is known."""
        return None if self.endless else len(self.usable)

    def refuse_problems(self) -> None:
        """Raise where something could not be read: folders, then images, then videos."""
        images_first = sorted(self.unread, key=lambda file: is_video(str(file)))
        problems = {**self.unlisted, **{file: self.unread[file] for file in images_first}}
        refuse(problems, len(self.usable) + len(problems))


def _list_files(inputs: Inputs) -> _Files:
    """List what is to be answered; where it is to be drawn on, look at it before anything is written."""
    unlisted: dict[Path, str] = {}

    def complain(error: BundleError, source: str | Path) -> None:
        unlisted[Path(source)] = str(error)

    listed = [Path(file) for file in list_inputs(map(str, inputs.paths), complain)]
    images = [file for file in listed if not is_video(str(file))]
    unread = {} if inputs.annotate is None else find_problems(images)
    endless = inputs.camera is not None or len(images) < len(listed)
    return _Files(listed, unlisted, unread, endless)


def _read(inputs: Inputs, network: Network, files: _Files, step: Step) -> Generator[Ready, None, None]:
    """Return what is to be answered, and note what cannot be read."""
    usable = files.usable

    def complain(error: BundleError, source: str | Path) -> None:
        files.unread[Path(source)] = str(error)
        step.advance()

    def read(complain: Complain) -> Iterator[_media.Picture]:
        return read_pictures(usable, complain, camera=inputs.camera, every=inputs.every, read=_read_image)

    return read_ready(read, network, complain, invert=inputs.invert, ahead=inputs.camera is None)


def _read_image(path: Path) -> np.ndarray:
    try:
        return read_checked_image(path)
    except DataError as error:
        is_list = path.suffix.lower() in LIST_SUFFIXES and path.is_file()
        advice = ": a list of paths goes with --predictions DIR, a folder for Parquet" if is_list else ""
        raise BundleError(f"{error}{advice}") from error


def _targets(inputs: Inputs, files: Sequence[Path]) -> dict[Path, Path]:
    """Return where the annotated picture of each image file goes; frames go into the folder beside them."""
    images = [file for file in files if not is_video(str(file))]
    if inputs.annotate is not None and (inputs.camera is not None or len(images) < len(files)):
        make_folder(inputs.annotate)
    return find_targets(images, inputs.annotate)


def _target(annotate: Path, targets: dict[Path, Path], picture: _media.Picture) -> Path:
    if picture.frame is None:
        return targets[Path(picture.source)]
    path = annotate / f"{Path(picture.source).stem}-{picture.frame}.png"
    check_new(path)
    return path
