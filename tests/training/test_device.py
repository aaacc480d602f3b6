"""What is chosen by the device that trains; what only a GPU does is tried by `make gpu-check` on one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from trainkit.backend import keras, tf
from trainkit.training._compilation import kind_in_training
from trainkit.training._device import Gpu, GroupedDepthwiseConv2D, cpu_flags, precision_of
from trainkit.training._normalization import FusedBatchNormalization


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"), ((7, 0), "float16"), ((6, 1), "none")],
)
def test_precision_follows_from_the_compute_capability(capability: tuple[int, int], precision: str) -> None:
    assert precision_of(Gpu("", capability)) == precision


def test_a_gpu_that_is_none_of_nvidia_computes_in_float32() -> None:
    assert precision_of(Gpu("", None)) == "none"


PRECISION = "from trainkit.training._device import choose_precision; print(choose_precision())"


@pytest.mark.parametrize(
    "setting",
    [{"ONEDNN_MAX_CPU_ISA": "AVX2"}, pytest.param({"TF_ENABLE_ONEDNN_OPTS": "0"}, marks=pytest.mark.slow)],
    ids=str,
)
def test_bfloat16_is_not_taken_where_tensorflow_may_not_use_it(setting: dict[str, str]) -> None:
    environment = {**os.environ, **setting, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", PRECISION], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "none"


def test_flags_are_those_of_the_system() -> None:
    assert sys.platform != "linux" or "sse2" in cpu_flags() or os.uname().machine != "x86_64"


def built(layer: Any) -> Any:
    keras.Sequential([keras.Input((9, 8, 4)), layer])
    return layer


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((9, 8, 4), {"kernel_size": 3}),
        ((9, 8, 4), {"kernel_size": 3, "strides": 2, "padding": "same", "depth_multiplier": 2}),
        ((9, 8, 4), {"kernel_size": (3, 2), "use_bias": False, "activation": "relu"}),
        ((9, 8, 4), {"kernel_size": 3, "dilation_rate": 2, "padding": "same"}),
    ],
)
def test_a_depthwise_convolution_in_groups_is_the_same(shape: tuple[int, ...], settings: dict[str, Any]) -> None:
    keras.utils.set_random_seed(0)
    plain = built(keras.layers.DepthwiseConv2D(bias_initializer="normal", **settings))
    grouped = built(GroupedDepthwiseConv2D.from_config(plain.get_config()))
    grouped.set_weights(plain.get_weights())
    batch = tf.constant(np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32))
    found = []
    for layer in (plain, grouped):
        with tf.GradientTape() as tape:
            tape.watch(batch)
            outputs = layer(batch)
            loss = tf.reduce_sum(outputs * tf.cos(outputs))
        gradients = tape.gradient(loss, [batch, *(weight.value for weight in layer.trainable_weights)])
        found.append([outputs, *gradients])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_a_gpu_that_is_to_be_deterministic_convolves_depthwise_in_groups() -> None:
    layer = built(keras.layers.DepthwiseConv2D(3))
    choices = {"shared": False, "on_gpu": True}
    assert kind_in_training(layer, **choices, deterministic=True) is GroupedDepthwiseConv2D
    assert kind_in_training(layer, **choices, deterministic=False) is None
    assert kind_in_training(layer, shared=False, on_gpu=False, deterministic=True) is None


def test_an_epsilon_that_cudnn_does_not_take_is_said(caplog: pytest.LogCaptureFixture) -> None:
    layer = built(keras.layers.BatchNormalization(epsilon=1e-6, name="tiny"))
    caplog.set_level("INFO", "trainkit")
    assert kind_in_training(layer, shared=False, on_gpu=False, deterministic=False) is FusedBatchNormalization
    assert not caplog.messages
    assert kind_in_training(layer, shared=False, on_gpu=True, deterministic=False) is None
    assert caplog.messages == [
        "tiny has an epsilon of 1e-06, and cuDNN takes none below 1.001e-05: "
        "it is computed without cuDNN, which is slower"
    ]
    usual = built(keras.layers.BatchNormalization())
    assert kind_in_training(usual, shared=False, on_gpu=True, deterministic=True) is FusedBatchNormalization
