"""Explain answers of a bundle, a manifest or a run: each picture's map as an array, and as heat on the picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import doing
from trainkit.bundles._find import EXPORTED
from trainkit.bundles._inputs import Images, find_problems, list_images, refuse
from trainkit.data._inspection import read_image
from trainkit.deploy.python._media import is_video, list_inputs
from trainkit.deploy.python._pixels import check_image
from trainkit.errors import BundleError, DataError, UsageError
from trainkit.explaining._explainer import Method
from trainkit.explaining._explanation import Explanation
from trainkit.explaining._opening import Question, name_of, open_explainer
from trainkit.explaining._writing import Folder
from trainkit.runs._run import EXPERIMENTS, Run

_TEXT = "Explaining"


def explain(
    network: str | os.PathLike[str] | Run,
    images: Images,
    *,
    method: Method = "occlusion",
    label: str | None = None,
    out: str | os.PathLike[str] | None = None,
    experiments: str | os.PathLike[str] = EXPERIMENTS,
    exported: str | os.PathLike[str] = EXPORTED,
) -> Any:
    """Say which part of a picture speaks for the class that a network gives it.

    Args:
        network: a `Bundle`, its folder, its name in `exported`, or a manifest, which OpenCV alone computes; or a `Run`,
            its path, its name, or `latest`, which Keras does.
        images: a path or several: images, and folders of them; or an image in memory, or a list of them: uint8
            `(height, width, 3)`, BGR, as `cv2.imread` returns it, of any size.
        method: `occlusion`: patches are hidden one after the other; `grad-cam` or `hirescam`, of a run: class
            activation maps of its last convolutional feature map.
        label: the class that is explained; by default the likeliest one of each picture.
        out: the folder for maps and pictures, with paths; by default a new one, `explained/NAME`.
        experiments: the folder of runs.
        exported: the folder of bundles.

    Returns:
        For paths what `trainkit explain --json` prints, `{"image", "label", "map"}` for each image, `map` being the
        path of a `.npy` file: float32 `(height, width)`, those of the picture upright. The picture with its heat lies
        beside it. For one array its `Explanation(label, probability, map)`, for a list of arrays a list of them.

    Raises:
        BundleError: the bundle is missing or damaged, or a detector.
        DataError: some files are no images that every OpenCV since 4.5 reads; raised after the others are explained.
        OutputError: the folder cannot be written.
        RunError: the run is missing, unfinished or damaged.
        UsageError: there are no images, no such method or class, or a class activation map is asked for of a bundle or
            of a network without a convolution.
    """
    given = list_images(images)
    asked = Question(network=network, method=method, label=label, experiments=experiments, exported=exported)
    if isinstance(given[0], Path):
        paths = [path for path in given if isinstance(path, Path)]
        return [found.to_json() for found in explain_files(asked, paths, out=out)]
    if out is not None:
        raise UsageError("`out` goes with paths of images. Received: images as arrays.")
    arrays = [image for image in given if isinstance(image, np.ndarray)]
    for image in arrays:
        check_image(image)
    explainer = open_explainer(asked)
    with doing(_TEXT, total=len(arrays) * explainer.parts, unit=explainer.unit) as step:
        found = [explainer.explain(image, step.advance) for image in arrays]
    return found[0] if isinstance(images, np.ndarray) else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An image file, explained."""

    image: Path
    explanation: Explanation
    map: Path  # of the `.npy` file
    picture: Path

    def to_json(self) -> dict[str, Any]:
        """Return what `trainkit explain --json` prints of it."""
        return {
            "image": str(self.image.absolute()),
            "label": self.explanation.label,
            "map": str(self.map.absolute()),
        }


def explain_files(
    question: Question, images: Sequence[Path], *, out: str | os.PathLike[str] | None = None
) -> Iterator[Explained]:
    """Explain images and folders of them, each as it comes; `explain` says what is raised.

    All files are looked at before the first is explained. What cannot be read is left out, and named at the end.
    """
    explainer = open_explainer(question)
    usable, problems = _look_at(images)
    count, folder = len(usable) + len(problems), Folder(out, name_of(question.network))
    with doing(_TEXT, total=len(usable) * explainer.parts, unit=explainer.unit) as step:
        for path in usable:
            try:
                image = read_image(path)
                explanation = explainer.explain(image, step.advance)
            except (BundleError, DataError) as error:
                problems[path] = str(error)
                continue
            yield Explained(image=path, explanation=explanation, **folder.save(path, image, explanation)._asdict())
    refuse(problems, count)


def _look_at(images: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Return the image files among what is named and below it, and of the others why they are none."""
    problems: dict[Path, str] = {}

    def complain(error: BundleError, source: str | Path) -> None:
        problems[Path(source)] = str(error)

    files = [Path(file) for file in list_inputs(map(str, images), complain)]
    for path in files:
        if is_video(str(path)):
            problems[path] = f"{path} is a video. Expected images: save the frame that is to be explained as a picture."
    problems |= find_problems([path for path in files if path not in problems])
    return [path for path in files if path not in problems], problems
