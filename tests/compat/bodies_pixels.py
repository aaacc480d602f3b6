"""Bodies of networks with operations that choose, resize, reorder or normalise. Each takes an image (N, 32, 40, 3)."""

from __future__ import annotations

from typing import Any

from bodies_attention import as_image, as_tokens

from trainkit.backend import keras, tf

layers, ops, activations = keras.layers, keras.ops, keras.activations


class Calling(layers.Layer):
    """A function as a layer, as people write it around `tf.image`."""

    def __init__(self, function: Any, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)


def pooled(x: Any) -> Any:
    return layers.Flatten()(layers.AveragePooling2D(2)(x))


# Choices


def where_threshold(x: Any) -> Any:
    x = as_image(x)
    return pooled(ops.where(x > 0.3, x, 0.1 * x - 0.2))


def comparison_mask(x: Any) -> Any:
    x = as_image(x)
    mask = ops.cast(ops.greater_equal(x, ops.mean(x, axis=(1, 2), keepdims=True)), "float32")
    return pooled(x * mask + 0.5 * ops.cast(x < -0.5, "float32"))


def where_of_two(x: Any) -> Any:
    x = as_image(x)
    one, two = layers.Conv2D(8, 3, padding="same")(x), layers.Conv2D(8, 3, padding="same")(x)
    inside = ops.logical_and(one > two, ops.logical_not(two > 1.0))
    return pooled(ops.where(inside, one, ops.where(ops.equal(ops.sign(two), 1.0), two, -one)))


def hard_shrink(x: Any) -> Any:
    return pooled(layers.Conv2D(8, 3)(layers.Activation("hard_shrink")(as_image(x))))


def soft_shrink(x: Any) -> Any:
    return pooled(layers.Conv2D(8, 3, activation="soft_shrink")(activations.soft_shrink(as_image(x), threshold=0.3)))


def tanh_shrink_and_threshold(x: Any) -> Any:
    x = layers.Conv2D(8, 3, activation="tanh_shrink")(as_image(x))
    return pooled(ops.threshold(x, 0.05, -0.2))


def sparse_plus_and_sigmoid(x: Any) -> Any:
    x = layers.Conv2D(8, 3, activation="sparse_plus")(as_image(x))
    return pooled(layers.Conv2D(8, 3, activation="sparse_sigmoid")(x))


def sparsemax_gate(x: Any) -> Any:
    x = as_image(x)
    return pooled(x * layers.Conv2D(12, 1, activation="sparsemax")(x))


def squareplus_and_others(x: Any) -> Any:
    x = layers.Conv2D(8, 3, activation="squareplus")(as_image(x))
    x = layers.Conv2D(8, 1, activation="celu")(layers.Conv2D(8, 1, activation="softsign")(x))
    x = layers.Conv2D(8, 1, activation="mish")(layers.Conv2D(8, 1, activation="hard_tanh")(x))
    return pooled(ops.glu(layers.Conv2D(12, 1)(x), axis=-1))


# Resizing


def resizing_area(x: Any) -> Any:
    x = layers.Conv2D(6, 3, strides=2, activation="relu", padding="same")(x)
    return layers.Flatten()(Calling(lambda images: tf.image.resize(images, (7, 9), method="area"))(x))


def resizing_bicubic(x: Any) -> Any:
    x = layers.Resizing(24, 30, interpolation="bicubic")(x)
    x = layers.Conv2D(6, 3, strides=2, activation="relu")(x)
    return layers.Flatten()(ops.image.resize(x, (9, 13), interpolation="bicubic"))


def resizing_antialiased(x: Any) -> Any:
    x = layers.Resizing(15, 21, antialias=True)(x)
    x = layers.Conv2D(6, 3, activation="relu")(x)
    return layers.Flatten()(layers.Resizing(8, 8, interpolation="lanczos5")(x))


# Operations on images


def image_grayscale_crop_pad(x: Any) -> Any:
    gray = ops.image.rgb_to_grayscale(x)
    x = layers.Concatenate()([x, gray])
    x = ops.image.crop_images(x, top_cropping=2, left_cropping=3, target_height=27, target_width=34)
    x = ops.image.pad_images(x, top_padding=1, left_padding=2, target_height=30, target_width=38)
    return layers.GlobalMaxPooling2D()(layers.Conv2D(12, 5, strides=2, activation="relu")(x))


def image_patches(x: Any) -> Any:
    x = ops.image.extract_patches(x, size=(6, 8), strides=(4, 6), padding="same")  # they overlap
    return layers.GlobalMaxPooling2D()(layers.Dense(16, activation="relu")(x))


def image_contrast_and_hue(x: Any) -> Any:
    contrasted = Calling(lambda images: tf.image.adjust_contrast(images, 1.4))(x)
    x = layers.Concatenate()([contrasted, ops.image.rgb_to_hsv(x)])
    return layers.GlobalAveragePooling2D()(layers.Conv2D(12, 5, strides=2, activation="relu")(x))


# Normalisations


def local_response(x: Any) -> Any:
    x = layers.Conv2D(12, 5, strides=2, activation="relu")(x)
    x = Calling(lambda images: tf.nn.local_response_normalization(images, 2, bias=1.0, alpha=1e-1, beta=0.75))(x)
    return layers.GlobalMaxPooling2D()(layers.Conv2D(12, 3, strides=2)(x))


def rms_normalization(x: Any) -> Any:
    x = layers.RMSNormalization()(as_tokens(x))
    return layers.GlobalMaxPooling1D()(layers.RMSNormalization()(layers.Dense(20, activation="silu")(x)))


def unit_normalization(x: Any) -> Any:
    x = layers.UnitNormalization()(as_image(x))
    return layers.UnitNormalization(axis=1)(layers.Dense(20)(layers.GlobalMaxPooling2D()(x)))


# Space and depth


def space_to_depth(x: Any) -> Any:
    x = Calling(lambda images: tf.nn.space_to_depth(images, 4))(x)
    return layers.GlobalMaxPooling2D()(layers.Conv2D(12, 3, activation="relu")(x))


def depth_to_space(x: Any) -> Any:
    x = Calling(lambda images: tf.nn.depth_to_space(images, 2))(as_image(x))  # (16, 20, 3)
    return layers.GlobalMaxPooling2D()(layers.Conv2D(12, 3, activation="relu")(x))


def focus_slices(x: Any) -> Any:
    x = layers.Concatenate()([x[:, ::2, ::2], x[:, 1::2, ::2], x[:, ::2, 1::2], x[:, 1::2, 1::2]])
    x = layers.Conv2D(12, 3, strides=2, activation="relu")(x)
    blocks = ops.reshape(x[:, :6, :8], (-1, 3, 2, 4, 2, 12))
    return ops.reshape(ops.max(blocks, axis=(2, 4)), (-1, 144))


# Sums and order of rows


def cumulative_sums(x: Any) -> Any:
    x = as_image(x)
    return layers.GlobalMaxPooling2D()(layers.Concatenate()([ops.cumsum(x, axis=1) / 8, ops.cumsum(x, axis=2) / 10]))


def flipped_rolled_taken(x: Any) -> Any:
    x = as_image(x)
    flipped = ops.flip(layers.Conv2D(8, 3, padding="same")(x), axis=2)
    rolled = ops.roll(layers.Conv2D(8, 3, padding="same")(x), shift=3, axis=1)
    taken = ops.take(layers.Conv2D(8, 3, padding="same")(x), [7, 0, 3, 3, 1, 6, 2, 5], axis=1)
    return pooled(layers.Conv2D(8, 3, activation="relu")(layers.Concatenate()([flipped, rolled, taken])))
