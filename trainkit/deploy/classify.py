#!/usr/bin/env python3
"""Classify images with OpenCV, as the manifest beside the model says.

This one file is all the code a bundle needs: Python 3.8 or later, cv2 4.5.5 or later, and numpy.

    python classify.py photo.jpg ...      labels and probabilities, or what a detector finds
    python classify.py folder/            every image and video in it
    python classify.py film.mp4           each frame; --every 30 for one in thirty
    python classify.py --camera 0         until Ctrl-C
    python classify.py --selftest         does this machine give the answers that Keras gave?

    from classify import Classifier
    Classifier("folder of the bundle").predict(cv2.imread("photo.jpg"))
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

try:
    from trainkit.errors import BundleError
except ImportError:  # in a bundle, without trainkit

    class BundleError(Exception):  # type: ignore[no-redef]
        """A bundle, its manifest or its model is missing, damaged or not safe to load."""


SCHEMA = "trainkit/1"
MAX_WHOLE = 2**31 - 1
MAX_SIDE = 16384  # pixels; beyond it no classifier reads, and a hostile manifest would only fill the memory
MAX_PIXELS = 2**28  # of a padded image
MAX_MANIFEST_BYTES = 16 * 2**20  # and of a text beside it: class names, a graph
MAX_MEAN_BYTES = 2**26
MAX_CLASSES = 10**6
PROBABILITY_TOLERANCE = 1e-5
MAX_TOLERANCE = 1e-3  # that a self-test may ask for; what is further off is another answer
OLDEST_OPENCV = "4.5.5"
NOTHING_FOUND = "nothing above the confidence asked for"
MIN_DETECTION = 0.5  # confidence, where neither the caller nor the manifest says another
IMAGE_SUFFIXES = (".bmp", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov"),
    *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)


class Prediction(NamedTuple):
    """A class name and its probability, 0 to 1."""

    label: str
    probability: float


class Box(NamedTuple):
    """Edges in pixels of the image as it was, from its upper left corner; within the image, and not empty."""

    left: float
    top: float
    right: float
    bottom: float


class Detection(NamedTuple):
    """What a detector found: a class name, how sure it is, 0 to 1, and where."""

    label: str
    confidence: float
    box: Box


class _Check(NamedTuple):
    expected: str
    holds: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    # cv::FileStorage reads a whole number beyond 32 bits silently wrong before OpenCV 4.14.
    most = MAX_WHOLE if isinstance(value, int) else sys.float_info.max
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= most


def _is_count(value: Any, most: int = MAX_WHOLE) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most


def _are(values: Any, holds: Callable[[Any], bool], least: int, most: int) -> bool:
    return isinstance(values, list) and least <= len(values) <= most and all(map(holds, values))


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and 0 < len(value.encode("utf-8")) < 4000
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _one_of(*values: str) -> _Check:
    return _Check("one of " + ", ".join(values), lambda value: value in values)


_TEXT = _Check("a text of 1 to 3999 bytes", _is_text)
_BOOL = _Check("true or false", lambda value: isinstance(value, bool))
_COUNT = _Check("a positive whole number", _is_count)
_NUMBERS = _Check("1 to 4 numbers", lambda value: _are(value, _is_number, 1, 4))
_SHARE = _Check("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
_POSITIVE = _Check("1 to 4 numbers above 0", lambda value: _are(value, lambda v: _is_number(v) and v > 0, 1, 4))
_SIDE = _Check(f"pixels, 1 to {MAX_SIDE}", lambda value: _is_count(value, MAX_SIDE))
_SIZE = _Check(
    f"[width, height], each 1 to {MAX_SIDE} pixels", lambda value: _are(value, lambda v: _is_count(v, MAX_SIDE), 2, 2)
)
_COLOR = _Check("three numbers 0 to 255", lambda value: _are(value, lambda v: _is_number(v) and 0 <= v <= 255, 3, 3))
_SHA256 = _Check(
    "64 hexadecimal digits",
    lambda value: isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"),
)
_FILE = _Check(
    "the plain name of a file in the same folder",
    lambda value: _is_text(value) and value not in (".", "..") and not set(value) & set("/\\:\0"),
)
_OBJECT = _Check("an object", lambda value: isinstance(value, dict))
_LIST = _Check("a list", lambda value: isinstance(value, list))
_NAMES = _Check(
    "a list of different texts, or the name of a text file in the same folder",
    lambda value: (_are(value, _is_text, 1, MAX_CLASSES) and len(set(value)) == len(value)) or _FILE.holds(value),
)
_MEAN = _Check(
    "1 to 4 numbers, or the name of an .npy or .binaryproto file in the same folder",
    lambda value: _NUMBERS.holds(value) or (_FILE.holds(value) and value.endswith((".npy", ".binaryproto"))),
)
_VERSION = _Check(
    "a version such as 4.10.0",
    lambda value: _is_text(value) and bool(re.fullmatch(r"[0-9]+(\.[0-9]+){0,3}(-[0-9a-z.]+)?", value)),
)

# section: (required keys, optional keys). A later version may add optional keys, never required ones.
_SECTIONS: Dict[str, Any] = {
    "manifest": (
        {"schema": _TEXT, "model": _OBJECT, "blob": _OBJECT, "output": _OBJECT},
        {"source": _OBJECT, "preprocessing": _OBJECT, "before_blob": _LIST, "opencv": _OBJECT},
    ),
    "model": (
        {"file": _FILE, "format": _one_of("onnx", "frozen-graph", "caffe")},
        {"graph": _FILE, "bytes": _COUNT, "sha256": _SHA256, "input": _TEXT, "output": _TEXT, "opset": _COUNT},
    ),
    "blob": (
        {
            "scalefactor": _Check("a number other than 0", lambda value: _is_number(value) and value != 0),
            "size": _SIZE,
            "mean": _MEAN,
            "swapRB": _BOOL,
            "crop": _BOOL,
        },
        {},
    ),
    "output": (
        {"kind": _one_of("softmax", "sigmoid", "logits", "ssd"), "class_names": _NAMES},
        {
            "multi_label": _BOOL,
            "background": _Check("a class's number, from 0", lambda value: value == 0 or _is_count(value, MAX_CLASSES)),
            "min_confidence": _SHARE,
        },
    ),
    "source": (
        {},
        {
            "run": _TEXT,
            "keras": _TEXT,
            "keras_sha256": _SHA256,
            "from_logits": _BOOL,
            "application": _TEXT,
            "weights": _TEXT,
            "alpha": _Check("a number above 0", lambda value: _is_number(value) and value > 0),
        },
    ),
    "preprocessing": (
        {
            "height": _SIDE,
            "width": _SIDE,
            "resize": _one_of("stretch", "crop", "pad"),
            "color": _one_of("rgb", "bgr", "gray"),
            "mean": _NUMBERS,
            "std": _POSITIVE,
        },
        {"pad_color": _COLOR, "mean_image": _FILE, "samplewise": _one_of("center", "standardize")},
    ),
    "opencv": ({}, {"minimum": _VERSION, "engine": _one_of("classic", "new", "auto"), "verified": _OBJECT}),
    "before_blob: pad": ({"step": _TEXT, "color_bgr": _COLOR}, {}),
    "before_blob: gray": ({"step": _TEXT}, {}),
}


def _check_section(section: str, data: Dict[str, Any], where: Any) -> None:
    required, optional = _SECTIONS[section]
    for key in required:
        if key not in data:
            raise BundleError(f"{where}: `{section}` needs the key `{key}`. Add it, or export the bundle again.")
    for key, value in data.items():
        check = required.get(key) or optional.get(key)
        if check is None:
            known = ", ".join([*required, *optional])
            raise BundleError(f"{where}: `{section}` has the unknown key `{key}`. Expected only: {known}")
        if not check.holds(value):
            shown = repr(value)[:80]
            raise BundleError(f"{where}: `{section}.{key}` must be {check.expected}. Received: {shown}")


def check_manifest(data: Any, where: Any = "manifest") -> None:
    """Raise unless `data` is a manifest of this schema: every required key, no unknown one, every value possible.

    Raises:
        BundleError: says which key, what was expected and what came.
    """
    if not isinstance(data, dict):
        raise BundleError(f"{where}: expected a JSON object. Received: {type(data).__name__}")
    schema = data.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise BundleError(f"{where}: this client reads schema {SCHEMA}. Received: {schema!s:.80}. Take a newer client.")
    _check_section("manifest", data, where)
    for section in ("model", "blob", "output", "source", "preprocessing", "opencv"):
        if section in data:
            _check_section(section, data[section], where)
    names = [step.get("step") if isinstance(step, dict) else step for step in data.get("before_blob", [])]
    for name in names:
        if name not in ("pad", "gray"):
            raise BundleError(f"{where}: `before_blob` knows the steps pad and gray. Received: {name!r:.80}")
    if names not in ([], ["pad"], ["gray"], ["pad", "gray"]):
        raise BundleError(f"{where}: `before_blob` has each step once, pad before gray. Received: {names!r:.80}")
    for name, step in zip(names, data.get("before_blob", [])):
        _check_section(f"before_blob: {name}", step, where)
    _check_together(data["model"], data["output"], where)


def _check_together(model: Dict[str, Any], output: Dict[str, Any], where: Any) -> None:
    if model["format"] == "caffe" and "graph" not in model:
        raise BundleError(f"{where}: a Caffe model needs the key `model.graph`, the name of its .prototxt. Add it.")
    if model["format"] == "onnx" and "graph" in model:
        raise BundleError(f"{where}: an ONNX model has its graph inside. Take the key `model.graph` out.")
    for key in ("multi_label",) if output["kind"] == "ssd" else ("background", "min_confidence"):
        if key in output:
            raise BundleError(f"{where}: an output of the kind {output['kind']} has no `output.{key}`. Take it out.")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"Cannot read {path} ({error.strerror}). Copy the bundle again.") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def read_manifest(bundle: str | Path) -> Dict[str, Any]:
    """Read and check the manifest of a bundle, or one that was written by hand.

    Args:
        bundle: the folder, or its manifest.

    Returns:
        The manifest; where it names a file of class names, with the names that are in it.

    Raises:
        BundleError: there is none, it is no manifest of this schema, or its class names cannot be read.
    """
    path = Path(bundle)
    if os.path.isdir(path):
        path = path / "manifest.json"
    if not os.path.isfile(path):
        raise BundleError(f"No manifest at {path}. Expected the folder of a bundle, with manifest.json in it.")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path} has more than {MAX_MANIFEST_BYTES} bytes: no manifest. Export the bundle again.")
    try:
        data: Dict[str, Any] = json.loads(_read_bytes(path).decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is not valid JSON in UTF-8 ({error}). Export the bundle again.") from None
    check_manifest(data, path)
    output = data["output"]
    if isinstance(output["class_names"], str):
        output["class_names"] = read_class_names(path.parent, output["class_names"])
    if output.get("background", 0) >= len(output["class_names"]):
        raise BundleError(
            f"{path}: `output.background` is the class {output['background']}, and there are "
            f"{len(output['class_names'])} class names, counted from 0. Correct it."
        )
    return data


def _read_beside(folder: Path, name: str, purpose: str, most: int | None = None) -> bytes:
    """Return the bytes of a file that a manifest names; a link must not lead out of the folder."""
    path = folder / name
    if path.resolve().parent != folder.resolve():
        raise BundleError(f"{path} is a link that leaves the bundle. Put the file itself there.")
    if not os.path.isfile(path):
        raise BundleError(f"{path} is missing: the manifest names it as the {purpose}. Copy it there.")
    if most is not None and path.stat().st_size > most:
        raise BundleError(f"{path} has more than {most} bytes, too many for the {purpose}. Name another file.")
    return _read_bytes(path)


def read_class_names(folder: Path, name: str) -> List[str]:
    """Read class names from a text file in UTF-8, one a line.

    Where every line begins with a WordNet number, as in ImageNet's `synset_words.txt` (`n01440764 tench, Tinca tinca`),
    that column is left out. Names may repeat: ImageNet has two cranes.

    Raises:
        BundleError: says which line is no name.
    """
    path = folder / name
    try:
        text = _read_beside(folder, name, "class names", MAX_MANIFEST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} is not UTF-8 ({error.reason} at byte {error.start}). Convert it.") from None
    lines = [line.strip() for line in text.rstrip().split("\n")]
    if all(re.match(r"n[0-9]+\s+\S", line) for line in lines):
        lines = [line.split(maxsplit=1)[1] for line in lines]
    if len(lines) > MAX_CLASSES:
        raise BundleError(f"{path} has {len(lines)} lines. Expected at most {MAX_CLASSES} class names.")
    for number, line in enumerate(lines, 1):
        if not _is_text(line) or re.search("[\x00-\x1f\x7f-\x9f]", line):
            raise BundleError(
                f"{path}: line {number} must be a class name of 1 to 3999 bytes without control characters. "
                f"Received: {line[:80]!r}"
            )
    return lines


def read_mean(folder: Path, name: str, *, swap: bool = False) -> np.ndarray:
    """Read a mean from a file.

    Args:
        folder: where the file is.
        name: `*.npy`: `(channels,)`, `(height, width)`, `(channels, height, width)` or `(height, width, channels)`, in
            the model's order of colours; or `*.binaryproto`, as Caffe's `compute_image_mean` writes it, which is blue,
            green, red.
        swap: whether the model sees RGB; the colours of a `.binaryproto` are then turned round.

    Returns:
        float32 `(channels, height, width)`, finite; height and width are 1 where there is one number a channel.

    Raises:
        BundleError: says what is wrong with the file.
    """
    data = _read_beside(folder, name, "mean", MAX_MEAN_BYTES)
    try:
        if name.endswith(".npy"):
            mean = _channels_first(_parse_npy(data))
        else:
            mean = _channels_first(_parse_binaryproto(data))[:: -1 if swap else 1]
        with np.errstate(over="ignore"):
            mean = np.ascontiguousarray(mean, np.float32)
        if not np.isfinite(mean).all():
            raise ValueError("it has numbers that are not finite")
    except Exception as error:  # numpy's reader of headers raises whatever it meets
        raise BundleError(f"{folder / name} holds no mean that can be read ({error}). Write it again.") from None
    return mean


def _channels_first(values: np.ndarray) -> np.ndarray:
    while values.ndim > 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 1:
        values = values[:, None, None]
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 3 and values.shape[0] not in (1, 3):
        values = values.transpose(2, 0, 1)
    if values.ndim != 3 or values.shape[0] not in (1, 3) or values.size == 0:
        raise ValueError(f"expected one or three channels. Received: the shape {values.shape}")
    return values


def _parse_npy(data: bytes) -> np.ndarray:
    """Return what is in an `.npy` file; unlike `np.load` it believes no size before it has seen so many bytes."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError("expected version 1.0 or 2.0 of the format")
    shape, fortran_order, dtype = readers[version](file)
    if dtype.kind not in "fiu":
        raise ValueError(f"expected numbers. Received: {dtype}")
    if any(side < 0 for side in shape):
        raise ValueError("it has sides below 0")
    values = np.frombuffer(data[file.tell() :], dtype)
    return values.reshape(shape, order="F" if fortran_order else "C")


