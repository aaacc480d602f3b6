"""A process that opens bundles named on its standard input and says what came of each: `python tests/graph_reader.py`.

It stands for a service: what ends it is what a graph must not do. Before each bundle it says its name, after it a word.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from trainkit.deploy.python._classifier import Classifier
from trainkit.errors import BundleError


def answer(folder: str, engine: str | None) -> str:
    """Return `answered`, or the sentence; anything else is a traceback of ours."""
    image = np.zeros((40, 50, 3), np.uint8)
    try:
        network = Classifier(folder, engine)
        network.predict_many([image])
        network.predict_many([image] * 2)
    except BundleError as error:
        return str(error)
    return "answered"


def main() -> None:
    """Answer line by line."""
    for line in sys.stdin:
        name, _, engine = line.strip().partition("\t")
        print(name, flush=True)
        started = time.perf_counter()
        print(f"{answer(name, engine or None)}\t{time.perf_counter() - started:.2f}", flush=True)


if __name__ == "__main__":
    main()
