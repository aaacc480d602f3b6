"""Settings as they are written: a `config.toml`, and `key=value` on the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainkit.errors import TrainkitError, UsageError
from trainkit.runs._rules import RULES

# By the setting: what the copies are called that a run keeps.
KEPT_BESIDE = {"data": ("data.npz", "dataframe.csv"), "model.name": ("initial.keras",)}
# Settings that the first runs did not have, and what is chosen for them today.
CHOSEN_LATER = {"training.monitor": "auto", "training.deterministic": True, "training.plain_epochs": 0}
_OF_EVERY_RUN = {key for key in RULES if key.startswith("training.")}.difference(CHOSEN_LATER)
_MAX_BYTES = 2**20  # every setting there is takes a thousandth
_TEXTS = {
    key
    for key in RULES
    if key.count(".") == 0
    or key.endswith((".name", ".color", ".resize", ".weights"))
    or (key.startswith("reading.") and key != "reading.fold")
}


def parse_assignment(text: str) -> tuple[str, Any]:
    """Take `key=value` apart; the value is read as TOML, and as plain text where it is not TOML.

    Raises:
        UsageError: there is no `=`, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set takes key=value, such as model.blocks=1. Received: {text}")
    key, value = key.strip(), value.strip()
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # not TOML, or more digits than Python reads
        return key, value
    # A run may be called 5 or 2026-11-20, which TOML takes for a number and a date.
    return key, value if key in _TEXTS and not isinstance(found, str) else found


def read_config(path: Path) -> dict[str, Any]:
    """Read a `config.toml` into settings by their dotted keys; `build_config` checks them.

    Raises:
        TrainkitError: there is no such file, or it is not TOML.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES} bytes")
        nested = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainkitError(
            f"Cannot read {path}: {error.strerror}. Expected the config.toml of a run, or one like it."
        ) from error
    except (ValueError, RecursionError) as error:
        raise TrainkitError(f"{path} is not valid TOML: {error}") from error
    flat = flatten(nested)
    for key in KEPT_BESIDE:
        if flat.get(key) in KEPT_BESIDE[key]:
            flat[key] = str((path.parent / flat[key]).absolute())
    return flat


def keep_monitor(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's settings, with no choice of the best epoch where it is that of a run that had none.

    Such a run chose by accuracy, whatever its class weights. It wrote all settings that there were; a config by hand
    names a few.
    """
    of_a_run = settings.keys() >= _OF_EVERY_RUN
    return {**({"training.monitor": None} if of_a_run else {}), **settings}


def flatten(nested: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a TOML document by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat.update({f"{key}.{short}": v for short, v in value.items()} if isinstance(value, dict) else {key: value})
    return flat
