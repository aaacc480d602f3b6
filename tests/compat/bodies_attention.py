"""Bodies of networks with attention, by Keras' layers and by its operations. Each takes an image (N, 32, 40, 3)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trainkit.backend import keras

layers, ops = keras.layers, keras.ops


class Token(layers.Layer):
    """One or more learned tokens for every image, (N, tokens, width), before those that come in."""

    def __init__(self, how: str = "broadcast", tokens: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.how, self.tokens = how, tokens

    def build(self, shape: tuple[int, ...]) -> None:
        self.token = self.add_weight(
            shape=(1, self.tokens, shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=1, seed=1),
            name="token",
        )

    def call(self, inputs: Any) -> Any:
        count, width = ops.shape(inputs)[0], inputs.shape[-1]
        if self.how == "tile":
            token = ops.tile(self.token, [count, 1, 1])
        elif self.how == "repeat":
            token = ops.repeat(self.token, count, axis=0)
        else:
            token = ops.broadcast_to(self.token, [count, self.tokens, width])
        return ops.concatenate([ops.cast(token, inputs.dtype), inputs], axis=1)


class AddedPosition(layers.Layer):
    """A learned vector for each position, added."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.position = self.add_weight(
            shape=(1, *shape[1:]), initializer=keras.initializers.RandomNormal(stddev=0.5, seed=2), name="position"
        )

    def call(self, inputs: Any) -> Any:
        return inputs + self.position


def as_tokens(x: Any, width: int = 24, patch: int = 8) -> Any:
    """Patches of an image as tokens, (N, 20, width) for a patch of 8."""
    x = layers.Conv2D(width, patch, strides=patch)(x)
    x = layers.Reshape((x.shape[1] * x.shape[2], width))(x)
    return layers.LayerNormalization()(x)


def as_image(x: Any, width: int = 12) -> Any:
    """Features (N, 8, 10, width)."""
    x = layers.Conv2D(width, 5, strides=2, padding="same", activation="relu")(x)
    return layers.BatchNormalization()(layers.Conv2D(width, 3, strides=2, padding="same")(x))


def mean_of(x: Any) -> Any:
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))


# MultiHeadAttention


def mha_self(x: Any) -> Any:
    x = as_tokens(x)
    x = layers.Add()([x, layers.MultiHeadAttention(num_heads=3, key_dim=8)(x, x)])
    return layers.Flatten()(x)


def mha_image_axes(x: Any) -> Any:
    x = layers.LayerNormalization()(layers.Conv2D(12, 8, strides=8)(x))  # (4, 5)
    x = x + layers.MultiHeadAttention(num_heads=2, key_dim=6, attention_axes=(1, 2))(x, x)
    return layers.GlobalAveragePooling2D()(x)


def mha_encoder_blocks(x: Any) -> Any:
    x = as_tokens(x)
    for _ in range(2):
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        x = layers.Add()([x, layers.MultiHeadAttention(num_heads=4, key_dim=6, dropout=0.1)(y, y)])
        y = layers.LayerNormalization(epsilon=1e-6)(x)
        y = layers.Dense(24)(layers.Dropout(0.1)(layers.Dense(48, activation="gelu")(y)))
        x = layers.Add()([x, y])
    return layers.Flatten()(layers.LayerNormalization()(x))


def mha_cross(x: Any) -> Any:
    query, context = as_tokens(x, 16, 16), as_tokens(x, 16, 8)
    x = layers.MultiHeadAttention(num_heads=2, key_dim=8)(query, context)
    return mean_of(query + x)


def mha_cross_value_width(x: Any) -> Any:
    query, value, key = as_tokens(x, 16), as_tokens(x, 12), as_tokens(x, 20)
    attention = layers.MultiHeadAttention(num_heads=2, key_dim=8, value_dim=5, output_shape=18, use_bias=False)
    return mean_of(attention(query, value, key=key))


def mha_cross_scales(x: Any) -> Any:
    large, small = as_tokens(x, 24, 8), layers.Dense(24)(as_tokens(x, 12, 16))
    small = small + layers.MultiHeadAttention(num_heads=3, key_dim=8)(small, large)
    large = large + layers.MultiHeadAttention(num_heads=3, key_dim=8)(large, small)
    return layers.Concatenate()([mean_of(small), mean_of(large)])


