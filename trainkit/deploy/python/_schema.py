"""What a manifest may say: each key, and which values it can have."""

from __future__ import annotations

import re
import sys
from typing import Any, Callable, Dict, NamedTuple

from trainkit.deploy.python._values import MAX_CLASSES, MAX_SIDE, MAX_WHOLE, SCHEMA, BundleError


class _Check(NamedTuple):
    expected: str
    holds: Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Whether a value is a number that every reader reads rightly."""
    # cv::FileStorage reads a whole number beyond 32 bits silently wrong before OpenCV 4.14.
    most = MAX_WHOLE if isinstance(value, int) else sys.float_info.max
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= most


def _is_count(value: Any, most: int = MAX_WHOLE) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most


def _are(values: Any, holds: Callable[[Any], bool], least: int, most: int) -> bool:
    return isinstance(values, list) and least <= len(values) <= most and all(map(holds, values))


def is_text(value: Any) -> bool:
    """Whether a value is a text that every reader takes: not empty, and not too long."""
    try:
        return isinstance(value, str) and 0 < len(value.encode("utf-8")) < 4000
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def _one_of(*values: str) -> _Check:
    return _Check("one of " + ", ".join(values), lambda value: value in values)


_TEXT = _Check("a text of 1 to 3999 bytes", is_text)
_BOOL = _Check("true or false", lambda value: isinstance(value, bool))
_COUNT = _Check("a positive whole number", _is_count)
_NUMBERS = _Check("1 to 4 numbers", lambda value: _are(value, is_number, 1, 4))
_SHARE = _Check("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
_POSITIVE = _Check("1 to 4 numbers above 0", lambda value: _are(value, lambda v: is_number(v) and v > 0, 1, 4))
_SIDE = _Check(f"pixels, 1 to {MAX_SIDE}", lambda value: _is_count(value, MAX_SIDE))
_SIZE = _Check(
    f"[width, height], each 1 to {MAX_SIDE} pixels", lambda value: _are(value, lambda v: _is_count(v, MAX_SIDE), 2, 2)
)
_COLOR = _Check("three numbers 0 to 255", lambda value: _are(value, lambda v: is_number(v) and 0 <= v <= 255, 3, 3))
_SHA256 = _Check(
    "64 hexadecimal digits",
    lambda value: isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef"),
)
FILE = _Check(
    "the plain name of a file in the same folder",
    lambda value: is_text(value) and value not in (".", "..") and not set(value) & set("/\\:\0"),
)
_OBJECT = _Check("an object", lambda value: isinstance(value, dict))
_LIST = _Check("a list", lambda value: isinstance(value, list))
_NAMES = _Check(
    "a list of different texts, or the name of a text file in the same folder",
    lambda value: (_are(value, is_text, 1, MAX_CLASSES) and len(set(value)) == len(value)) or FILE.holds(value),
)
_MEAN = _Check(
    "1 to 4 numbers, or the name of an .npy or .binaryproto file in the same folder",
    lambda value: _NUMBERS.holds(value) or (FILE.holds(value) and value.endswith((".npy", ".binaryproto"))),
)
_VERSION = _Check(
    "a version such as 4.10.0",
    lambda value: is_text(value) and bool(re.fullmatch(r"[0-9]+(\.[0-9]+){0,3}(-[0-9a-z.]+)?", value)),
)
# section: (required keys, optional keys). A later version may add optional keys, never required ones.
SECTIONS: Dict[str, Any] = {
    "manifest": (
        {"schema": _TEXT, "model": _OBJECT, "blob": _OBJECT, "output": _OBJECT},
        {"source": _OBJECT, "preprocessing": _OBJECT, "before_blob": _LIST, "opencv": _OBJECT},
    ),
    "model": (
        {"file": FILE, "format": _one_of("onnx", "frozen-graph", "caffe")},
        {"graph": FILE, "bytes": _COUNT, "sha256": _SHA256, "input": _TEXT, "output": _TEXT, "opset": _COUNT},
    ),
    "blob": (
        {
            "scalefactor": _Check("a number other than 0", lambda value: is_number(value) and value != 0),
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
            "output": _TEXT,
            "application": _TEXT,
            "weights": _TEXT,
            "alpha": _Check("a number above 0", lambda value: is_number(value) and value > 0),
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
        {"pad_color": _COLOR, "mean_image": FILE, "samplewise": _one_of("center", "standardize")},
    ),
    "opencv": ({}, {"minimum": _VERSION, "engine": _one_of("classic", "new", "auto"), "verified": _OBJECT}),
    "before_blob: pad": ({"step": _TEXT, "color_bgr": _COLOR}, {}),
    "before_blob: gray": ({"step": _TEXT}, {}),
}


def _check_section(section: str, data: Dict[str, Any], where: Any) -> None:
    required, optional = SECTIONS[section]
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
