"""What a run depended on besides its settings."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("trainkit", "tensorflow", "keras", "numpy", "opencv-python-headless", "scikit-learn", "pillow")


def describe_environment(*, seed: int, data: str | None = None, workers: int = 1) -> dict[str, Any]:
    """Return versions, seed, commit, machine and the data's fingerprint, as JSON has them.

    Args:
        seed: of the training.
        data: the fingerprint.
        workers: processes that train together.
    """
    from trainkit.backend import onednn_is_on, tf
    from trainkit.training._device import find_gpu

    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": seed,
        "data": data,
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **package_versions()},
        "machine": {
            "platform": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "gpus": len(tf.config.list_physical_devices("GPU")),
            **({"gpu": gpu.name} if (gpu := find_gpu()) else {}),
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),  # 0: as many as cores
            "onednn": str(int(onednn_is_on())),
            **({"workers": workers} if workers > 1 else {}),
        },
    }


def package_versions() -> dict[str, str | None]:
    """Return the version of each package that a training depends on, `None` for one that is not installed."""
    return {name: _version(name) for name in _PACKAGES}


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each thing that changes the digits of a training and is no longer what it was."""
    kept = {
        **{name: ("versions", name) for name in ("tensorflow", "keras", "numpy", "opencv-python-headless")},
        "the processor": ("machine", "processor"),
        "the number of cores": ("machine", "cores"),
        "the number of GPUs": ("machine", "gpus"),
        "the GPU": ("machine", "gpu"),
        "the number of threads": ("machine", "intra_op_threads"),
        "oneDNN": ("machine", "onednn"),
        "the number of workers": ("machine", "workers"),
    }
    found = []
    for what, (section, key) in kept.items():
        alone = 1 if key == "workers" else None
        old, new = before.get(section, {}).get(key, alone), now[section].get(key, alone)
        unknown = (key == "onednn" and old == "default") or (key == "gpu" and None in (old, new))
        if old != new and not unknown:  # an old run's: nobody wrote it down
            found.append(f"This training began with {what} {old}, and goes on with {new}")
    return found


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
