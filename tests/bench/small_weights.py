"""Files of a quarter and half of the bytes, beside what other tools make of the same model, in several OpenCVs.

    python tests/bench/small_weights.py BUNDLE IMAGES --pythons DIR [--count N] [--keras FILE]

BUNDLE holds float32 weights, and beside it lie `<name>-int8` and `<name>-float16`, as they were exported. IMAGES is a
folder of photographs. Each DIR/opencv-VERSION/bin/python has an OpenCV; those of `make compat` are such. One line of a
Markdown table is printed for each kind of file, with a cell for each reader: how many labels are those of float32, "no"
where it is not loaded, and the time that loading takes beside float32's.

Beside ours: onnxruntime's static quantisation of what `tf2onnx` writes, 8 bits a channel, as QDQ and as QOperator; and
what OpenCV's model zoo does with its own files (Conv, Gemm and MatMul of 8 bits with a scale for 64 weights,
DequantizeLinear with `block_size`, opset 21).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK = 64
_CALIBRATED_ON = 100  # images
_TIMEOUT_S = 180  # for one file in one reader
_WORKER = """
import json, sys, time
import cv2, numpy as np
job = json.load(sys.stdin)
blob = np.load(job["blob"])
engine = [] if job["engine"] is None else [job["engine"]]
seconds = []
for _ in range(7):
    started = time.perf_counter()
    net = cv2.dnn.readNetFromONNX(job["path"], *engine)
    seconds.append(time.perf_counter() - started)
rows = []
for image in blob:
    net.setInput(image[None])
    rows.append(net.forward().reshape(-1))
started = time.perf_counter()
for _ in range(20):
    net.setInput(blob[:1])
    net.forward()
run = (time.perf_counter() - started) / 20
json.dump({"labels": [int(np.nan_to_num(row).argmax()) for row in rows], "load": min(seconds), "run": run}, sys.stdout)
"""


def main() -> None:
    """Print the lines of one model."""
    options = _parse()
    blob, labels = _prepare(options.bundle, options.images, options.count)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder, "blob.npy"), blob)
        files = {"float32": options.bundle / "model.onnx"}
        for kind in ("int8", "float16"):
            files[kind] = options.bundle.with_name(f"{options.bundle.name}-{kind}") / "model.onnx"
        files |= _write_others(options.bundle, Path(folder), blob[:_CALIBRATED_ON], options.keras)
        readers = _readers(options.pythons)
        print(f"| {options.bundle.name} | bytes | " + " | ".join(name for name, _, _ in readers) + " |")
        whole = [_ask(one, files["float32"], folder) for one in readers]
        for kind, path in files.items():
            cells = whole if kind == "float32" else [_ask(one, path, folder) for one in readers]
            texts = [_cell(cell, first, labels) for cell, first in zip(cells, whole, strict=True)]
            share = path.stat().st_size / files["float32"].stat().st_size
            print(f"| {kind} | {share:.3f} | " + " | ".join(texts) + " |", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=str)
    parser.add_argument("--pythons", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--keras", type=Path, default=None)
    return parser.parse_args()


def _prepare(bundle: Path, images: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the blob of some photographs, and the labels that float32 gives them in the OpenCV that runs here."""
    from trainkit.data._dataset import take_evenly
    from trainkit.data._sources import load_images
    from trainkit.deploy.python._classifier import Classifier

    client = Classifier(bundle)
    part = take_evenly([load_images(images)], count)
    blob = np.concatenate([client.to_blob([part.images[index]]) for index in range(len(part))])
    return blob, np.concatenate([client.forward(image[None]).argmax(1) for image in blob])


def _write_others(bundle: Path, folder: Path, calibration: np.ndarray, keras: Path | None) -> dict[str, Path]:
    """Write what the other tools make of the same Keras model."""
    from trainkit.bundles._check import find_keras_model, load_model, preprocessing_of
    from trainkit.deploy.python._classifier import Classifier
    from trainkit.exporting._tracing import after_blob_in_graph, trace

    client = Classifier(bundle)
    path, _ = find_keras_model(client, keras, Path("experiments"))
    preprocessing = preprocessing_of(client)
    model = load_model(path, client.manifest.get("source", {}), preprocessing)
    naive = folder / "naive.onnx"
    naive.write_bytes(trace(model, after_blob=after_blob_in_graph(preprocessing)).to_onnx().SerializeToString())
    written = {"zoo, blocks of 64": folder / "blocks.onnx"}
    write_in_blocks(bundle / "model.onnx", written["zoo, blocks of 64"])
    for kind in ("QDQ", "QOperator"):
        written[f"onnxruntime {kind}"] = folder / f"{kind}.onnx"
        quantize_static(naive, folder / f"{kind}.onnx", calibration, kind)
    return written


