"""Networks of `keras.applications` under a head of one's own: transfer learning."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainkit.errors import UsageError, WeightsError
from trainkit.models.layers import build_classes, check_weights_file, does_not_fit

FEATURES = "features"  # the name of the layer at which backbone and head meet
_IMAGENET_ALPHAS = (0.25, 0.5, 0.75, 1.0)


def build_vgg16(
    input_shape: tuple[int, int, int], class_count: int, *, weights: str, dense: int, dropout: float
) -> Any:
    """Build VGG16 (Simonyan and Zisserman 2014, arXiv:1409.1556) with a dense layer and one for the classes.

    Args:
        input_shape: (height, width, channels), at least 32x32; three channels for ImageNet weights.
        class_count: two make one sigmoid unit, more a softmax.
        weights: `imagenet`, a file, or `none`. With weights the backbone is frozen.
        dense: units of the dense layer before the classes.
        dropout: the share dropped behind it, 0 to below 1.

    Raises:
        UsageError: the shape is impossible.
        WeightsError: the weights cannot be had or do not fit.
    """
    from trainkit.backend import keras

    def head(features: Any) -> Any:
        x = keras.layers.Dense(dense, activation="relu", kernel_initializer="he_uniform")(features)
        return build_classes(class_count)(keras.layers.Dropout(dropout)(x))

    return _build("vgg16", keras.applications.VGG16, input_shape, weights, head)


def build_mobilenet(
    input_shape: tuple[int, int, int], class_count: int, *, weights: str, alpha: float, dropout: float
) -> Any:
    """Build MobileNet (Howard et al. 2017, arXiv:1704.04861) with one dense layer for the classes.

    Args:
        input_shape: (height, width, channels), at least 32x32; three channels for ImageNet weights.
        class_count: two make one sigmoid unit, more a softmax.
        weights: `imagenet`, a file, or `none`. With weights the backbone is frozen.
        alpha: the width of the network; ImageNet weights exist for 0.25, 0.5, 0.75 and 1.
        dropout: the share of features dropped before the dense layer, 0 to below 1.

    Raises:
        UsageError: the shape or alpha is impossible.
        WeightsError: the weights cannot be had or do not fit.
    """
    from trainkit.backend import keras

    if weights == "imagenet" and alpha not in _IMAGENET_ALPHAS:
        raise UsageError(f"ImageNet weights of mobilenet exist for alpha {_IMAGENET_ALPHAS}. Received: {alpha}")

    def application(**arguments: Any) -> Any:
        return keras.applications.MobileNet(alpha=alpha, **arguments)

    def head(features: Any) -> Any:
        return build_classes(class_count)(keras.layers.Dropout(dropout)(features))

    return _build("mobilenet", application, input_shape, weights, head)


def _build(
    name: str,
    application: Callable[..., Any],
    input_shape: tuple[int, int, int],
    weights: str,
    head: Callable[[Any], Any],
) -> Any:
    from trainkit.backend import keras

    _check_shape(name, input_shape, weights)
    backbone = _load_backbone(name, application, input_shape, weights)
    backbone.trainable = weights == "none"
    features = keras.layers.GlobalAveragePooling2D(name=FEATURES)(backbone.output)
    return keras.Model(backbone.input, head(features), name=name)


def _check_shape(name: str, input_shape: tuple[int, int, int], weights: str) -> None:
    height, width, channels = input_shape
    if min(height, width) < 32:
        raise UsageError(f"{name} needs images of at least 32x32. Received: --size {width}x{height}")
    if weights == "imagenet" and channels != 3:
        raise UsageError(
            f"The ImageNet weights of {name} need colour. Received: --color gray. Take rgb, or --weights none."
        )


def _load_backbone(name: str, application: Callable[..., Any], input_shape: tuple[int, int, int], weights: str) -> Any:
    if weights == "imagenet":
        return _load_imagenet(name, application, input_shape)
    if weights == "none":
        return application(include_top=False, weights=None, input_shape=input_shape)
    path = check_weights_file(weights)
    backbone = application(include_top=False, weights=None, input_shape=input_shape)
    try:
        backbone.load_weights(path)
    except Exception as error:  # h5py and Keras raise what they meet in a file of another shape
        return _load_with_top(name, application, input_shape, path, error)
    return backbone


def _load_with_top(
    name: str, application: Callable[..., Any], input_shape: tuple[int, int, int], path: Path, reason: Exception
) -> Any:
    """Take the backbone out of a file that holds the whole classifier of 1,000 classes."""
    whole_shape = (224, 224, input_shape[2])  # the shape that the dense layers on top were made for
    whole = application(include_top=True, weights=None, input_shape=whole_shape)
    try:
        whole.load_weights(path)
    except Exception:
        raise does_not_fit(path, name, reason) from None
    backbone = application(include_top=False, weights=None, input_shape=input_shape)
    for layer in backbone.layers:
        if layer.weights:
            layer.set_weights(whole.get_layer(layer.name).get_weights())
    return backbone


def _load_imagenet(name: str, application: Callable[..., Any], input_shape: tuple[int, int, int]) -> Any:
    from trainkit.backend import downloading

    try:
        with downloading(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # for a size that MobileNet was not trained at, Keras takes the weights for 224
            return application(include_top=False, weights="imagenet", input_shape=input_shape)
    except Exception as error:
        url = re.search(r"https?://\S+?\.h5", str(error))
        if url is None:
            raise
        folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "models")
        raise WeightsError(
            f"The ImageNet weights of {name} are not here and cannot be downloaded. "
            f"Put {url[0].rsplit('/', 1)[1]} from {url[0]} into {folder}, or take --weights none or a file."
        ) from None
