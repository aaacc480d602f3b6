"""`trainkit report` and `trainkit compare`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli._app import app
from trainkit.cli._output import (
    EXPERIMENTS,
    EXPORTED,
    AsJson,
    Experiments,
    Exported,
    RunArgument,
    fits,
    print_json,
    print_table,
    say,
    wrapped,
)
from trainkit.cli._tables import WORDS


@app.command(epilog="Example: trainkit report latest")
def report(
    run: RunArgument, experiments: Experiments = EXPERIMENTS, exported: Exported = EXPORTED, as_json: AsJson = False
) -> None:
    """Write a run's report: one page with curves, mistakes and more.

    Also reliability, samples, layers, filters and exports; its pictures are PNG files beside it.
    """
    from trainkit.reports._report import report as report_run

    path = report_run(run, experiments=experiments, exported=exported)
    pictures = [str(picture.absolute()) for picture in sorted(path.parent.glob("*.png"))]
    if as_json:
        print_json({"report": str(path.absolute()), "pictures": pictures})
        return
    say(f"Wrote {path} and {len(pictures)} pictures beside it. Open it in a browser.")


@app.command(epilog="Example: trainkit compare latest digits --html comparison.html")
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two or more: paths, names or `latest`.")],
    html: Annotated[
        Path | None, typer.Option(help="Also write a page with the curves, a new file.", metavar="FILE")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Let runs that kept no answers answer again, for McNemar's test.")
    ] = False,
    experiments: Experiments = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """Put runs side by side: settings that differ, figures, curves.

    Two runs that were measured on the same images are compared by McNemar's
    test: whether the one is better, or chance may say so.
    """
    from trainkit.reports._comparison import compare as compare_runs
    from trainkit.reports._comparison import sparkline
    from trainkit.reports._templates import to_words

    found = compare_runs(runs, experiments=experiments, html=html, evaluate=evaluate)
    for note in found.notes:
        say(note, to=sys.stderr)
    if as_json:
        print_json(found.to_json())
        return
    rows = [[key, *map(to_words, values)] for key, values in {**found.shown_figures(), **found.settings}.items()]
    for key, curves in found.curves.items():
        shown = [[value for _, value in curve] for curve in curves]
        name = found.curve_in_words(key) if key.endswith("accuracy") and any(found.several) else key
        rows.append([name, *(f"{sparkline(one)} {_last(key, one)}" if one else "" for one in shown)])
    _print_comparison(found.names, rows)
    for test in found.tests:
        print(wrapped(str(test), sys.stdout))
    if html:
        say(f"Wrote {html}.")


def _last(key: str, values: Sequence[float]) -> str:
    """Return where a curve ends; a learning rate, which a schedule may bring to 0, with the highest one before."""
    last, highest = f"{values[-1]:.4g}", f"{max(values):.4g}"
    return f"{highest} to {last}" if key == "learning_rate" and last != highest else last


def _print_comparison(names: list[str], rows: list[list[str]]) -> None:
    """Print a column a run, under numbers where the names have no room."""
    if fits(["", *names], rows):
        print_table(["", *names], rows)
        return
    numbers = [str(number) for number in range(1, len(names) + 1)]
    for number, name in zip(numbers, names, strict=True):
        say(f"{number}  {name}")
    say()
    print_table(["", *numbers], rows, breaks=dict.fromkeys(numbers, WORDS))
