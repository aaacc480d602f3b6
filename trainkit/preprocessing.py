"""How an image becomes a network's input: one immutable object that training, export, deployment and checks share.

It is defined as what `cv2.dnn.blobFromImage` does, and it does not imitate that call: it makes it. Training runs it in
two halves, so that the first can be done once and kept: `to_pixels` (resize, on uint8) and `to_blob` (mean and scale).
What that call cannot say is `after_blob`, which the exporter puts at the head of the graph.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np

from trainkit.deploy.python._pixels import apply_before_blob, check_image
from trainkit.deploy.python._resizing import fit_to_blob
from trainkit.deploy.python._values import MAX_SIDE
from trainkit.errors import TrainkitError, UsageError, unknown
from trainkit.files import replacing, write_json

Resize = Literal["stretch", "crop", "pad"]
Color = Literal["rgb", "bgr", "gray"]
Samplewise = Literal["none", "center", "standardize"]

PREPROCESSINGS = (
    "unit",
    "symmetric",
    "center",
    "standardize",
    "mean-image",
    "samplewise-center",
    "samplewise-standardize",
    "caffe",
    "torch",
    "none",
)
WHITE = (255.0, 255.0, 255.0)
SIZE_EXPECTED = f"WIDTHxHEIGHT in pixels, such as 224x224, each side from 1 to {MAX_SIDE}"
PREPROCESSING_FILE = "preprocessing.json"
MEAN_IMAGE_FILE = "mean_image.npy"  # beside it, where there is a mean image
_OPTIONAL = ("mean_image", "samplewise")  # keys of the JSON that earlier versions did not write
_LEAST_DEVIATION = 1e-6  # what ImageDataGenerator adds to an image's own deviation

# ImageNet's channel means and deviations in red, green, blue, as `keras.applications.imagenet_utils` has them: 103.939
# is the mean of blue, not of red.
_CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)
_TORCH_MEAN_RGB = tuple(255 * value for value in (0.485, 0.456, 0.406))
_TORCH_STD_RGB = tuple(255 * value for value in (0.229, 0.224, 0.225))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preprocessing:
    """How a decoded image becomes a network's input: `x = (pixel - mean - mean_image) / std`, pixels 0-255.

    With `samplewise`, an image's own mean is then taken from `x`, and the result divided by its own deviation.

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
    mean_image: np.ndarray | None = None  # 0-255, read-only float32 (height, width, channels), in `color` order
    samplewise: Samplewise = "none"  # over all pixels and channels of one image

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            side = getattr(self, name)
            if type(side) is not int or not 1 <= side <= MAX_SIDE:
                raise UsageError(f"`{name}` must be a whole number of pixels, 1 to {MAX_SIDE}. Received: {side!r}")
        for name, kind in (("resize", Resize), ("color", Color), ("samplewise", Samplewise)):
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
        if self.mean_image is not None:
            object.__setattr__(self, "mean_image", _own_mean_image(self.mean_image, self.shape))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Preprocessing):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[Any, ...]:
        """Return the fields as values that can be compared and hashed, which an array cannot."""
        image = self.mean_image
        rest = (getattr(self, field.name) for field in fields(self) if field.name != "mean_image")
        return (*rest, None if image is None else image.tobytes())

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
        """What each channel of the blob is still to be multiplied by, `None` where it is 1 for all."""
        if len(set(self.std)) == 1:
            return None
        return tuple(1 / (self.blob["scalefactor"] * std) for std in self.std)

    @property
    def blob_is_input(self) -> bool:
        """Whether the blob is the network's input as it stands, and `after_blob` has nothing to do."""
        return self.mean_image is None and self.gain is None and self.samplewise == "none"

    @property
    def finished_by_blob(self) -> bool:
        """The name of `blob_is_input` in 0.1."""
        _warn_renamed("finished_by_blob", "blob_is_input")
        return self.blob_is_input

    def finish(self, blob_nhwc: Any, ops: Any = np) -> Any:
        """Do what `after_blob` does: its name in 0.1."""
        _warn_renamed("finish", "after_blob")
        return self.after_blob(blob_nhwc, ops)

    def after_blob(self, blob_nhwc: Any, ops: Any = np) -> Any:
        """Do what comes after the blob: the mean image, a deviation that differs by channel, `samplewise`.

        Args:
            blob_nhwc: float32 `(N, height, width, channels)`, a blob whose axes were moved.
            ops: `numpy`, or `keras.ops` to build the same arithmetic into a graph.

        Returns:
            the same shape, of the kind that `ops` works on.
        """
        x = blob_nhwc
        if self.mean_image is not None:
            x = ops.subtract(x, self.mean_image * np.float32(self.blob["scalefactor"]))
        if self.gain is not None:
            x = ops.multiply(x, np.array(self.gain, np.float32))
        if self.samplewise != "none":
            x = ops.subtract(x, ops.mean(x, axis=(1, 2, 3), keepdims=True))
        if self.samplewise == "standardize":
            # Once more, because what rounding left of the mean would be divided by a small deviation too.
            x = ops.subtract(x, ops.mean(x, axis=(1, 2, 3), keepdims=True))
            # As a mean of squares, because the readers of a graph know no standard deviation.
            std = ops.sqrt(ops.mean(ops.square(x), axis=(1, 2, 3), keepdims=True))
            x = ops.divide(x, ops.add(std, np.float32(_LEAST_DEVIATION)))
        return x

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
        image = fit_to_blob(image, size, crop=self.resize == "crop")
        if self.resize == "crop":
            blob = cv2.dnn.blobFromImage(image, 1.0, size, crop=True, ddepth=cv2.CV_8U)
            resized = cv2.merge(tuple(blob[0]))
        else:
            # What blobFromImage begins with. The rest would only take the channels apart, to be merged again here: that
            # is half as long as the resize. A test compares the two.
            resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized).reshape(self.shape)

    def to_blob(self, pixels: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Subtract the mean, scale and reorder, as `blobFromImage` does.

        Args:
            pixels: N of what `to_pixels` returns.

        Returns:
            float32 `(N, channels, height, width)`: what the exported graph is fed with.
        """
        return self._blob_from(pixels, (self.width, self.height))

    def _blob_from(self, pixels: Sequence[np.ndarray] | np.ndarray, size_wh: tuple[int, int]) -> np.ndarray:
        arguments = {**self.blob, "size": size_wh, "mean": tuple(self.blob["mean"])}
        return np.asarray(cv2.dnn.blobFromImages(list(pixels), **arguments))

    def to_input(self, pixels: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return the float32 `(N, height, width, channels)` that the Keras model is fed with."""
        batch_nhwc = np.ascontiguousarray(self.to_blob(pixels).transpose(0, 2, 3, 1))
        return np.asarray(self.after_blob(batch_nhwc))

    def to_input_in_graph(self, pixels: Any, ops: Any) -> Any:
        """Do what `to_input` does as operations of a graph.

        On a CPU it is the same to the last bit, but for `samplewise`, whose means are added up in another order.

        Args:
            pixels: uint8 `(N, height, width, channels)`, a tensor of what `to_pixels` returns.
            ops: `keras.ops`.

        Returns:
            float32 of the same shape.
        """
        by_table = self.mean_image is None and self.samplewise == "none"
        if self.blob["swapRB"]:
            pixels = ops.flip(pixels, axis=-1)
        x = self._levels_in_graph(pixels, ops, after_blob=by_table)
        return x if by_table else self.after_blob(x, ops)

    def _levels_in_graph(self, pixels: Any, ops: Any, *, after_blob: bool) -> Any:
        """Return float32: what OpenCV, and `after_blob` where it is asked for, make of each grey level.

        By one subtraction and one multiplication where these give the same 256 numbers. Elsewhere by a table, which
        takes five times as long on a CPU: OpenCV multiplies in float64 up to 4.10, and of two multiplications one
        behind the other TensorFlow makes one, which rounds otherwise.

        Args:
            pixels: uint8 `(N, height, width, channels)`, their channels in the order of `color`.
            ops: `keras.ops`.
            after_blob: whether to do that as well.
        """
        levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), self.channels, axis=2)
        table = self._blob_from([levels], (16, 16)).transpose(0, 2, 3, 1)
        table = (self.after_blob(table) if after_blob else table).reshape(256, self.channels)
        mean, factor = np.array(self.mean, np.float32), np.float32(self.blob["scalefactor"])
        if np.array_equal((levels.reshape(256, -1).astype(np.float32) - mean) * factor, table):
            return ops.multiply(ops.subtract(ops.cast(pixels, "float32"), mean), factor)
        indices = ops.cast(pixels, "int32")
        return ops.stack([ops.take(table[:, c], indices[..., c]) for c in range(self.channels)], axis=-1)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them; `from_json` is the way back.

        The mean image is the name of a file there, and `mean_image` and `samplewise` are left out where they say
        nothing: earlier versions do not know them.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.samplewise == "none":
            del values["samplewise"]
        if values.pop("mean_image") is not None:
            values["mean_image"] = MEAN_IMAGE_FILE
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any] | str, *, mean_image: np.ndarray | None = None) -> Preprocessing:
        """Build from what `to_json` returned, or from its text.

        Args:
            data: the document.
            mean_image: what is in the file that it names, see `load_mean_image`.

        Raises:
            UsageError: a key is unknown or missing, a value is impossible, or the mean image does not belong to it.
        """
        values = json.loads(data) if isinstance(data, str) else data
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not known.difference(_OPTIONAL) <= set(values) <= known:
            keys = sorted(values) if isinstance(values, dict) else values
            raise UsageError(
                f"A preprocessing has the keys {sorted(known.difference(_OPTIONAL))}, and may have {list(_OPTIONAL)}. "
                f"Received: {keys}"
            )
        arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        named = arguments.pop("mean_image", None)
        if named != (None if mean_image is None else MEAN_IMAGE_FILE):
            raise UsageError(
                f"`mean_image` must be {MEAN_IMAGE_FILE}, with that file's array given, or left out. "
                f"Received: {named!r} and {'no array' if mean_image is None else 'an array'}"
            )
        return cls(**arguments, mean_image=mean_image)


