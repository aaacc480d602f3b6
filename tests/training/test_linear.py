from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from trainkit.training import _linear
from trainkit.training._linear import predict_linearly


def blobs(classes: int, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return draw.normal(0, 1, (count, 12)) + 3.0 * np.eye(classes, 12)[labels], labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_discriminant_is_that_of_scikit_learn(classes: int) -> None:
    features, labels = blobs(classes, 200)
    asked, _ = blobs(classes, 50, seed=1)
    known = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_linear._SHRINKAGE)
    # Its covariance is the mean of those of the classes, weighted by their images: the same where all have as many.
    expected = known.fit(features, labels).predict_proba(asked)
    assert _linear._by_discriminant(features, labels, asked) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classes_are_told_apart(classes: int) -> None:
    features, labels = blobs(classes, 300)
    asked, truth = blobs(classes, 200, seed=1)
    found = predict_linearly(features, labels, asked, classes)
    assert found.sum(axis=1) == pytest.approx(np.ones(200))
    assert (found.argmax(axis=1) == truth).mean() > 0.9


def test_class_without_images_and_feature_without_deviation_do_no_harm() -> None:
    features, labels = blobs(2, 60)
    features[:, 3] = 7
    found = predict_linearly(features, labels * 2, features, 3)
    assert np.isfinite(found).all() and (found[:, 1] == 0).all()
    assert predict_linearly(features, np.full(60, 2), features, 3).tolist() == [[0, 0, 1]] * 60
