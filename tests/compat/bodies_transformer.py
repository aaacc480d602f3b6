"""Bodies of whole architectures with attention: ViT, Swin, mixers, and attention among convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from bodies_attention import AddedPosition, RelativeBias, Token, as_image, as_tokens, mean_of

from trainkit.backend import keras

layers, ops = keras.layers, keras.ops


# Vision Transformers


class Patches(layers.Layer):
    """Patches of an image, flattened: (N, patches, size * size * channels), as Keras' example has it."""

    def __init__(self, size: int, **options: Any) -> None:
        super().__init__(**options)
        self.size = size

    def call(self, images: Any) -> Any:
        _, height, width, channels = images.shape
        patches = ops.image.extract_patches(images, size=self.size)
        count = (height // self.size) * (width // self.size)
        return ops.reshape(patches, (ops.shape(images)[0], count, self.size * self.size * channels))


class PatchEncoder(layers.Layer):
    """A projection of each patch and an embedding of its position, as Keras' example has it."""

    def __init__(self, patches: int, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.patches = patches
        self.projection = layers.Dense(width)
        self.position = layers.Embedding(
            patches, width, embeddings_initializer=keras.initializers.RandomNormal(stddev=0.3, seed=1)
        )

    def call(self, patches: Any) -> Any:
        positions = ops.expand_dims(ops.arange(0, self.patches, 1), axis=0)
        return self.projection(patches) + self.position(positions)


def _mlp(x: Any, units: tuple[int, ...], rate: float = 0.1) -> Any:
    for count in units:
        x = layers.Dropout(rate)(layers.Dense(count, activation="gelu")(x))
    return x


def _encoder(x: Any, heads: int, *, depth: int = 2, hidden: int = 48) -> Any:
    width = x.shape[-1]
    for _ in range(depth):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([layers.MultiHeadAttention(num_heads=heads, key_dim=width // heads, dropout=0.0)(y, y), x])
        y = layers.Dense(width)(layers.Dense(hidden, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x)))
        x = layers.Add()([y, x])
    return layers.LayerNormalization(epsilon=1e-6)(x)


def vit_example(x: Any) -> Any:
    x = PatchEncoder(20, 24)(Patches(8)(x))
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([layers.MultiHeadAttention(num_heads=4, key_dim=24, dropout=0.1)(y, y), x])
        x = layers.Add()([_mlp(layers.LayerNormalization(epsilon=1e-6)(x), (48, 24)), x])
    x = layers.Dropout(0.5)(layers.Flatten()(layers.LayerNormalization(epsilon=1e-6)(x)))
    return _mlp(x, (64, 32), 0.5)


def vit_hub(x: Any) -> Any:
    x = layers.Conv2D(24, 8, strides=8, padding="valid")(x)
    x = AddedPosition()(Token("tile")(layers.Reshape((20, 24))(x)))
    return _encoder(layers.Dropout(0.1)(x), 3)[:, 0]


def vit_tiny(x: Any) -> Any:
    """ViT-Tiny/16 (arXiv:2012.12877, table 1) as networks without a class token have it: a mean over the tokens."""
    x = layers.Conv2D(192, 16, strides=16, padding="valid")(x)
    x = AddedPosition()(layers.Reshape((x.shape[1] * x.shape[2], 192))(x))
    return layers.GlobalAveragePooling1D()(_encoder(x, 3, depth=12, hidden=768))


def vit_tiny_class_token(x: Any) -> Any:
    """ViT-Tiny/16 with a class token."""
    x = layers.Conv2D(192, 16, strides=16, padding="valid")(x)
    x = AddedPosition()(Token("tile")(layers.Reshape((x.shape[1] * x.shape[2], 192))(x)))
    return _encoder(x, 3, depth=12, hidden=768)[:, 0]


def vit_distilled(x: Any) -> Any:
    x = AddedPosition()(Token(tokens=2)(layers.Reshape((20, 24))(layers.Conv2D(24, 8, strides=8)(x))))
    x = _encoder(x, 2)
    return layers.Average()([layers.Dense(16)(x[:, 0]), layers.Dense(16)(x[:, 1])])


# Swin: windows of 4 x 5 in an image of 8 x 10


def _partition(x: Any, rows: int, columns: int) -> Any:
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height // rows, rows, width // columns, columns, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, rows * columns, channels))


def _joined(windows: Any, rows: int, columns: int, height: int, width: int) -> Any:
    channels = windows.shape[-1]
    x = ops.reshape(windows, (-1, height // rows, width // columns, rows, columns, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, height, width, channels))


class WindowAttention(layers.Layer):
    """Attention within windows, with a bias for each distance; shifted windows do not look past the image's edge."""

    def __init__(self, heads: int, size: tuple[int, int], shift: tuple[int, int] = (0, 0), **options: Any) -> None:
        super().__init__(**options)
        self.heads, self.size, self.shift = heads, size, shift

    def build(self, shape: tuple[int, ...]) -> None:
        width = shape[-1]
        self.query, self.keys, self.values = (layers.Dense(width, name=name) for name in ("query", "keys", "values"))
        self.projection = layers.Dense(width)
        for layer in (self.query, self.keys, self.values, self.projection):
            layer.build((None, None, width))
        self.bias = RelativeBias(*self.size)
        self.bias.build((None, self.heads, None, None))
        self.mask = self._mask(shape[1], shape[2]) if any(self.shift) else None

    def _mask(self, height: int, width: int) -> np.ndarray:
        regions = np.zeros((1, height, width, 1), "float32")
        bounds = [
            (slice(0, -size), slice(-size, -shift), slice(-shift, None))
            for size, shift in zip(self.size, self.shift, strict=True)
        ]
        for number, (rows, columns) in enumerate((r, c) for r in bounds[0] for c in bounds[1]):
            regions[:, rows, columns] = number
        windows = np.asarray(_partition(ops.convert_to_tensor(regions), *self.size))[..., 0]
        return np.where(windows[:, None] != windows[:, :, None], -100.0, 0.0).astype("float32")[:, None]

    def call(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        rows, columns = self.size
        if self.mask is not None:
            x = ops.roll(x, shift=(-self.shift[0], -self.shift[1]), axis=(1, 2))
        windows = _partition(x, rows, columns)
        count, size = rows * columns, channels // self.heads

        def heads(values: Any) -> Any:
            return ops.transpose(ops.reshape(values, (-1, count, self.heads, size)), (0, 2, 1, 3))

        query, key, value = heads(self.query(windows)), heads(self.keys(windows)), heads(self.values(windows))
        scores = self.bias(ops.matmul(query * size**-0.5, ops.transpose(key, (0, 1, 3, 2))))
        if self.mask is not None:
            number = self.mask.shape[0]
            scores = ops.reshape(scores, (-1, number, self.heads, count, count)) + self.mask[None]
            scores = ops.reshape(scores, (-1, self.heads, count, count))
        y = ops.matmul(ops.softmax(scores, axis=-1), value)
        y = self.projection(ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (-1, count, channels)))
        y = _joined(y, rows, columns, height, width)
        if self.mask is not None:
            y = ops.roll(y, shift=self.shift, axis=(1, 2))
        return y


def _swin_block(x: Any, shift: tuple[int, int] = (0, 0)) -> Any:
    x = x + WindowAttention(2, (4, 5), shift)(layers.LayerNormalization()(x))
    return x + layers.Dense(x.shape[-1])(layers.Dense(24, activation="gelu")(layers.LayerNormalization()(x)))


def swin_windows(x: Any) -> Any:
    return layers.GlobalAveragePooling2D()(_swin_block(layers.Conv2D(12, 4, strides=4)(x)))


def swin_shifted(x: Any) -> Any:
    x = layers.LayerNormalization()(layers.Conv2D(12, 4, strides=4)(x))
    return layers.GlobalAveragePooling2D()(_swin_block(_swin_block(x), (2, 2)))


def swin_merging(x: Any) -> Any:
    x = _swin_block(layers.Conv2D(12, 4, strides=4)(x))
    parts = [x[:, row::2, column::2, :] for column in range(2) for row in range(2)]
    x = layers.Dense(24, use_bias=False)(layers.LayerNormalization()(layers.Concatenate()(parts)))
    return layers.GlobalAveragePooling2D()(x + WindowAttention(2, (4, 5))(layers.LayerNormalization()(x)))


# Mixers


def _channel_mlp(x: Any, hidden: int = 32) -> Any:
    return layers.Dense(x.shape[-1])(layers.Dense(hidden, activation="gelu")(x))


def mlp_mixer(x: Any) -> Any:
    x = as_tokens(x)
    for _ in range(2):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Permute((2, 1))(_channel_mlp(y, 16))])
        x = layers.Add()([x, _channel_mlp(layers.LayerNormalization()(x))])
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))


def gated_mlp(x: Any) -> Any:
    x = as_tokens(x)
    y = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x))
    one, two = ops.split(y, 2, axis=-1)
    two = ops.transpose(
        layers.Dense(20, bias_initializer="ones")(ops.transpose(layers.LayerNormalization()(two), (0, 2, 1))), (0, 2, 1)
    )
    return mean_of(x + layers.Dense(24)(one * two))


