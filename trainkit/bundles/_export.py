"""From a run, or any Keras model, to a bundle that OpenCV alone can use."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainkit.bundles._choices import Choices
from trainkit.bundles._clients import check_clients
from trainkit.bundles._find import EXPORTED, check_free
from trainkit.bundles._small_weights import Storage
from trainkit.deploy.python._values import OLDEST_OPENCV
from trainkit.errors import ModelError, UsageError, unknown
from trainkit.preprocessing import Preprocessing
from trainkit.runs._run import EXPERIMENTS, Run, find_run

if TYPE_CHECKING:
    import numpy as np

    from trainkit.bundles._description import Description
    from trainkit.bundles._exportable import Exportable
    from trainkit.bundles._folder import Bundle

__all__ = ["FORMATS", "export"]

FORMATS = ("onnx", "frozen-graph")
KERAS_SUFFIXES = (".keras", ".h5", ".hdf5")


def export(
    source: Any = None,
    *,
    format: str = "onnx",
    name: str | None = None,
    model: str | None = None,
    weights: str | Path | None = None,
    alpha: float | None = None,
    preprocessing: Preprocessing | str | None = None,
    size: tuple[int, int] | str | None = None,
    color: str | None = None,
    resize: str | None = None,
    class_names: Sequence[str] | str | Path | None = None,
    manifest: str | Path | None = None,
    data: str | Path | None = None,
    images: Sequence[np.ndarray] | None = None,
    from_logits: bool = False,
    output: str | None = None,
    calibrate: bool = False,
    reject: float | None = None,
    thresholds: bool = False,
    opencv: str = OLDEST_OPENCV,
    clients: Sequence[str] | str = ("python",),
    originals: bool = True,
    weights_as: str = "float32",
    tolerance: float = 0.005,
    unsafe: bool = False,
    experiments: str | Path = EXPERIMENTS,
    exported: str | Path = EXPORTED,
) -> Bundle:
    """Write a bundle, checked against Keras in the installed OpenCV before it appears in `exported`.

    A run knows everything about itself. For a model that is no run's, say how pixels become its input
    (`preprocessing`, and `size`, `color`, `resize` where they differ from what its input shape says) and what its
    outputs mean (`class_names`); or both by the `manifest` of a bundle.

    Args:
        source: a run (its path, its name, or `latest`), a `.keras` or `.h5` file, or a `keras.Model`.
        format: `onnx`, or `frozen-graph` for deployments that read TensorFlow 1 graphs only.
        name: of the bundle's folder; `<run, file or model>-<format>` by default.
        model: instead of `source`, a whole network of keras.applications, with ImageNet's 1,000 classes.
        weights: of `model`: `imagenet`, or a file.
        alpha: of `model`, the width.
        preprocessing: one of `PREPROCESSINGS`, or an object with everything in it.
        size: of the input: (width, height) or `"WxH"`.
        color: what the model sees: `rgb`, `bgr` or `gray`.
        resize: how an image comes to that size; `stretch` by default.
        class_names: in the order of the outputs, or a file of them: one a line, numbered, CSV, or JSON.
        manifest: the manifest of a bundle, whose preprocessing and class names hold.
        data: a data set's name or a folder of images, for the self-test and the check.
        images: instead of `data`, uint8 `(height, width, 3)`, BGR. With neither, photographs that scikit-learn has.
        from_logits: the model ends without its softmax or sigmoid; one that was compiled so says it itself. A sigmoid
            follows one unit, or several where the loss is a binary one; otherwise a softmax.
        output: of a model that has several, the name of the one that counts.
        calibrate: of a run, scale the logits so that it is as sure as it is right on its validation images.
        reject: of a run, the share of its validation images that keep their answer, 0.95 for one: the least sure of the
            others sets the bound below which the answer is none of these.
        thresholds: of a run with several labels an image, choose on its validation images from which probability on an
            image has each class.
        opencv: the oldest version that must read the bundle.
        clients: the programs that the bundle carries: `python`, `cpp`, `node`, `web`.
        originals: put the files that the images of the self-test came from into the bundle, without their metadata.
        weights_as: how the file holds the weights: `float32`, or to be smaller `float16` or `int8`, with a scale a
            channel; the reader makes float32 of them as it loads.
        tolerance: the share of the accuracy that small weights may cost on the validation images of a run, or of the
            labels that they may change on the images of what is no run's; one image always may.
        unsafe: let a file run code: Lambda layers, and custom classes that were registered with Keras.
        experiments: the folder of runs.
        exported: the folder of bundles.

    Raises:
        UsageError: an argument is impossible, or does not go with the source.
        OutputError: a folder of this name exists already, or cannot be written.
        RunError: the run is missing, unfinished or damaged.
        ModelError: the file is missing, damaged or not safe, or holds no classifier of such images.
        WeightsError: the weights of `model` cannot be had.
        DataError: the images or the class names cannot be read; or there are no validation images to choose on.
        ExportError: the model cannot leave in this format, or its answers would differ.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    oldest, carried = _check_opencv(opencv), check_clients(clients)
    choices = Choices(calibrate=calibrate, reject=reject, thresholds=thresholds)
    storage = Storage(weights=weights_as, tolerance=tolerance)
    if storage.is_small and format != "onnx":
        raise UsageError(
            f"A frozen graph holds float32 only. Received: --weights-as {weights_as}. Take --format onnx, which every "
            "OpenCV since 4.5.5 reads with small weights, or leave it out."
        )
    options: dict[str, Any] = {
        "preprocessing": preprocessing,
        "size": size,
        "color": color,
        "resize": resize,
        "class_names": class_names,
        "manifest": manifest,
        "data": data,
        "images": images,
        "from_logits": from_logits or None,
        "output": output,
    }
    options = {key: value for key, value in options.items() if value is not None}
    if model is not None:
        _refuse("With --model, a network of keras.applications leaves", source=source, unsafe=unsafe or None)
        _refuse_choices(choices)
        stem, build = _application(model, weights, alpha, options)
    else:
        _refuse("Only a network of keras.applications (--model) has these", weights=weights, alpha=alpha)
        stem, build = _source(source, options, unsafe, Path(experiments), choices)
    bundle_name = name or f"{stem}-{format}"
    if not re.fullmatch(r"\w[\w.-]{0,199}", bundle_name):
        raise UsageError(f"`name` must be letters, digits, - _ and . without a folder. Received: {bundle_name!r}")
    check_free(Path(exported) / bundle_name)

    from trainkit.bundles._bundle import write_bundle

    return write_bundle(
        build(),
        model_format=format,
        name=bundle_name,
        exported=Path(exported),
        opencv=oldest,
        clients=carried,
        originals=originals,
        storage=storage,
    )


