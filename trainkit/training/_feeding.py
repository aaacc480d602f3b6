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
from trainkit.data._augmentation._mixing import mix_batch
from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._augmentation._warping import augment_batch
from trainkit.data._pipeline import gather, stream

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
    chosen: np.ndarray | None = None  # the places of the examples that come, in order; None: all
    epoch: int = 0  # the one that the next pass makes, from 0
    error: Exception | None = field(default=None, init=False)  # what ended a pass

    @property
    def steps(self) -> int:
        """How many batches an epoch has; the last one may be smaller."""
        return math.ceil(len(self.examples if self.chosen is None else self.chosen) / self.batch_size)

    def order(self) -> np.ndarray:
        """Return the indices of the examples in the order of the epoch."""
        count = len(self.examples)
        if self.chosen is not None:
            return self.chosen
        if self.shuffle_seed is None:
            return np.arange(count)
        return np.random.default_rng((self.shuffle_seed, self.epoch)).permutation(count)

    def batches(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the batches of the epoch: inputs, targets, and weights where there are any."""
        order, epoch = self.order(), self.epoch
        try:
            for start in range(0, len(order), self.batch_size):
                yield self._batch(order[start : start + self.batch_size], epoch, first=start == 0)
        except Exception as error:  # TensorFlow turns it into one of its own: `raise_error` gives it back
            self.error = error
            raise

    def _batch(self, chosen: np.ndarray, epoch: int, *, first: bool) -> tuple[np.ndarray, ...]:
        inputs, targets = self._inputs(chosen, epoch), self.targets[chosen]
        weights = None if self.weights is None else self.weights[chosen]
        if self.augmentation.mixes:
            inputs, targets, weights = self._mix(inputs, chosen, epoch)
        if self.replicas > 1:
            inputs, targets, weights = _share(inputs, targets, weights, self.replicas, evenly=first)
        return (inputs, targets) if weights is None else (inputs, targets, weights)

    def _mix(
        self, inputs: np.ndarray, chosen: np.ndarray, epoch: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Mix images with others, so that each partner's label weighs what its own class weighs.

        The loss is linear in the target. So the sum of both partners' losses, each by its share and its weight, is
        that of one target, which has its weights divided out, times the sum of the weighted shares.
        """
        inputs, mixed = mix_batch(
            inputs,
            self._weighted_targets(chosen),
            self.augmentation,
            seed=self.shuffle_seed or 0,
            epoch=epoch,
            indices=chosen,
            count=len(self.examples),
            read=lambda others: (self._inputs(others, epoch), self._weighted_targets(others)),
        )
        if self.weights is None:
            return inputs, mixed, None
        return inputs, mixed[:, :-1] / mixed[:, -1:], mixed[:, -1]

    def _weighted_targets(self, chosen: np.ndarray) -> np.ndarray:
        """Return targets; where examples have weights, times these, and the weights as one more column."""
        targets: np.ndarray = self.targets[chosen]
        if self.weights is None:
            return targets
        weights = self.weights[chosen, None]
        return np.concatenate([targets * weights, weights], axis=1)

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
        return stream(self.batches, tuple(signature), steps=self.steps)


def _share(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, devices: int, *, evenly: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weigh the examples of a batch as if one device took the mean of all.

    TensorFlow gives each device as many, but the last ones what is left. Each takes the mean of its own, and these
    means are averaged: with 7 and 6 examples, those of the second one would weigh more.

    The batch is filled up with examples of weight 0 where a device would be left with none, and so with no mean; and
    `evenly` for the first batch of a pass, which Keras adds up over the devices to learn its shape.
    """
    count, of_each = len(inputs), -(-len(inputs) // devices)
    least = of_each * devices if evenly else of_each * (devices - 1) + 1
    filled = np.arange(max(count, least)) % count
    sizes = np.bincount(np.arange(len(filled)) // of_each)
    shares = np.repeat(sizes, sizes) * devices / count
    shares[count:] = 0
    weights = shares if weights is None else shares * weights[filled]
    return inputs[filled], targets[filled], weights.astype(np.float32)


class EpochSetter(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells a feed which epoch comes."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the epoch before its pass begins."""
        self._feed.epoch = epoch
