"""From decoded images to what a Keras model is fed with."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trainkit.backend import keras
from trainkit.data.sources import Part
from trainkit.preprocessing import Preprocessing


def read_pixels(part: Part, preprocessing: Preprocessing) -> np.ndarray:
    """Decode and resize every image of a part, on all cores.

    Returns:
        uint8 `(N, height, width, channels)`, as `Preprocessing.to_pixels` has it.
    """
    pixels = np.empty((len(part), *preprocessing.shape), np.uint8)

    def read(index: int) -> None:
        pixels[index] = preprocessing.to_pixels(part.images[index])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(read, range(len(part)), chunksize=64):
            pass
    return pixels


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of network inputs; give it to `fit` with `shuffle=False`, because it orders the images itself.

    The order of an epoch depends on (seed, epoch) alone. Keras' own shuffling draws from Python's global generator.
    """

    def __init__(
        self,
        examples: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        to_input: Callable[[np.ndarray], np.ndarray],
        batch_size: int,
        shuffle_seed: int | None = None,
    ) -> None:
        """Cut N `examples` (and int64 `(N,)` labels) into batches; without a seed their order stays.

        Args:
            examples: what `to_input` takes N of: uint8 pixels for `Preprocessing.to_input`, for example.
            labels: indices of the classes, or none, to predict only.
            to_input: makes of some examples the float32 array that the model is fed with.
            batch_size: examples a batch; the last one may have fewer.
            shuffle_seed: orders every epoch anew.
        """
        super().__init__()
        self._examples, self._labels, self._to_input = examples, labels, to_input
        self._batch_size, self._seed, self._epoch = batch_size, shuffle_seed, 0
        self._order = self._draw_order()

    def _draw_order(self) -> np.ndarray:
        count = len(self._examples)
        if self._seed is None:
            return np.arange(count)
        return np.random.default_rng((self._seed, self._epoch)).permutation(count)

    def __len__(self) -> int:
        return math.ceil(len(self._examples) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        inputs = self._to_input(self._examples[chosen])
        return (inputs,) if self._labels is None else (inputs, self._labels[chosen])

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        self._epoch += 1
        self._order = self._draw_order()
