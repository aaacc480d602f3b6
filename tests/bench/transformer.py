"""A Vision Transformer whose naive graph OpenCV reads: with products, where Keras' own attention becomes an Einsum."""

from __future__ import annotations

from typing import Any


def build_vit_tiny(classes: int, *, side: int = 224, patch: int = 16, width: int = 192, depth: int = 12) -> Any:
    """Return ViT-Tiny/16 without a class token (arXiv:2012.12877, table 1), three heads of 64."""
    from trainkit.backend import keras, tf

    layers, ops = keras.layers, keras.ops
    heads, tokens = width // 64, (side // patch) ** 2

    def gelu(x: Any) -> Any:  # by the operation that tf2onnx knows
        return 0.5 * x * (1 + tf.math.erf(x * 0.5**0.5))

    def split(x: Any) -> Any:
        return ops.transpose(ops.reshape(layers.Dense(width)(x), (-1, tokens, heads, 64)), (0, 2, 1, 3))

    image = keras.Input((side, side, 3))
    x = layers.Reshape((tokens, width))(layers.Conv2D(width, patch, strides=patch)(image))
    for _ in range(depth):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        query, key, value = split(y) * 64**-0.5, split(y), split(y)
        weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))))
        attended = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        x = x + layers.Dense(width)(ops.reshape(attended, (-1, tokens, width)))
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = x + layers.Dense(width)(layers.Dense(4 * width, activation=gelu)(y))
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(x))
    return keras.Model(image, layers.Dense(classes, activation="softmax")(x))
