"""Why a network answered as it did: which part of a picture speaks for a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.explaining._explain import explain
    from trainkit.explaining._explanation import Explanation

__all__ = ["Explanation", "explain"]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Explanation": "trainkit.explaining._explanation",
        "explain": "trainkit.explaining._explain",
    },
)
