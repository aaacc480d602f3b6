"""What some tests need that pip does not install: a compiler, Node.js, a browser."""

from __future__ import annotations

import os
from typing import Literal, NoReturn

import pytest


def is_required(kind: str) -> bool:
    """Whether the machine must have what tests of this kind need: the gate sets TRAINKIT_REQUIRE, as cpp,node,web."""
    return kind in os.environ.get("TRAINKIT_REQUIRE", "").split(",")


def do_without(kind: Literal["cpp", "node", "web"], reason: str) -> NoReturn:
    """Skip the test, or the module that is being imported; where the kind is required, fail instead."""
    if is_required(kind):
        pytest.fail(f"{reason}. TRAINKIT_REQUIRE names {kind}, so this is no reason to skip", pytrace=False)
    pytest.skip(reason, allow_module_level=True)
