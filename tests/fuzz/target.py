"""The process that reads strange files for the fuzzer, so that it may die of one.

It reads lines of JSON, `{"part": ..., "path": ...}`, and answers each with a line of JSON: `verdict`, which is
`accepted`, `refused` (in a sentence of trainkit's own) or `traceback`; `said`; `seconds`; `megabytes`, the most that it
held so far.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trainkit.errors import TrainkitError


def open_graph(path: Path) -> None:
    """Open a bundle and answer a grey image, as a service does."""
    from trainkit.deploy.python import open_bundle

    network = open_bundle(path)
    network.predict(np.full((9, 7, 3), 127, np.uint8))


def load_model(path: Path) -> None:
    """Load a stranger's Keras model."""
    from trainkit.models._loading import load_model_file

    load_model_file(path)


def read_picture(path: Path) -> None:
    """Decode an image in the two ways in which trainkit does: for an answer, and for training."""
    import trainkit.data
    from trainkit.deploy.python import read_image

    trainkit.data.check_data(path.parent.parent)
    read_image(path)


def read_table(path: Path) -> None:
    """Read data of which a table says what is in it."""
    import trainkit.data

    trainkit.data.load_dataset(path)


def read_run(path: Path) -> None:
    """Do with a run all that is done without training it."""
    import trainkit

    run = trainkit.find_run(path)
    run.summary()
    trainkit.list_runs(path.parent)
    trainkit.report(run)


READ: dict[str, Callable[[Path], None]] = {
    "graphs": open_graph,
    "models": load_model,
    "images": read_picture,
    "tables": read_table,
    "runs": read_run,
}


def answer(part: str, path: Path) -> dict[str, object]:
    """Read a file and say what came of it."""
    started, verdict, said = time.perf_counter(), "accepted", ""
    try:
        READ[part](path)
    except TrainkitError as error:
        verdict, said = "refused", str(error)
    except Exception:
        verdict, said = "traceback", traceback.format_exc()
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"verdict": verdict, "said": said, "seconds": time.perf_counter() - started, "megabytes": megabytes}


def main() -> None:
    """Answer until the input ends; what libraries print goes nowhere."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(answer(job["part"], Path(job["path"]))), file=answers)


if __name__ == "__main__":
    main()
