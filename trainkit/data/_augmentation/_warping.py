"""A batch of training images, each transformed as drawn for it: one warp an image, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from trainkit.data._augmentation._draws import Draws, draw
from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._augmentation._transforms import change_levels, transform_matrices, warp_images

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
    levels = [draws.transforms[name] for name in ("channel_shift_intensity", "brightness")]

    def transform(start: int) -> None:
        chosen = slice(start, start + size)
        warp_images(
            pixels[chosen],
            matrices[chosen],
            batch[chosen],
            fill_mode=augmentation.fill_mode,
            cval=augmentation.cval,
        )
        change_levels(batch[chosen], *(None if drawn is None else drawn[chosen] for drawn in levels))

    starts = range(0, len(pixels), size)
    for _ in _pool(os.getpid()).map(transform, starts) if len(starts) > 1 else map(transform, starts):
        pass


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