class Affine(layers.Layer):
    """A scale and a shift a channel, which ResMLP has in the place of a normalisation."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(shape[-1],), initializer="zeros", name="beta")

    def call(self, x: Any) -> Any:
        return x * self.gamma + self.beta


def residual_mlp(x: Any) -> Any:
    x = layers.Reshape((20, 24))(layers.Conv2D(24, 8, strides=8)(x))
    y = ops.transpose(Affine()(x), (0, 2, 1))
    x = x + Affine()(ops.transpose(layers.Dense(20)(y), (0, 2, 1)))
    x = x + Affine()(_channel_mlp(Affine()(x)))
    return ops.mean(x, axis=1)


# Attention among convolutions


def _context(x: Any, heads: int = 1) -> Any:
    _, height, width, channels = x.shape
    weights = layers.Reshape((height * width, heads))(layers.Conv2D(heads, 1, name="query")(x))
    weights = layers.Softmax(axis=1)(weights)
    values = layers.Reshape((height * width, channels))(x)
    return layers.Dot(axes=(1, 1))([values, weights])  # (channels, heads)


def global_context(x: Any) -> Any:
    x = as_image(x)
    y = layers.Reshape((1, 1, 12))(_context(x))
    y = layers.Conv2D(12, 1)(layers.ReLU()(layers.LayerNormalization()(layers.Conv2D(6, 1)(y))))
    return layers.GlobalMaxPooling2D()(layers.Add()([x, y]))


def global_context_scale(x: Any) -> Any:
    x = as_image(x)
    y = layers.Conv2D(12, 1, activation="sigmoid")(
        layers.Conv2D(6, 1, activation="relu")(layers.Reshape((1, 1, 12))(_context(x)))
    )
    return layers.Flatten()(layers.MaxPooling2D(2)(layers.Multiply()([x, y])))


def global_context_heads(x: Any) -> Any:
    x = as_image(x)
    return layers.Concatenate()([layers.Flatten()(_context(x, 3)), layers.GlobalAveragePooling2D()(x)])


def non_local_block(x: Any) -> Any:
    x = as_image(x)
    tokens, pooled = layers.Reshape((80, 6)), layers.Reshape((20, 6))
    query = tokens(layers.Conv2D(6, 1, name="query")(x))
    key = pooled(layers.MaxPooling2D(2)(layers.Conv2D(6, 1)(x)))
    value = pooled(layers.MaxPooling2D(2)(layers.Conv2D(6, 1)(x)))
    weights = layers.Activation("softmax")(layers.Dot(axes=2)([query, key]))
    y = layers.Reshape((8, 10, 6))(layers.Dot(axes=(2, 1))([weights, value]))
    return layers.GlobalAveragePooling2D()(layers.ReLU()(x + layers.Conv2D(12, 1)(y)))


def cbam(x: Any) -> Any:
    x = as_image(x)
    squeeze, excite = layers.Dense(6, activation="relu"), layers.Dense(12)
    pooled = (layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x))
    gate = layers.Activation("sigmoid")(layers.Add()([excite(squeeze(y)) for y in pooled]))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 12))(gate)])
    over = layers.Concatenate()([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)])
    mask = layers.Conv2D(1, 7, padding="same", activation="sigmoid", use_bias=False)(over)
    return layers.GlobalAveragePooling2D()(layers.Multiply()([x, mask]))


def efficient_channel_attention(x: Any) -> Any:
    x = as_image(x)
    y = layers.Reshape((12, 1))(layers.GlobalAveragePooling2D()(x))
    y = layers.Conv1D(1, 3, padding="same", use_bias=False)(y)
    y = layers.Reshape((1, 1, 12))(layers.Activation("sigmoid")(y))
    return layers.GlobalMaxPooling2D()(layers.Multiply()([x, y]))


# Bilinear pooling and Siamese halves


def _signed_root(x: Any) -> Any:
    return ops.sign(x) * ops.sqrt(ops.abs(x) + 1e-6)


def bilinear_pooling(x: Any) -> Any:
    x = layers.Reshape((80, 12))(as_image(x))
    x = layers.Dot(axes=(1, 1))([x, x])
    return layers.UnitNormalization()(_signed_root(layers.Flatten()(x) / 80))


def bilinear_two_branches(x: Any) -> Any:
    one, two = as_image(x, 8), as_image(x, 10)
    x = ops.einsum("bhwi,bhwj->bij", ops.relu(one), ops.relu(two)) / 80
    return layers.Flatten()(x)


def bilinear_low_rank(x: Any) -> Any:
    x = as_image(x)
    one, two = (layers.Conv2D(16, 1, activation="tanh")(x) for _ in range(2))
    x = ops.sum(layers.Multiply()([one, two]), axis=(1, 2))
    return ops.normalize(_signed_root(x), axis=-1)


def _twins(x: Any, units: int = 16) -> tuple[Any, Any]:
    encoder = keras.Sequential([
        layers.Conv2D(8, 5, strides=2, activation="relu"), layers.Conv2D(12, 3, strides=2, activation="relu"),
        layers.Flatten(), layers.Dense(units),
    ])  # fmt: skip
    left, right = layers.Cropping2D(((0, 0), (0, 20)))(x), layers.Cropping2D(((0, 0), (20, 0)))(x)
    return encoder(left), encoder(right)


def siamese_dot(x: Any) -> Any:
    left, right = _twins(x)
    return layers.Concatenate()([layers.Dot(axes=1)([left, right]), left, right])


def siamese_cosine(x: Any) -> Any:
    left, right = _twins(x, 24)
    same = layers.Dot(axes=-1, normalize=True)([left, right])
    return layers.Dense(8, activation="tanh")(layers.Concatenate()([same, layers.Multiply()([left, right])]))


def siamese_distance(x: Any) -> Any:
    left, right = _twins(x)
    apart = ops.sqrt(ops.maximum(ops.sum(ops.square(left - right), axis=1, keepdims=True), 1e-7))
    return layers.Concatenate()([apart, ops.abs(left - right)])
