"""Small Keras classifiers that together use every layer and way of joining layers that leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from trainkit.backend import keras, onednn_is_on, tf
from trainkit.errors import TrainkitError
from trainkit.exporting._conversion import build_graph
from trainkit.exporting._graph import Graph
from trainkit.exporting._tracing import Traced, trace

layers, ops = keras.layers, keras.ops
SHAPE = (20, 24, 3)
NETWORKS: dict[str, Callable[[], Any]] = {}
ACTIVATIONS = (
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "swish",
    "mish",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "sigmoid",
    "tanh",
    "tanh_shrink",
    "softplus",
    "softsign",
    "exponential",
    "log_sigmoid",
    "squareplus",
)
# What a frozen graph does not hold, each with what the refusal names.
ONLY_ONNX = {
    "heads": "Slice",
    "attended": "Reshape",
    "attended_additively": "Upsample",
    "windows": "Transpose",
    "products_of_rows": "Reshape",
    "heads_of_weights": "Transpose",
    "softmax_of_sides": "Reshape",
    "gathered": "Conv",
    "mirrored": "Conv",
    "added_up": "Conv",
    "blocks": "Reshape",
    "many_sides": "GlobalMaxPool",
    "padded_heads": "Transpose",
    "joined_to_the_batch": "Reshape",
    "chosen_experts": "Reshape",
    "multiplied_up": "Slice",
    "slots": "Transpose",
    "attention": "Reshape",
    "reordered": "Transpose",
    "nearest_of_other_sizes": "Transpose",
    "sequence": "Transpose",
    "sequence_transposed": "Transpose",
    "shuffled": "Transpose",
    "mixer": "Conv",
    "tiled": "Upsample",
    "stacked": "Concat",
    "distributed": "Transpose",
    "softmax_rows": "Reshape",
    "turned_round": "Conv",
    "with_coordinates": "Slice",
    "sorted_numbers": "Round",
    "waves": "Atanh",
    "unrolled": "Slice",
    "unrolled_hard": "Slice",
    "sums_of_products": "Transpose",
}
FROM_LOGITS = ("logits", "logit")
# What TensorFlow says of kernels that only oneDNN has on a CPU: dilated transposed convolutions, and those of NCHW.
ONLY_ONEDNN = (
    "Current CPU implementations do not yet support dilation rates larger than 1",
    "Dimension -1 must be >= 0",
)


@dataclass(frozen=True)
class Leaving:
    """A network on its way out, with what Keras answers for eight inputs."""

    model: Any
    traced: Traced
    graph: Graph
    inputs: np.ndarray  # (8, H, W, C)
    logits: np.ndarray
    probabilities: np.ndarray


@contextmanager
def skipping_without_onednn() -> Iterator[None]:
    """Skip a test, by TensorFlow's own words, where it has no kernel for a network without oneDNN."""
    try:
        yield
    except (TrainkitError, tf.errors.OpError) as error:
        reason = next((words for words in ONLY_ONEDNN if words in str(error)), None)
        if onednn_is_on() or reason is None:
            raise
        pytest.skip(f"without oneDNN TensorFlow says: {reason}")


@cache
def leaving(name: str) -> Leaving:
    """Build, randomise, trace and convert a network, once."""
    keras.utils.set_random_seed(1)
    model = NETWORKS[name]()
    randomize(model)
    traced = trace(model, from_logits=name in FROM_LOGITS)
    inputs = np.random.default_rng(0).normal(0, 1, (8, *model.input_shape[1:])).astype(np.float32)
    with skipping_without_onednn():
        traced.predict(inputs[:1])
    last = [layer for layer in model._flatten_layers(include_self=False) if isinstance(layer, layers.Dense)][-1:]
    for dense in last:  # logits that neither saturate nor flatten the softmax
        dense.kernel.assign(dense.kernel.numpy() * (2 / max(float(traced.predict(inputs)["logits"].std()), 1e-6)))
    answers = traced.predict(inputs)
    return Leaving(model, traced, build_graph(traced), inputs, answers["logits"], answers["probabilities"])


@cache
def channels_last(name: str) -> Graph:
    """Return the graph of a network that becomes a frozen graph, once."""
    return build_graph(leaving(name).traced, channels_last=True)


def randomize(model: Any, seed: int = 0) -> None:
    """Give every layer biases, scales and statistics that are neither zero nor one."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta", "alpha", "moving_mean")):
            weight.assign(generator.normal(0, 0.2, weight.shape))
        if weight.path.endswith(("gamma", "moving_variance")):
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))


def network(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Register a network of one image of `SHAPE`, by what it does with it."""

    def build_network() -> Any:
        image = keras.Input(SHAPE)
        return keras.Model(image, build(image))

    NETWORKS[build.__name__] = build_network
    return build


def model(build: Callable[[], Any]) -> Callable[[], Any]:
    """Register a whole model."""
    NETWORKS[build.__name__] = build
    return build


