"""`trainkit cross-validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import EXPERIMENTS, AsJson, Experiments, Predictions, print_json, print_table, say, to_text
from trainkit.cli._reading import reads_data
from trainkit.cli._settings_command import SettingsCommand

_SHOWN = {  # by their keys
    "test_accuracy": "accuracy",
    "test_loss": "loss",
    "balanced_accuracy": "balanced accuracy",
    "mean_average_precision": "mean average precision",
    "subset_accuracy": "subset accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
}


# What has no help here has that of the table of settings.
@app.command("cross-validate", cls=SettingsCommand, epilog="Example: trainkit cross-validate photos/ --folds 5")
@reads_data
def cross_validate(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train.")],
    folds: Annotated[int, typer.Option(help="How many; each is held out once.", min=2, max=9999)] = 5,
    model: Annotated[str | None, typer.Option()] = None,
    recipe: Annotated[str | None, typer.Option(help="As for train.")] = None,
    epochs: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    validation: Annotated[float | None, typer.Option()] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH")] = None,
    color: Annotated[str | None, typer.Option()] = None,
    preprocessing: Annotated[str | None, typer.Option()] = None,
    resize: Annotated[str | None, typer.Option()] = None,
    weights: Annotated[str | None, typer.Option()] = None,
    alpha: Annotated[float | None, typer.Option()] = None,
    class_weights: Annotated[str | None, typer.Option()] = None,
    augment_engine: Annotated[str | None, typer.Option()] = None,
    distribute: Annotated[str | None, typer.Option()] = None,
    name: Annotated[str | None, typer.Option()] = None,
    reading: Any = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any of `trainkit settings`, repeatable.", metavar="KEY=VALUE")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The config.toml of a run, for its settings.")] = None,
    predictions: Predictions = None,
    experiments: Experiments = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """Train a run for each fold: figures with their deviation.

    Each run is measured on the fold that it has not seen. --predictions writes
    down what it answered there: every image has a row. Images for testing that
    the data has of its own stay out; those for validation choose the epoch.

    Pictures that are equal, look alike, or are of one --group-by stay in one
    fold: those of one person, say.
    """
    from trainkit.runs._config_file import parse_assignment
    from trainkit.runs._figures import accuracy_interval, interval_in_words
    from trainkit.training._cross_validation import cross_validate as validate

    found = validate(
        data,
        folds=folds,
        predictions=predictions,
        model=model,
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        validation=validation,
        size=size,
        color=color,
        preprocessing=preprocessing,
        resize=resize,
        weights=weights,
        alpha=alpha,
        class_weights=class_weights,
        augment_engine=augment_engine,
        distribute=distribute,
        name=name,
        reading=reading,
        settings=dict(map(parse_assignment, set_ or [])),
        config=config,
        experiments=experiments,
    )
    if as_json:
        print_json(found.to_json())
        return
    rows = [
        [
            run.name,
            to_text(run.result["test_accuracy"]),
            interval_in_words(accuracy_interval(run.result)),
            to_text(run.result["test_loss"]),
            str(run.result["epochs"]),
        ]
        for run in found.runs
    ]
    print_table(["run", "accuracy", "95% interval", "loss", "epochs"], rows)
    say()
    spread = [
        [_SHOWN[key], f"{value['mean']:.4f}", f"{value['deviation']:.4f}"] for key, value in found.figures.items()
    ]
    print_table([f"over {folds} folds", "mean", "deviation"], spread)
    if predictions:
        say(f"Wrote {predictions}: the answers to every image by the run that had not seen it.")
