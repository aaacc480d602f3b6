"""The textbook network for Fashion-MNIST."""

from __future__ import annotations

from typing import Any

from trainkit.errors import UsageError
from trainkit.models._layers import build_classes, load_weights


def build_fashion_mnist(
    input_shape: tuple[int, int, int], class_count: int, *, weights: str, multi_label: bool = False
) -> Any:
    """Build convolution 32 of 3x3, max pooling, flatten, dense 100, dense `class_count`; he_uniform and relu.

    Args:
        input_shape: (height, width, channels); the textbook's is (28, 28, 1).
        class_count: two make one sigmoid unit, more a softmax.
        weights: `none`, or a file of this network's weights.
        multi_label: whether an image may have several classes.

    Raises:
        UsageError: the image is smaller than 4x4.
        WeightsError: the weights do not fit.
    """
    from trainkit.backend import keras

    if min(input_shape[:2]) < 4:
        raise UsageError(
            f"The fashion-mnist network needs images of at least 4x4. Received: {input_shape[1]}x{input_shape[0]}"
        )
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(32, 3, activation="relu", kernel_initializer="he_uniform")(inputs)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D()(x))
    x = keras.layers.Dense(100, activation="relu", kernel_initializer="he_uniform")(x)
    outputs = build_classes(class_count, multi_label=multi_label)(x)
    return load_weights(keras.Model(inputs, outputs, name="fashion_mnist"), weights)
