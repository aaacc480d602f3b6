"""The conformance cases of the manifest: made from its JSON Schema and by hand, and held against each reader.

`python tests/conformance.py` writes `trainkit/deploy/spec/conformance.json`. What it decides, case by case, is whether
a manifest is accepted; this comes from the schema's bounds and from what is written here, never from a reader. The
sentences of refusals are those of the Python client, which the clients in other languages have to repeat.

A case of the file has a `name`, the manifest as `text` (or `base64`, where it is no UTF-8), and a `sentence`: null
where the manifest is accepted, else the message without the place in front of it (`manifest.json`). In `(*)` a parser
says something of its own. Files that a manifest names are not looked at. `beyond_schema` marks what JSON Schema cannot
say.
"""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainkit.deploy.python._manifest import parse_manifest
from trainkit.errors import BundleError

SPEC = Path(__file__).parents[1] / "trainkit" / "deploy" / "spec"
SCHEMA = json.loads((SPEC / "manifest.schema.json").read_text(encoding="utf-8"))
CASES = SPEC / "conformance.json"
COUNT = 1187  # which the tests of each reader look at too: a case that gets lost is noticed

MINIMAL: dict[str, Any] = {
    "schema": "trainkit/1",
    "model": {"file": "net.onnx", "format": "onnx"},
    "blob": {"scalefactor": 1, "size": [4, 3], "mean": [0], "swapRB": False, "crop": False},
    "output": {"kind": "softmax", "class_names": ["a", "b"]},
}
_PREPROCESSING = {"height": 3, "width": 4, "resize": "crop", "color": "rgb", "mean": [0, 0, 0], "std": [1, 1, 1]}
# What else must stand in a manifest for a key to be allowed.
_SEVERAL = {"kind": "sigmoid", "multi_label": True, "class_names": "names.txt"}
_NEEDED: dict[str, dict[str, Any]] = {
    "model.graph": {"model": {"format": "frozen-graph"}},
    "output.multi_label": {"output": {"kind": "sigmoid"}},
    "output.background": {"output": {"kind": "ssd", "class_names": "names.txt"}},
    "output.min_confidence": {"output": {"kind": "ssd"}},
    "output.reject_below": {"schema": "trainkit/2"},
    "output.thresholds": {"schema": "trainkit/2", "output": _SEVERAL},
}


@dataclass(frozen=True, slots=True)
class Case:
    """A manifest and its verdict.

    Attributes:
        name: says what is tried.
        text: of the manifest; bytes where it is no UTF-8.
        refused: whether a reader must refuse it.
        because: what the sentence of the refusal must hold.
        beyond_schema: JSON Schema cannot say it.
    """

    name: str
    text: str | bytes
    refused: bool
    because: str = ""
    beyond_schema: bool = False


@dataclass(frozen=True, slots=True)
class Values:
    """Texts of JSON that one key accepts and refuses; `beyond` are refused, and JSON Schema cannot say why."""

    accepted: list[str]
    refused: list[str]
    beyond: tuple[str, ...] = ()


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def with_changes(*, schema: str = "trainkit/1", **sections: dict[str, Any]) -> str:
    """Return the text of the smallest manifest with keys of sections changed; None takes a key out."""
    manifest = {**copy.deepcopy(MINIMAL), "schema": schema}
    for section, changes in sections.items():
        entries = manifest.setdefault(section, copy.deepcopy(_PREPROCESSING) if section == "preprocessing" else {})
        for key, value in changes.items():
            if value is None:
                del entries[key]
            else:
                entries[key] = value
    return to_json(manifest)


def with_value(keys: str, text: str) -> str:
    """Return the text of a manifest in which `section.key` has a value, which is given as JSON."""
    section, _, key = keys.rpartition(".")
    if not section:
        return to_json({**MINIMAL, key: "@value"}).replace('"@value"', text)
    needed = copy.deepcopy(_NEEDED.get(keys, {}))
    needed.setdefault(section, {})[key] = "@value"
    return with_changes(**needed).replace('"@value"', text)


