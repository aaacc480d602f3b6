"""From a folder of photographs to a classifier running in OpenCV, with the same answers.

    run = trainkit.train("digits")
    bundle = trainkit.export(run)
    agreement = trainkit.check(bundle.path)
    trainkit.Classifier(bundle.path).predict(image_bgr)

Names are imported when they are first used, so that `Classifier` never waits for TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.bundles._bench import bench
    from trainkit.bundles._check import check
    from trainkit.bundles._clients import add_clients
    from trainkit.bundles._export import export
    from trainkit.data._augmentation import Augmentation
    from trainkit.data._transforms import apply_transform
    from trainkit.deploy.python._classifier import Classifier
    from trainkit.deploy.python._detector import Detector
    from trainkit.lessons._convolution import convolve
    from trainkit.lessons._faces import find_faces
    from trainkit.lessons._imagenet import classify
    from trainkit.preprocessing import Preprocessing
    from trainkit.reports._comparison import compare
    from trainkit.reports._report import report
    from trainkit.runs._evaluation import evaluate
    from trainkit.runs._layer_table import shapes
    from trainkit.runs._run import find_run, list_runs
    from trainkit.training._train import find_learning_rate, resume, train

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

__getattr__, __dir__ = attach(
    __name__,
    {
        "Augmentation": "trainkit.data._augmentation",
        "Classifier": "trainkit.deploy.python._classifier",
        "Detector": "trainkit.deploy.python._detector",
        "Preprocessing": "trainkit.preprocessing",
        "add_clients": "trainkit.bundles._clients",
        "apply_transform": "trainkit.data._transforms",
        "bench": "trainkit.bundles._bench",
        "check": "trainkit.bundles._check",
        "classify": "trainkit.lessons._imagenet",
        "compare": "trainkit.reports._comparison",
        "convolve": "trainkit.lessons._convolution",
        "evaluate": "trainkit.runs._evaluation",
        "export": "trainkit.bundles._export",
        "find_faces": "trainkit.lessons._faces",
        "find_learning_rate": "trainkit.training._train",
        "find_run": "trainkit.runs._run",
        "list_runs": "trainkit.runs._run",
        "report": "trainkit.reports._report",
        "resume": "trainkit.training._train",
        "shapes": "trainkit.runs._layer_table",
        "train": "trainkit.training._train",
    },
)
