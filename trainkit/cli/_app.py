"""The command's name, its version and its help; the commands are in the modules beside this one."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

# The order of a person's work: train, look at it, let it out, use it; then the lessons.
ORDER = (
    "train",
    "sweep",
    "cross-validate",
    "data",
    "settings",
    "recipes",
    "find-lr",
    "runs",
    "report",
    "compare",
    "evaluate",
    "export",
    "check",
    "bench",
    "predict",
    "detect",
    "explain",
    "clients",
    "classify",
    "faces",
    "shapes",
    "convolve",
)


class _InOrder(TyperGroup):
    """The commands, listed in `ORDER`, whatever module was imported first."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=ORDER.index)


app = typer.Typer(
    cls=_InOrder,
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