# From the schema: each key at each of its bounds.

_TYPES = ["null", "true", "5", '"text"', "[]", "{}"]  # one value of each type of JSON
_LONGEST = "x" * 3999
_LONGEST_LIST = 100  # of a case
# What a pattern accepts and refuses must be written by hand; by the name that the schema gives to the kind of text.
_TEXTS = {
    "text": Values(
        ['"x"', to_json(_LONGEST), to_json("é" * 1999 + "x"), '"\\u00e9\\u00a0\\ud83e\\udd86"', '" \u202e"'],
        [
            *_TYPES[:3],
            "[]",
            '""',
            to_json(_LONGEST + "x"),
            '"a\\u0000"',
            '"a\\n"',
            '"\\u001f"',
            '"\\u007f"',
            '"\\u009f"',
        ],
        (to_json("é" * 2000),),
    ),
    "file": Values(
        ['"text"', to_json(_LONGEST), '"..."', '".a"', '"a b é.onnx"', '"-"', '"%2e%2e"'],
        [
            *_TYPES[:3],
            "[]",
            '""',
            to_json(_LONGEST + "x"),
            '"."',
            '".."',
            '"a/b"',
            '"/a"',
            '"a\\\\b"',
            '"a:b"',
            '"\\u0000"',
        ],
        (to_json("é" * 2000),),
    ),
    "sha256": Values(
        [to_json("0123456789abcdef" * 4)],
        [
            *_TYPES,
            '""',
            to_json("0" * 63),
            to_json("0" * 65),
            to_json("A" * 64),
            to_json("g" * 64),
            to_json("0" * 64 + "\n"),
        ],
    ),
    "mean_file": Values(
        ['"a.npy"', '"a.binaryproto"', '".npy"'], ['"text"', '"a.npz"', '"npy"', '"a/b.npy"', '"a.npy\\n"', '"a.NPY"']
    ),
    "version": Values(
        ['"4"', '"4.10.0"', '"4.5.5.64"', '"9999.9999.9999.9999"', '"5.0.0-pre"', to_json("5-" + "a." * 16)],
        [
            *('""', '"4."', '".5"', '"4..5"', '"4.5.5.64.1"', '"10000"', '"4.5.10000"', '"5.0.0-"', '"5.0.0-PRE"'),
            *('"v4"', '"4.5.5\\n"', '" 4.5"', '"\u0664.5"', to_json("5-" + "a" * 33), "4", "4.5", "null", "[]"),
        ],
    ),
}


