"""onnxruntime is used, and tells nobody."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import trainkit

PACKAGE = Path(trainkit.__file__).parent
USE = """
from trainkit.exporting._onnxruntime import load_onnxruntime
from onnx import TensorProto, helper
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
load_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
"""


def test_telemetry_is_off(tmp_path: Path) -> None:
    """It would begin with a `.ses` file in the temporary folder, from 1.31 on."""
    surroundings = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    surroundings |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(PACKAGE.parent)}
    subprocess.run([sys.executable, "-c", USE], check=True, env=surroundings)
    assert list(tmp_path.iterdir()) == []


def test_onnxruntime_comes_in_by_one_door() -> None:
    doors = {
        path.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name.startswith("onnxruntime") for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("onnxruntime"))
    }
    assert doors == {"_onnxruntime.py"}