def _parse_binaryproto(data: bytes) -> np.ndarray:
    """Return the array in a `BlobProto` of Caffe (caffe.proto).

    Its numbers are the field 5, or 8 as doubles. Its sides are the field 7, or in older files the fields 1 to 4: num,
    channels, height, width.
    """
    fields: Dict[int, List[Any]] = {}
    for number, value in _protobuf_fields(data):
        fields.setdefault(number, []).append(value)
    shape = [fields[number][-1] if number in fields else 1 for number in (1, 2, 3, 4)]
    if 7 in fields:
        shape = [side for number, value in _protobuf_fields(fields[7][-1]) if number == 1 for side in _varints(value)]
    kind, number = ("<f8", 8) if 8 in fields else ("<f4", 5)
    return np.frombuffer(b"".join(fields.get(number, [])), kind).reshape(shape)


def _protobuf_fields(data: bytes) -> Iterator[Tuple[int, Any]]:
    """Yield the fields of a message: its number, and a whole number or bytes.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == 2:
            size, position = _varint(data, position)
        else:
            size = {1: 8, 5: 4}.get(kind, len(data))  # there are no other kinds in Caffe's files
        if position + size > len(data):
            raise ValueError("it is no BlobProto, or ends in the middle")
        yield key >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> Tuple[int, int]:
    """Return a whole number of 7 bits a byte, the lowest first, and the position behind it."""
    value = 0
    for shift, byte in enumerate(data[position : position + 10]):
        value |= (byte & 127) << (7 * shift)
        if byte < 128:
            return value, position + shift + 1
    raise ValueError("it is no BlobProto, or ends in the middle")


def _varints(value: Any) -> List[int]:
    """Return the whole numbers of a repeated field, packed into bytes or a single one."""
    if isinstance(value, int):
        return [value]
    numbers, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        numbers.append(number)
    return numbers


def pad_to_aspect(image_bgr: np.ndarray, width: int, height: int, color_bgr: Sequence[float]) -> np.ndarray:
    """Extend an image to the aspect ratio `width:height`; centred, an odd pixel going right or down."""
    left, top, right, bottom = padding_to_aspect(image_bgr.shape[1], image_bgr.shape[0], width, height)
    padded: np.ndarray = cv2.copyMakeBorder(
        image_bgr, top, bottom, left, right, cv2.BORDER_CONSTANT, value=tuple(color_bgr)
    )
    return padded


def padding_to_aspect(columns: int, rows: int, width: int, height: int) -> Tuple[int, int, int, int]:
    """Return how many pixels an image of `columns` and `rows` gets at its left, top, right and bottom.

    The new side is rounded to the nearest whole pixel, halves up, in whole numbers, so that every language agrees.
    """
    new_columns = max(columns, (2 * rows * width + height) // (2 * height))
    new_rows = max(rows, (2 * columns * height + width) // (2 * width))
    if new_columns * new_rows > MAX_PIXELS:
        raise BundleError(
            f"An image of {columns}x{rows} padded to {width}:{height} has more than {MAX_PIXELS} pixels. Cut it."
        )
    left, top = (new_columns - columns) // 2, (new_rows - rows) // 2
    return left, top, new_columns - columns - left, new_rows - rows - top


def apply_before_blob(image_bgr: np.ndarray, steps: Sequence[Dict[str, Any]], size: Sequence[int]) -> np.ndarray:
    """Do what a manifest lists under `before_blob`.

    Args:
        image_bgr: uint8 `(height, width, 3)`, as `cv2.imread(path, cv2.IMREAD_COLOR)` returns it.
        steps: `{"step": "pad", "color_bgr": [255, 255, 255]}`, `{"step": "gray"}`.
        size: (width, height) of the blob.

    Returns:
        uint8 `(height, width, 3)`, or `(height, width)` where a step turns it grey.
    """
    image = image_bgr
    for step in steps:
        if step["step"] == "pad":
            image = pad_to_aspect(image, size[0], size[1], step["color_bgr"])
        else:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return image


def check_image(image_bgr: Any) -> None:
    """Raise unless `image_bgr` is what `cv2.imread` gives: uint8, (height, width, 3), not empty."""
    if not isinstance(image_bgr, np.ndarray):
        raise TypeError(
            f"Expected an image as cv2.imread returns it, a uint8 array. Received: {type(image_bgr).__name__}"
        )
    if image_bgr.dtype != np.uint8 or image_bgr.ndim != 3 or image_bgr.shape[2] != 3 or image_bgr.size == 0:
        raise ValueError(
            "Expected a uint8 image of shape (height, width, 3), BGR, as cv2.imread returns it. "
            f"Received: {image_bgr.dtype} {image_bgr.shape}"
        )


def version_of(text: str) -> List[int]:
    """Return a version as three numbers."""
    return [int("".join(filter(str.isdigit, part)) or 0) for part in text.split("-")[0].split(".")[:3]]


def describe_needs(opencv: Dict[str, Any]) -> str:
    """Say in sentences what a manifest's `opencv` asks for beyond any OpenCV since 4.5.5; mostly nothing."""
    needs = []
    if version_of(opencv.get("minimum", OLDEST_OPENCV)) > version_of(OLDEST_OPENCV):
        needs.append(f"This bundle needs OpenCV {opencv['minimum']} or later.")
    if "engine" in opencv:
        needs.append(f"In OpenCV 5 this bundle needs the {opencv['engine']} engine.")
    return " ".join(needs)


