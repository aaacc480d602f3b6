"""The figures of a comparison, and the tolerances that they are held to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from trainkit.deploy.python._values import MAX_TOLERANCE, PROBABILITY_TOLERANCE
from trainkit.runs._notebook import heading_html, table_html

LOGIT_TOLERANCE = 1e-4  # of the standard deviation of all logits
_OWN_FACTOR = 4  # how much further off than onnxruntime on the same graph OpenCV may be


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far one runtime is from Keras, over all images and classes."""

    version: str
    top1_agreement: float  # the share of images with the same label
    max_abs_difference: float  # of probabilities
    max_relative_logit_difference: float  # divided by the standard deviation of Keras' logits

    def within(self, probability_tolerance: float, logit_tolerance: float) -> bool:
        """Whether all labels agree and the differences are within the tolerances; a NaN never is."""
        return (
            self.top1_agreement == 1
            and self.max_abs_difference <= probability_tolerance
            and self.max_relative_logit_difference <= logit_tolerance
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Agreement:
    """What a check found. The figures are the worst of all runtimes.

    The tolerances are 1e-5 for probabilities and 1e-4 of their standard deviation for logits. Where a network is
    sensitive to float32 rounding, rounding alone costs more than that. How much, onnxruntime shows on the same graph:
    four times its own difference is then the tolerance, up to 1e-3.
    """

    images: int
    max_abs_pixel_difference: float  # training's tensor against the blob, in the blob's own terms
    runtimes: dict[str, Difference]
    probability_tolerance: float = PROBABILITY_TOLERANCE
    logit_tolerance: float = LOGIT_TOLERANCE

    @property
    def loosened(self) -> bool:
        """Whether onnxruntime's own difference set a tolerance that was needed."""
        opencv = self.runtimes["opencv"]
        return self.ok and not opencv.within(PROBABILITY_TOLERANCE, LOGIT_TOLERANCE)

    @property
    def top1_agreement(self) -> float:
        """The share of images with the label that Keras gives, 0 to 1."""
        return min(difference.top1_agreement for difference in self.runtimes.values())

    @property
    def max_abs_difference(self) -> float:
        """The largest difference of two probabilities."""
        return worst(difference.max_abs_difference for difference in self.runtimes.values())

    @property
    def max_relative_logit_difference(self) -> float:
        """The largest difference of two logits, divided by the standard deviation of Keras' logits."""
        return worst(difference.max_relative_logit_difference for difference in self.runtimes.values())

    @property
    def ok(self) -> bool:
        """Whether the pixels are equal and every runtime is within the tolerances."""
        return self.max_abs_pixel_difference == 0 and all(
            difference.within(self.probability_tolerance, self.logit_tolerance) for difference in self.runtimes.values()
        )

    def __repr__(self) -> str:
        """Return `Agreement(360 images: 100.00% same labels, probabilities within 2.4e-07, ok)`."""
        return (
            f"Agreement({self.images:,} images: {self.top1_agreement:.2%} same labels, "
            f"probabilities within {self.max_abs_difference:.1e}, {'ok' if self.ok else 'not ok'})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (
                f"{name} {one.version}",
                f"{one.top1_agreement:.2%}",
                f"{one.max_abs_difference:.1e}",
                f"{one.max_relative_logit_difference:.1e}",
            )
            for name, one in self.runtimes.items()
        ]
        verdict = "answers as Keras does" if self.ok else "does not answer as Keras does"
        title = f"{self.images:,} images, pixels differ by {self.max_abs_pixel_difference:g}: {verdict}"
        columns = ("runtime", "same labels", "probabilities differ by", "logits differ by (of their deviation)")
        return heading_html(title) + table_html(columns, rows)

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON has them; one that is no number is `null`."""
        return {
            "images": self.images,
            "top1_agreement": self.top1_agreement,
            "max_abs_difference": _finite(self.max_abs_difference),
            "max_relative_logit_difference": _finite(self.max_relative_logit_difference),
            "max_abs_pixel_difference": _finite(self.max_abs_pixel_difference),
            "probability_tolerance": self.probability_tolerance,
            "logit_tolerance": self.logit_tolerance,
            "runtimes": {
                name: {key: _finite(value) for key, value in asdict(difference).items()}
                for name, difference in self.runtimes.items()
            },
        }


def worst(values: Iterable[float]) -> float:
    """Return the largest of some differences; a NaN is worse than any."""
    listed = list(values)
    return math.nan if any(map(math.isnan, listed)) else max(listed)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def compare_answers(version: str, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray]) -> Difference:
    """Hold a runtime's answers against those of Keras; both are `probabilities` and `logits`, (N, classes)."""
    labels = expected["probabilities"].argmax(1), actual["probabilities"].argmax(1)
    spread = max(float(expected["logits"].std()), float(np.finfo(np.float32).tiny))
    return Difference(
        version=version,
        top1_agreement=float((labels[0] == labels[1]).mean()),
        max_abs_difference=max_difference(expected["probabilities"], actual["probabilities"]),
        max_relative_logit_difference=max_difference(expected["logits"], actual["logits"]) / spread,
    )


def max_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two arrays, infinity where their shapes differ."""
    return float(np.abs(one - other).max()) if one.shape == other.shape else math.inf


def build_agreement(
    differences: Mapping[str, Difference], *, images: int, max_abs_pixel_difference: float, yardstick: Difference | None
) -> Agreement:
    """Put the figures together, with the tolerances that they are held to.

    Args:
        differences: by runtime.
        images: how many were compared.
        max_abs_pixel_difference: of the blobs.
        yardstick: how far onnxruntime is from Keras on the same graph; `None` where the usual tolerances hold.
    """
    return Agreement(
        images=images,
        max_abs_pixel_difference=max_abs_pixel_difference,
        runtimes=dict(differences),
        probability_tolerance=_tolerance(PROBABILITY_TOLERANCE, yardstick.max_abs_difference if yardstick else 0.0),
        logit_tolerance=_tolerance(LOGIT_TOLERANCE, yardstick.max_relative_logit_difference if yardstick else 0.0),
    )


def _tolerance(usual: float, own: float) -> float:
    """Return what OpenCV may differ by: the usual, or four times what onnxruntime differs by on the same graph."""
    if not math.isfinite(own):
        return usual
    return max(usual, min(_OWN_FACTOR * own, MAX_TOLERANCE))
