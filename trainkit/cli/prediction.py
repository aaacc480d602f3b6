"""`trainkit predict` and `detect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli.app import app
from trainkit.cli.output import (
    EXPORTED,
    AsJson,
    Exported,
    ManifestArgument,
    print_json,
    print_predictions,
    print_table,
    to_text,
)


@app.command(epilog="Example: trainkit predict digits photo.jpg --top 3")
def predict(
    manifest: ManifestArgument,
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
    from trainkit.prediction import classify_files, find_problems, refuse

    problems = find_problems(images)
    usable = [image for image in images if image not in problems]
    if usable:
        results = classify_files(
            manifest, usable, top=top, min_confidence=min_confidence, annotate=annotate, exported=exported
        )
        print_predictions(usable, results, as_json)
    refuse(problems, len(images))


@app.command(epilog="Example: trainkit detect faces/manifest.json photo.jpg --annotate found.png")
def detect(
    manifest: ManifestArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files to look at.")],
    min_confidence: Annotated[
        float | None, typer.Option(help="Lowest confidence to show; by default the manifest's.", min=0, max=1)
    ] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Draw the boxes on the image; a folder for several.", metavar="OUT")
    ] = None,
    batch: Annotated[int, typer.Option(help="Images in one blob.", min=1)] = 1,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Find objects in images through cv2.dnn, with a detector (SSD) that a manifest describes."""
    from trainkit.detection import detect_files
    from trainkit.prediction import find_problems, refuse

    problems = find_problems(images)
    usable = [image for image in images if image not in problems]
    if usable:
        results = detect_files(
            manifest, usable, min_confidence=min_confidence, annotate=annotate, batch=batch, exported=exported
        )
        _print_detections(usable, results, as_json)
    refuse(problems, len(images))


def _print_detections(images: list[Path], results: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json(results)
        return
    rows = [
        [str(image), found["label"], to_text(found["confidence"]), " ".join(f"{edge:.0f}" for edge in found["box"])]
        for image, result in zip(images, results, strict=True)
        for found in result["detections"] or [{"label": "-", "confidence": None, "box": []}]
    ]
    print_table(["image", "label", "confidence", "left top right bottom"], rows)
