"""Bodies of networks that go through an image row by row or part by part. Each takes an image (N, 32, 40, 3)."""

from __future__ import annotations

from typing import Any

from trainkit.backend import keras

layers, ops = keras.layers, keras.ops


def as_rows(x: Any) -> Any:
    """Rows of features, (N, 8, 40): one step a row."""
    x = layers.MaxPooling2D(2)(layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x))
    return layers.Reshape((8, 40))(x)


def as_strips(x: Any) -> Any:
    """The image as four strips, one under the other: (N, 4, 8, 40, 3)."""
    return layers.Reshape((4, 8, 40, 3))(x)


def lstm_rows(x: Any) -> Any:
    return layers.LSTM(16)(as_rows(x))


def lstm_stacked(x: Any) -> Any:
    x = layers.LSTM(12, return_sequences=True, dropout=0.1)(as_rows(x))
    return layers.LSTM(16, activation="relu", recurrent_activation="hard_sigmoid")(layers.LayerNormalization()(x))


def lstm_unrolled(x: Any) -> Any:
    x, state, _ = layers.LSTM(12, unroll=True, return_state=True, return_sequences=True)(as_rows(x))
    return layers.Concatenate()([layers.Flatten()(x), state])


def gru_rows(x: Any) -> Any:
    return layers.GRU(16)(as_rows(x))


def gru_reset_before(x: Any) -> Any:
    x = layers.GRU(10, reset_after=False, return_sequences=True)(as_rows(x))
    return layers.GRU(12, go_backwards=True)(x)


def gru_unrolled(x: Any) -> Any:
    return layers.Flatten()(layers.GRU(8, unroll=True, return_sequences=True)(layers.Reshape((32, 120))(x)))


def simple_rnn_rows(x: Any) -> Any:
    return layers.SimpleRNN(20)(as_rows(x))


def simple_rnn_backwards(x: Any) -> Any:
    x = layers.SimpleRNN(10, go_backwards=True, return_sequences=True, activation="relu")(as_rows(x))
    return layers.Flatten()(x)


def simple_rnn_unrolled(x: Any) -> Any:
    return layers.SimpleRNN(16, unroll=True, use_bias=False)(layers.Permute((2, 1))(as_rows(x)))


def bidirectional_lstm(x: Any) -> Any:
    return layers.Bidirectional(layers.LSTM(10))(as_rows(x))


def bidirectional_gru_sum(x: Any) -> Any:
    return layers.Bidirectional(layers.GRU(12), merge_mode="sum")(as_rows(x))


def bidirectional_stacked(x: Any) -> Any:
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(as_rows(x))
    x = layers.Bidirectional(layers.SimpleRNN(6, return_sequences=True), merge_mode="ave")(x)
    return layers.GlobalMaxPooling1D()(x)


def time_distributed_dense(x: Any) -> Any:
    x = layers.TimeDistributed(layers.Dense(12, activation="relu"))(as_rows(x))
    return layers.TimeDistributed(layers.Dense(6))(x)


def time_distributed_conv(x: Any) -> Any:
    x = layers.TimeDistributed(layers.Conv2D(6, 3, activation="relu"))(as_strips(x))
    x = layers.TimeDistributed(layers.BatchNormalization())(layers.TimeDistributed(layers.MaxPooling2D(2))(x))
    return layers.Dense(16)(layers.TimeDistributed(layers.GlobalAveragePooling2D())(x))


def time_distributed_crnn(x: Any) -> Any:
    strip = keras.Input((8, 40, 3))
    y = layers.Conv2D(6, 3, strides=2, activation="relu")(strip)
    encoder = keras.Model(strip, layers.Dense(12)(layers.Flatten()(y)))
    return layers.GRU(16)(layers.TimeDistributed(encoder)(as_strips(x)))


def conv_lstm(x: Any) -> Any:
    return layers.GlobalAveragePooling2D()(layers.ConvLSTM2D(6, 3, padding="same")(as_strips(x)))


def conv_lstm_sequences(x: Any) -> Any:
    x = layers.ConvLSTM1D(5, 3, return_sequences=True)(layers.Reshape((8, 4, 120))(x))
    return layers.Flatten()(x)


class Minimal(layers.Layer):
    """A minimal gated unit, as a cell that somebody wrote."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = self.state_size = units

    def build(self, shape: tuple[int, ...]) -> None:
        self.gate = layers.Dense(self.units, activation="sigmoid")
        self.candidate = layers.Dense(self.units, activation="tanh")
        for layer in (self.gate, self.candidate):
            layer.build((None, shape[-1] + self.units))

    def call(self, inputs: Any, states: Any) -> Any:
        (state,) = states
        gate = self.gate(ops.concatenate([inputs, state], -1))
        candidate = self.candidate(ops.concatenate([inputs, gate * state], -1))
        state = (1 - gate) * state + gate * candidate
        return state, [state]


def rnn_stacked_cells(x: Any) -> Any:
    x = layers.RNN([layers.LSTMCell(12), layers.GRUCell(10)], return_sequences=True)(as_rows(x))
    return layers.RNN(Minimal(12))(x)
