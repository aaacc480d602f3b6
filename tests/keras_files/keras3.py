"""Fifty files that today's Keras writes, of kinds that people bring, and what should become of them.

A file is a function that builds its model and a sentence (its docstring). Its weights are drawn, then scaled so that
its answers are neither all alike nor all certain. `refused` is the reason that the product must name where no bundle
can come of it, and `mended` the same model after the advice in that refusal was followed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit.backend import keras
from trainkit.data._sources import load_sample_images

layers, ops, applications = keras.layers, keras.ops, keras.applications
SIDE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A Keras file, how it is exported, and what should come of it."""

    build: Callable[[], Any]
    preprocessing: str = "unit"
    options: dict[str, Any] = field(default_factory=dict)  # further ones of trainkit.export
    refused: str | None = None  # a pattern of the one true reason
    mended: Callable[[], Any] | None = None  # the model after the refusal's advice was followed
    settled: bool = True  # whether its weights are drawn and scaled here


def save(name: str, folder: Path) -> Path:
    """Build one of the files, and save it as `<name>.keras`."""
    return save_model(FILES[name].build, folder / f"{name}.keras", FILES[name])


def save_model(build: Callable[[], Any], path: Path, file: File) -> Path:
    """Build a model with weights of its own, the same each time, and save it."""
    keras.utils.set_random_seed(sum(map(ord, path.stem)))
    model = build()
    if file.settled:
        settle(model, file.preprocessing)
    model.save(path)
    return path


def inputs_for(shape: tuple[int | None, ...], preprocessing: str, count: int = 6) -> np.ndarray:
    """Return pieces of photographs as a model takes them, float32 `(count, *shape)`."""
    images = load_sample_images().images
    height, width, channels = (*(side or SIDE for side in shape), 1)[:3]
    pieces = [cv2.resize(images[index], (width, height)) for index in range(count)]
    stacked = np.stack(pieces).astype(np.float32)[..., ::-1]
    stacked = stacked[..., :channels] if channels <= 3 else np.concatenate([stacked, stacked[..., :1]], -1)
    scaled = {"unit": stacked / 255, "symmetric": stacked / 127.5 - 1, "none": stacked}[preprocessing]
    return scaled.reshape(count, *(side or SIDE for side in shape)).astype(np.float32)


def settle(model: Any, preprocessing: str) -> None:
    """Draw what an initialiser leaves at nought or one, and scale the head until its answers differ by image.

    Without this, a network of random weights answers nearly the same to every picture, which hides what is wrong.
    """
    draws = np.random.default_rng(3)
    for variable in model.weights:
        shape, kind = tuple(variable.shape), variable.name
        if kind == "gamma":
            variable.assign(draws.uniform(0.7, 1.3, shape))
        elif kind in ("beta", "bias", "moving_mean"):
            variable.assign(draws.normal(0, 0.15, shape))
        elif kind == "moving_variance":
            variable.assign(draws.uniform(0.5, 1.5, shape))
    inputs = [inputs_for(tuple(one.shape[1:]), preprocessing) for one in model.inputs]
    _measure(model, inputs)
    _spread(model, [np.roll(one, number, 0) for number, one in enumerate(inputs)])


def _measure(model: Any, inputs: list[np.ndarray]) -> None:
    """Give each batch normalisation the mean and variance of what comes in: else a deep network answers nothing."""
    for inner in model.layers:
        if isinstance(inner, keras.Model) and inner.input_shape[1:] == model.input_shape[1:]:
            _measure(inner, [inputs_for(inner.input_shape[1:], "symmetric")])
    measured = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    before = [(layer.momentum, layer.trainable) for layer in measured]
    for layer in measured:
        layer.momentum, layer.trainable = 0.0, True
    if measured:
        model(inputs[0] if len(inputs) == 1 else inputs, training=True)
    for layer, (momentum, trainable) in zip(measured, before, strict=True):
        layer.momentum, layer.trainable = momentum, trainable


def _spread(model: Any, inputs: list[np.ndarray]) -> None:
    """Give the last layer with a kernel and a bias logits of mean 0 and deviation 1 over the images."""
    head = [layer for layer in model.layers if getattr(layer, "bias", None) is not None][-1]
    activation, head.activation = head.activation, keras.activations.linear
    one = len(inputs) == 1
    until = keras.Model(model.inputs[0] if one else model.inputs, head.output)
    values = until.predict(inputs[0] if one else inputs, batch_size=1, verbose=0).astype(np.float64)
    head.activation = activation
    factor = 1 / float(values.std(0).mean())
    offset = values.mean(tuple(range(values.ndim - 1))) - head.bias.numpy()
    head.kernel.assign(head.kernel.numpy() * factor)
    head.bias.assign(-offset * factor)


