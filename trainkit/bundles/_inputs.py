"""What `predict` and `detect` look at: image files, folders of them, videos, a camera."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import Step, counting, doing
from trainkit.bundles._drawing import find_targets, save_picture
from trainkit.data._inspection import check_image_file, read_image
from trainkit.deploy.python import _media
from trainkit.deploy.python._media import is_video, list_inputs, read_pictures
from trainkit.deploy.python._prediction import answer_pictures, describe_speed
from trainkit.errors import BundleError, DataError, UsageError
from trainkit.files import check_new, make_folder

log = logging.getLogger("trainkit")

ImagePath = str | os.PathLike[str]
Images = ImagePath | np.ndarray | Sequence[ImagePath] | Sequence[np.ndarray]
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
    predict_many: Callable[[Sequence[np.ndarray]], Sequence[Any]],
    draw: Callable[[np.ndarray, Any], np.ndarray],
    *,
    text: str = "Classifying",
) -> Iterator[tuple[Picture, Any]]:
    """Yield each picture with the answer to it, and log how many there were a second.

    All image files are looked at before the first is answered. What cannot be read is left out, and named at the end.

    Args:
        inputs: what is to be looked at.
        predict_many: answers several images, which are inverted before where `inputs` says so.
        draw: draws an answer on an image.
        text: what the progress shows.

    Raises:
        DataError: something could not be read; raised after all that could be.
        OutputError: a picture exists already or cannot be written.
    """
    problems: dict[Path, str] = {}

    def complain(error: BundleError, source: str | Path) -> None:
        problems[Path(source)] = str(error)

    files = [Path(file) for file in list_inputs(map(str, inputs.paths), complain)]
    problems |= find_problems([file for file in files if not is_video(str(file))])
    usable = [file for file in files if file not in problems]
    inputs_count = len(usable) + len(problems)  # a video turns out to be none only when it is read
    targets = _targets(inputs, usable)
    endless = inputs.camera is not None or any(is_video(str(file)) for file in usable)
    pictures = read_pictures(usable, complain, camera=inputs.camera, every=inputs.every, read=read_image)
    predict_many = inverting(predict_many, invert=inputs.invert)
    started, step = time.perf_counter(), Step(text)
    try:
        with doing(text, total=None if endless else len(usable)) as step:
            for picture, found in answer_pictures(pictures, predict_many, batch=inputs.batch):
                if inputs.annotate is not None:
                    save_picture(_target(inputs.annotate, targets, picture), draw(picture.image, found))
                step.advance()
                yield Picture(*picture), found
    finally:
        if step.done:
            log.info(describe_speed(step.done, time.perf_counter() - started))
    refuse(problems, inputs_count)


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