def classified(x: Any, classes: int = 5, activation: str | None = "softmax") -> Any:
    return layers.Dense(classes, activation=activation)(x)


def flat(x: Any) -> Any:
    return classified(layers.Flatten()(x))


def pooled(x: Any) -> Any:
    return classified(layers.GlobalAveragePooling2D()(x))


@network
def convolutions(image: Any) -> Any:
    x = layers.Conv2D(8, 3)(image)
    x = layers.Conv2D(8, 3, padding="same", strides=2)(x)
    x = layers.Conv2D(8, (3, 2), padding="same", dilation_rate=(2, 3), activation="relu")(layers.ZeroPadding2D(1)(x))
    x = layers.Conv2D(8, 4, strides=(1, 2), padding="same")(x)
    return flat(layers.Conv2D(8, 3, groups=4, padding="same")(x))


@network
def added_to_groups(image: Any) -> Any:
    x = convolved(image)
    x = x + layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.activations.gelu(x, approximate=True)
    return flat(x + layers.Conv2D(4, 3, groups=2, padding="same")(x))


@network
def biases(image: Any) -> Any:
    x = layers.Conv2D(4, 3)(image) + np.array([0.1, -0.2, 0.3, 0.4], np.float32)
    return flat(layers.DepthwiseConv2D(3)(x) + np.array([-0.3, 0.2, 0.1, 0.5], np.float32))


@network
def depthwise(image: Any) -> Any:
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(image)
    x = layers.SeparableConv2D(8, 3, activation="relu6")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same")(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    return pooled(layers.BatchNormalization()(x))


@network
def transposed(image: Any) -> Any:
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same")(image)
    x = layers.Conv2DTranspose(6, 3, strides=2)(x)
    x = layers.Conv2DTranspose(4, 4, padding="same", activation="elu")(x)
    return classified(layers.GlobalMaxPooling2D()(x))


@network
def transposed_short(image: Any) -> Any:
    x = layers.Conv2D(4, 5)(image)
    x = layers.BatchNormalization()(layers.Conv2DTranspose(4, 2, strides=3, activation="relu")(x))
    x = layers.Conv2DTranspose(4, (1, 3), strides=(2, 1), padding="same")(x)
    return flat(layers.MaxPooling2D(3)(layers.Conv2DTranspose(4, 5, strides=2, padding="same")(x)))


@network
def transposed_dilated(image: Any) -> Any:
    x = layers.Conv2DTranspose(5, 3, dilation_rate=2)(image)
    x = layers.Conv2DTranspose(5, 3, dilation_rate=2, padding="same")(x)
    return flat(layers.Conv2DTranspose(3, 3, strides=2, output_padding=1)(x))


@network
def transposed_and_extended(image: Any) -> Any:
    x = layers.Conv2D(4, 5, strides=2)(image)
    x = layers.Conv2DTranspose(5, 4, strides=3, output_padding=2)(x)
    x = layers.MaxPooling2D(3)(layers.Conv2DTranspose(4, 4, strides=3, output_padding=(2, 0))(x))
    return flat(x)


@network
def pools(image: Any) -> Any:
    x = layers.Conv2D(6, 4)(image) - 3.0  # negative: zeros around it would win
    most, mean = (pool(3, 2, padding="same")(x) for pool in (layers.MaxPooling2D, layers.AveragePooling2D))
    x = layers.Add()([most, mean])
    x = layers.AveragePooling2D(2, 1, padding="same")(x)
    x = layers.MaxPooling2D((5, 2), (2, 3), padding="same")(x)
    return flat(layers.AveragePooling2D((4, 2))(layers.ZeroPadding2D(((1, 0), (0, 2)))(x)))


class ReshapedByComputation(keras.layers.Layer):
    """Hides an image's size from TensorFlow's own inference of shapes: what comes behind it pads by what is found."""

    def call(self, image: Any) -> Any:
        sides = tf.cast(tf.cast(tf.shape(image)[1:3], tf.float32) * 1.0, tf.int32)
        return tf.reshape(image, tf.concat([tf.shape(image)[:1], sides, [image.shape[3]]], 0))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@network
def padded_by_an_unknown_size(image: Any) -> Any:
    x = ReshapedByComputation()(layers.Conv2D(4, 3)(image))  # 18x22
    x = layers.Conv2D(5, 3, strides=2, padding="same")(x)
    x = layers.MaxPooling2D(2, strides=2, padding="same")(ReshapedByComputation()(x))
    return flat(layers.Conv2D(5, (2, 4), padding="same")(ReshapedByComputation()(x)))


@network
def pooled_shapes(image: Any) -> Any:
    x = layers.Conv2D(6, 3)(image)
    most = layers.Flatten()(layers.GlobalMaxPooling2D(keepdims=True)(x))
    rows = layers.Flatten()(ops.max(x, axis=2))
    columns = layers.Flatten()(ops.mean(x, axis=1))
    return classified(layers.Concatenate()([most, rows, columns, ops.min(x, axis=(1, 2)), ops.std(x, axis=(1, 2))]))


