"""Networks of `keras.applications` under a head of one's own: transfer learning."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trainkit.errors import UsageError, WeightsError
from trainkit.models._layers import build_classes, check_weights_file, does_not_fit
from trainkit.preprocessing import Color

_LARGE = 320  # pixels, each side
FEATURES = "features"  # the name of the layer at which backbone and head meet


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A network of `keras.applications`, and what its ImageNet weights were trained with."""

    application: str  # its class there
    preprocessing: str  # what `preprocess_input` of its family does; `none` where the model itself scales
    color: Color = "rgb"
    size: int = 224  # pixels, each side
    least: int = 32  # pixels, the smallest side that Keras builds
    alphas: tuple[float, ...] = ()  # the widths with ImageNet weights; empty where the width cannot be chosen
    dense: int = 0  # units of a dense layer before the classes; 0 for none
    dropout: float = 0.2

    @property
    def batch_size(self) -> int:
        """Images a step: where they are large, what all layers keep of 32 of them does not fit into memory."""
        return 32 if self.size < _LARGE else 8

    @property
    def settings(self) -> dict[str, int | float | str]:
        """What `build_backbone` may be told, with its defaults."""
        return {
            "weights": "imagenet",
            **({"dense": self.dense} if self.dense else {}),
            **({"alpha": 1.0} if self.alphas else {}),
            "dropout": self.dropout,
        }