def _source(
    source: Any, options: dict[str, Any], unsafe: bool, experiments: Path, choices: Choices
) -> tuple[str, Callable[[], Exportable]]:
    """Return the first part of a bundle's name, and what makes the `Exportable` once TensorFlow may be loaded."""
    if _is_keras_model(source):
        _refuse("A model in memory has been loaded already", unsafe=unsafe or None)
        _refuse_choices(choices)
        description = _describe(options)
        return _plain(source.name), lambda: _exportables().exportable_from_model(source, description)
    if not isinstance(source, (str, Path, Run)):
        received = "nothing" if source is None else type(source).__name__
        raise UsageError(
            f"Export needs a run, a .keras or .h5 file, a keras.Model, or --model NAME. Received: {received}"
        )
    if not isinstance(source, Run) and Path(source).suffix.lower() in KERAS_SUFFIXES and not os.path.isdir(source):
        if not os.path.isfile(source):
            raise ModelError(f"No Keras model at {source}. Expected a .keras or .h5 file.")
        _refuse_choices(choices)
        description = _describe(options)
        path = Path(source)
        return _plain(path.stem), lambda: _exportables().exportable_from_file(path, description, unsafe=unsafe)
    if not isinstance(source, Run) and os.path.isfile(Path(source, "saved_model.pb")):
        raise ModelError(
            f"{source} is a SavedModel of TensorFlow. Expected a .keras or .h5 file: save the model as one."
        )
    if not isinstance(source, Run) and os.path.isfile(source):
        raise ModelError(f"{source} is no Keras model that trainkit reads. Expected a .keras or .h5 file, or a run.")
    _refuse("A run knows all this about itself", **options, unsafe=unsafe or None)
    run = find_run(source, experiments)
    run.check_usable()
    return run.name, lambda: _exportables().exportable_from_run(run, choices)