@network
def normalizations(image: Any) -> Any:
    x = layers.LayerNormalization()(layers.Conv2D(8, 3)(image))
    x = layers.Conv2D(8, 3, activation="relu")(x)
    x = layers.GroupNormalization(4)(x)
    x = layers.LayerNormalization(axis=[1, 2, 3])(x)
    x = layers.GroupNormalization(-1, center=False)(layers.Conv2D(8, 3)(x))
    x = layers.ReLU()(layers.BatchNormalization(scale=False)(x))  # or the mean of a normalised channel says nothing
    return pooled(x)


@network
def unit_lengths(image: Any) -> Any:
    x = layers.UnitNormalization()(layers.ReLU()(image - 0.5))  # whole pixels are zero, and stay so
    return flat(layers.RMSNormalization()(layers.Conv2D(4, 3)(x)))


@network
def squeeze_and_excite(image: Any) -> Any:
    x = layers.Conv2D(8, 3)(image)
    gate = layers.Conv2D(4, 1, activation="swish")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="sigmoid")(gate)])
    gate = layers.Dense(8, activation="hard_sigmoid")(layers.GlobalAveragePooling2D()(x))
    return flat(layers.Multiply()([layers.Reshape((1, 1, 8))(gate), x]))


@network
def merges(image: Any) -> Any:
    a, b, c = (layers.Conv2D(8, 3)(image) for _ in range(3))
    parts = [layers.Average()([a, b, c]), layers.Maximum()([a, b, c]), layers.Minimum()([a, b])]
    return pooled(layers.Concatenate()([*parts, layers.Subtract()([a, b]), layers.Multiply()([a, c]), a]))


@network
def broadcasts(image: Any) -> Any:
    x = layers.Conv2D(4, 3)(image)
    x = layers.Add()([ops.mean(x, axis=(1, 2), keepdims=True), x])
    x = layers.Subtract()([ops.max(x, axis=1, keepdims=True), x])
    x = layers.Add()([x, ops.max(x, axis=1, keepdims=True) + ops.mean(x, axis=2, keepdims=True)])
    return pooled(layers.Multiply()([x, layers.Conv2D(1, 1, activation="sigmoid")(x)]))


@network
def tiled(image: Any) -> Any:
    x = layers.Concatenate()([image, ops.tile(ops.mean(image, axis=(1, 2), keepdims=True), (1, 20, 24, 1))])
    x = ops.repeat(layers.Conv2D(4, 3, activation="relu")(x), 2, axis=1)
    return flat(ops.tile(x, (1, 1, 2, 1)))


@network
def attention(image: Any) -> Any:
    x = layers.Conv2D(8, 3)(image)
    narrow, wide = layers.Dense(2, activation="relu"), layers.Dense(8)
    gates = [wide(narrow(pool()(x))) for pool in (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)]
    x = layers.Multiply()([x, layers.Reshape((1, 1, 8))(layers.Activation("sigmoid")(layers.Add()(gates)))])
    maps = layers.Concatenate()([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)])
    return pooled(layers.Multiply()([x, layers.Conv2D(1, 7, padding="same", activation="sigmoid")(maps)]))


@network
def geometry(image: Any) -> Any:
    x = layers.ZeroPadding2D(((1, 2), (3, 0)))(image)
    x = layers.Cropping2D(((1, 0), (2, 1)))(x)
    x = layers.UpSampling2D((2, 3))(layers.Conv2D(6, 3)(x))
    x = layers.Conv2D(4, 3, strides=2)(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))
    x = layers.Conv2D(4, 3, padding="same")(layers.BatchNormalization()(layers.ZeroPadding2D(1)(x)))
    x = layers.Resizing(10, 17, interpolation="nearest")(layers.CenterCrop(20, 34)(x))
    return flat(ops.pad(x, ((0, 0), (0, 1), (1, 0), (1, 2)), constant_values=0.7))


@network
def nearest_of_other_sizes(image: Any) -> Any:
    x = layers.Resizing(13, 31, interpolation="nearest")(layers.Conv2D(4, 3)(image))  # from 18x22
    return flat(layers.Resizing(20, 31, interpolation="nearest")(layers.Conv2D(3, 1)(x)))


@network
def bilinear(image: Any) -> Any:
    x = layers.UpSampling2D(2, interpolation="bilinear")(image)
    x = layers.Conv2D(6, 3, activation="relu6")(layers.Resizing(17, 19)(x))
    x = layers.ReLU()(layers.ZeroPadding2D(1)(layers.Activation("hard_swish")(x)))
    x = layers.MaxPooling2D(2)(layers.Cropping2D(((1, 0), (0, 2)))(x))
    return flat(layers.UpSampling2D(2)(x))


