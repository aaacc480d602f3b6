"""What a deployment must know, as JSON that the plainest reader (`cv::FileStorage`) reads too.

The keys, and which of them are required, stand in `trainkit.deploy.python._schema`, because the client that a bundle
carries checks them with nothing else beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainkit.deploy.python._manifest import read_manifest
from trainkit.deploy.python._schema import check_manifest
from trainkit.deploy.python._values import SCHEMA, SCHEMA_2
from trainkit.errors import ExportError
from trainkit.files import write_text
from trainkit.preprocessing import Preprocessing

__all__ = ["build_manifest", "check_class_names", "embedded_manifest", "read_manifest", "save_manifest"]


def build_manifest(
    *,
    model: dict[str, Any],
    preprocessing: Preprocessing,
    output: dict[str, Any],
    source: dict[str, Any],
    opencv: dict[str, Any],
    extra: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Put the parts together, in the order in which a person reads them.

    The schema is trainkit/2 only where a key of `output` needs it: older clients read the others.

    Raises:
        BundleError: a part lacks a required key, has an unknown one or an impossible value.
    """
    manifest = {
        "schema": SCHEMA_2 if {"reject_below", "thresholds"} & set(output) else SCHEMA,
        "source": source,
        "model": model,
        "preprocessing": preprocessing.to_json(),
        "before_blob": preprocessing.before_blob,
        "blob": preprocessing.blob,
        "output": output,
        "opencv": opencv,
        **({"extra": extra} if extra else {}),
    }
    check_manifest(manifest)
    return manifest


def embedded_manifest(manifest: dict[str, Any]) -> dict[str, str]:
    """Return what an ONNX file says about itself in its `metadata_props`, so that the file alone explains itself.

    Returns:
        `class_names`, a JSON list, and `manifest`, the manifest as JSON without `model.bytes`, `model.sha256` and
        `opencv.verified`, which a file cannot hold about itself.
    """
    unknowable = {"model": ("bytes", "sha256"), "opencv": ("verified",)}
    inside = {
        section: {key: entry for key, entry in value.items() if key not in unknowable[section]}
        if section in unknowable
        else value
        for section, value in manifest.items()
    }
    return {
        "class_names": json.dumps(manifest["output"]["class_names"], ensure_ascii=False),
        "manifest": json.dumps(inside, ensure_ascii=False, allow_nan=False),
    }


def check_class_names(class_names: list[str]) -> None:
    """Raise unless every reader of the manifest and of `labels.txt` reads these names back.

    `cv::FileStorage` before OpenCV 5 fails on escaped letters, on texts of 4,000 bytes or more and on those that begin
    with `$base64$`; a line break would end a line of `labels.txt`.

    Raises:
        ExportError: names the class.
    """
    for name in class_names:
        plain = name.isprintable() and not name.startswith("$base64$") and 0 < len(name.encode()) < 4000
        if not plain:
            raise ExportError(
                f"The class name {name[:80]!r} cannot be written so that every client reads it. Expected 1 to 3999 "
                "bytes of printable text that does not begin with $base64$. Rename the class folder."
            )


def save_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest as raw UTF-8 JSON: no null, no escaped letters, no whole number beyond 32 bits."""
    check_manifest(manifest, path)
    write_text(path, json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