def _application(
    name: str, weights: str | Path | None, alpha: float | None, options: dict[str, Any]
) -> tuple[str, Callable[[], Exportable]]:
    from trainkit.bundles._description import build_description
    from trainkit.models._applications import check_application
    from trainkit.models._layers import check_weights_file

    check_application(name)
    pretrained = "imagenet" if weights is None else str(weights)
    if pretrained == "none":
        raise UsageError("A network without weights knows nothing. Expected --weights imagenet or a file.")
    if pretrained != "imagenet":
        check_weights_file(pretrained)
    known = ("preprocessing", "color", "manifest", "from_logits", "output")
    _refuse(f"{name} brings what its weights were trained with", **{key: options.get(key) for key in known})
    description = build_description(**options)
    stem = name if alpha is None else f"{name}-{alpha:g}"
    return stem, lambda: _exportables().exportable_from_application(name, description, weights=pretrained, alpha=alpha)


def _describe(options: dict[str, Any]) -> Description:
    from trainkit.bundles._description import build_description

    if "manifest" not in options and "preprocessing" not in options:
        raise UsageError(
            "How do pixels become this model's input? Say --preprocessing unit (0 to 1), symmetric (-1 to 1), none "
            "(0 to 255), caffe or torch, or give the --manifest of a bundle."
        )
    if "manifest" not in options and "class_names" not in options:
        raise UsageError(
            "What are this model's classes? Give --labels FILE with one name a line, in the order of its outputs "
            "(`class_names` in Python), or the --manifest of a bundle."
        )
    return build_description(**options)


def _exportables() -> Any:
    from trainkit.bundles import _exportable

    return _exportable


def _is_keras_model(source: Any) -> bool:
    keras = sys.modules.get("keras")  # who has a model has imported it
    return keras is not None and isinstance(source, keras.Model)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).lstrip(".-") or "model"


def _refuse(reason: str, **arguments: Any) -> None:
    keys = [key for key, value in arguments.items() if value is not None]
    if keys:
        listed = ", ".join("--labels" if key == "class_names" else f"--{key.replace('_', '-')}" for key in keys)
        raise UsageError(f"{reason}. Received: {listed}. Leave out what does not belong to it.")


def _refuse_choices(choices: Choices) -> None:
    if choices:
        raise UsageError(
            "Only a run has validation images, on which this is chosen. Received, with what is no run: "
            f"{', '.join(choices.options())}. Train it with trainkit, or leave that out."
        )


def _check_opencv(version: str) -> str:
    """Return an OpenCV version in three numbers, as a manifest has it.

    Raises:
        UsageError: it is not one, older than what a bundle can serve, or newer than the one it is checked with.
    """
    import cv2

    if not re.fullmatch(r"\d{1,3}(\.\d{1,3}){1,2}", str(version)):
        raise UsageError(f"`opencv` must be a version such as 4.5.5 or 4.10. Received: {version!r}")
    numbers = [*map(int, str(version).split(".")), 0][:3]
    if numbers < [*map(int, OLDEST_OPENCV.split("."))]:
        raise UsageError(f"`opencv` must be {OLDEST_OPENCV} or later. Received: {version}")
    installed = [int(part) for part in re.findall(r"\d+", cv2.__version__)[:3]]
    if numbers > installed:
        raise UsageError(
            f"`opencv` {version} is later than the installed {cv2.__version__}, with which the bundle is checked. "
            "Name an older one, or upgrade OpenCV."
        )
    return ".".join(map(str, numbers))