def _check_opencv(opencv: Dict[str, Any], engine: str | None) -> None:
    minimum = opencv.get("minimum", OLDEST_OPENCV)
    if version_of(cv2.__version__) < version_of(minimum):
        raise BundleError(f"This bundle needs OpenCV {minimum} or later. Received: {cv2.__version__}. Upgrade OpenCV.")
    if has_engines() and engine is not None and engine != opencv.get("engine", engine):
        raise BundleError(
            f"In OpenCV 5 this bundle needs the {opencv['engine']} engine. Received: {engine}. Leave the engine out."
        )


def has_engines() -> bool:
    """Whether this OpenCV has engines to choose from, as 5.0 has."""
    return hasattr(cv2.dnn, "ENGINE_CLASSIC")


def _read_model(folder: Path, model: Dict[str, Any]) -> bytes:
    path = folder / model["file"]
    data = _read_beside(folder, model["file"], "model")
    if len(data) != model.get("bytes", len(data)):
        raise BundleError(f"{path} has {len(data)} bytes; the manifest says {model['bytes']}. Copy the bundle again.")
    if hashlib.sha256(data).hexdigest() != model.get("sha256", hashlib.sha256(data).hexdigest()):
        raise BundleError(f"{path} does not match the sha256 in the manifest: it was changed. Copy the bundle again.")
    return data


