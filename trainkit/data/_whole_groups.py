"""Which images of a whole data set belong together, for its folds."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from trainkit._progress import doing
from trainkit.data._cores import all_cores
from trainkit.data._dataset import Dataset, Part, content_of
from trainkit.data._groups import alike_contents, bind
from trainkit.data._inspection import ImageFile
from trainkit.data._repeats._duplicates import LabelledFile, find_duplicates
from trainkit.data._repeats._fingerprints import compute_fingerprint

_NEAR = 10_000  # images among which near-duplicates are looked for too, as a training does


def bind_whole(whole: Dataset, part: Part) -> list[str]:
    """Return a key for each image: those that are equal, look alike or are of one group have the same."""
    with doing(f"Looking at {len(part):,} images"), all_cores() as pool:
        contents = list(pool.map(partial(content_of, part.images), range(len(part))))
        near = len(part) <= _NEAR
        files = list(pool.map(partial(_labelled, part), range(len(part)), contents)) if near else []
    alike = alike_contents(find_duplicates(files, show=lambda path: part.images[int(path.name)]))
    key_of = bind(contents, whole.groups or [None] * len(contents), alike)
    return [key_of[content] for content in contents]


def _labelled(part: Part, index: int, content: str) -> LabelledFile:
    image = part.images[index]
    height, width = image.shape[:2]
    file = ImageFile(
        path=Path(f"{index:09}"),
        sha256=content,
        problem=None,
        width=width,
        height=height,
        mode="RGB",
        format="array",
        fingerprint=compute_fingerprint(image, height=height, width=width),
    )
    return LabelledFile(file, (), None)