def mha_class_token(x: Any) -> Any:
    x = Token()(as_tokens(x))
    x = x + layers.MultiHeadAttention(num_heads=3, key_dim=8)(x, x)
    return layers.LayerNormalization()(x)[:, 0]


def mha_causal(x: Any) -> Any:
    x = Token("tile")(as_tokens(x))
    x = x + layers.MultiHeadAttention(num_heads=2, key_dim=12)(x, x, use_causal_mask=True)
    return layers.LayerNormalization()(x)[:, -1]


def mha_class_attention(x: Any) -> Any:
    x = Token()(as_tokens(x))
    first, rest = x[:, :1], x[:, 1:]  # CaiT: the class token asks, and nobody else
    both = layers.Concatenate(axis=1)([first, rest])
    first = first + layers.MultiHeadAttention(num_heads=3, key_dim=8)(first, both)
    first = first + layers.Dense(24)(layers.Dense(32, activation="gelu")(layers.LayerNormalization()(first)))
    return layers.Flatten()(first)


# Attention and AdditiveAttention


def attention_scaled(x: Any) -> Any:
    x = as_tokens(x)
    return mean_of(x + layers.Attention(use_scale=True)([x, x]))


def attention_key_and_value(x: Any) -> Any:
    x = as_tokens(x)
    query, key = layers.Dense(16, name="query")(x), layers.Dense(16)(x)
    return mean_of(layers.Attention()([query, layers.Dense(20, activation="relu")(x), key]))


def attention_concat(x: Any) -> Any:
    query, value = as_tokens(x, 16, 16), as_tokens(x, 16, 8)
    x = layers.Attention(score_mode="concat", use_scale=True, name="attention_concat")([query, value])
    return layers.Flatten()(layers.Concatenate()([query, x]))


def additive_self(x: Any) -> Any:
    x = as_tokens(x, 16)
    return mean_of(x + layers.AdditiveAttention()([x, x]))


def additive_cross(x: Any) -> Any:
    query, key, value = as_tokens(x, 12, 16), as_tokens(x, 12, 8), as_tokens(x, 20, 8)
    return layers.Flatten()(layers.AdditiveAttention(dropout=0.1)([query, value, key]))


def additive_unscaled(x: Any) -> Any:
    x = as_tokens(x, 16)
    query, key = layers.Dense(32, name="query")(x), layers.Dense(32, name="query_key")(x)
    return mean_of(layers.AdditiveAttention(use_scale=False)([query, x, key]))


# Products of two values


def dot_of_tokens(x: Any) -> Any:
    x = as_tokens(x)
    similar = layers.Dot(axes=2)([x, layers.Dense(24)(x)])  # (20, 20)
    return layers.Dense(20, activation="relu")(layers.Flatten()(similar))


def dot_normalized(x: Any) -> Any:
    one, two = as_tokens(x, 16, 8), as_tokens(x, 16, 16)
    return layers.Flatten()(layers.Dot(axes=(2, 2), normalize=True)([one, two]))


def dot_attention(x: Any) -> Any:
    x = as_tokens(x)
    query, key, value = layers.Dense(12, name="query")(x), layers.Dense(12)(x), layers.Dense(24)(x)
    weights = layers.Softmax()(layers.Dot(axes=(2, 2))([query, key]))
    return mean_of(x + layers.Dot(axes=(2, 1))([weights, value]))


def einsum_attention(x: Any) -> Any:
    x = as_tokens(x)
    query = layers.Reshape((20, 3, 8))(layers.Dense(24, name="query")(x))
    key, value = (layers.Reshape((20, 3, 8))(layers.Dense(24)(x)) for _ in range(2))
    scores = ops.einsum("bqhd,bkhd->bhqk", query, key) / math.sqrt(8)
    weights = ops.softmax(scores, axis=-1)
    return mean_of(x + layers.Reshape((20, 24))(ops.einsum("bhqk,bkhd->bqhd", weights, value)))


