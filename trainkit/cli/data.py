"""`trainkit data ...`: look at data before it is trained on."""

from __future__ import annotations

import typer

from trainkit.cli.app import app

data_app = typer.Typer(no_args_is_help=True, epilog="Example: trainkit data check photos/")
app.add_typer(data_app, name="data")


@data_app.callback()
def options() -> None:
    """Look at data before it is trained on."""
