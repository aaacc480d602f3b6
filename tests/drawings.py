"""Trainings without their charts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def nothing_drawn() -> Iterator[None]:
    """Let trainings of this process draw no charts and write no page: more than half of the time of a short one.

    For tests of what else a training does. Those of `trained_run`, of commands and of reports draw them.
    """
    with pytest.MonkeyPatch.context() as patched:
        for place in ("trainkit.training._fit.draw", "trainkit.training._winner.draw"):
            patched.setattr(place, lambda run: None)
        yield