def parse_size(size: tuple[int, int] | str | None) -> tuple[int, int] | None:
    """Return what `read_size` does; `None` stays, for a size that follows from something else."""
    return None if size is None else read_size(size)


def read_size(size: object, *, name: str = "size") -> tuple[int, int]:
    """Return (width, height) of a pair of whole numbers or of `WIDTHxHEIGHT`.

    There is one way to write a number: digits alone, the first of them no zero.

    Args:
        size: as it came.
        name: of the argument or setting, for the message.

    Raises:
        UsageError: it is something else, or a side is longer than OpenCV's images are.
    """
    if isinstance(size, str):
        match = re.fullmatch(r"([1-9][0-9]{0,4})[xX]([1-9][0-9]{0,4})", size)
        sides = [int(side) for side in match.groups()] if match else []
    else:
        pair = size if isinstance(size, (tuple, list)) else ()
        sides = [int(side) for side in pair if isinstance(side, (int, np.integer)) and not isinstance(side, bool)]
        sides = sides if len(sides) == len(pair) else []
    if len(sides) != 2 or not all(1 <= side <= MAX_SIDE for side in sides):
        raise UsageError(f"`{name}` must be {SIZE_EXPECTED}. Received: {size!r}")
    return sides[0], sides[1]


def _warn_renamed(old: str, new: str) -> None:
    message = f"Preprocessing.{old} is now Preprocessing.{new}, and goes with trainkit 0.3."
    warnings.warn(message, DeprecationWarning, stacklevel=3)


