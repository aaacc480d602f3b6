"""One page that tells a run, to be mailed or kept: nothing in it is loaded from elsewhere."""

from __future__ import annotations

import base64
import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from trainkit.errors import RunError
from trainkit.files import write_text

MISSING = "–"
_RESULT_KEYS = ("epochs", "seconds", "test_split", "test_accuracy", "test_loss", "classes", "message")


def write_report(folder: Path) -> Path:
    """Write `report.html` into a run's folder from what the run has left there so far.

    Returns:
        The path of the page.

    Raises:
        RunError: there is no `config.toml`, or a file of the run cannot be read.
        OutputError: the page cannot be written.
    """
    if not (folder / "config.toml").is_file():
        raise RunError(f"No run in {folder}. Expected {folder / 'config.toml'}")
    path = folder / "report.html"
    write_text(path, _environment().get_template("report.html").render(_content(folder)))
    return path


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, duration=_duration)
    return environment


def _content(folder: Path) -> dict[str, Any]:
    settings = dict(_flatten(_read(folder / "config.toml", tomllib.loads)))
    result = dict.fromkeys(_RESULT_KEYS) | {"status": "unknown"} | _read(folder / "result.json", json.loads)
    if not result["epochs"]:  # `result.json` may be as old as the start of the run
        result["epochs"] = _count_epochs(folder / "metrics.csv")
    return {
        "name": settings.get("name", folder.name),
        "data": settings.get("data", MISSING),
        "model": settings.get("model.name", MISSING),
        "result": result,
        "curves": _data_uri(folder / "curves.png"),
        "confusion_matrix": _data_uri(folder / "confusion_matrix.png"),
        "settings": settings,
        "preprocessing": dict(_flatten(_read(folder / "preprocessing.json", json.loads))),
        "environment": dict(_flatten(_read(folder / "environment.json", json.loads))),
    }


def _read(path: Path, parse: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Return a file's table, empty where the run did not come to writing it."""
    if not path.is_file():
        return {}
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # what JSON, TOML and UTF-8 raise are all `ValueError`
        raise RunError(f"Cannot read {path}: {error}. Restore the file or repeat the run.") from error


def _count_epochs(metrics: Path) -> int:
    """Return the number of rows below the header."""
    return max(0, len(metrics.read_text(encoding="utf-8").splitlines()) - 1) if metrics.is_file() else 0


def _data_uri(picture: Path) -> str | None:
    if not picture.is_file():
        return None
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")


def _flatten(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield `("model.name", "...")` for a nested table."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _to_words(value)


def _to_words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_to_words, value)) or MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return MISSING if value is None else str(value)


def _percent(share: float | None) -> str:
    return MISSING if share is None else f"{share:.1%}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return MISSING
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "under 1 s"
