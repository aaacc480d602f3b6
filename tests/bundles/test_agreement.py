"""What the figures of a comparison come to."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from trainkit.bundles._agreement import Agreement, Difference, build_agreement, compare_answers


def difference(**values: float) -> Difference:
    equal = {"top1_agreement": 1.0, "max_abs_difference": 0.0, "max_relative_logit_difference": 0.0}
    return Difference(version="1", **{**equal, **values})


@pytest.mark.parametrize(
    "values",
    [
        {"top1_agreement": 0.9999},
        {"max_abs_difference": 1.1e-5},
        {"max_relative_logit_difference": 1.1e-4},
        {"max_abs_difference": math.nan},
        {"max_relative_logit_difference": math.inf},
    ],
)
def test_agreement_is_as_good_as_its_worst_runtime(values: dict[str, float]) -> None:
    agreement = Agreement(
        images=1, max_abs_pixel_difference=0.0, runtimes={"opencv": difference(), "onnxruntime": difference(**values)}
    )
    assert not agreement.ok
    json.dumps(agreement.to_json(), allow_nan=False)
    (name,) = values
    worst = getattr(agreement, name)
    assert worst == values[name] or (math.isnan(worst) and math.isnan(values[name]))


def test_agreement_with_other_pixels_is_not_one() -> None:
    assert Agreement(images=1, max_abs_pixel_difference=0.0, runtimes={"opencv": difference()}).ok
    assert not Agreement(images=1, max_abs_pixel_difference=1e-7, runtimes={"opencv": difference()}).ok


@pytest.mark.parametrize(
    ("own", "tolerance"),
    [
        (None, 1e-5),
        (1e-6, 1e-5),  # four times that is less than the usual
        (1e-5, 4e-5),
        (1e-3, 1e-3),  # never more
        (math.nan, 1e-5),
        (math.inf, 1e-5),
    ],
)
def test_tolerance_is_four_times_what_onnxruntime_differs_by(own: float | None, tolerance: float) -> None:
    agreement = build_agreement(
        {"opencv": difference()},
        images=1,
        max_abs_pixel_difference=0.0,
        yardstick=None if own is None else difference(max_abs_difference=own, max_relative_logit_difference=10 * own),
    )
    assert agreement.probability_tolerance == pytest.approx(tolerance)
    assert agreement.logit_tolerance == pytest.approx(min(10 * tolerance, 1e-3))


def test_answers_differ_by_the_largest_of_their_differences() -> None:
    logits = np.array([[1.0, 3.0], [2.0, 0.0]])
    expected = {"logits": logits, "probabilities": logits / 4}
    shifted = {"logits": logits + np.array([[0.5, 0.0], [0.0, -0.25]]), "probabilities": logits[::-1] / 4}
    found = compare_answers("1", expected, shifted)
    assert (found.version, found.top1_agreement, found.max_abs_difference) == ("1", 0.0, 0.75)
    assert found.max_relative_logit_difference == pytest.approx(0.5 / logits.std())
    other_shape = compare_answers("1", expected, {"logits": logits, "probabilities": logits[:, :1]})
    assert math.isinf(other_shape.max_abs_difference)
