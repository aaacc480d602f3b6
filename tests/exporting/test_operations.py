"""What becomes of an operation, and what is said of one that has no form."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from small_networks import classified, flat, leaving, pooled

from trainkit.backend import keras, tf
from trainkit.errors import ExportError
from trainkit.exporting._conversion import build_graph
from trainkit.exporting._tracing import trace

layers, ops = keras.layers, keras.ops


def convert(build: Any) -> Counter[str]:
    """Return how often each operation is in the graph of a model of one image."""
    keras.utils.set_random_seed(1)
    image = keras.Input((20, 24, 3))
    return count(keras.Model(image, build(image)))


def count(model: Any) -> Counter[str]:
    return Counter(node.op for node in build_graph(trace(model)).nodes)


def convolved(image: Any) -> Any:
    return layers.Conv2D(4, 3, name="first")(image)


def test_layout_leaves_no_trace() -> None:
    operations = convert(lambda image: flat(layers.MaxPooling2D()(convolved(image))))
    assert operations == {"Conv": 1, "MaxPool": 1, "Flatten": 1, "Gemm": 1}


def test_dense_layer_on_an_image_is_a_convolution() -> None:
    operations = convert(lambda image: pooled(layers.Dense(6, activation="relu")(convolved(image))))
    assert operations["Gemm"] == 1
    assert not {"Reshape", "Transpose"} & set(operations)


def test_group_normalization_needs_no_fifth_side() -> None:
    operations = convert(lambda image: pooled(layers.GroupNormalization(2)(convolved(image))))
    assert not {"Reshape", "Transpose"} & set(operations)


def test_nearest_upsampling_is_one_operation() -> None:
    operations = convert(lambda image: pooled(layers.UpSampling2D((3, 2))(convolved(image))))
    assert operations["Upsample"] == 1
    assert not {"Reshape", "Concat"} & set(operations)


def test_single_sigmoid_costs_no_layer() -> None:
    assert Counter(node.op for node in leaving("single_sigmoid").graph.nodes) == {"Flatten": 1, "Gemm": 2}
    assert leaving("single_sigmoid").graph.shapes[leaving("single_sigmoid").graph.output] == (2,)


def test_three_values_meet_in_pairs() -> None:
    operations = convert(lambda image: pooled(layers.Maximum()([layers.Conv2D(4, 3)(image) for _ in range(3)])))
    assert operations["Max"] == 2


def test_sizes_computed_from_the_image_are_constants() -> None:
    operations = convert(lambda image: pooled(ops.roll(convolved(image), 3, axis=1)))
    assert operations == {"Conv": 1, "Slice": 2, "Concat": 1, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


class Looping(layers.Layer):  # type: ignore[misc]
    """A loop that somebody wrote, whose end depends on the image."""

    def call(self, image: Any) -> Any:
        return ops.while_loop(lambda x: ops.max(x) < 10, lambda x: (2 * x,), (ops.abs(image) + 1,))[0]


class Gamma(layers.Layer):  # type: ignore[misc]
    """The logarithm of the gamma function, which no OpenCV has."""

    def call(self, x: Any) -> Any:
        return tf.math.lgamma(x * x + 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda image: pooled(layers.Conv2D(4, 3)(Gamma(name="shrink")(convolved(image)))),
            r"The layer `shrink` \(3 of 6\) needs the operation Lgamma of TensorFlow, which has no form that every "
            "OpenCV since 4.5.5 reads. Replace it by convolutions, pooling, dense layers, normalisations and the usual",
        ),
        (
            lambda image: flat(Gamma()(convolved(image))),
            r"The layer `gamma.*` \(3 of 5\) needs .* Lgamma",
        ),
        (
            lambda image: flat(Looping(name="memory")(image)),
            r"What stands in or between the layers `memory` \(2 of 4\) and .* needs a loop or a condition",
        ),
        (
            lambda image: flat(layers.Conv3D(3, 3, name="third")(layers.Reshape((20, 24, 3, 1))(image))),
            "`third` .* needs a convolution in other than two dimensions",
        ),
        (
            lambda image: flat(layers.AveragePooling3D(2, name="third")(layers.Reshape((20, 24, 3, 1))(image))),
            "`third` .* needs a pooling in other than two dimensions",
        ),
        (
            lambda image: flat(ops.cast(ops.cast(convolved(image), "bool"), "float32")),
            "needs true and false made of numbers",
        ),
        (
            lambda image: flat(ops.minimum(convolved(image), np.float32([1e6, 1e7, 1e5, 1e4]))),
            r"needs a bound of 1e\+07, too large for single preci",
        ),
        (
            lambda image: flat(ops.sort(layers.Flatten()(convolved(image)))),
            "needs a sort of 1584 numbers, 1 times an image",
        ),
    ],
)
def test_layer_without_a_form_is_named(build: Any, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        convert(build)


def test_layer_inside_another_model_is_named_with_both() -> None:
    inner = [layers.Conv2D(4, 3), Gamma(name="shrink"), layers.GlobalAveragePooling2D()]
    body = keras.Sequential([keras.Input((20, 24, 3)), *inner], name="body")
    model = keras.Sequential([keras.Input((20, 24, 3)), body, layers.Dense(3, activation="softmax")])
    with pytest.raises(
        ExportError,
        match=r"The layer `shrink` \(2 of 3\) of `body` \(1 of 2\) needs the operation Lgamma of TensorFlow",
    ):
        count(model)


def test_layer_is_named_as_its_author_did() -> None:
    with pytest.raises(ExportError, match=r"The layer `größe 1` \(3 of 5\) needs the operation Lgamma of TensorFlow"):
        convert(lambda image: pooled(Gamma(name="größe 1")(convolved(image))))


def test_model_that_mixes_the_images_of_a_batch_is_refused() -> None:
    with pytest.raises(ExportError, match=r"mixes its images|over the batch"):
        convert(lambda image: pooled(image - ops.mean(image, axis=0, keepdims=True)))


def test_equal_sides_are_not_taken_for_each_other() -> None:
    # 18x22 flattened by rows meets itself flattened by columns: as many numbers, in another order.
    image = keras.Input((20, 24, 3))
    x = layers.Conv2D(2, 3)(image)
    model = keras.Model(image, classified(layers.Add()([layers.Flatten()(x), layers.Flatten()(turned(x))])))
    graph = build_graph(trace(model))
    assert Counter(node.op for node in graph.nodes)["Transpose"] == 2
    assert np.prod(graph.shapes[graph.output]) == 5


def turned(x: Any) -> Any:
    return layers.Permute((2, 1, 3))(x)
