"""What `predict` and `detect` look at: image files, folders of them, videos, a camera."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.bundles._drawing import find_targets, save_picture
from trainkit.data._inspection import check_image_file, read_image
from trainkit.deploy.python._media import describe_speed, in_batches, is_video, list_files, read_frames
from trainkit.errors import BundleError, DataError, UsageError
from trainkit.files import check_new, make_folder

log = logging.getLogger("trainkit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What is to be looked at, and how.

    Attributes:
        paths: images, videos, and folders of both.
        camera: its number, instead of paths.
        every: of a video or a camera, only each so manieth frame.
        batch: images in one blob.
        annotate: where to write the picture with what was found on it; a folder where there are several.
    """

    paths: Sequence[Path] = ()
    camera: int | None = None
    every: int = 1
    batch: int = 1
    annotate: Path | None = None


def opened(open_: Callable[..., Any], manifest: Path, *, backend: str | None, target: str | None) -> Any:
    """Return a `Classifier` or `Detector`.

    Raises:
        BundleError: as these do.
        UsageError: OpenCV knows no such backend or target.
    """
    try:
        return open_(manifest, backend=backend, target=target)
    except ValueError as error:
        raise UsageError(str(error)) from None


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, or a frame of a video or a camera: uint8 `(height, width, 3)`, BGR."""

    source: Path | str
    frame: int | None
    image: np.ndarray

    @property
    def name(self) -> str:
        """How it is called on the screen."""
        return str(self.source) if self.frame is None else f"{self.source} frame {self.frame}"

    def to_json(self) -> dict[str, Any]:
        """Return what tells it from others in a document."""
        source = str(self.source.absolute()) if isinstance(self.source, Path) else self.source
        return {"image": source} if self.frame is None else {"image": source, "frame": self.frame}


def find_problems(images: Sequence[Path]) -> dict[Path, str]:
    """Return the files that are no images every OpenCV since 4.5 reads, each with a sentence that says why."""
    problems = {}
    for path in images:
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
) -> Iterator[tuple[Picture, Any]]:
    """Yield each picture with the answer to it, and log how many there were a second.

    All image files are looked at before the first is answered. What cannot be read is left out, and named at the end.

    Args:
        inputs: what is to be looked at.
        predict_many: answers several images.
        draw: draws an answer on an image.

    Raises:
        DataError: something could not be read; raised after all that could be.
        OutputError: a picture exists already or cannot be written.
    """
    problems: dict[Path, str] = {}
    files = _list(inputs.paths, problems)
    problems |= find_problems([file for file in files if not is_video(str(file))])
    usable = [file for file in files if file not in problems]
    inputs_count = len(usable) + len(problems)  # a video turns out to be none only when it is read
    targets = _targets(inputs, usable)
    started, count = time.perf_counter(), 0
    try:
        for pictures in in_batches(_read(inputs, usable, problems), inputs.batch):
            for picture, found in zip(pictures, predict_many([one.image for one in pictures]), strict=True):
                if inputs.annotate is not None:
                    save_picture(_target(inputs.annotate, targets, picture), draw(picture.image, found))
                count += 1
                yield picture, found
    finally:
        if count:
            log.info(describe_speed(count, time.perf_counter() - started))
    refuse(problems, inputs_count)


def _list(paths: Sequence[Path], problems: dict[Path, str]) -> list[Path]:
    files = []
    for path in paths:
        try:
            files += [path] if not path.is_dir() else [Path(file) for file in list_files(str(path))]
        except BundleError as error:
            problems[path] = str(error)
    return files


def _read(inputs: Inputs, files: Sequence[Path], problems: dict[Path, str]) -> Iterator[Picture]:
    if inputs.camera is not None:
        for number, frame in read_frames(inputs.camera, inputs.every):
            yield Picture(f"camera {inputs.camera}", number, frame)
    for file in files:
        if not is_video(str(file)):
            yield Picture(file, None, read_image(file))
            continue
        try:
            for number, frame in read_frames(str(file), inputs.every):
                yield Picture(file, number, frame)
        except BundleError as error:
            problems[file] = str(error)


def _targets(inputs: Inputs, files: Sequence[Path]) -> dict[Path, Path]:
    """Return where the annotated picture of each image file goes; frames go into the folder beside them."""
    images = [file for file in files if not is_video(str(file))]
    if inputs.annotate is not None and (inputs.camera is not None or len(images) < len(files)):
        make_folder(inputs.annotate)
    return find_targets(images, inputs.annotate)


def _target(annotate: Path, targets: dict[Path, Path], picture: Picture) -> Path:
    if picture.frame is None:
        return targets[Path(picture.source)]
    path = annotate / f"{Path(picture.source).stem}-{picture.frame}.png"
    check_new(path)
    return path
