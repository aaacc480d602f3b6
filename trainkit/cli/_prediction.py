"""`trainkit predict` and `detect`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._app import app
from trainkit.cli._output import (
    EXPORTED,
    AsJson,
    Exported,
    ManifestArgument,
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
PredictInputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Images, folders of them, videos; for --predictions DIR lists of paths, too.",
        show_default=False,
    ),
]
PredictionsTarget = Annotated[
    str | None,
    typer.Option(
        "--predictions",
        help="Write a row an image: to a .csv file, or in blocks as Parquet into a folder, which can be gone on with.",
        metavar="FILE.csv|DIR",
    ),
]
AllProbabilities = Annotated[
    bool, typer.Option("--all-probabilities", help="In a folder, write the probability of every class.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="For a folder, how many processes share the work; by default one that uses all cores, or one a CPU of the "
        "cluster.",
        min=1,
        metavar="N",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(help="For a folder, a Ray cluster whose machines see the same paths; or `local`.", metavar="ADDRESS"),
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
    inputs: PredictInputs = None,
    top: Annotated[int, typer.Option(help="Labels an image, at most.", min=1)] = 5,
    min_confidence: Annotated[float, typer.Option(help="Lowest probability to show.", min=0, max=1)] = 0.0,
    annotate: Annotated[
        Path | None, typer.Option(help="Draw the labels on the image; a folder for several.", metavar="OUT")
    ] = None,
    predictions: PredictionsTarget = None,
    all_probabilities: AllProbabilities = False,
    workers: Workers = None,
    cluster: Cluster = None,
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
    if _is_for_blocks(inputs or [], predictions):
        _check_no_annotate(annotate)
        choices = {"batch": batch, "invert": invert, "backend": backend, "target": target, "exported": exported}
        spread = {"all_probabilities": all_probabilities, "workers": workers, "cluster": cluster}
        _predict_blocks(manifest, inputs or [], str(predictions), as_json=as_json, **choices, **spread)
        return
    _check_blocks_only(all_probabilities=all_probabilities, workers=workers, cluster=cluster)
    paths = [Path(one) for one in inputs or ()]
    what = Inputs(paths=paths, camera=camera, every=every, batch=batch, annotate=annotate, invert=invert)
    results = classify_inputs(
        manifest,
        what,
        top=top,
        min_confidence=min_confidence,
        predictions=None if predictions is None else Path(predictions),
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


def _check_inputs(inputs: Sequence[Path | str] | None, camera: int | None) -> None:
    if bool(inputs) == (camera is not None):
        raise UsageError("Name images, folders or videos, or a camera with --camera N.")


def _is_for_blocks(inputs: list[str], predictions: str | None) -> bool:
    """Whether there is a folder for rows; a video has frames, whose rows stand in one file."""
    from trainkit.deploy.python._media import is_video

    if predictions is None or not inputs or any(is_video(one) for one in inputs):
        return False
    return not predictions.lower().endswith(".csv") or Path(predictions).is_dir()


def _check_no_annotate(annotate: Path | None) -> None:
    if annotate is not None:
        raise UsageError("--annotate goes with --predictions FILE.csv. Received: a folder, which takes any number.")


def _check_blocks_only(**options: Any) -> None:
    """Raise where an option is there that only --predictions DIR obeys."""
    if named := [f"--{name.replace('_', '-')}" for name, value in options.items() if value not in (None, False)]:
        raise UsageError(f"{', '.join(named)} goes with images and --predictions DIR, a folder for Parquet.")


def _predict_blocks(manifest: str, inputs: list[str], folder: str, *, as_json: bool, **options: Any) -> None:
    from trainkit.cluster._blocks import predict_blocks

    found = predict_blocks(manifest, inputs, folder, **options)
    if as_json:
        print_json(found.to_json())
        return
    before = found.rows - found.classified
    say(f"Classified {found.classified:,} images{f'; {before:,} were there already' if before else ''}.")
    files = "1 file" if found.files == 1 else f"{found.files:,} files"
    if found.errors:
        say(f"{found.errors:,} of {found.rows:,} rows have an error and no label.")
    say(f"Rows are in {folder}: {found.rows:,} in {files}.")


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
