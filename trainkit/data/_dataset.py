"""Images with their classes, by side: what every kind of data becomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from trainkit.data._inspection import read_image


class Images(Protocol):
    """Images that are decoded when they are asked for: uint8 `(height, width, 3)`, BGR."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> np.ndarray: ...


def _to_bgr(image: np.ndarray) -> np.ndarray:
    code = cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), code))


@dataclass(frozen=True, slots=True)
class ArrayImages:
    """Pictures of one size that lie in memory, as Keras has them."""

    pixels: np.ndarray  # uint8 (N, height, width), or (N, height, width, 3) in the order R, G, B
    chosen: np.ndarray | None = None  # int64, the numbers of those that are meant; `None`: all

    def __len__(self) -> int:
        return len(self.pixels if self.chosen is None else self.chosen)

    def __getitem__(self, index: int) -> np.ndarray:
        return _to_bgr(self.pixels[index if self.chosen is None else self.chosen[index]])

    def block(self, first: int, count: int) -> np.ndarray:
        """Return the pixels of some of them at once, as they are."""
        return self.pixels[first : first + count] if self.chosen is None else self.pixels[self.chosen[first:][:count]]


@dataclass(frozen=True, slots=True)
class PackedPixels:
    """The pixels of pictures of several sizes, one after the other."""

    flat: np.ndarray  # uint8 (values,)
    shapes: np.ndarray  # int64 (N, 3): height, width, and 1 channel or 3 in the order R, G, B
    starts: np.ndarray  # int64 (N,): where each picture begins

    @classmethod
    def of(cls, flat: np.ndarray, shapes: np.ndarray) -> PackedPixels:
        """Say where the pictures begin."""
        sizes = shapes.prod(axis=1)
        return cls(flat, shapes, np.cumsum(sizes) - sizes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return uint8 `(height, width)`, or `(height, width, 3)`."""
        height, width, channels = map(int, self.shapes[index])
        start = int(self.starts[index])
        values = self.flat[start : start + height * width * channels]
        return values.reshape((height, width) if channels == 1 else (height, width, channels))


@dataclass(frozen=True, slots=True)
class PackedImages:
    """Pictures of several sizes that lie in memory, or are mapped into it."""

    pixels: PackedPixels
    chosen: np.ndarray | None = None  # int64, the numbers of those that are meant; `None`: all

    def __len__(self) -> int:
        return len(self.pixels if self.chosen is None else self.chosen)

    def __getitem__(self, index: int) -> np.ndarray:
        return _to_bgr(self.pixels[int(index if self.chosen is None else self.chosen[index])])


Pixels = np.ndarray | PackedPixels  # uint8 (N, height, width), (N, height, width, 3), or of several sizes


def to_images(pixels: Pixels, chosen: np.ndarray | None = None) -> ArrayImages | PackedImages:
    """Return pixels, or some of them, as pictures."""
    return PackedImages(pixels, chosen) if isinstance(pixels, PackedPixels) else ArrayImages(pixels, chosen)


@dataclass(frozen=True, slots=True)
class ColorImages:
    """Pictures of any size that lie in memory."""

    images: list[np.ndarray]  # uint8 (height, width, 3), BGR

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.images[index]


@dataclass(frozen=True, slots=True)
class FileImages:
    """Pictures on disk."""

    paths: list[Path]
    contents: list[str] = field(default_factory=list)  # their SHA-256, where they were looked at

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return np.asarray(read_image(self.paths[index]))


@dataclass(frozen=True, slots=True)
class ChosenImages:
    """Some of the pictures of others, in any order."""

    chosen: list[tuple[Images, int]]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> np.ndarray:
        images, position = self.chosen[index]
        return images[position]


@dataclass(frozen=True, slots=True)
class JoinedImages:
    """The pictures of others, one after the other."""

    parts: list[Images]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, index: int) -> np.ndarray:
        ((part, first, _),) = self.pieces(index, 1)
        return part[first]

    def pieces(self, first: int, count: int) -> Iterator[tuple[Images, int, int]]:
        """Yield whose the pictures from a number on are: the others, the number there, and how many.

        Raises:
            IndexError: there is none of the first number.
        """
        if not 0 <= first < len(self):
            raise IndexError(f"Expected 0 to {len(self) - 1}. Received: {first}")
        for part in self.parts:
            if first < len(part) and count > 0:
                some = min(count, len(part) - first)
                yield part, first, some
                first, count = first + some, count - some
            first -= len(part)


@dataclass(frozen=True, slots=True)
class Part:
    """One side of a data set."""

    images: Images
    labels: np.ndarray  # int64 (N,), indices of the class names; for several labels float32 (N, classes), 0 and 1

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> Path | None:
        """Return the file of an image, `None` where it has none."""
        images = self.images
        while isinstance(images, ChosenImages):
            images, index = images.chosen[index]
        return images.paths[index] if isinstance(images, FileImages) else None


def choose_part(part: Part, numbers: np.ndarray) -> Part:
    """Return some images of a part, in this order."""
    if len(numbers) == len(part) and (numbers == np.arange(len(part))).all():
        return part
    return Part(ChosenImages([(part.images, int(number)) for number in numbers]), part.labels[numbers])


def take_evenly(parts: Sequence[Part], count: int) -> Part:
    """Return at most `count` images: from the first part as long as it has any, spread over it, then from the next.

    The images of a folder are in the order of their classes, so that every class comes in.
    """
    chosen: list[tuple[Images, int]] = []
    labels: list[np.ndarray] = []
    for part in parts:
        wanted = min(count - len(chosen), len(part))
        positions = np.linspace(0, len(part) - 1, wanted).round().astype(int)
        chosen += [(part.images, int(position)) for position in positions]
        labels.append(part.labels[positions])
    return Part(ChosenImages(chosen), np.concatenate(labels))


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images with their classes, by side."""

    name: str
    class_names: list[str]
    parts: dict[str, Part]  # train, and where there are any: val, test
    warnings: list[str] = field(default_factory=list)
    multi_label: bool = False  # whether an image may have several classes: labels are then (N, classes) of 0 and 1
    image_names: list[str] = field(default_factory=list)  # of a whole one: paths, or side and number, `train[17]`
    groups: list[str] | None = None  # of a whole one: of each image, where they were asked for

    @property
    def test_split(self) -> str | None:
        """The side that test figures come from: `test`, `val` where there is no test part, else `None`."""
        return next((side for side in ("test", "val") if side in self.parts), None)

    def sample(self, count: int) -> Part:
        """Return at most `count` images, those for testing first."""
        return take_evenly([self.parts[side] for side in ("test", "val", "train") if side in self.parts], count)


def digest_of_images(part: Part, class_names: Sequence[str]) -> str:
    """Return a SHA-256 of the images of a part, by their contents, and of what they are; not of where they lie."""
    digest = hashlib.sha256()
    for index, label in enumerate(part.labels):
        numbers = np.flatnonzero(label) if part.labels.ndim == 2 else [label]
        names = [class_names[int(number)] for number in numbers]
        digest.update(json.dumps([content_of(part.images, index), names]).encode())
    return digest.hexdigest()


def content_of(images: Images, index: int) -> str:
    """Return the SHA-256 of an image: of its file where that was looked at, else of its pixels."""
    while isinstance(images, ChosenImages):
        images, index = images.chosen[index]
    if isinstance(images, FileImages) and images.contents:
        return images.contents[index]
    pixels = images[index]
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def fingerprint(dataset: Dataset) -> str:
    """Return a SHA-256 of which images a data set has, in which order and of which class; not of their pixels."""
    digest = hashlib.sha256("\n".join(dataset.class_names).encode())
    for side, part in sorted(dataset.parts.items()):
        digest.update(side.encode() + np.ascontiguousarray(part.labels).tobytes())
        for index in range(len(part)):
            if (path := part.path(index)) is None:
                break
            digest.update(path.name.encode(errors="surrogateescape") + b"\n")
    return digest.hexdigest()
