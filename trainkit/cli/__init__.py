"""The `trainkit` command."""

from trainkit.cli._main import app, main

__all__ = ["app", "main"]
