"""Adam in one kernel a weight: Keras writes it as a dozen operations, each of which walks through all the weights."""

from __future__ import annotations

from typing import Any

from trainkit.backend import keras, tf


class FusedAdam(keras.optimizers.Adam):  # type: ignore[misc]
    """Keras' Adam, without AMSGrad, through TensorFlow's own kernel of the same formula.

    Kingma and Ba 2015, arXiv:1412.6980, in the order of operations that their section 2 ends with. The weights differ
    from those of Keras' by rounding.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one weight, a `tf.Variable`, by its gradient."""
        if isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable, learning_rate)
            return
        number, kind = self._get_variable_index(variable), variable.dtype
        beta_1, beta_2 = tf.cast(self.beta_1, kind), tf.cast(self.beta_2, kind)
        step = tf.cast(self.iterations + 1, kind)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[number].value.handle,
            v=self._velocities[number].value.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, kind),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, kind),
            grad=gradient,
        )
