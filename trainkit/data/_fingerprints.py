"""Near-duplicates: one photograph encoded again, resized, cut a little, brightened or turned grey.

Two steps. A perceptual hash of 64 bits (the signs of the lowest cosine frequencies against their median, known as
pHash) finds the pairs that may be alike among all pairs. The fine detail of the two decides: the detail of two
photographs of similar composition has nothing in common, however close their hashes are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 32  # pixels, of the thumbnail that everything here is computed from
_INSIDE = slice(3, SIDE - 3)
_COLOR_SIDE = 8
_TINY = 64  # pixels: the shorter side of an icon or a digit
_FLAT = 1.0  # grey levels of detail: photographs have 9 and more, walls with a lamp's glow mostly less than this

# Of 319,600 pairs of photographs of cats and dogs one is really alike. The detail of the others agrees to 0.61 at most,
# aligned; that of a copy at a quarter of the size, of JPEG quality 60 or cut by 6 % to 0.8 and more, in all 800.
_ALIKE = 0.8
_TINY_ALIKE = 0.965  # clothes of 28x28 share their outline; 97 of 100 encoded again at quality 60 still reach it
_WORTH_ALIGNING = 0.25  # few different photographs of close hashes reach it, and nearly all that are cut by a tenth
_COLOR_ALIKE = 0.7  # cosine
_COLORFUL = 4.0  # levels of Cr and Cb: less is grey

_FARTHEST = 16  # bits: what a cut of a tenth changes, at most
_MAX_PAIRS = 2_000_000  # that are looked at closely: some two seconds
_BATCH = 1024  # pairs: their details fit into the cache
_MAX_ALIGNMENTS = 5_000  # a millisecond each


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of a picture to find its near-duplicates. Plain bytes: it compares, and is small."""

    hash: int  # 64 bits
    detail: bytes  # int8 (SIDE, SIDE): what a blur takes away, of standard deviation 32
    color: bytes  # int8 (8, 8, 2): Cr and Cb
    tiny: bool