def _ended(inputs: Any, features: Any, classes: int = 5) -> Any:
    pooled = layers.GlobalAveragePooling2D()(features) if len(features.shape) == 4 else features
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(pooled))


def _image(side: int = SIDE, channels: int = 3) -> Any:
    return keras.Input((side, side, channels))


# Whole tutorials


def scratch_guide() -> Any:
    """Keras' "Image classification from scratch": augmentation and Rescaling inside, separable blocks, one logit."""
    inputs = _image(48)
    x = layers.RandomRotation(0.1)(layers.RandomFlip("horizontal")(inputs))
    x = layers.Rescaling(1.0 / 255)(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(layers.Conv2D(16, 3, strides=2, padding="same")(x)))
    previous = x
    for size in (24, 32):
        for _ in range(2):
            x = layers.Activation("relu")(x)
            x = layers.BatchNormalization()(layers.SeparableConv2D(size, 3, padding="same")(x))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
        x = layers.add([x, layers.Conv2D(size, 1, strides=2, padding="same")(previous)])
        previous = x
    x = layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(1, activation=None)(x))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), [keras.metrics.BinaryAccuracy(name="acc")])
    return model


def toy_resnet() -> Any:
    """The functional guide's toy ResNet, named layers and additions."""
    inputs = keras.Input((32, 32, 3), name="img")
    x = layers.Conv2D(32, 3, activation="relu")(inputs)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    block = layers.MaxPooling2D(3)(x)
    for _ in range(2):
        x = layers.Conv2D(64, 3, activation="relu", padding="same")(block)
        block = layers.add([layers.Conv2D(64, 3, activation="relu", padding="same")(x), block])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(64, 3, activation="relu")(block))
    x = layers.Dropout(0.5)(layers.Dense(64, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(10)(x), name="toy_resnet")


def transfer_inside() -> Any:
    """Transfer learning with `preprocess_input` between the layers and a nested, frozen MobileNetV2."""
    base = applications.MobileNetV2((64, 64, 3), alpha=0.35, include_top=False, weights=None)
    base.trainable = False
    inputs = keras.Input((64, 64, 3))
    x = layers.RandomFlip("horizontal")(inputs)
    x = base(applications.mobilenet_v2.preprocess_input(x), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def caffe_inside() -> Any:
    """ResNet50's `preprocess_input` between the layers: channels turned round and means subtracted."""
    inputs = _image()
    x = applications.resnet50.preprocess_input(inputs)
    return _ended(inputs, layers.Conv2D(16, 5, strides=2, activation="relu")(x))


def keras_mnist_convnet() -> Any:
    """Keras' "Simple MNIST convnet": a Sequential with Flatten, Dropout and ten classes, on 28x28x1."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


def conv_mixer() -> Any:
    """Keras' "ConvMixer": patches, gelu, depthwise residuals, Rescaling inside."""
    inputs = _image()
    x = layers.Conv2D(24, 4, strides=4)(layers.Rescaling(1.0 / 255)(inputs))
    x = layers.BatchNormalization()(layers.Activation("gelu")(x))
    for _ in range(2):
        x = layers.Add()([layers.Activation("gelu")(layers.DepthwiseConv2D(5, padding="same")(x)), x])
        x = layers.Activation("gelu")(layers.Conv2D(24, 1)(layers.BatchNormalization()(x)))
    return _ended(inputs, x)


def mlp_mixer() -> Any:
    """Keras' "MLP-Mixer": dense layers over patches and over channels, with `ops.transpose` between."""
    inputs = _image()
    x = layers.Reshape((16, 24))(layers.Conv2D(24, 8, strides=8)(inputs))
    y = ops.transpose(layers.LayerNormalization(epsilon=1e-6)(x), axes=(0, 2, 1))
    y = layers.Dense(16)(layers.Dense(32, activation="gelu")(y))
    x = layers.Add()([x, ops.transpose(y, axes=(0, 2, 1))])
    y = layers.Dense(24)(layers.Dense(32, activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(x)))
    return _ended(inputs, layers.GlobalAveragePooling1D()(layers.Add()([x, y])))


def unnamed_input() -> Any:
    """A Sequential without an Input, which got its shape when it was fitted."""
    model = keras.Sequential(
        [layers.Conv2D(12, 3, activation="relu"), layers.GlobalMaxPooling2D(), layers.Dense(4, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.zeros((4, 24, 24, 3), np.float32), np.zeros(4), verbose=0)
    return model


def cut_backbone() -> Any:
    """A feature extractor: a backbone cut at a layer in its middle, frozen, with a new head."""
    whole = applications.MobileNet((64, 64, 3), alpha=0.25, weights=None, include_top=False)
    for layer in whole.layers[:20]:
        layer.trainable = False
    features = whole.get_layer("conv_pw_6_relu").output
    x = layers.Dense(16, activation="relu")(layers.GlobalAveragePooling2D()(features))
    return keras.Model(whole.input, layers.Dense(5, activation="softmax", name="head")(x))


# Networks of keras.applications


def mobilenet_v3() -> Any:
    """MobileNetV3Small, which scales its input itself, with hard activations and squeeze-and-excite."""
    return applications.MobileNetV3Small((64, 64, 3), weights=None, classes=7, minimalistic=False)


def efficientnet() -> Any:
    """EfficientNetV2B0 with its preprocessing inside and classes of its own."""
    return applications.EfficientNetV2B0(input_shape=(64, 64, 3), weights=None, classes=6)


def convnext() -> Any:
    """A small ConvNeXt: layer scale, stochastic depth, layer normalisation, its preprocessing inside."""
    from keras.src.applications.convnext import ConvNeXt

    return ConvNeXt(
        depths=[1, 1, 2, 1], projection_dims=[16, 24, 32, 48], drop_path_rate=0.1, default_size=64,
        input_shape=(64, 64, 3), weights=None, classes=5, name="convnext_small", weights_name="convnext_tiny",
    )  # fmt: skip


# Blocks


def spatial_attention() -> Any:
    """CBAM's spatial attention by `ops.mean` and `ops.max` over the channels."""
    inputs = _image()
    x = layers.Conv2D(16, 3, activation="relu", padding="same")(inputs)
    maps = layers.Concatenate()([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)])
    return _ended(inputs, layers.Multiply()([x, layers.Conv2D(1, 7, padding="same", activation="sigmoid")(maps)]))


def channel_shuffle() -> Any:
    """ShuffleNet: grouped convolutions with Reshape, Permute, Reshape between them."""
    inputs = _image()
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(12, 1, groups=3)(x)
    x = layers.Reshape((16, 16, 12))(layers.Permute((1, 2, 4, 3))(layers.Reshape((16, 16, 3, 4))(x)))
    return _ended(inputs, layers.Conv2D(12, 3, groups=3, padding="same", activation="relu")(x))


def dilated_pyramid() -> Any:
    """Spatial pyramid of dilated convolutions, with the image's mean brought back to its size."""
    inputs = _image()
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(inputs)
    mean = layers.Conv2D(8, 1)(layers.AveragePooling2D(16)(x))
    branches = [layers.Conv2D(8, 3, padding="same", dilation_rate=rate)(x) for rate in (1, 2, 4)]
    branches.append(layers.UpSampling2D(16, interpolation="bilinear")(mean))
    return _ended(inputs, layers.ReLU()(layers.Concatenate()(branches)))


def gated_halves() -> Any:
    """A gated linear unit: `ops.split` over the channels, one half the gate of the other."""
    inputs = _image()
    value, gate = ops.split(layers.Conv2D(16, 3)(inputs), 2, axis=-1)
    return _ended(inputs, value * ops.sigmoid(gate))


def coordinates() -> Any:
    """CoordConv: the place of each pixel as two more channels, a constant between the layers."""
    inputs = _image()
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE)), -1)[None].astype(np.float32)
    ones = ops.ones_like(inputs[..., :1])
    x = layers.Concatenate()([inputs, ones * grid[..., :1], ones * grid[..., 1:]])
    return _ended(inputs, layers.Conv2D(16, 5, strides=2, activation="relu")(x))


