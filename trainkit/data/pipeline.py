"""From decoded images to what a Keras model is fed with."""

from __future__ import annotations

import math
import os
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
        pixels: np.ndarray,
        labels: np.ndarray | None = None,
        *,
        preprocessing: Preprocessing,
        batch_size: int,
        shuffle_seed: int | None = None,
    ) -> None:
        """Wrap uint8 `(N, height, width, channels)` and int64 `(N,)`; without a seed the order stays."""
        super().__init__()
        self._pixels, self._labels, self._preprocessing = pixels, labels, preprocessing
        self._batch_size, self._seed, self._epoch = batch_size, shuffle_seed, 0
        self._order = self._draw_order()

    def _draw_order(self) -> np.ndarray:
        count = len(self._pixels)
        if self._seed is None:
            return np.arange(count)
        return np.random.default_rng((self._seed, self._epoch)).permutation(count)

    def __len__(self) -> int:
        return math.ceil(len(self._pixels) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        inputs = self._preprocessing.to_input(self._pixels[chosen])
        return (inputs,) if self._labels is None else (inputs, self._labels[chosen])

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch."""
        self._epoch += 1
        self._order = self._draw_order()