def _reason(error: Exception) -> str:
    """Return what OpenCV says in one line, without the path of its own source file."""
    return re.sub(r"^OpenCV\([^)]*\) \S+ ", "", " ".join(str(error).split()))[:200]


def read_net(data: bytes, model_format: str, engine: str | None = None, *, graph: bytes | None = None) -> Any:
    """Load a network into cv2.dnn.

    Args:
        data: the bytes of the model file. Not its path: what was checked is what is loaded.
        model_format: `onnx`, `frozen-graph` or `caffe`.
        engine: `classic`, `new` or `auto`; OpenCV 4 has no such choice and ignores it. A frozen graph needs `classic`:
            the new engine of 5.0 ends the process on some of them.
        graph: the bytes of a frozen graph's `.pbtxt`, where it has one, or of Caffe's `.prototxt`.

    Raises:
        BundleError: OpenCV cannot read the model.
        ValueError: there is no such engine.
    """
    if engine not in (None, "classic", "new", "auto"):
        raise ValueError(f"`engine` must be classic, new or auto. Received: {engine!r}")
    if model_format == "frozen-graph":
        engine = "classic"
    read_caffe = getattr(cv2.dnn, "readNetFromCaffe", None)
    if model_format == "caffe" and read_caffe is None:
        raise BundleError(
            f"OpenCV {cv2.__version__} reads no Caffe models any more. Take an OpenCV before 5.0, or convert the model "
            "to ONNX."
        )
    arguments = [getattr(cv2.dnn, "ENGINE_" + engine.upper())] if engine and has_engines() else []
    text = np.frombuffer(_shift_channels(graph), np.uint8) if graph else np.empty(0, np.uint8)
    try:
        if read_caffe is not None and model_format == "caffe":
            return read_caffe(text, np.frombuffer(data, np.uint8))
        if model_format == "frozen-graph":
            return cv2.dnn.readNetFromTensorflow(np.frombuffer(data, np.uint8), text, *arguments)
        if engine and has_engines():
            return _read_onnx_by_path(data, arguments)
        return cv2.dnn.readNetFromONNX(np.frombuffer(data, np.uint8), *arguments)
    except cv2.error as error:
        raise BundleError(
            f"OpenCV {cv2.__version__} cannot read the model ({_reason(error)}). Copy or export the bundle again."
        ) from None


def _shift_channels(graph: bytes) -> bytes:
    """Let a graph's biases behind a product work for several images at once.

    OpenCV reads a BiasAdd that follows no convolution as a Shift along the batch, which is right for one image only and
    fails for more (https://github.com/opencv/opencv/issues/13626). As a Scale along the channels it is right for all.
    """
    products = set(re.findall(rb'name:\s*"([^"]*)"\s*op:\s*"Mul"', graph))
    scale = b' attr { key: "axis" value { i: 1 } } attr { key: "bias_term" value { b: true } }'
    return re.sub(
        rb'op:\s*"BiasAdd"(\s*input:\s*"([^"]*)"\s*input:\s*"[^"]*")',
        lambda node: b'op: "Scale"' + node[1] + scale if node[2] in products else node[0],
        graph,
    )


