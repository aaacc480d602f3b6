"""What devices that share a batch have to do together, so that they train as one device would.

Keras lets each of them draw the same noise, clip its own gradients, and count what only fills its part up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from trainkit.backend import keras, tf
from trainkit.models._pixel_model import PixelModel

_NOISE = {
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
}


@dataclass(frozen=True, slots=True)
class _Part:
    """A device's part of a batch, as tensors."""

    weights: Any  # float32 (n,), of its examples in the loss; 0 of what only fills the part up
    places: Any  # int32 (n,), theirs in the whole batch
    whole: Any  # int32: how many the whole batch has

    @property
    def real(self) -> Any:
        """Which examples are images: float32 `(n,)`, 1 or 0."""
        return tf.cast(self.weights > 0, tf.float32)


class _Current(threading.local):
    """What a device works on: each has a thread of its own."""

    part: _Part | None = None


_current = _Current()


class SharingModel(PixelModel):
    """A functional model that several devices train, and that knows which examples of a batch a device has.

    Its third input is that of `Feed.shared_dataset`: weights, places and the size of the batch, `(n, 3)`.
    """

    def train_step(self, data: tuple[Any, Any, Any]) -> Any:
        """Make a step, as Keras does."""
        with working_on(data[2]):
            return super().train_step(data)

    def test_step(self, data: tuple[Any, Any, Any]) -> Any:
        """Measure a batch, as Keras does."""
        with working_on(data[2]):
            return super().test_step(data)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Compute the loss, as Keras does, by the weights alone."""
        return super().compute_loss(x, y, y_pred, _weights_in(sample_weight), training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Compute the metrics, as Keras does, by the weights alone."""
        return super().compute_metrics(x, y, y_pred, _weights_in(sample_weight))


def _weights_in(shared: Any) -> Any:
    return shared if shared is None or len(shared.shape) == 1 else shared[:, 0]


@contextmanager
def working_on(shared: Any) -> Iterator[None]:
    """Let the layers of the block know which examples of a batch they are given, by the third input of the model."""
    places, whole = tf.cast(shared[:, 1], tf.int32), tf.cast(shared[0, 2], tf.int32)
    _current.part = _Part(shared[:, 0], places, whole)
    try:
        yield
    finally:
        _current.part = None


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

    clone = keras.models.clone_model(model, clone_function=share)
    return SharingModel(clone.inputs, clone.outputs)


@cache
def _for_whole_batch(kind: Any) -> Any:
    """Return a layer that is given a part of the batch and does to it what `kind` would do to the whole.

    Each example stands in its place in the batch, and gets the draws of that place, whoever else shares the batch.
    """

    class ForWholeBatch(kind):  # type: ignore[misc]
        def call(self, inputs: Any, training: bool = False) -> Any:
            part = _current.part
            if not training or part is None:
                return super().call(inputs, training=training)
            real = tf.reshape(tf.cast(part.real, inputs.dtype), [-1, *[1] * (len(inputs.shape) - 1)])
            shape = tf.concat([part.whole[None], tf.shape(inputs)[1:]], axis=0)
            whole = tf.scatter_nd(part.places[:, None], inputs * real, shape)
            whole.set_shape([None, *inputs.shape[1:]])
            return tf.gather(super().call(whole, training=training), part.places)

    return ForWholeBatch


def _context() -> Any:
    """Return what a device knows of the others, or `None` where there are none, or all are spoken to at once."""
    context = tf.distribute.get_replica_context()
    return context if context is not None and context.num_replicas_in_sync > 1 else None


class SharedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Keras' layer, its statistics those of the whole batch.

    With `synchronized=True` Keras takes the variance as the mean of the squares less the square of the mean, of which
    float32 leaves little where the mean is large.
    """

    def _moments(self, inputs: Any, mask: Any) -> tuple[Any, Any]:
        part, context = _current.part, _context()
        if mask is not None or part is None or context is None:
            return super()._moments(inputs, mask)  # type: ignore[no-any-return]
        real = tf.reshape(tf.cast(part.real, inputs.dtype), [-1, *[1] * (len(inputs.shape) - 1)])
        of_each = tf.size(inputs[0]) // tf.shape(inputs)[self.axis]  # values of a channel in an example
        count = tf.cast(part.whole * of_each, inputs.dtype)

        def mean_of(values: Any) -> Any:
            total = tf.reduce_sum(values * real, axis=self._reduction_axes, keepdims=True)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, total) / count

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
        """Measure a loss of Keras, of a model."""
        super().__init__(name="loss")
        self._of_each, self._model = loss.call, model

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Add the examples of a device: targets, outputs, and weights as `trainkit.training._feeding` has them."""
        losses, part = self._of_each(y_true, y_pred), _current.part
        if part is not None:
            losses *= tf.cast(sample_weight, losses.dtype) * tf.cast(part.whole, losses.dtype)
        return super().update_state(losses + sum(self._model.losses), _is_real(sample_weight))
