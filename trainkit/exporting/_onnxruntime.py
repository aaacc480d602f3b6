"""The one door through which onnxruntime comes in: it tells nobody that it was used."""

from __future__ import annotations

import os
from typing import Any


def load_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry off, and return it.

    From 1.31 on its wheels send to their maker, over HTTPS, what they are used for, beginning while they are imported,
    and leave a `.ses` file in the temporary folder: see `Privacy.md` beside its `__init__.py`.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime
