"""Whether a model is right as often as it says: the reliability of its probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainkit.runs._figures import wilson_interval

BINS = 15  # as in Guo et al. 2017
_WIDEST = 0.3  # of an interval that still says something: 10 right ones of 10, 20 of 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Answers sorted by how sure the model was: what it said and how often it was right."""

    edges: tuple[float, ...]  # of the bins, 0 to 1
    confidence: tuple[float, ...]  # its mean in each bin; NaN in an empty one
    accuracy: tuple[float, ...]  # the share that was right in each bin; NaN in an empty one
    counts: tuple[int, ...]  # answers in each bin
    low: tuple[float, ...]  # where the 95% interval of `accuracy` begins
    high: tuple[float, ...]  # where it ends
    expected_error: float  # the mean of |confidence - accuracy| over the bins, weighted by their counts: the ECE

    @property
    def unsure(self) -> tuple[bool, ...]:
        """Which bins have too few answers to say how often the model is right there."""
        return tuple(high - low > _WIDEST for low, high in zip(self.low, self.high, strict=True))


def measure_reliability(confidence: np.ndarray, right: np.ndarray, *, bins: int = BINS) -> Reliability:
    """Compare how sure a model was with how often it was right (Guo et al. 2017, arXiv:1706.04599).

    Args:
        confidence: the probability of each answer, `(N,)`, 0 to 1.
        right: whether the answer was right, `(N,)`.
        bins: of equal width; an answer on an edge belongs to the bin below it.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        said = np.bincount(place, confidence, bins) / counts
        held = np.bincount(place, right, bins) / counts
    filled = counts > 0
    intervals = [wilson_interval(*map(int, bin)) for bin in zip(np.bincount(place, right, bins), counts, strict=True)]
    error = float(np.sum(counts[filled] * np.abs(said - held)[filled]) / max(len(confidence), 1))
    return Reliability(
        edges=tuple(edges.tolist()),
        confidence=tuple(said.tolist()),
        accuracy=tuple(held.tolist()),
        counts=tuple(counts.tolist()),
        low=tuple(low for low, _ in intervals),
        high=tuple(high for _, high in intervals),
        expected_error=error,
    )
