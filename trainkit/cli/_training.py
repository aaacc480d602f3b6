"""`trainkit train`, `recipes`, `settings` and `find-lr`."""

from __future__ import annotations

import shlex
import textwrap
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import (
    EXPERIMENTS,
    INTERVAL,
    AsJson,
    Experiments,
    print_json,
    print_table,
    say,
    say_what_chose,
    to_text,
)
from trainkit.cli._reading import reads_data
from trainkit.cli._settings_command import SettingsCommand
from trainkit.cli._tables import WORDS
from trainkit.errors import UsageError

Size = Annotated[str | None, typer.Option(metavar="WxH")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Any of `trainkit settings`, repeatable.", metavar="KEY=VALUE")
]


# What has no help here has that of the table of settings.
@app.command(cls=SettingsCommand, epilog="Example: trainkit train photos/ --model mobilenet --alpha 0.75 --epochs 5")
@reads_data
def train(
    context: typer.Context,
    data: Annotated[
        str | None, typer.Argument(help="digits, fashion-mnist, a folder of class folders, a .csv or an .npz file.")
    ] = None,
    model: Annotated[str | None, typer.Option()] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Settings known to be good: `trainkit recipes` lists them.")
    ] = None,
    epochs: Annotated[int | None, typer.Option()] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    learning_rate: Annotated[float | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    validation: Annotated[float | None, typer.Option()] = None,
    size: Size = None,
    color: Annotated[str | None, typer.Option()] = None,
    preprocessing: Annotated[str | None, typer.Option()] = None,
    resize: Annotated[str | None, typer.Option()] = None,
    weights: Annotated[str | None, typer.Option()] = None,
    alpha: Annotated[float | None, typer.Option()] = None,
    class_weights: Annotated[str | None, typer.Option()] = None,
    augment_engine: Annotated[str | None, typer.Option()] = None,
    distribute: Annotated[str | None, typer.Option()] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard")] = False,
    name: Annotated[str | None, typer.Option()] = None,
    reading: Any = None,
    set_: Set = None,
    config: Annotated[Path | None, typer.Option(help="The config.toml of a run, to repeat it.", metavar="FILE")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Go on with a run that was killed or interrupted.", metavar="RUN")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that train together, each with its share of the images.", metavar="N")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(help="The Ray cluster that trains, by the address of its head.", metavar="ADDRESS")
    ] = None,
    experiments: Experiments = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """Train a model on images and write a run into experiments/.

    Without --model, colour photographs of 96 pixels and more train a head on
    MobileNet, pretrained on ImageNet, where its weights are here or can be
    downloaded. Other images train small-cnn from scratch.

    To augment the images, say what may happen to them, and look at it with
    `trainkit data augment`:
    --set augmentation.horizontal_flip=true --set augmentation.zoom_range=0.2

    `trainkit settings` lists every setting for --set with its default, and
    `trainkit settings --model M` those of one model.

    Where TF_CONFIG is set, or srun has started several tasks, this is one of
    the processes that train together.
    """
    from trainkit.cluster._workers import resume_on_workers, train_on_workers
    from trainkit.runs._config_file import parse_assignment
    from trainkit.training._tasks import find_task
    from trainkit.training._train import resume as resume_run
    from trainkit.training._train import train as train_run

    starts_workers = workers is not None or cluster is not None
    chosen = dict(map(parse_assignment, set_ or []))
    alone = (distribute or chosen.get("training.distribute", "workers")) != "workers"
    task = None if alone else find_task()
    if task is not None and starts_workers:
        raise UsageError(
            f"This is already one of {task.count} processes that train together, as TF_CONFIG or Slurm say. Leave out "
            "--workers and --cluster, or unset TF_CONFIG."
        )
    if resume is not None:
        _refuse_settings(context)
        if starts_workers:
            run = resume_on_workers(resume, workers=workers, cluster=cluster, experiments=experiments)
        else:
            run = resume_run(resume, experiments=experiments, distribute="workers" if task else None)
        _print_run(run, experiments, as_json, task)
        return
    start = partial(train_on_workers, workers=workers, cluster=cluster) if starts_workers else train_run
    run = start(
        data,
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
        distribute=distribute or ("workers" if task else None),
        tensorboard=tensorboard or None,
        name=name,
        reading=reading,
        settings=chosen,
        config=config,
        experiments=experiments,
    )
    _print_run(run, experiments, as_json, task)


def _refuse_settings(context: typer.Context) -> None:
    """Raise where `--resume` stands beside a setting: the run has its own."""
    options = [
        name
        for name in context.params
        if name not in ("resume", "workers", "cluster", "experiments", "as_json")
        and getattr(context.get_parameter_source(name), "name", None) == "COMMANDLINE"
    ]
    if options:
        shown = ", ".join("DATA" if name == "data" else "--" + name.strip("_").replace("_", "-") for name in options)
        raise UsageError(f"--resume takes the settings of the run. Received: {shown}. Leave it out, or train anew.")