def einsum_similarity(x: Any) -> Any:
    one, two = as_tokens(x, 16, 16), as_tokens(x, 16, 8)
    return layers.Flatten()(ops.relu(ops.einsum("bic,bjc->bij", one, two)))


def einsum_outer(x: Any) -> Any:
    one, two = (layers.Dense(10, activation="tanh")(mean_of(as_tokens(x))) for _ in range(2))
    return layers.Flatten()(ops.einsum("bi,bj->bij", one, two))


def matmul_attention(x: Any) -> Any:
    x = as_tokens(x)
    query, key, value = layers.Dense(16, name="query")(x), layers.Dense(16)(x), layers.Dense(24)(x)
    scores = ops.matmul(query, ops.transpose(key, (0, 2, 1))) * 16**-0.5
    return mean_of(x + ops.matmul(ops.softmax(scores), value))


def matmul_gram(x: Any) -> Any:
    x = layers.Reshape((80, 12))(as_image(x))
    gram = ops.matmul(ops.transpose(x, (0, 2, 1)), x) / 80  # of style: which channels go together
    return layers.Flatten()(gram)


def matmul_heads(x: Any) -> Any:
    x = as_tokens(x)

    def heads(values: Any) -> Any:
        return ops.transpose(ops.reshape(values, (-1, 20, 3, 8)), (0, 2, 1, 3))

    query, key, value = heads(layers.Dense(24, name="query")(x)), heads(layers.Dense(24)(x)), heads(layers.Dense(24)(x))
    weights = ops.softmax(ops.matmul(query, ops.swapaxes(key, -1, -2)) / ops.sqrt(8.0), axis=-1)
    y = ops.reshape(ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3)), (-1, 20, 24))
    return mean_of(x + layers.Dense(24)(y))


def einsum_dense_heads(x: Any) -> Any:
    x = layers.EinsumDense("abc,cde->abde", output_shape=(None, 3, 8), bias_axes="de")(as_tokens(x))
    x = layers.ReLU()(x)
    return mean_of(layers.EinsumDense("abde,dec->abc", output_shape=(None, 24), bias_axes="c")(x))


def einsum_dense_tokens(x: Any) -> Any:
    x = as_tokens(x)
    x = layers.EinsumDense("abc,bd->adc", output_shape=(10, 24), bias_axes="d", activation="gelu")(x)
    return layers.Flatten()(x)


def einsum_dense_image(x: Any) -> Any:
    x = layers.EinsumDense("abcd,de->abce", output_shape=(8, 10, 10), bias_axes="e", activation="relu")(as_image(x))
    x = layers.EinsumDense("abcd,cdf->abf", output_shape=(8, 9), bias_axes="f")(x)
    return layers.Flatten()(x)


# Softmax over a side


def softmax_over_rows(x: Any) -> Any:
    x = as_image(x)
    return layers.Flatten()(
        layers.MaxPooling2D(2)(x * 4 * layers.Softmax(axis=1)(layers.Conv2D(12, 3, padding="same")(x)))
    )


def softmax_over_image(x: Any) -> Any:
    x = as_image(x)
    weights = layers.Softmax(axis=(1, 2))(3 * layers.Conv2D(12, 1)(x))
    return ops.sum(weights * x, axis=(1, 2))


def softmax_over_tokens(x: Any) -> Any:
    x = as_tokens(x)
    weights = ops.softmax(2 * layers.Dense(24)(x), axis=1)
    return layers.Flatten()(layers.Concatenate(axis=1)([weights, layers.Softmax(axis=-1)(x)]))


# Class tokens and positions


def _encoded(x: Any, heads: int = 2) -> Any:
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(num_heads=heads, key_dim=12)(y, y)
    return x + layers.Dense(x.shape[-1])(layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x)))


def class_token_tile(x: Any) -> Any:
    return _encoded(Token("tile")(as_tokens(x)))[:, 0, :]


def class_token_broadcast(x: Any) -> Any:
    return layers.Flatten()(_encoded(Token("broadcast")(as_tokens(x)))[:, :1])


