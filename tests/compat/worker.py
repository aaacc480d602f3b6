"""Runs a bundle in the Python of one OpenCV, with the bundle's own client; needs cv2 and numpy only.

    python -I worker.py JOB.json

A graph may end the process, so that what it does to a bundle is known only where it was opened in a process of its own.
What came of it is written to the job's `answer`; a process that died leaves none. Several jobs are done one after the
other: the right answers among theirs need not be asked for again.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

# Batch sizes in the order in which one net gets them, and the first image of each. The images change with the batch,
# so that what is left of the last one cannot pass for an answer.
BATCHES = ((1, 0), (3, 2), (8, 0), (2, 5), (1, 7))


def batch_indices(size: int, first: int, count: int) -> list[int]:
    """Return which of `count` images are in a batch."""
    return [(first + i) % count for i in range(size)]


def load_client(path: Path) -> Any:
    """Import the `classify.py` of a bundle."""
    spec = importlib.util.spec_from_file_location("classify", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["classify"] = module
    spec.loader.exec_module(module)
    return module


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Return what a reader makes of a bundle.

    Args:
        job: `bundle` and `logits` (folders; the second one's graph ends there), `images` (files), `engine` (or null).

    Returns:
        `refused` with the client's sentence, where it refused the bundle because of what the manifest says of OpenCV;
        `error` with a sentence, where something failed; else `pixels` (a checksum an image), and for `probabilities`
        and `logits` a list of one `{"shape": ..., "values": ...}` a batch.
    """
    client = load_client(Path(job["bundle"]) / "classify.py")
    import cv2  # as late as this, so that a client that cannot be imported shows its own error

    found: dict[str, Any] = {"opencv": cv2.__version__}
    try:
        images = [client.read_image(path) for path in job["images"]]
        for kind, folder in (("probabilities", job["bundle"]), ("logits", job["logits"])):
            classifier = client.Classifier(folder, engine=job["engine"])
            if kind == "probabilities":
                found["pixels"] = [client.pixel_sha256(classifier, image) for image in images]
            found[kind] = [forward(classifier, images, size, first) for size, first in BATCHES]
    except client.BundleError as error:
        refused = "needs OpenCV" in str(error) or "this bundle needs the" in str(error)
        return {**found, "refused" if refused else "error": str(error)}
    except Exception as error:
        return {**found, "error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return found


def forward(classifier: Any, images: list[Any], size: int, first: int) -> dict[str, Any]:
    """Run one batch through the client's own net, and keep the shape that OpenCV gives it."""
    blob = classifier.to_blob([images[i] for i in batch_indices(size, first, len(images))])
    net = classifier._net  # Classifier.forward would bring another shape into its own
    net.setInput(blob)
    output = net.forward()
    return {"shape": list(output.shape), "values": output.astype("float64").ravel().tolist()}


def main() -> None:
    """Do the jobs of the file that is named on the command line."""
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        Path(job["answer"]).write_text(json.dumps(answer(job)), encoding="utf-8")


if __name__ == "__main__":
    main()
