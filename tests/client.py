"""A bundle and its own classify.py: change the manifest, replace the model, run the script."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

SPEED = re.compile(r"[0-9]+ images? in [0-9.]+ s: [0-9.]+ images/s\n")


def edit(bundle: Path, **sections: dict[str, Any] | list[Any]) -> Path:
    """Change values in sections of a manifest; `None` takes a key out."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    for name, values in sections.items():
        if isinstance(values, dict):
            values = {**manifest.get(name, {}), **values}
            values = {key: value for key, value in values.items() if value is not None}
        manifest[name] = values
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return bundle


def replace_model(bundle: Path, data: bytes, model_format: str = "onnx") -> Path:
    """Put another model into a bundle, with the checksum and size that belong to it."""
    (bundle / "model.onnx").write_bytes(data)
    size = len(data) or None  # 0 is no size that a manifest may state
    return edit(bundle, model={"format": model_format, "bytes": size, "sha256": hashlib.sha256(data).hexdigest()})


def run_script(
    bundle: Path, *arguments: str, options: tuple[str, ...] = ("-I",), **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the bundle's own classify.py in its folder."""
    command = [sys.executable, *options, "classify.py", *arguments]
    env = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=bundle, env=env, capture_output=True, encoding="utf-8", errors="replace", check=False
    )


def cases(bundle: Path) -> list[dict[str, Any]]:
    """Return the cases of a self-test: at least one of each of the three classes."""
    found = json.loads((bundle / "selftest" / "selftest.json").read_text(encoding="utf-8"))["images"]
    assert {int(np.argmax(case["probabilities"])) for case in found} == {0, 1, 2}
    return found