def quantize_static(source: Path, target: Path, calibration: np.ndarray, kind: str) -> None:
    """Let onnxruntime quantise a file: activations a tensor, weights a channel."""
    from onnxruntime import InferenceSession
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize

    name = InferenceSession(source, providers=["CPUExecutionProvider"]).get_inputs()[0].name

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.rest, None)
            return None if image is None else {name: image[None]}

    quantize(
        source,
        target,
        Images(),
        quant_format=getattr(QuantFormat, kind),
        per_channel=True,
        weight_type=QuantType.QInt8,
        activation_type=QuantType.QUInt8 if kind == "QOperator" else QuantType.QInt8,
    )


def write_in_blocks(source: Path, target: Path) -> None:
    """Write weights of 8 bits with a scale and a zero point a block, as OpenCV's model zoo has them."""
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.version_converter.convert_version(onnx.load(source), 21)
    arrays = {tensor.name: tensor for tensor in proto.graph.initializer}
    front: list[Any] = []
    for node in proto.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        for position, name in enumerate(node.input):
            weights = numpy_helper.to_array(arrays[name]) if name in arrays else np.zeros(0)
            if weights.ndim < 2 or weights.size < _BLOCK:
                continue
            node.input[position] = f"{name}_reshaped"
            rows = weights.reshape(len(weights), -1)
            size = next(size for size in range(_BLOCK, 0, -1) if rows.shape[1] % size == 0)
            blocks = rows.reshape(len(rows), -1, size)
            least, most = np.minimum(blocks.min(2), 0), np.maximum(blocks.max(2), 0)
            scale = np.where(most > least, (most - least) / 255, 1).astype(np.float32)
            zero = np.where(most > least, np.rint(-128 - least / scale), 0).astype(np.int8)
            numbers = np.clip(np.rint(blocks / scale[..., None] + zero[..., None]), -128, 127).astype(np.int8)
            stored = {"q": numbers.reshape(rows.shape), "s": scale, "z": zero, "shape": np.array(weights.shape)}
            proto.graph.initializer.extend(numpy_helper.from_array(v, f"{name}_{k}") for k, v in stored.items())
            proto.graph.initializer.remove(arrays[name])
            inputs = [f"{name}_{part}" for part in "qsz"]
            front += [
                helper.make_node("DequantizeLinear", inputs, [f"{name}_flat"], axis=1, block_size=size),
                helper.make_node("Reshape", [f"{name}_flat", f"{name}_shape"], [f"{name}_reshaped"]),
            ]
    nodes = [*front, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.save(proto, target)


def _readers(pythons: Path) -> list[tuple[str, Path, int | None]]:
    """Return the name, the interpreter and the engine of each OpenCV."""
    found: list[tuple[str, Path, int | None]] = []
    versions = sorted(pythons.glob("opencv-*"), key=lambda path: [int(part) for part in path.name[7:].split(".")])
    for folder in versions:
        python, version = folder / "bin" / "python", folder.name[7:].rpartition(".")[0]
        engines = {"classic": 1, "new": 2} if version.startswith("5") else {"": None}
        found += [(f"{version} {engine}".strip(), python, number) for engine, number in engines.items()]
    return found


def _ask(reader: tuple[str, Path, int | None], path: Path, folder: str) -> dict[str, Any] | None:
    """Return the labels that a reader gives, and how long it loads; nothing where it does not."""
    job = json.dumps({"path": str(path), "blob": str(Path(folder, "blob.npy")), "engine": reader[2]})
    try:
        done = subprocess.run(
            [reader[1], "-c", _WORKER], input=job, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    answer: dict[str, Any] | None = json.loads(done.stdout) if done.returncode == 0 else None
    return answer


def _cell(answer: dict[str, Any] | None, whole: dict[str, Any] | None, labels: np.ndarray) -> str:
    if answer is None or whole is None:
        return "no"
    agreement = float((np.array(answer["labels"]) == labels).mean())
    return f"{agreement:.4f}, {answer['load'] / whole['load']:.1f}, {answer['run'] / whole['run']:.2f}"


if __name__ == "__main__":
    sys.exit(main())
