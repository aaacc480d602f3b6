"""One training that is timed, by trainkit or by Keras' own `fit`: `python tests/gpu/workloads.py NAME BY [--tiny]`.

Keras is used as its manual does: NumPy arrays of float32, its own layers for augmentation, `compile` and `fit`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

NAMES = ("fashion-mnist-best", "mobilenet-224", "mobilenet-224-augmented")
EPOCHS = 4  # of which the first is not counted: what is compiled is compiled there
BATCH = {"fashion-mnist-best": 256, "mobilenet-224": 64, "mobilenet-224-augmented": 64}
AUGMENTATION = {
    "augmentation.rotation_range": 15,
    "augmentation.width_shift_range": 0.1,
    "augmentation.height_shift_range": 0.1,
    "augmentation.zoom_range": 0.1,
    "augmentation.horizontal_flip": True,
}


def load(name: str, *, tiny: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images `(N, height, width[, 3])` and their labels: the real ones where they are here, else noise."""
    if name == "fashion-mnist-best":
        count = 1024 if tiny else 60_000
        generator = np.random.default_rng(0)
        try:
            from trainkit.backend import keras

            (x, y), _ = keras.datasets.fashion_mnist.load_data()
        except Exception:  # neither a copy nor a way to the server: the speed is the same
            x, y = generator.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count) % 10
        return x[:count], y[:count].astype(np.int64)
    count = 96 if tiny else 4_000
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (count, 14, 14, 3), np.uint8)
    return small.repeat(16, axis=1).repeat(16, axis=2), np.arange(count) % 5


def by_trainkit(name: str, x: np.ndarray, y: np.ndarray, *, tiny: bool) -> dict[str, Any]:
    """Return images a second of each epoch after the first, and where the weights lie."""
    import trainkit

    settings: dict[str, Any] = {"training.validation": 0.0, "training.mixed_precision": "auto"}
    if name != "fashion-mnist-best":
        settings |= {"model.alpha": 0.25 if tiny else 1.0, "model.weights": "none", "preprocessing.size": [224, 224]}
        settings |= AUGMENTATION if name.endswith("augmented") else {}
    with tempfile.TemporaryDirectory() as folder:
        run = trainkit.train(
            (x, y),
            model="small-resnet" if name == "fashion-mnist-best" else "mobilenet",
            recipe=name if name == "fashion-mnist-best" else None,
            epochs=EPOCHS,
            batch_size=BATCH[name],
            settings=settings,
            experiments=Path(folder),
        )
        rows = run.metrics
    speeds = [float(row["images_per_second"]) for row in rows[1:]]
    return {"images_per_second": speeds, "trained_on": kind_of_device()}


def by_keras(name: str, x: np.ndarray, y: np.ndarray, *, tiny: bool) -> dict[str, Any]:
    """Return the same of Keras' `fit`: the same network, optimizer and batch, on float32 arrays."""
    from trainkit.backend import keras
    from trainkit.models import BUILDERS

    classes = int(y.max()) + 1
    images = x[..., None] if x.ndim == 3 else x
    if name == "fashion-mnist-best":
        builder = BUILDERS["small-resnet"]
        network = builder.build(images.shape[1:], classes, **builder.settings)
    else:
        network = keras.applications.MobileNet(
            input_shape=images.shape[1:], alpha=0.25 if tiny else 1.0, weights=None, classes=classes
        )
    inputs = keras.Input(images.shape[1:])
    steps = [keras.layers.Rescaling(1 / 255)]
    if name.endswith("augmented"):
        layers = keras.layers
        steps += [layers.RandomFlip("horizontal"), layers.RandomRotation(15 / 360), layers.RandomTranslation(0.1, 0.1)]
        steps += [layers.RandomZoom(0.1)]
    outputs = inputs
    for step in (*steps, network):
        outputs = step(outputs)
    model = keras.Model(inputs, outputs)
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    clock = Clock()
    model.fit(
        images.astype(np.float32), y, batch_size=BATCH[name], epochs=EPOCHS, verbose=0, callbacks=[clock.callback()]
    )
    return {"images_per_second": [len(x) / seconds for seconds in clock.seconds[1:]], "trained_on": kind_of_device()}


class Clock:
    """The seconds of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._started = 0.0

    def callback(self) -> Any:
        """Return what Keras calls."""
        from trainkit.backend import keras

        def begin(epoch: int, logs: Any = None) -> None:
            self._started = time.monotonic()

        def end(epoch: int, logs: Any = None) -> None:
            self.seconds.append(time.monotonic() - self._started)

        return keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)


def kind_of_device() -> str:
    """Return where TensorFlow puts a variable: `GPU` or `CPU`."""
    from trainkit.backend import tf

    return "GPU" if "GPU" in tf.Variable(0.0).device else "CPU"


def describe_device() -> dict[str, Any]:
    """Return what trains here."""
    import os

    from trainkit.backend import onednn_is_on, tf
    from trainkit.training._device import choose_precision, find_gpu

    gpu = find_gpu()
    return {
        "kind": kind_of_device(),
        "name": gpu.name if gpu else None,
        "compute_capability": gpu.compute_capability if gpu else None,
        "precision": choose_precision(),
        "onednn": onednn_is_on(),
        "cores": os.cpu_count(),
        "tensorflow": tf.__version__,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*NAMES, "device"])
    parser.add_argument("by", choices=["trainkit", "keras", "-"])
    parser.add_argument("--tiny", action="store_true")
    arguments = parser.parse_args()
    if arguments.name == "device":
        print(json.dumps(describe_device()))
    else:
        measures = {"trainkit": by_trainkit, "keras": by_keras}
        images, labels = load(arguments.name, tiny=arguments.tiny)
        print(json.dumps(measures[arguments.by](arguments.name, images, labels, tiny=arguments.tiny)))
