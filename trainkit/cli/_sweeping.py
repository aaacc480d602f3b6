"""`trainkit sweep`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import EXPERIMENTS, AsJson, Experiments, print_json, print_table, say, to_text
from trainkit.cli._reading import reads_data
from trainkit.cli._settings_command import SettingsCommand

_SHOWN = 10  # of the best trials


# What has no help here has that of the table of settings.
@app.command(cls=SettingsCommand, epilog="Example: trainkit sweep photos/ --trials 30 --workers 2")
@reads_data
def sweep(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train.")],
    trials: Annotated[int, typer.Option(help="How many runs there shall be in the study.", min=1)],
    space: Annotated[
        Path | None,
        typer.Option(help="What is drawn, in TOML. Default: what matters most for the model.", metavar="FILE"),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            help="The study's database, for several machines. Default: a file beside the runs.", metavar="URL"
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="How many processes train at once. Default: this one.", min=1)
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="The Ray cluster that runs the workers, or `local`.", metavar="ADDRESS")
    ] = None,
    time: Annotated[str | None, typer.Option(help="No trial begins after that: 2h, 90m.", metavar="TIME")] = None,
    pruning: Annotated[
        bool, typer.Option("--pruning/--no-pruning", help="Whether trials that promise little end early.")
    ] = True,
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
    name: Annotated[str | None, typer.Option(help="The study's name, and the end of its runs' names.")] = None,
    reading: Any = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any of `trainkit settings`, repeatable.", metavar="KEY=VALUE")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The config.toml of a run, for its settings.")] = None,
    experiments: Experiments = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """Train many runs with settings that are drawn, and keep the best.

    Optuna draws; what promises little is pruned. A trial is a run like any
    other: `trainkit runs --filter study=NAME` lists them. They are compared on
    validation images; the images for testing see the winner alone.

    Killed or ended, the same command goes on. With --study, any number of
    machines join by the same command.
    """
    from trainkit.cluster._sweep import sweep as sweep_settings
    from trainkit.runs._config_file import parse_assignment

    found = sweep_settings(
        data,
        trials=trials,
        space=space,
        study=study,
        workers=workers,
        cluster=cluster,
        time=time,
        pruning=pruning,
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
    else:
        _print(found)


def _print(found: Any) -> None:
    sign = 1 if found.monitor == "loss" else -1
    known = [trial for trial in found.trials if trial.value is not None]
    known.sort(key=lambda trial: (trial.status != "finished", sign * trial.value))
    rows = [
        [trial.run.name if trial.run else "-", to_text(trial.value), str(trial.epochs), trial.status]
        for trial in known[:_SHOWN]
    ]
    print_table(["run", f"validation {found.monitor}", "epochs", "status"], rows)
    if len(found.trials) > len(rows):
        say(f"{len(found.trials)} trials in all: trainkit runs --filter study={shlex.quote(found.study)}")
    document = found.to_json()["best"]
    if document is None:
        say("No trial has come to its end.")
        return
    if document["test_split"] == "test":
        say(f"The best on the images for testing, which no other trial saw: accuracy {document['test_accuracy']:.4f}.")
    say(f"Wrote {found.page} and {found.config}.")
    say(f"Next: {shlex.join(['trainkit', 'train', '--config', str(found.config)])}")