@network
def head(image: Any) -> Any:
    normalization = layers.Normalization(mean=[0.1, -0.2, 0.3], variance=[0.5, 1.5, 2.0])
    x = normalization(layers.Rescaling(2.0, -1.0)(image))
    for augment in (
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.RandomContrast(0.2),
        layers.RandomZoom(0.1),
    ):
        x = augment(x)
    x = layers.Dropout(0.3)(layers.GaussianNoise(0.1)(x))
    x = layers.Conv2D(6, 3, padding="same")(x)
    x = layers.ActivityRegularization(l1=0.1)(layers.SpatialDropout2D(0.1)(layers.GaussianDropout(0.1)(x)))
    return flat(layers.AlphaDropout(0.1)(x))


@network
def head_backwards(image: Any) -> Any:
    x = image[..., ::-1] - np.array([0.1, 0.2, 0.3], np.float32)
    return pooled(layers.Conv2D(4, 3, padding="same", activation="relu")(layers.BatchNormalization()(x)))


@network
def activations(image: Any) -> Any:
    branches = [layers.Activation(name)(layers.Conv2D(2, 5)(image)) for name in ACTIVATIONS]
    branches += [layers.ELU(0.4)(branches[0] - 0.5), layers.LeakyReLU(0.3)(branches[1] - 1.0)]
    branches += [layers.ReLU(4.0, negative_slope=0.1)(branches[2] * 3.0), ops.gelu(branches[3], approximate=True)]
    return pooled(layers.Concatenate()([layers.BatchNormalization()(branch) for branch in branches]))


@network
def row_activations(image: Any) -> Any:
    x = layers.Flatten()(image)
    for name in ("gelu", "swish", "hard_sigmoid", "selu", "softplus", "tanh"):
        x = layers.BatchNormalization()(layers.Dense(8, activation=name)(x))
    return classified(layers.LayerNormalization()(layers.PReLU()(x)))


@network
def slopes(image: Any) -> Any:
    x = layers.PReLU()(layers.Conv2D(6, 3)(image))
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(6, 1)(x))
    return flat(layers.PReLU(shared_axes=[1])(layers.Conv2D(4, 1)(x)))


@network
def softmaxes(image: Any) -> Any:
    wide = keras.initializers.RandomNormal(stddev=2.0)  # or every image has the same average of nearly even shares
    x = layers.Softmax()(layers.Conv2D(6, 3, kernel_initializer=wide)(image))
    x = layers.Conv2D(6, 3, activation="softmax", kernel_initializer=wide)(layers.BatchNormalization()(x))
    x = layers.Dense(6, activation="softmax", kernel_initializer=wide)(layers.GlobalAveragePooling2D()(x))
    return classified(x)


@network
def softmax_far_from_zero(image: Any) -> Any:
    return flat(layers.Softmax()(layers.Conv2D(6, 3)(image) + 100.0))  # exp(100) is infinite in float32


@network
def softmax_rows(image: Any) -> Any:
    return flat(layers.Softmax(axis=2)(layers.Conv2D(4, 3)(image)))


@network
def reordered(image: Any) -> Any:
    x = layers.Permute((2, 1, 3))(layers.Conv2D(6, 3)(image))
    x = layers.Reshape((10, -1))(layers.Conv2D(4, 3)(x))
    x = layers.Flatten()(layers.Dense(6, activation="relu")(x))
    return flat(layers.Conv2D(5, 2)(layers.Reshape((4, 4, 3))(layers.Dense(48)(x))))


@network
def shuffled(image: Any) -> Any:
    x = layers.Reshape((18, 22, 2, 4))(layers.Conv2D(8, 3)(image))
    x = layers.Reshape((18, 22, 8))(layers.Permute((1, 2, 4, 3))(x))
    return pooled(layers.Conv2D(8, 3, groups=2, activation="relu")(x))


@network
def dense_on_images(image: Any) -> Any:
    x = layers.GlobalAveragePooling2D()(layers.Dense(5)(layers.Dense(7, activation="gelu")(image)))
    return classified(layers.Activation("relu")(layers.LayerNormalization()(layers.BatchNormalization()(x))))


@network
def flattened(image: Any) -> Any:
    x = layers.BatchNormalization()(layers.Flatten()(layers.Conv2D(4, 3, strides=2, activation="relu")(image)))
    x = layers.Concatenate()([x, layers.Flatten()(layers.MaxPooling2D(3)(image))])
    x = layers.BatchNormalization()(layers.Dense(7, activation="relu")(layers.ReLU()(x)))
    return classified(layers.Flatten()(layers.BatchNormalization()(layers.Dense(7)(x))))