def blurred_pooling() -> Any:
    """Anti-aliased pooling: a fixed blur kernel in a frozen depthwise convolution."""
    inputs = _image()
    x = layers.ZeroPadding2D(1)(layers.Conv2D(8, 3, activation="relu")(inputs))
    blur = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
    layer = layers.DepthwiseConv2D(3, strides=2, use_bias=False, trainable=False)
    x = layer(x)
    layer.set_weights([np.repeat(blur[..., None, None], 8, 2)])
    return _ended(inputs, x)


def hourglass() -> Any:
    """Down and up again: transposed convolutions, UpSampling, Cropping and ZeroPadding around a classifier."""
    inputs = keras.Input((30, 34, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    y = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(layers.ZeroPadding2D(((0, 1), (1, 2)))(x))
    y = layers.Conv2DTranspose(8, 3, strides=2, padding="same")(y)
    y = layers.Cropping2D(((0, 1), (1, 2)))(y)
    y = layers.ReLU()(layers.Add()([x, y]))
    return _ended(inputs, layers.Conv2D(8, 3)(layers.UpSampling2D((2, 1))(y)))


def uneven_pooling() -> Any:
    """Average pooling of uneven sides with `same`, and both kinds of global pooling side by side."""
    inputs = keras.Input((29, 37, 3))
    x = layers.Conv2D(8, 4, strides=3, padding="same", activation="relu")(inputs)
    x = layers.AveragePooling2D((3, 2), strides=2, padding="same")(x)
    pooled = [layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)]
    return _ended(inputs, layers.Concatenate()(pooled))


# Layers that few use


def group_norm() -> Any:
    """Group normalisation and SiLU in residual blocks, as diffusion models have them."""
    inputs = _image()
    x = layers.Conv2D(16, 3, strides=2, padding="same")(inputs)
    y = layers.Activation("silu")(layers.GroupNormalization(4)(x))
    return _ended(inputs, layers.Add()([x, layers.Conv2D(16, 3, padding="same")(y)]))


def cosine_head() -> Any:
    """A cosine classifier: embeddings of unit length, times a learned scale, then a softmax."""
    inputs = _image()
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3, activation="relu")(inputs))
    x = layers.UnitNormalization()(layers.Dense(8)(x))
    x = layers.Dense(5, use_bias=False, kernel_constraint=keras.constraints.UnitNorm())(x)
    return keras.Model(inputs, layers.Softmax()(layers.Rescaling(8.0)(x)))


