"""Writes the bundles to be tested, and beside each what Keras and onnxruntime answer.

    python bundles.py JOB.json

It runs in a process of its own, because the export checks its graph in the installed OpenCV, which may end the process.
What came of a bundle stands in `outcome.json` in its folder; one that killed the process leaves none.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import traceback
from pathlib import Path
from typing import Any

import cv2
import networks as tested
import numpy as np
from networks import Network

from trainkit.errors import ExportError
from trainkit.files import sha256_of, write_json
from trainkit.preprocessing import Preprocessing

# What an exporter says when it declares: this network, in this format, needs another OpenCV or another format.
_DECLARED = re.compile(r"needs OpenCV|Export --format")


def folder_of(work: Path, network: str, model_format: str) -> Path:
    """Return where a bundle (`bundle/`), the one of its logits (`logits/`), `reference.json` and `outcome.json` lie."""
    return work / f"{network}-{model_format}"


def write_network_bundle(
    network: Network, model: Any, model_format: str, folder: Path, photographs: list[np.ndarray]
) -> Path:
    """Export a network as a user would, and return the bundle's folder.

    Raises:
        ExportError: the model cannot leave in this format, or its answers would differ.
    """
    import trainkit

    return trainkit.export(
        model,
        preprocessing=network.preprocessing,
        class_names=network.class_names,
        images=photographs,
        format=model_format,
        name="bundle",
        exported=folder,
    ).path


def write_logits_bundle(bundle: Path, logits_bundle: Path) -> None:
    """Write the bundle that answers with logits: its graph ends before the last activation.

    OpenCV cannot be asked for an inner value where it has fused layers.
    """
    from trainkit.exporting import _frozen_graph as frozen_graph
    from trainkit.exporting import _onnx_graph as onnx_graph

    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    model = manifest["model"]
    logits_bundle.mkdir()
    save = onnx_graph.save_logits_model if model["format"] == "onnx" else frozen_graph.save_logits_model
    path = logits_bundle / model["file"]
    save(bundle / model["file"], path)
    model.update(bytes=path.stat().st_size, sha256=sha256_of(path))
    write_json(logits_bundle / "manifest.json", manifest)


def pixel_checksum(pixels: np.ndarray, preprocessing: Preprocessing) -> str:
    """Return the checksum that a client's `pixel_sha256` must find for uint8 (height, width, channels), BGR."""
    ordered = pixels[..., ::-1] if preprocessing.color == "rgb" else pixels
    return hashlib.sha256(np.ascontiguousarray(ordered.transpose(2, 0, 1)).tobytes()).hexdigest()


def check_fair(expected: dict[str, np.ndarray]) -> None:
    """Raise unless a wrong graph would be seen: logits that are spread, and not one label for every image.

    Raises:
        ValueError: the softmax is saturated or flat, so that equal answers would prove nothing.
    """
    spread = float(expected["logits"].std(0).mean())  # over the images
    labels = len(set(expected["probabilities"].argmax(1).tolist()))
    if not 0.5 <= spread <= 10 or labels < 2:
        raise ValueError(
            f"no fair test: over the images the logits have a standard deviation of {spread:.2g} and {labels} labels"
        )


def own_difference(
    bundle: Path, logits_bundle: Path, blob: np.ndarray, expected: dict[str, np.ndarray]
) -> dict[str, float]:
    """Return how far onnxruntime is from Keras on a bundle's own files, logits relative to their deviation."""
    from cells import largest_difference

    file = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["model"]["file"]
    answers = {"probabilities": _run_onnx(bundle / file, blob), "logits": _run_onnx(logits_bundle / file, blob)}
    spread = float(expected["logits"].std())
    return {
        kind: largest_difference(answers[kind].reshape(expected[kind].shape), expected[kind])
        / (spread if kind == "logits" else 1)
        for kind in expected
    }


def _run_onnx(path: Path, blob: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: blob})[0])


def build(network: Network, formats: list[str], work: Path, images: list[Path]) -> None:
    """Build a network once, and write its bundle in each format with the answers to be held against."""
    photographs = [cv2.imread(str(path)) for path in images]
    for model_format in formats:
        folder_of(work, network.name, model_format).mkdir()
    try:
        model = network.build(photographs)
        pixels = [network.preprocessing.to_pixels(image) for image in photographs[: tested.TESTED]]
        expected = tested.keras_answers(model, network.preprocessing.to_input(pixels))
        check_fair(expected)
    except Exception:
        for model_format in formats:
            _save_outcome(folder_of(work, network.name, model_format), "red", _last_line())
        return
    own: dict[str, float] | None = None
    for model_format in formats:
        folder = folder_of(work, network.name, model_format)
        print(f"building {network.name} {model_format}", flush=True)
        try:
            bundle = write_network_bundle(network, model, model_format, folder, photographs)
            write_logits_bundle(bundle, folder / "logits")
            if model_format == "onnx":
                own = own_difference(bundle, folder / "logits", network.preprocessing.to_blob(pixels), expected)
        except ExportError as error:
            declared = _DECLARED.search(str(error)) is not None
            _save_outcome(folder, "declared" if declared else "red", str(error), refused=not declared)
            continue
        except Exception:
            _save_outcome(folder, "red", _last_line())
            continue
        checksums = [pixel_checksum(image, network.preprocessing) for image in pixels]
        answers = {kind: values.tolist() for kind, values in expected.items()}
        # How badly a network is conditioned is its own, so that onnxruntime's figure serves the frozen graph too.
        write_json(folder / "reference.json", {**answers, "pixels": checksums, "own": own})
        _save_outcome(folder, "written", "")


def _last_line() -> str:
    return " ".join(traceback.format_exc(limit=0).split())[-300:]


def _save_outcome(folder: Path, status: str, reason: str, *, refused: bool = False) -> None:
    write_json(folder / "outcome.json", {"status": status, "reason": reason} | ({"refused": True} if refused else {}))


def main() -> None:
    """Write the bundles that the job on the command line lists."""
    from trainkit.backend import keras, silent_stderr

    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    known = tested.known_networks()
    for name, formats in job["networks"]:
        print(f"building {name}", flush=True)
        keras.utils.set_random_seed(0)
        with silent_stderr():
            build(known[name], formats, Path(job["work"]), [Path(path) for path in job["images"]])
        keras.backend.clear_session()


if __name__ == "__main__":
    main()
