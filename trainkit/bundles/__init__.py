"""All that is done with a folder of `exported/`: write, find, check, time, run, and give it clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.bundles._agreement import Agreement
    from trainkit.bundles._bench import bench
    from trainkit.bundles._bundle import Bundle
    from trainkit.bundles._check import check
    from trainkit.bundles._clients import add_clients
    from trainkit.bundles._detect import detect_files
    from trainkit.bundles._export import export
    from trainkit.bundles._find import find_bundle
    from trainkit.bundles._predict import predict_files

__all__ = [
    "Agreement",
    "Bundle",
    "add_clients",
    "bench",
    "check",
    "detect_files",
    "export",
    "find_bundle",
    "predict_files",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Agreement": "trainkit.bundles._agreement",
        "Bundle": "trainkit.bundles._bundle",
        "add_clients": "trainkit.bundles._clients",
        "bench": "trainkit.bundles._bench",
        "check": "trainkit.bundles._check",
        "detect_files": "trainkit.bundles._detect",
        "export": "trainkit.bundles._export",
        "find_bundle": "trainkit.bundles._find",
        "predict_files": "trainkit.bundles._predict",
    },
)
