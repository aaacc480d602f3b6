"""`trainkit data errors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._data import data_app
from trainkit.cli._output import AsJson, print_json, print_table, say
from trainkit.cli._reading import reads_data

_SHOWN = 20  # of the labels; the page and --json have all


@data_app.command(epilog="Example: trainkit data errors photos/ --out errors.html")
@reads_data
def errors(
    data: Annotated[str, typer.Argument(metavar="DATA", help="As for train; its images have one label each.")],
    predictions: Annotated[
        Path | None,
        typer.Option(help="What cross-validate --predictions wrote for this data.", metavar="FILE.csv|DIR"),
    ] = None,
    folds: Annotated[int, typer.Option(help="How many, where there are no predictions.", min=2, max=9999)] = 5,
    seed: Annotated[int, typer.Option(help="Of every random draw.", min=0)] = 0,
    reading: Any = None,
    out: Annotated[
        Path | None, typer.Option(help="The page with the pictures. Default: label_errors.html", metavar="FILE")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the labels that are probably wrong, by confident learning.

    Every image is answered by a model that has not seen it. Without
    --predictions these are models that learn quickly: linear ones of the
    features of a pretrained MobileNet for photographs, fashion-mnist for others.
    How many are named follows from how often the model is surer of another
    class than it mostly is of the images with that label: look at each of them
    before you change it.
    """
    from trainkit.training._label_errors import find_label_errors

    page = out or (None if as_json else Path("label_errors.html"))
    found = find_label_errors(data, predictions=predictions, reading=reading, folds=folds, seed=seed, out=page)
    if as_json:
        print_json(found.to_json())
        return
    say(f"{found.images} images, of which {len(found.errors)} labels are to be looked at: {found.data}")
    if found.errors:
        say()
        rows = [
            [error.image, error.label, f"{error.label_probability:.2f}", error.suggested]
            for error in found.errors[:_SHOWN]
        ]
        print_table(["image", "label", "probability", "suggested"], rows)
    if len(found.errors) > _SHOWN:
        say(f"And {len(found.errors) - _SHOWN} more, in the page and with --json.")
    say(f"Wrote {page}.")
