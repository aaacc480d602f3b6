"""Images with labels that come one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Stream:
    """What can be read from its beginning to its end."""

    name: str  # for messages
    elements: Callable[[], Iterable[tuple[Any, Any]]]  # image and label, or batches of them
    class_names: list[str] | None  # in the order of their numbers; `None` where nobody says
    warnings: list[str] = field(default_factory=list)  # filled while it is read
    is_bounded: bool = True  # whether it says how much of it there is
