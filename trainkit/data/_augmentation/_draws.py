"""What is drawn for an image: a function of (seed, epoch, index), and of nothing else.

There is no generator that is advanced. Each number is a hash of what it is for, so that any order, any batch size and
any number of threads give an image the same transformation, and a whole batch is drawn at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainkit.data._augmentation._settings import Augmentation

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ONE = np.uint64(1)
# Zhong et al., "Random Erasing Data Augmentation", 2020; with the largest share that torchvision takes.
_ERASED_AREA, _ERASED_ASPECT = (0.02, 0.33), (0.3, 1 / 0.3)
_CROP_ASPECT = (3 / 4, 4 / 3)  # as in Szegedy et al., "Going Deeper with Convolutions", 2015


# Each number has a purpose of its own, so that switching one thing on does not change what is drawn for another.
_PURPOSES = (
    *("theta", "shear", "zoom_x", "zoom_y", "flip_horizontal", "flip_vertical", "channel_shift", "brightness"),
    *("width_shift", "width_shift_sign", "height_shift", "height_shift_sign"),
    *("crop_area", "crop_aspect", "crop_left", "crop_top"),
    *("erase", "erased_area", "erased_aspect", "erased_left", "erased_top"),
    *("erased_level_0", "erased_level_1", "erased_level_2"),
)
_MIX_PURPOSES = ("partner", "cut", "across", "down", "share")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What happens to each of N images, as arrays; `None` where nothing does."""

    # Keras' `transform_parameters`, each of them (N,): float64, and bool for the flips.
    transforms: dict[str, np.ndarray | None]
    erased: np.ndarray | None  # int64 (N, 4): top, left, height, width of a rectangle; height 0 for none
    erased_levels: np.ndarray | None  # uint8 (N, channels)

    def transform_parameters(self, position: int) -> dict[str, Any]:
        """Return the transformation of one of the images as the dictionary that Keras' `apply_transform` takes."""
        return {name: None if drawn is None else drawn[position].item() for name, drawn in self.transforms.items()}


def draw(
    augmentation: Augmentation, *, seed: int, epoch: int, indices: np.ndarray, height: int, width: int, channels: int
) -> Draws:
    """Draw what happens to some images in an epoch.

    Args:
        augmentation: what may happen.
        seed: of the training.
        epoch: from 0.
        indices: `(N,)`, the images' places in their data set.
        height: pixels.
        width: pixels.
        channels: 1 or 3.
    """
    numbers = uniform(seed, epoch, indices, range(len(_PURPOSES)))
    drawn = dict(zip(_PURPOSES, numbers.T, strict=True))
    erased, levels = _draw_erased(augmentation, drawn, height, width, channels)
    return Draws(transforms=_draw_transforms(augmentation, drawn, height, width), erased=erased, erased_levels=levels)


def _draw_transforms(
    augmentation: Augmentation, drawn: Mapping[str, np.ndarray], height: int, width: int
) -> dict[str, np.ndarray | None]:
    """Draw the dictionary, such that Keras turns an image around its own centre also where it is not square.

    `tx` moves along the width and `ty` along the height: so does Keras, whatever its documentation says.
    """
    theta = _between(drawn["theta"], *_around_zero(augmentation.rotation_range))
    shear = _between(drawn["shear"], *_around_zero(augmentation.shear_range))
    zoom = augmentation.zoom_range
    least, most = (1 - zoom, 1 + zoom) if isinstance(zoom, (int, float)) else zoom or (1.0, 1.0)
    zx, zy = _between(drawn["zoom_x"], least, most), _between(drawn["zoom_y"], least, most)
    tx = _draw_shift(augmentation.width_shift_range, width, drawn["width_shift"], drawn["width_shift_sign"])
    ty = _draw_shift(augmentation.height_shift_range, height, drawn["height_shift"], drawn["height_shift_sign"])
    sine, cosine = np.sin(np.deg2rad(shear)), np.cos(np.deg2rad(shear))
    if augmentation.random_resized_crop:
        # A crop is a zoom, and a shift that comes before it: through the zoom and the shear to where Keras has its own.
        share_x, share_y, left, top = _draw_crop(augmentation.random_resized_crop, drawn)
        tx = tx + zx * left * width - sine * zy * top * height
        ty = ty + cosine * zy * top * height
        zx, zy = zx * share_x, zy * share_y
    if height != width:
        # Keras turns around (height / 2, width / 2) from the left and the top. That differs from the centre by
        # (-across, across), and so does what it turns, by less: the shift makes up for it.
        across = (width - height) / 2
        turned_sine, turned_cosine = np.sin(np.deg2rad(theta)), np.cos(np.deg2rad(theta))
        tx = tx + across * (turned_cosine - turned_sine - zx - sine * zy)
        ty = ty + across * (-turned_sine - turned_cosine + cosine * zy)
    shifted, brightened = augmentation.channel_shift_range, augmentation.brightness_range
    return {
        "theta": theta,
        "tx": tx,
        "ty": ty,
        "shear": shear,
        "zx": zx,
        "zy": zy,
        "flip_horizontal": drawn["flip_horizontal"] < 0.5 if augmentation.horizontal_flip else None,
        "flip_vertical": drawn["flip_vertical"] < 0.5 if augmentation.vertical_flip else None,
        "channel_shift_intensity": _between(drawn["channel_shift"], *_around_zero(shifted)) if shifted else None,
        "brightness": _between(drawn["brightness"], *brightened) if brightened else None,
    }


