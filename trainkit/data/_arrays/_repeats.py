"""Pictures that are there more than once in arrays, found as those in folders are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainkit._progress import doing
from trainkit.data._cores import all_cores
from trainkit.data._dataset import to_images
from trainkit.data._groups import alike_contents, bind
from trainkit.data._inspection import ImageFile
from trainkit.data._repeats._duplicates import Duplicates, LabelledFile, find_duplicates, warnings_of
from trainkit.data._repeats._fingerprints import compute_fingerprint

if TYPE_CHECKING:
    from trainkit.data._arrays._labelled import LabelledArrays

Chosen = Mapping[str, np.ndarray | None]  # side to the numbers of its images, `None` for an array as it stands
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


def label_images(arrays: LabelledArrays, chosen: Chosen, *, path: Path | None) -> list[LabelledFile]:
    """Return what `find_duplicates` takes; an image is called by its array and its number in it."""
    places = [
        (side if side in arrays.images else "train", side, int(index))
        for side, indices in chosen.items()
        for index in (range(len(arrays.images[side])) if indices is None else indices)
    ]
    with doing(f"Looking at {len(places):,} images"), all_cores() as pool:
        return list(pool.map(partial(_label, arrays, path), places))


def show_image(arrays: LabelledArrays, path: Path) -> np.ndarray:
    """Return an image by what `label_images` calls it: uint8 `(height, width, 3)`, BGR."""
    name, _, number = path.name.removesuffix("]").rpartition("[")
    source = next(side for side, one in arrays.names.items() if one == name)
    return to_images(arrays.images[source])[int(number)]


def _label(arrays: LabelledArrays, path: Path | None, place: tuple[str, str, int]) -> LabelledFile:
    source, side, index = place
    pixels, row, name = arrays.images[source], arrays.labels[source][index], f"{arrays.names[source]}[{index}]"
    image = to_images(pixels)[index]
    height, width = image.shape[:2]
    shape = pixels[index].shape
    file = ImageFile(
        path=Path(name) if path is None else path / name,
        sha256=f"{arrays.contents[source][index]}-{'x'.join(map(str, shape))}",
        problem=None,
        width=width,
        height=height,
        mode="RGB" if len(shape) == 3 else "L",
        format="array",
        fingerprint=compute_fingerprint(image, height=height, width=width),
    )
    numbers = np.flatnonzero(row) if arrays.multi_label else [row]
    return LabelledFile(file, tuple(arrays.class_names[int(number)] for number in numbers), side)