@network
def flattened_and_merged(image: Any) -> Any:
    x = layers.Conv2D(4, 3, strides=2)(image)
    row = layers.Dense(9 * 11 * 4, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    return classified(layers.ReLU()(layers.Add()([layers.Multiply()([row, layers.Flatten()(x)]), row])))


@network
def flattened_meets_row(image: Any) -> Any:
    x = layers.Conv2D(4, 3, strides=2)(image)
    row = layers.Dense(9 * 11 * 4, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    return classified(layers.Multiply()([layers.Flatten()(x), row]))


@model
def nested() -> Any:
    rest = keras.Sequential([layers.BatchNormalization(), layers.ReLU()])
    inner = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3), rest, layers.GlobalAveragePooling2D()])
    last = keras.Sequential([layers.Dense(6, activation="relu"), layers.Dense(5), layers.Activation("softmax")])
    return keras.Sequential([keras.Input(SHAPE), inner, last])


@network
def shared(image: Any) -> Any:
    convolve, normalize = layers.Conv2D(3, 3, padding="same", activation="relu"), layers.BatchNormalization()
    inner = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(3, 3, padding="same"), layers.BatchNormalization()])
    x = normalize(convolve(normalize(convolve(image))))
    return flat(layers.Add()([inner(inner(x)), image]))


@network
def skips(image: Any) -> Any:
    a = layers.Conv2D(6, 3, padding="same", activation="relu")(image)
    b = layers.Conv2D(6, 3, strides=2, padding="same")(a)
    c = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(b)
    x = layers.Concatenate()([b, layers.UpSampling2D(2)(c)])
    return pooled(layers.Add()([layers.Conv2DTranspose(6, 3, strides=2, padding="same")(x), a]))


@network
def arithmetic(image: Any) -> Any:
    x = layers.Conv2D(4, 3)(image)
    x = ops.sqrt((2 * x - 1) ** 2 / 3.0 + 1.0)
    x = ops.exp(-x) / (1 + x) - 0.2 * ops.mean(x, axis=(1, 2), keepdims=True)
    x = ops.minimum(ops.maximum(ops.clip(x, -0.6, 0.9), -0.5), 0.8)
    x = 1.0 / (ops.log(x + 2) + 0.5) - ops.square(x) - ops.abs(x) * ops.tanh(x)
    return flat(ops.relu(x + 1.0) * 0.5)


@network
def powers(image: Any) -> Any:
    x = layers.Conv2D(4, 5)(image)
    negative = -ops.abs(x) - 0.5
    parts = [(x * 0.5) ** 3, (x * 0.5) ** 4, negative**-2, negative**-3, 1 / negative, (ops.abs(x) + 0.1) ** 1.5]
    return pooled(layers.Concatenate()(parts))


@network
def sliced(image: Any) -> Any:
    x = layers.Conv2D(8, 3)(image)
    left, right = ops.split(x, 2, axis=-1)
    x = layers.Concatenate()([left * ops.sigmoid(right), ops.glu(x)[..., ::-1]])
    return flat(ops.roll(x[:, 1:-1, ::2, ::3], 3, axis=1))


@network
def stacked(image: Any) -> Any:
    x = layers.Conv2D(4, 3)(image)
    return flat(ops.stack([x, 2 * x], axis=1))


@network
def distributed(image: Any) -> Any:
    return flat(layers.TimeDistributed(layers.Conv1D(3, 3, padding="same"))(layers.MaxPooling2D(4)(image)))


@network
def mixer(image: Any) -> Any:
    x = layers.Reshape((-1, 6))(layers.Conv2D(6, 4, strides=4)(image))
    mixed = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    mixed = layers.Dense(30)(layers.Dense(10, activation="gelu")(mixed))
    x = layers.Add()([x, layers.Permute((2, 1))(mixed)])
    x = layers.Add()([x, layers.Dense(6)(layers.Dense(12, activation="gelu")(layers.LayerNormalization()(x)))])
    return classified(layers.GlobalAveragePooling1D()(x))


@network
def sequence(image: Any) -> Any:
    x = layers.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu")(layers.Reshape((20, 72))(image))
    x = layers.BatchNormalization()(layers.SeparableConv1D(6, 3)(layers.MaxPooling1D(2)(x)))
    x = layers.UpSampling1D(2)(layers.AveragePooling1D(2, padding="same")(x))
    return classified(layers.GlobalMaxPooling1D()(layers.Cropping1D((1, 0))(layers.ZeroPadding1D(1)(x))))


@network
def sequence_transposed(image: Any) -> Any:
    x = layers.Conv1DTranspose(6, 3, strides=2)(layers.Reshape((20, 72))(image))
    return flat(layers.DepthwiseConv1D(3)(x))


@network
def convolved_to_the_end(image: Any) -> Any:
    x = layers.Conv2D(6, 3, activation="relu")(image)
    x = layers.Conv2D(5, (18, 22), activation="softmax")(x)
    return layers.Flatten()(x)


@network
def piecewise(image: Any) -> Any:
    x = layers.Conv2D(6, 3)(image)
    y = layers.Conv2D(6, 3)(image)
    x = ops.where(x > 0.1, ops.square(x), 0.2 * x) + ops.where(ops.logical_and(x <= y, y >= 0), 1.5 * y, x)
    x = layers.Activation("hard_shrink")(x) + ops.where(ops.logical_not(ops.logical_or(x < 0, y < 0.2)), 1.0, 0.0)
    return flat(x)