def _is_finite(value: object) -> bool:
    # A comparison rather than math.isfinite, which fails on a whole number beyond any float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _own_mean_image(mean_image: object, shape: tuple[int, int, int]) -> np.ndarray:
    """Return a read-only copy, so that nobody changes a preprocessing from outside."""
    if not isinstance(mean_image, np.ndarray) or mean_image.dtype != np.float32 or mean_image.shape != shape:
        received = (
            f"{mean_image.dtype} {mean_image.shape}"
            if isinstance(mean_image, np.ndarray)
            else type(mean_image).__name__
        )
        raise UsageError(f"`mean_image` must be a float32 array {shape}. Received: {received}")
    if not (mean_image.min() >= 0 and mean_image.max() <= 255):  # so written, NaN is refused too
        raise UsageError(
            f"`mean_image` must be grey levels, 0 to 255. Received: {mean_image.min()} to {mean_image.max()}"
        )
    own = mean_image.copy(order="C")
    own.setflags(write=False)
    return own


def save_preprocessing(folder: Path, preprocessing: Preprocessing) -> None:
    """Write `preprocessing.json`, and beside it `mean_image.npy` where there is a mean image."""
    if preprocessing.mean_image is not None:
        save_mean_image(folder / MEAN_IMAGE_FILE, preprocessing.mean_image)
    write_json(folder / PREPROCESSING_FILE, preprocessing.to_json())


_MAX_BYTES = 2**20  # of the document, which has some hundred


def load_preprocessing(folder: Path) -> Preprocessing:
    """Read what `save_preprocessing` wrote, and nothing that is not of its form.

    Raises:
        TrainkitError: the mean image is missing or damaged.
        UsageError: the document is no preprocessing.
        OSError, ValueError: it cannot be read, or is no JSON in UTF-8.
    """
    path = folder / PREPROCESSING_FILE
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES} bytes")
    values = json.loads(path.read_text(encoding="utf-8"))
    return build_from_json(values, folder)


