"""Batch normalisation in one kernel, while a network is trained."""

from __future__ import annotations

from typing import Any

from trainkit.backend import keras, tf

_BFLOAT16_CHANNELS = 16  # oneDNN's fast kernels of bfloat16 take multiples of these, its others 5 times float32's time


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras' layer, its training step done by TensorFlow's `FusedBatchNormV3` (https://www.tensorflow.org/api_docs).

    Keras 3 writes mean, variance and scaling as operations of their own; on a CPU a network of small convolutions
    spends more time in them than in the convolutions. It is for the copy that is trained: what is saved is Keras' own.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise `(N, height, width, channels)` by its own statistics in training, else by the moving ones."""
        if not training or not self.trainable:
            return super().call(inputs, training=training, mask=mask)
        slow = inputs.dtype == tf.bfloat16 and inputs.shape[-1] % _BFLOAT16_CHANNELS
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, tf.float32) if slow else inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        variance *= (count - 1) / count  # the kernel's is that of a sample, Keras' that of the batch
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + tf.stop_gradient(of_batch) * (1 - self.momentum))
        return tf.cast(outputs, inputs.dtype)


def can_be_fused(layer: Any) -> bool:
    """Whether a layer is a batch normalisation of images, by channel, with a scale and a shift, that is trained."""
    return (
        type(layer) is keras.layers.BatchNormalization
        and layer.trainable
        and layer.scale
        and layer.center
        and not layer.synchronized
        and len(layer.input.shape) == 4
        and layer.axis in (-1, 3)
    )