def spectral() -> Any:
    """Convolution and dense layer within SpectralNormalization."""
    inputs = _image()
    x = layers.SpectralNormalization(layers.Conv2D(12, 3, activation="relu"))(inputs)
    x = layers.SpectralNormalization(layers.Dense(8, activation="relu"))(layers.GlobalAveragePooling2D()(x))
    return _ended(inputs, x)


def strips() -> Any:
    """An image cut into strips, each through one TimeDistributed convolution."""
    inputs = _image()
    x = layers.Reshape((4, 8, 32, 3))(inputs)
    x = layers.TimeDistributed(layers.Conv2D(8, 3, activation="relu"))(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    return _ended(inputs, layers.GlobalAveragePooling1D()(x))


def rows_as_sequence() -> Any:
    """Rows of a picture as a sequence, through Conv1D, pooling and GlobalMaxPooling1D."""
    inputs = _image(channels=1)
    x = layers.Reshape((SIDE, SIDE))(inputs)
    x = layers.MaxPooling1D(2)(layers.Conv1D(16, 5, activation="relu")(x))
    return _ended(inputs, layers.GlobalMaxPooling1D()(layers.SeparableConv1D(16, 3, padding="same")(x)))


def maxout() -> Any:
    """Maxout: the largest of some linear values, by Reshape and `ops.max`."""
    inputs = _image()
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3, activation="relu")(inputs))
    x = ops.max(layers.Reshape((8, 3))(layers.Dense(24)(x)), axis=-1)
    return _ended(inputs, x)


def leaky_kinds() -> Any:
    """PReLU with shared axes and with a slope for each place, ReLU with a threshold and a negative slope."""
    inputs = _image()
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer="uniform")(layers.Conv2D(8, 3, strides=2)(inputs))
    x = layers.PReLU(alpha_initializer="uniform")(layers.Conv2D(8, 3, strides=2)(x))
    x = layers.ReLU(max_value=4.0, negative_slope=0.1)(layers.Conv2D(8, 3)(x))
    return _ended(inputs, layers.LeakyReLU(0.3)(layers.ELU(0.7)(x)))


