"""Which operation of ONNX each OpenCV reads rightly as it is: `python tests/compat/operators.py` writes the table.

Each is one operation on a small image, where it makes sense behind a convolution, asked at several batch sizes. It
shows what the exporter can build on, and why it builds otherwise where it does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from environments import READERS, environment_python
from onnx import helper, numpy_helper
from table import write_between

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "matrix.md"
BEGIN, END = "<!-- operators: begin -->", "<!-- operators: end -->"
SIDES = (4, 6, 8)
BATCHES = (8, 1, 3)
UNARY = [
    "Abs",
    "Ceil",
    "Erf",
    "Exp",
    "Floor",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
    "Cos",
    "Atan",
    "Sinh",
    "Asinh",
    "Softplus",
    "Tanh",
    "HardSwish",
    "Mish",
]
_ASK = """
import json, sys
import cv2
import numpy as np

engine, folder, name = sys.argv[1:]
options = {} if engine == "-" else {"engine": getattr(cv2.dnn, f"ENGINE_{engine.upper()}")}
data = np.load(f"{folder}/{name}.npz")
try:
    net = cv2.dnn.readNetFromONNX(f"{folder}/{name}.onnx", **options)
except cv2.error:
    sys.exit("not read")
worst = 0.0
for count in data["batches"]:
    net.setInput(data["inputs"][:count])
    try:
        actual = np.array(net.forward(), np.float64).ravel()
    except cv2.error:
        sys.exit("fails")
    expected = data[f"expected_{count}"].astype(np.float64).ravel()
    same = actual.size == expected.size
    worst = max(worst, abs(actual - expected).max() / expected.std() if same else np.inf)