def _resolve(part: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return what a `$ref` leads to, and its name."""
    name = part.get("$ref", "").rpartition("/")[2]
    return (name, SCHEMA["$defs"][name]) if name else ("", part)


def _values_of(part: dict[str, Any]) -> Values:
    """Return values that a part of the schema accepts and refuses, at each of its bounds."""
    name, part = _resolve(part)
    if name in _TEXTS:
        return _TEXTS[name]
    if "anyOf" in part:
        return _either([_values_of(one) for one in part["anyOf"]])
    if "enum" in part:
        first = part["enum"][0]
        others = [first.upper(), first + " ", [first], ""]
        return Values([*map(to_json, part["enum"])], [*_TYPES, *map(to_json, others)])
    kinds = {"boolean": _booleans, "integer": _numbers, "number": _numbers, "array": _arrays, "object": _objects}
    return kinds[part["type"]](part)


def _either(kinds: list[Values]) -> Values:
    """Return the values of a key that is one of several kinds: what one refuses the other may accept."""
    accepted = [value for one in kinds for value in one.accepted]
    refused = [value for one in kinds for value in one.refused if value not in accepted]
    return Values(accepted, refused, tuple(value for one in kinds for value in one.beyond))


def _booleans(_: dict[str, Any]) -> Values:
    return Values(["true", "false"], [value for value in _TYPES if value != "true"] + ["0", "1", '"true"'])


def _numbers(part: dict[str, Any]) -> Values:
    if "exclusiveMaximum" in part:
        most = part["exclusiveMaximum"]
        accepted, refused = [f"{most - 1}.9999999"], [f"{most}", f"{most}.0", f"{most + 1}", f"{most}.5", "1e300"]
    else:
        most = part["maximum"]
        accepted, refused = [f"{most}", f"{most}.0"], [f"{most + 1}", f"{most}.5", f"{most + 1}.0", "1e300"]
    if "exclusiveMinimum" in part:
        accepted, refused = ["1e-300", *accepted], ["0", "-0.0", "-1", "-1e-300", "1e-999", *refused]
    else:
        least = part["minimum"]
        accepted, refused = [f"{least}", f"{least}.0", *accepted], [f"{least - 1}", f"{least - 1}.0", *refused]
    if part["type"] == "integer":
        accepted, refused = [*accepted, "10e-1"], [*refused, "1.5", "1.0000000001"]
    else:
        accepted = [*accepted, "0.5", "5E-1"]
    if "not" in part:
        accepted, refused = [*accepted, "-0.5"], [*refused, "0", "-0", "0.0", "0e5", "1e-999"]
    return Values(accepted, [*refused, *(value for value in _TYPES if value != "5"), '"1"', "[1]"])


def _arrays(part: dict[str, Any]) -> Values:
    inner = _values_of(part["items"])
    least, most = part["minItems"], part["maxItems"]
    if part.get("uniqueItems"):  # too long for a case at its upper bound
        several = [f"[{one}, {to_json('other')}]" for one in inner.accepted]
        wrong = [f"[{to_json('other')}, {one}]" for one in inner.refused]
        beyond = tuple(f"[{one}]" for one in inner.beyond)
        return Values(
            ['["a"]', *several], ["[]", '["a", "b", "a"]', '["a", "\\u0061"]', *_TYPES[:3], "{}", *wrong], beyond
        )
    join = ", ".join
    most, too_many = (most, [most + 1]) if most <= _LONGEST_LIST else (least + 1, [])
    accepted = [f"[{join([one] * count)}]" for one in inner.accepted for count in {least, most}]
    refused = [f"[{join([inner.accepted[0]] * count)}]" for count in (least - 1, *too_many)]
    refused += [f"[{join([inner.accepted[0]] * (least - 1) + [one])}]" for one in inner.refused]
    return Values(accepted, [*refused, *(value for value in _TYPES if value != "[]")])


def _objects(_: dict[str, Any]) -> Values:
    return Values(["{}", '{"a": {"b": [null, "", -1e300]}, "": 0}'], [value for value in _TYPES if value != "{}"])


def _keys_of_sections() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for section, part in SCHEMA["properties"].items():
        if section == "extra":
            yield "", section, part
        for key, inner in _resolve(part)[1].get("properties", {}).items():
            if (section, key) != ("model", "format"):  # which decides about other keys: by hand
                yield f"{section}.", key, inner


def from_schema() -> Iterator[Case]:
    """Yield cases for each key of each section."""
    for section, key, part in _keys_of_sections():
        keys, values = section + key, _values_of(part)
        because = f"`{keys if section else 'manifest.' + key}` must be "
        for value in dict.fromkeys(values.accepted):
            needed = ', "min_confidence": 1' if keys == "output.kind" and value == '"ssd"' else ""
            yield Case(_name(keys, "is", value), with_value(keys, value + needed), False)
        for value in dict.fromkeys(values.refused):
            yield Case(_name(keys, "is not", value), with_value(keys, value), True, because)
        for value in dict.fromkeys(values.beyond):
            yield Case(
                _name(keys, "is not, in bytes,", value), with_value(keys, value), True, because, beyond_schema=True
            )
    yield from _sections_from_schema()


def _sections_from_schema() -> Iterator[Case]:
    """Yield cases for each section: of another type, with an unknown key, and without each key that is required."""
    for section, reference in SCHEMA["properties"].items():
        part = _resolve(reference)[1]
        if "properties" not in part:
            continue
        for value in [one for one in _TYPES if one != "{}"]:
            yield Case(
                _name(section, "is not", value), with_value(section, value), True, f"`manifest.{section}` must be an"
            )
        for key in ("interpolation", "Mean", "", "__proto__", "toString", "0"):
            text = with_value(f"{section}.{key}", "1")
            yield Case(f"{section} has no key {key!r}", text, True, f"`{section}` has the unknown key `{key}`")
        for key in part.get("required", []):
            text = with_changes(**{section: {key: None}})
            yield Case(f"{section} needs {key}", text, True, f"`{section}` needs the key `{key}`")
        if not part.get("required"):
            yield Case(f"{section} may be empty", with_value(section, "{}"), False)


def _name(keys: str, verb: str, value: str) -> str:
    shown = value.encode("ascii", "backslashreplace").decode()
    return f"{keys} {verb} {shown if len(shown) <= 60 else f'{shown[:20]}... of {len(value.encode())} bytes'}"


# The file, and what readers say of it.


def build() -> list[dict[str, Any]]:
    """Return the cases as they stand in the file.

    Raises:
        AssertionError: the Python client decides otherwise, or two cases have one name.
    """
    from conformance_by_hand import by_hand

    cases = [*from_schema(), *by_hand()]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    return [_as_json(case) for case in cases]


def _as_json(case: Case) -> dict[str, Any]:
    sentence = sentence_of_python(case.text)
    assert (sentence is not None) == case.refused, (case.name, sentence)
    assert case.because in (sentence or ""), (case.name, sentence)
    content = {"base64": base64.b64encode(case.text).decode()} if isinstance(case.text, bytes) else {"text": case.text}
    return {
        "name": case.name,
        **content,
        "sentence": sentence,
        **({"beyond_schema": True} if case.beyond_schema else {}),
    }


_OF_ALL_READERS = (
    "the key `.*` stands twice in one object",
    "nested more than 32 deep",
    r"half a letter \(a lone surrogate\) in a text",
    "a number beyond range",
)


def sentence_of_python(text: str | bytes) -> str | None:
    """Return what the Python client says of a manifest, without the place; None where it is accepted."""
    try:
        parse_manifest(text.encode() if isinstance(text, str) else text, "")
    except BundleError as error:
        sentence = str(error)
        own = re.fullmatch(r" is not valid JSON in UTF-8 \((.*)\)\. Export the bundle again\.", sentence, flags=re.S)
        if own and not any(re.fullmatch(words, own[1]) for words in _OF_ALL_READERS):
            return " is not valid JSON in UTF-8 (*). Export the bundle again."
        return sentence
    return None


def read_cases() -> list[dict[str, Any]]:
    """Return the cases of the file, each with its manifest as `bytes`."""
    cases = json.loads(CASES.read_text(encoding="utf-8"))["cases"]
    for case in cases:
        case["bytes"] = base64.b64decode(case["base64"]) if "base64" in case else case["text"].encode()
    return list(cases)


def agrees(case: dict[str, Any], message: str | None, where: str) -> bool:
    """Return whether a reader's message, None where it accepts, is the verdict and the sentence of a case."""
    if message is None or case["sentence"] is None:
        return message is None and case["sentence"] is None
    pattern = re.escape(where + case["sentence"]).replace(r"\(\*\)", r"\(.*\)")
    return re.fullmatch(pattern, message, flags=re.S) is not None


def as_text(cases: list[dict[str, Any]]) -> str:
    """Return the file: a case a line, with escapes for what an editor would not show."""
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    lines = re.sub(r"[^\n -~\u00a1-\u02ff\U0001f000-\U0001faff]", lambda found: json.dumps(found[0])[1:-1], lines)
    return f'{{"cases": [\n{lines}\n]}}\n'


if __name__ == "__main__":
    CASES.write_text(as_text(build()), encoding="utf-8")
