"""The `trainkit` command: parse, call one function, print. Everything it does, Python can do in one call.

What a command needs is imported inside it: `trainkit --help` and `trainkit predict` must not wait for TensorFlow.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.errors import TrainkitError, UsageError

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a folder of photographs to a classifier running in OpenCV, with the same answers.",
    epilog="Example: trainkit train digits && trainkit export latest",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"trainkit {version('trainkit')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From a folder of photographs to a classifier running in OpenCV, with the same answers."""


Experiments = Annotated[Path, typer.Option(help="The folder of runs.", metavar="DIR")]
Exported = Annotated[Path, typer.Option(help="The folder of bundles.", metavar="DIR")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run's path or name, or `latest`.")]
BundleArgument = Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle's path or name.")]

EXPERIMENTS, EXPORTED = Path("experiments"), Path("exported")

# Written out, because the help must not wait for the modules that have them: a test compares.
_MODELS = (
    "small-cnn, fashion-mnist, vgg16, mobilenet, mobilenet-v2, mobilenet-v3-small, efficientnet-b0, "
    "efficientnet-v2-b0, resnet50, resnet50-v2, densenet121, inception-v3, xception, nasnet-mobile or convnext-tiny."
)


def main() -> None:
    """Run the command; a mistake ends in one line on standard error, with 1 for the world's and 2 for the user's."""
    _silence_libraries()
    try:
        code = app(standalone_mode=False)
        if code == 130:  # typer has caught a KeyboardInterrupt
            _fail("Interrupted.", code)
    except UsageError as error:
        code = _fail(str(error), 2)
    except TrainkitError as error:
        code = _fail(str(error), 1)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("Interrupted.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone; there is nobody to tell
        code = 1
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        code = _fail(_or_missing_command(error.format_message()), 2)
    sys.stdout.flush()
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return code


def _or_missing_command(message: str) -> str:
    """Say what is missing after a bare `trainkit`, for which typer shows the help and has no words."""
    return message or "Expected a command."


def _silence_libraries() -> None:
    """Keep the chatter of C++ libraries (TensorFlow, libjpeg, libpng) from the user.

    They write to file descriptor 2. Python's own standard error moves to a copy of it first. Set TRAINKIT_DEBUG to see
    everything.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a pipe may not know the letters of a class name
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("trainkit").setLevel(logging.INFO)
    if os.environ.get("TRAINKIT_DEBUG"):
        return
    warnings.simplefilter("ignore")  # of Python libraries; our own warnings are logged
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    logging.getLogger().handlers[0].setStream(sys.stderr)  # type: ignore[attr-defined]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _print_json(data: Any) -> None:
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    print(json.dumps(data, indent=2, ensure_ascii=plain, allow_nan=False))


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
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


def _number(value: float | None, form: str = "{:.4f}") -> str:
    return "-" if value is None else form.format(value)


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
        _print_json({"run": str(run.path.absolute()), **{key: result[key] for key in keys}})
        return
    columns = ["run", "status", "epochs", f"{result['test_split'] or 'test'} accuracy", "loss", "seconds"]
    figures = [_number(result["test_accuracy"]), _number(result["test_loss"]), _number(result["seconds"], "{:.1f}")]
    _print_table(columns, [[str(run.path), result["status"], str(result["epochs"]), *figures]])


@app.command(epilog="Example: trainkit runs --json")
def runs(experiments: Experiments = EXPERIMENTS, as_json: AsJson = False) -> None:
    """List the runs: data, model, epochs, test accuracy, time and status."""
    from trainkit.runs import summarize_runs

    rows = summarize_runs(experiments)
    if as_json:
        _print_json(rows)
        return
    columns = ["run", "data", "model", "epochs", "test accuracy", "split", "seconds", "status"]
    _print_table(columns, [_run_row(row) for row in rows])


def _run_row(row: dict[str, Any]) -> list[str]:
    return [
        row["run"],
        row["data"] or "-",
        row["model"] or "-",
        _number(row["epochs"], "{}"),
        _number(row["test_accuracy"]),
        row["test_split"] or "-",
        _number(row["seconds"], "{:.1f}"),
        row["status"],
    ]


@app.command(epilog="Example: trainkit evaluate latest")
def evaluate(run: RunArgument, experiments: Experiments = EXPERIMENTS, as_json: AsJson = False) -> None:
    """Measure a run on its test images again, class by class."""
    from trainkit.training import evaluate as evaluate_run

    figures = evaluate_run(run, experiments=experiments)
    if as_json:
        _print_json(figures)
        return
    print(f"{figures['test_split']} accuracy {figures['test_accuracy']:.4f}, loss {figures['test_loss']:.4f}")
    rows = [
        [row["label"], *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")), str(row["images"])]
        for row in figures["classes"]
    ]
    _print_table(["class", "precision", "recall", "f1", "images"], rows)


@app.command(epilog="Example: trainkit export latest --format onnx --name digits")
def export(
    source: Annotated[
        str | None, typer.Argument(metavar="[RUN|FILE]", help="A run, or a .keras or .h5 file.", show_default=False)
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="onnx or frozen-graph.")] = "onnx",
    name: Annotated[str | None, typer.Option(help="The bundle's name. Default: <run or file>-<format>")] = None,
    model: Annotated[str | None, typer.Option(help="A whole network of keras.applications instead.")] = None,
    weights: Annotated[str | None, typer.Option(help="Of --model: imagenet or a file. Default: imagenet")] = None,
    alpha: Annotated[float | None, typer.Option(help="Of --model: the width.")] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="For a file: the manifest of a bundle that describes it.", metavar="FILE")
    ] = None,
    preprocessing: Annotated[
        str | None, typer.Option(help="For a file: unit, symmetric, caffe, torch or none.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="The network's input, pixels.", metavar="WxH")] = None,
    color: Annotated[str | None, typer.Option(help="For a file: rgb, bgr or gray.")] = None,
    resize: Annotated[str | None, typer.Option(help="stretch, crop or pad.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="The class names, one a line, in the outputs' order.", metavar="FILE")
    ] = None,
    from_logits: Annotated[bool, typer.Option("--from-logits", help="The model ends without its softmax.")] = False,
    data: Annotated[str | None, typer.Option(help="Images to check on: a data set's name or a folder.")] = None,
    opencv: Annotated[str, typer.Option(help="The oldest OpenCV to serve.", metavar="VERSION")] = "4.5.5",
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Let the file run code: only if you trust it.")] = False,
    experiments: Experiments = EXPERIMENTS,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Write a bundle into exported/, after its answers in cv2.dnn were checked against Keras."""
    from trainkit.exporting import export as export_bundle

    bundle = export_bundle(
        source,
        format=format_,
        name=name,
        model=model,
        weights=weights,
        alpha=alpha,
        manifest=manifest,
        preprocessing=preprocessing,
        size=size,
        color=color,
        resize=resize,
        class_names=labels,
        from_logits=from_logits,
        data=data,
        opencv=opencv,
        unsafe=unsafe,
        experiments=experiments,
        exported=exported,
    )
    if as_json:
        _print_json(bundle.to_json())
        return
    print(f"Wrote {bundle.path} ({bundle.format}).")
    if bundle.needs:
        print(bundle.needs)
    _print_agreement(bundle.agreement)


@app.command(epilog="Example: trainkit check digits --data digits")
def check(
    bundle: BundleArgument,
    data: Annotated[
        str | None, typer.Option(help="A data set's name or a folder. Default: the run's test images.")
    ] = None,
    keras: Annotated[Path | None, typer.Option(help="The Keras model, where its run has gone.", metavar="FILE")] = None,
    experiments: Experiments = EXPERIMENTS,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Let the Keras file run code: if you trust it.")] = False,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Compare a bundle's answers with those of its Keras model: pixels, logits, probabilities, labels."""
    from trainkit.checks import check as check_bundle

    agreement = check_bundle(bundle, data=data, keras=keras, unsafe=unsafe, experiments=experiments, exported=exported)
    if as_json:
        _print_json(agreement.to_json())
    else:
        _print_agreement(agreement)
    if not agreement.ok:
        raise TrainkitError(f"The bundle {bundle} does not answer as Keras does. Export it again.")


def _print_agreement(agreement: Any) -> None:
    print(f"{agreement.images} images; inputs differ by {agreement.max_abs_pixel_difference:g}")
    rows = [
        [
            f"{name} {difference.version}",
            f"{difference.top1_agreement:.2%}",
            f"{difference.max_abs_difference:.1e}",
            f"{difference.max_relative_logit_difference:.1e}",
        ]
        for name, difference in agreement.runtimes.items()
    ]
    _print_table(["runtime", "same label", "probabilities differ by", "logits by (of their std)"], rows)
    if agreement.loosened:
        print(
            "This network makes much of little: onnxruntime's own difference sets the bounds, "
            f"{agreement.probability_tolerance:.1e} and {agreement.logit_tolerance:.1e}."
        )


@app.command(epilog="Example: trainkit bench digits --batches 1,32")
def bench(
    bundle: BundleArgument,
    batches: Annotated[str, typer.Option(help="How many images at a time.", metavar="N,N,...")] = "1,8,32",
    threads: Annotated[
        int | None, typer.Option(help="Of each runtime. Default: as many as there are cores.", min=1, max=1024)
    ] = None,
    keras: Annotated[Path | None, typer.Option(help="The Keras model, where its run has gone.", metavar="FILE")] = None,
    experiments: Experiments = EXPERIMENTS,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Measure how long cv2.dnn takes for an answer, beside onnxruntime and Keras."""
    from trainkit.benchmark import bench as bench_bundle

    measured = bench_bundle(
        bundle, batches=batches, threads=threads, keras=keras, experiments=experiments, exported=exported
    )
    if as_json:
        _print_json(measured.to_json())
        return
    sizes = list(next(iter(measured.milliseconds.values())))
    rows = [[name, *(f"{figures[size]:.2f} ms" for size in sizes)] for name, figures in measured.milliseconds.items()]
    _print_table([f"{measured.threads} threads, batch", *map(str, sizes)], rows)


@app.command(epilog="Example: trainkit predict digits photo.jpg --top 3")
def predict(
    bundle: BundleArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files to classify.")],
    top: Annotated[int, typer.Option(help="Labels an image, at most.", min=1)] = 5,
    min_confidence: Annotated[float, typer.Option(help="Lowest probability to show.", min=0, max=1)] = 0.0,
    annotate: Annotated[
        Path | None, typer.Option(help="Draw the labels on the image; a folder for several.", metavar="OUT")
    ] = None,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Classify images through cv2.dnn; TensorFlow is not needed and not loaded."""
    from trainkit.errors import DataError
    from trainkit.prediction import classify_files, find_problems

    problems = find_problems(images)
    usable = [image for image in images if image not in problems]
    if usable:
        results = classify_files(
            bundle, usable, top=top, min_confidence=min_confidence, annotate=annotate, exported=exported
        )
        _print_predictions(usable, results, as_json)
    if problems:
        left_out = f"Left out {len(problems)} of {len(images)} images: " if len(images) > 1 else ""
        raise DataError(left_out + "; ".join(problems.values()))


def _print_predictions(images: list[Path], results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        _print_json(results)
        return
    rows = [
        [str(image), found["label"], _number(found["probability"])]
        for image, result in zip(images, results, strict=True)
        for found in result["predictions"] or [{"label": "-", "probability": None}]
    ]
    _print_table(["image", "label", "probability"], rows)
