"""How an image becomes a network's input: one immutable object that training, export, deployment and checks share.

It is defined as what `cv2.dnn.blobFromImage` does, and it does not imitate that call: it makes it. Training runs it in
two halves, so that the first can be done once and kept: `to_pixels` (resize, on uint8) and `to_blob` (mean and scale).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import cv2
import numpy as np

from trainkit.deploy.classify import MAX_SIDE, apply_before_blob, check_image
from trainkit.errors import UsageError, unknown

Resize = Literal["stretch", "crop", "pad"]
Color = Literal["rgb", "bgr", "gray"]

PREPROCESSINGS = ("unit", "symmetric", "center", "standardize", "caffe", "torch", "none")
WHITE = (255.0, 255.0, 255.0)

# ImageNet's channel means and deviations in red, green, blue, as `keras.applications.imagenet_utils` has them: 103.939
# is the mean of blue, not of red.
_CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)
_TORCH_MEAN_RGB = tuple(255 * value for value in (0.485, 0.456, 0.406))
_TORCH_STD_RGB = tuple(255 * value for value in (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a decoded image becomes a network's input: `x = (pixel - mean) / std`, pixels 0-255.

    Raises:
        UsageError: on construction, when a value is impossible; an object that exists is a legal one.
    """

    height: int  # pixels
    width: int  # pixels
    resize: Resize = "stretch"  # bilinear on uint8, as cv2.dnn does it
    color: Color = "rgb"  # what the model sees
    mean: tuple[float, ...]  # 0-255, in `color` order
    std: tuple[float, ...]  # 0-255, in `color` order
    pad_color: tuple[float, float, float] = WHITE  # 0-255, red, green, blue; for resize="pad"

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            side = getattr(self, name)
            if type(side) is not int or not 1 <= side <= MAX_SIDE:
                raise UsageError(f"`{name}` must be a whole number of pixels, 1 to {MAX_SIDE}. Received: {side!r}")
        for name, kind in (("resize", Resize), ("color", Color)):
            if getattr(self, name) not in get_args(kind):
                raise unknown(name, str(getattr(self, name)), get_args(kind))
        for name, count in (("mean", self.channels), ("std", self.channels), ("pad_color", 3)):
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != count or not all(map(_is_finite, values)):
                raise UsageError(f"`{name}` needs {count} finite numbers for {self.color}. Received: {values!r}")
        if min(self.std) <= 0:
            raise UsageError(f"`std` must be above 0 in every channel. Received: {self.std}")
        if min(self.std) < 1e-6 or max(self.std) > 1e6:
            raise UsageError(f"`std` must be from 1e-6 to 1e6 grey levels in every channel. Received: {self.std}")
        if not all(0 <= value <= 255 for value in self.pad_color):
            raise UsageError(f"`pad_color` must be red, green and blue from 0 to 255. Received: {self.pad_color}")

    @property
    def channels(self) -> int:
        """1 for grey, else 3."""
        return 1 if self.color == "gray" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the network's input."""
        return self.height, self.width, self.channels

    @property
    def before_blob(self) -> list[dict[str, Any]]:
        """The steps that `blobFromImage` cannot do and that come before it; mostly none."""
        steps: list[dict[str, Any]] = []
        if self.resize == "pad":
            steps.append({"step": "pad", "color_bgr": list(reversed(self.pad_color))})
        if self.color == "gray":
            steps.append({"step": "gray"})
        return steps

    @property
    def blob(self) -> dict[str, Any]:
        """The arguments of `cv2.dnn.blobFromImage`, JSON as it stands: `scalefactor, size, mean, swapRB, crop`.

        `scalefactor` is one number; a deviation that differs by channel is the rest, see `gain`.
        """
        return {
            "scalefactor": len(self.std) / math.fsum(self.std),
            "size": [self.width, self.height],
            "mean": [*self.mean, *[0.0] * (4 - self.channels)],
            "swapRB": self.color == "rgb",
            "crop": self.resize == "crop",
        }

    @property
    def gain(self) -> tuple[float, ...] | None:
        """What each channel of the blob is still to be multiplied by, `None` where it is 1 for all.

        The exporter folds it into the graph.
        """
        if len(set(self.std)) == 1:
            return None
        return tuple(1 / (self.blob["scalefactor"] * std) for std in self.std)

    def to_pixels(self, image_bgr: np.ndarray) -> np.ndarray:
        """Do everything that happens on uint8: padding, grey, resize or crop.

        Args:
            image_bgr: uint8 `(height, width, 3)`, as `cv2.imread(path, cv2.IMREAD_COLOR)` returns it.

        Returns:
            uint8 `(height, width, channels)` at the network's size; colour stays in the order B, G, R.
        """
        check_image(image_bgr)
        size = (self.width, self.height)
        image = apply_before_blob(image_bgr, self.before_blob, size)
        blob = cv2.dnn.blobFromImage(image, 1.0, size, crop=self.resize == "crop", ddepth=cv2.CV_8U)
        return np.ascontiguousarray(blob[0].transpose(1, 2, 0))

    def to_blob(self, pixels: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Subtract the mean, scale and reorder, as `blobFromImage` does.

        Args:
            pixels: N of what `to_pixels` returns.

        Returns:
            float32 `(N, channels, height, width)`: what the exported graph is fed with.
        """
        arguments = {**self.blob, "size": (self.width, self.height), "mean": tuple(self.blob["mean"])}
        return np.asarray(cv2.dnn.blobFromImages(list(pixels), **arguments))

    def to_input(self, pixels: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return the float32 `(N, height, width, channels)` that the Keras model is fed with."""
        batch_nhwc = self.to_blob(pixels).transpose(0, 2, 3, 1)
        if self.gain is not None:
            batch_nhwc = batch_nhwc * np.array(self.gain, np.float32)
        return np.ascontiguousarray(batch_nhwc)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them; `from_json` is the way back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any] | str) -> Preprocessing:
        """Build from what `to_json` returned, or from its text.

        Raises:
            UsageError: a key is unknown or missing, or a value is impossible.
        """
        values = json.loads(data) if isinstance(data, str) else data
        expected = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or set(values) != expected:
            keys = sorted(values) if isinstance(values, dict) else values
            raise UsageError(f"A preprocessing has the keys {sorted(expected)}. Received: {keys}")
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**arguments)


