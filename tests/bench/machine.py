"""On what is measured: the CPU, its instruction sets, oneDNN and the precision that `auto` takes there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Where AVX-512 is, a CPU that has none: TensorFlow leaves oneDNN off there by itself, and trainkit turns it on.
OLDER_CPU: Mapping[str, Mapping[str, str]] = {
    "ours": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "other": {"TF_ENABLE_ONEDNN_OPTS": "0"},
}
# What computes with or without them differs in speed.
_TELLING = ("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_ASK = """
import json
from trainkit.backend import onednn_is_on
from trainkit.training._device import choose_precision, cpu_flags, find_gpu
gpu = find_gpu()
print(json.dumps({"onednn": onednn_is_on(), "precision": choose_precision(), "gpu": gpu and gpu.name,
                  "flags": sorted(cpu_flags())}))
"""


def describe(*, older_cpu: bool = False) -> dict[str, Any]:
    """Return what trainkit finds here; a process of its own asks, for to ask changes the environment."""
    environment = {**os.environ, **(OLDER_CPU["ours"] if older_cpu else {})}
    done = subprocess.run([sys.executable, "-c", _ASK], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    flags = set(found.pop("flags"))
    sets = [name for name in _TELLING if name in flags]
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "instruction_sets": sets,
        "held_to": environment.get("ONEDNN_MAX_CPU_ISA"),
        **found,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def in_words(machine: Mapping[str, Any]) -> str:
    """Return the line above a table."""
    held = f", oneDNN held to {machine['held_to']}" if machine["held_to"] else ""
    parts = [
        f"{machine['cpu']}, {machine['cores']} cores: {' '.join(machine['instruction_sets'])}",
        f"oneDNN {'on' if machine['onednn'] else 'off'}{held}",
        f"precision {machine['precision']}",
        *([machine["gpu"]] if machine["gpu"] else []),
    ]
    return "; ".join(parts)
