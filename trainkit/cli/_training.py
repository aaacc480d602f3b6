"""`trainkit train`, `recipes` and `find-lr`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import EXPERIMENTS, AsJson, Experiments, print_json, print_table, to_text
from trainkit.cli._tables import WORDS
from trainkit.errors import UsageError

# Written out, because the help must not wait for the modules that have them: a test compares.
_MODELS = (
    "small-cnn, small-resnet, fashion-mnist, vgg16, mobilenet, mobilenet-v2, mobilenet-v3-small, efficientnet-b0, "
    "efficientnet-v2-b0, resnet50, resnet50-v2, densenet121, inception-v3, xception, nasnet-mobile or convnext-tiny."
)


@app.command(epilog="Example: trainkit train photos/ --model mobilenet --alpha 0.75 --epochs 5")
def train(
    context: typer.Context,
    data: Annotated[
        str | None, typer.Argument(help="digits, fashion-mnist, a folder of class folders, a .csv or an .npz file.")
    ] = None,
    model: Annotated[str | None, typer.Option(help=_MODELS)] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Settings known to be good: `trainkit recipes` lists them.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest one.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random draw.")] = None,
    validation: Annotated[float | None, typer.Option(help="Share of the training images held out; 0 for none.")] = None,
    size: Annotated[str | None, typer.Option(help="The network's input, pixels.", metavar="WxH")] = None,
    color: Annotated[str | None, typer.Option(help="rgb, bgr or gray.")] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            help="unit, symmetric, center, standardize, mean-image, samplewise-center, samplewise-standardize, caffe, "
            "torch or none."
        ),
    ] = None,
    resize: Annotated[str | None, typer.Option(help="stretch, crop or pad.")] = None,
    weights: Annotated[str | None, typer.Option(help="imagenet, none or a file.")] = None,
    alpha: Annotated[
        float | None, typer.Option(help="The width of mobilenet, mobilenet-v2 or mobilenet-v3-small.")
    ] = None,
    class_weights: Annotated[str | None, typer.Option(help="none, or balanced: every class weighs the same.")] = None,
    augment_engine: Annotated[str | None, typer.Option(help="opencv, or keras for Keras' own warp.")] = None,
    distribute: Annotated[str | None, typer.Option(help="none, or mirrored: all GPUs of this machine.")] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's logs into the run.")] = False,
    name: Annotated[str | None, typer.Option(help="The end of the run's name.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, repeatable.", metavar="KEY=VALUE")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The config.toml of a run, to repeat it.", metavar="FILE")] = None,
    resume: Annotated[
        str | None, typer.Option(help="Go on with a run that was killed or interrupted.", metavar="RUN")
    ] = None,
    experiments: Experiments = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """Train a model on images and write a run into experiments/."""
    from trainkit.runs._settings import parse_assignment
    from trainkit.training._train import resume as resume_run
    from trainkit.training._train import train as train_run

    if resume is not None:
        _refuse_settings(context)
        _print_run(resume_run(resume, experiments=experiments), as_json)
        return
    run = train_run(
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
        distribute=distribute,
        tensorboard=tensorboard or None,
        name=name,
        settings=dict(map(parse_assignment, set_ or [])),
        config=config,
        experiments=experiments,
    )
    _print_run(run, as_json)


def _refuse_settings(context: typer.Context) -> None:
    """Raise where `--resume` stands beside a setting: the run has its own."""
    given = [
        name
        for name in context.params
        if name not in ("resume", "experiments", "as_json")
        and getattr(context.get_parameter_source(name), "name", None) == "COMMANDLINE"
    ]
    if given:
        shown = ", ".join("DATA" if name == "data" else "--" + name.strip("_").replace("_", "-") for name in given)
        raise UsageError(f"--resume takes the settings of the run. Received: {shown}. Leave it out, or train anew.")


def _print_run(run: Any, as_json: bool) -> None:
    result = run.result
    if as_json:
        keys = ("test_accuracy", "test_loss", "test_split", "epochs", "seconds", "status")
        print_json({"run": str(run.path.absolute()), **{key: result[key] for key in keys}})
        return
    columns = ["run", "status", "epochs", f"{result['test_split'] or 'test'} accuracy", "loss", "seconds"]
    figures = [to_text(result["test_accuracy"]), to_text(result["test_loss"]), to_text(result["seconds"], "{:.1f}")]
    print_table(columns, [[str(run.path), result["status"], str(result["epochs"]), *figures]])


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


@app.command("find-lr", epilog="Example: trainkit find-lr photos/ --model mobilenet --out rates.png")
def find_lr(
    data: Annotated[str, typer.Argument(help="As for train.", metavar="DATA")],
    model: Annotated[str | None, typer.Option(help="As for train.")] = None,
    recipe: Annotated[str | None, typer.Option(help="As for train.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random draw.")] = None,
    size: Annotated[str | None, typer.Option(help="The network's input, pixels.", metavar="WxH")] = None,
    weights: Annotated[str | None, typer.Option(help="imagenet, none or a file.")] = None,
    alpha: Annotated[float | None, typer.Option(help="As for train.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, repeatable.", metavar="KEY=VALUE")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to draw the loss. Default: learning_rate.png")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the loss over a rising learning rate, and suggest one."""
    from trainkit.runs._settings import parse_assignment
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
        settings=dict(map(parse_assignment, set_ or [])),
        out=picture,
    )
    if as_json:
        print_json(found.to_json())
    elif found.suggestion is None:
        print(
            f"Nothing to suggest: at no rate does the loss fall by more than its scatter. Keep the default. ({picture})"
        )
    else:
        print(f"Suggested: --learning-rate {found.suggestion:g} (the loss over the rate: {picture})")
