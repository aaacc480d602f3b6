"""Near-duplicates: one photograph encoded again, resized, cut a little, brightened or turned grey.

Three steps. A perceptual hash of 64 bits (the signs of the lowest cosine frequencies against their median, known as
pHash) finds pairs that may be alike. The detail of the two, which is kept of every picture at 24x24, says of nearly all
of them that they are not. The pictures themselves, looked at again, decide on those that are left.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from trainkit.data._repeats._close_hashes import close_pairs
from trainkit.data._repeats._same_picture import TINY, align, is_same_picture

SIDE = 32  # pixels, of the thumbnail that everything here is computed from
_DETAIL_SIDE = 24
_BLUR = 1.5  # pixels: what it takes away is the detail
_INSIDE = slice(2, _DETAIL_SIDE - 2)  # at the border a blur finds detail in every slope
_COLOR_SIDE = 4
_FREQUENCIES = 8  # a side
_NEARLY_NOTHING = np.float32(1e-20)
_FLAT = 1.0  # grey levels of detail: photographs have 9 and more, walls with a lamp's glow mostly less than this
_STEPS = 2  # of a level of detail, in a standard deviation: 15 levels fit into four bits
_LEVELS = 7

# Of 319,600 pairs of photographs of cats and dogs one is really alike. The detail of the others agrees to 0.61 at most,
# aligned; that of a copy at a quarter of the size, of JPEG quality 60 or cut by 6 % to 0.8 and more, in all 800.
_ALIKE = 0.78  # four bits a pixel take 0.02 off
_TINY_ALIKE = 0.945  # clothes of 28x28 share their outline; 97 of 100 encoded again at quality 60 still reach it
_WORTH_ALIGNING = 0.25  # few different photographs of close hashes reach it, and nearly all that are cut by a tenth
_COLOR_ALIKE = 0.5  # cosine
_COLORFUL = 4.0  # levels of Cr and Cb: less is grey

_BATCH = 1024  # pairs: their details fit into the cache
_ALIGNMENTS = 5_000  # a millisecond each; and for very many pictures
_ALIGNMENTS_EACH = 0.1  # a picture
_FAILURES = 6  # of closer looks at a picture; the likeliest come first. Pages of text resemble each other without end

Fingerprint = bytes  # what is kept of a picture to find its near-duplicates, in this layout: 329 bytes
_LAYOUT = np.dtype(
    [
        ("hash", "<u8"),
        ("detail", "u1", (_DETAIL_SIDE**2 // 2,)),  # what a blur takes away, two pixels a byte
        ("color", "i1", (2 * _COLOR_SIDE**2,)),  # Cr and Cb
        ("tiny", "?"),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class FingerprintRows(Sequence[Fingerprint]):
    """Fingerprints of very many pictures, in one array: each takes what it has to, and no object."""

    rows: np.ndarray  # `_LAYOUT` (M,)
    chosen: np.ndarray  # int (N,): the rows that are meant, in order

    @classmethod
    def empty(cls, count: int) -> FingerprintRows:
        """Return room for so many, all zero."""
        return cls(np.zeros(count, _LAYOUT), np.arange(count))

    def choose(self, chosen: np.ndarray) -> FingerprintRows:
        """Return those of some rows, in this order; the array is shared."""
        return FingerprintRows(self.rows, chosen)

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[self.chosen[index]].tobytes()


def compute_fingerprint(image_bgr: np.ndarray, *, height: int, width: int) -> Fingerprint | None:
    """Compute the fingerprint of a picture.

    Args:
        image_bgr: uint8 `(rows, columns, 3)`: the picture, upright, at any scale.
        height: of the whole picture, pixels.
        width: of the whole picture, pixels.

    Returns:
        `None` for a flat picture: all plain walls look alike.
    """
    return compute_fingerprints([image_bgr], [(height, width)])[0]


def compute_fingerprints(
    images_bgr: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]
) -> list[Fingerprint | None]:
    """Compute the fingerprints of some pictures, each as `compute_fingerprint` does.

    Args:
        images_bgr: uint8 `(rows, columns, 3)` each: upright, at any scale, or what `shrink` returns.
        sizes: height and width of each whole picture, pixels.
    """
    rows, is_flat = compute_rows(images_bgr, np.array([min(size) < TINY for size in sizes], bool))
    return [None if flat else row.tobytes() for row, flat in zip(rows, is_flat, strict=True)]


def shrink(image: np.ndarray) -> np.ndarray:
    """Return of a picture what a fingerprint is computed of: it may be kept until there are enough of them."""
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def compute_rows(images: Sequence[np.ndarray], tiny: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the fingerprints of some pictures; of many at once it takes half the time.

    Args:
        images: uint8 `(rows, columns, 3)`, BGR, or grey, `(rows, columns)`: each upright, at any scale.
        tiny: bool `(n,)`, whether the shorter side of the whole picture has fewer than 64 pixels.

    Returns:
        As `FingerprintRows` has them, `(n,)`, and bool `(n,)`: whether it is flat, and its row means nothing.
    """
    rows = np.empty(len(images), _LAYOUT)
    rows["hash"], rows["detail"], rows["color"], is_flat = _compute(images)
    rows["tiny"] = tiny
    return rows, is_flat


