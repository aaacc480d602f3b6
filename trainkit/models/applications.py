"""Whole networks of `keras.applications`, with their 1,000 classes of ImageNet."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.errors import UsageError, WeightsError, unknown
from trainkit.models import BUILDERS
from trainkit.models.backbones import _load_imagenet
from trainkit.models.layers import check_weights_file, does_not_fit

# The model's name in trainkit, and that of the function in keras.applications.
APPLICATIONS = {
    "vgg16": "VGG16",
    "mobilenet": "MobileNet",
    "mobilenet-v2": "MobileNetV2",
    "mobilenet-v3-small": "MobileNetV3Small",
    "mobilenet-v3-large": "MobileNetV3Large",
    "efficientnet-b0": "EfficientNetB0",
    "efficientnet-v2-b0": "EfficientNetV2B0",
    "resnet50": "ResNet50",
    "resnet50-v2": "ResNet50V2",
    "densenet121": "DenseNet121",
    "inception-v3": "InceptionV3",
    "xception": "Xception",
    "nasnet-mobile": "NASNetMobile",
    "convnext-tiny": "ConvNeXtTiny",
}


def check_application(name: str) -> None:
    """Raise unless there is a whole network of this name.

    Raises:
        UsageError: there is none.
    """
    known = [model for model in APPLICATIONS if model in BUILDERS]
    if name not in known:
        raise unknown("model", name, known)


def build_application(name: str, *, width: int, height: int, weights: str, alpha: float | None = None) -> Any:
    """Build a whole network with its 1,000 classes, softmax included.

    Args:
        name: one of `APPLICATIONS`.
        width: pixels.
        height: pixels.
        weights: `imagenet`, or a file with the weights of the whole network.
        alpha: the width of the network, where it has one to choose.

    Raises:
        UsageError: the network does not come so.
        WeightsError: the weights cannot be had or do not fit.
    """
    from trainkit.backend import keras

    application = getattr(keras.applications, APPLICATIONS[name])
    if alpha is not None and "alpha" not in inspect.signature(application).parameters:
        raise UsageError(f"{name} comes in one width. Received: --alpha {alpha:g}. Leave it out.")
    chosen = {"include_top": True, **({} if alpha is None else {"alpha": alpha})}

    def build(**arguments: Any) -> Any:
        return application(**{**arguments, **chosen})

    shape = (height, width, 3)
    try:
        if weights == "imagenet":
            return _load_imagenet(name, build, shape)
        model = build(weights=None, input_shape=shape)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{name} with its 1,000 classes does not come so ({reason}).") from None
    path = check_weights_file(weights)
    try:
        model.load_weights(path)
    except Exception as error:  # h5py and Keras raise what they meet in a file of another shape
        raise does_not_fit(path, name, error) from None
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
        with downloading():
            (decoded,) = keras.applications.imagenet_utils.decode_predictions(falling, top=1000)
    except Exception as error:  # whatever the network, the cache or a damaged file raise
        folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "models")
        raise WeightsError(
            f"ImageNet's class names are not here and cannot be downloaded ({' '.join(str(error).split())[:150]}). "
            f"Put imagenet_class_index.json into {folder}, or go online once."
        ) from None
    names = [name.replace("_", " ") for _, name, _ in decoded]
    counts = Counter(names)
    return [f"{name} ({decoded[i][0]})" if counts[name] > 1 else name for i, name in enumerate(names)]
