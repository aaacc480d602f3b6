"""What the commands share: arguments of the same meaning, and how they print."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from trainkit.deploy.python._showing import harmless

Experiments = Annotated[Path, typer.Option(help="The folder of runs.", metavar="DIR")]
Exported = Annotated[Path, typer.Option(help="The folder of bundles.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's path or name, or `latest`.")]
BundleArgument = Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's path or name.")]
Predictions = Annotated[
    Path | None,
    typer.Option(help="Write a row an image: to a .csv file, or as Parquet into a folder.", metavar="FILE.csv|DIR"),
]
ManifestArgument = Annotated[
    str, typer.Argument(metavar="MANIFEST", help="A bundle's path or name, or a manifest written by hand.")
]

EXPERIMENTS, EXPORTED = Path("experiments"), Path("exported")
INTERVAL = "95% interval"  # of a share, as a column has it

# What JSON may hold as it is but a terminal would obey: the rest of what `harmless` writes out.
_HARMFUL = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def say(text: str = "", *, to: TextIO | None = None, flush: bool = False) -> None:
    """Print a line, which stays one whatever is in it: what a terminal would obey is written out.

    Args:
        text: the line.
        to: a stream other than standard output.
        flush: whether it is to be seen at once.
    """
    print(harmless(text), file=to, flush=flush)


def print_json(data: Any) -> None:
    """Print one JSON document: in ASCII where the reader may not know UTF-8, and harmless on a terminal."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(data, indent=2, ensure_ascii=plain, allow_nan=False)
    print(_HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def print_table(
    columns: list[str],
    rows: list[list[str]],
    *,
    breaks: Mapping[str, str] | None = None,
    optional: Sequence[str] = (),
) -> None:
    """Print rows under their column names: fitted to a terminal, one line each elsewhere.

    `trainkit.cli._tables.lay_out` says what `breaks` and `optional` are.
    """
    from trainkit.cli._tables import lay_out

    table = lay_out(columns, rows, width=_width(), breaks=breaks, optional=optional)
    for line in table.heading:
        typer.secho(line, bold=True)
    for line in table.body:
        say(line)
    if table.left_out:
        say(f"Not shown, for want of room: {', '.join(table.left_out)}. --json has it.", to=sys.stderr)


def fits(columns: list[str], rows: list[list[str]]) -> bool:
    """Whether a table can be printed with a line a row, in full."""
    from trainkit.cli._tables import natural_width

    width = _width()
    return width is None or natural_width(columns, rows) <= width


def _width() -> int | None:
    """Return the terminal's width in letters; `None` in a pipe, where a row stays one line, however long."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrapped(sentence: str, stream: TextIO) -> str:
    """Return a harmless sentence wrapped between its words for a terminal; elsewhere it stays one line."""
    sentence = harmless(sentence)
    if not stream.isatty():
        return sentence
    # Where standard output is none, the terminal is that of the stream.
    columns = shutil.get_terminal_size(os.get_terminal_size(stream.fileno())).columns
    return textwrap.fill(sentence, columns or 80, break_long_words=False, break_on_hyphens=False)


def to_text(value: float | None, form: str = "{:.4f}") -> str:
    """Write a number, or a dash for none."""
    return "-" if value is None else form.format(value)


def say_what_chose(*sides: str | None) -> None:
    """Say of figures from validation images what they are worth; of others nothing."""
    from trainkit.runs._figures import ALSO_CHOSE

    if "val" in sides:
        say(f"Measured on {ALSO_CHOSE}: of new images, fewer may come out right.")


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
