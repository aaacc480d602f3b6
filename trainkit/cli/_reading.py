"""The options that say how data is read, which several commands have."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from trainkit.data._reading import DEFAULTS, EXPECTED, HELP, NO_SIDES, Reading
from trainkit.errors import UsageError


def _option(name: str, metavar: str, kind: Any = str) -> Any:
    text = f"{HELP[name]} Takes {EXPECTED[name]}. Default: {DEFAULTS[name]}."
    return Annotated[kind | None, typer.Option(help=text, metavar=metavar)]


_OPTIONS: dict[str, Any] = {
    "sides": _option("sides", "SIDE=FOLDER,..."),
    "no_sides": Annotated[bool, typer.Option("--no-sides", help="Every folder is a class, whatever it is called.")],
    "labels_from": _option("labels_from", "WHERE"),
    "pattern": _option("pattern", "REGEX"),
    "columns": _option("columns", "KEY=COLUMN,..."),
    "images": _option("images", "DIR"),
    "separator": _option("separator", "SIGN"),
    "fold": _option("fold", "K", int),
    "group_by": _option("group_by", "COLUMN|REGEX"),
}


def reads_data(command: Callable[..., None]) -> Callable[..., None]:
    """Put these options in the place of a command's parameter `reading`, which becomes what they come to."""
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if parameter.name == "reading":
            parameters += [
                inspect.Parameter(
                    name, parameter.kind, default=False if name == "no_sides" else None, annotation=option
                )
                for name, option in _OPTIONS.items()
            ]
        else:
            parameters.append(parameter)

    @functools.wraps(command)
    def with_options(**arguments: Any) -> None:
        options = {name: arguments.pop(name) for name in _OPTIONS}
        command(reading=_resolve(**options), **arguments)

    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_options


def _resolve(*, no_sides: bool, sides: str | None, **options: Any) -> Reading:
    if no_sides and sides is not None:
        raise UsageError("--sides names the folders of the sides, and --no-sides says that there are none. Take one.")
    return Reading(sides=NO_SIDES if no_sides else sides, **options)
