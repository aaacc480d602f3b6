"""Pictures that are there more than once in arrays, found as those in folders are."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from trainkit._progress import counting_chunks
from trainkit.data._cores import all_cores
from trainkit.data._dataset import to_images
from trainkit.data._groups import alike_contents, bind
from trainkit.data._inspection import ImageFile
from trainkit.data._repeats._duplicates import (
    Duplicates,
    LabelledColumns,
    LabelledFile,
    find_duplicates,
    warnings_of,
)
from trainkit.data._repeats._fingerprints import Fingerprint, FingerprintRows, compute_rows
from trainkit.data._repeats._same_picture import TINY

if TYPE_CHECKING:
    from trainkit.data._arrays._labelled import LabelledArrays

Chosen = Mapping[str, np.ndarray | None]  # side to the numbers of its images, `None` for an array as it stands
_BLOCK = 256  # images that one thread looks at before another one does
_NEAR = 10_000  # images among which a training looks for near-duplicates too: some seconds


def warn_of_repeats(arrays: LabelledArrays, chosen: Chosen, *, path: Path | None) -> list[str]:
    """Say what spoils the training: pictures that are there again, on another side or in another class.

    Among very many images only copies are looked for, pixel for pixel; `data check` looks for all.
    """
    if sum(map(len, arrays.images.values())) <= _NEAR:
        return warnings_of(_find(arrays, chosen, path), path)
    times = Counter(content for of_side in arrays.contents.values() for content in of_side)
    repeated = {
        source: np.flatnonzero([times[content] > 1 for content in of_side])
        for source, of_side in arrays.contents.items()
    }
    copies = {}
    for side, indices in chosen.items():
        source = side if side in arrays.images else "train"
        copies[side] = repeated[source] if indices is None else np.intersect1d(indices, repeated[source])
    return warnings_of(_find(arrays, copies, path), path)


def bind_arrays(arrays: LabelledArrays) -> list[str]:
    """Return a key for each image that is to be split: those that look alike have the same, among not too many."""
    contents = arrays.contents["train"]
    if len(contents) > _NEAR:
        return contents
    labelled = label_images(arrays, {"train": None}, path=None)
    alike = alike_contents(find_duplicates(labelled, show=partial(show_image, arrays)))
    own = [one.file.sha256 for one in labelled]
    key_of = bind(own, [None] * len(own), alike)
    return [key_of[content] for content in own]


def _find(arrays: LabelledArrays, chosen: Chosen, path: Path | None) -> Duplicates:
    return find_duplicates(label_images(arrays, chosen, path=path), show=partial(show_image, arrays))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledImages(LabelledColumns):
    """Images of arrays as `find_duplicates` takes them; an image is called by its array and its number in it.

    Of a million there are no million objects: an image takes the 329 bytes of its fingerprint, and ten more.
    """

    arrays: LabelledArrays
    path: Path | None  # of the file that they are in
    sides: list[str | None]
    side_numbers: np.ndarray  # uint8 (N,), of `sides`
    sources: list[str]  # keys of the arrays
    source_numbers: np.ndarray  # uint8 (N,), of `sources`
    indices: np.ndarray  # int64 (N,), the number of each image in its array
    seen: FingerprintRows
    is_flat: np.ndarray  # bool (N,): has no fingerprint

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        source, index = self.sources[self.source_numbers[place]], int(self.indices[place])
        arrays, name = self.arrays, f"{self.arrays.names[source]}[{index}]"
        shape, row = arrays.images[source][index].shape, arrays.labels[source][index]
        file = ImageFile(
            path=Path(name) if self.path is None else self.path / name,
            sha256=self._content(source, index),
            problem=None,
            width=shape[1],
            height=shape[0],
            mode="RGB" if len(shape) == 3 else "L",
            format="array",
            fingerprint=None if self.is_flat[place] else self.seen[place],
        )
        numbers = np.flatnonzero(row) if arrays.multi_label else [row]
        labels = tuple(arrays.class_names[int(number)] for number in numbers)
        return LabelledFile(file, labels, self.sides[self.side_numbers[place]])

    def _content(self, source: str, index: int) -> str:
        shape = self.arrays.images[source][index].shape
        return f"{self.arrays.contents[source][index]}-{'x'.join(map(str, shape))}"

    def order(self) -> Sequence[int]:
        """Return the places of all in the order of their names, which is that of their paths."""
        names = [f"{self.arrays.names[source]}[{index}]" for source, index in self._places()]
        return array("q", sorted(range(len(names)), key=names.__getitem__))

    def contents(self) -> Sequence[str]:
        """Return the hash of each image's pixels; where shapes differ, with the shape."""
        shapes = {
            pixels.shape[1:] if isinstance(pixels, np.ndarray) else None for pixels in self.arrays.images.values()
        }
        if len(shapes) == 1 and None not in shapes:
            return [self.arrays.contents[source][index] for source, index in self._places()]
        return [self._content(source, index) for source, index in self._places()]

    def _places(self) -> Iterator[tuple[str, int]]:
        for number, index in zip(self.source_numbers.tolist(), self.indices.tolist(), strict=True):
            yield self.sources[number], index

    def has_fingerprint(self, place: int) -> bool:
        """Whether one of them is no flat picture."""
        return not self.is_flat[place]

    def fingerprints(self, places: Sequence[int]) -> Sequence[Fingerprint]:
        """Return the fingerprints of some that have one."""
        return self.seen.choose(np.array(places, np.int64))

    def look(self, first: int) -> None:
        """Keep the fingerprints of some images, from a place on."""
        some = slice(first, min(first + _BLOCK, len(self)))
        images = [self._image(place) for place in range(some.start, some.stop)]
        tiny = np.array([min(image.shape[:2]) < TINY for image in images])
        self.seen.rows[some], self.is_flat[some] = compute_rows(images, tiny)

    def _image(self, place: int) -> np.ndarray:
        """Return uint8 `(height, width)`, or `(height, width, 3)`, BGR."""
        pixels = self.arrays.images[self.sources[self.source_numbers[place]]][int(self.indices[place])]
        return pixels if pixels.ndim == 2 else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))


