"""What devices that share a batch have to do together, so that they train as one device would.

Keras lets each of them draw the same noise, clip its own gradients, and count what only fills its part up.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from trainkit.backend import keras, tf

_NOISE = {
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
}


def shared_kind(kind: Any) -> Any:
    """Return the class of layers that see the whole of a shared batch in the place of `kind`, which may be itself."""
    if kind is keras.layers.BatchNormalization:
        return SharedBatchNormalization
    return _for_whole_batch(kind) if kind in _NOISE else kind


def share_noise(model: Any) -> Any:
    """Return a model on the same layers, but that dropout and noise are drawn for the whole of a shared batch."""

    def share(layer: Any) -> Any:
        kind: Any = type(layer)
        return _for_whole_batch(kind).from_config(layer.get_config()) if kind in _NOISE else layer

    return keras.models.clone_model(model, clone_function=share)


@cache
def _for_whole_batch(kind: Any) -> Any:
    """Return a layer that is given a part of the batch and does to it what `kind` would do to the whole."""

    class ForWholeBatch(kind):  # type: ignore[misc]
        def call(self, inputs: Any, training: bool = False) -> Any:
            context = _context()
            if not training or context is None:
                return super().call(inputs, training=training)
            counts = tf.cast(_gather_counts(context, inputs), tf.int32)
            number, count = context.replica_id_in_sync_group, tf.shape(inputs)[0]
            before, behind = tf.reduce_sum(counts[:number]), tf.reduce_sum(counts[number + 1 :])
            whole = tf.pad(inputs, [[before, behind], *[[0, 0]] * (len(inputs.shape) - 1)])
            return super().call(whole, training=training)[before : before + count]

    return ForWholeBatch


def _context() -> Any:
    """Return what a device knows of the others, or `None` where there are none, or all are spoken to at once."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


def _gather_counts(context: Any, inputs: Any) -> Any:
    """Return float32 `(devices,)`: how many examples each has. (A GPU keeps integers where it cannot sum them.)"""
    own = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync)
    return context.all_reduce(tf.distribute.ReduceOp.SUM, own * tf.cast(tf.shape(inputs)[0], tf.float32))


class SharedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras' layer, its statistics those of the whole batch.

    With `synchronized=True` Keras takes the variance as the mean of the squares less the square of the mean, of which
    float32 leaves little where the mean is large.
    """

    def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        context = _context()
        if mask is not None or context is None:
            return super()._moments(inputs, mask)  # type: ignore[no-any-return]
        count = tf.cast(tf.shape(inputs)[0], tf.float32)
        share = count / tf.reduce_sum(_gather_counts(context, inputs))

        def mean_of(values: Any) -> Any:
            mean = tf.reduce_mean(values, axis=self._reduction_axes, keepdims=True)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, mean * share)

        mean = mean_of(inputs)
        variance = mean_of(tf.square(inputs - mean))
        return tf.squeeze(mean, self._reduction_axes), tf.squeeze(variance, self._reduction_axes)


def clipping_together(kind: type) -> type:
    """Return an optimizer that clips the sum of all devices' gradients, where `kind` would clip those of each."""

    class ClippingTogether(kind):  # type: ignore[misc]
        def _clip_gradients(self, gradients: list[Any]) -> list[Any]:
            context = _context()
            if context is None:
                return super()._clip_gradients(gradients)  # type: ignore[no-any-return]
            clipped = super()._clip_gradients(context.all_reduce(tf.distribute.ReduceOp.SUM, gradients))
            return [gradient / context.num_replicas_in_sync for gradient in clipped]  # which Keras adds up

    return ClippingTogether


def counting_once(kind: type) -> type:
    """Return a metric that leaves out the examples of weight 0, which fill a batch up, and weighs no other."""

    class CountingOnce(kind):  # type: ignore[misc]
        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            return super().update_state(y_true, y_pred, sample_weight=_is_real(sample_weight))

    return CountingOnce


def _is_real(weights: Any) -> Any:
    return None if weights is None else tf.cast(weights > 0, tf.float32)


class SharedLoss(keras.metrics.Mean):  # type: ignore[misc]
    """The mean loss of the examples, as Keras reports it for one device: weighed, and with what regularizers add."""

    def __init__(self, loss: Any, model: Any) -> None:
        """Measure a loss of Keras, or one by its name, of a model."""
        super().__init__(name="loss")
        self._of_each = keras.losses.get(loss) if isinstance(loss, str) else loss.call
        self._model = model

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Add the examples of a device: targets, outputs, and weights as `trainkit.training._feeding` has them."""
        losses, real, context = self._of_each(y_true, y_pred), _is_real(sample_weight), _context()
        if real is not None:
            losses *= sample_weight
        if context is not None and real is not None:
            # The weights hold the device's share of the batch, which is not the examples' own.
            count = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(real))
            losses *= count / (tf.cast(tf.shape(real)[0], tf.float32) * context.num_replicas_in_sync)
        return super().update_state(losses + sum(self._model.losses), real)
