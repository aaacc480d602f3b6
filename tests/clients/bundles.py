"""The bundles that every client has to answer as Keras does.

    python tests/clients/bundles.py FOLDER

It runs in a process of its own, so that the clients are measured on a machine without TensorFlow in its memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import skimage.data

import trainkit
from trainkit.bundles._export import FORMATS
from trainkit.errors import WeightsError

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")  # of scikit-image, which carries them
ODD_NAME = 'café "x"'


def write_photographs(folder: Path) -> None:
    """Write photographs as JPEG and cut each into many more: two class folders."""
    for number, name in enumerate(PHOTOS):
        image = cv2.cvtColor(getattr(skimage.data, name)(), cv2.COLOR_RGB2BGR)
        target = folder / (ODD_NAME if number % 2 else "people and cups")
        target.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target / f"{name}.jpg"), image)
        for cut in range(12):
            top, left = 17 * cut, 13 * cut
            cv2.imwrite(str(target / f"{name}-{cut}.jpg"), image[top : top + 180, left : left + 150 + 9 * cut])


def write_bundles(folder: Path) -> None:
    """Write each network in both formats; say what cannot be had here."""
    photographs, exported, experiments = folder / "photographs", folder / "exported", folder / "experiments"
    write_photographs(photographs)
    brought: dict[str, Any] = {"experiments": experiments}
    try:
        textbook = trainkit.train("fashion-mnist", epochs=1, **brought)
    except trainkit.errors.TrainkitError as error:
        print(f"The textbook network is trained on digits instead: {error}")
        textbook = trainkit.train("digits", model="fashion-mnist", size=(28, 28), epochs=2, **brought)
    two_classes = trainkit.train(
        photographs, model="small-cnn", size=(96, 64), resize="pad", preprocessing="standardize", epochs=3, **brought
    )
    for model_format in FORMATS:
        arguments: dict[str, Any] = {"format": model_format, "clients": "python,cpp,node,web", "exported": exported}
        trainkit.export(textbook, name=f"textbook-{model_format}", **arguments)
        trainkit.export(two_classes, name=f"two-classes-{model_format}", **arguments)
        try:
            name = f"mobilenet-{model_format}"
            trainkit.export(model="mobilenet", alpha=0.75, data=photographs, name=name, **arguments)
        except WeightsError as error:
            print(f"MobileNet is left out: {error}")


if __name__ == "__main__":
    write_bundles(Path(sys.argv[1]))