def _read_onnx_by_path(data: bytes, arguments: List[Any]) -> Any:
    """Read ONNX from a file: OpenCV 5.0.0 ignores the engine that is asked for with a buffer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(data)
        return cv2.dnn.readNetFromONNX(str(path), *arguments)


def find_backend(backend: str | None, target: str | None = None) -> Tuple[int, int]:
    """Return OpenCV's numbers of what computes (a backend) and on what (a target).

    Args:
        backend: OpenCV's name, such as `OPENCV`, `CUDA` or `INFERENCE_ENGINE`; with `DNN_BACKEND_` before it or
            without. None: OpenCV's own.
        target: the same, such as `CPU`, `OPENCL` or `CUDA_FP16`. None: the first one that the backend has here.

    Raises:
        BundleError: this OpenCV was built without them, or the machine lacks what they need.
        ValueError: OpenCV knows no such name.
    """
    backends, targets = _named("DNN_BACKEND_"), _named("DNN_TARGET_")
    backend = "OPENCV" if backend is None else backend
    number = _number_of(backend, "backend", backends)
    wanted = None if target is None else _number_of(target, "target", targets)
    there = {name: [int(one) for one in cv2.dnn.getAvailableTargets(value)] for name, value in backends.items()}
    usable = next(there[name] for name, value in backends.items() if value == number)
    if usable and wanted in (None, *usable):
        return number, usable[0] if wanted is None else wanted
    names = {value: name for name, value in reversed(list(targets.items()))}
    has = [f"{name} on {', '.join(names[value] for value in values)}" for name, values in there.items() if values]
    asked = f"{backend}{'' if target is None else f' on {target}'}"
    raise BundleError(
        f"OpenCV {cv2.__version__} cannot compute with {asked} on this machine. It has: {'; '.join(has)}. Choose one "
        "of these, or leave backend and target out."
    )


def _beyond_the_usual(backend: str | None, target: str | None) -> Tuple[int, int] | None:
    """Return what a network must be told: nothing where it is what OpenCV does anyway."""
    if backend is target is None:
        return None
    found = find_backend(backend, target)
    usual = (cv2.dnn.DNN_BACKEND_DEFAULT, cv2.dnn.DNN_BACKEND_OPENCV)
    return None if found[0] in usual and found[1] == cv2.dnn.DNN_TARGET_CPU else found


def _named(prefix: str) -> Dict[str, int]:
    return {name[len(prefix) :]: int(getattr(cv2.dnn, name)) for name in dir(cv2.dnn) if name.startswith(prefix)}


def _number_of(name: str, purpose: str, known: Dict[str, int]) -> int:
    plain = re.sub(f"^DNN_{purpose}_", "", name, flags=re.IGNORECASE).upper()
    if plain not in known:
        raise ValueError(f"OpenCV {cv2.__version__} knows no {purpose} {name!r:.80}. It knows: {', '.join(known)}")
    return known[plain]


class Network:
    """A manifest and its network, opened. Use one in each thread: a `cv2.dnn.Net` must not be shared between threads.

    Args:
        bundle: the folder that `trainkit export` wrote, one with a manifest written by hand, or the manifest.
        engine: see `read_net`; by default what the manifest says.
        backend: see `find_backend`; by default OpenCV's own.
        target: the same; by default the CPU.

    Raises:
        BundleError: a file is missing, changed or damaged, this OpenCV is too old for it, the engine is another than
            the one that the manifest names, or backend and target are not to be had here.
        ValueError: there is no such engine, backend or target.
    """

    def __init__(
        self,
        bundle: str | Path,
        engine: str | None = None,
        *,
        backend: str | None = None,
        target: str | None = None,
    ) -> None:
        path = Path(bundle)
        self.manifest = read_manifest(path)
        self.folder = path if os.path.isdir(path) else path.parent
        opencv = self.manifest.get("opencv", {})
        self._check_kind(self.manifest["output"]["kind"])
        _check_opencv(opencv, engine)
        computing = _beyond_the_usual(backend, target)
        self._mean, self._mean_image = self._read_mean()
        model = self.manifest["model"]
        graph = _read_beside(self.folder, model["graph"], "graph", MAX_MANIFEST_BYTES) if "graph" in model else None
        data = _read_model(self.folder, model)
        if computing and engine is None:
            engine = opencv.get("engine", "classic")  # the new one of OpenCV 5 computes on the CPU only
        self._net = read_net(data, model["format"], engine or opencv.get("engine"), graph=graph)
        if computing:
            self._compute_with(*computing)

    def _compute_with(self, backend: int, target: int) -> None:
        try:
            self._net.setPreferableBackend(backend)
            self._net.setPreferableTarget(target)
        except cv2.error as error:
            raise BundleError(
                f"OpenCV {cv2.__version__} takes no such backend or target for this network ({_reason(error)}). "
                "Leave them out."
            ) from None

    def _check_kind(self, kind: str) -> None:
        """Raise where the manifest describes another kind of network."""

    def _read_mean(self) -> Tuple[Tuple[float, ...], np.ndarray | None]:
        """Return the mean as numbers, and as an image where there is one of the blob's own size."""
        blob = self.manifest["blob"]
        if not isinstance(blob["mean"], str):
            return tuple(blob["mean"]), None
        mean = read_mean(self.folder, blob["mean"], swap=blob["swapRB"])
        channels = 1 if {"step": "gray"} in self.manifest.get("before_blob", []) else 3
        if len(mean) != channels:
            raise BundleError(
                f"{self.folder / blob['mean']} is a mean of {len(mean)} channels. The model sees {channels}."
            )
        if mean.shape[1:] == (blob["size"][1], blob["size"][0]):
            return (0.0,) * 4, mean
        return tuple(float(value) for value in mean.mean(axis=(1, 2), dtype=np.float64)), None

    @property
    def class_names(self) -> List[str]:
        """The class names, by their numbers in the output."""
        return list(self.manifest["output"]["class_names"])

    def prepare(self, image_bgr: np.ndarray) -> np.ndarray:
        """Do what must happen before `cv2.dnn.blobFromImage`; mostly nothing."""
        check_image(image_bgr)
        return apply_before_blob(image_bgr, self.manifest.get("before_blob", []), self.manifest["blob"]["size"])

    def to_blob(self, images_bgr: Sequence[np.ndarray]) -> np.ndarray:
        """Return the float32 `(N, C, H, W)` input of the network for N images.

        Raises:
            BundleError: OpenCV cannot bring an image to this size.
        """
        images = [self.prepare(image) for image in images_bgr]
        try:
            blob = np.asarray(cv2.dnn.blobFromImages(images, **self._blob_arguments()))
        except cv2.error as error:
            raise BundleError(f"OpenCV cannot make a blob of this image ({_reason(error)}). Cut or scale it.") from None
        if self._mean_image is None:
            return blob
        return np.asarray((blob - self._mean_image) * np.float32(self.manifest["blob"]["scalefactor"]))

    def _blob_arguments(self) -> Dict[str, Any]:
        # A bare number would reach only the first channel, and a list is no Scalar in every version.
        blob = dict(self.manifest["blob"], mean=self._mean, size=tuple(self.manifest["blob"]["size"]))
        if {"step": "gray"} in self.manifest.get("before_blob", []):
            blob["swapRB"] = False  # there is nothing to swap, but OpenCV 4.6 swaps the means even so
        return blob if self._mean_image is None else dict(blob, scalefactor=1.0)  # the mean is taken off before

    def run(self, blob_nchw: np.ndarray) -> np.ndarray:
        """Run the network on `(N, C, H, W)` and return what comes out of it, as it is, float32.

        Raises:
            BundleError: the network fails, or nothing comes out.
        """
        try:
            self._net.setInput(blob_nchw)
            output = self._net.forward()
        except cv2.error as error:
            raise BundleError(
                f"OpenCV {cv2.__version__} cannot run the model ({_reason(error)}). Copy or export the bundle again."
            ) from None
        return np.array([] if output is None else output, np.float32)  # a copy: the net writes over its own

    def forward(self, blob_nchw: np.ndarray) -> np.ndarray:
        """Run the network on `(N, C, H, W)` and return what its kind makes of it."""
        return self.run(blob_nchw)

    def _forward_many(self, blob_nchw: np.ndarray) -> List[np.ndarray]:
        """Return the answer to all images of a blob; to each by itself where the network takes no more."""
        try:
            return [self.forward(blob_nchw)]
        except BundleError:
            if len(blob_nchw) == 1:
                raise
        return [self.forward(blob_nchw[i : i + 1]) for i in range(len(blob_nchw))]


class Classifier(Network):
    """A classifier and its manifest, opened; see `Network` for the arguments and what is raised."""

    def _check_kind(self, kind: str) -> None:
        if kind == "ssd":
            raise BundleError("The manifest describes a detector (`output.kind` is ssd). Use trainkit detect.")

    def forward(self, blob_nchw: np.ndarray) -> np.ndarray:
        """Run the network on `(N, C, H, W)` and return the probabilities, float32 `(N, classes)`, a copy of its own.

        Raises:
            BundleError: the network fails, or its output is not one row of probabilities (or logits) an image.
        """
        kind = self.manifest["output"]["kind"]
        shape = (blob_nchw.shape[0], len(self.manifest["output"]["class_names"]))
        output = self.run(blob_nchw)
        if output.size != shape[0] * shape[1]:
            raise BundleError(
                f"The model's output has the shape {output.shape}; the manifest's class names need {shape}."
            )
        rows = output.reshape(shape)
        if kind == "logits":
            rows = _squash(rows, each=self.manifest["output"].get("multi_label", False))
        least, most = rows.min(), rows.max()
        if not (least >= -MAX_TOLERANCE and most <= 1 + MAX_TOLERANCE):  # so written, NaN is refused too
            raise BundleError(
                f"The model's output goes from {least:.4g} to {most:.4g}. Expected probabilities for the kind {kind}. "
                "If the network ends without a softmax, write `logits` as `output.kind`."
            )
        return rows

    def probabilities(self, image_bgr: np.ndarray) -> np.ndarray:
        """Return the probability of each class, float32 `(classes,)`, for a uint8 BGR image of any size."""
        return np.asarray(self.forward(self.to_blob([image_bgr]))[0])

    def predict(self, image_bgr: np.ndarray, *, top: int = 5, min_confidence: float = 0.0) -> List[Prediction]:
        """Return the likeliest classes of an image, best first; with `multi_label` several may be right at once.

        Args:
            image_bgr: uint8 `(height, width, 3)`, as `cv2.imread` returns it, of any size.
            top: at most so many.
            min_confidence: only those with at least this probability, 0 to 1.

        Raises:
            ValueError: `top` is below 1, or `min_confidence` not from 0 to 1.
        """
        return self.predict_many([image_bgr], top=top, min_confidence=min_confidence)[0]

    def predict_many(
        self, images_bgr: Sequence[np.ndarray], *, top: int = 5, min_confidence: float = 0.0
    ) -> List[List[Prediction]]:
        """Return the likeliest classes of each of several images, which become one blob; see `predict`.

        A network that takes one image only gets them one after the other.
        """
        if top < 1:
            raise ValueError(f"`top` must be at least 1. Received: {top}")
        _check_share(min_confidence)
        if not images_bgr:
            return []
        rows = np.concatenate(self._forward_many(self.to_blob(images_bgr)))
        return [self._best(row, top, min_confidence) for row in rows]

    def _best(self, probabilities: np.ndarray, top: int, min_confidence: float) -> List[Prediction]:
        names = self.manifest["output"]["class_names"]
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [Prediction(names[i], float(probabilities[i])) for i in best if probabilities[i] >= min_confidence]


