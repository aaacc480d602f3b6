"""Classify image files through a bundle, and draw what was found."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from trainkit.bundles import EXPORTED, find_bundle
from trainkit.data.inspection import check_image_file, read_image
from trainkit.deploy.classify import Classifier, Prediction
from trainkit.errors import DataError, OutputError
from trainkit.files import make_folder, replacing

log = logging.getLogger("trainkit")


def predict_files(
    bundle: str | Path,
    images: Sequence[Path],
    *,
    top: int = 5,
    min_confidence: float = 0.0,
    annotate: Path | None = None,
    exported: Path = EXPORTED,
) -> list[dict[str, Any]]:
    """Classify image files; all of them are looked at before the first is classified, and one bad one stops it.

    Args:
        bundle: its folder, or its name in `exported`.
        images: files.
        top: labels an image, at most.
        min_confidence: the lowest probability to report, 0 to 1.
        annotate: where to write the image with its labels drawn on it; a folder where there are several.
        exported: the folder of bundles.

    Returns:
        `{"image", "predictions": [{"label", "probability"}]}` for each image.

    Raises:
        BundleError: the bundle is missing or damaged.
        DataError: a file is no image that every OpenCV since 4.5 reads.
        OutputError: a picture exists already or cannot be written.
    """
    for path in images:
        check_image_file(path)
    return classify_files(bundle, images, top=top, min_confidence=min_confidence, annotate=annotate, exported=exported)


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


def classify_files(
    bundle: str | Path,
    images: Sequence[Path],
    *,
    top: int,
    min_confidence: float,
    annotate: Path | None,
    exported: Path,
) -> list[dict[str, Any]]:
    """Do what `predict_files` does, with files that were looked at already."""
    classifier = Classifier(find_bundle(bundle, exported))
    targets = _targets(images, annotate)
    results = []
    for path in images:
        image = read_image(path)
        found = classifier.predict(image, top=top, min_confidence=min_confidence)
        if path in targets:
            _write_picture(targets[path], image, found)
            log.info("Wrote %s", targets[path])
        results.append({"image": str(path.absolute()), "predictions": [prediction._asdict() for prediction in found]})
    return results


def _targets(images: Sequence[Path], annotate: Path | None) -> dict[Path, Path]:
    """Return image to picture.

    Raises:
        OutputError: a picture exists already, or two images would share one.
    """
    if annotate is None:
        return {}
    if len(images) == 1 and not annotate.is_dir():
        targets = {images[0]: annotate}
    else:
        make_folder(annotate)
        targets = {path: annotate / f"{path.stem}.png" for path in images}
    for target in targets.values():
        if target.exists():
            raise OutputError(
                f"{target} exists already, and nothing is overwritten. Choose another --annotate, or remove it."
            )
    if len(set(targets.values())) < len(set(images)):
        raise OutputError("Two of the images have the same name and would share a picture. Annotate them one by one.")
    return targets


def _write_picture(path: Path, image: cv2.typing.MatLike, found: list[Prediction]) -> None:
    from trainkit.drawing import draw_lines

    lines = [f"{label}  {probability:.1%}" for label, probability in found] or [
        "nothing above the confidence asked for"
    ]
    make_folder(path.parent)
    with replacing(path) as temporary:
        try:
            written = cv2.imwrite(str(temporary), draw_lines(image, lines))
        except cv2.error:
            written = False
        if not written:
            raise OutputError(f"OpenCV cannot write {path}. Expected a name that ends in .png or .jpg.")