def new_activations() -> Any:
    """Activations that Keras 3 added, by their names."""
    inputs = _image()
    x = layers.Conv2D(4, 3)(layers.Rescaling(3.0)(inputs))
    names = ("mish", "celu", "squareplus", "hard_silu", "hard_tanh", "hard_shrink", "soft_shrink")
    names += ("sparse_plus", "tanh_shrink", "log_sigmoid", "sparse_sigmoid")
    return _ended(inputs, layers.Concatenate()([layers.Activation(name)(x) for name in names]))


def einsum_head() -> Any:
    """EinsumDense in place of a dense layer, over places and channels at once."""
    inputs = _image()
    x = layers.MaxPooling2D(5)(layers.Conv2D(8, 3, activation="relu")(inputs))
    x = layers.EinsumDense("bhwc,hwcd->bd", output_shape=16, bias_axes="d", activation="tanh")(x)
    return _ended(inputs, x)


def every_augmentation() -> Any:
    """Every augmentation that one finds inside models, cropping and resizing before the first convolution."""
    inputs = _image(40)
    x = layers.Resizing(36, 36)(layers.CenterCrop(32, 32)(inputs))
    for layer in (
        layers.RandomTranslation(0.1, 0.1), layers.RandomZoom(0.2), layers.RandomContrast(0.2),
        layers.RandomBrightness(0.2, value_range=(0, 1)), layers.RandomCrop(32, 32),
    ):  # fmt: skip
        x = layer(x)
    return _ended(inputs, layers.Conv2D(8, 3, strides=2, activation="relu")(x))


def noises() -> Any:
    """All kinds of noise and dropout, regularisers and constraints; nothing of them is in the answer."""
    inputs = _image()
    x = layers.GaussianNoise(0.1)(inputs)
    x = layers.Conv2D(12, 3, activation="selu", kernel_initializer="lecun_normal", kernel_regularizer="L1L2")(x)
    x = layers.GaussianDropout(0.2)(layers.AlphaDropout(0.1)(layers.SpatialDropout2D(0.2)(x)))
    x = layers.ActivityRegularization(l2=0.01)(x)
    x = layers.Conv2D(12, 3, kernel_constraint=keras.constraints.MaxNorm(2), bias_regularizer=keras.regularizers.L2())(
        x
    )
    return _ended(inputs, layers.Identity()(x))


def adapted() -> Any:
    """A Normalization that was adapted to the data, inside the model."""
    layer = layers.Normalization(axis=-1)
    layer.adapt(np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype(np.float32))
    inputs = _image()
    return _ended(inputs, layers.Conv2D(12, 3, strides=2, activation="relu")(layer(inputs)))


# Written with keras.ops


def ops_alone() -> Any:
    """`keras.ops` in place of layers: pad, relu, clip, concatenate, average pooling, softmax."""
    inputs = _image()
    x = layers.Conv2D(12, 3)(ops.pad(inputs, [[0, 0], [1, 1], [2, 2], [0, 0]]))
    x = ops.concatenate([ops.relu(x), ops.clip(x, -0.5, 0.5), ops.abs(x)], axis=-1)
    x = ops.mean(ops.average_pool(x, 2), axis=(1, 2))
    return keras.Model(inputs, ops.softmax(layers.Dense(5)(x)))


def resized_inside() -> Any:
    """`ops.image.resize` and `ops.image.rgb_to_grayscale` before the first convolution."""
    inputs = _image(40)
    x = ops.image.rgb_to_grayscale(ops.image.resize(inputs, (28, 28), interpolation="bilinear"))
    return _ended(inputs, layers.Conv2D(16, 5, activation="relu")(x))


def standardized_inside() -> Any:
    """Each image less its mean, by its deviation, with `ops.mean` and `ops.std` between the layers."""
    inputs = _image()
    x = (inputs - ops.mean(inputs, axis=(1, 2, 3), keepdims=True)) / (ops.std(inputs, (1, 2, 3), keepdims=True) + 1e-6)
    return _ended(inputs, layers.Conv2D(16, 5, strides=2, activation="relu")(x))


def piecewise() -> Any:
    """A function in pieces by `ops.where` and a comparison."""
    inputs = _image()
    x = layers.Conv2D(12, 3)(inputs)
    return _ended(inputs, ops.where(x > 0.1, ops.square(x), 0.2 * x))