def _is_finite(value: object) -> bool:
    # A comparison rather than math.isfinite, which fails on a whole number beyond any float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def needs_statistics(name: str) -> bool:
    """Whether a preprocessing is made from the training set's own mean (and deviation)."""
    return name in ("center", "standardize")


def build_preprocessing(
    name: str,
    *,
    height: int,
    width: int,
    resize: Resize = "stretch",
    color: Color = "rgb",
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
) -> Preprocessing:
    """Build one of `PREPROCESSINGS` by its name.

    Args:
        name: `unit` 0 to 1, `symmetric` -1 to 1, `center` and `standardize` from the training set, `caffe` and `torch`
            as in Keras' `imagenet_utils.preprocess_input`, `none` 0 to 255.
        height: pixels.
        width: pixels.
        resize: how an image comes to that size.
        color: what the model sees.
        statistics: (mean, std) of the training set's pixels, 0-255, in `color` order; for `center` and `standardize`.

    Raises:
        UsageError: the name is unknown, or the preprocessing is not defined for this colour.
    """
    if name not in PREPROCESSINGS:
        raise unknown("preprocessing", name, PREPROCESSINGS)
    if color not in get_args(Color):
        raise unknown("color", color, get_args(Color))
    if color == "gray" and name in ("caffe", "torch"):
        raise UsageError(
            f"`{name}` has a mean for red, green and blue, none for gray. Take unit, symmetric, center or standardize."
        )
    mean, std = _mean_and_std(name, color, statistics)
    return Preprocessing(height=height, width=width, resize=resize, color=color, mean=mean, std=std)


def _mean_and_std(
    name: str, color: Color, statistics: tuple[tuple[float, ...], tuple[float, ...]] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    channels = 1 if color == "gray" else 3
    if needs_statistics(name):
        if statistics is None:
            raise UsageError(f"`{name}` needs the `statistics` of the training set.")
        return statistics[0], statistics[1] if name == "standardize" else (1.0,) * channels
    fixed = {
        "unit": ((0.0,) * channels, (255.0,) * channels),
        "symmetric": ((127.5,) * channels, (127.5,) * channels),
        "none": ((0.0,) * channels, (1.0,) * channels),
        "caffe": (_CAFFE_MEAN_RGB, (1.0,) * 3),
        "torch": (_TORCH_MEAN_RGB, _TORCH_STD_RGB),
    }
    mean, std = fixed[name]
    return (mean[::-1], std[::-1]) if color == "bgr" else (mean, std)
