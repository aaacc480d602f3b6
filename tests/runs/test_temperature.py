"""The temperature of a network, against minimisers and logarithms that others wrote."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, softmax
from sklearn.metrics import log_loss

from trainkit.runs._figures import wilson_interval
from trainkit.runs._temperature import Scores, fit_temperature

KINDS = ("softmax", "one sigmoid", "several")


def draw(kind: str, count: int, *, sharper: float, seed: int = 0) -> Scores:
    """Return logits that would be calibrated if they were divided by `sharper`, and labels drawn by chance."""
    generator = np.random.default_rng(seed)
    if kind == "softmax":
        logits = generator.normal(0, 2, (count, 5))
        labels = np.array([generator.choice(5, p=row) for row in softmax(logits, axis=1)])
    elif kind == "one sigmoid":
        column = generator.normal(0, 2, (count, 1))
        logits, labels = np.hstack([-column, column]), (generator.random(count) < expit(column[:, 0])).astype(int)
    else:
        logits = generator.normal(0, 2, (count, 4))
        labels = (generator.random((count, 4)) < expit(logits)).astype(np.float32)
    return Scores(logits=logits * sharper, labels=labels, kind="softmax" if kind == "softmax" else "sigmoid")


def loss_by_sklearn(scores: Scores, temperature: float) -> float:
    logits = scores.logits / temperature
    if scores.kind == "softmax":
        return float(log_loss(scores.labels, softmax(logits, axis=1), labels=range(logits.shape[1])))
    if scores.labels.ndim == 1:
        return float(log_loss(scores.labels, expit(logits[:, 1])))
    return float(log_loss(scores.labels.ravel(), expit(logits).ravel())) * logits.shape[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sharper", [1.3, 1.7, 6.0, 4000.0])
def test_temperature_is_that_of_the_least_loss(kind: str, sharper: float) -> None:
    scores = draw(kind, 3000, sharper=sharper)
    found = fit_temperature(scores)
    bounds = (sharper / 4, sharper * 4)
    expected = minimize_scalar(lambda at: loss_by_sklearn(scores, at), bounds=bounds, options={"xatol": 1e-6}).x
    assert found == pytest.approx(expected, rel=1e-3) and found == pytest.approx(sharper, rel=0.1)
    assert scores.losses(found).mean() == pytest.approx(loss_by_sklearn(scores, found), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_network_that_is_too_unsure_becomes_surer_and_not_surer_than_right(kind: str) -> None:
    scores = draw(kind, 3000, sharper=0.4)
    found = fit_temperature(scores)
    confidence, right = scores.answers(found)
    low = wilson_interval(round(right.mean() * len(scores.labels)), len(scores.labels))[0]
    assert 0.38 < found < 0.5 and confidence.mean() <= low + 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_slopes_are_those_of_the_losses(kind: str) -> None:
    scores, step = draw(kind, 40, sharper=2), 1e-5
    for temperature in (0.5, 1.0, 3.0):
        near = [scores.losses(1 / (1 / temperature + sign * step)) for sign in (1, -1)]
        np.testing.assert_allclose((near[0] - near[1]) / (2 * step), scores.slopes(temperature), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_is_better_and_labels_stay(kind: str) -> None:
    fitted, new = draw(kind, 2000, sharper=3), draw(kind, 4000, sharper=3, seed=1)
    temperature = fit_temperature(fitted)
    assert new.expected_error(temperature) < new.expected_error() / 4
    before, after = new.answers(), new.answers(temperature)
    np.testing.assert_array_equal(before[1], after[1])
    probabilities = new.probabilities(temperature)
    assert (before[0] > after[0]).all() and probabilities.min() >= 0 and probabilities.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_calibrated_stays_as_it_is(kind: str) -> None:
    found = [fit_temperature(draw(kind, 200, sharper=1, seed=seed)) for seed in range(20)]
    assert found.count(1.0) >= 19, found


def test_few_images_prove_nothing() -> None:
    assert fit_temperature(draw("softmax", 6, sharper=1.7)) == 1
    assert fit_temperature(draw("softmax", 1, sharper=6)) == 1
    assert fit_temperature(Scores(logits=np.zeros((40, 3)), labels=np.arange(40) % 3, kind="softmax")) == 1


@pytest.mark.parametrize("count", [50, 500, 5000])
def test_images_that_all_come_out_right_do_not_make_infinitely_sure(count: int) -> None:
    labels = np.arange(count) % 3
    noise = np.random.default_rng(0).normal(0, 0.2, (count, 3))
    scores = Scores(logits=np.eye(3)[labels] * 2 + noise, labels=labels, kind="softmax")
    assert scores.answers()[1].all()
    temperature = fit_temperature(scores)
    assert 0.1 < temperature < 1
    assert scores.answers(temperature)[0].mean() == pytest.approx(wilson_interval(count, count)[0], abs=1e-5)


def test_all_wrong_is_as_unsure_as_can_be() -> None:
    labels = np.arange(300) % 3
    scores = Scores(logits=np.eye(3)[(labels + 1) % 3] * 9.0, labels=labels, kind="softmax")
    assert fit_temperature(scores) == pytest.approx(100 * scores.logits.std())


def test_huge_logits_stay_finite() -> None:
    for kind in KINDS:
        scores = draw(kind, 500, sharper=4000)
        assert np.isfinite(scores.losses(1)).all() and np.isfinite(scores.probabilities()).all()
        assert np.isfinite(scores.slopes(1e-3)).all()