@network
def turned_round(image: Any) -> Any:
    x = layers.Conv2D(4, 3, activation="relu")(image)
    return flat(x + ops.flip(x, axis=2) + 2 * ops.flip(x, axis=(1, 2)))


@network
def with_coordinates(image: Any) -> Any:
    rows, columns = np.meshgrid(np.linspace(-1, 1, 24), np.linspace(-1, 1, 20))
    ones = ops.ones_like(image[..., :1])
    grid = np.stack([rows, columns], -1)[None].astype(np.float32)
    x = layers.Concatenate()([ones * grid, image, ops.zeros_like(image[..., :1])])
    return flat(layers.Conv2D(6, 3, activation="relu")(x))


@network
def one_pixel_enlarged(image: Any) -> Any:
    x = layers.Conv2D(4, 3, padding="same")(image)
    mean = layers.UpSampling2D((20, 24), interpolation="bilinear")(layers.AveragePooling2D((20, 24))(x))
    row = layers.UpSampling2D((20, 2), interpolation="bilinear")(layers.AveragePooling2D((20, 2))(x))
    return flat(x + mean * row)


@network
def unrolled(image: Any) -> Any:
    return flat(layers.LSTM(5, unroll=True)(layers.Reshape((10, 144))(image)))


@network
def gates(image: Any) -> Any:
    parts = ops.split(layers.Dense(15)(layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3)(image))), 3, axis=-1)
    return classified(ops.hard_sigmoid(parts[0]) * ops.tanh(parts[1]) + parts[1] * ops.hard_sigmoid(parts[2]))


@network
def unrolled_hard(image: Any) -> Any:
    return flat(layers.LSTM(5, unroll=True, recurrent_activation="hard_sigmoid")(layers.Reshape((10, 144))(image)))


@network
def sums_of_products(image: Any) -> Any:
    x = layers.Conv2D(4, 3, activation="relu")(image)
    x = layers.EinsumDense("bhwc,wde->bhcde", (18, 4, 2, 3), bias_axes="e")(x)
    return flat(layers.EinsumDense("bhcde,hcef->bdf", (2, 5), activation="tanh")(x))


def convolved(image: Any) -> Any:
    return layers.Conv2D(4, 3)(image)


def tokens(image: Any, channels: int = 12) -> Any:
    """Return (N, 20, channels): squares of the image in a row."""
    return layers.Reshape((20, channels))(layers.Conv2D(channels, (5, 4), strides=(5, 4))(image)[:, :4, :5])


class FirstToken(layers.Layer):  # type: ignore[misc]
    """Puts a token of its own in front of those of an image."""

    def build(self, shape: tuple[int | None, int, int]) -> None:
        self.token = self.add_weight(shape=(1, 1, shape[-1]), initializer="random_normal")

    def call(self, x: Any) -> Any:
        first = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, ops.shape(x)[-1]))
        return ops.concatenate([first, x], axis=1)


@network
def heads(image: Any) -> Any:
    x = FirstToken()(tokens(image))
    x = x + layers.MultiHeadAttention(3, 4)(*[layers.LayerNormalization()(x)] * 2)
    x = x + layers.MultiHeadAttention(2, 5, value_dim=3)(x, tokens(image, 8))
    return classified(layers.LayerNormalization()(x)[:, 0])


@network
def attended(image: Any) -> Any:
    x, y = tokens(image), tokens(image)
    return flat(layers.Attention(use_scale=True)([x, layers.Dense(7)(y), y]))


@network
def attended_additively(image: Any) -> Any:
    return flat(layers.AdditiveAttention()([tokens(image), tokens(image)]))


@network
def windows(image: Any) -> Any:
    x = layers.Conv2D(6, 2, strides=2)(image)[:, :8, :12]
    x = ops.transpose(ops.reshape(ops.roll(x, (-2, -1), (1, 2)), (-1, 2, 4, 3, 4, 6)), (0, 1, 3, 2, 4, 5))
    x = ops.reshape(x, (-1, 16, 6))
    stacked = ops.transpose(ops.reshape(layers.Dense(18)(x), (-1, 16, 3, 2, 3)), (2, 0, 3, 1, 4))
    query, key, value = (stacked[place] for place in range(3))
    scores = ops.matmul(query * 3**-0.5, ops.transpose(key, (0, 1, 3, 2)))
    hidden = np.where(np.random.default_rng(0).random((1, 6, 1, 16, 16)) > 0.3, 0, -100).astype(np.float32)
    scores = ops.reshape(ops.reshape(scores, (-1, 6, 2, 16, 16)) + hidden, (-1, 2, 16, 16))
    x = ops.reshape(ops.transpose(ops.matmul(ops.softmax(scores, -1), value), (0, 2, 1, 3)), (-1, 16, 6))
    x = ops.transpose(ops.reshape(layers.Dense(6)(x), (-1, 2, 3, 4, 4, 6)), (0, 1, 3, 2, 4, 5))
    return flat(ops.reshape(x, (-1, 8, 12, 6)))