def compute_fingerprint(image_bgr: np.ndarray, *, height: int, width: int) -> Fingerprint | None:
    """Compute the fingerprint of a picture.

    Args:
        image_bgr: uint8 `(rows, columns, 3)`: the picture, upright, at any scale.
        height: of the whole picture, pixels.
        width: of the whole picture, pixels.

    Returns:
        `None` for a flat picture: all plain walls look alike.
    """
    ycrcb = cv2.cvtColor(cv2.resize(image_bgr, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2YCrCb)
    grey = ycrcb[..., 0].astype(np.float32)
    detail = grey - cv2.GaussianBlur(grey, (0, 0), 2)
    if detail[_INSIDE, _INSIDE].std() < _FLAT:  # at the border a blur finds detail in every slope
        return None
    color = cv2.resize(ycrcb[..., 1:], (_COLOR_SIDE, _COLOR_SIDE), interpolation=cv2.INTER_AREA).astype(int) - 128
    return Fingerprint(
        hash=_perceptual_hash(grey),
        detail=np.clip(np.rint(detail * (32 / detail.std())), -127, 127).astype(np.int8).tobytes(),
        color=color.astype(np.int8).tobytes(),
        tiny=min(height, width) < _TINY,
    )


def _perceptual_hash(grey: np.ndarray) -> int:
    frequencies = cv2.dct(grey)[:8, :8].ravel()
    bits = frequencies > np.median(frequencies[1:])  # the first is the brightness
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def group_near_duplicates(fingerprints: Sequence[Fingerprint]) -> list[list[int]]:
    """Return the groups of near-duplicates, as indices in order; one alone is no group.

    A picture belongs to a group when it looks like any of its members.
    """
    pictures = _Pictures.of(fingerprints)
    group = np.arange(len(fingerprints))
    members = {index: [index] for index in range(len(fingerprints))}
    alignments = _MAX_ALIGNMENTS
    for candidates in _close_pairs(pictures.hashes):
        pairs = candidates[group[candidates[:, 0]] != group[candidates[:, 1]]]
        alike, aligned = _compare(pictures, pairs, alignments)
        alignments -= aligned
        for pair in pairs[alike]:
            small, large = sorted(group[pair].tolist(), key=lambda name: len(members[name]))
            if small != large:
                group[members[small]] = large
                members[large] += members.pop(small)
    return sorted(sorted(indices) for indices in members.values() if len(indices) > 1)


@dataclass(frozen=True, slots=True)
class _Pictures:
    hashes: np.ndarray  # uint64 (N,)
    details: np.ndarray  # int8 (N, SIDE * SIDE)
    colors: np.ndarray  # int8 (N, 8 * 8 * 2)
    tiny: np.ndarray  # bool (N,)

    @classmethod
    def of(cls, fingerprints: Sequence[Fingerprint]) -> _Pictures:
        return cls(
            np.array([one.hash for one in fingerprints], np.uint64),
            np.frombuffer(b"".join(one.detail for one in fingerprints), np.int8).reshape(-1, SIDE**2),
            np.frombuffer(b"".join(one.color for one in fingerprints), np.int8).reshape(-1, 2 * _COLOR_SIDE**2),
            np.array([one.tiny for one in fingerprints], bool),
        )


def _close_pairs(hashes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the pairs of close hashes, some hundred at a time: int64 `(pairs, 2)`."""
    farthest = _farthest(hashes)
    waiting: list[np.ndarray] = []
    count = 0
    for index in range(len(hashes) - 1):
        close = np.flatnonzero(np.bitwise_count(hashes[index + 1 :] ^ hashes[index]) <= farthest)
        if len(close):
            waiting.append(np.stack([np.full(len(close), index), close + index + 1], axis=1))
            count += len(close)
        if count >= _BATCH:
            yield np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _farthest(hashes: np.ndarray) -> int:
    """Return how many bits may differ, so that not too many pairs remain: less where everything looks alike."""
    sample = hashes[:: max(1, len(hashes) // 256)]
    distances = np.zeros(65, np.int64)
    for hash_ in sample:
        distances += np.bincount(np.bitwise_count(hashes ^ hash_), minlength=65)
    distances[0] -= len(sample)  # each with itself
    pairs = np.cumsum(distances) * len(hashes) / (2 * max(1, len(sample)))
    return max(0, min(_FARTHEST, int(np.searchsorted(pairs, _MAX_PAIRS, side="right")) - 1))


def _compare(pictures: _Pictures, pairs: np.ndarray, most_alignments: int) -> tuple[np.ndarray, int]:
    """Return which pairs are alike, bool `(pairs,)`, and how many had to be aligned for it."""
    first, second = pairs.T
    closeness = _agreement(pictures.details[first], pictures.details[second])
    tiny = pictures.tiny[first] & pictures.tiny[second]
    alike = closeness >= np.where(tiny, _TINY_ALIKE, _ALIKE)
    doubtful = ~alike & ~tiny & (closeness >= _WORTH_ALIGNING)
    possible = np.flatnonzero(alike | doubtful)
    same_color = _agree_in_color(pictures.colors[first[possible]], pictures.colors[second[possible]])
    alike[possible] &= same_color
    to_align = possible[doubtful[possible] & same_color][:most_alignments]
    for position in to_align:
        alike[position] = _agreement_when_aligned(*pictures.details[pairs[position]]) >= _ALIKE
    return alike, len(to_align)


def _agreement(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine of each two rows of `(N, values)`: `(N,)`; 0 where one is all zero."""
    one, other = first.astype(np.float32), second.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", one, one) * np.einsum("ij,ij->i", other, other))
    return np.asarray(np.einsum("ij,ij->i", one, other) / np.maximum(lengths, 1e-6))


def _agree_in_color(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether two pictures have their colours in the same places; one that is grey agrees with all."""
    grey = np.zeros(len(first), bool)
    for colors in (first, second):
        grey |= np.sqrt(np.mean(colors.astype(np.float32) ** 2, axis=1)) < _COLORFUL
    return np.asarray(grey | (_agreement(first, second) >= _COLOR_ALIKE))


def _agreement_when_aligned(first: np.ndarray, second: np.ndarray) -> float:
    """Return the agreement after the second was shifted and stretched onto the first; 0 where that fails."""
    one, other = (detail.reshape(SIDE, SIDE).astype(np.float32) for detail in (first, second))
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, matrix = cv2.findTransformECC(
            one, other, np.eye(2, 3, dtype=np.float32), cv2.MOTION_AFFINE, criteria, None, 3
        )
    except cv2.error:  # it did not converge: they have nothing in common
        return 0.0
    moved = cv2.warpAffine(other, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    # What a cut has taken away is not there to be compared.
    return float(_agreement(one[_INSIDE, _INSIDE].reshape(1, -1), moved[_INSIDE, _INSIDE].reshape(1, -1))[0])
