"""What trains, the CPU or a GPU, and what follows from it: precision, determinism, the work between two looks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainkit.backend import keras, onednn_is_on, tf

# Below this TensorFlow's own `tf.nn.fused_batch_norm` does not go, "to prevent exception" in cuDNN.
LEAST_FUSED_EPSILON = 1.001e-5
# From which compute capability on a GPU multiplies in these by units of its own (NVIDIA's CUDA programming guide,
# "Compute Capabilities": tensor cores of Volta and of Ampere).
_FLOAT16_FROM, _BFLOAT16_FROM = (7, 0), (8, 0)
# The instruction sets to which oneDNN can be held (https://uxlfoundation.github.io/oneDNN/, "CPU Dispatcher Control"),
# where these have no bfloat16.
_SETS_WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first GPU that TensorFlow sees."""

    name: str
    compute_capability: tuple[int, int] | None  # None where it is none of NVIDIA's


def find_gpu() -> Gpu | None:
    """Return the GPU that trains, `None` where the CPU does."""
    found = tf.config.list_physical_devices("GPU")
    if not found:
        return None
    details = tf.config.experimental.get_device_details(found[0])
    return Gpu(details.get("device_name", found[0].name), details.get("compute_capability"))


def choose_precision() -> str:
    """Return the precision that `auto` stands for: `bfloat16`, `float16`, or `none` where float32 is as fast."""
    if gpu := find_gpu():
        return precision_of(gpu)
    return "bfloat16" if has_bfloat16() else "none"


def precision_of(gpu: Gpu) -> str:
    """Return the 16-bit precision in which a GPU is faster than in float32, `none` where it has no units for one."""
    capability = gpu.compute_capability or (0, 0)
    return "bfloat16" if capability >= _BFLOAT16_FROM else "float16" if capability >= _FLOAT16_FROM else "none"


def has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16 by instructions that TensorFlow uses, so that it is faster than float32.

    Linux says what the CPU has in /proc/cpuinfo; elsewhere nobody is asked, and the answer is no. TensorFlow uses it
    through oneDNN, which may be off, or held to an older instruction set by its environment variable.
    """
    held_to = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if held_to.upper() in _SETS_WITHOUT_BFLOAT16 or not onednn_is_on():
        return False
    return bool(cpu_flags() & {"amx_bf16", "avx512_bf16"})


def cpu_flags() -> set[str]:
    """Return the instruction sets of this CPU by Linux' names; none where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return set()
    return {flag for line in text.splitlines() if line.startswith("flags") for flag in line.split(":")[-1].split()}


def ask_for_determinism() -> None:
    """Have a GPU compute the same bits again each time; it holds for the rest of the process.

    On a CPU TensorFlow does so anyway, but for what is drawn without a seed, which nothing here is.
    """
    if find_gpu():
        tf.config.experimental.enable_op_determinism()


def is_deterministic_on_gpu() -> bool:
    """Whether a GPU trains here that was asked for the same bits each time."""
    from tensorflow.python.framework.config import is_op_determinism_enabled  # nothing public says it

    return bool(is_op_determinism_enabled()) and find_gpu() is not None


def _convolve_in_groups(layer: Any, inputs: Any, kernel: Any) -> Any:
    """Convolve each channel of `(N, height, width, channels)` by itself, by a layer's depthwise kernel.

    TensorFlow has no deterministic gradient of a depthwise kernel on a GPU ("A deterministic GPU implementation of
    DepthwiseConvBackpropFilter is not currently available"); cuDNN has one of a convolution in groups of one channel.
    """
    height, width, channels, multiplier = kernel.shape
    return tf.nn.conv2d(
        inputs,
        tf.reshape(tf.cast(kernel, inputs.dtype), (height, width, 1, channels * multiplier)),
        strides=layer.strides,
        padding=layer.padding.upper(),
        dilations=layer.dilation_rate,
    )


def _finish(layer: Any, outputs: Any) -> Any:
    if layer.use_bias:
        outputs = tf.nn.bias_add(outputs, tf.cast(layer.bias, outputs.dtype))
    return outputs if layer.activation is None else layer.activation(outputs)


class GroupedDepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
    """Keras' layer as a convolution in groups, which a GPU can learn with the same bits each time."""

    def call(self, inputs: Any) -> Any:
        """Convolve `(N, height, width, channels)`."""
        return _finish(self, _convolve_in_groups(self, inputs, self.kernel))


class GroupedSeparableConv2D(keras.layers.SeparableConv2D):  # type: ignore[misc]
    """Keras' layer as a convolution in groups and one of 1x1, which a GPU can learn with the same bits each time."""

    def call(self, inputs: Any) -> Any:
        """Convolve `(N, height, width, channels)`."""
        separate = _convolve_in_groups(self, inputs, self.depthwise_kernel)
        mixed = tf.nn.conv2d(separate, tf.cast(self.pointwise_kernel, inputs.dtype), strides=1, padding="VALID")
        return _finish(self, mixed)


GROUPED = {
    keras.layers.DepthwiseConv2D: GroupedDepthwiseConv2D,
    keras.layers.SeparableConv2D: GroupedSeparableConv2D,
}
