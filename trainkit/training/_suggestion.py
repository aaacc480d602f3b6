"""What `find_learning_rate` found; in a module of its own, for which TensorFlow need not be loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainkit.runs._notebook import curves_html, figures_html


@dataclass(frozen=True, slots=True, repr=False)
class LearningRates:
    """The loss at rising learning rates, and the one to take."""

    rates: list[float]
    losses: list[float]  # smoothed
    suggestion: float | None  # `None` where the loss falls at none of them

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {"suggestion": self.suggestion, "learning_rates": self.rates, "losses": self.losses}

    def __repr__(self) -> str:
        """Return `LearningRates(suggestion 0.0021, of 98 from 1e-06 to 0.0422)`."""
        tried = f"of {len(self.rates)} from {self.rates[0]:.3g} to {self.rates[-1]:.3g}" if self.rates else "of none"
        return f"LearningRates({self._verdict()}, {tried})"

    def _verdict(self) -> str:
        return "no suggestion" if self.suggestion is None else f"suggestion {self.suggestion:g}"

    def _repr_html_(self) -> str:
        lowest = min(self.losses, default=0.0)
        at_start = self.losses[0] if self.losses else 0.0
        # The end, where it explodes, would hide all the rest.
        most = at_start + 0.5 * max(at_start - lowest, 0.05 * abs(at_start))
        shown = [(rate, loss) for rate, loss in zip(self.rates, self.losses, strict=True) if loss <= most]
        figures = {
            "suggestion": "none: the loss falls at none of them" if self.suggestion is None else self.suggestion,
            "lowest loss": f"{lowest:.4g}",
        }
        chart = curves_html("smoothed loss by learning rate", {"loss": shown}, logarithmic=True, mark=self.suggestion)
        return figures_html("Learning rates", figures) + chart
