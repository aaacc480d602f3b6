"""`trainkit runs` and `trainkit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import (
    EXPERIMENTS,
    EXPORTED,
    INTERVAL,
    AsJson,
    Experiments,
    Exported,
    Predictions,
    print_json,
    print_table,
    say,
    say_what_chose,
    to_text,
)
from trainkit.cli._reading import reads_data


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
    """List the runs: data, model, accuracy, time and status."""
    from trainkit.runs._run import summarize_runs

    rows = summarize_runs(experiments, sort=sort, reverse=reverse, filters=filter_ or [], limit=limit)
    if as_json:
        print_json(rows)
        return
    sides = {row["test_split"] for row in rows if row["test_accuracy"] is not None}
    results = [_result_of(row) for row in rows]
    accuracy = _name_of_shares(results, "" if sides - {"test"} else "test ")
    columns = ["run", "data", "model", "epochs", accuracy, INTERVAL, "split", "seconds", "status"]
    # Which images a figure is of may only be left out where the column's name says it.
    optional = ["seconds", INTERVAL] if sides - {"test"} else ["split", "seconds", INTERVAL]
    shown = [_run_row(row, result) for row, result in zip(rows, results, strict=True)]
    print_table(columns, shown, optional=optional)
    say_what_chose(*sides)


def _result_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of a run that was measured; nothing of another."""
    from trainkit.runs._run import Run

    return {} if row["test_accuracy"] is None else Run(Path(row["path"])).result


def _name_of_shares(results: list[dict[str, Any]], of: str) -> str:
    """Return what a column of `test_accuracy` is called: an accuracy is a share of right answers too."""
    from trainkit.runs._figures import accuracy_in_words, has_several_labels

    return of + accuracy_in_words(next(filter(has_several_labels, results), {}))


def _run_row(row: dict[str, Any], result: dict[str, Any]) -> list[str]:
    from trainkit.runs._figures import accuracy_interval, interval_in_words, side_in_words

    return [
        row["run"],
        _short(row["data"]),
        _short(row["model"]),
        to_text(row["epochs"], "{}"),
        to_text(row["test_accuracy"]),
        interval_in_words(accuracy_interval(result)),
        side_in_words(row["test_split"]),
        to_text(row["seconds"], "{:.1f}"),
        str(row["status"]),
    ]


def _headline(figures: dict[str, Any], data: str | None) -> str:
    """Return the accuracy with its interval, and of what it is."""
    from trainkit.runs._figures import (
        accuracy_in_words,
        accuracy_interval,
        count_right,
        interval_in_words,
        side_in_words,
    )

    counts, of = count_right(figures), "" if data is not None else f"{side_in_words(figures['test_split'])} "
    images = counts[1] if counts else figures.get("images")
    within = f" ({INTERVAL} {interval_in_words(accuracy_interval(figures))}, {images} images)" if images else ""
    where = f" on {_short(data)}" if data is not None else ""
    share = f"{of}{accuracy_in_words(figures)} {figures['test_accuracy']:.4f}"
    return f"{share}{within}, loss {figures['test_loss']:.4f}{where}"


def _short(name: str | None) -> str:
    """Return a name, or of a path the end, which a filter takes too."""
    if name is None:
        return "-"
    return f".../{Path(name).name}" if Path(name).is_absolute() else name


@app.command(epilog="Example: trainkit evaluate latest --data new-photos/ --predictions answers.csv")
@reads_data
def evaluate(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|BUNDLE", help="A run's path or name, or `latest`; with --data or --others a bundle."
        ),
    ],
    data: Annotated[
        str | None, typer.Option(help="All images of this instead: as for train.", metavar="DATA", show_default=False)
    ] = None,
    predictions: Predictions = None,
    others: Annotated[
        str | None,
        typer.Option(help="Images of none of the classes: how many are turned away?", metavar="FOLDER"),
    ] = None,
    reading: Any = None,
    experiments: Experiments = EXPERIMENTS,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Measure a run on its test images again, class by class.

    With --data, a run or a bundle is measured on all images of new data,
    whose classes are found by their names; a bundle by OpenCV alone.
    With --others also how well it tells strangers from what it knows.
    """
    from trainkit.bundles._evaluate import evaluate as evaluate_model
    from trainkit.runs._figures import has_several_labels

    figures = evaluate_model(
        run,
        data=data,
        reading=reading,
        predictions=predictions,
        others=others,
        experiments=experiments,
        exported=exported,
    )
    if as_json:
        print_json(figures)
        return
    say(_headline(figures, data))
    say_what_chose(figures["test_split"])
    several = has_several_labels(figures)
    if several:
        say(_several_in_words(figures))
    _say_rejected(figures)
    if predictions is not None:
        say(f"Wrote {predictions}.")
    columns = ["precision", "recall", "f1", *(["average_precision"] if several else [])]
    rows = [
        [row["label"], *(to_text(row[key], "{:.3f}") for key in columns), str(row["images"])]
        for row in figures["classes"]
    ]
    print_table(["class", *(column.replace("_", " ") for column in columns), "images"], rows)


def _several_in_words(figures: dict[str, Any]) -> str:
    from trainkit.runs._figures import interval_in_words, share_interval

    subset = f"{to_text(figures['subset_accuracy'])} ({INTERVAL} "
    subset += f"{interval_in_words(share_interval(figures, 'subset_accuracy'))})"
    precision, macro, micro = (to_text(figures[key]) for key in ("mean_average_precision", "macro_f1", "micro_f1"))
    return f"mean average precision {precision}, subset accuracy {subset}, macro F1 {macro}, micro F1 {micro}"


def _say_rejected(figures: dict[str, Any]) -> None:
    if "rejected" in figures:
        say(f"None of these: {figures['rejected']:.1%} of the images; {_accepted_in_words(figures)}.")
    if "others" not in figures:
        return
    others = figures["others"]
    say(f"Strangers: {others['images']:,} images, AUROC {others['auroc']:.4f}.")
    say(_turned_away(others))


def _accepted_in_words(figures: dict[str, Any]) -> str:
    from trainkit.runs._figures import interval_in_words, wilson_interval

    accuracy, images = figures["accepted_accuracy"], sum(row["images"] for row in figures["classes"])
    if accuracy is None:
        return "no other is left"
    count = images - round(figures["rejected"] * images)
    interval = interval_in_words(wilson_interval(round(accuracy * count), count))
    return f"accuracy on the others {to_text(accuracy)} ({INTERVAL} {interval})"


def _turned_away(others: dict[str, Any]) -> str:
    from trainkit.runs._figures import interval_in_words, wilson_interval

    if others["rejected"] is None:
        return "Each is given a class: a bundle turns some away by `trainkit export --reject 0.95`."
    count = others["images"]
    interval = interval_in_words(wilson_interval(round(others["rejected"] * count), count))
    within = f"({INTERVAL} {interval})"
    return (
        f"Turned away: {others['rejected']:.1%} of them {within}, {others['known_rejected']:.1%} of the known images."
    )
