"""Kernels rounded to whole numbers with a scale a channel, so that what the layer answers changes least.

The scale of each channel is the one of a grid that costs least, not that of the largest weight. Then the weights are
rounded one input after the other, and each one's error is made good by those that are not rounded yet, as the second
moments of the layer's inputs say: Frantar et al. 2022, "GPTQ", arXiv:2210.17323, equations 2 and 3.
"""

from __future__ import annotations

import numpy as np

from trainkit.exporting._small_weights._kernels import LARGEST

_CLIPPED = np.linspace(0.5, 1.0, 26)  # of a channel's largest weight, what the largest whole number may stand for
_DAMPING = 0.01  # of the mean second moment, added to each: section 3.3
_BLOCK = 64  # inputs whose errors are passed on together


def choose_scales(weights: np.ndarray, moments: np.ndarray, bits: int) -> np.ndarray:
    """Return the scale of each channel by which rounding to the nearest costs least.

    Args:
        weights: (channels, inputs).
        moments: (inputs,) the mean square of each input.
        bits: of a whole number.
    """
    largest = np.abs(weights).max(axis=1)
    largest = np.where(largest > 0, largest, 1.0)
    shares = _CLIPPED if bits == 8 else _CLIPPED[-1:]
    scales = [(share * largest / LARGEST[bits]).astype(np.float32).astype(np.float64) for share in shares]
    costs = [(weights - whole(weights, scale, bits) * scale[:, None]) ** 2 @ moments for scale in scales]
    best: np.ndarray = np.asarray(scales)[np.argmin(costs, axis=0), np.arange(len(weights))]
    return best


def whole(weights: np.ndarray, scales: np.ndarray, bits: int) -> np.ndarray:
    """Return weights (channels, inputs) as the nearest whole numbers."""
    return np.asarray(np.clip(np.rint(weights / scales[:, None]), -LARGEST[bits], LARGEST[bits]))


def round_in_turn(weights: np.ndarray, scales: np.ndarray, moments: np.ndarray, bits: int = 8) -> np.ndarray:
    """Return weights as whole numbers, each one's error made good by those behind it.

    Args:
        weights: float64 (channels, inputs).
        scales: (channels,).
        moments: float64 (inputs, inputs), the mean product of each two inputs.
        bits: of a whole number.
    """
    diagonal = np.diag(moments)
    damping = _DAMPING * float(diagonal.mean())
    if damping <= 0:  # inputs that are always zero
        return whole(weights, scales, bits)
    order = np.argsort(-diagonal, kind="stable")
    rest = weights[:, order].copy()
    damped = moments[np.ix_(order, order)] + damping * np.eye(len(order))
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    numbers = np.empty_like(rest)
    for start in range(0, rest.shape[1], _BLOCK):
        end = min(start + _BLOCK, rest.shape[1])
        errors = np.empty((len(rest), end - start))
        for column in range(start, end):
            numbers[:, column] = whole(rest[:, column, None], scales, bits)[:, 0]
            error = (rest[:, column] - numbers[:, column] * scales) / upper[column, column]
            rest[:, column:end] -= np.outer(error, upper[column, column:end])
            errors[:, column - start] = error
        rest[:, end:] -= errors @ upper[start:end, end:]
    result = np.empty_like(numbers)
    result[:, order] = numbers
    return result
