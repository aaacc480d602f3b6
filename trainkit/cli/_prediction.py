"""`trainkit predict` and `detect`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import (
    EXPORTED,
    AsJson,
    Exported,
    ManifestArgument,
    Predictions,
    print_json,
    print_table,
    say,
    to_text,
)
from trainkit.deploy.python._showing import named
from trainkit.errors import UsageError

InputsArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="INPUT...", help="Images, folders of them, videos.", show_default=False)
]
Camera = Annotated[int | None, typer.Option(help="What camera N sees instead, until Ctrl-C.", min=0, metavar="N")]
Every = Annotated[int, typer.Option(help="Of a video or a camera, each Nth frame.", min=1, metavar="N")]
Batch = Annotated[int, typer.Option(help="Images in one blob.", min=1, metavar="N")]
Invert = Annotated[bool, typer.Option("--invert", help="Turn dark into light before anything else.")]
Backend = Annotated[
    str | None, typer.Option(help="What computes, by OpenCV's name, such as OPENCV or CUDA.", metavar="NAME")
]
Target = Annotated[
    str | None, typer.Option(help="On what, by OpenCV's name, such as CPU or CUDA_FP16.", metavar="NAME")
]


@app.command(epilog="Example: trainkit predict digits photo.jpg --top 3")
def predict(
    manifest: ManifestArgument,
    inputs: InputsArgument = None,
    top: Annotated[int, typer.Option(help="Labels an image, at most.", min=1)] = 5,
    min_confidence: Annotated[float, typer.Option(help="Lowest probability to show.", min=0, max=1)] = 0.0,
    annotate: Annotated[
        Path | None, typer.Option(help="Draw the labels on the image; a folder for several.", metavar="OUT")
    ] = None,
    predictions: Predictions = None,
    camera: Camera = None,
    every: Every = 1,
    batch: Batch = 1,
    invert: Invert = False,
    backend: Backend = None,
    target: Target = None,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Classify images through cv2.dnn, without TensorFlow."""
    from trainkit.bundles._inputs import Inputs
    from trainkit.bundles._predict import classify_inputs

    _check_inputs(inputs, camera)
    what = Inputs(paths=inputs or (), camera=camera, every=every, batch=batch, annotate=annotate, invert=invert)
    results = classify_inputs(
        manifest,
        what,
        top=top,
        min_confidence=min_confidence,
        predictions=predictions,
        backend=backend,
        target=target,
        exported=exported,
    )
    _show(results, ["label", "probability"], _to_labels, as_json=as_json, endless=camera is not None)
    if predictions is not None and not as_json:
        say(f"Wrote {predictions}.")


@app.command(epilog="Example: trainkit detect faces/manifest.json photo.jpg --annotate found.png")
def detect(
    manifest: ManifestArgument,
    inputs: InputsArgument = None,
    min_confidence: Annotated[
        float | None, typer.Option(help="Lowest confidence to show; by default the manifest's.", min=0, max=1)
    ] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Draw the boxes on the image; a folder for several.", metavar="OUT")
    ] = None,
    camera: Camera = None,
    every: Every = 1,
    batch: Batch = 1,
    backend: Backend = None,
    target: Target = None,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Find objects in images through cv2.dnn, by an SSD detector.

    A manifest describes the detector.
    """
    from trainkit.bundles._detect import detect_inputs
    from trainkit.bundles._inputs import Inputs

    _check_inputs(inputs, camera)
    what = Inputs(paths=inputs or (), camera=camera, every=every, batch=batch, annotate=annotate)
    results = detect_inputs(
        manifest, what, min_confidence=min_confidence, backend=backend, target=target, exported=exported
    )
    columns = ["label", "confidence", "left top right bottom"]
    _show(results, columns, _to_boxes, as_json=as_json, endless=camera is not None)


def _check_inputs(inputs: list[Path] | None, camera: int | None) -> None:
    if bool(inputs) == (camera is not None):
        raise UsageError("Name images, folders or videos, or a camera with --camera N.")


def _to_labels(result: dict[str, Any]) -> list[list[str]]:
    return [[named(found["label"]), to_text(found["probability"])] for found in result["predictions"]]


def _to_boxes(result: dict[str, Any]) -> list[list[str]]:
    return [
        [found["label"], to_text(found["confidence"]), " ".join(f"{edge:.0f}" for edge in found["box"])]
        for found in result["detections"]
    ]


def _show(
    results: Iterator[tuple[Any, dict[str, Any]]],
    columns: list[str],
    to_rows: Callable[[dict[str, Any]], list[list[str]]],
    *,
    as_json: bool,
    endless: bool,
) -> None:
    """Print results: a table or a document when all are there, a line for each frame as it comes."""
    found: list[tuple[str, dict[str, Any]]] = []
    try:
        for picture, result in results:
            if picture.frame is None or as_json:
                found.append((picture.name, result))
            else:
                answers = ", ".join(" ".join(row) for row in to_rows(result))
                say(f"{picture.name}: {answers or '-'}", flush=True)
    except KeyboardInterrupt:
        if not endless:
            raise
    finally:
        if found and as_json:
            print_json([result for _, result in found])
        elif found:
            dashes = ["-"] * len(columns)
            rows = [[name, *row] for name, result in found for row in to_rows(result) or [dashes]]
            print_table(["image", *columns], rows)
