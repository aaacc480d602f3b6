"""What one would write: OpenCV, a thread that reads ahead, and nothing that is checked.

python tests/bench/bare_loop.py BUNDLE FOLDER|VIDEO
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2


def pictures(source: str) -> Iterator[tuple[str, Any]]:
    if Path(source).is_dir():
        for path in sorted(Path(source).rglob("*.jpg")):
            yield str(path), cv2.imread(str(path))
        return
    capture = cv2.VideoCapture(source)
    number = 0
    while True:
        there, frame = capture.read()
        if not there:
            break
        yield f"{source} frame {number}", frame
        number += 1


def main(bundle: str, source: str) -> None:
    manifest = json.loads(Path(bundle, "manifest.json").read_text(encoding="utf-8"))
    blob = {**manifest["blob"], "size": tuple(manifest["blob"]["size"])}
    net = cv2.dnn.readNetFromONNX(str(Path(bundle, manifest["model"]["file"])))
    waiting: queue.Queue[tuple[str, Any] | None] = queue.Queue(16)

    def read() -> None:
        for picture in pictures(source):
            waiting.put(picture)
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    while (picture := waiting.get()) is not None:
        name, image = picture
        net.setInput(cv2.dnn.blobFromImage(image, **blob))
        probabilities = net.forward()[0]
        best = int(probabilities.argmax())
        print(f"{name}: {manifest['output']['class_names'][best]} {probabilities[best]:.4f}")


main(*sys.argv[1:])
