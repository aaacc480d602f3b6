"""From a folder of photographs to a classifier running in OpenCV, with the same answers.

    run = trainkit.train("digits")
    bundle = trainkit.export(run)
    agreement = trainkit.check(bundle.path)
    trainkit.Classifier(bundle.path).predict(image_bgr)

Names are imported when they are first used, so that `Classifier` never waits for TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainkit.benchmark import bench
    from trainkit.checks import check
    from trainkit.clients import add_clients
    from trainkit.convolution import convolve
    from trainkit.data.augmentation import Augmentation
    from trainkit.data.transforms import apply_transform
    from trainkit.deploy import Classifier, Detector
    from trainkit.exporting import export
    from trainkit.faces import find_faces
    from trainkit.layer_table import shapes
    from trainkit.preprocessing import Preprocessing
    from trainkit.recognition import classify
    from trainkit.reports.comparison import compare
    from trainkit.reports.report import report
    from trainkit.runs import find_run, list_runs
    from trainkit.training import evaluate, find_learning_rate, resume, train

__version__ = "0.1.0"
__all__ = [
    "Augmentation",
    "Classifier",
    "Detector",
    "Preprocessing",
    "add_clients",
    "apply_transform",
    "bench",
    "check",
    "classify",
    "compare",
    "convolve",
    "evaluate",
    "export",
    "find_faces",
    "find_learning_rate",
    "find_run",
    "list_runs",
    "report",
    "resume",
    "shapes",
    "train",
]

_HOMES = {
    "Augmentation": "trainkit.data.augmentation",
    "add_clients": "trainkit.clients",
    "apply_transform": "trainkit.data.transforms",
    "Classifier": "trainkit.deploy",
    "Detector": "trainkit.deploy",
    "Preprocessing": "trainkit.preprocessing",
    "bench": "trainkit.benchmark",
    "check": "trainkit.checks",
    "classify": "trainkit.recognition",
    "compare": "trainkit.reports.comparison",
    "convolve": "trainkit.convolution",
    "evaluate": "trainkit.training",
    "export": "trainkit.exporting",
    "find_faces": "trainkit.faces",
    "find_learning_rate": "trainkit.training",
    "find_run": "trainkit.runs",
    "list_runs": "trainkit.runs",
    "resume": "trainkit.training",
    "report": "trainkit.reports.report",
    "shapes": "trainkit.layer_table",
    "train": "trainkit.training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module `trainkit` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)
