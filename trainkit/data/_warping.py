"""A batch of training images, each transformed as drawn for it: one warp an image, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import cv2
import numpy as np

from trainkit.data._augmentation import Augmentation
from trainkit.data._draws import Draws, draw
from trainkit.data._transforms import BORDERS, WARP, brighten_levels, shift_levels, transform_matrices

_CHUNK = 2**19  # values that a thread transforms before it takes more: 3 photographs, but 600 images of 28x28


def augment_batch(
    pixels: np.ndarray, augmentation: Augmentation, *, seed: int, epoch: int, indices: np.ndarray
) -> np.ndarray:
    """Transform the images of a batch, each as drawn for it: turned, brightened, erased, but not mixed.

    Args:
        pixels: uint8 `(N, height, width, channels)`; they stay as they are.
        augmentation: what may happen.
        seed: of the training.
        epoch: from 0.
        indices: `(N,)`, the images' places in their data set. An image's transformation depends on (seed, epoch, index)
            alone.

    Returns:
        uint8 of the same shape.
    """
    if not augmentation.moves_pixels or not len(pixels):
        return pixels
    _, height, width, channels = pixels.shape
    draws = draw(augmentation, seed=seed, epoch=epoch, indices=indices, height=height, width=width, channels=channels)
    batch = np.empty(pixels.shape, np.uint8)
    _ENGINES[augmentation.engine](pixels, augmentation, draws, batch)
    if draws.erased is not None and draws.erased_levels is not None:
        for image, (top, left, rows, columns), levels in zip(batch, draws.erased, draws.erased_levels, strict=True):
            image[top : top + rows, left : left + columns] = levels
    return batch


def _transform_by_opencv(pixels: np.ndarray, augmentation: Augmentation, draws: Draws, batch: np.ndarray) -> None:
    """Write the transformed images into `batch`, a few at a time on each core: OpenCV lets go of Python's lock."""
    matrices = transform_matrices(draws.transforms, *pixels.shape[1:3])
    size = max(1, _CHUNK // pixels[0].size)

    def transform(start: int) -> None:
        chosen = slice(start, start + size)
        _warp(pixels[chosen], matrices[chosen], augmentation, batch[chosen])
        _change_levels(draws, chosen, batch[chosen])

    starts = range(0, len(pixels), size)
    for _ in _pool(os.getpid()).map(transform, starts) if len(starts) > 1 else map(transform, starts):
        pass


def _warp(pixels: np.ndarray, matrices: np.ndarray, augmentation: Augmentation, batch: np.ndarray) -> None:
    size, border, value = pixels.shape[2:0:-1], BORDERS[augmentation.fill_mode], (augmentation.cval,) * 4
    for image, matrix, warped in zip(pixels, matrices, batch, strict=True):
        cv2.warpAffine(image, matrix, size, warped, WARP, border, value)


def _change_levels(draws: Draws, chosen: slice, batch: np.ndarray) -> None:
    """Shift and brighten the images of a chunk, in place: all levels of an image at once, by a table."""
    intensity, brightness = draws.transforms["channel_shift_intensity"], draws.transforms["brightness"]
    if intensity is None and brightness is None:
        return
    tables = np.arange(256, dtype=np.float32)[None]
    if intensity is not None:
        low, high = batch.min(axis=(1, 2, 3))[:, None], batch.max(axis=(1, 2, 3))[:, None]
        tables = shift_levels(tables, intensity[chosen, None], low, high)
    if brightness is not None:
        tables = brighten_levels(tables, brightness[chosen, None].astype(np.float32))
    for image, table in zip(batch, np.rint(tables).astype(np.uint8), strict=True):
        cv2.LUT(image, table, image)


def _transform_by_keras(pixels: np.ndarray, augmentation: Augmentation, draws: Draws, batch: np.ndarray) -> None:
    """Write what Keras' own `apply_transform` makes of the same draws."""
    from trainkit.backend import tf

    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        fill_mode=augmentation.fill_mode, cval=augmentation.cval
    )
    for position, image in enumerate(pixels):
        transformed = generator.apply_transform(image.astype(np.float32), draws.transform_parameters(position))
        batch[position] = np.clip(np.rint(transformed), 0, 255)


_ENGINES: dict[str, Callable[[np.ndarray, Augmentation, Draws, np.ndarray], None]] = {
    "opencv": _transform_by_opencv,
    "keras": _transform_by_keras,
}


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Return the threads of this process: those of a parent do not live on in a fork."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix=f"augmentation-{process}")
