"""Every figure is computed by hand, beside its network."""

from __future__ import annotations

from typing import Any

import pytest

from trainkit.backend import keras
from trainkit.models._summary import LayerShape, sum_multiply_adds, trace_shapes

layers = keras.layers


def last_of(*stack: Any, shape: tuple[int, ...] = (10, 12, 4)) -> LayerShape:
    """Return the row of the last of some layers on an image."""
    return trace_shapes(keras.Sequential([keras.Input(shape), *stack]))[-1]


@pytest.mark.parametrize(
    ("layer", "output_shape", "parameters", "multiply_adds"),
    [
        (layers.Conv2D(6, 3), (8, 10, 6), 3 * 3 * 4 * 6 + 6, 8 * 10 * 6 * 3 * 3 * 4),
        (layers.Conv2D(6, 3, padding="same", use_bias=False), (10, 12, 6), 216, 10 * 12 * 6 * 3 * 3 * 4),
        (layers.Conv2D(6, (1, 5), strides=(2, 1)), (5, 8, 6), 5 * 4 * 6 + 6, 5 * 8 * 6 * 5 * 4),
        (layers.Conv2D(6, 3, groups=2), (8, 10, 6), 3 * 3 * 2 * 6 + 6, 8 * 10 * 6 * 3 * 3 * 2),
        (layers.Conv2D(6, 3, dilation_rate=2), (6, 8, 6), 222, 6 * 8 * 6 * 3 * 3 * 4),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 10, 8), 3 * 3 * 4 * 2 + 8, 8 * 10 * 8 * 3 * 3),
        (layers.DepthwiseConv2D(3, strides=2), (4, 5, 4), 40, 4 * 5 * 4 * 3 * 3),
        (
            layers.SeparableConv2D(6, 3, strides=2, depth_multiplier=2),
            (4, 5, 6),
            3 * 3 * 4 * 2 + 8 * 6 + 6,
            4 * 5 * (8 * 3 * 3 + 8 * 6),
        ),
        (layers.Conv2DTranspose(6, 3, strides=2), (21, 25, 6), 222, 10 * 12 * 3 * 3 * 4 * 6),
        (layers.Conv2DTranspose(6, 3, strides=2, padding="same"), (20, 24, 6), 222, 10 * 12 * 3 * 3 * 4 * 6),
        (layers.Dense(7), (10, 12, 7), 4 * 7 + 7, 10 * 12 * 4 * 7),
        (layers.EinsumDense("abcd,de->abce", (10, 12, 7)), (10, 12, 7), 28, 10 * 12 * 4 * 7),
        (layers.EinsumDense("abcd,cde->abe", (10, 7)), (10, 7), 12 * 4 * 7, 10 * 12 * 4 * 7),
        (layers.TimeDistributed(layers.Conv1D(5, 3)), (10, 10, 5), 3 * 4 * 5 + 5, 10 * 10 * 5 * 3 * 4),
        (layers.BatchNormalization(), (10, 12, 4), 16, 0),
        (layers.PReLU(), (10, 12, 4), 10 * 12 * 4, 0),
        (layers.MaxPooling2D(), (5, 6, 4), 0, 0),
        (layers.Flatten(), (480,), 0, 0),
    ],
)
def test_layer_has_the_figures_worked_out_by_hand(
    layer: Any, output_shape: tuple[int, ...], parameters: int, multiply_adds: int
) -> None:
    row = last_of(layer)
    assert (row.output_shape, row.parameters, row.multiply_adds) == (output_shape, parameters, multiply_adds)
    assert row.kind == type(layer).__name__


def test_dense_layer_behind_a_flatten() -> None:
    row = last_of(layers.Flatten(), layers.Dense(10))
    assert (row.output_shape, row.parameters, row.multiply_adds) == ((10,), 4810, 4800)


def test_sequence_of_one_dimension() -> None:
    row = last_of(layers.Conv1D(6, 3, groups=2), shape=(9, 4))
    assert (row.multiply_adds, row.receptive_field) == (7 * 6 * 3 * 2, None)
    assert last_of(layers.EinsumDense("...d,de->...e", 5), shape=(9, 4)).multiply_adds == 9 * 4 * 5


def test_arithmetic_that_is_not_known_is_not_made_up() -> None:
    image = keras.Input((10, 12, 4))
    row = layers.MultiHeadAttention(2, 3)(image, image)
    steps = layers.LSTM(5)(layers.Reshape((120, 4))(row))
    product = keras.ops.matmul(layers.Reshape((1, 5))(steps), layers.Reshape((5, 1))(steps))
    rows = trace_shapes(keras.Model(image, product))
    known, unknown = sum_multiply_adds(rows)
    assert known == 0
    assert [row.kind for row in rows if row.multiply_adds is None] == ["MultiHeadAttention", "LSTM", "Matmul"]
    assert unknown == [row.name for row in rows if row.multiply_adds is None]