def _check_share(min_confidence: float) -> None:
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"`min_confidence` must be from 0 to 1. Received: {min_confidence}")


class Detector(Network):
    """A detector and its manifest, opened; see `Network` for the arguments and what is raised.

    Its network answers OpenCV's `(1, 1, N, 7)`: in each row the image's place in the batch, the class, the confidence,
    and left, top, right, bottom as shares of the blob's width and height.
    """

    def _check_kind(self, kind: str) -> None:
        if kind != "ssd":
            raise BundleError(f"The manifest describes a classifier (`output.kind` is {kind}). Use trainkit predict.")

    def forward(self, blob_nchw: np.ndarray) -> np.ndarray:
        """Run the network on `(N, C, H, W)` and return its rows, float32 `(rows, 7)`, as they come.

        Raises:
            BundleError: the network fails, or its output is not that of an SSD.
        """
        output = self.run(blob_nchw)
        if output.ndim < 2 or output.shape[-1] != 7 or output.size != 7 * output.shape[-2]:
            raise BundleError(f"The model's output has the shape {output.shape}. That of an SSD is (1, 1, N, 7).")
        return output.reshape(-1, 7)

    def predict(self, image_bgr: np.ndarray, *, min_confidence: float | None = None) -> List[Detection]:
        """Return what is found in an image, the surest first; see `predict_many`."""
        return self.predict_many([image_bgr], min_confidence=min_confidence)[0]

    def predict_many(
        self, images_bgr: Sequence[np.ndarray], *, min_confidence: float | None = None
    ) -> List[List[Detection]]:
        """Return what is found in each of several images, which become one blob.

        A network that takes one image only gets them one after the other. Rows that say nothing are left out: numbers
        that are not finite, no such image or class, the background, a confidence that is none, a box that is empty or
        outside the image. Boxes are cut at the image's edges.

        Args:
            images_bgr: uint8 `(height, width, 3)` each, as `cv2.imread` returns them, of any sizes.
            min_confidence: only what is at least so sure, 0 to 1; by default what the manifest says, or 0.5.

        Returns:
            A list for each image, the surest first; an empty one where nothing is found.

        Raises:
            BundleError: the network fails, or its output is not that of an SSD.
            ValueError: `min_confidence` is not from 0 to 1, or an image is none.
        """
        if min_confidence is None:
            min_confidence = self.manifest["output"].get("min_confidence", MIN_DETECTION)
        _check_share(min_confidence)
        if not images_bgr:
            return []
        rows = self._usable(self._rows_of(self.to_blob(images_bgr)), images=len(images_bgr))
        rows = rows[rows[:, 2] >= np.float32(min_confidence)]
        return [self._detections(rows[rows[:, 0] == i], image) for i, image in enumerate(images_bgr)]

    def _rows_of(self, blob_nchw: np.ndarray) -> np.ndarray:
        answers = self._forward_many(blob_nchw)
        if len(answers) > 1:  # to each image by itself, which was the first of its blob
            for i, rows in enumerate(answers):
                rows[rows[:, 0] == 0, 0] = i
        return np.concatenate(answers)

    def _usable(self, rows: np.ndarray, *, images: int) -> np.ndarray:
        rows = rows[np.isfinite(rows).all(axis=1)]
        place, number, confidence = rows[:, 0], rows[:, 1], rows[:, 2]
        known = np.isin(place, range(images)) & np.isin(number, range(len(self.manifest["output"]["class_names"])))
        # OpenCV's convolutions turn NaN into 3.4e38. What is above 1 by more than rounding is no confidence.
        likely = (confidence > 0) & (confidence <= 1 + MAX_TOLERANCE)
        rows = rows[known & likely & (number != self.manifest["output"].get("background", -1))]
        rows[:, 2] = rows[:, 2].clip(max=1)
        return rows[np.argsort(-rows[:, 2], kind="stable")]

    def _detections(self, rows: np.ndarray, image: np.ndarray) -> List[Detection]:
        height, width = image.shape[:2]
        names = self.manifest["output"]["class_names"]
        boxes = self._to_pixels(rows[:, 3:].astype(np.float64), width, height)
        boxes = np.clip(boxes, 0, [width, height, width, height])
        return [
            Detection(names[int(row[1])], float(row[2]), Box(*map(float, box)))
            for row, box in zip(rows, boxes)
            if box[0] < box[2] and box[1] < box[3]
        ]

    def _to_pixels(self, boxes: np.ndarray, width: int, height: int) -> np.ndarray:
        """Turn shares of the blob into pixels of the image that was padded, cropped or stretched to make it."""
        size = self.manifest["blob"]["size"]
        left = top = 0
        if any(step["step"] == "pad" for step in self.manifest.get("before_blob", [])):
            left, top, right, bottom = padding_to_aspect(width, height, *size)
            width, height = left + width + right, top + height + bottom
        if not self.manifest["blob"]["crop"]:
            return np.asarray(boxes * [width, height, width, height] - [left, top, left, top])
        # As blobFromImage does it: a float32 factor that lets the image cover the blob, and the middle of that.
        factor = max(np.float32(size[0]) / np.float32(width), np.float32(size[1]) / np.float32(height))
        scaled = round(width * float(factor)), round(height * float(factor))
        cut = int(0.5 * (scaled[0] - size[0])), int(0.5 * (scaled[1] - size[1]))
        return np.asarray((boxes * [*size, *size] + [*cut, *cut]) / float(factor) - [left, top, left, top])


