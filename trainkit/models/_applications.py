"""Whole networks of `keras.applications`, with their 1,000 classes of ImageNet."""

from __future__ import annotations

import inspect
import os
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.errors import UsageError, WeightsError
from trainkit.models._backbones import BACKBONES, correct_normalization, load_imagenet
from trainkit.models._layers import check_weights_file, does_not_fit
from trainkit.models._listing import unknown_model

# The model's name in trainkit, and that of the function in keras.applications.
APPLICATIONS = {name: backbone.application for name, backbone in BACKBONES.items()}
_OPEN_SIZE = 224  # of MobileNetV3, pixels: Keras builds it for images of any size, unless told


def find_application(name: str) -> str:
    """Return one of `APPLICATIONS` by its name here or by Keras' own, `mobilenet-v2` or `MobileNetV2`.

    Raises:
        UsageError: there is none of this name.
    """
    by_keras = {keras_name: own for own, keras_name in APPLICATIONS.items()}
    if name not in APPLICATIONS and name not in by_keras:
        raise unknown_model(name, APPLICATIONS)
    return by_keras.get(name, name)


def check_application(name: str) -> None:
    """Raise unless there is a whole network of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in APPLICATIONS:
        raise unknown_model(name, APPLICATIONS)


def build_application(
    name: str, *, width: int | None = None, height: int | None = None, weights: str, alpha: float | None = None
) -> Any:
    """Build a whole network with its 1,000 classes, softmax included.

    Args:
        name: one of `APPLICATIONS`.
        width: pixels; without width and height it is the size that the network was made for.
        height: pixels.
        weights: `imagenet`, a file with the weights of the whole network, or `none` for random ones.
        alpha: the width of the network, where it has one to choose.

    Raises:
        UsageError: the network does not come so.
        WeightsError: the weights cannot be had or do not fit.
    """
    from trainkit.backend import keras

    application = getattr(keras.applications, APPLICATIONS[name])
    if alpha is not None and "alpha" not in inspect.signature(application).parameters:
        raise UsageError(f"{name} comes in one width. Received: --alpha {alpha:g}. Leave it out.")
    path = check_weights_file(weights) if weights not in ("imagenet", "none") else None
    if name.startswith("mobilenet-v3") and not (width and height):
        width = height = _OPEN_SIZE
    build = partial(application, input_shape=(height, width, 3) if width and height else None)
    if alpha is not None:
        build = partial(build, alpha=alpha)
    try:
        if weights == "imagenet":
            return load_imagenet(name, build, otherwise="name a file by --weights")
        model = build(weights=None)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{name} with its 1,000 classes does not come so ({reason}).") from error
    if path is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # many, before the error that says the same
                model.load_weights(path)
        except Exception as error:  # h5py and Keras raise what they meet in a file of another shape
            raise does_not_fit(path, name, error) from error
        correct_normalization(name, model)
    return model


def load_imagenet_names() -> list[str]:
    """Return ImageNet's 1,000 class names in the order of the outputs, all different.

    They are those of `decode_predictions`, with spaces. Two names stand for two classes each, a bird and a machine for
    example; those carry their WordNet number too.

    Raises:
        WeightsError: Keras has no list of them here and cannot download it.
    """
    from trainkit.backend import downloading, keras

    falling = np.linspace(1, 0, 1000)[None]
    try:
        with downloading("ImageNet's class names"):
            (decoded,) = keras.applications.imagenet_utils.decode_predictions(falling, top=1000)
    except Exception as error:  # whatever the network, the cache or a damaged file raise
        folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "models")
        raise WeightsError(
            "ImageNet's class names are not here and cannot be downloaded. Put imagenet_class_index.json from "
            f"{keras.src.applications.imagenet_utils.CLASS_INDEX_PATH} into {folder}, or go online once."
        ) from error
    names = [name.replace("_", " ") for _, name, _ in decoded]
    counts = Counter(names)
    return [f"{name} ({decoded[i][0]})" if counts[name] > 1 else name for i, name in enumerate(names)]
