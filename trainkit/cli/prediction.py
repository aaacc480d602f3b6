"""`trainkit predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli.app import app
from trainkit.cli.output import EXPORTED, AsJson, BundleArgument, Exported, print_predictions


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
    from trainkit.prediction import classify_files, find_problems, refuse

    problems = find_problems(images)
    usable = [image for image in images if image not in problems]
    if usable:
        results = classify_files(
            bundle, usable, top=top, min_confidence=min_confidence, annotate=annotate, exported=exported
        )
        print_predictions(usable, results, as_json)
    refuse(problems, len(images))
