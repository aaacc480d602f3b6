"""What Keras says by loops, sorting or kernels that no OpenCV has: that it is traced otherwise, and means the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from trainkit.backend import keras, tf
from trainkit.errors import ExportError
from trainkit.exporting._traced_layers import _table
from trainkit.exporting._tracing import trace

layers, ops = keras.layers, keras.ops
UNKNOWN = {"Loop", "Scan", "If", "TopK", "Unique", "IsNaN", "Resize"}


class Calling(layers.Layer):
    """A function of TensorFlow as a layer."""

    def __init__(self, function: Any, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, inputs: Any) -> Any:
        return self.function(inputs)


class Growing(layers.Layer):
    """A cell that joins its state to its inputs, and starts from ones."""

    state_size = 3

    def build(self, shape: tuple[int, ...]) -> None:
        self.dense = layers.Dense(3, activation="tanh")
        self.dense.build((None, shape[-1] + 3))

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        return [ops.ones((batch_size, 3))]

    def call(self, inputs: Any, states: Any) -> tuple[Any, Any]:
        state = self.dense(ops.concatenate([inputs, states[0]], -1))
        return state, [state]


def rows(image: Any) -> Any:
    return layers.Reshape((6, 24))(image)


def strips(image: Any) -> Any:
    return layers.Reshape((3, 2, 8, 3))(image)


def encoder() -> Any:
    strip = keras.Input((2, 8, 3))
    return keras.Model(strip, layers.Dense(4)(layers.Flatten()(layers.BatchNormalization()(strip))))


SEQUENCES = {
    "lstm": lambda image: layers.LSTM(5)(rows(image)),
    "lstm with its states": lambda image: layers.Concatenate()(layers.LSTM(4, return_state=True)(rows(image))),
    "lstm from given states": lambda image: layers.LSTM(24)(
        rows(image), initial_state=[rows(image)[:, 0], rows(image)[:, 1]]
    ),
    "lstm that gives sequences": lambda image: layers.LSTM(5, return_sequences=True, dropout=0.5)(rows(image)),
    "gru": lambda image: layers.GRU(5, recurrent_activation="hard_sigmoid")(rows(image)),
    "gru, reset before, backwards": lambda image: layers.GRU(
        5, reset_after=False, go_backwards=True, return_sequences=True
    )(rows(image)),
    "simple rnn, unrolled by its author": lambda image: layers.SimpleRNN(5, unroll=True, activation="relu")(
        rows(image)
    ),
    "bidirectional": lambda image: layers.Bidirectional(layers.LSTM(3, return_sequences=True))(rows(image)),
    "bidirectional, multiplied": lambda image: layers.Bidirectional(layers.GRU(4), merge_mode="mul")(rows(image)),
    "stacked cells": lambda image: layers.RNN([layers.LSTMCell(5), layers.SimpleRNNCell(4)])(rows(image)),
    "a cell of its own": lambda image: layers.RNN(Growing(), return_sequences=True)(rows(image)),
    "one step": lambda image: layers.GRU(4, return_sequences=True)(layers.Reshape((1, 144))(image)),
    "conv lstm": lambda image: layers.ConvLSTM2D(4, 3, padding="same")(strips(image)),
    "conv lstm that gives sequences": lambda image: layers.ConvLSTM1D(4, 3, strides=2, return_sequences=True)(image),
    "a layer on every step": lambda image: layers.TimeDistributed(layers.Conv2D(4, 2))(strips(image)),
    "a model on every step": lambda image: layers.TimeDistributed(encoder())(strips(image)),
}
ACTIVATIONS = {
    "softmax over rows and columns": lambda image: layers.Softmax(axis=(1, 2))(image),
    "softmax over sides apart": lambda image: layers.Softmax(axis=(1, -1))(image * 2),
    "attention over rows and columns": lambda image: layers.MultiHeadAttention(2, 3, attention_axes=(1, 2))(
        image, image
    ),
    "sparsemax": lambda image: layers.Conv2D(5, 1, activation="sparsemax")(image),
    "sparsemax of values alike": lambda image: ops.sparsemax(layers.Concatenate()([image, image])),
    "sparsemax of many": lambda image: layers.Dense(64, activation="sparsemax")(layers.Flatten()(image)),
}
IMAGES = {
    "area": lambda image: Calling(lambda images: tf.image.resize(images, (4, 3), method="area"))(image),
    "area that enlarges": lambda image: Calling(lambda images: tf.raw_ops.ResizeArea(images=images, size=[7, 11]))(
        image
    ),
    "bicubic": lambda image: layers.Resizing(9, 5, interpolation="bicubic")(image),
    "bicubic with corners": lambda image: Calling(
        lambda images: tf.raw_ops.ResizeBicubic(images=images, size=[9, 5], align_corners=True)
    )(image),
    "bicubic upsampling": lambda image: layers.UpSampling2D(2, interpolation="bicubic")(image),
    "antialiased": lambda image: ops.image.resize(image, (4, 3), antialias=True),
    "lanczos": lambda image: layers.Resizing(9, 5, interpolation="lanczos3")(image),
    "scaled and moved": lambda image: Calling(
        lambda images: tf.raw_ops.ScaleAndTranslate(
            images=images, size=[5, 7], scale=[1.3, 0.8], translation=[0.4, -0.6], kernel_type="mitchellcubic"
        )
    )(image),
    "rolled": lambda image: ops.roll(ops.roll(image, (2, -3), axis=(1, 2)), 6, axis=1),
    "cut out": lambda image: ops.image.crop_images(
        image, top_cropping=1, left_cropping=2, target_height=4, target_width=5
    ),
    "nothing cut off": lambda image: Calling(lambda images: tf.slice(images, [0, 0, 0, 0], [-1, 6, -1, 3]))(image),
    "padded to proportions": lambda image: layers.Resizing(5, 4, "bicubic", pad_to_aspect_ratio=True, fill_value=0.5)(
        image
    ),
    "padded above and below": lambda image: ops.image.resize(image, (9, 4), "bicubic", pad_to_aspect_ratio=True),
    "colours again": lambda image: ops.image.hsv_to_rgb(ops.image.rgb_to_hsv(ops.sigmoid(image)) * 0.7),
    "saturation": lambda image: Calling(lambda x: tf.image.adjust_saturation(x, 1.6))(ops.sigmoid(image)),
    "hue": lambda image: ops.image.rgb_to_hsv(ops.sigmoid(image)),
}


def model_of(build: Any) -> Any:
    keras.utils.set_random_seed(2)
    image = keras.Input((6, 8, 3))
    features = build(image)
    features = features if len(features.shape) == 2 else layers.Flatten()(features)
    return keras.Model(image, layers.Dense(4, activation="softmax")(features))


@pytest.mark.parametrize("name", [*SEQUENCES, *ACTIVATIONS, *IMAGES])
def test_what_is_traced_means_the_same(name: str) -> None:
    model = model_of({**SEQUENCES, **ACTIVATIONS, **IMAGES}[name])
    for weight in model.weights:
        weight.assign(np.random.default_rng(len(weight.path)).uniform(-0.7, 0.7, weight.shape))
        if "variance" in weight.path:
            weight.assign(np.ones(weight.shape))
    inputs = np.random.default_rng(1).normal(0, 1, (3, 6, 8, 3)).astype(np.float32)
    inputs[0, :3] = inputs[0, :3, :, :1]  # grey
    expected = np.asarray(model(inputs, training=False))
    assert expected.std(0).max() > 1e-3
    traced = trace(model)
    np.testing.assert_allclose(traced.predict(inputs)["probabilities"], expected, atol=2e-6)
    proto = traced.to_onnx()
    assert not UNKNOWN & {node.op_type for node in proto.graph.node}
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (answers,) = session.run(None, {session.get_inputs()[0].name: inputs.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(answers.reshape(expected.shape), traced.predict(inputs)["logits"], atol=1e-5)


def test_masked_softmax_leaves_out_what_is_masked() -> None:
    scores = np.random.default_rng(0).normal(0, 1, (2, 3, 4, 5)).astype(np.float32)
    mask = np.random.default_rng(1).uniform(0, 1, (2, 1, 4, 5)) > 0.4
    layer = layers.Softmax(axis=(-2, -1))
    expected = np.asarray(layer(scores, mask=mask))
    with _table.expressed_otherwise():
        np.testing.assert_allclose(layer(scores, mask=mask), expected, atol=1e-6)
        np.testing.assert_allclose(layers.Softmax(axis=(1,))(scores), tf.nn.softmax(scores, 1), atol=1e-6)


def test_long_sparsemax_is_left_to_keras() -> None:
    values = np.random.default_rng(0).normal(0, 1, (3, 65)).astype(np.float32)
    turned = values[:, :9].reshape(3, 9, 1)
    expected = [np.asarray(ops.sparsemax(values)), np.asarray(ops.sparsemax(turned, axis=1))]
    with _table.expressed_otherwise():
        np.testing.assert_array_equal(ops.sparsemax(values), expected[0])
        np.testing.assert_array_equal(ops.sparsemax(turned, axis=1), expected[1])


def test_steps_that_are_not_counted_or_masked_are_refused() -> None:
    sequence = tf.zeros((2, 4, 3))
    layer = layers.LSTM(2, name="memory")
    layer(sequence)
    with _table.expressed_otherwise():
        with pytest.raises(ExportError, match=r"`memory` goes through a number of steps that is not fixed"):
            tf.function(layer).get_concrete_function(tf.TensorSpec((None, None, 3), tf.float32))
        with pytest.raises(
            ExportError, match=r"`memory` leaves out steps that are masked. Leave out the Masking layer"
        ):
            layer(sequence, mask=np.ones((2, 4), bool))


def test_keras_is_as_before_once_it_is_traced() -> None:
    names = [
        (layers.LSTM, "inner_loop"), (layers.GRU, "inner_loop"), (layers.RNN, "inner_loop"), (layers.Softmax, "call"),
        (layers.RNN, "get_initial_state"), (layers.TimeDistributed, "call"), (keras.src.backend.nn, "sparsemax"),
        (tf.image, "rgb_to_hsv"),
    ]  # fmt: skip
    before = [getattr(*name) for name in names]
    with _table.expressed_otherwise():
        assert all(getattr(*name) is not function for name, function in zip(names, before, strict=True))
    assert [getattr(*name) for name in names] == before