@network
def products_of_rows(image: Any) -> Any:
    x = layers.Conv2D(4, 3)(image)
    rows = ops.reshape(x, (-1, 18 * 22, 4))
    pairs = ops.matmul(ops.transpose(rows, (0, 2, 1)), rows) / 400
    maps = ops.einsum("bhwc,bhwd->bcd", x, layers.Conv2D(3, 1)(x)) / 400
    sums = ops.einsum("bhwc,bhvd->bcd", x, layers.Conv2D(3, 1)(x)) / 4000
    pairs = ops.relu(pairs) + ops.tanh(pairs)
    both = layers.Dot((1, 1))([tokens(image, 3), tokens(image, 2)])
    one = layers.Dot(1)([layers.Flatten()(pairs), layers.Dense(16)(layers.Flatten()(maps))])
    return classified(ops.concatenate([*map(layers.Flatten(), (pairs, maps, sums, both)), one], -1))


@network
def heads_of_weights(image: Any) -> Any:
    x = layers.EinsumDense("abc,cde->abde", (20, 3, 4), bias_axes="de")(tokens(image))
    return flat(layers.EinsumDense("abcd,cde->abce", (20, 3, 5), bias_axes="ce", activation="relu")(x))


@network
def softmax_of_sides(image: Any) -> Any:
    x = layers.Conv2D(4, 4, strides=4)(image)
    return flat(ops.concatenate([layers.Softmax(axis=side)(x) for side in (1, 2, 3)], -1))


@network
def gathered(image: Any) -> Any:
    x = ops.take(layers.Conv2D(4, 3)(image), [3, 0, 2, 2], axis=-1)
    return flat(ops.take(ops.take(x, [[5, 1], [0, 17]], axis=1), 7, axis=3))


@network
def mirrored(image: Any) -> Any:
    x = ops.pad(layers.Conv2D(4, 3)(image), ((0, 0), (1, 2), (3, 0), (0, 0)), mode="reflect")
    return flat(layers.Conv2D(3, 3)(ops.pad(x, ((0, 0), (2, 0), (0, 1), (0, 0)), mode="symmetric")))


@network
def added_up(image: Any) -> Any:
    return flat(ops.cumsum(layers.Conv2D(4, 3)(image), axis=1) / 9)


class Blocks(layers.Layer):  # type: ignore[misc]
    """Turns squares of pixels into channels, or channels into squares: Keras itself has no such layer."""

    def __init__(self, function: Callable[[Any, int], Any], size: int) -> None:
        super().__init__()
        self.function, self.size = function, size

    def call(self, x: Any) -> Any:
        return self.function(x, self.size)


@network
def blocks(image: Any) -> Any:
    x = Blocks(tf.nn.depth_to_space, 2)(layers.Conv2D(8, 2, strides=2)(image))
    return flat(layers.Conv2D(3, 3)(Blocks(tf.nn.space_to_depth, 4)(layers.Conv2D(2, 3, padding="same")(x))))


@network
def many_sides(image: Any) -> Any:
    x = ops.reshape(convolved(image), (-1, 18, 22, 2, 2))
    y = (
        ops.flip(x, axis=2)[:, ::3]
        + ops.mean(x, axis=(1, 3), keepdims=True)
        - ops.max(x, axis=-1, keepdims=True)[:, :6]
    )
    return flat(layers.Dense(3)(y))


@network
def padded_heads(image: Any) -> Any:
    x = ops.reshape(convolved(image)[:, :6, :6], (-1, 3, 2, 3, 2, 4))
    y = ops.pad(x * ops.max(x, axis=(1, 3), keepdims=True) - x, ((0, 0), (0, 1), (0, 0), (2, 1), (0, 0), (0, 0)))
    return flat(ops.pad(layers.Dense(3)(y)[:, :, 0], ((0, 0), (1, 0), (0, 0), (1, 1), (0, 0)), constant_values=0.7))


@network
def joined_to_the_batch(image: Any) -> Any:
    x = layers.Conv2D(6, 3, activation="relu")(ops.reshape(image, (-1, 5, 24, 3)))
    return flat(ops.reshape(layers.GlobalMaxPooling2D()(x), (-1, 4, 6)))


@network
def decided(image: Any) -> Any:
    x = layers.Conv2D(4, 3)(image)
    kept = ops.where(ops.logical_and(ops.greater(x, 0.1), ops.not_equal(x, 0.2)), x, -0.3)
    return pooled(ops.concatenate([kept, ops.sign(x), ops.cast(ops.less_equal(x, -0.1), "float32"), ops.relu(x)], -1))


class Place(layers.Layer):  # type: ignore[misc]
    """Says where the largest number of each row stands."""

    def call(self, x: Any) -> Any:
        return tf.cast(tf.argmax(x, 2), tf.float32)[:, :, None]

    def compute_output_shape(self, shape: tuple[int | None, int, int, int]) -> tuple[int | None, int, int, int]:
        return (*shape[:2], 1, shape[3])


@network
def sorted_numbers(image: Any) -> Any:
    x = ops.round(convolved(image)[:, ::3, ::3] * 2) / 2  # with many that are equal
    best, places = ops.top_k(layers.Dense(6)(x), 3)
    halves = ops.mod(x, 0.75) + ops.cast(ops.cast(x, "int32"), "float32")
    parts = [halves, ops.sort(x), best, ops.cast(places, "float32"), -ops.sort(-x, axis=1)]
    return flat(ops.concatenate([*parts, Place()(x) + x], -1))


@network
def chosen_experts(image: Any) -> Any:
    x = convolved(image)[:, ::3, ::3]
    scores = layers.Dense(6)(layers.GlobalAveragePooling2D()(x)) * 3
    _, best = ops.top_k(scores, 2)
    weights = ops.softmax(ops.where(ops.sum(ops.one_hot(best, 6), 1) > 0, scores, -1e9))
    codes = layers.Embedding(6, 5)(ops.argmax(layers.Dense(6)(x), -1)) + ops.one_hot(ops.argmin(x, -1), 5)
    bounded = ops.maximum(ops.minimum(codes, 1e6), -5e4) * ops.where(ops.isnan(codes), 1.5, 0.5)
    return flat(ops.concatenate([weights, ops.mean(bounded, (1, 2))], -1))


class Slots(layers.Layer):  # type: ignore[misc]
    """The same learned rows for every image."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.rows = self.add_weight(shape=(1, 3, 4), initializer="normal", name="rows")

    def call(self, x: Any) -> Any:
        return ops.broadcast_to(self.rows, (ops.shape(x)[0], 3, 4))


@network
def slots(image: Any) -> Any:
    x = ops.reshape(convolved(image)[:, ::3, ::3], (-1, 6 * 8, 4))
    cell, rows = layers.GRUCell(4), Slots()(x)
    for _ in range(2):
        weights = ops.softmax(ops.matmul(x, ops.transpose(rows, (0, 2, 1))), -1)
        seen = ops.matmul(ops.transpose(weights, (0, 2, 1)), layers.Dense(4)(x))
        found, _ = cell(ops.reshape(seen, (-1, 4)), [ops.reshape(rows, (-1, 4))])
        rows = ops.reshape(found, (-1, 3, 4))
    return flat(rows)


@network
def multiplied_up(image: Any) -> Any:
    x = ops.sigmoid(ops.reshape(convolved(image)[:, ::3, ::3], (-1, 6 * 8, 4)))
    x = layers.GroupNormalization(2)(x) * 0.1 + 1
    return flat(layers.GroupNormalization(2)(ops.prod(x, 1)) + ops.prod(x[:, :5], (1, 2))[:, None])


@network
def waves(image: Any) -> Any:
    x = convolved(image)
    inside = ops.tanh(x) * 0.9
    parts = [ops.sin(x * 3), ops.cos(x), ops.arcsin(inside), ops.arctan(x), ops.sinh(inside), ops.arcsinh(x)]
    return pooled(ops.concatenate([*parts, ops.floor(x), ops.ceil(x), ops.tan(inside), ops.arctanh(inside)], -1))


@network
def responses(image: Any) -> Any:
    return pooled(
        Blocks(lambda x, size: tf.nn.local_response_normalization(x, size, 1.0, 0.3, 0.6), 2)(convolved(image))
    )


@network
def standardized(image: Any) -> Any:
    centered = image - ops.mean(image, axis=(1, 2, 3), keepdims=True)
    return flat(centered / (ops.std(image, axis=(1, 2, 3), keepdims=True) + 1e-6))


@network
def linear(image: Any) -> Any:
    return flat(image)


@network
def nothing_but_a_pool(image: Any) -> Any:
    return pooled(image)


@model
def gray() -> Any:
    image = keras.Input((20, 24, 1))
    x = layers.DepthwiseConv2D(3, padding="same")(layers.Rescaling(2.0, 0.1)(layers.BatchNormalization()(image)))
    return keras.Model(image, classified(layers.Flatten()(layers.MaxPooling2D()(x)), 2))


@network
def single_sigmoid(image: Any) -> Any:
    return classified(layers.BatchNormalization()(layers.Flatten()(image)), 1, "sigmoid")


@network
def multi_label(image: Any) -> Any:
    return classified(layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu")(image)), 4, "sigmoid")


@network
def logits(image: Any) -> Any:
    return classified(layers.Flatten()(image), 5, None)


@network
def logit(image: Any) -> Any:
    return classified(layers.Flatten()(image), 1, None)
