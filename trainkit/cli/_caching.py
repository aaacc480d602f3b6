"""`trainkit data cache`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trainkit.cli._data import data_app
from trainkit.cli._output import AsJson, print_json, say
from trainkit.cli._reading import reads_data
from trainkit.cli._settings_command import SettingsCommand
from trainkit.cli._training import Set, Size


@data_app.command(cls=SettingsCommand, epilog="Example: trainkit data cache photos/ --model mobilenet")
@reads_data
def cache(
    data: Annotated[str, typer.Argument(help="As for train.", metavar="DATA")],
    model: Annotated[str | None, typer.Option(help="As for train.")] = None,
    size: Size = None,
    color: Annotated[str | None, typer.Option()] = None,
    preprocessing: Annotated[str | None, typer.Option()] = None,
    resize: Annotated[str | None, typer.Option()] = None,
    validation: Annotated[float | None, typer.Option()] = None,
    reading: Any = None,
    set_: Set = None,
    config: Annotated[Path | None, typer.Option(help="The config.toml of a run.", metavar="FILE")] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Decode on a Ray cluster whose machines see the same paths; or `local`.", metavar="ADDRESS"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Decode all images as train will ask for them, and keep them.

    A training with the same data, size, colour and resize rule then begins at
    once, and so do the trials of a sweep.
    """
    from trainkit.cluster._decoding import cache_pixels
    from trainkit.runs._config_file import parse_assignment

    cached = cache_pixels(
        data,
        model=model,
        size=size,
        color=color,
        preprocessing=preprocessing,
        resize=resize,
        validation=validation,
        reading=reading,
        settings=dict(map(parse_assignment, set_ or [])),
        config=config,
        cluster=cluster,
    )
    if as_json:
        print_json(cached.to_json())
        return
    images = ", ".join(f"{count} {side}" for side, count in cached.images.items())
    width, height = cached.size
    say(f"{images} images at {width}x{height}, {cached.bytes / 1e6:,.1f} MB of pixels: {cached.folder}")
