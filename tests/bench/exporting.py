"""The exported graph against the one that `tf2onnx` writes, in the installed cv2.dnn: time and size, one image.

Each network is measured in a process of its own, because cv2.dnn may end the process on a naive graph.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformer import build_vit_tiny

NETWORKS = (
    "small-cnn",
    "fashion-mnist",
    "mobilenet",
    "mobilenet-v2",
    "mobilenet-v3-small",
    "efficientnet-b0",
    "resnet50",
    "densenet121",
    "vit-tiny",
)
SHAPES = {"small-cnn": (96, 96, 3), "fashion-mnist": (28, 28, 1)}
CLASSES = 10
MOST_SECONDS = 20.0


def save_ours(model: Any, path: Path, recent: Path) -> None:
    """Write the graph that trainkit exports, for OpenCV 4.5.5 and later, and for 4.10 and later only."""
    from trainkit.exporting._conversion import build_graph
    from trainkit.exporting._onnx_graph import save_onnx
    from trainkit.exporting._tracing import trace

    traced = trace(model)
    save_onnx(build_graph(traced), traced.kind, path, metadata={})
    save_onnx(build_graph(traced, broadcast=True), traced.kind, recent, metadata={})


def save_naive(model: Any, path: Path) -> int:
    """Write what tf2onnx makes of a model, and return how many inputs without a value had to be filled in.

    It leaves the constants of a Normalization layer as inputs that the file has no values for.
    """
    import onnx
    import tf2onnx

    from trainkit.backend import silent_stderr, tf

    signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="input")]
    function = tf.function(lambda batch: model(batch, training=False), input_signature=signature)
    with silent_stderr():
        proto, _ = tf2onnx.convert.from_function(
            function, input_signature=signature, opset=13, inputs_as_nchw=["input"]
        )
        captured = {
            inner.name: outer.numpy()
            for outer, inner in function.get_concrete_function().graph.captures
            if outer.dtype != tf.resource
        }
    missing = [value for value in proto.graph.input if value.name != "input"]
    for value in missing:
        proto.graph.input.remove(value)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(captured[value.name], value.name))
    onnx.save(proto, path)
    return len(missing)


def build(network: str) -> Any:
    """Return a network with random weights; `mobilenet-v2@96` is one for images of 96 pixels a side."""
    from trainkit.backend import keras
    from trainkit.models._builders import BUILDERS

    keras.utils.set_random_seed(0)
    name, _, side = network.partition("@")
    if name == "vit-tiny":
        return build_vit_tiny(CLASSES)
    builder = BUILDERS[name]
    shape = (int(side), int(side), 3) if side else SHAPES.get(name) or (*reversed(builder.size or ()), 3)
    return builder.build(shape, CLASSES, **{**builder.settings, "weights": "none"})


def calm(model: Any) -> None:
    """Let the batch normalisations of a random network know the noise that it is timed with.

    Otherwise what it computes grows from layer to layer, until the exponentials in its sigmoids are so small that the
    processor takes ten times as long for them: in OpenCV 4.8 that was most of the time of EfficientNetB0.
    """
    import numpy as np

    from trainkit.backend import keras

    found = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in found]
    for layer in found:
        layer.momentum = 0.0
    noise = np.random.default_rng(1).uniform(-1, 1, (4, *model.input_shape[1:])).astype(np.float32)
    if found:
        model(noise, training=True)
    for layer, momentum in zip(found, momenta, strict=True):
        layer.momentum = momentum


def measure(network: str) -> dict[str, Any]:
    """Return the row of one network."""
    import cv2
    import numpy as np

    from trainkit.bundles._bench import time_in_turn

    model = build(network)
    calm(model)
    shape = model.input_shape[1:]
    blob = np.random.default_rng(0).uniform(-1, 1, (1, shape[2], *shape[:2])).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        ours, recent, naive = (Path(folder, f"{name}.onnx") for name in ("ours", "recent", "naive"))
        save_ours(model, ours, recent)
        filled = save_naive(model, naive)
        sizes = {"ours": ours.stat().st_size, "naive": naive.stat().st_size}
        files = {"naive": naive, "ours": ours, "recent": recent}
        nets = {name: cv2.dnn.readNetFromONNX(str(path)) for name, path in files.items()}

    def forward(net: Any) -> Any:
        net.setInput(blob)
        return net.forward()

    answers = {name: np.array(forward(net)).reshape(-1) for name, net in nets.items()}
    times = time_in_turn(
        {name: lambda net=net: forward(net) for name, net in nets.items()}, most_runs=1000, most_seconds=MOST_SECONDS
    )
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    paired = {
        name: statistics.median(one / naive for one, naive in zip(times[name], times["naive"], strict=True))
        for name in ("ours", "recent")
    }
    return {
        "network": network,
        "opencv": cv2.__version__,
        "runs": len(times["ours"]),
        "naive_ms": 1000 * medians["naive"],
        "ours_ms": 1000 * medians["ours"],
        "time_ratio": medians["ours"] / medians["naive"],
        "paired_ratio": paired["ours"],
        "recent_ratio": paired["recent"],
        "size_ratio": sizes["ours"] / sizes["naive"],
        "difference": float(np.abs(answers["ours"] - answers["naive"]).max()),
        "filled": filled,
    }


def rows(networks: tuple[str, ...] = NETWORKS) -> Iterator[dict[str, Any]]:
    """Yield the figures of each network as soon as they are there; `error` where its process ended."""
    for network in networks:
        command = [sys.executable, __file__, network]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            yield {"network": network, "error": f"ended with {done.returncode}: {last[:90]}"}
        else:
            yield json.loads(done.stdout)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