def best_regions() -> Any:
    """The mean of the four strongest places by `ops.top_k`: a sort."""
    inputs = _image()
    x = layers.Reshape((900,))(layers.Conv2D(1, 3)(inputs))
    return _ended(inputs, ops.top_k(x, 4)[0])


# Other precisions, other weights


def double() -> Any:
    """A model in float64."""
    inputs = keras.Input((32, 32, 3), dtype="float64")
    x = layers.Conv2D(12, 3, activation="relu", dtype="float64")(inputs)
    x = layers.GlobalAveragePooling2D(dtype="float64")(layers.BatchNormalization(dtype="float64")(x))
    return keras.Model(inputs, layers.Dense(5, activation="softmax", dtype="float64")(x))


def low_rank() -> Any:
    """Dense layers with LoRA weights that were trained."""
    model = rows_as_sequence()
    settle(model, "unit")
    for layer in model.layers:
        if isinstance(layer, layers.Dense):
            layer.enable_lora(2)
            layer.lora_kernel_b.assign(np.random.default_rng(1).normal(0, 0.3, layer.lora_kernel_b.shape))
    return model


def quantized() -> Any:
    """A model after `model.quantize("int8")`."""
    inputs = _image()
    x = layers.Flatten()(layers.Conv2D(8, 3, strides=3, activation="relu")(inputs))
    model = _ended(inputs, layers.Dense(16, activation="relu")(x))
    settle(model, "unit")
    model.quantize("int8")
    return model


def not_a_number() -> Any:
    """A training that diverged: a weight is NaN."""
    model = keras_mnist_convnet()
    kernel = model.layers[0].kernel.numpy()
    kernel[0, 0, 0, 0] = np.nan
    model.layers[0].kernel.assign(kernel)
    return model


# Ends and beginnings


def any_size() -> Any:
    """A model that takes images of any size."""
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(12, 3, strides=2, activation="relu")(layers.Rescaling(1 / 127.5, offset=-1)(inputs))
    return _ended(inputs, layers.Conv2D(12, 3, activation="relu")(x))


def batch_of_one() -> Any:
    """A model with its batch fixed at one image, as for a converter to TFLite."""
    inputs = keras.Input(batch_shape=(1, 32, 32, 3))
    return _ended(inputs, layers.Conv2D(12, 3, activation="relu")(inputs))


def temperature() -> Any:
    """Calibrated: logits by a temperature, then a softmax layer."""
    inputs = _image()
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(12, 3, activation="relu")(inputs))
    return keras.Model(inputs, layers.Softmax(axis=-1)(layers.Dense(5)(x) / 1.7))


def fully_convolutional() -> Any:
    """A classifier of convolutions alone, whose answer is (None, 1, 1, classes)."""
    inputs = _image()
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    return keras.Model(inputs, layers.Conv2D(5, 15, activation="softmax")(x))


# What no bundle can come of


def four_channels() -> Any:
    """Photographs with an infrared channel."""
    inputs = _image(channels=4)
    return _ended(inputs, layers.Conv2D(12, 3, activation="relu")(inputs))


def two_images() -> Any:
    """Two pictures in: the same network over both, and their difference."""
    left, right = _image(), _image()
    shared = keras.Sequential([layers.Conv2D(12, 3, activation="relu"), layers.GlobalAveragePooling2D()])
    return _ended([left, right], ops.abs(shared(left) - shared(right)), classes=2)


def autoencoder() -> Any:
    """A picture out, no classes."""
    inputs = _image()
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, layers.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid")(x))


@keras.saving.register_keras_serializable("field")
def swish_of_my_own(x: Any) -> Any:
    """A function that a file names without holding it."""
    return x * ops.sigmoid(1.5 * x)


def own_activation() -> Any:
    """An activation of the author's own, registered with Keras where it was trained."""
    inputs = _image()
    return _ended(inputs, layers.Conv2D(12, 3, activation=swish_of_my_own)(inputs))


def own_activation_by_ops() -> Any:
    """The same by `keras.ops`, as the refusal advises."""
    inputs = _image()
    x = layers.Conv2D(12, 3)(inputs)
    return _ended(inputs, x * ops.sigmoid(1.5 * x))


def recurrent_rows() -> Any:
    """Rows of a digit through an LSTM."""
    inputs = keras.Input((28, 28, 1))
    return _ended(inputs, layers.LSTM(16)(layers.Reshape((28, 28))(inputs)))


