"""A folder of `exported/` as an object: what `export` returns, and what every function takes that takes a bundle."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainkit.bundles._check import Agreement
from trainkit.bundles._choices import choices_in_words
from trainkit.bundles._find import EXPORTED, find_folder
from trainkit.bundles._small_weights import cost_in_words
from trainkit.deploy.python._manifest import read_manifest
from trainkit.deploy.python._opencv import describe_needs
from trainkit.errors import BundleError
from trainkit.runs._notebook import figures_html


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Bundle:
    """A folder of `exported/`, which has passed its check. It stands for its folder wherever a path does."""

    path: Path
    format: str  # `onnx` or `frozen-graph`
    agreement: Agreement | None = None  # what the check found before it was written, in the process that wrote it

    def __fspath__(self) -> str:
        """Return the folder: `Path(bundle)`, `Classifier(bundle)`."""
        return str(self.path)

    def __truediv__(self, name: str) -> Path:
        """Return the path of a file in it: `bundle / "labels.txt"`."""
        return self.path / name

    @property
    def name(self) -> str:
        """The folder's name in `exported/`."""
        return self.path.name

    @property
    def needs(self) -> str:
        """What it asks of OpenCV beyond 4.5.5, in sentences; mostly nothing."""
        return describe_needs(read_manifest(self.path).get("opencv", {}))

    @property
    def choices(self) -> list[str]:
        """What was chosen for it on the validation images of its run, in sentences; mostly nothing."""
        return choices_in_words(read_manifest(self.path))

    def to_json(self) -> dict[str, Any]:
        """Return what `trainkit export --json` prints."""
        found = self.agreement
        return {
            "bundle": str(self.path.absolute()),
            "format": self.format,
            "max_abs_difference": found and found.max_abs_difference,
            "top1_agreement": found and found.top1_agreement,
            "images": found and found.images,
            **self._stored(),
            **self._chosen(),
        }

    def _stored(self) -> dict[str, Any]:
        """Return how the weights are stored, and what that cost; nothing of a bundle that has gone."""
        try:
            manifest = read_manifest(self.path)
        except BundleError:
            return {}
        cost = manifest.get("extra", {}).get("small_weights")
        weights = {"weights": manifest["model"].get("weights", "float32")}
        return weights if cost is None else {**weights, "small_weights": cost}

    @property
    def cost(self) -> str:
        """What small weights cost, in a sentence; nothing where the weights are those of the model."""
        return cost_in_words(read_manifest(self.path))

    def _chosen(self) -> dict[str, Any]:
        """Return what was chosen for it on validation images; nothing of one that has gone."""
        try:
            manifest = read_manifest(self.path)
        except BundleError:
            return {}
        found = {key: manifest["output"][key] for key in ("reject_below", "thresholds") if key in manifest["output"]}
        calibration = manifest.get("extra", {}).get("calibration")
        return found if calibration is None else {"calibration": calibration, **found}

    def __repr__(self) -> str:
        """Return `Bundle(pets: onnx, 2 classes, 224x224 rgb, checked)`."""
        parts = (self.format, *self._contents().values(), *self._verdict().values())
        return f"Bundle({self.name}: {', '.join(parts)})"

    def _repr_html_(self) -> str:
        figures = {"format": self.format, **self._contents(), **self._verdict(), "folder": self.path}
        agreement = "" if self.agreement is None else self.agreement._repr_html_()
        return figures_html(f"Bundle {self.name}", figures) + agreement

    def _contents(self) -> dict[str, str]:
        """Return what the manifest says of classes and input; of one that has gone, that it is damaged."""
        try:
            manifest = read_manifest(self.path)
        except BundleError:
            return {"manifest": "damaged"}
        width, height = manifest["blob"]["size"]
        color = "gray" if {"step": "gray"} in manifest.get("before_blob", []) else None
        color = color or ("rgb" if manifest["blob"]["swapRB"] else "bgr")
        count = len(manifest["output"]["class_names"])
        return {"classes": f"{count:,} classes", "input": f"{width}x{height} {color}"}

    def _verdict(self) -> dict[str, str]:
        if self.agreement is None:
            return {}
        return {"check": "checked" if self.agreement.ok else "differs from Keras"}


def find_bundle(bundle: str | os.PathLike[str], exported: str | os.PathLike[str] = EXPORTED) -> Bundle:
    """Find a bundle by its path or its name.

    Args:
        bundle: a `Bundle`, its folder or manifest, or its name in `exported`.
        exported: the folder of bundles.

    Raises:
        BundleError: there is none, or its manifest is damaged.
    """
    if isinstance(bundle, Bundle):
        return bundle
    folder = find_folder(bundle, exported)
    return Bundle(path=folder, format=read_manifest(folder)["model"]["format"])