sys.exit("right" if worst < 1e-4 else "wrong")
"""


def _models() -> Iterator[tuple[str, list[Any], dict[str, Any], int]]:
    """Yield the name, the nodes behind `x`, their constants and the opset of each operation."""
    node, generator = helper.make_node, np.random.default_rng(0)
    rows, whole, zero = np.array([0, 4, 48]), np.int64, np.float32(0)

    def made_of(op: str, *inputs: str, **attributes: Any) -> Any:
        return node(op, ["c", *inputs], ["y"], **attributes)

    def shown(op: str, *inputs: str, **attributes: Any) -> list[Any]:
        return [node(op, ["c", *inputs], ["b"], **attributes), node("Cast", ["b"], ["y"], to=1)]

    for op in UNARY:
        yield op, [made_of(op)], {}, 18
    for op in ("Tan", "Reciprocal"):  # away from their poles, where every rounding is seen
        yield op, [node("Sigmoid", ["c"], ["s"]), node(op, ["s"], ["y"])], {}, 13
    yield "ArgMax", shown("ArgMax", axis=1), {}, 13
    yield "CumSum", [made_of("CumSum", "axis")], {"axis": np.array(2, whole)}, 13
    yield "DepthToSpace", [made_of("DepthToSpace", blocksize=2)], {}, 13
    yield "Einsum", [_rows(node), node("Einsum", ["a", "a"], ["y"], equation="bij,bkj->bik")], {"rows": rows}, 13
    yield "Equal", shown("Equal", "zero"), {"zero": zero}, 13
    yield (
        "Expand",
        [node("GlobalAveragePool", ["c"], ["m"]), node("Shape", ["c"], ["s"]), node("Expand", ["m", "s"], ["y"])],
        {},
        13,
    )
    yield "Gather", [made_of("Gather", "at", axis=2)], {"at": np.array([3, 0, 0], whole)}, 13
    yield "Greater", shown("Greater", "zero"), {"zero": zero}, 13
    yield (
        "GRU",
        [
            _rows(node),
            node("Transpose", ["a"], ["t"], perm=[1, 0, 2]),
            node("GRU", ["t", "W", "R", "B"], ["", "y"], hidden_size=5, linear_before_reset=1),
        ],
        {"rows": rows, **_recurrent(generator, 3)},
        13,
    )
    yield "IsNaN", shown("IsNaN"), {}, 13
    yield (
        "LayerNormalization",
        [made_of("LayerNormalization", "scale", "shift")],
        {"scale": np.ones(8, np.float32), "shift": np.ones(8, np.float32)},
        17,
    )
    yield "LRN", [made_of("LRN", size=3, alpha=0.5, beta=0.6, bias=1.0)], {}, 13
    yield (
        "LSTM",
        [
            _rows(node),
            node("Transpose", ["a"], ["t"], perm=[1, 0, 2]),
            node("LSTM", ["t", "W", "R", "B"], ["", "y"], hidden_size=5),
        ],
        {"rows": rows, **_recurrent(generator, 4)},
        13,
    )
    yield (
        "MatMul, three sides",
        [_rows(node), node("Transpose", ["a"], ["t"], perm=[0, 2, 1]), node("MatMul", ["a", "t"], ["y"])],
        {"rows": rows},
        9,
    )
    yield (
        "MatMul, four sides",
        [node("Transpose", ["c"], ["t"], perm=[0, 1, 3, 2]), node("MatMul", ["t", "c"], ["y"])],
        {},
        9,
    )
    yield (
        "MatMul, then Relu",
        [
            _rows(node),
            node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
            node("MatMul", ["a", "t"], ["p"]),
            node("Relu", ["p"], ["y"]),
        ],
        {"rows": rows},
        9,
    )
    yield "Mod", [made_of("Mod", "by", fmod=1)], {"by": np.float32(1.5)}, 13
    yield (
        "Mul by one number, three sides",
        [_rows(node), node("Mul", ["a", "by"], ["y"])],
        {"rows": rows, "by": np.float32(0.3)},
        9,
    )
    yield (
        "Pad, reflected",
        [made_of("Pad", "pads", mode="reflect")],
        {"pads": np.array([0, 0, 1, 1, 0, 0, 2, 1], whole)},
        13,
    )
    yield "ReduceL2", [made_of("ReduceL2", axes=[1])], {}, 13
    yield (
        "Resize, cubic",
        [made_of("Resize", "", "", "sizes", mode="cubic")],
        {"sizes": np.array([8, 4, 9, 12], whole)},
        13,
    )
    yield "Softmax over a row", [made_of("Softmax", axis=2)], {}, 13
    yield "SpaceToDepth", [made_of("SpaceToDepth", blocksize=2)], {}, 13
    yield "Tile", [made_of("Tile", "times")], {"times": np.array([1, 1, 2, 1], whole)}, 13
    yield "TopK", [node("TopK", ["c", "k"], ["y", "places"], axis=3)], {"k": np.array([3], whole)}, 13
    yield (
        "Transpose of five sides",
        [node("Reshape", ["c", "cut"], ["a"]), node("Transpose", ["a"], ["y"], perm=[0, 2, 4, 1, 3])],
        {"cut": np.array([0, 4, 2, 3, 8])},
        9,
    )
    yield (
        "Where",
        [node("Greater", ["c", "zero"], ["b"]), node("Where", ["b", "c", "other"], ["y"])],
        {"zero": zero, "other": np.float32(-1)},
        13,
    )


def _rows(node: Any) -> Any:
    return node("Reshape", ["c", "rows"], ["a"])


def _recurrent(generator: np.random.Generator, gates: int) -> dict[str, np.ndarray]:
    shapes = {"W": (1, gates * 5, 48), "R": (1, gates * 5, 5), "B": (1, gates * 10)}
    return {name: generator.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}


def write_models(folder: Path) -> dict[str, str]:
    """Write each model with what onnxruntime answers; return the file's name of each operation."""
    import onnxruntime

    generator = np.random.default_rng(1)
    weights = {"w": generator.normal(0, 1, (4, 4, 1, 1)).astype(np.float32)}
    inputs = generator.normal(0, 1, (max(BATCHES), *SIDES)).astype(np.float32)
    files: dict[str, str] = {}
    for number, (name, nodes, constants, opset) in enumerate(_models()):
        first = helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1])
        values = {**weights, **constants}
        graph = helper.make_graph(
            [first, *nodes],
            "operation",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", *SIDES])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(value), key) for key, value in values.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        batches = [count for count in BATCHES if count == max(BATCHES) or name != "Resize, cubic"]
        expected = {f"expected_{count}": session.run(None, {"x": inputs[:count]})[0] for count in batches}
        shape = [side if index else "N" for index, side in enumerate(expected[f"expected_{batches[0]}"].shape)]
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape))
        files[name] = f"operation-{number}"
        onnx.save(model, folder / f"{files[name]}.onnx")
        np.savez(folder / f"{files[name]}.npz", inputs=inputs, batches=batches, **expected)
    return files


def ask(reader_name: str, folder: Path, file: str, environments: Path) -> str:
    """Return what one OpenCV makes of one operation: `right`, `wrong`, `not read`, `fails`, or `ends the process`."""
    reader = READERS[reader_name]
    python = environment_python(environments, reader.opencv)
    command = [python, "-c", _ASK, reader.engine or "-", str(folder), file]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    word = said.stderr.strip().splitlines()[-1:] or [""]
    return word[0] if word[0] in ("right", "wrong", "not read", "fails") else "ends the process"


def main() -> None:
    """Ask every reader about every operation; print and write the table."""
    environments = ROOT / ".compat"
    names = [name for name in READERS if environment_python(environments, READERS[name].opencv).is_file()]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = write_models(folder)
        found = {name: [ask(reader, folder, file, environments) for reader in names] for name, file in files.items()}
    lines = [
        "| operation | " + " | ".join(READERS[name].title for name in names) + " |",
        "|---|" + "---|" * len(names),
        *(f"| {name} | {' | '.join(words)} |" for name, words in found.items()),
    ]
    print("\n".join(lines))
    write_between(PAGE, BEGIN, END, "\n".join(lines))
    (environments / "operators.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
