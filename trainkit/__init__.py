"""From a folder of photographs to a classifier running in OpenCV, with the same answers.

    run = trainkit.train("digits")
    bundle = trainkit.export(run)
    agreement = trainkit.check(bundle)
    trainkit.Classifier(bundle).predict(image_bgr)

What takes a run takes a `Run`, its path or its name; what takes a bundle takes a `Bundle`, its path or its name. Names
are imported when they are first used, so that `Classifier` never waits for TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.bundles._agreement import Agreement, Difference
    from trainkit.bundles._bench import Benchmark, bench
    from trainkit.bundles._check import check
    from trainkit.bundles._clients import add_clients
    from trainkit.bundles._detect import detect
    from trainkit.bundles._evaluate import evaluate
    from trainkit.bundles._export import export
    from trainkit.bundles._folder import Bundle, find_bundle
    from trainkit.bundles._networks import Classifier, Detector
    from trainkit.bundles._predict import predict
    from trainkit.cluster._blocks import Blocks, predict_blocks
    from trainkit.cluster._decoding import CachedPixels, cache_pixels
    from trainkit.cluster._sweep import Sweep, sweep
    from trainkit.cluster._workers import resume_on_workers, train_on_workers
    from trainkit.data._augmentation._settings import Augmentation
    from trainkit.data._augmentation._transforms import apply_transform
    from trainkit.data._label_errors import LabelError, LabelErrors
    from trainkit.deploy.python._values import Box, Detection, Prediction
    from trainkit.errors import (
        BundleError,
        DataError,
        ExportError,
        MissingPackageError,
        ModelError,
        OutputError,
        RunError,
        TrainingError,
        TrainkitError,
        UsageError,
        WeightsError,
    )
    from trainkit.explaining._explain import explain
    from trainkit.explaining._explanation import Explanation
    from trainkit.lessons._convolution import convolve
    from trainkit.lessons._faces import find_faces
    from trainkit.lessons._imagenet import classify
    from trainkit.preprocessing import Preprocessing
    from trainkit.reports._comparison import Comparison, compare
    from trainkit.reports._report import report
    from trainkit.runs._layer_table import Shapes, shapes
    from trainkit.runs._run import Run, find_run, list_runs
    from trainkit.training._cross_validation import CrossValidation, cross_validate
    from trainkit.training._label_errors import find_label_errors
    from trainkit.training._suggestion import LearningRates
    from trainkit.training._train import find_learning_rate, resume, train

__version__ = "0.2.0"
__all__ = [
    "Agreement",
    "Augmentation",
    "Benchmark",
    "Blocks",
    "Box",
    "Bundle",
    "BundleError",
    "CachedPixels",
    "Classifier",
    "Comparison",
    "CrossValidation",
    "DataError",
    "Detection",
    "Detector",
    "Difference",
    "Explanation",
    "ExportError",
    "LabelError",
    "LabelErrors",
    "LearningRates",
    "MissingPackageError",
    "ModelError",
    "OutputError",
    "Prediction",
    "Preprocessing",
    "Run",
    "RunError",
    "Shapes",
    "Sweep",
    "TrainingError",
    "TrainkitError",
    "UsageError",
    "WeightsError",
    "add_clients",
    "apply_transform",
    "bench",
    "cache_pixels",
    "check",
    "classify",
    "compare",
    "convolve",
    "cross_validate",
    "detect",
    "evaluate",
    "explain",
    "export",
    "find_bundle",
    "find_faces",
    "find_label_errors",
    "find_learning_rate",
    "find_run",
    "list_runs",
    "predict",
    "predict_blocks",
    "report",
    "resume",
    "resume_on_workers",
    "shapes",
    "sweep",
    "train",
    "train_on_workers",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Agreement": "trainkit.bundles._agreement",
        "Augmentation": "trainkit.data._augmentation._settings",
        "Benchmark": "trainkit.bundles._bench",
        "Blocks": "trainkit.cluster._blocks",
        "Box": "trainkit.deploy.python._values",
        "Bundle": "trainkit.bundles._folder",
        "BundleError": "trainkit.errors",
        "CachedPixels": "trainkit.cluster._decoding",
        "Classifier": "trainkit.bundles._networks",
        "Comparison": "trainkit.reports._comparison",
        "CrossValidation": "trainkit.training._cross_validation",
        "DataError": "trainkit.errors",
        "Detection": "trainkit.deploy.python._values",
        "Detector": "trainkit.bundles._networks",
        "Difference": "trainkit.bundles._agreement",
        "Explanation": "trainkit.explaining._explanation",
        "ExportError": "trainkit.errors",
        "LabelError": "trainkit.data._label_errors",
        "LabelErrors": "trainkit.data._label_errors",
        "LearningRates": "trainkit.training._suggestion",
        "ModelError": "trainkit.errors",
        "MissingPackageError": "trainkit.errors",
        "OutputError": "trainkit.errors",
        "Prediction": "trainkit.deploy.python._values",
        "Preprocessing": "trainkit.preprocessing",
        "Run": "trainkit.runs._run",
        "RunError": "trainkit.errors",
        "Shapes": "trainkit.runs._layer_table",
        "Sweep": "trainkit.cluster._sweep",
        "TrainingError": "trainkit.errors",
        "TrainkitError": "trainkit.errors",
        "UsageError": "trainkit.errors",
        "WeightsError": "trainkit.errors",
        "add_clients": "trainkit.bundles._clients",
        "apply_transform": "trainkit.data._augmentation._transforms",
        "bench": "trainkit.bundles._bench",
        "cache_pixels": "trainkit.cluster._decoding",
        "check": "trainkit.bundles._check",
        "classify": "trainkit.lessons._imagenet",
        "compare": "trainkit.reports._comparison",
        "convolve": "trainkit.lessons._convolution",
        "cross_validate": "trainkit.training._cross_validation",
        "detect": "trainkit.bundles._detect",
        "evaluate": "trainkit.bundles._evaluate",
        "explain": "trainkit.explaining._explain",
        "export": "trainkit.bundles._export",
        "find_bundle": "trainkit.bundles._folder",
        "find_faces": "trainkit.lessons._faces",
        "find_label_errors": "trainkit.training._label_errors",
        "find_learning_rate": "trainkit.training._train",
        "find_run": "trainkit.runs._run",
        "list_runs": "trainkit.runs._run",
        "predict": "trainkit.bundles._predict",
        "predict_blocks": "trainkit.cluster._blocks",
        "report": "trainkit.reports._report",
        "resume": "trainkit.training._train",
        "resume_on_workers": "trainkit.cluster._workers",
        "shapes": "trainkit.runs._layer_table",
        "sweep": "trainkit.cluster._sweep",
        "train": "trainkit.training._train",
        "train_on_workers": "trainkit.cluster._workers",
    },
)
