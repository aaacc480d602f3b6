"""The command's name, its version and its help; the commands are in the modules beside this one."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a folder of photographs to a classifier running in OpenCV, with the same answers.",
    epilog="Example: trainkit train digits && trainkit export latest",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"trainkit {version('trainkit')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a folder of photographs to a classifier running in OpenCV, with the same answers."""