def open_bundle(bundle: str | Path, **choices: Any) -> Classifier | Detector:
    """Open what a manifest describes; see `Network` for the choices and what is raised."""
    kind = read_manifest(bundle)["output"]["kind"]
    return (Detector if kind == "ssd" else Classifier)(bundle, **choices)


def _squash(logits: np.ndarray, *, each: bool) -> np.ndarray:
    """Return probabilities: the softmax of each row, or the sigmoid of each number."""
    with np.errstate(all="ignore"):  # what is not finite is found in the result
        if each:
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def is_utf8(path: str | Path) -> bool:
    """Whether a path can be written in UTF-8; `cv2.imread` ends the process on one that cannot."""
    return all(not 0xD800 <= ord(letter) <= 0xDFFF for letter in str(path))


def read_image(path: str | Path) -> np.ndarray:
    """Decode an image file as uint8 `(height, width, 3)`, BGR, its EXIF orientation obeyed.

    Raises:
        BundleError: OpenCV cannot read the file.
    """
    if not os.path.isfile(path):
        raise BundleError(f"No such image: {path}")
    if not is_utf8(path):
        raise BundleError(f"The name {str(path)!a} is not UTF-8, on which OpenCV may crash. Rename it.")
    try:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise BundleError(f"OpenCV cannot read {path} as an image. Convert it to JPEG or PNG.")
    return np.asarray(image)


def pixel_sha256(classifier: Classifier, image_bgr: np.ndarray) -> str:
    """Return the checksum of the resized pixels, before mean and scale, which are exact in every OpenCV."""
    blob = dict(classifier._blob_arguments(), scalefactor=1.0, mean=(0, 0, 0, 0))
    pixels = cv2.dnn.blobFromImage(classifier.prepare(image_bgr), **blob)
    return hashlib.sha256(np.ascontiguousarray(pixels, np.uint8).tobytes()).hexdigest()


def selftest(bundle: str | Path) -> Dict[str, Any]:
    """Compare this machine's answers on the bundle's own images with those that Keras gave.

    Returns:
        `images`, `same_pixels` and `same_labels` (counts), `max_abs_difference` (of probabilities), `ok`; and
        `originals`, the files as they were, and `same_originals`, those that decode here to the pixels that Keras saw.
        The latter says something about this machine's JPEG decoder, not about the network, and does not touch `ok`.

    Raises:
        BundleError: the bundle carries no self-test, or it is damaged.
    """
    classifier = Classifier(bundle)
    folder = classifier.folder / "selftest"
    if not os.path.isdir(folder):
        raise BundleError(f"There is no {folder}. It holds photographs, and may have been taken out for that reason.")
    try:
        document = json.loads((folder / "selftest.json").read_text(encoding="utf-8"))
        cases, tolerance = document["images"], document.get("tolerance", PROBABILITY_TOLERANCE)
        if not _is_number(tolerance) or not 0 < tolerance <= MAX_TOLERANCE:
            raise ValueError(f"`tolerance` must be above 0, at most {MAX_TOLERANCE}")
        files = [case[key] for case in cases for key in ("png", "original") if key in case]
        if not all(map(_FILE.holds, files)):
            raise ValueError(f"its files must be {_FILE.expected}")
        images = [read_image(folder / case["png"]) for case in cases]
        expected = np.array([case["probabilities"] for case in cases], np.float64)
        checksums = [case["pixel_sha256"] for case in cases]
        labels = [case["label"] for case in cases]
        originals = [(folder / case["original"], image) for case, image in zip(cases, images) if "original" in case]
        if expected.shape != (len(cases), len(classifier.class_names)) or not cases:
            raise ValueError("it needs one probability for each class of at least one image")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{folder} holds no self-test that can be read ({error}). Copy the bundle again.") from None
    actual = np.array([classifier.probabilities(image) for image in images])
    difference = float(np.abs(actual - expected).max())
    same_labels = sum(classifier.class_names[i] == label for i, label in zip(actual.argmax(1), labels))
    same_pixels = sum(pixel_sha256(classifier, image) == checksum for image, checksum in zip(images, checksums))
    return {
        "images": len(images),
        "same_pixels": same_pixels,
        "same_labels": same_labels,
        "originals": len(originals),
        "same_originals": sum(_decodes_to(path, image) for path, image in originals),
        "max_abs_difference": difference,
        "ok": same_pixels == same_labels == len(images) and difference <= tolerance,
    }


def _decodes_to(path: Path, image: np.ndarray) -> bool:
    try:
        return bool(np.array_equal(read_image(path), image))
    except BundleError:  # this OpenCV may be built without the format
        return False


def describe_file_check(model: Dict[str, Any]) -> str:
    """Say by what a model file was recognised when it was opened."""
    done = next((name for name in ("sha256", "bytes") if name in model), None)
    if done is None:
        return "Model file: not checked, the manifest says neither size nor sha256."
    return f"Model file: {'size' if done == 'bytes' else done} checked."


def _run_selftest(bundle: Path) -> int:
    result = selftest(bundle)
    manifest = read_manifest(bundle)
    engine = manifest.get("opencv", {}).get("engine") if has_engines() else None
    verdict = "the same answers as Keras" if result["ok"] else "NOT the answers that Keras gave"
    originals = f", {result['same_originals']} of {result['originals']} originals equal" if result["originals"] else ""
    print(
        f"OpenCV {cv2.__version__}{f', {engine} engine' if engine else ''}: {verdict}. "
        f"{result['same_labels']} of {result['images']} labels, "
        f"{result['same_pixels']} of {result['images']} inputs equal, "
        f"largest difference {result['max_abs_difference']:.1e}{originals}. {describe_file_check(manifest['model'])}"
    )
    return 0 if result["ok"] else 1


def list_files(source: str) -> List[str]:
    """Return the images and videos of a folder and its subfolders, by name; of what is no folder, itself.

    Raises:
        BundleError: there is none in the folder.
    """
    if not os.path.isdir(source):
        return [source]
    found = [
        str(Path(folder, name))
        for folder, _, names in os.walk(source)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES + VIDEO_SUFFIXES) and not name.startswith(".")
    ]
    if not found:
        raise BundleError(f"No images in {source}. Expected files that end in {', '.join(IMAGE_SUFFIXES)}, or a video.")
    return sorted(found)


def is_video(source: str) -> bool:
    """Whether a file is a video, by its name."""
    return source.lower().endswith(VIDEO_SUFFIXES)


