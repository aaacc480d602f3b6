"""One number that makes a network as sure as it is right: the temperature by which its logits are divided.

Guo et al. 2017, arXiv:1706.04599. Labels stay what they are: the order of the logits does not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainkit.runs._calibration import measure_reliability

_MOST = 100.0  # and the least is its inverse
_STEPS = 60  # of bisection, after which the interval is as narrow as float64
# Few images do not prove a temperature, and one that is not proven makes matters worse as often as better. Both are
# held to 95 %: twice the gain in log-likelihood as chi-squared of one degree (Wilks), and its mean beside its error.
_LEAST_RATIO = 3.841
_LEAST_MEAN = 1.645
_ADDED = 1.921  # right and wrong answers each, as in the middle of Wilson's interval of 95 %


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

    def slope(self, temperature: float) -> float:
        """Return the derivative of the mean loss by the inverse of the temperature, in which the loss is convex."""
        if self.kind == "sigmoid":
            margins = self._margins()
            return float(-(margins * np.exp(-np.logaddexp(0.0, margins / temperature))).sum(axis=1).mean())
        expected = (self.probabilities(temperature) * self.logits).sum(axis=1)
        return float((expected - self.logits[np.arange(len(self.logits)), self.labels]).mean())

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

    It is the one of the least cross-entropy (Guo et al. 2017), one for all classes, where that is better than 1 beyond
    chance. A network is never made surer, in the mean, than it is right with two more right and two more wrong answers:
    images that all come out right would make it infinitely sure.
    """
    best = _minimize(scores)
    gains = scores.losses(1.0) - scores.losses(best)
    error = gains.std() / np.sqrt(len(gains))
    if 2 * gains.sum() < _LEAST_RATIO or gains.mean() < _LEAST_MEAN * error:
        return 1.0
    return float(f"{best if best > 1 else _not_surer_than_right(scores, best):.6g}")


def _minimize(scores: Scores) -> float:
    low, high = -np.log(_MOST), np.log(_MOST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if scores.slope(float(np.exp(middle))) < 0 else (middle, high)
    return float(np.exp((low + high) / 2))


def _not_surer_than_right(scores: Scores, least: float) -> float:
    """Return the least temperature from `least` to 1 at which the mean confidence is within what was right."""
    count = len(scores.labels)
    bound = (scores.answers()[1].mean() * count + _ADDED) / (count + 2 * _ADDED)
    if scores.answers(least)[0].mean() <= bound:
        return least
    low, high = np.log(least), 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        sure = scores.answers(float(np.exp(middle)))[0].mean()
        low, high = (middle, high) if sure > bound else (low, middle)
    return float(np.exp(high))
