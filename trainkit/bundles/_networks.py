"""`Classifier` and `Detector` as `trainkit` exports them: those of a bundle's own client, by name too."""

from __future__ import annotations

import os
from pathlib import Path

from trainkit.bundles._find import EXPORTED, find_manifest
from trainkit.deploy.python import _classifier, _detector
from trainkit.deploy.python._network import Network


class _ByName(Network):
    """Opens a bundle by its name in `exported`, where nothing lies at a path of that name."""

    def __init__(
        self,
        bundle: str | os.PathLike[str],
        engine: str | None = None,
        *,
        backend: str | None = None,
        target: str | None = None,
        exported: str | os.PathLike[str] = EXPORTED,
    ) -> None:
        path = Path(bundle) if os.path.lexists(bundle) else find_manifest(bundle, Path(exported))
        super().__init__(path, engine, backend=backend, target=target)

    def __repr__(self) -> str:
        """Return `Classifier(exported/pets: 2 classes)`."""
        classes = len(self.class_names)
        return f"{type(self).__name__}({self.folder}: {classes} {'class' if classes == 1 else 'classes'})"


class Classifier(_ByName, _classifier.Classifier):
    """A classifier and its manifest, opened. Use one in each thread: a `cv2.dnn.Net` must not be shared between them.

    Args:
        bundle: a `Bundle`, its folder, its name in `exported`, or a manifest.
        engine: of OpenCV 5, `classic`, `new`, `auto` or `ort`; by default what the manifest says.
        backend: what computes, by OpenCV's name, such as `CUDA`; by default OpenCV's own.
        target: on what, such as `CUDA_FP16`; by default the CPU.
        exported: the folder of bundles.

    Raises:
        BundleError: a file is missing, changed or damaged, the manifest describes a detector, this OpenCV is too old
            for it, or the engine, backend and target are not to be had here.
        ValueError: there is no such engine, backend or target.
    """


class Detector(_ByName, _detector.Detector):
    """A detector and its manifest, opened; the arguments and what is raised are those of `Classifier`."""
