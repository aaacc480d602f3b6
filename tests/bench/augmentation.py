"""Augmented images a second: ImageDataGenerator, a bare loop of `cv2.warpAffine` with ready matrices, and ours.

    python tests/bench/augmentation.py

Flips, rotation by 90 degrees, shifts by 0.1 and zoom by 0.1, on the same uint8 images; for all but the bare loop with
the random draws. The three take turns, so that what else the machine does meets them all.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

SETTINGS = {
    "rotation_range": 90,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.1,
    "horizontal_flip": True,
    "vertical_flip": True,
}
SHAPES = ((224, 224, 3), (28, 28, 1))
ROUNDS = 9
SECONDS = 0.3  # that each of them runs in a round
BATCHES = {(224, 224, 3): 32, (28, 28, 1): 128}


def measure(shape: tuple[int, int, int], *, rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Any]:
    """Return a row: images a second of each, medians of the rounds, and ours divided by Keras' in the same round."""
    count = BATCHES[shape]
    pixels = np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)
    runs = {"keras": _with_keras(pixels), "bare": _bare(pixels), "ours": _ours(pixels), "layers": _layers(pixels)}
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()  # once for what is only set up the first time
    for _ in range(rounds):
        for name, run in runs.items():
            speeds[name].append(_images_a_second(run, seconds))
    ratios = [ours / keras for ours, keras in zip(speeds["ours"], speeds["keras"], strict=True)]
    return {
        "shape": "x".join(map(str, shape)),
        **{f"{name}_images_s": statistics.median(values) for name, values in speeds.items()},
        "ratio": statistics.median(ratios),
        "least_ratio": min(ratios),
    }


def _images_a_second(run: Callable[[], int], seconds: float) -> float:
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        images += run()
    return images / (time.perf_counter() - start)


def _with_keras(pixels: np.ndarray) -> Callable[[], int]:
    """Let `flow` do its work, as `fit` would: it draws, transforms and collects a batch of 32."""
    from trainkit.backend import tf

    generator = tf.keras.preprocessing.image.ImageDataGenerator(**SETTINGS)
    batches = generator.flow(pixels, batch_size=len(pixels), shuffle=False)
    return lambda: len(next(batches))


def _bare(pixels: np.ndarray) -> Callable[[], int]:
    import cv2

    from trainkit.data._augmentation._draws import draw
    from trainkit.data._augmentation._settings import Augmentation
    from trainkit.data._augmentation._transforms import transform_matrices

    _, height, width, channels = pixels.shape
    indices = np.arange(len(pixels))
    draws = draw(
        Augmentation(**SETTINGS), seed=0, epoch=0, indices=indices, height=height, width=width, channels=channels
    )
    matrices = transform_matrices(draws.transforms, height, width)

    def run() -> int:
        for image, matrix in zip(pixels, matrices, strict=True):
            cv2.warpAffine(
                image,
                matrix,
                (width, height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
        return len(pixels)

    return run


def _ours(pixels: np.ndarray) -> Callable[[], int]:
    from trainkit.data._augmentation._settings import Augmentation
    from trainkit.data._augmentation._warping import augment_batch

    augmentation, indices, epoch = Augmentation(**SETTINGS), np.arange(len(pixels)), iter(range(10**9))

    def run() -> int:
        return len(augment_batch(pixels, augmentation, seed=0, epoch=next(epoch), indices=indices))

    return run


def _layers(pixels: np.ndarray) -> Callable[[], int]:
    """Run Keras' augmentation layers in tf.data, which turn, shift and zoom in three warps."""
    from trainkit.backend import keras, tf

    layers = keras.Sequential(
        [
            keras.layers.RandomFlip(),
            keras.layers.RandomRotation(0.25, fill_mode="nearest"),
            keras.layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),
            keras.layers.RandomZoom(0.1, 0.1, fill_mode="nearest"),
        ]
    )

    def transform(batch: Any) -> Any:
        return layers(tf.cast(batch, tf.float32), training=True)

    data = tf.data.Dataset.from_tensor_slices(pixels).repeat().batch(len(pixels))
    batches = iter(data.map(transform, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))
    return lambda: len(next(batches))


def rows() -> list[dict[str, Any]]:
    """Return a row for each shape."""
    return [measure(shape) for shape in SHAPES]


def main() -> None:
    """Print the rows."""
    print(f"{'images':<12}{'Keras':>9}{'layers':>9}{'bare loop':>11}{'ours':>9}{'ratio':>8}{'least':>8}")
    for row in rows():
        keras, layers, bare, ours = (round(row[f"{name}_images_s"]) for name in ("keras", "layers", "bare", "ours"))
        ratios = f"{row['ratio']:>8.1f}{row['least_ratio']:>8.1f}"
        print(f"{row['shape']:<12}{keras:>9}{layers:>9}{bare:>11}{ours:>9}{ratios}", flush=True)


if __name__ == "__main__":
    main()
