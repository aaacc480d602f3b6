"""What `fit` is fed with: batches in an order that depends on (seed, epoch) alone, made ahead of their use.

Keras' own shuffling draws from Python's global generator, so that a resumed training would see another order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainkit.backend import keras, tf

_AHEAD = 3  # batches that are made before they are asked for

# (pixels, their indices in the data, epoch) -> pixels
Augment = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
# (inputs, targets, their indices in the data, epoch) -> inputs, targets
Mix = Callable[[np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


@dataclass(kw_only=True)
class Feed:
    """The examples of one side of the data, as a `tf.data.Dataset` whose every pass is an epoch."""

    examples: np.ndarray  # uint8 pixels or float32 features, (N, ...); a memory map is read batch by batch
    targets: np.ndarray  # (N,) or (N, outputs), as the loss wants them
    to_input: Callable[[np.ndarray], np.ndarray]  # some examples -> float32 (n, ...)
    input_shape: tuple[int, ...]  # of one input
    batch_size: int
    shuffle_seed: int | None = None  # None: in order
    weights: np.ndarray | None = None  # float32 (N,), of each example in the loss
    augment: Augment | None = None
    mix: Mix | None = None
    epoch: int = 0  # the one that the next pass makes, from 0
    error: Exception | None = field(default=None, init=False)  # what ended a pass

    @property
    def steps(self) -> int:
        """How many batches an epoch has; the last one may be smaller."""
        return math.ceil(len(self.examples) / self.batch_size)

    def order(self) -> np.ndarray:
        """Return the indices of the examples in the order of the epoch."""
        count = len(self.examples)
        if self.shuffle_seed is None:
            return np.arange(count)
        return np.random.default_rng((self.shuffle_seed, self.epoch)).permutation(count)

    def batches(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the batches of the epoch: inputs, targets, and weights where there are any."""
        order, epoch = self.order(), self.epoch
        try:
            for start in range(0, len(order), self.batch_size):
                yield self._batch(order[start : start + self.batch_size], epoch)
        except Exception as error:  # TensorFlow turns it into one of its own: `raise_error` gives it back
            self.error = error
            raise

    def _batch(self, chosen: np.ndarray, epoch: int) -> tuple[np.ndarray, ...]:
        examples = self.examples[chosen]
        if self.augment is not None:
            examples = self.augment(examples, chosen, epoch)
        inputs, targets = self.to_input(examples), self.targets[chosen]
        if self.mix is not None:
            inputs, targets = self.mix(inputs, targets, chosen, epoch)
        return (inputs, targets) if self.weights is None else (inputs, targets, self.weights[chosen])

    def dataset(self) -> Any:
        """Return the `tf.data.Dataset`; the epoch of a pass is the one that is set when the pass begins."""
        signature = [
            tf.TensorSpec((None, *self.input_shape), tf.float32),
            tf.TensorSpec((None, *self.targets.shape[1:]), tf.as_dtype(self.targets.dtype)),
        ]
        if self.weights is not None:
            signature.append(tf.TensorSpec((None,), tf.float32))
        dataset = tf.data.Dataset.from_generator(self.batches, output_signature=tuple(signature))
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        options.deterministic = True
        return dataset.apply(tf.data.experimental.assert_cardinality(self.steps)).prefetch(_AHEAD).with_options(options)


class EpochSetter(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells a feed which epoch comes."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the epoch before its pass begins."""
        self._feed.epoch = epoch