def _around_zero(most: float) -> tuple[float, float]:
    return -most, most


def _between(numbers: np.ndarray, least: float, most: float) -> np.ndarray:
    return np.asarray(least + (most - least) * numbers)


def _draw_shift(shifts: float | Sequence[float], side: int, numbers: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Draw shifts in pixels as Keras does: from a list or a whole number by choice, else evenly."""
    if not isinstance(shifts, (int, float)):
        scale = side if max(map(abs, shifts)) < 1 else 1
        chosen = np.array(shifts)[(numbers * len(shifts)).astype(int)]
        return np.asarray(chosen * np.where(signs < 0.5, -scale, scale))
    if isinstance(shifts, int):
        return np.asarray(np.floor(numbers * shifts) * np.where(signs < 0.5, -1, 1))
    return _between(numbers, *_around_zero(shifts * side if shifts < 1 else shifts))


def _draw_crop(
    areas: Sequence[float], drawn: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the shares of width and height that stay, and how far the middle moves, in shares of the whole."""
    area = _between(drawn["crop_area"], *areas)
    aspect = np.exp(_between(drawn["crop_aspect"], *np.log(_CROP_ASPECT)))
    share_x, share_y = np.minimum(np.sqrt(area * aspect), 1), np.minimum(np.sqrt(area / aspect), 1)
    return share_x, share_y, (drawn["crop_left"] - 0.5) * (1 - share_x), (drawn["crop_top"] - 0.5) * (1 - share_y)


def _draw_erased(
    augmentation: Augmentation, drawn: Mapping[str, np.ndarray], height: int, width: int, channels: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Draw rectangles and the level that each channel has in them."""
    if not augmentation.random_erasing:
        return None, None
    area = _between(drawn["erased_area"], *_ERASED_AREA) * height * width
    aspect = np.exp(_between(drawn["erased_aspect"], *np.log(_ERASED_ASPECT)))
    rows = np.clip(np.rint(np.sqrt(area * aspect)), 1, height)
    columns = np.clip(np.rint(np.sqrt(area / aspect)), 1, width)
    rows[drawn["erase"] >= augmentation.random_erasing] = 0
    top, left = (
        np.floor(drawn["erased_top"] * (height - rows + 1)),
        np.floor(drawn["erased_left"] * (width - columns + 1)),
    )
    levels = np.stack([drawn[f"erased_level_{channel}"] for channel in range(channels)], axis=1)
    return np.stack([top, left, rows, columns], axis=1).astype(np.int64), (levels * 256).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixes:
    """What each of N images is mixed with."""

    partners: np.ndarray  # int64 (N,), places in the data set
    share: np.ndarray  # float64 (N,), of the image itself, in the picture as in the labels
    cut: np.ndarray  # bool (N,): whether the partner comes as a rectangle
    rectangle: np.ndarray  # int64 (N, 4): top, left, bottom, right


def draw_mixes(
    augmentation: Augmentation, *, seed: int, epoch: int, indices: np.ndarray, count: int, height: int, width: int
) -> Mixes:
    """Draw what some images are mixed with in an epoch.

    Args:
        augmentation: has `mixup`, `cutmix` or both.
        seed: of the training.
        epoch: from 0.
        indices: `(N,)`, the images' places in their data set.
        count: images in the data set.
        height: pixels.
        width: pixels.
    """
    first = len(_PURPOSES)
    numbers = uniform(seed, epoch, indices, range(first, first + len(_MIX_PURPOSES)))
    partner, cut, across, down, for_share = numbers.T
    cuts = cut < (0.5 if augmentation.mixup and augmentation.cutmix else bool(augmentation.cutmix))
    alphas = np.where(cuts, augmentation.cutmix, augmentation.mixup)
    # A beta distribution has no inverse that NumPy knows: each image gets a generator, from its number.
    seeds = (for_share * 2**53).astype(np.uint64).tolist()
    share = np.array([np.random.default_rng(one).beta(a, a) for one, a in zip(seeds, alphas.tolist(), strict=True)])
    half_height, half_width = np.sqrt(1 - share) * height / 2, np.sqrt(1 - share) * width / 2
    top, bottom = (np.clip(np.rint(down * height + sign * half_height), 0, height) for sign in (-1, 1))
    left, right = (np.clip(np.rint(across * width + sign * half_width), 0, width) for sign in (-1, 1))
    left_over = 1 - (bottom - top) * (right - left) / (height * width)
    return Mixes(
        partners=(partner * count).astype(np.int64),
        share=np.where(cuts, left_over, share),  # what the rectangle has beyond the edge does not count
        cut=cuts,
        rectangle=np.stack([top, left, bottom, right], axis=1).astype(np.int64),
    )


def uniform(seed: int, epoch: int, indices: np.ndarray, purposes: Sequence[int]) -> np.ndarray:
    """Return float64 `(N, len(purposes))` from 0 to below 1, each a hash of (seed, epoch, index, purpose).

    The hash is the mixing function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014), applied once for each of the four.
    """
    state = np.zeros(1, np.uint64)
    for number in (seed, epoch):
        state = _mix(state + np.array([number + 1], np.uint64) * _GOLDEN)
    images = _mix(state + (np.asarray(indices).astype(np.uint64) + _ONE) * _GOLDEN)
    numbers = _mix(images[:, None] + (np.array(purposes, np.uint64) + _ONE) * _GOLDEN)
    return np.asarray((numbers >> np.uint64(11)) * 2.0**-53)


def _mix(state: np.ndarray) -> np.ndarray:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)))
