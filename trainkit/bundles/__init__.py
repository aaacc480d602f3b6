"""All that is done with a folder of `exported/`: write, find, check, time, run, and give it clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.bundles._agreement import Agreement, Difference
    from trainkit.bundles._bench import Benchmark, bench
    from trainkit.bundles._check import check
    from trainkit.bundles._clients import add_clients
    from trainkit.bundles._detect import detect, detect_files
    from trainkit.bundles._evaluate import evaluate
    from trainkit.bundles._export import export
    from trainkit.bundles._folder import Bundle, find_bundle
    from trainkit.bundles._networks import Classifier, Detector
    from trainkit.bundles._predict import predict, predict_files

__all__ = [
    "Agreement",
    "Benchmark",
    "Bundle",
    "Classifier",
    "Detector",
    "Difference",
    "add_clients",
    "bench",
    "check",
    "detect",
    "detect_files",
    "evaluate",
    "export",
    "find_bundle",
    "predict",
    "predict_files",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Agreement": "trainkit.bundles._agreement",
        "Benchmark": "trainkit.bundles._bench",
        "Bundle": "trainkit.bundles._folder",
        "Classifier": "trainkit.bundles._networks",
        "Detector": "trainkit.bundles._networks",
        "Difference": "trainkit.bundles._agreement",
        "add_clients": "trainkit.bundles._clients",
        "bench": "trainkit.bundles._bench",
        "check": "trainkit.bundles._check",
        "detect": "trainkit.bundles._detect",
        "detect_files": "trainkit.bundles._detect",
        "evaluate": "trainkit.bundles._evaluate",
        "export": "trainkit.bundles._export",
        "find_bundle": "trainkit.bundles._folder",
        "predict": "trainkit.bundles._predict",
        "predict_files": "trainkit.bundles._predict",
    },
)
