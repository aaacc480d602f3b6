"""A few kills of each kind; `tests/kills.py` has more, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import WORK, Kills


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("kind", WORK)
def test_what_is_killed_at_any_moment_goes_on(tmp_path: Path, kind: str) -> None:
    kills = Kills(tmp_path, seed=0)
    WORK[kind](kills, 3)
    assert kills.counts[kind] >= 3