def _compute(images: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the fields of `_LAYOUT`, without the last, and whether the pictures are flat: `(n, ...)` each."""
    count = len(images)
    frequencies = np.empty((count, _FREQUENCIES, _FREQUENCIES), np.float32)
    details = np.empty((count, _DETAIL_SIDE, _DETAIL_SIDE), np.float32)
    colors = np.full((count, _COLOR_SIDE, _COLOR_SIDE, 2), 128, np.uint8)
    for index, image in enumerate(images):
        small = shrink(image)
        if small.ndim == 3:  # else it is its own luma, and has no colour
            ycrcb = cv2.cvtColor(small, cv2.COLOR_BGR2YCrCb)
            colors[index] = cv2.resize(ycrcb[..., 1:], (_COLOR_SIDE, _COLOR_SIDE), interpolation=cv2.INTER_AREA)
            small = ycrcb[..., 0]
        grey = small.astype(np.float32)
        frequencies[index] = cv2.dct(grey)[:_FREQUENCIES, :_FREQUENCIES]
        fine = cv2.resize(grey, (_DETAIL_SIDE, _DETAIL_SIDE), interpolation=cv2.INTER_AREA)
        np.subtract(fine, cv2.GaussianBlur(fine, (0, 0), _BLUR), out=details[index])
    is_flat = _deviations(details[:, _INSIDE, _INSIDE].reshape(count, -1)) < _FLAT
    packed = _pack(details.reshape(count, -1))
    return (
        _perceptual_hashes(frequencies.reshape(count, -1)),
        packed,
        (colors - 128).reshape(count, -1).view("i1"),
        is_flat,
    )


def _perceptual_hashes(frequencies: np.ndarray) -> np.ndarray:
    """Return uint64 `(n,)`, the lowest byte first, of float32 `(n, 64)`, the lowest of a cosine transform."""
    others = np.sort(frequencies[:, 1:], axis=1)  # the first is the brightness
    bits = frequencies > others[:, others.shape[1] // 2, None]
    return np.packbits(bits, axis=1)[:, ::-1].copy().view("<u8")[:, 0]


def _pack(details: np.ndarray) -> np.ndarray:
    """Return detail, float32 `(n, values)`, in four bits a value."""
    scales = np.float32(_STEPS) / np.maximum(_deviations(details), _NEARLY_NOTHING)
    levels = np.rint(details * scales[:, None])
    packed = np.minimum(np.maximum(levels, -_LEVELS), _LEVELS).astype(np.int8).view(np.uint8) & 15
    return np.asarray(packed[:, ::2] << 4 | packed[:, 1::2])


def _deviations(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each row, as `std` has it of one row alone, to the last bit."""
    count = np.float32(values.shape[1])
    differences = values - np.add.reduce(values, axis=1, keepdims=True) / count
    return np.asarray(np.sqrt(np.add.reduce(differences * differences, axis=1) / count))


def _unpack(packed: np.ndarray) -> np.ndarray:
    """Return detail as float32 `(N, _DETAIL_SIDE**2)`."""
    signed = packed.view(np.int8)
    return np.stack([signed >> 4, (signed << 4) >> 4], axis=-1).reshape(len(packed), -1).astype(np.float32)


def group_near_duplicates(
    fingerprints: Sequence[Fingerprint], show: Callable[[int], np.ndarray | None] | None = None
) -> list[list[int]]:
    """Return the groups of near-duplicates, as indices in order; one alone is no group.

    A picture belongs to a group when it looks like any of its members.

    Args:
        fingerprints: of different pictures.
        show: returns a picture as `to_thumbnail` does, or `None` where it has gone: then its fingerprint decides.
    """
    groups = array("q", range(len(fingerprints)))  # the parent of each, itself for the first of a group

    def first_of(index: int) -> int:
        while groups[index] != index:
            groups[index] = index = groups[groups[index]]
        return index

    failures = bytearray(len(fingerprints))
    alignments = _ALIGNMENTS + int(_ALIGNMENTS_EACH * len(fingerprints))
    for one, other, is_certain in _likely_pairs(fingerprints):
        first, second = sorted((first_of(one), first_of(other)))
        if first == second or max(failures[one], failures[other]) >= _FAILURES:
            continue
        if not is_certain:
            alignments -= 1
            if alignments < 0 or not _is_alike_when_aligned(fingerprints[one], fingerprints[other]):
                continue
        if _is_same(one, other, show):
            groups[second] = first
        else:
            failures[one] += 1
            failures[other] += 1
    members: dict[int, list[int]] = {}
    for index in range(len(fingerprints)):
        if (first := first_of(index)) != index:
            members.setdefault(first, [first]).append(index)
    return sorted(members.values())


def _is_same(one: int, other: int, show: Callable[[int], np.ndarray | None] | None) -> bool:
    first, second = (None, None) if show is None else (show(one), show(other))
    return first is None or second is None or is_same_picture(first, second)


def _likely_pairs(fingerprints: Sequence[Fingerprint]) -> Iterator[tuple[int, int, bool]]:
    """Yield pairs that may be alike, the likeliest first, and whether their details are without being aligned."""
    pairs = close_pairs(_hashes_of(fingerprints))
    closeness, tiny = np.zeros(len(pairs), np.float32), np.zeros(len(pairs), bool)
    for start in range(0, len(pairs), _BATCH):
        batch = slice(start, start + _BATCH)
        closeness[batch], tiny[batch] = _compare(fingerprints, pairs[batch])
    least = np.where(tiny, _TINY_ALIKE, _ALIKE)
    possible = np.flatnonzero(closeness >= np.where(tiny, _TINY_ALIKE, _WORTH_ALIGNING))
    for index in possible[np.argsort(-closeness[possible], kind="stable")]:
        one, other = pairs[index].tolist()
        yield one, other, bool(closeness[index] >= least[index])


def _hashes_of(fingerprints: Sequence[Fingerprint]) -> np.ndarray:
    if isinstance(fingerprints, FingerprintRows):
        return np.asarray(fingerprints.rows["hash"][fingerprints.chosen])
    hashes = (int.from_bytes(one[:8], "little") for one in fingerprints)
    return np.fromiter(hashes, np.uint64, len(fingerprints))


def _rows_of(fingerprints: Sequence[Fingerprint], indices: np.ndarray) -> np.ndarray:
    """Return some fingerprints as `_LAYOUT` has them: `(n,)`."""
    if isinstance(fingerprints, FingerprintRows):
        return np.asarray(fingerprints.rows[fingerprints.chosen[indices]])
    return np.frombuffer(b"".join([fingerprints[index] for index in indices.tolist()]), _LAYOUT)


def _compare(fingerprints: Sequence[Fingerprint], pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the details of pairs agree, -1 for those of other colours, and which are of two tiny pictures."""
    first, second = (_rows_of(fingerprints, indices) for indices in pairs.T)
    closeness = _agreement(_unpack(first["detail"]), _unpack(second["detail"]))
    closeness[~_agree_in_color(first["color"], second["color"])] = -1
    return closeness, first["tiny"] & second["tiny"]


def _agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine of each two rows of float32 `(N, values)`: `(N,)`; 0 where one is all zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", first, first) * np.einsum("ij,ij->i", second, second))
    return np.asarray(np.einsum("ij,ij->i", first, second) / np.maximum(lengths, 1e-6))


def _agree_in_color(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether two pictures have their colours in the same places; one that is grey agrees with all."""
    one, other = first.astype(np.float32), second.astype(np.float32)
    grey = np.zeros(len(one), bool)
    for colors in (one, other):
        grey |= np.sqrt(np.mean(colors**2, axis=1)) < _COLORFUL
    return np.asarray(grey | (_agreement(one, other) >= _COLOR_ALIKE))


def _is_alike_when_aligned(first: Fingerprint, second: Fingerprint) -> bool:
    """Whether the details agree after the second was shifted and stretched onto the first."""
    one, other = _unpack(np.frombuffer(first + second, _LAYOUT)["detail"]).reshape(2, _DETAIL_SIDE, _DETAIL_SIDE)
    matrix = align(one, other, np.eye(2, 3, dtype=np.float32))
    if matrix is None:
        return False
    moved = cv2.warpAffine(other, matrix, (_DETAIL_SIDE, _DETAIL_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    # What a cut has taken away is not there to be compared.
    inside = [np.ascontiguousarray(detail[_INSIDE, _INSIDE]).reshape(1, -1) for detail in (one, moved)]
    return bool(_agreement(*inside)[0] >= _ALIKE)
