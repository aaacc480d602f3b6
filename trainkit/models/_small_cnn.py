"""A small convolutional network for small images or few of them."""

from __future__ import annotations

from typing import Any

from trainkit.errors import UsageError
from trainkit.models._layers import build_classes, load_weights

MOST_BLOCKS = 3  # unless the user asks for more


def build_small_cnn(
    input_shape: tuple[int, int, int],
    class_count: int,
    *,
    blocks: int,
    filters: int,
    dropout: float,
    weights: str,
    multi_label: bool = False,
) -> Any:
    """Build blocks of a 3x3 convolution with relu and 2x2 max pooling, then flatten, dropout, dense.

    With one block, 256x256x1 and two classes it is the network of the books: 32 filters, max pooling, a sigmoid.

    Args:
        input_shape: (height, width, channels).
        class_count: two make one sigmoid unit, more a softmax.
        blocks: how many; 0 for as many as fit into the image, at most three.
        filters: of the first block; each further block has twice as many.
        dropout: the share of features dropped before the dense layer, 0 to below 1.
        weights: `none`, or a file of this network's weights.
        multi_label: whether an image may have several classes.

    Raises:
        UsageError: the image is too small for the blocks.
        WeightsError: the weights do not fit.
    """
    from trainkit.backend import keras

    fitting = fitting_blocks(min(input_shape[:2]))
    if fitting < max(1, blocks):
        height, width, _ = input_shape
        raise UsageError(
            f"An image of {width}x{height} has room for {fitting} blocks of convolution and pooling. "
            f"Received: model.blocks={blocks}. Take a larger --size or fewer blocks."
        )
    inputs = x = keras.Input(input_shape)
    for block in range(blocks or min(fitting, MOST_BLOCKS)):
        x = keras.layers.Conv2D(filters * 2**block, 3, activation="relu")(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(dropout)(keras.layers.Flatten()(x))
    outputs = build_classes(class_count, multi_label=multi_label)(x)
    return load_weights(keras.Model(inputs, outputs, name="small_cnn"), weights)


def fitting_blocks(side: int) -> int:
    """Return how many blocks leave at least one pixel of a side: each takes 2, then half."""
    blocks = 0
    while side >= 4:
        side = (side - 2) // 2
        blocks += 1
    return blocks
