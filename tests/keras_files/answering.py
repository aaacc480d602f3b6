"""What the newest Keras 2 answers to the same images, one at a time: `python answering.py RESULT.json FILE...`.

No float32 network is exact. How far Keras 2 is from itself says how near another Keras can come.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import tensorflow as tf


def difference(path: Path) -> float:
    """Return the largest difference of one image's answers from those that were saved, by their scale."""
    stored = np.load(path.with_suffix(".npz"))
    model = tf.keras.models.load_model(path, compile=False)
    answers = np.concatenate([model.predict(stored["x"][i : i + 1], verbose=0) for i in range(len(stored["x"]))])
    return float(np.abs(answers - stored["y"]).max() / max(1, np.abs(stored["y"]).max()))


def main() -> None:
    """Write the differences of all files."""
    target, *files = sys.argv[1:]
    found = {}
    for name in files:
        tf.keras.backend.clear_session()
        try:
            found[Path(name).name] = difference(Path(name))
        except Exception as error:  # a class of the user, or what this version reads no more
            print(f"{name}: {error}"[:200])
    Path(target).write_text(json.dumps(found))


main()