def best_region() -> Any:
    """The strongest place by pooling, in place of a sort."""
    inputs = _image()
    return _ended(inputs, layers.GlobalMaxPooling2D()(layers.Conv2D(4, 3)(inputs)))


def encoder() -> Any:
    """The picture's code, with pooling and a softmax behind it."""
    inputs = _image()
    return _ended(inputs, layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs))


def one_image() -> Any:
    """The part of the two-image model that looks at one picture."""
    inputs = _image()
    shared = keras.Sequential([layers.Conv2D(12, 3, activation="relu"), layers.GlobalAveragePooling2D()])
    return _ended(inputs, shared(inputs), classes=2)


def before_quantization() -> Any:
    """The model as it was before quantize()."""
    inputs = _image()
    x = layers.Flatten()(layers.Conv2D(8, 3, strides=3, activation="relu")(inputs))
    return _ended(inputs, layers.Dense(16, activation="relu")(x))


FILES: dict[str, File] = {
    "scratch_guide": File(build=scratch_guide, preprocessing="none"),
    "toy_resnet": File(build=toy_resnet, options={"from_logits": True}),
    "transfer_inside": File(build=transfer_inside, preprocessing="none"),
    "caffe_inside": File(build=caffe_inside, preprocessing="none"),
    "keras_mnist_convnet": File(build=keras_mnist_convnet),
    "conv_mixer": File(build=conv_mixer, preprocessing="none"),
    "mlp_mixer": File(build=mlp_mixer),
    "unnamed_input": File(build=unnamed_input),
    "cut_backbone": File(build=cut_backbone, preprocessing="symmetric"),
    "mobilenet_v3": File(build=mobilenet_v3, preprocessing="none"),
    "efficientnet": File(build=efficientnet, preprocessing="none"),
    "convnext": File(build=convnext, preprocessing="none"),
    "spatial_attention": File(build=spatial_attention),
    "channel_shuffle": File(build=channel_shuffle),
    "dilated_pyramid": File(build=dilated_pyramid),
    "gated_halves": File(build=gated_halves),
    "coordinates": File(build=coordinates),
    "blurred_pooling": File(build=blurred_pooling),
    "hourglass": File(build=hourglass),
    "uneven_pooling": File(build=uneven_pooling),
    "group_norm": File(build=group_norm),
    "cosine_head": File(build=cosine_head),
    "spectral": File(build=spectral),
    "strips": File(build=strips),
    "rows_as_sequence": File(build=rows_as_sequence),
    "maxout": File(build=maxout),
    "leaky_kinds": File(build=leaky_kinds),
    "new_activations": File(build=new_activations),
    "einsum_head": File(build=einsum_head),
    "every_augmentation": File(build=every_augmentation),
    "noises": File(build=noises),
    "adapted": File(build=adapted, preprocessing="none"),
    "ops_alone": File(build=ops_alone),
    "resized_inside": File(build=resized_inside),
    "standardized_inside": File(build=standardized_inside),
    "piecewise": File(build=piecewise),
    "best_regions": File(build=best_regions, refused=r"needs a sort of \d+ numbers", mended=best_region),
    "double": File(build=double),
    "low_rank": File(build=low_rank, settled=False),
    "quantized": File(
        build=quantized, settled=False, refused=r"`dense\w*` .* was quantized to int8", mended=before_quantization
    ),
    "not_a_number": File(
        build=not_a_number,
        settled=False,
        refused=r"The weights `kernel` of the layer `conv2d\w*` are not all finite",
        mended=keras_mnist_convnet,
    ),
    "any_size": File(build=any_size, preprocessing="none", options={"size": (48, 40)}),
    "batch_of_one": File(build=batch_of_one),
    "temperature": File(build=temperature),
    "fully_convolutional": File(build=fully_convolutional),
    "four_channels": File(
        build=four_channels, refused=r"takes \(None, 32, 32, 4\). Expected images: .* 3\), or 1 for grey"
    ),
    "two_images": File(build=two_images, refused=r"has 2 inputs: .*Build one with a single input", mended=one_image),
    "autoencoder": File(
        build=autoencoder,
        refused=r"gives \(None, 32, 32, 3\).*it is no classifier.*put a GlobalAveragePooling2D",
        mended=encoder,
    ),
    "own_activation": File(
        build=own_activation,
        refused=r"needs 'field>swish_of_my_own', which is not Keras' own",
        mended=own_activation_by_ops,
    ),
    "recurrent_rows": File(build=recurrent_rows),
}