def label_images(
    arrays: LabelledArrays, chosen: Chosen, *, path: Path | None, known_sides: bool = True
) -> LabelledImages:
    """Look at images of arrays.

    Args:
        arrays: that they are in.
        chosen: which images are meant.
        path: of the file that the arrays are in.
        known_sides: whether the sides are those that somebody has chosen.
    """
    sources = list(arrays.images)
    parts = [
        np.arange(len(arrays.images[side])) if indices is None else np.asarray(indices, np.int64)
        for side, indices in chosen.items()
    ]
    lengths = [len(part) for part in parts]
    numbers = [sources.index(side if side in arrays.images else "train") for side in chosen]
    found = LabelledImages(
        arrays=arrays,
        path=path,
        sides=[side if known_sides else None for side in chosen],
        side_numbers=np.repeat(np.arange(len(parts), dtype=np.uint8), lengths),
        sources=sources,
        source_numbers=np.repeat(np.array(numbers, np.uint8), lengths),
        indices=np.concatenate([np.empty(0, np.int64), *parts]),
        seen=FingerprintRows.empty(sum(lengths)),
        is_flat=np.zeros(sum(lengths), bool),
    )
    with all_cores() as pool:
        looked = pool.map(found.look, range(0, len(found), _BLOCK))
        for _ in counting_chunks(len(found), _BLOCK, "Looking at the images"):
            next(looked)
    return found


def show_image(arrays: LabelledArrays, path: Path) -> np.ndarray:
    """Return an image by what `label_images` calls it: uint8 `(height, width, 3)`, BGR."""
    name, _, number = path.name.removesuffix("]").rpartition("[")
    source = next(side for side, one in arrays.names.items() if one == name)
    return to_images(arrays.images[source])[int(number)]
