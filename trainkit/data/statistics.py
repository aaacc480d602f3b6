"""The means and the standard deviation of a training set's pixels."""

from __future__ import annotations

import numpy as np

from trainkit.preprocessing import Color


def channel_statistics(pixels: np.ndarray, color: Color) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of each channel, exactly: the sums are whole numbers.

    Args:
        pixels: uint8 `(N, height, width, channels)`, colour in the order B, G, R.
        color: the order of the result.
    """
    channels = pixels.shape[-1]
    histograms = [np.bincount(pixels[..., channel].ravel(), minlength=256) for channel in range(channels)]
    levels = np.arange(256)
    count = pixels.size // channels
    sums = [int(histogram @ levels) for histogram in histograms]
    squares = [int(histogram @ levels**2) for histogram in histograms]
    # count * squares - sum^2 in whole numbers, because the difference of two large means would lose digits.
    variances = [(count * square - total**2) / count**2 for total, square in zip(sums, squares, strict=True)]
    mean, std = tuple(total / count for total in sums), tuple(float(np.sqrt(variance)) for variance in variances)
    return (mean[::-1], std[::-1]) if color == "rgb" else (mean, std)


def mean_image(pixels: np.ndarray, color: Color) -> np.ndarray:
    """Return the mean of all images, pixel by pixel, from sums that are whole numbers.

    Args:
        pixels: uint8 `(N, height, width, channels)`, colour in the order B, G, R.
        color: the order of the result.

    Returns:
        float32 `(height, width, channels)`, 0-255.
    """
    mean = (pixels.sum(axis=0, dtype=np.int64) / len(pixels)).astype(np.float32)
    return np.ascontiguousarray(mean[..., ::-1] if color == "rgb" else mean)
