"""What `fit` is fed with: batches in an order that depends on (seed, epoch) alone, made ahead of their use.

Keras' own shuffling draws from Python's global generator, so that a resumed training would see another order.

Pixels go to the device as they are, a byte each, and become the network's input there: see `_pixel_model`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trainkit.backend import keras, tf
from trainkit.data._augmentation._draws import draw, draw_mixes
from trainkit.data._augmentation._in_graph import DRAWN, MIXED, at_rest, pack_draws, pack_mixes
from trainkit.data._augmentation._mixing import mix_batch, mix_labels
from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._augmentation._warping import augment_batch
from trainkit.data._pipeline import gather, stream
from trainkit.data._share import WHOLE, Share

NO_AUGMENTATION = Augmentation()
# Arrays that are a batch's inputs; or those by name where more goes up than pixels: `pixels`, what is drawn for them,
# how they are mixed, and `partners`, the same of the images that they are mixed with.
Inputs = np.ndarray | dict[str, Any]


@dataclass(kw_only=True)
class Feed:
    """The examples of one side of the data, as a `tf.data.Dataset` whose every pass is an epoch.

    Where several devices share a batch, each has those of its examples that are its own: see `Share`.
    """

    examples: np.ndarray  # uint8 pixels or float32 features, (N, ...), or those of the share; may be a memory map
    targets: np.ndarray  # (N,) or (N, outputs), as the loss wants them
    to_input: Callable[[np.ndarray], np.ndarray] | None  # some examples -> float32 (n, ...); None: the graph does that
    input_shape: tuple[int, ...]  # of one input
    batch_size: int
    shuffle_seed: int | None = None  # None: in order
    weights: np.ndarray | None = None  # float32 (N,), of each example in the loss
    augmentation: Augmentation = NO_AUGMENTATION  # of pixels, drawn by the seed of the shuffling
    augments_in_graph: bool = False  # whether what needs no warp is only drawn here, and done where the input is made
    plain_from: int | None = None  # the first of the epochs at the end that are not augmented
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

    def batches(self) -> Iterator[tuple[Any, ...]]:
        """Yield the batches of the epoch: inputs, targets, and weights where there are any.

        Where several devices share a batch, yield the parts of those that are fed here, one after the other, with what
        `SharingModel` must know of them.
        """
        return self._batches(self.epoch)

    def _batches(self, epoch: int) -> Iterator[tuple[Any, ...]]:
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

    def _batches_without_end(self) -> Iterator[tuple[Any, ...]]:
        for epoch in itertools.count(self.epoch):
            yield from self._batches(epoch)

    def _batch(self, chosen: np.ndarray, epoch: int) -> tuple[Any, ...]:
        inputs, targets = self._inputs(chosen, epoch), self.targets[chosen]
        weights = None if self.weights is None else self.weights[chosen]
        if self.augmentation.mixes and (self.to_input is None or not self._is_plain(epoch)):
            inputs, mixed = self._mix(inputs, chosen, epoch)
            targets, weights = (mixed, None) if weights is None else (mixed[:, :-1] / mixed[:, -1:], mixed[:, -1])
        return (inputs, targets) if weights is None else (inputs, targets, weights)

    def _part(self, chosen: np.ndarray, epoch: int, device: int) -> tuple[Any, ...]:
        """Return a device's part of a batch: as one device has it in its place, with what tells how much it counts.

        Of the mean over the batch each device adds up its own part: the weights are divided by the size of the batch,
        so that each example has the gradient that it has on one device, to the last bit. A device that has none gets
        one that is no image, of weight 0.

        Returns:
            Inputs; targets; and float32 `(n, 3)`: weights, places in the batch, and how many the batch has.
        """
        places = np.flatnonzero(chosen % self.share.of == device)
        if not len(places):
            return (
                tf.nest.map_structure(_one_of_nothing, self._input_signature()),
                np.zeros_like(self.targets[:1]),
                np.array([[0, 0, len(chosen)]], np.float32),
            )
        inputs, targets, *weights = self._batch(chosen[places], epoch)
        shared = np.empty((len(places), 3), np.float32)
        shared[:, 0] = np.float32(1) / np.float32(len(chosen))
        if weights:
            shared[:, 0] *= weights[0]
        shared[:, 1], shared[:, 2] = places, len(chosen)
        return inputs, targets, shared

    def _mix(self, inputs: Inputs, chosen: np.ndarray, epoch: int) -> tuple[Inputs, np.ndarray]:
        """Mix images with others, so that each partner's label weighs what its own class weighs.

        The loss is linear in the target. So the sum of both partners' losses, each by its share and its weight, is
        that of one target, which has its weights divided out, times the sum of the weighted shares.

        Returns:
            Inputs, and targets; where examples have weights, these times their weights, and the weights as a column.
        """
        seed, labels = self.shuffle_seed or 0, self._weighted_targets(chosen)
        where: dict[str, Any] = {"seed": seed, "epoch": epoch, "indices": chosen, "count": len(self.targets)}
        if self.to_input is not None:
            return mix_batch(
                np.asarray(inputs),
                labels,
                self.augmentation,
                **where,
                read=lambda others: (np.asarray(self._inputs(others, epoch)), self._weighted_targets(others)),
            )
        height, width = self.input_shape[:2]
        mixes = draw_mixes(self.augmentation, **where, height=height, width=width)
        packed = self._unless_plain(pack_mixes(mixes), epoch)
        mixed = {**_by_name(inputs), **packed, "partners": self._inputs(mixes.partners, epoch)}
        return mixed, mix_labels(labels, self._weighted_targets(mixes.partners), mixed["share"])

    def _weighted_targets(self, chosen: np.ndarray) -> np.ndarray:
        """Return targets; where examples have weights, times these, and the weights as one more column."""
        targets: np.ndarray = self.targets[chosen]
        if self.weights is None:
            return targets
        weights = self.weights[chosen, None]
        return np.concatenate([targets * weights, weights], axis=1)

    def _inputs(self, chosen: np.ndarray, epoch: int) -> Inputs:
        all_are_here = len(self.examples) == len(self.targets)
        examples = gather(self.examples, chosen if all_are_here else self.share.rows(chosen))
        if self.augmentation.moves_pixels:
            where: dict[str, Any] = {"seed": self.shuffle_seed or 0, "epoch": epoch, "indices": chosen}
            if self.augments_in_graph:
                return {"pixels": examples, **self._unless_plain(self._draws(**where), epoch)}
            if not self._is_plain(epoch):
                examples = augment_batch(examples, self.augmentation, **where)
        return examples if self.to_input is None else self.to_input(examples)

    def _is_plain(self, epoch: int) -> bool:
        return self.plain_from is not None and epoch >= self.plain_from

    def _unless_plain(self, packed: dict[str, np.ndarray], epoch: int) -> dict[str, np.ndarray]:
        """Return what is drawn for the graph; in a plain epoch the same arrays, which change nothing."""
        return at_rest(packed) if self._is_plain(epoch) else packed

    def _draws(self, **where: Any) -> dict[str, np.ndarray]:
        height, width, channels = self.input_shape
        return pack_draws(draw(self.augmentation, **where, height=height, width=width, channels=channels))

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
            self._input_signature(),
            tf.TensorSpec((None, *self.targets.shape[1:]), tf.as_dtype(self.targets.dtype)),
            *(tf.TensorSpec(shape, tf.float32) for shape in weights),
        )

    def _input_signature(self) -> Any:
        """Return the `tf.TensorSpec` of a batch's inputs, or those of all its arrays by name."""
        kind = tf.float32 if self.to_input is not None else tf.as_dtype(self.examples.dtype)
        of_images: Any = tf.TensorSpec((None, *self.input_shape), kind)
        if self.to_input is None and self.augmentation.moves_pixels and self.augments_in_graph:
            drawn = self._draws(seed=0, epoch=0, indices=np.zeros(0, np.int64))
            of_images = {"pixels": of_images, **self._specs(DRAWN, drawn)}
        if self.to_input is None and self.augmentation.mixes:
            return {**_by_name(of_images), **self._specs(MIXED, MIXED), "partners": of_images}
        return of_images

    def _specs(self, table: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
        """Return the `tf.TensorSpec` of some of the arrays of a table."""
        shapes = {name: [self.input_shape[-1] if side < 0 else side for side in table[name][1]] for name in names}
        return {name: tf.TensorSpec((None, *shape), tf.as_dtype(table[name][0])) for name, shape in shapes.items()}


def _by_name(inputs: Any) -> dict[str, Any]:
    return inputs if isinstance(inputs, dict) else {"pixels": inputs}


def _one_of_nothing(spec: Any) -> np.ndarray:
    return np.zeros((1, *spec.shape[1:]), spec.dtype.as_numpy_dtype)


class EpochSetter(keras.callbacks.Callback):  # type: ignore[misc]
    """Tells a feed which epoch comes."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the epoch before its pass begins."""
        self._feed.epoch = epoch
