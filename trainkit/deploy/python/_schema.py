"""What a manifest may say: each key, and which values it can have."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, NamedTuple

from trainkit.deploy.python._showing import MAX_SHOWN, harmless, shown
from trainkit.deploy.python._values import MAX_CLASSES, MAX_SIDE, MAX_WHOLE, SCHEMA, SCHEMA_2, BundleError


class _Check(NamedTuple):
    expected: str
    holds: Callable[[Any], bool]
    is_whole: bool = False  # it holds whole numbers, which may be written 224.0


def is_number(value: Any) -> bool:
    """Whether a value is a number that every reader reads rightly."""
    # cv::FileStorage reads a whole number beyond 32 bits silently wrong before OpenCV 4.14; JSON does not say which
    # numbers are whole ones.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -MAX_WHOLE <= value <= MAX_WHOLE


def _is_whole(value: Any, least: int, most: int = MAX_WHOLE) -> bool:
    return is_number(value) and value == int(value) and least <= value <= most


def _are(values: Any, holds: Callable[[Any], bool], least: int, most: int) -> bool:
    return isinstance(values, list) and least <= len(values) <= most and all(map(holds, values))


def is_text(value: Any) -> bool:
    """Whether a value is a text that every reader takes: not empty, not too long, without control characters."""
    try:
        fits = isinstance(value, str) and 0 < len(value.encode("utf-8")) < 4000
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return fits and not re.search("[\x00-\x1f\x7f-\x9f]", value)


def _one_of(*values: str) -> _Check:
    return _Check("one of " + ", ".join(values), lambda value: isinstance(value, str) and value in values)


_RANGE = f"from -{MAX_WHOLE} to {MAX_WHOLE}"
_TEXT = _Check("a text of 1 to 3999 bytes without control characters", is_text)
_BOOL = _Check("true or false", lambda value: isinstance(value, bool))
_COUNT = _Check(f"a whole number from 1 to {MAX_WHOLE}", lambda value: _is_whole(value, 1), True)
_NUMBERS = _Check(f"1 to 4 numbers {_RANGE}", lambda value: _are(value, is_number, 1, 4))
_SHARE = _Check("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
_INNER_SHARE = _Check("a number above 0 and below 1", lambda value: is_number(value) and 0 < value < 1)
_THRESHOLDS = _Check(
    f"a list of 1 to {MAX_CLASSES} numbers, each above 0 and below 1",
    lambda value: _are(value, _INNER_SHARE.holds, 1, MAX_CLASSES),
)
_STD = _Check(
    f"1 to 4 numbers above 0, at most {MAX_WHOLE}", lambda value: _are(value, lambda v: is_number(v) and v > 0, 1, 4)
)
_SIDE = _Check(f"pixels, 1 to {MAX_SIDE}", lambda value: _is_whole(value, 1, MAX_SIDE), True)
_SIZE = _Check(f"[width, height], each 1 to {MAX_SIDE} pixels", lambda value: _are(value, _SIDE.holds, 2, 2), True)
_COLOR = _Check("three numbers 0 to 255", lambda value: _are(value, lambda v: is_number(v) and 0 <= v <= 255, 3, 3))
_SHA256 = _Check(
    "64 hexadecimal digits", lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value))
)
FILE = _Check(
    "the plain name of a file in the same folder",
    lambda value: is_text(value) and value not in (".", "..") and not set(value) & set("/\\:"),
)
_OBJECT = _Check("an object", lambda value: isinstance(value, dict))
_LIST = _Check("a list", lambda value: isinstance(value, list))
_NAMES = _Check(
    f"a list of 1 to {MAX_CLASSES} different texts, each of 1 to 3999 bytes without control characters, "
    "or the name of a text file in the same folder",
    lambda value: (_are(value, is_text, 1, MAX_CLASSES) and len(set(value)) == len(value)) or FILE.holds(value),
)
_MEAN = _Check(
    f"{_NUMBERS.expected}, or the name of an .npy or .binaryproto file in the same folder",
    lambda value: _NUMBERS.holds(value) or (FILE.holds(value) and value.endswith((".npy", ".binaryproto"))),
)
_VERSION = _Check(
    "a version such as 4.10.0",
    lambda value: (
        isinstance(value, str) and bool(re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}(-[0-9a-z.]{1,32})?", value))
    ),
)
# section: (required keys, optional keys). `extra` holds what a reader may pass over: measurements, notes. A key that is
# not here is refused, because it may change answers: such a key makes another schema, as those of trainkit/2 did.
SECTIONS: Dict[str, Any] = {
    "manifest": (
        {"schema": _TEXT, "model": _OBJECT, "blob": _OBJECT, "output": _OBJECT},
        {"source": _OBJECT, "preprocessing": _OBJECT, "before_blob": _LIST, "opencv": _OBJECT, "extra": _OBJECT},
    ),
    "model": (
        {"file": FILE, "format": _one_of("onnx", "frozen-graph", "caffe")},
        {
            "graph": FILE,
            "bytes": _COUNT,
            "sha256": _SHA256,
            "input": _TEXT,
            "output": _TEXT,
            "opset": _COUNT,
            "weights": _one_of("float32", "float16", "int8"),
        },
    ),
    "blob": (
        {
            "scalefactor": _Check(f"a number other than 0, {_RANGE}", lambda value: is_number(value) and value != 0),
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
            "background": _Check(
                f"a class's number, from 0 to {MAX_CLASSES}", lambda value: _is_whole(value, 0, MAX_CLASSES), True
            ),
            "min_confidence": _SHARE,
            "reject_below": _INNER_SHARE,
            "thresholds": _THRESHOLDS,
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
            "alpha": _Check(f"a number above 0, at most {MAX_WHOLE}", lambda value: is_number(value) and value > 0),
        },
    ),
    "preprocessing": (
        {
            "height": _SIDE,
            "width": _SIDE,
            "resize": _one_of("stretch", "crop", "pad"),
            "color": _one_of("rgb", "bgr", "gray"),
            "mean": _NUMBERS,
            "std": _STD,
        },
        {"pad_color": _COLOR, "mean_image": FILE, "samplewise": _one_of("center", "standardize")},
    ),
    "opencv": ({}, {"minimum": _VERSION, "engine": _one_of("classic", "new", "auto"), "verified": _OBJECT}),
    "before_blob: pad": ({"step": _TEXT, "color_bgr": _COLOR}, {}),
    "before_blob: gray": ({"step": _TEXT}, {}),
}
_SINCE_2 = ("reject_below", "thresholds")  # of `output`
# Those that are objects, in the order in which they are looked at.
_NESTED = ("model", "blob", "output", "source", "preprocessing", "opencv")


def _keys_of(section: str, schema: str) -> Any:
    required, optional = SECTIONS[section]
    if section == "output" and schema == SCHEMA:
        optional = {key: check for key, check in optional.items() if key not in _SINCE_2}
    return required, optional


def _check_section(section: str, data: Dict[str, Any], schema: str, where: Any) -> None:
    required, optional = _keys_of(section, schema)
    for key in required:
        if key not in data:
            raise BundleError(f"{where}: `{section}` needs the key `{key}`. Add it, or export the bundle again.")
    for key, value in data.items():
        check = required.get(key) or optional.get(key)
        if check is None:
            known = ", ".join([*required, *optional])
            unknown = harmless(str(key))[:MAX_SHOWN]
            raise BundleError(f"{where}: `{section}` has the unknown key `{unknown}`. Expected only: {known}")
        if not check.holds(value):
            raise BundleError(f"{where}: `{section}.{key}` must be {check.expected}. Received: {shown(value)}")


def check_manifest(data: Any, where: Any = "manifest") -> None:
    """Raise unless `data` is a manifest of this schema: every required key, no unknown one, every value possible.

    Raises:
        BundleError: says which key, what was expected and what came.
    """
    if not isinstance(data, dict):
        raise BundleError(f"{where}: expected a JSON object. Received: {shown(data)}")
    schema = data.get("schema", SCHEMA)
    if schema not in (SCHEMA, SCHEMA_2):
        raise BundleError(
            f"{where}: this client reads the schemas {SCHEMA} and {SCHEMA_2}. Received: {shown(schema)}. "
            "Take a newer client."
        )
    _check_section("manifest", data, schema, where)
    for section in _NESTED:
        if section in data:
            _check_section(section, data[section], schema, where)
    _check_steps(data.get("before_blob", []), schema, where)
    _check_together(data["model"], data["output"], where)


def _check_steps(steps: Any, schema: str, where: Any) -> None:
    for step in steps:
        if not isinstance(step, dict) or "step" not in step:
            expected = "each step of `before_blob` must be an object with the key `step`"
            raise BundleError(f"{where}: {expected}. Received: {shown(step)}")
        if step["step"] not in ("pad", "gray"):
            raise BundleError(f"{where}: `before_blob` knows the steps pad and gray. Received: {shown(step['step'])}")
    names = [step["step"] for step in steps]
    if names not in ([], ["pad"], ["gray"], ["pad", "gray"]):
        raise BundleError(f"{where}: `before_blob` has each step once, pad before gray. Received: {shown(names)}")
    for step in steps:
        _check_section(f"before_blob: {step['step']}", step, schema, where)


def _check_together(model: Dict[str, Any], output: Dict[str, Any], where: Any) -> None:
    kind = output["kind"]
    if model["format"] == "caffe" and "graph" not in model:
        raise BundleError(f"{where}: a Caffe model needs the key `model.graph`, the name of its .prototxt. Add it.")
    if model["format"] == "onnx" and "graph" in model:
        raise BundleError(f"{where}: an ONNX model has its graph inside. Take the key `model.graph` out.")
    for key in ("multi_label", *_SINCE_2) if kind == "ssd" else ("background", "min_confidence"):
        if key in output:
            raise BundleError(f"{where}: an output of the kind {kind} has no `output.{key}`. Take it out.")
    if kind == "softmax" and output.get("multi_label"):
        raise BundleError(
            f"{where}: an output of the kind softmax cannot have `output.multi_label` true. "
            "Write false, or the kind sigmoid or logits."
        )
    if "reject_below" in output and output.get("multi_label"):
        raise BundleError(
            f"{where}: `output.reject_below` is for one class an image, and `output.multi_label` is true. "
            "Take one of the two out."
        )
    if "thresholds" in output and not output.get("multi_label"):
        raise BundleError(f"{where}: `output.thresholds` needs `output.multi_label` true. Write it, or take them out.")
    if isinstance(output["class_names"], list):
        check_against_names(output, where)


def check_against_names(output: Dict[str, Any], where: Any) -> None:
    """Raise unless the background is a class and each class has a threshold; the names are there as a list."""
    background, count = output.get("background", 0), len(output["class_names"])
    if background >= count:
        raise BundleError(
            f"{where}: `output.background` is the class {background:.10g}, and there are {count} class names, "
            "counted from 0. Correct it."
        )
    thresholds = len(output.get("thresholds", output["class_names"]))
    if thresholds != count:
        raise BundleError(
            f"{where}: `output.thresholds` has {thresholds} numbers, and there are {count} class names. "
            "Write one for each."
        )


def make_whole(data: Dict[str, Any]) -> None:
    """Turn whole numbers that were written with a point, as 224.0, into int, in a manifest that was checked."""
    for section in _NESTED:
        entries, (required, optional) = data.get(section, {}), SECTIONS[section]
        for key, check in {**required, **optional}.items():
            if check.is_whole and key in entries:
                value = entries[key]
                entries[key] = [int(one) for one in value] if isinstance(value, list) else int(value)
