"""`trainkit export`, `check` and `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import (
    EXPERIMENTS,
    EXPORTED,
    AsJson,
    BundleArgument,
    Experiments,
    Exported,
    print_json,
    print_table,
    say,
)
from trainkit.errors import TrainkitError


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
        Path | None,
        typer.Option(help="The class names in the outputs' order: a text, CSV or JSON file.", metavar="FILE"),
    ] = None,
    from_logits: Annotated[bool, typer.Option("--from-logits", help="The model ends without its softmax.")] = False,
    output: Annotated[
        str | None, typer.Option(help="Of several outputs of a file: the one that counts.", metavar="NAME")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Images to check on: a data set's name or a folder.")] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Of a run: make it as sure as it is right on its validation images.")
    ] = False,
    reject: Annotated[
        float | None,
        typer.Option(
            help="Of a run: none of these if less sure; this share of its validation images keeps its answer.",
            metavar="SHARE",
        ),
    ] = None,
    thresholds: Annotated[
        bool, typer.Option("--thresholds", help="Of a run with several labels: choose a threshold a class.")
    ] = False,
    opencv: Annotated[str, typer.Option(help="The oldest OpenCV to serve.", metavar="VERSION")] = "4.5.5",
    clients: Annotated[
        str, typer.Option(help="Programs to put in: python, cpp, node, web.", metavar="NAME,NAME,...")
    ] = "python",
    no_originals: Annotated[
        bool,
        typer.Option("--no-originals", help="Leave out the files of the self-test's images."),
    ] = False,
    weights_as: Annotated[
        str, typer.Option(help="How the file holds the weights: float32, float16 or int8.", metavar="TYPE")
    ] = "float32",
    tolerance: Annotated[
        float, typer.Option(help="The share of the accuracy that small weights may cost.", metavar="SHARE")
    ] = 0.005,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Let the file run code, with tf, K, np lent: if you trust it.")
    ] = False,
    experiments: Experiments = EXPERIMENTS,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Write a bundle for OpenCV into exported/, checked against Keras.

    It appears there only if its answers in cv2.dnn are those of Keras.
    """
    from trainkit.bundles._export import export as export_bundle

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
        calibrate=calibrate,
        reject=reject,
        thresholds=thresholds,
        class_names=labels,
        from_logits=from_logits,
        output=output,
        data=data,
        opencv=opencv,
        clients=clients,
        originals=not no_originals,
        weights_as=weights_as,
        tolerance=tolerance,
        unsafe=unsafe,
        experiments=experiments,
        exported=exported,
    )
    if as_json:
        print_json(bundle.to_json())
        return
    say(f"Wrote {bundle.path} ({bundle.format}).")
    if bundle.needs:
        say(bundle.needs)
    for sentence in (*bundle.choices, *filter(None, [bundle.cost])):
        say(sentence)
    _print_agreement(bundle.agreement)


@app.command(epilog="Example: trainkit clients digits --add cpp,web")
def clients(
    bundle: BundleArgument,
    add: Annotated[str, typer.Option(help="python, cpp, node, web.", metavar="NAME,NAME,...")],
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Put programs for C++, Node.js or a web page into a bundle.

    Each runs it with OpenCV alone.
    """
    from trainkit.bundles._clients import add_clients

    added = add_clients(bundle, add, exported=exported)
    if as_json:
        print_json({name: str(path.absolute()) for name, path in added.items()})
        return
    for path in added.values():
        say(f"Wrote {path}.")


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
    """Compare a bundle's answers with those of its Keras model.

    Pixels, logits, probabilities and labels, on all test images.
    """
    from trainkit.bundles._check import check as check_bundle

    agreement = check_bundle(bundle, data=data, keras=keras, unsafe=unsafe, experiments=experiments, exported=exported)
    if as_json:
        print_json(agreement.to_json())
    else:
        _print_agreement(agreement)
    if not agreement.ok:
        raise TrainkitError(f"The bundle {bundle} does not answer as Keras does. Export it again.")


def _print_agreement(agreement: Any) -> None:
    say(f"{agreement.images} images; inputs differ by {agreement.max_abs_pixel_difference:g}")
    rows = [
        [
            f"{name} {difference.version}",
            f"{difference.top1_agreement:.2%}",
            f"{difference.max_abs_difference:.1e}",
            f"{difference.max_relative_logit_difference:.1e}",
        ]
        for name, difference in agreement.runtimes.items()
    ]
    print_table(["runtime", "same label", "probabilities differ by", "logits by (of their std)"], rows)
    if agreement.loosened:
        say(
            "This network is sensitive to float32 rounding: onnxruntime's own difference sets the bounds, "
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
    """Measure the latency of cv2.dnn, onnxruntime and Keras."""
    from trainkit.bundles._bench import bench as bench_bundle

    measured = bench_bundle(
        bundle, batches=batches, threads=threads, keras=keras, experiments=experiments, exported=exported
    )
    if as_json:
        print_json(measured.to_json())
        return
    sizes = list(next(iter(measured.milliseconds.values())))
    rows = [[name, *(f"{figures[size]:.2f} ms" for size in sizes)] for name, figures in measured.milliseconds.items()]
    print_table([f"{measured.threads} threads, batch", *map(str, sizes)], rows)
