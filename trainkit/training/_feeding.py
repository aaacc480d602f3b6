"""What `fit` is fed with: batches in an order that depends on (seed, epoch) alone, made ahead of their use.

Keras' own shuffling draws from Python's global generator, so that a resumed training would see another order.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trainkit.backend import keras, tf
from trainkit.data._augmentation._mixing import mix_batch
from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._augmentation._warping import augment_batch
from trainkit.data._pipeline import gather, stream
from trainkit.data._share import WHOLE, Share

NO_AUGMENTATION = Augmentation()


@dataclass(kw_only=True)
class Feed:
    """The examples of one side of the data, as a `tf.data.Dataset` whose every pass is an epoch.

    Where several devices share a batch, each has those of its examples that are its own: see `Share`.
    """

    examples: np.ndarray  # uint8 pixels or float32 features, (N, ...), or those of the share; may be a memory map
    targets: np.ndarray  # (N,) or (N, outputs), as the loss wants them
    to_input: Callable[[np.ndarray], np.ndarray]  # some examples -> float32 (n, ...)
    input_shape: tuple[int, ...]  # of one input
    batch_size: int
    shuffle_seed: int | None = None  # None: in order
    weights: np.ndarray | None = None  # float32 (N,), of each example in the loss
    augmentation: Augmentation = NO_AUGMENTATION  # of pixels, drawn by the seed of the shuffling
    share: Share = WHOLE  # of the devices that are fed here, among all that share a batch
    chosen: np.ndarray | None = None  # the places of the examples that come, in order; None: all
    epoch: int = 0  # the one that the next pass makes, from 0
    error: Exception | None = field(default=None, init=False)  # what ended a pass

    @property
    def steps(self) -> int:
        """How many batches an epoch has; the last one may be smaller."""
        return math.ceil(len(self.targets if self.chosen is None else self.chosen) / self.batch_size)

    def order(self) -> np.ndarray:
        """Return the indices of the examples in the order of the epoch."""
        return self._order(self.epoch)

    def _order(self, epoch: int) -> np.ndarray:
        count = len(self.targets)
        if self.chosen is not None:
            return self.chosen
        if self.shuffle_seed is None:
            return np.arange(count)
        return np.random.default_rng((self.shuffle_seed, epoch)).permutation(count)

    def batches(self) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield the batches of the epoch: inputs, targets, and weights where there are any.

        Where several devices share a batch, yield the parts of those that are fed here, one after the other, with what
        `SharingModel` must know of them.
        """
        return self._batches(self.epoch)

    def _batches(self, epoch: int) -> Iterator[tuple[np.ndarray, ...]]:
        order = self._order(epoch)
        try:
            for start in range(0, len(order), self.batch_size):
                chosen = order[start : start + self.batch_size]
                if self.share.of == 1:
                    yield self._batch(chosen, epoch)
                else:
                    yield from (self._part(chosen, epoch, device) for device in self.share.devices)
        except Exception as error:  # TensorFlow turns it into one of its own: `raise_error` gives it back
            self.error = error
            raise

    def _batches_without_end(self) -> Iterator[tuple[np.ndarray, ...]]:
        for epoch in itertools.count(self.epoch):
            yield from self._batches(epoch)

    def _batch(self, chosen: np.ndarray, epoch: int) -> tuple[np.ndarray, ...]:
        inputs, targets = self._inputs(chosen, epoch), self.targets[chosen]
        weights = None if self.weights is None else self.weights[chosen]
        if self.augmentation.mixes:
            inputs, targets, weights = self._mix(inputs, chosen, epoch)
        return (inputs, targets) if weights is None else (inputs, targets, weights)

    def _part(self, chosen: np.ndarray, epoch: int, device: int) -> tuple[np.ndarray, ...]:
        """Return a device's part of a batch: as one device has it in its place, with what tells how much it counts.

        Of the mean over the batch each device adds up its own part: the weights are divided by the size of the batch,
        so that each example has the gradient that it has on one device, to the last bit. A device that has none gets
        one that is no image, of weight 0.

        Returns:
            Inputs; targets; and float32 `(n, 3)`: weights, places in the batch, and how many the batch has.
        """
        places = np.flatnonzero(chosen % self.share.of == device)
        if not len(places):
            nothing = np.zeros((1, *self.input_shape), np.float32)
            return nothing, np.zeros_like(self.targets[:1]), np.array([[0, 0, len(chosen)]], np.float32)
        inputs, targets, *weights = self._batch(chosen[places], epoch)
        shared = np.empty((len(places), 3), np.float32)
        shared[:, 0] = np.float32(1) / np.float32(len(chosen))
        if weights:
            shared[:, 0] *= weights[0]
        shared[:, 1], shared[:, 2] = places, len(chosen)
        return inputs, targets, shared

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
            count=len(self.targets),
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
        all_are_here = len(self.examples) == len(self.targets)
        examples = gather(self.examples, chosen if all_are_here else self.share.rows(chosen))
        if self.augmentation.moves_pixels:
            seed = self.shuffle_seed or 0
            examples = augment_batch(examples, self.augmentation, seed=seed, epoch=epoch, indices=chosen)
        return self.to_input(examples)

    def answering(self, chosen: np.ndarray | None = None) -> Feed:
        """Return a feed of some examples, or of all, that are in the share, as they are, each once and in order."""
        count = len(self.targets)
        asked = np.arange(count) if chosen is None else chosen
        own = asked[self.share.has(asked)]
        targets = self.targets
        if len(self.examples) < count:
            own, targets = self.share.rows(own), targets[self.share.indices(count)]
        return replace(
            self,
            targets=targets,
            chosen=own,
            shuffle_seed=None,
            weights=None,
            augmentation=NO_AUGMENTATION,
            share=WHOLE,
        )

    def dataset(self) -> Any:
        """Return the `tf.data.Dataset`; the epoch of a pass is the one that is set when the pass begins."""
        weighed = self.weights is not None
        return stream(self.batches, self._signature(((None,),) if weighed else ()), steps=self.steps)

    def shared_dataset(self, strategy: Any) -> Any:
        """Return what the devices of a strategy share, without an end: `steps` of it are an epoch.

        The first epoch is the one that is set when the first pass begins.
        """
        dataset = stream(self._batches_without_end, self._signature(((None, 3),)), steps=tf.data.INFINITE_CARDINALITY)
        return strategy.distribute_datasets_from_function(lambda context: dataset)

    def _signature(self, weights: tuple[tuple[int | None, ...], ...]) -> tuple[Any, ...]:
        return (
            tf.TensorSpec((None, *self.input_shape), tf.float32),
            tf.TensorSpec((None, *self.targets.shape[1:]), tf.as_dtype(self.targets.dtype)),
            *(tf.TensorSpec(shape, tf.float32) for shape in weights),
        )


class EpochSetter(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells a feed which epoch comes."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the epoch before its pass begins."""
        self._feed.epoch = epoch