def test_layer_called_twice_works_twice_and_has_its_parameters_once() -> None:
    image = keras.Input((10, 12, 4))
    shared = layers.Conv2D(4, 3, padding="same", name="shared")
    model = keras.Model(image, layers.Add()([shared(image), shared(shared(image))]))
    rows = [row for row in trace_shapes(model) if row.name == "shared"]
    assert [row.parameters for row in rows] == [148, 0, 0]
    assert [row.shared for row in rows] == [False, True, True]
    assert {row.multiply_adds for row in rows} == {10 * 12 * 4 * 3 * 3 * 4}
    assert sorted(row.receptive_field for row in rows) == [(3, 3), (3, 3), (5, 5)]


def test_model_in_the_model_is_walked_through_as_often_as_it_is_called() -> None:
    inner = keras.Sequential([keras.Input((None, None, 4)), layers.Conv2D(4, 3, name="conv")], name="inner")
    image = keras.Input((10, 12, 4))
    rows = trace_shapes(keras.Model(image, inner(inner(image)), name="outer"))
    assert [(row.name, row.output_shape) for row in rows] == [
        ("input", (10, 12, 4)),
        ("inner/conv", (8, 10, 4)),
        ("inner/conv", (6, 8, 4)),
    ]
    assert [row.multiply_adds for row in rows] == [0, 8 * 10 * 4 * 36, 6 * 8 * 4 * 36]
    assert [row.parameters for row in rows] == [0, 148, 0]
    assert [row.receptive_field for row in rows] == [(1, 1), (3, 3), (5, 5)]


def test_model_of_any_size_takes_the_size_that_is_given() -> None:
    model = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()])
    open_rows, rows = trace_shapes(model), trace_shapes(model, input_shape=(10, 12, 3))
    assert [row.output_shape for row in open_rows] == [(None, None, 3), (None, None, 2), (2,)]
    assert open_rows[1].multiply_adds is None
    assert rows[1].multiply_adds == 8 * 10 * 2 * 27
    assert [row.receptive_field for row in rows] == [(1, 1), (3, 3), (10, 12)]


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ([layers.Conv2D(2, 3), layers.Conv2D(2, 3)], (5, 5)),
        ([layers.Conv2D(2, 3, strides=2), layers.Conv2D(2, 3)], (7, 7)),
        ([layers.MaxPooling2D((2, 3)), layers.Conv2D(2, 3)], (6, 9)),
        ([layers.Conv2D(2, (1, 3), dilation_rate=2), layers.ReLU()], (1, 5)),
        ([layers.SeparableConv2D(2, 3, strides=2), layers.BatchNormalization(), layers.DepthwiseConv2D(3)], (7, 7)),
        ([layers.GlobalAveragePooling2D(), layers.Dense(2)], (10, 12)),
        ([layers.UpSampling2D(), layers.Conv2D(2, 3)], None),
    ],
)
def test_receptive_field_is_that_worked_out_by_hand(stack: list[Any], expected: tuple[int, int] | None) -> None:
    assert last_of(*stack).receptive_field == expected


def test_receptive_field_where_ways_meet() -> None:
    image = keras.Input((32, 32, 3))
    near, far = layers.Conv2D(4, 1, padding="same")(image), layers.Conv2D(4, 5, padding="same")(image)
    even = layers.Concatenate()([near, far])
    uneven = layers.Add()([layers.Conv2D(8, 1, strides=2, padding="same")(even), layers.Cropping2D(8)(even)])
    rows = {row.kind: row for row in trace_shapes(keras.Model(image, uneven))}
    assert rows["Concatenate"].receptive_field == (5, 5)
    assert rows["Add"].receptive_field is None  # one way halved the image, the other did not


def test_gate_over_the_whole_image_lets_each_pixel_see_all_of_it() -> None:
    image = keras.Input((10, 12, 3))
    gate = layers.Dense(3, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(image))
    rows = trace_shapes(keras.Model(image, layers.Multiply()([image, gate])))
    assert rows[-1].receptive_field == (10, 12)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("MobileNet", 568.7), ("ResNet50", 3858.0), ("VGG16", 15470.3)],  # the papers say 569, 3.8 and 15.3 thousand
)
def test_known_network_has_the_multiply_adds_of_its_paper(name: str, millions: float) -> None:
    model = getattr(keras.applications, name)(weights=None)
    rows = trace_shapes(model)
    known, unknown = sum_multiply_adds(rows)
    assert known / 1e6 == pytest.approx(millions, abs=0.05)
    assert unknown == []
    assert sum(row.parameters for row in rows) == model.count_params()


def test_row_as_json_has_every_field() -> None:
    assert last_of(layers.Conv2D(2, 3, name="conv")).to_json() == {
        "name": "conv",
        "kind": "Conv2D",
        "output_shape": (8, 10, 2),
        "parameters": 74,
        "multiply_adds": 8 * 10 * 2 * 36,
        "receptive_field": (3, 3),
        "shared": False,
    }
