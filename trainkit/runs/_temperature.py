"""One number that makes a network as sure as it is right: the temperature by which its logits are divided.

Guo et al. 2017, arXiv:1706.04599. Labels stay what they are: the order of the logits does not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainkit.runs._calibration import measure_reliability
from trainkit.runs._figures import wilson_interval

_MOST = 100.0  # of the logits' deviation, and the least is its inverse of that
_STEPS = 60  # of bisection, after which the interval is as narrow as float64
# Few images do not prove a temperature, and one that is not proven makes matters worse as often as better. It is held
# to 99 %: by twice the gain in log-likelihood, chi-squared of one degree (Wilks), and by its own standard error.
_LEAST_RATIO = 6.635
_LEAST_ERRORS = 2.576
_STEP = 1e-4  # of its logarithm, for the curvature


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The logits of N images whose labels are known, float64.

    One class an image has either a softmax, or of two classes one sigmoid, whose logits are `[-z, z]`; where an image
    may have several labels, each class has a sigmoid of its own.
    """

    logits: np.ndarray  # (N, classes)
    labels: np.ndarray  # int (N,); or, of several labels an image, 0 and 1, (N, classes)
    kind: str  # softmax or sigmoid

    def probabilities(self, temperature: float = 1.0) -> np.ndarray:
        """Return `(N, classes)`."""
        scaled = self.logits / temperature
        if self.kind == "sigmoid":
            return np.asarray(np.exp(-np.logaddexp(0.0, -scaled)))
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def losses(self, temperature: float) -> np.ndarray:
        """Return the cross-entropy of each image, `(N,)`; of several labels the sum over them."""
        if self.kind == "sigmoid":
            return np.asarray(np.logaddexp(0.0, -self._margins() / temperature).sum(axis=1))
        scaled = self.logits / temperature
        most = scaled.max(axis=1)
        whole = most + np.log(np.exp(scaled - most[:, None]).sum(axis=1))
        return np.asarray(whole - scaled[np.arange(len(scaled)), self.labels])

    def slopes(self, temperature: float) -> np.ndarray:
        """Return the derivatives of `losses` by the inverse of the temperature, in which they are convex."""
        if self.kind == "sigmoid":
            margins = self._margins()
            return np.asarray(-(margins * np.exp(-np.logaddexp(0.0, margins / temperature))).sum(axis=1))
        expected = (self.probabilities(temperature) * self.logits).sum(axis=1)
        return np.asarray(expected - self.logits[np.arange(len(self.logits)), self.labels])

    def answers(self, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """Return how sure each answer is and whether it is right: one an image, or one for each class of each image."""
        probabilities = self.probabilities(temperature)
        if self.labels.ndim == 2:
            there = self.logits >= 0
            confidence = np.where(there, probabilities, 1 - probabilities)
            return confidence.ravel(), (there == self.labels.astype(bool)).ravel()
        return probabilities.max(axis=1), self.logits.argmax(axis=1) == self.labels

    def expected_error(self, temperature: float = 1.0) -> float:
        """Return the expected calibration error, of 15 bins."""
        return measure_reliability(*self.answers(temperature)).expected_error

    def _margins(self) -> np.ndarray:
        """Return the logits of what is the case: `(N, 1)`, or for several labels `(N, classes)`."""
        if self.labels.ndim == 2:
            return np.where(self.labels.astype(bool), self.logits, -self.logits)
        return np.asarray(self.logits[np.arange(len(self.logits)), self.labels][:, None])


def fit_temperature(scores: Scores) -> float:
    """Return the temperature to divide logits by, of six digits; 1 where the images do not prove that it is another.

    It is the one of the least cross-entropy (Guo et al. 2017), one for all classes, where that differs from 1 beyond
    chance. A network is never made surer, in the mean, than its answers are right at least, by the 95 % interval of
    that share: the images may have chosen the epoch, and if all came out right, it would become infinitely sure.
    """
    best = _minimize(scores)
    if best is None or not _is_proven(scores, best):
        return 1.0
    return float(f"{best if best > 1 else _no_surer_than_right(scores, best):.6g}")


def _minimize(scores: Scores) -> float | None:
    """Return the temperature of the least loss; none where one is as good as another."""
    spread = scores.logits.std()
    if not spread > 0:
        return None
    low, high = np.log(spread / _MOST), np.log(spread * _MOST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if scores.slopes(float(np.exp(middle))).mean() < 0 else (middle, high)
    return float(np.exp((low + high) / 2))


def _is_proven(scores: Scores, best: float) -> bool:
    """Whether the temperature of the least loss differs from 1 beyond chance."""
    if len(scores.labels) < 2:
        return False
    gain = scores.losses(1.0).sum() - scores.losses(best).sum()
    steps = [scores.slopes(best * float(np.exp(step))).mean() for step in (-_STEP, _STEP)]
    curvature = (steps[0] - steps[1]) / (2 * _STEP)
    error = scores.slopes(best).std(ddof=1) / np.sqrt(len(scores.labels))  # of the logarithm, times the curvature
    return bool(2 * gain > _LEAST_RATIO and abs(np.log(best)) * curvature > _LEAST_ERRORS * error)


def _no_surer_than_right(scores: Scores, least: float) -> float:
    """Return the least temperature from `least` to 1 at which the mean confidence is within what is right at least."""
    count = len(scores.labels)
    bound = wilson_interval(round(scores.answers()[1].mean() * count), count)[0]
    if scores.answers(least)[0].mean() <= bound:
        return least
    low, high = np.log(least), 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        sure = scores.answers(float(np.exp(middle)))[0].mean()
        low, high = (middle, high) if sure > bound else (low, middle)
    return float(np.exp(high))
