"""The `trainkit` command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.cli._commands import app
    from trainkit.cli._main import main

__all__ = ["app", "main"]

__getattr__, __dir__ = attach(__name__, {"app": "trainkit.cli._commands", "main": "trainkit.cli._main"})
