"""`trainkit runs` and `trainkit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import EXPERIMENTS, AsJson, Experiments, RunArgument, print_json, print_table, say, to_text


@app.command(epilog="Example: trainkit runs --filter 'test_accuracy>=0.9' --sort test_accuracy --reverse")
def runs(
    sort: Annotated[str | None, typer.Option(help="The column to sort by.", metavar="COLUMN")] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    filter_: Annotated[
        list[str] | None,
        typer.Option("--filter", help="COLUMN=VALUE, or with !=, >=, <=, > or <; repeatable.", metavar="FILTER"),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="How many, the first ones.", min=1)] = None,
    experiments: Experiments = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """List the runs: data, model, test accuracy, time and status."""
    from trainkit.runs._run import summarize_runs

    rows = summarize_runs(experiments, sort=sort, reverse=reverse, filters=filter_ or [], limit=limit)
    if as_json:
        print_json(rows)
        return
    columns = ["run", "data", "model", "epochs", "test accuracy", "split", "seconds", "status"]
    print_table(columns, [_run_row(row) for row in rows], optional=["seconds", "split"])


def _run_row(row: dict[str, Any]) -> list[str]:
    return [
        row["run"],
        _short(row["data"]),
        _short(row["model"]),
        to_text(row["epochs"], "{}"),
        to_text(row["test_accuracy"]),
        row["test_split"] or "-",
        to_text(row["seconds"], "{:.1f}"),
        str(row["status"]),
    ]


def _short(name: str | None) -> str:
    """Return a name, or of a path the end, which a filter takes too."""
    if name is None:
        return "-"
    return f".../{Path(name).name}" if Path(name).is_absolute() else name


@app.command(epilog="Example: trainkit evaluate latest")
def evaluate(run: RunArgument, experiments: Experiments = EXPERIMENTS, as_json: AsJson = False) -> None:
    """Measure a run on its test images again, class by class."""
    from trainkit.runs._evaluation import accuracy_in_words, has_several_labels
    from trainkit.runs._evaluation import evaluate as evaluate_run

    figures = evaluate_run(run, experiments=experiments)
    if as_json:
        print_json(figures)
        return
    accuracy = accuracy_in_words(figures)
    say(f"{figures['test_split']} {accuracy} {figures['test_accuracy']:.4f}, loss {figures['test_loss']:.4f}")
    several = has_several_labels(figures)
    if several:
        shares = ("mean_average_precision", "subset_accuracy", "macro_f1", "micro_f1")
        say(", ".join(f"{key.replace('_', ' ').replace('f1', 'F1')} {to_text(figures[key])}" for key in shares))
    columns = ["precision", "recall", "f1", *(["average_precision"] if several else [])]
    rows = [
        [row["label"], *(to_text(row[key], "{:.3f}") for key in columns), str(row["images"])]
        for row in figures["classes"]
    ]
    print_table(["class", *(column.replace("_", " ") for column in columns), "images"], rows)