# To add another one of keras.applications, give it a line here.
BACKBONES = {
    # Simonyan and Zisserman 2014, arXiv:1409.1556
    "vgg16": Backbone(application="VGG16", preprocessing="caffe", color="bgr", dense=256, dropout=0.5),
    "vgg19": Backbone(application="VGG19", preprocessing="caffe", color="bgr", dense=256, dropout=0.5),
    # Howard et al. 2017, arXiv:1704.04861; Sandler et al. 2018, arXiv:1801.04381; Howard et al. 2019, arXiv:1905.02244
    "mobilenet": Backbone(application="MobileNet", preprocessing="symmetric", alphas=(0.25, 0.5, 0.75, 1.0)),
    "mobilenet-v2": Backbone(
        application="MobileNetV2", preprocessing="symmetric", alphas=(0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
    ),
    "mobilenet-v3-small": Backbone(application="MobileNetV3Small", preprocessing="none", alphas=(0.75, 1.0)),
    "mobilenet-v3-large": Backbone(application="MobileNetV3Large", preprocessing="none", alphas=(0.75, 1.0)),
    # Tan and Le 2019, arXiv:1905.11946
    "efficientnet-b0": Backbone(application="EfficientNetB0", preprocessing="none"),
    "efficientnet-b1": Backbone(application="EfficientNetB1", preprocessing="none", size=240),
    "efficientnet-b2": Backbone(application="EfficientNetB2", preprocessing="none", size=260),
    "efficientnet-b3": Backbone(application="EfficientNetB3", preprocessing="none", size=300),
    "efficientnet-b4": Backbone(application="EfficientNetB4", preprocessing="none", size=380),
    "efficientnet-b5": Backbone(application="EfficientNetB5", preprocessing="none", size=456),
    "efficientnet-b6": Backbone(application="EfficientNetB6", preprocessing="none", size=528),
    "efficientnet-b7": Backbone(application="EfficientNetB7", preprocessing="none", size=600),
    # Tan and Le 2021, arXiv:2104.00298
    "efficientnet-v2-b0": Backbone(application="EfficientNetV2B0", preprocessing="none"),
    "efficientnet-v2-b1": Backbone(application="EfficientNetV2B1", preprocessing="none", size=240),
    "efficientnet-v2-b2": Backbone(application="EfficientNetV2B2", preprocessing="none", size=260),
    "efficientnet-v2-b3": Backbone(application="EfficientNetV2B3", preprocessing="none", size=300),
    "efficientnet-v2-s": Backbone(application="EfficientNetV2S", preprocessing="none", size=384),
    "efficientnet-v2-m": Backbone(application="EfficientNetV2M", preprocessing="none", size=480),
    "efficientnet-v2-l": Backbone(application="EfficientNetV2L", preprocessing="none", size=480),
    # He et al. 2015, arXiv:1512.03385, and 2016, arXiv:1603.05027
    "resnet50": Backbone(application="ResNet50", preprocessing="caffe", color="bgr"),
    "resnet101": Backbone(application="ResNet101", preprocessing="caffe", color="bgr"),
    "resnet152": Backbone(application="ResNet152", preprocessing="caffe", color="bgr"),
    "resnet50-v2": Backbone(application="ResNet50V2", preprocessing="symmetric"),
    "resnet101-v2": Backbone(application="ResNet101V2", preprocessing="symmetric"),
    "resnet152-v2": Backbone(application="ResNet152V2", preprocessing="symmetric"),
    # Huang et al. 2016, arXiv:1608.06993
    "densenet121": Backbone(application="DenseNet121", preprocessing="torch"),
    "densenet169": Backbone(application="DenseNet169", preprocessing="torch"),
    "densenet201": Backbone(application="DenseNet201", preprocessing="torch"),
    # Szegedy et al. 2015, arXiv:1512.00567, and 2016, arXiv:1602.07261; Chollet 2016, arXiv:1610.02357
    "inception-v3": Backbone(application="InceptionV3", preprocessing="symmetric", size=299, least=75),
    "inception-resnet-v2": Backbone(application="InceptionResNetV2", preprocessing="symmetric", size=299, least=75),
    "xception": Backbone(application="Xception", preprocessing="symmetric", size=299, least=71),
    # Zoph et al. 2017, arXiv:1707.07012
    "nasnet-mobile": Backbone(application="NASNetMobile", preprocessing="symmetric"),
    "nasnet-large": Backbone(application="NASNetLarge", preprocessing="symmetric", size=331),
    # Liu et al. 2022, arXiv:2201.03545
    "convnext-tiny": Backbone(application="ConvNeXtTiny", preprocessing="none"),
    "convnext-small": Backbone(application="ConvNeXtSmall", preprocessing="none"),
    "convnext-base": Backbone(application="ConvNeXtBase", preprocessing="none"),
    "convnext-large": Backbone(application="ConvNeXtLarge", preprocessing="none"),
    "convnext-xlarge": Backbone(application="ConvNeXtXLarge", preprocessing="none"),
}


def build_backbone(
    name: str,
    input_shape: tuple[int, int, int],
    class_count: int,
    *,
    weights: str,
    dropout: float,
    alpha: float | None = None,
    dense: int = 0,
    multi_label: bool = False,
) -> Any:
    """Build one of `BACKBONES`, global average pooling, dropout, and one dense layer for the classes.

    Args:
        name: of the backbone.
        input_shape: (height, width, channels), at least `Backbone.least`; three channels for ImageNet weights.
        class_count: two make one sigmoid unit, more a softmax.
        weights: `imagenet`, a file, or `none`. With weights the backbone is frozen.
        dropout: the share dropped before the classes, 0 to below 1.
        alpha: the width, where the backbone has `alphas`.
        dense: units of a relu layer between the features and the dropout; 0 for none.
        multi_label: whether an image may have several classes.

    Raises:
        UsageError: the shape or alpha is impossible.
        WeightsError: the weights cannot be had or do not fit.
    """
    from trainkit.backend import keras

    backbone = BACKBONES[name]
    _check_arguments(name, backbone, input_shape, weights, alpha)
    application = getattr(keras.applications, backbone.application)

    def build(**arguments: Any) -> Any:
        return application(**arguments, **({} if alpha is None else {"alpha": alpha}))

    body = _load_body(name, build, input_shape, weights)
    body.trainable = weights == "none"
    x = keras.layers.GlobalAveragePooling2D(name=FEATURES)(body.output)
    if dense:
        x = keras.layers.Dense(dense, activation="relu", kernel_initializer="he_uniform")(x)
    outputs = build_classes(class_count, multi_label=multi_label)(keras.layers.Dropout(dropout)(x))
    return keras.Model(body.input, outputs, name=name.replace("-", "_"))


def _check_arguments(
    name: str, backbone: Backbone, input_shape: tuple[int, int, int], weights: str, alpha: float | None
) -> None:
    height, width, channels = input_shape
    if min(height, width) < backbone.least:
        raise UsageError(
            f"{name} needs images of at least {backbone.least}x{backbone.least}. Received: --size {width}x{height}"
        )
    if weights == "imagenet" and channels != 3:
        raise UsageError(
            f"The ImageNet weights of {name} need colour. Received: --color gray. Take rgb, or --weights none."
        )
    if weights == "imagenet" and alpha is not None and alpha not in backbone.alphas:
        raise UsageError(f"ImageNet weights of {name} exist for alpha {backbone.alphas}. Received: {alpha}")


def _load_body(name: str, build: Callable[..., Any], input_shape: tuple[int, int, int], weights: str) -> Any:
    if weights == "imagenet":
        chosen = partial(build, include_top=False, input_shape=input_shape)
        return load_imagenet(name, chosen, otherwise="take --weights none or a file")
    if weights == "none":
        return build(include_top=False, weights=None, input_shape=input_shape)
    path = check_weights_file(weights)
    body = build(include_top=False, weights=None, input_shape=input_shape)
    try:
        body.load_weights(path)
    except Exception as error:  # h5py and Keras raise what they meet in a file of another shape
        _load_from_whole(body, name, build, path, error)
    correct_normalization(name, body)
    return body


def _load_from_whole(body: Any, name: str, build: Callable[..., Any], path: Path, reason: Exception) -> None:
    """Take the backbone's weights out of a file that holds the whole classifier of 1,000 classes."""
    side = BACKBONES[name].size  # what the dense layers on top of VGG16 were made for
    whole = build(include_top=True, weights=None, input_shape=(side, side, body.input_shape[-1]))
    try:
        whole.load_weights(path)
        _copy_weights(whole, body)
    except Exception as error:
        raise does_not_fit(path, name, reason) from error


def _copy_weights(whole: Any, body: Any) -> None:
    """Copy what comes before the top; by position, because Keras counts up the names of unnamed layers."""
    below = (layer for layer in whole.layers if layer.weights)
    for layer, source in zip((layer for layer in body.layers if layer.weights), below, strict=False):
        layer.set_weights(source.get_weights())
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()  # Normalization goes on with its old mean until it is told


def correct_normalization(name: str, body: Any) -> None:
    """Divide by the deviation that EfficientNet's ImageNet weights were trained with; other networks stay as they are.

    Their Normalization layer divides by its square root. Keras adds a layer for the other half only where it loads
    the weights itself, and says so in `keras/src/applications/efficientnet.py`. A file that was trained from the
    beginning has the mean 0 there, and is left as it is.
    """
    if not name.startswith("efficientnet-b"):
        return
    (layer,) = [layer for layer in body.layers if type(layer).__name__ == "Normalization"]
    mean, variance, count = layer.get_weights()
    if mean.shape == (3,) and np.allclose(mean, (0.485, 0.456, 0.406), atol=1e-3):
        layer.set_weights([mean, variance * np.array((0.229, 0.224, 0.225), np.float32), count])
        layer.finalize_state()


def load_imagenet(name: str, build: Callable[..., Any], *, otherwise: str) -> Any:
    """Build a network with ImageNet's weights.

    Args:
        name: of the network, for the message.
        build: takes `weights`.
        otherwise: what the user can do where they cannot be had.

    Raises:
        WeightsError: they are not here and cannot be downloaded; says which file goes where.
    """
    from trainkit.backend import downloading

    try:
        with downloading(f"the ImageNet weights of {name}"), warnings.catch_warnings():
            # For a size that MobileNet was not trained at, Keras takes the weights for 224 and warns.
            warnings.simplefilter("ignore")
            return build(weights="imagenet")
    except Exception as error:
        url = re.search(r"https?://\S+?\.h5", str(error))
        folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "models")
        if url is None and isinstance(error, OSError):  # h5py's, of a file that was cut off
            raise WeightsError(
                f"The ImageNet weights of {name} in {folder} are damaged. Delete the file, to download it again, "
                f"or {otherwise}."
            ) from error
        if url is None:
            raise
        raise WeightsError(
            f"The ImageNet weights of {name} are not here and cannot be downloaded. "
            f"Put {url[0].rsplit('/', 1)[1]} from {url[0]} into {folder}, or {otherwise}."
        ) from error
