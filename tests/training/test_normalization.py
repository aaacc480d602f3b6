"""Batch normalisation as it is trained."""

from __future__ import annotations

import numpy as np
import pytest

from trainkit.backend import keras, tf
from trainkit.training._normalization import FusedBatchNormalization


@pytest.mark.parametrize(("channels", "computed"), [(24, tf.float32), (32, tf.bfloat16)])
def test_bfloat16_is_computed_where_its_kernel_is_fast(channels: int, computed: tf.DType) -> None:
    layer = FusedBatchNormalization(dtype="mixed_bfloat16")
    inputs = tf.constant(np.random.default_rng(0).normal(3, 2, (8, 6, 6, channels)), tf.bfloat16)
    layer.build(inputs.shape)
    normalize = tf.function(lambda x: layer(x, training=True)).get_concrete_function(inputs)
    (operation,) = [one for one in normalize.graph.get_operations() if one.type == "FusedBatchNormV3"]
    assert operation.get_attr("T") == computed
    outputs = normalize(inputs)
    assert outputs.dtype == tf.bfloat16
    expected = keras.layers.BatchNormalization()(tf.cast(inputs, tf.float32), training=True)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, atol=0.02)
