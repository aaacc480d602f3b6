"""What an explanation is: a class, its probability, and how much each pixel speaks for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Explanation(NamedTuple):
    """How much each part of a picture speaks for a class.

    Attributes:
        label: the class that is explained.
        probability: of that class, 0 to 1.
        map: float32 `(height, width)`, those of the picture itself: above 0 where it speaks for the class, below 0
            where it speaks against it, 0 where the network does not look.
    """

    label: str
    probability: float
    map: np.ndarray

    def __eq__(self, other: Any) -> bool:
        """Whether the other one says the same of every pixel."""
        if not isinstance(other, Explanation):
            return NotImplemented
        return tuple(self[:2]) == tuple(other[:2]) and np.array_equal(self.map, other.map)

    def __hash__(self) -> int:
        return hash(tuple(self[:2]))
