"""From a run to a bundle that OpenCV alone can use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from trainkit.bundles import EXPORTED
from trainkit.errors import UsageError, unknown
from trainkit.runs import EXPERIMENTS, Run, find_run

if TYPE_CHECKING:
    from trainkit.exporting.bundle import Bundle

__all__ = ["FORMATS", "export"]

FORMATS = ("onnx", "frozen-graph")


def export(
    run: str | Path | Run,
    *,
    format: str = "onnx",
    name: str | None = None,
    experiments: str | Path = EXPERIMENTS,
    exported: str | Path = EXPORTED,
) -> Bundle:
    """Write a bundle, checked against Keras in the installed OpenCV before it appears in `exported`.

    Args:
        run: its path, its name, or `latest`.
        format: `onnx`, or `frozen-graph` for deployments that read TensorFlow 1 graphs only.
        name: of the bundle's folder; `<run>-<format>` by default.
        experiments: the folder of runs.
        exported: the folder of bundles.

    Raises:
        UsageError: the format is unknown, or the name no plain one.
        OutputError: a folder of this name exists already, or cannot be written.
        RunError: the run is missing, unfinished or damaged.
        ExportError: the model cannot leave in this format, or its answers would differ.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    found = find_run(run, Path(experiments))
    chosen = name or f"{found.name}-{format}"
    if not re.fullmatch(r"\w[\w.-]{0,199}", chosen):
        raise UsageError(f"`name` must be letters, digits, - _ and . without a folder. Received: {chosen!r}")
    found.check_usable()

    from trainkit.exporting.bundle import write_bundle

    return write_bundle(found, model_format=format, name=chosen, exported=Path(exported))