def _print_run(run: Any, experiments: Path, as_json: bool, task: Any) -> None:
    """Print a run; of several processes, the one that writes it prints it."""
    if task is not None and task.rank:
        return
    from trainkit.runs._figures import accuracy_in_words, accuracy_interval, interval_in_words, side_in_words

    result = run.result
    if as_json:
        keys = ("test_accuracy", "test_loss", "test_split", "epochs", "seconds", "status")
        print_json({"run": str(run.path.absolute()), **{key: result[key] for key in keys}})
        return
    side = f"{side_in_words(result['test_split'])} " if result["test_split"] else ""
    figures = {
        "run": str(run.path),
        "status": result["status"],
        "epochs": str(result["epochs"]),
        f"{side}{accuracy_in_words(result)}": to_text(result["test_accuracy"]),
        INTERVAL: interval_in_words(accuracy_interval(result)),
        "loss": to_text(result["test_loss"]),
        "seconds": to_text(result["seconds"], "{:.1f}"),
    }
    print_table(list(figures), [list(figures.values())])
    say_what_chose(result["test_split"])
    if result["status"] == "finished":
        say(f"Next: {_export_command(run.name, experiments)}")


def _export_command(run: str, experiments: Path) -> str:
    where = [] if experiments == EXPERIMENTS else ["--experiments", str(experiments)]
    return shlex.join(["trainkit", "export", run, *where])


@app.command(epilog="Example: trainkit settings --model mobilenet")
def settings(
    model: Annotated[str | None, typer.Option(help="Only what this model has, with its own defaults.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every setting of a training: its default and its meaning."""
    from trainkit.runs._settings_list import list_settings

    found = list_settings(model)
    if as_json:
        print_json([setting.to_json() for setting in found])
        return
    print("\n".join(line for setting in found for line in _lines_of(setting)))


def _lines_of(setting: Any) -> list[str]:
    """Return a setting as it is listed: no word is broken, however narrow."""

    def wrap(text: str) -> list[str]:
        indent = "    "
        return textwrap.wrap(
            text, 79, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )

    option = f"  {setting.option}" if setting.option else ""
    expected, default = f"Takes {setting.expected}.", f"Default: {setting.default}."
    return [f"{setting.key}{option}", *wrap(f"{setting.help} {expected}"), *wrap(default)]


@app.command(epilog="Example: trainkit recipes")
def recipes(as_json: AsJson = False) -> None:
    """List the recipes: settings known to be good.

    What they reach, and how long they take.
    """
    from trainkit.runs._recipes import list_recipes

    found = list_recipes()
    if as_json:
        print_json([recipe.to_json() for recipe in found])
        return
    rows = [[recipe.name, recipe.description, recipe.accuracy, recipe.time] for recipe in found]
    columns = ["recipe", "what it is", "accuracy", "time"]
    print_table(columns, rows, breaks=dict.fromkeys(columns[1:], WORDS))


@app.command(
    "find-lr", cls=SettingsCommand, epilog="Example: trainkit find-lr photos/ --model mobilenet --out rates.png"
)
@reads_data
def find_lr(
    data: Annotated[str, typer.Argument(help="As for train.", metavar="DATA")],
    model: Annotated[str | None, typer.Option(help="As for train.")] = None,
    recipe: Annotated[str | None, typer.Option(help="As for train.")] = None,
    batch_size: Annotated[int | None, typer.Option()] = None,
    seed: Annotated[int | None, typer.Option()] = None,
    size: Size = None,
    weights: Annotated[str | None, typer.Option()] = None,
    alpha: Annotated[float | None, typer.Option(help="As for train.")] = None,
    reading: Any = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option(help="Where to draw the loss. Default: learning_rate.png")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the loss over a rising learning rate, and suggest one."""
    from trainkit.runs._config_file import parse_assignment
    from trainkit.training._train import find_learning_rate

    picture = out or (None if as_json else Path("learning_rate.png"))
    found = find_learning_rate(
        data,
        model=model,
        recipe=recipe,
        batch_size=batch_size,
        seed=seed,
        size=size,
        weights=weights,
        alpha=alpha,
        reading=reading,
        settings=dict(map(parse_assignment, set_ or [])),
        out=picture,
    )
    if as_json:
        print_json(found.to_json())
    elif found.suggestion is None:
        say(
            f"Nothing to suggest: at no rate does the loss fall by more than its scatter. Keep the default. ({picture})"
        )
    else:
        say(f"Suggested: --learning-rate {found.suggestion:g} (the loss over the rate: {picture})")