def class_tokens_repeat(x: Any) -> Any:
    x = _encoded(Token("repeat", tokens=3)(as_tokens(x)))
    return layers.Flatten()(x[:, 0:3])


class Embedded(layers.Layer):
    """Positions from 0 on through an Embedding, added."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.embedding = layers.Embedding(
            shape[1], shape[2], embeddings_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=3)
        )
        self.embedding.build(None)

    def call(self, inputs: Any) -> Any:
        return inputs + self.embedding(ops.expand_dims(ops.arange(inputs.shape[1]), 0))


def position_embedding(x: Any) -> Any:
    return layers.Flatten()(_encoded(Embedded()(as_tokens(x))))


def position_weight(x: Any) -> Any:
    return layers.Flatten()(_encoded(AddedPosition()(Token()(as_tokens(x)))))


class Sinusoidal(layers.Layer):
    """Sines and cosines of the position, of longer and longer waves, added (Vaswani et al. 2017, 3.5)."""

    def call(self, inputs: Any) -> Any:
        length, width = inputs.shape[1:]
        position = ops.expand_dims(ops.arange(length, dtype="float32"), -1)
        angles = position / ops.power(10000.0, ops.arange(0, width, 2, dtype="float32") / width)
        return inputs + ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


def position_sinusoidal(x: Any) -> Any:
    return layers.Flatten()(_encoded(Sinusoidal()(as_tokens(x))))


# Grouped queries, linear attention, pooling by attention


def grouped_queries(x: Any) -> Any:
    x = as_tokens(x)
    attention = layers.GroupQueryAttention(head_dim=8, num_query_heads=4, num_key_value_heads=2)
    return mean_of(x + attention(x, x))


def one_key_for_all_queries(x: Any) -> Any:
    x = as_tokens(x)
    return mean_of(x + layers.GroupQueryAttention(head_dim=6, num_query_heads=3, num_key_value_heads=1)(x, x))


def grouped_queries_block(x: Any) -> Any:
    x = Token()(as_tokens(x))
    y = layers.RMSNormalization()(x)
    x = x + layers.GroupQueryAttention(6, num_query_heads=4, num_key_value_heads=2, dropout=0.1, use_bias=False)(y, y)
    y = layers.RMSNormalization()(x)
    x = x + layers.Dense(24)(layers.Dense(32, activation="silu")(y) * layers.Dense(32)(y))
    return x[:, 0]


def linear_attention(x: Any) -> Any:
    x = as_tokens(x)
    query, key = (ops.elu(layers.Dense(12)(x)) + 1 for _ in range(2))
    value = layers.Dense(24)(x)
    context = ops.einsum("bkd,bkv->bdv", key, value)
    total = ops.einsum("bqd,bd->bq", query, ops.sum(key, axis=1))
    return mean_of(x + ops.einsum("bqd,bdv->bqv", query, context) / ops.expand_dims(total, -1))


def efficient_attention(x: Any) -> Any:
    x = as_image(x)
    tokens = layers.Reshape((80, 12))
    query = ops.softmax(2 * tokens(layers.Conv2D(12, 1)(x)), axis=2)
    key = ops.softmax(2 * tokens(layers.Conv2D(12, 1)(x)), axis=1)
    context = ops.matmul(ops.transpose(key, (0, 2, 1)), tokens(layers.Conv2D(12, 1)(x)))
    return layers.GlobalMaxPooling2D()(x + layers.Reshape((8, 10, 12))(ops.matmul(query, context)))


def external_attention(x: Any) -> Any:
    x = as_tokens(x)
    weights = ops.softmax(layers.Dense(16, use_bias=False)(x), axis=1)
    weights = weights / (1e-9 + ops.sum(weights, axis=2, keepdims=True))  # once over tokens, once over the memory
    return mean_of(x + layers.Dense(24, use_bias=False)(weights))


class Queries(layers.Layer):
    """Learned vectors that ask, the same for every image: (N, count, width)."""

    def __init__(self, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.count = count

    def build(self, shape: tuple[int, ...]) -> None:
        initializer = keras.initializers.RandomNormal(stddev=1, seed=4)
        self.queries = self.add_weight(shape=(1, self.count, shape[-1]), initializer=initializer, name="latents")

    def call(self, inputs: Any) -> Any:
        return ops.broadcast_to(self.queries, (ops.shape(inputs)[0], self.count, inputs.shape[-1]))


def attention_pooling_head(x: Any) -> Any:
    x = as_tokens(x)
    y = layers.MultiHeadAttention(num_heads=3, key_dim=8)(Queries(1)(x), x)
    y = y + layers.Dense(24)(layers.Dense(48, activation="gelu")(layers.LayerNormalization()(y)))
    return y[:, 0]


def perceiver_latents(x: Any) -> Any:
    x = as_tokens(x)
    latents = Queries(5)(x)
    latents = latents + layers.MultiHeadAttention(num_heads=1, key_dim=16)(latents, x)
    y = layers.LayerNormalization()(latents)
    latents = latents + layers.MultiHeadAttention(num_heads=2, key_dim=8)(y, y)
    return mean_of(latents)


def weighted_pooling(x: Any) -> Any:
    x = as_tokens(x)
    weights = layers.Softmax(axis=1)(layers.Dense(1, name="query")(layers.Dense(16, activation="tanh")(x)))
    return layers.Flatten()(ops.matmul(ops.transpose(weights, (0, 2, 1)), x))


# Bias of positions and heads


def _scores(x: Any, heads: int = 3, size: int = 8) -> tuple[Any, Any]:
    query = layers.Reshape((20, heads, size))(layers.Dense(heads * size, name="query")(x))
    key, value = (layers.Reshape((20, heads, size))(layers.Dense(heads * size)(x)) for _ in range(2))
    return ops.einsum("bqhd,bkhd->bhqk", query * size**-0.5, key), value


def _combined(weights: Any, value: Any) -> Any:
    x = ops.einsum("bhqk,bkhd->bqhd", weights, value)
    return layers.Dense(24)(layers.Reshape((20, x.shape[2] * x.shape[3]))(x))


def talking_heads(x: Any) -> Any:
    x = as_tokens(x)
    scores, value = _scores(x)
    scores = layers.EinsumDense("bhqk,hi->biqk", output_shape=(3, 20, 20))(scores)
    weights = layers.EinsumDense("bhqk,hi->biqk", output_shape=(3, 20, 20))(layers.Softmax()(scores))
    return mean_of(x + _combined(weights, value))


class RelativeBias(layers.Layer):
    """A learned bias for each distance of two tokens in the image of tokens, and each head, added to the scores."""

    def __init__(self, rows: int, columns: int, **options: Any) -> None:
        super().__init__(**options)
        self.rows, self.columns = rows, columns

    def build(self, shape: tuple[int, ...]) -> None:
        count = (2 * self.rows - 1) * (2 * self.columns - 1)
        initializer = keras.initializers.RandomNormal(stddev=1, seed=5)
        self.table = self.add_weight(shape=(count, shape[1]), initializer=initializer, name="table")
        places = np.stack(np.mgrid[0 : self.rows, 0 : self.columns], -1).reshape(-1, 2)
        apart = places[:, None] - places[None] + (self.rows - 1, self.columns - 1)
        self.index = (apart[..., 0] * (2 * self.columns - 1) + apart[..., 1]).reshape(-1)

    def call(self, scores: Any) -> Any:
        count = self.rows * self.columns
        bias = ops.reshape(ops.take(self.table, self.index, axis=0), (count, count, -1))
        return scores + ops.expand_dims(ops.transpose(bias, (2, 0, 1)), 0)


def relative_bias(x: Any) -> Any:
    x = as_tokens(x)
    scores, value = _scores(x)
    return mean_of(x + _combined(layers.Softmax()(RelativeBias(4, 5)(scores)), value))


def linear_bias(x: Any) -> Any:
    x = as_tokens(x)
    scores, value = _scores(x)
    apart = np.abs(np.arange(20)[:, None] - np.arange(20)[None]).astype("float32")
    slopes = np.array([0.5, 0.25, 0.125], "float32")[:, None, None]
    return mean_of(x + _combined(ops.softmax(scores - (slopes * apart)[None]), value))
