"""What the commands share: arguments of the same meaning, and how they print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Experiments = Annotated[Path, typer.Option(help="The folder of runs.", metavar="DIR")]
Exported = Annotated[Path, typer.Option(help="The folder of bundles.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's path or name, or `latest`.")]
BundleArgument = Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's path or name.")]
ManifestArgument = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="A bundle's path or name, or a manifest written by hand.")
]

EXPERIMENTS, EXPORTED = Path("experiments"), Path("exported")


def print_json(data: Any) -> None:
    """Print one JSON document, in ASCII where the reader may not know UTF-8."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(data, indent=2, ensure_ascii=plain, allow_nan=False))


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print rows under their column names: fitted to a terminal, one line each elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console()
    # Into a file or a pipe a row stays one line, however long.
    Console(width=None if console.is_terminal else 400).print(table)


def to_text(value: float | None, form: str = "{:.4f}") -> str:
    """Write a number, or a dash for none."""
    return "-" if value is None else form.format(value)


def print_predictions(images: list[Path], results: list[dict[str, Any]], as_json: bool) -> None:
    """Print the labels of images, a row each."""
    if as_json:
        print_json(results)
        return
    rows = [
        [str(image), found["label"], to_text(found["probability"])]
        for image, result in zip(images, results, strict=True)
        for found in result["predictions"] or [{"label": "-", "probability": None}]
    ]
    print_table(["image", "label", "probability"], rows)