def build_from_json(values: Any, folder: Path) -> Preprocessing:
    """Do what `Preprocessing.from_json` does, with the mean image, where there is one, from a folder.

    Raises:
        TrainkitError: the mean image is missing or damaged.
        UsageError: the values are no preprocessing.
    """
    if not isinstance(values, dict) or values.get("mean_image") != MEAN_IMAGE_FILE:
        return Preprocessing.from_json(values)
    without = Preprocessing.from_json({key: value for key, value in values.items() if key != "mean_image"})
    return Preprocessing.from_json(values, mean_image=load_mean_image(folder / MEAN_IMAGE_FILE, without.shape))


def save_mean_image(path: Path, mean_image: np.ndarray) -> None:
    """Write a mean image as a `.npy` file, whole or not at all."""
    with replacing(path) as temporary:
        np.save(temporary, mean_image, allow_pickle=False)


def load_mean_image(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Read the mean image of a preprocessing from a `.npy` file, which may come from a stranger.

    The header is compared before anything is read: what it says decides over no memory, and no object is unpickled.

    Args:
        path: of the file.
        shape: (height, width, channels) that it must have.

    Returns:
        float32 `(height, width, channels)`.

    Raises:
        TrainkitError: it is missing, or another kind of array, or a value is no grey level.
    """
    size = 4 * math.prod(shape)
    try:
        if not os.path.isfile(path):
            raise ValueError("there is no such file")
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"version {version}")
            found, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
            data = file.read(size + 1) if (found, fortran_order, dtype) == (shape, False, np.dtype("<f4")) else b""
        if len(data) != size:
            raise ValueError(f"{dtype} {found}, or another length")
        return _own_mean_image(np.frombuffer(data, "<f4").reshape(shape).astype(np.float32), shape)
    except Exception as error:  # numpy raises whatever its parsers meet in a header that is not one
        reason = " ".join(str(error).split())[:200]
        raise TrainkitError(
            f"{path} holds no mean image of {shape[1]}x{shape[0]} with {shape[2]} channels ({reason}). Copy it again."
        ) from error


def needs_statistics(name: str) -> bool:
    """Whether a preprocessing is made from the mean (and the deviation) of the training set's channels."""
    return name in ("center", "standardize")


def needs_mean_image(name: str) -> bool:
    """Whether a preprocessing is made from the mean of the training set's images."""
    return name == "mean-image"


def build_preprocessing(
    name: str,
    *,
    height: int,
    width: int,
    resize: Resize = "stretch",
    color: Color = "rgb",
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    mean_image: np.ndarray | None = None,
) -> Preprocessing:
    """Build one of `PREPROCESSINGS` by its name.

    Args:
        name: `unit` 0 to 1, `symmetric` -1 to 1, `center`, `standardize` and `mean-image` from the training set,
            `samplewise-center` and `samplewise-standardize` from each image, as `ImageDataGenerator` has them, `caffe`
            and `torch` as in Keras' `imagenet_utils.preprocess_input`, `none` 0 to 255.
        height: pixels.
        width: pixels.
        resize: how an image comes to that size.
        color: what the model sees.
        statistics: (mean, std) of the training set's pixels, 0-255, in `color` order; for `center` and `standardize`.
        mean_image: the mean of the training set's images, see `Preprocessing`; for `mean-image`.

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
    if needs_mean_image(name) and mean_image is None:
        raise UsageError(f"`{name}` needs the `mean_image` of the training set.")
    mean, std = _mean_and_std(name, color, statistics)
    return Preprocessing(
        height=height,
        width=width,
        resize=resize,
        color=color,
        mean=mean,
        std=std,
        mean_image=mean_image if needs_mean_image(name) else None,
        samplewise=_SAMPLEWISE.get(name, "none"),
    )


_SAMPLEWISE: dict[str, Samplewise] = {"samplewise-center": "center", "samplewise-standardize": "standardize"}


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
        "mean-image": ((0.0,) * channels, (1.0,) * channels),
        "samplewise-center": ((0.0,) * channels, (255.0,) * channels),
        "samplewise-standardize": ((0.0,) * channels, (255.0,) * channels),
        "caffe": (_CAFFE_MEAN_RGB, (1.0,) * 3),
        "torch": (_TORCH_MEAN_RGB, _TORCH_STD_RGB),
    }
    mean, std = fixed[name]
    return (mean[::-1], std[::-1]) if color == "bgr" else (mean, std)
