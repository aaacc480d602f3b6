"""What is chosen by the device that trains; what only a GPU does is tried by `make gpu-check` on one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trainkit
from trainkit.backend import keras, tf
from trainkit.training import _compilation, _device, _preparation, _recorder
from trainkit.training._compilation import choose_steps, kind_in_training
from trainkit.training._device import GROUPED, Gpu, cpu_flags, precision_of
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


@pytest.mark.parametrize("kind", [keras.layers.DepthwiseConv2D, partial(keras.layers.SeparableConv2D, 5)])
@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((9, 8, 4), {"kernel_size": 3}),
        ((9, 8, 4), {"kernel_size": 3, "strides": 2, "padding": "same", "depth_multiplier": 2}),
        ((9, 8, 4), {"kernel_size": (3, 2), "use_bias": False, "activation": "relu"}),
        ((9, 8, 4), {"kernel_size": 3, "dilation_rate": 2, "padding": "same"}),
    ],
)
def test_a_depthwise_convolution_in_groups_is_the_same(
    kind: Any, shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    keras.utils.set_random_seed(0)
    plain = built(kind(bias_initializer="normal", **settings))
    grouped = built(GROUPED[type(plain)].from_config(plain.get_config()))
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


@pytest.mark.parametrize("kind", [keras.layers.DepthwiseConv2D(3), keras.layers.SeparableConv2D(5, 3)])
def test_a_gpu_that_is_to_be_deterministic_convolves_depthwise_in_groups(kind: Any) -> None:
    layer = built(kind)
    choices = {"shared": False, "on_gpu": True}
    assert kind_in_training(layer, **choices, deterministic=True) is GROUPED[type(layer)]
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


AMPERE = Gpu("of a test", (8, 0))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("gpu", [AMPERE, None])
def test_a_training_chooses_by_the_device(
    gpu: Gpu | None, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (_device, _compilation, _preparation):
        monkeypatch.setattr(module, "find_gpu", lambda: gpu)
    asked, compiled, feeds = [], [], []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append(True))
    compile_keras, feed_kind = keras.Model.compile, _preparation.Feed

    def compile_noted(self: Any, *arguments: Any, **options: Any) -> None:
        compiled.append(options["jit_compile"])
        compile_keras(self, *arguments, **{**options, "jit_compile": False})  # which takes a minute on a CPU

    def feed_noted(**options: Any) -> Any:
        feeds.append(feed_kind(**options))
        return feeds[-1]

    monkeypatch.setattr(keras.Model, "compile", compile_noted)
    monkeypatch.setattr(_preparation, "Feed", feed_noted)
    for deterministic in (True, False):
        trainkit.train(
            tiny_dataset,
            size=(16, 16),
            epochs=1,
            experiments=tmp_path,
            settings={
                "model.filters": 16,
                "augmentation.horizontal_flip": True,
                "training.deterministic": deterministic,
            },
        )
    assert asked == ([True] if gpu else [])
    assert compiled == 2 * (["auto"] if gpu else [False])
    assert feeds[0].augments_in_graph == bool(gpu)


def test_a_gpu_makes_more_steps_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = keras.Sequential([keras.Input((96, 96, 16)), keras.layers.Conv2D(64, 3)])
    found = {}
    for gpu in (None, AMPERE):
        monkeypatch.setattr(_compilation, "find_gpu", lambda gpu=gpu: gpu)
        found[gpu] = choose_steps(model, 32)
    assert found == {None: 1, AMPERE: 200}


@pytest.mark.usefixtures("undrawn")
def test_state_is_written_beside_the_training(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, threads = _recorder.save_state, []

    def save_noted(path: Path, state: dict[str, np.ndarray]) -> None:
        threads.append(threading.current_thread())
        save(path, state)

    monkeypatch.setattr(_recorder, "save_state", save_noted)
    trainkit.train(tiny_dataset, size=(16, 16), epochs=2, experiments=tmp_path)
    assert len(threads) == 2
    assert threading.main_thread() not in threads


MEMORY = """
import tensorflow as tf
grown = {}
tf.config.list_physical_devices = lambda kind=None: ["one", "two"] if kind == "GPU" else []
tf.config.experimental.set_memory_growth = grown.__setitem__
import trainkit.backend
print(grown)
"""


@pytest.mark.slow
def test_memory_of_a_gpu_grows_as_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'one': True, 'two': True}"


def test_gpu_check_that_fails_says_so_in_its_document() -> None:
    script = Path(__file__).parents[1] / "gpu"
    done = subprocess.run([sys.executable, script, "--minutes", "0.001"], capture_output=True, text=True, check=False)
    document = json.loads(done.stdout)
    assert done.returncode == 1, done.stderr
    assert not document["resume_bit_equal"]
    assert any("was not done within" in failure for failure in document["failures"])
