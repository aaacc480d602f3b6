"""Muon for the kernels of convolutions: Keras' own leaves all but matrices to Adam, and so every convolution."""

from __future__ import annotations

import math
from typing import Any

from trainkit.backend import keras, tf

_LEAST_SIDE = 16  # of a kernel as a matrix: a smaller one, or one for each channel, has no directions to balance


class ConvolutionMuon(keras.optimizers.Muon):  # type: ignore[misc]
    """Keras' Muon, for convolutions alone: momentum, made orthogonal before each step.

    A kernel is the matrix of its weights for each output, `(height * width * inputs, outputs)`: Jordan et al. 2024,
    "Muon: An optimizer for hidden layers in neural networks" (https://kellerjordan.github.io/posts/muon/). Steps are as
    large as those of Adam at the same rate: Liu et al. 2025, arXiv:2502.16982. All other weights are Adam's.
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        shape = tuple(variable.shape)
        return len(shape) != 4 or min(math.prod(shape[:3]), shape[3]) < _LEAST_SIDE

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        """Update one kernel, a `tf.Variable`, by its gradient."""
        momentum = m.value.assign(m * self.momentum + gradient)
        direction = gradient + self.momentum * momentum if self.nesterov else momentum
        matrix = tf.reshape(direction, (-1, variable.shape[-1]))
        step = self.zeropower_via_newtonschulz5(matrix, self.ns_steps) * (self.rms_rate * max(matrix.shape) ** 0.5)
        variable.assign_sub(tf.cast(lr, variable.dtype) * tf.reshape(step, variable.shape))
