"""A small residual network for small pictures: it learns fast, and every OpenCV reads it."""

from __future__ import annotations

from typing import Any

from trainkit.errors import UsageError
from trainkit.models._layers import build_classes, load_weights

_LEAST_SIDE = 8  # two poolings leave 2x2


def build_small_resnet(
    input_shape: tuple[int, int, int],
    class_count: int,
    *,
    width: int,
    blocks: int,
    dropout: float,
    weights: str,
    first_blocks: int = 0,
    multi_label: bool = False,
) -> Any:
    """Build three stages of 3x3 convolutions with batch normalisation, and residual blocks behind them.

    Each stage has twice as many channels, the first two begin with 2x2 max pooling; so most of the work is done where a
    picture of 28x28 has become one of 14x14 or of 7x7. A residual block is one convolution that is added to what it was
    given (He et al. 2016, arXiv:1603.05027).

    Args:
        input_shape: (height, width, channels).
        class_count: two make one sigmoid unit, more a softmax.
        width: channels of the first stage.
        blocks: residual blocks of the last stage; the one before has one less.
        dropout: the share of features dropped before the classes, 0 to below 1.
        weights: `none`, or a file of this network's weights.
        first_blocks: residual blocks of the first stage.
        multi_label: whether an image may have several classes.

    Raises:
        UsageError: the image is smaller than 8x8.
        WeightsError: the weights do not fit.
    """
    from trainkit.backend import keras

    if min(input_shape[:2]) < _LEAST_SIDE:
        raise UsageError(
            f"small-resnet needs images of at least {_LEAST_SIDE}x{_LEAST_SIDE}. "
            f"Received: --size {input_shape[1]}x{input_shape[0]}"
        )
    layers = keras.layers

    def convolve(x: Any, channels: int, *, pool: bool = False) -> Any:
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
        if pool:
            x = layers.MaxPooling2D()(x)  # before what follows, which has a quarter left to do
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    inputs = keras.Input(input_shape)
    x = convolve(inputs, width, pool=True)
    for _ in range(first_blocks):
        x = layers.Add()([x, convolve(x, width)])
    x = convolve(x, 2 * width, pool=True)
    for _ in range(blocks - 1):
        x = layers.Add()([x, convolve(x, 2 * width)])
    x = convolve(x, 4 * width)
    for _ in range(blocks):
        x = layers.Add()([x, convolve(x, 4 * width)])
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    outputs = build_classes(class_count, multi_label=multi_label)(x)
    return load_weights(keras.Model(inputs, outputs, name="small_resnet"), weights)
