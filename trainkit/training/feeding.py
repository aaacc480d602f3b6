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
from trainkit.data.augmentation import Augmentation
from trainkit.data.augmenting import augment_batch
from trainkit.data.mixing import mix_batch
from trainkit.data.pipeline import gather

_AHEAD = 3  # batches that are made before they are asked for
NO_AUGMENTATION = Augmentation()


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
    augmentation: Augmentation = NO_AUGMENTATION  # of pixels, drawn by the seed of the shuffling
    replicas: int = 1  # devices that share a batch
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
        inputs, targets = self._inputs(chosen, epoch), self.targets[chosen]
        if self.augmentation.mixes:
            inputs, targets = mix_batch(
                inputs,
                targets,
                self.augmentation,
                seed=self.shuffle_seed or 0,
                epoch=epoch,
                indices=chosen,
                count=len(self.examples),
                read=lambda others: (self._inputs(others, epoch), self.targets[others]),
            )
        weights = None if self.weights is None else self.weights[chosen]
        if self.replicas > 1:
            inputs, targets, weights = _share_evenly(inputs, targets, weights, self.replicas)
        return (inputs, targets) if weights is None else (inputs, targets, weights)

    def _inputs(self, chosen: np.ndarray, epoch: int) -> np.ndarray:
        examples = gather(self.examples, chosen)
        if self.augmentation.moves_pixels:
            seed = self.shuffle_seed or 0
            examples = augment_batch(examples, self.augmentation, seed=seed, epoch=epoch, indices=chosen)
        return self.to_input(examples)

    def dataset(self) -> Any:
        """Return the `tf.data.Dataset`; the epoch of a pass is the one that is set when the pass begins."""
        signature = [
            tf.TensorSpec((None, *self.input_shape), tf.float32),
            tf.TensorSpec((None, *self.targets.shape[1:]), tf.as_dtype(self.targets.dtype)),
        ]
        if self.weights is not None or self.replicas > 1:
            signature.append(tf.TensorSpec((None,), tf.float32))
        dataset = tf.data.Dataset.from_generator(self.batches, output_signature=tuple(signature))
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        options.deterministic = True
        return dataset.apply(tf.data.experimental.assert_cardinality(self.steps)).prefetch(_AHEAD).with_options(options)


def _share_evenly(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, replicas: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill a batch up with examples of weight 0, so that every device has as many.

    Each device takes the mean of its own, and these means are averaged: with 7 and 6 examples, those of the second
    device would weigh more. The others' weights rise by what the mean loses.
    """
    count, missing = len(inputs), -len(inputs) % replicas
    weights = np.ones(count, np.float32) if weights is None else weights
    filled = np.arange(count + missing) % count
    weights = np.where(np.arange(count + missing) < count, weights[filled] * ((count + missing) / count), 0)
    return inputs[filled], targets[filled], weights.astype(np.float32)


class EpochSetter(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells a feed which epoch comes."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the epoch before its pass begins."""
        self._feed.epoch = epoch
