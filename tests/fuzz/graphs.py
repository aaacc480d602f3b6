"""Networks of strangers in bundles: those known to be wrong in one place, and good ones changed in some."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path

from graph_nets import CHANNELS, SIDE, harmless_graphs
from hostile_frozen_graphs import hostile_frozen_graphs
from hostile_graphs import hostile_graphs
from mutations import mutate_bytes
from onnx import AttributeProto, ModelProto

_NUMBERS = (0, 1, -1, 2, 3, 7, 1000, 2**16, 2**31 - 1, -(2**31), 2**62, -(2**63))
_OPERATORS = ("Conv", "MaxPool", "Reshape", "Concat", "Div", "Mod", "Gemm", "MatMul", "Slice", "Pad", "Resize", "Add")


@functools.cache
def _hostile() -> list[tuple[str, bytes]]:
    known = [("onnx", data) for data in hostile_graphs().values()]
    return known + [("frozen-graph", data) for data in hostile_frozen_graphs().values()]


@functools.cache
def _good() -> list[bytes]:
    return list(harmless_graphs().values())


def draw_graph(folder: Path, generator: random.Random) -> Path:
    """Write a bundle whose network is a strange one."""
    draw, model_format = generator.random(), "onnx"
    if draw < 0.3:
        model_format, data = generator.choice(_hostile())
    elif draw < 0.6:
        data = mutate_bytes(generator.choice(_good()), generator)
    else:
        data = _changed(generator.choice(_good()), generator)
    name = "model.onnx" if model_format == "onnx" else "model.pb"
    (folder / name).write_bytes(data)
    manifest = {
        "schema": "trainkit/1",
        "model": {"file": name, "format": model_format},
        "blob": {"scalefactor": 1, "size": [SIDE, SIDE], "mean": [0] * CHANNELS, "swapRB": False, "crop": False},
        "output": {"kind": "logits", "class_names": [str(number) for number in range(generator.choice((2, 4, 5, 10)))]},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _changed(data: bytes, generator: random.Random) -> bytes:
    """Return a good network with a number, an operator or a connection that is another one."""
    model = ModelProto.FromString(data)
    for _ in range(generator.choice((1, 1, 2, 4))):
        node = generator.choice(model.graph.node)
        draw = generator.random()
        if draw < 0.5 and node.attribute:
            _change_attribute(generator.choice(node.attribute), generator)
        elif draw < 0.6:
            node.op_type = generator.choice(_OPERATORS)
        elif draw < 0.7 and node.input:
            names = [one for other in model.graph.node for one in (*other.input, *other.output)]
            node.input[generator.randrange(len(node.input))] = generator.choice(names)
        elif draw < 0.9 and model.graph.initializer:
            tensor = generator.choice(model.graph.initializer)
            if tensor.dims and generator.random() < 0.7:
                tensor.dims[generator.randrange(len(tensor.dims))] = generator.choice(_NUMBERS)
            else:
                tensor.raw_data = mutate_bytes(tensor.raw_data, generator)
        else:
            side = generator.choice(model.graph.input[0].type.tensor_type.shape.dim)
            side.dim_value = generator.choice(_NUMBERS)
    return bytes(model.SerializeToString())


def _change_attribute(attribute: AttributeProto, generator: random.Random) -> None:
    number = generator.choice(_NUMBERS)
    if attribute.ints and generator.random() < 0.8:
        attribute.ints[generator.randrange(len(attribute.ints))] = number
    elif attribute.ints:
        attribute.ints.append(number)
    else:
        attribute.i, attribute.f = number, float(number)