def read_frames(source: str | int, every: int = 1) -> Iterator[Tuple[int, np.ndarray]]:
    """Yield the frames of a video file or a camera: a number from 0, and uint8 `(height, width, 3)`, BGR.

    Args:
        source: a file, or a camera's number.
        every: only each so manieth frame.

    Raises:
        BundleError: OpenCV cannot open it, or it gives no frame.
    """
    name = f"camera {source}" if isinstance(source, int) else source
    if not isinstance(source, int) and not os.path.isfile(source):
        raise BundleError(f"No such video: {source}")
    capture = cv2.VideoCapture(source)
    number = 0
    try:
        while capture.isOpened() and capture.grab():
            if number % every == 0:
                given, frame = capture.retrieve()
                if not given or frame is None:
                    break
                yield number, np.asarray(frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
            number += 1
    finally:
        capture.release()
    if number == 0:
        raise BundleError(f"OpenCV {cv2.__version__} gets no frame from {name}. Try another file or camera.")


def _read_inputs(options: argparse.Namespace, complain: Callable[[BundleError], None]) -> Iterator[Tuple[str, Any]]:
    """Yield a name and an image for each image or frame; complain of what cannot be read, and go on with the next."""
    if options.camera is not None:
        yield from _read_source(options.camera, options.every)
    for source in options.inputs:
        try:
            files = list_files(source)
        except BundleError as error:
            complain(error)
            continue
        for file in files:
            try:
                yield from _read_source(file, options.every)
            except BundleError as error:
                complain(error)


def _read_source(source: str | int, every: int) -> Iterator[Tuple[str, Any]]:
    if isinstance(source, int) or is_video(source):
        name = f"camera {source}" if isinstance(source, int) else source
        for number, frame in read_frames(source, every):
            yield f"{name} frame {number}", frame
    else:
        yield source, read_image(source)


def describe_speed(count: int, seconds: float) -> str:
    """Say how many images a second were answered."""
    return f"{count} {'image' if count == 1 else 'images'} in {seconds:.2f} s: {count / seconds:.1f} images/s"


def in_batches(items: Iterator[Any], size: int) -> Iterator[List[Any]]:
    """Yield lists of up to `size` items."""
    batch = list(itertools.islice(items, size))
    while batch:
        yield batch
        batch = list(itertools.islice(items, size))


def _describe(found: Sequence[Prediction | Detection]) -> str:
    lines = []
    for one in found:
        where = f" at {' '.join(f'{edge:.0f}' for edge in one.box)}" if isinstance(one, Detection) else ""
        lines.append(f"{one[0]} {one[1]:.4f}{where}")
    return ", ".join(lines) or NOTHING_FOUND


def _answer_inputs(network: Any, options: argparse.Namespace) -> int:
    """Print a line for each image or frame, and at the end how many a second there were."""
    problems: List[BundleError] = []

    def complain(error: BundleError) -> None:
        problems.append(error)
        print(error, file=sys.stderr, flush=True)

    chosen = {} if isinstance(network, Detector) else {"top": options.top}
    if options.min_confidence is not None:
        chosen["min_confidence"] = options.min_confidence
    started, count = time.perf_counter(), 0
    try:
        for batch in in_batches(_read_inputs(options, complain), options.batch):
            try:
                answers = network.predict_many([image for _, image in batch], **chosen)
            except BundleError as error:
                complain(error)
                continue
            for (name, image), found in zip(batch, answers):
                print(f"{name}: {_describe(found)}", flush=True)
                if options.annotate is not None:
                    _save_picture(options, name, _draw(image, found))
            count += len(batch)
    except BundleError as error:  # no camera, or no place for a picture
        complain(error)
    except KeyboardInterrupt:
        if options.camera is None:
            raise
    if count:
        print(describe_speed(count, time.perf_counter() - started), file=sys.stderr)
    return 1 if problems else 0


def _save_picture(options: argparse.Namespace, name: str, picture_bgr: np.ndarray) -> None:
    """Write a picture to what --annotate names: a file for one image, else a folder. Nothing is overwritten."""
    path, frame = Path(options.annotate), re.search(" frame ([0-9]+)$", name)
    if frame or len(options.inputs) > 1 or os.path.isdir(options.inputs[0]) or os.path.isdir(path):
        stem = f"{Path(name[: frame.start()]).stem}-{frame[1]}" if frame else Path(name).stem
        path = path / f"{stem}.png"
    try:
        written, data = cv2.imencode(path.suffix, picture_bgr)
    except cv2.error:
        written = False
    if not written:
        raise BundleError(f"OpenCV cannot write {path}. Expected a name that ends in .png or .jpg.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data.tobytes())
    except FileExistsError:
        raise BundleError(f"{path} exists already, and nothing is overwritten. Choose another --annotate.") from None
    except OSError as error:
        raise BundleError(f"Cannot write {path} ({error.strerror}). Choose another --annotate.") from None


def _draw(image_bgr: np.ndarray, found: Sequence[Prediction | Detection]) -> np.ndarray:
    """Return a copy of an image with boxes round what was found, or with its labels in the corner."""
    picture = np.array(image_bgr)
    scale = max(0.4, picture.shape[1] / 1200)
    height = int(30 * scale)
    if not found:
        _write(picture, NOTHING_FOUND, (0, 0), scale)
    for i, one in enumerate(found):
        text, corner = f"{one[0]} {one[1]:.1%}", (0, i * height)
        if isinstance(one, Detection):
            left, top, right, bottom = (int(edge) for edge in one.box)
            cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), (90, 220, 0), max(1, round(2 * scale)))
            corner = (left, max(0, top - height))
        _write(picture, text, corner, scale)
    return picture


def _write(picture: np.ndarray, text: str, corner: Tuple[int, int], scale: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's fonts have no other letters
    left, top = corner
    width = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)[0][0]
    bottom = top + int(30 * scale)
    cv2.rectangle(picture, corner, (left + width + 4, bottom), (0, 0, 0), cv2.FILLED)
    cv2.putText(picture, plain, (left + 2, bottom - int(9 * scale)), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Classify images with the model beside this file.")
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="images, folders, and videos by suffix, as .mp4")
    parser.add_argument("--camera", type=int, metavar="N", help="what camera N sees, until Ctrl-C")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="of a video or camera, each Nth frame")
    parser.add_argument("--selftest", action="store_true", help="compare this machine's answers with those of Keras")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="labels an image, at most (default: 5)")
    parser.add_argument("--min-confidence", type=float, metavar="P", help="lowest probability to show, 0 to 1")
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images at a time (default: 1)")
    parser.add_argument("--annotate", metavar="OUT", help="draw it on the picture: a file, or a folder for several")
    parser.add_argument("--backend", metavar="NAME", help="what computes, by OpenCV's name, such as OPENCV or CUDA")
    parser.add_argument("--target", metavar="NAME", help="on what, by OpenCV's name, such as CPU or CUDA_FP16")
    options = parser.parse_args(arguments)
    if bool(options.inputs) + (options.camera is not None) + options.selftest != 1:
        parser.error("name at least one INPUT, or --camera N, or --selftest")
    if min(options.top, options.every, options.batch) < 1:
        parser.error("--top, --every and --batch must be at least 1")
    if options.min_confidence is not None and not 0 <= options.min_confidence <= 1:
        parser.error("--min-confidence must be from 0 to 1")
    if options.camera is not None and options.camera < 0:
        parser.error("--camera must be 0 or more")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Classify what is named on the command line, or run the self-test."""
    options = _parse(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a pipe may not know the letters of a class name
    bundle = Path(__file__).resolve().parent
    try:
        if options.selftest:
            return _run_selftest(bundle)
        network = open_bundle(bundle, backend=options.backend, target=options.target)
        return _answer_inputs(network, options)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except BundleError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone; there is nobody to tell
        return 1


if __name__ == "__main__":
    sys.exit(main())
