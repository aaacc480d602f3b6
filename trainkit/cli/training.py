"""`trainkit train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli.app import app
from trainkit.cli.output import EXPERIMENTS, AsJson, Experiments, print_json, print_table, to_text

# Written out, because the help must not wait for the modules that have them: a test compares.
_MODELS = (
    "small-cnn, fashion-mnist, vgg16, mobilenet, mobilenet-v2, mobilenet-v3-small, efficientnet-b0, "
    "efficientnet-v2-b0, resnet50, resnet50-v2, densenet121, inception-v3, xception, nasnet-mobile or convnext-tiny."
)


@app.command(epilog="Example: trainkit train photos/ --model mobilenet --alpha 0.75 --epochs 5")
def train(
    data: Annotated[str | None, typer.Argument(help="digits, fashion-mnist, or a folder of class folders.")] = None,
    model: Annotated[str | None, typer.Option(help=_MODELS)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam.")] = None,
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
    name: Annotated[str | None, typer.Option(help="The end of the run's name.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting, repeatable.", metavar="KEY=VALUE")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="The config.toml of a run, to repeat it.", metavar="FILE")] = None,
    experiments: Experiments = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """Train a model on images and write a run into experiments/."""
    from trainkit.config import parse_assignment
    from trainkit.training import train as train_run

    run = train_run(
        data,
        model=model,
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
        name=name,
        settings=dict(map(parse_assignment, set_ or [])),
        config=config,
        experiments=experiments,
    )
    result = run.result
    if as_json:
        keys = ("test_accuracy", "test_loss", "test_split", "epochs", "seconds", "status")
        print_json({"run": str(run.path.absolute()), **{key: result[key] for key in keys}})
        return
    columns = ["run", "status", "epochs", f"{result['test_split'] or 'test'} accuracy", "loss", "seconds"]
    figures = [to_text(result["test_accuracy"]), to_text(result["test_loss"]), to_text(result["seconds"], "{:.1f}")]
    print_table(columns, [[str(run.path), result["status"], str(result["epochs"]), *figures]])
