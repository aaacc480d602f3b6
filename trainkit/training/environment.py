"""What a run depended on besides its settings."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("trainkit", "tensorflow", "keras", "numpy", "opencv-python-headless", "scikit-learn", "pillow")


def describe_environment(*, seed: int) -> dict[str, Any]:
    """Return versions, seed, commit and machine, as JSON has them."""
    import tensorflow as tf

    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": seed,
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "gpus": len(tf.config.list_physical_devices("GPU")),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),  # 0: as many as cores
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        },
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the working folder, where it is under git."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
