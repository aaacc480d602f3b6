"""`trainkit shapes`, `trainkit classify` and `trainkit faces`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli._app import app
from trainkit.cli._output import (
    EXPERIMENTS,
    AsJson,
    Experiments,
    Predictions,
    print_json,
    print_predictions,
    print_table,
    say,
    to_text,
)


@app.command(epilog="Example: trainkit shapes vgg16")
def shapes(
    source: Annotated[str, typer.Argument(metavar="MODEL|RUN", help="A model's name, a .keras or .h5 file, or a run.")],
    size: Annotated[
        str | None, typer.Option(help="The image, pixels. Default: the network's own.", metavar="WxH")
    ] = None,
    color: Annotated[str | None, typer.Option(help="rgb, bgr or gray. Default: the network's own.")] = None,
    classes: Annotated[int | None, typer.Option(help="How many. Default: ImageNet's 1,000, else 10.")] = None,
    alpha: Annotated[float | None, typer.Option(help="The width of mobilenet, mobilenet-v2 or -v3.")] = None,
    experiments: Experiments = EXPERIMENTS,
    as_json: AsJson = False,
) -> None:
    """Show a network layer by layer: shapes, parameters, multiply-adds.

    Also the receptive field: how much of the image a value sees.
    """
    from trainkit.runs._layer_table import as_rows
    from trainkit.runs._layer_table import shapes as find_shapes

    found = find_shapes(source, size=size, color=color, classes=classes, alpha=alpha, experiments=experiments)
    if as_json:
        print_json(found.to_json())
        return
    columns = ["layer", "kind", "output", "parameters", "multiply-adds", "receptive field"]
    total = ["all", "", "", f"{found.parameters:,}", f"{found.multiply_adds:,}", ""]
    print_table(columns, [*as_rows(found.layers), total], optional=["receptive field", "kind"])
    if found.uncounted:
        say(f"The multiply-adds of these are not known, and not in the sum: {', '.join(found.uncounted)}")


@app.command(epilog="Example: trainkit classify photo.jpg --model mobilenet-v2 --top 3")
def classify(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files to classify.")],
    model: Annotated[
        str, typer.Option(help="A network of keras.applications, such as vgg16 or resnet50.")
    ] = "mobilenet",
    weights: Annotated[str, typer.Option(help="imagenet, or a file of the whole network's.")] = "imagenet",
    alpha: Annotated[float | None, typer.Option(help="The width of mobilenet, mobilenet-v2 or -v3.")] = None,
    top: Annotated[int, typer.Option(help="Labels an image, at most.", min=1)] = 5,
    predictions: Predictions = None,
    as_json: AsJson = False,
) -> None:
    """Classify photographs into the thousand classes of ImageNet.

    By a pretrained network of keras.applications.
    """
    from trainkit.bundles._inputs import find_problems, refuse
    from trainkit.lessons._imagenet import classify as classify_images

    problems = find_problems(images)
    usable = [image for image in images if image not in problems]
    if usable:
        results = classify_images(usable, model=model, weights=weights, alpha=alpha, top=top, predictions=predictions)
        print_predictions(usable, results, as_json)
        if predictions is not None and not as_json:
            say(f"Wrote {predictions}.")
    refuse(problems, len(images))


@app.command(epilog="Example: trainkit faces party.jpg --annotate found.png --crop faces/")
def faces(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files to look at.")],
    min_confidence: Annotated[float, typer.Option(help="Lowest confidence to show.", min=0, max=1)] = 0.9,
    annotate: Annotated[
        Path | None, typer.Option(help="Draw boxes and landmarks on the image; a folder for several.", metavar="OUT")
    ] = None,
    crop: Annotated[Path | None, typer.Option(help="A folder for a PNG file of each face.", metavar="DIR")] = None,
    as_json: AsJson = False,
) -> None:
    """Find faces and their eyes, noses and mouths, by MTCNN."""
    from trainkit.bundles._inputs import find_problems, refuse
    from trainkit.lessons._faces import find_faces

    problems = find_problems(images)
    usable = [image for image in images if image not in problems]
    if usable:
        results = find_faces(usable, min_confidence=min_confidence, annotate=annotate, crop=crop)
        if as_json:
            print_json(results)
        else:
            rows = [
                [str(image), to_text(face["confidence"]), " ".join(map(str, face["box"]))]
                for image, result in zip(usable, results, strict=True)
                for face in result["faces"] or [{"confidence": None, "box": ["-"]}]
            ]
            print_table(["image", "confidence", "x y width height"], rows)
    refuse(problems, len(images))
