"""`trainkit explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trainkit.cli._app import app
from trainkit.cli._output import (
    EXPERIMENTS,
    EXPORTED,
    AsJson,
    Experiments,
    Exported,
    print_json,
    print_table,
    to_text,
)


@app.command(epilog="Example: trainkit explain digits photo.jpg --out why")
def explain(
    network: Annotated[
        str,
        typer.Argument(metavar="BUNDLE|RUN", help="The path or name of a bundle or a run, a manifest, or `latest`."),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Images, and folders of them.")],
    method: Annotated[
        str, typer.Option(help="occlusion, or for a run grad-cam or hirescam.", metavar="NAME")
    ] = "occlusion",
    label: Annotated[
        str | None, typer.Option(help="The class to explain; by default each picture's likeliest.", metavar="CLASS")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The folder for maps and pictures; by default a new one in explained.", metavar="DIR"),
    ] = None,
    experiments: Experiments = EXPERIMENTS,
    exported: Exported = EXPORTED,
    as_json: AsJson = False,
) -> None:
    """Show which part of a picture speaks for its class.

    A bundle is explained through cv2.dnn, without TensorFlow, a run through Keras. For each picture there is a map,
    NAME.npy, and the picture with its heat, NAME.png.
    """
    from trainkit.explaining._explain import Explained, explain_files
    from trainkit.explaining._opening import Question

    question = Question(network=network, method=method, label=label, experiments=experiments, exported=exported)
    found: list[Explained] = []
    try:
        for one in explain_files(question, images, out=out):
            found.append(one)
    finally:  # what was explained before an image that cannot be read
        if found and as_json:
            print_json([one.to_json() for one in found])
        elif found:
            rows = [
                [str(one.image), one.explanation.label, to_text(one.explanation.probability), str(one.picture)]
                for one in found
            ]
            print_table(["image", "label", "probability", "picture"], rows)
