from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import cv2
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainkit.bundles._manifest import (
    build_manifest,
    check_class_names,
    embedded_manifest,
    read_manifest,
    save_manifest,
)
from trainkit.deploy.python._schema import check_manifest
from trainkit.deploy.python._values import MAX_MANIFEST_BYTES
from trainkit.errors import BundleError, ExportError
from trainkit.preprocessing import build_preprocessing

MINIMAL: dict[str, Any] = {
    "schema": "trainkit/1",
    "model": {"file": "model.onnx", "format": "onnx"},
    "blob": {"scalefactor": 1, "size": [4, 3], "mean": [0], "swapRB": False, "crop": False},
    "output": {"kind": "softmax", "class_names": ["a", "b"]},
}
FULL: dict[str, Any] = {
    "schema": "trainkit/1",
    "source": {
        "run": "20261120-101500-birds",
        "keras": "a.keras",
        "keras_sha256": "0" * 64,
        "from_logits": True,
        "application": "mobilenet",
        "weights": "imagenet",
        "alpha": 0.75,
    },
    "model": {
        **MINIMAL["model"],
        "bytes": 2171043,
        "sha256": "0123456789abcdef" * 4,
        "input": "input",
        "output": "probabilities",
        "opset": 9,
    },
    "preprocessing": {
        "height": 3,
        "width": 4,
        "resize": "pad",
        "color": "gray",
        "mean": [127.5],
        "std": [127.5],
        "pad_color": [255.0, 0, 12.5],
    },
    "before_blob": [{"step": "pad", "color_bgr": [12.5, 0, 255.0]}, {"step": "gray"}],
    "blob": MINIMAL["blob"],
    "output": {**MINIMAL["output"], "kind": "sigmoid", "multi_label": True},
    "opencv": {"minimum": "4.5.5", "engine": "classic", "verified": {"5.0.0": {"images": 200, "top1_agreement": 1.0}}},
    "extra": {"measured": {"milliseconds": [1.5, None]}, "note": ""},
}
HUGE = 10**400  # JSON can say it, a float cannot
ODD_NAMES = [
    'café "x"',
    "back\\slash",
    "both \\\" of \\them\\",
    "猫",
    "🦆 duck",
    " spaces around ",
    "a: b, [c] {d} #e",
    "%YAML:1.0",
    "true",
    "12",
    "1e5",
    "'quoted'",
    "<b>&amp;</b>",
    "$x$",
    "n" * 3999,
    "é" * 1999,
]  # fmt: skip


def changed(keys: str, value: Any) -> dict[str, Any]:
    """Return the full manifest with one value of `section.key` changed."""
    manifest = copy.deepcopy(FULL)
    *sections, last = keys.split(".")
    part: Any = manifest
    for section in sections:
        part = part[int(section)] if section.isdigit() else part[section]
    part[last] = value
    return manifest


def without(keys: str) -> dict[str, Any]:
    manifest = copy.deepcopy(FULL)
    *sections, last = keys.split(".")
    part: Any = manifest
    for section in sections:
        part = part[int(section)] if section.isdigit() else part[section]
    del part[last]
    return manifest


def write(folder: Path, content: Any) -> Path:
    """Write a manifest as it was not meant to be; bytes and text as they are."""
    if not isinstance(content, (str, bytes)):
        content = json.dumps(content)
    (folder / "manifest.json").write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def refused(data: Any, message: str, where: Path) -> None:
    """Check that a manifest is refused in memory and as a file, with the same words."""
    with pytest.raises(BundleError, match=message):
        check_manifest(data)
    with pytest.raises(BundleError, match=message) as caught:
        read_manifest(write(where, data))
    assert str(where / "manifest.json") in str(caught.value)


@pytest.mark.parametrize("manifest", [MINIMAL, FULL])
def test_manifest_is_read_from_its_folder_and_its_file(tmp_path: Path, manifest: dict[str, Any]) -> None:
    write(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert read_manifest(str(tmp_path)) == manifest
    assert read_manifest(tmp_path / "manifest.json") == manifest


@pytest.mark.parametrize(
    "keys",
    [
        "source",
        "source.run",
        "source.keras",
        "source.keras_sha256",
        "model.bytes",
        "model.sha256",
        "model.input",
        "model.output",
        "model.opset",
        "preprocessing",
        "preprocessing.pad_color",
        "before_blob",
        "output.multi_label",
        "opencv",
        "opencv.minimum",
        "opencv.engine",
        "opencv.verified",
        "extra",
    ],
)
def test_optional_key_may_be_left_out(keys: str) -> None:
    check_manifest(without(keys))


@pytest.mark.parametrize(
    "keys",
    [
        "schema",
        "model",
        "model.file",
        "model.format",
        "blob",
        *(f"blob.{key}" for key in MINIMAL["blob"]),
        "output",
        "output.kind",
        "output.class_names",
        *(f"preprocessing.{key}" for key in ("height", "width", "resize", "color", "mean", "std")),
    ],
)
def test_required_key_that_is_missing_is_named(tmp_path: Path, keys: str) -> None:
    section, _, key = keys.rpartition(".")
    refused(without(keys), f"`{section or 'manifest'}` needs the key `{key}`. Add it, or export the bundle", tmp_path)


def test_pad_without_its_color_is_refused(tmp_path: Path) -> None:
    refused(without("before_blob.0.color_bgr"), "`before_blob: pad` needs the key `color_bgr`", tmp_path)


@pytest.mark.parametrize("section", ["", "source", "model", "preprocessing", "blob", "output", "opencv"])
@pytest.mark.parametrize("key", ["nonsense", "Mean", "", "mean\n"])
def test_unknown_key_is_named(tmp_path: Path, section: str, key: str) -> None:
    shown = re.escape(key.replace("\n", r"\x0a"))
    message = f"`{section or 'manifest'}` has the unknown key `{shown}`. Expected only: "
    refused(changed(f"{section}.{key}".removeprefix("."), 1), message, tmp_path)


@pytest.mark.parametrize("step", [0, 1])
def test_unknown_key_of_a_step_is_named(tmp_path: Path, step: int) -> None:
    refused(changed(f"before_blob.{step}.nonsense", 1), "`before_blob: .*` has the unknown key `nonsense`", tmp_path)


@pytest.mark.parametrize(
    ("keys", "expected", "values"),
    [
        ("source", "an object", [[], None, "a"]),
        ("model", "an object", [[], None, 1]),
        ("blob", "an object", [[], 0]),
        ("output", "an object", [["a", "b"], True]),
        ("preprocessing", "an object", [None]),
        ("opencv", "an object", ["4.5.5"]),
        ("before_blob", "a list", [{}, "gray", None]),
        ("model.format", "one of onnx, frozen-graph", ["ONNX", "", None, 1, ["onnx"], {}]),
        ("model.bytes", "a whole number from 1 to 2147483647", [0, -1, 2**31, HUGE, 1.5, "5", True, None, [5]]),
        ("model.opset", "a whole number from 1 to 2147483647", [0, "9", False]),
        ("model.sha256", "64 hexadecimal digits", ["", "0" * 63, "0" * 65, "g" * 64, "A" * 64, 0, None, ["0"] * 64]),
        ("source.keras_sha256", "64 hexadecimal digits", ["nonsense"]),
        ("model.input", "a text of 1 to 3999 bytes", ["", 1, None, [], "x" * 4000, "é" * 2000, "a\n", "\x85"]),
        ("source.run", "a text", ["", True]),
        (
            "blob.scalefactor",
            "a number other than 0",
            [0, 0.0, True, "1", None, [1], 2**31, -2147483647.5, HUGE, -HUGE],
        ),
        (
            "blob.mean",
            "1 to 4 numbers",
            [[], [0] * 5, 0, "0", "../mean.npy", "mean.npz", [True], ["0"], [None], [[0]], [HUGE, 0, 0], {}],
        ),
        ("blob.size", "width, height", [[4], [4, 3, 2], [0, 3], [4, -3], [4, 16385], [4.5, 3], [True, 3], "4x3", 4]),
        ("blob.size", "width, height", [[HUGE, 3], [2**31, 2**31], {"width": 4, "height": 3}]),
        ("blob.swapRB", "true or false", [0, 1, "true", None, []]),
        ("blob.crop", "true or false", [0, "false"]),
        ("output.kind", "one of softmax, sigmoid, logits, ssd", ["SSD", "", None, 0]),
        ("output.background", "a class's number, from 0 to 1000000", [-1, 1.5, "0", True, False, None, HUGE]),
        ("output.min_confidence", "a number from 0 to 1", [-0.1, 1.1, "0.5", True, None, [0.5]]),
        ("model.graph", "the plain name of a file", ["../graph.pbtxt", "/etc/passwd", "a/b", "", None, 1]),
        (
            "output.class_names",
            "a list of 1 to 1000000 different texts",
            [[], ["a", "a"], ["a", ""], ["a", 1], ["a", None], "../names.txt", "a/b"],
        ),
        (
            "output.class_names",
            "different texts, each of 1",
            [["a", "x" * 4000], ["\x1b[2J"], [["a"]], {"a": 0}, None, ""],
        ),
        ("output.multi_label", "true or false", [1, "no"]),
        ("preprocessing.height", "pixels, 1 to 16384", [0, -1, 16385, 1.5, "3", True, None, HUGE]),
        ("preprocessing.width", "pixels, 1 to 16384", [0, [4]]),
        ("preprocessing.resize", "one of stretch, crop, pad", ["squash", None]),
        ("preprocessing.color", "one of rgb, bgr, gray", ["grey", "RGB", 3]),
        ("preprocessing.mean", "1 to 4 numbers", [[], ["0"], HUGE, [HUGE]]),
        ("preprocessing.std", "1 to 4 numbers above 0", [[0], [-1.0], [1, 0, 1], [], [True], [HUGE]]),
        (
            "preprocessing.pad_color",
            "three numbers",
            [[255], [0, 0, 256], [-1, 0, 0], [0, 0, "0"], [HUGE, 0, 0]],
        ),
        (
            "opencv.minimum",
            "a version such as 4.10.0",
            ["", "new", ".5", 4, 4.5, None, "4.²", "²", "4.5.5\n", "1.2.3.4.5", "10000.0", "5-" + "a" * 33],
        ),
        ("opencv.engine", "one of classic, new, auto", ["old", 1]),
        ("opencv.verified", "an object", [[], "5.0.0", True]),
    ],
)
def test_value_that_is_none_of_its_key_is_refused(tmp_path: Path, keys: str, expected: str, values: list[Any]) -> None:
    for value in values:
        message = rf"`(manifest\.)?{keys}` must be .*{re.escape(expected)}.*\. Received: "
        if str(HUGE) in str(value):  # no reader gets it from a file
            with pytest.raises(BundleError, match=message):
                check_manifest(changed(keys, value))
            message = "a number beyond range"
            with pytest.raises(BundleError, match=message):
                read_manifest(write(tmp_path, changed(keys, value)))
            continue
        refused(changed(keys, value), message, tmp_path)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_token_that_is_no_json_number_is_refused(tmp_path: Path, token: str) -> None:
    text = json.dumps(FULL).replace("127.5", token, 1)
    with pytest.raises(BundleError, match=rf"manifest\.json is not valid JSON in UTF-8 \({token} is no JSON number\)"):
        read_manifest(write(tmp_path, text))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(BundleError, match=r"`blob\.scalefactor` must be a number"):
        check_manifest(changed("blob.scalefactor", value))


@pytest.mark.parametrize("text", ["1e400", "-1e400"])
def test_number_beyond_a_double_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, json.dumps(FULL).replace('"scalefactor": 1', f'"scalefactor": {text}'))
    with pytest.raises(BundleError, match=r"manifest\.json is not valid JSON in UTF-8 \(a number beyond range\)"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "name", ["../model.onnx", "/etc/passwd", "a/b", "a\\b", "..\\b", "C:b", "", ".", "..", "a\0b", "x" * 4000, None, 1]
)
def test_model_file_outside_the_folder_is_refused(tmp_path: Path, name: Any) -> None:
    refused(changed("model.file", name), r"`model\.file` must be the plain name of a file in the same folder", tmp_path)


@pytest.mark.parametrize("name", ["...", "model v2.onnx", "模型.onnx", "-", "%2e%2e"])
def test_model_file_may_have_any_plain_name(name: str) -> None:
    check_manifest(changed("model.file", name))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"model.format": "caffe"}, r"a Caffe model needs the key `model\.graph`, the name of its \.prototxt\. Add it"),
        ({"model.graph": "graph.pbtxt"}, r"an ONNX model has its graph inside\. Take the key `model\.graph` out"),
        ({"output.background": 0}, r"an output of the kind softmax has no `output\.background`\. Take it out"),
        ({"output.min_confidence": 0.5}, r"an output of the kind softmax has no `output\.min_confidence`"),
        (
            {"output.multi_label": True},
            r"kind softmax cannot have `output\.multi_label` true\. Write false, or the kind",
        ),
        (
            {"output.kind": "ssd", "output.background": 2},
            r"is the class 2, and there are 2 class names, counted from 0",
        ),
        ({"output.kind": "ssd", "output.multi_label": True}, r"an output of the kind ssd has no `output\.multi_label`"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(parts: dict[str, Any], message: str, tmp_path: Path) -> None:
    manifest = copy.deepcopy(MINIMAL)
    for keys, value in parts.items():
        section, key = keys.split(".")
        manifest[section][key] = value
    refused(manifest, message, tmp_path)


@pytest.mark.parametrize("schema", ["trainkit/3", "trainkit/1 ", "", None, 1, ["trainkit/1"]])
def test_unknown_schema_asks_for_a_newer_client(tmp_path: Path, schema: Any) -> None:
    message = r"this client reads the schemas trainkit/1 and trainkit/2\. Received: .*\. Take a newer client"
    refused(changed("schema", schema), message, tmp_path)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\x1b[2J\u202e'", r"'a\x1b[2J\u202e''"),
        ("é" * 90, "'" + "é" * 79),
        (None, "null"),
        ([True, "a", [1.0, -0.0]], "[true, 'a', [1, 0]]"),
        ({"a": 1}, "an object"),
        (0.1 + 0.2, "0.3"),
        (123456789012, "1.23456789e+11"),
        ([1] * 1000, f"[{'1, ' * 26}1"),
    ],
)
def test_value_is_shown_in_the_words_of_every_client(value: Any, shown: str) -> None:
    with pytest.raises(BundleError) as caught:
        check_manifest(changed("schema", value))
    assert f"Received: {shown}. Take a newer client." in str(caught.value)


@pytest.mark.parametrize("data", [[], "text", 5, None, True, [FULL]])
def test_manifest_that_is_no_object_is_refused(tmp_path: Path, data: Any) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: expected a JSON object\. Received: "):
        read_manifest(write(tmp_path, json.dumps(data)))


@pytest.mark.parametrize("step", ["blur", None, 5, [], {}, {"step": "blur"}, {"step": ["gray"]}, {"step": None}])
def test_unknown_step_is_refused(tmp_path: Path, step: Any) -> None:
    message = "each step of `before_blob` must be an object with the key `step`. Received: "
    if isinstance(step, dict) and "step" in step:
        message = "`before_blob` knows the steps pad and gray. Received: "
    refused(changed("before_blob", [step]), message, tmp_path)


@pytest.mark.parametrize("step", ["gray", "pad", {"step": "pad", "color_bgr": [0, 0]}])
def test_step_that_is_not_whole_is_refused(tmp_path: Path, step: Any) -> None:
    refused(changed("before_blob", [step]), "before_blob", tmp_path)


def test_steps_twice_or_in_another_order_are_refused(tmp_path: Path) -> None:
    refused(changed("before_blob", [{"step": "gray"}, {"step": "gray"}]), "before_blob", tmp_path)
    pad_then_gray = FULL["before_blob"]
    refused(changed("before_blob", pad_then_gray[::-1]), r"pad before gray\. Received: \['gray', 'pad'\]", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        " ",
        "not json",
        "{",
        "{} {}",
        "{'schema': 1}",
        "[" * 100_000,
        '{"a":' * 100_000,
        "\ufeff" + json.dumps(MINIMAL),
        json.dumps(MINIMAL).encode("utf-16"),
        b'{"schema": "\xff"}',
        b"\x00",
        json.dumps(MINIMAL).replace("1", "1" * 5000),
    ],
)
def test_manifest_that_is_no_json_is_refused(tmp_path: Path, content: str | bytes) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json is not valid JSON in UTF-8 \(.*\)\. Export "):
        read_manifest(write(tmp_path, content))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"schema": 1, "schema": 1}', r"the key `schema` stands twice in one object"),
        ('{"extra": {"a\\n": 1, "a\\u000a": 2}}', r"the key `a\\x0a` stands twice in one object"),
        ('{"extra": ["\\ud800"]}', r"half a letter \(a lone surrogate\) in a text"),
        ('{"extra": {"\\udc00": 1}}', r"half a letter \(a lone surrogate\) in a text"),
        (f'{{"extra": {"[" * 32}{"]" * 32}}}', "nested more than 32 deep"),
        ('{"extra": -1e999}', "a number beyond range"),
        (f'{{"extra": {"1" * 10**6}}}', "a number beyond range"),
    ],
)
def test_text_that_readers_would_read_otherwise_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(
        BundleError, match=rf"manifest\.json is not valid JSON in UTF-8 \({words}\)\. Export the bundle"
    ):
        read_manifest(write(tmp_path, text))


def test_numbers_are_meant_by_value(tmp_path: Path) -> None:
    text = json.dumps(FULL).replace("[4, 3]", "[4.0, 30e-1]").replace('"opset": 9', '"opset": 9.0')
    assert text.count("4.0, 30e-1") == 1
    read = read_manifest(write(tmp_path, text))
    assert read == FULL
    assert all(isinstance(number, int) for number in [*read["blob"]["size"], read["model"]["opset"]])


def test_what_stands_under_extra_is_passed_over(tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(29):
        deep = [deep]
    manifest = changed("extra", {"null": None, "": "", "huge": 1e308, "deep": deep})
    assert read_manifest(write(tmp_path, manifest)) == manifest


def test_manifest_of_any_depth_is_refused(tmp_path: Path) -> None:
    for depth in range(700, 1100):  # the parser's limit lies in between
        text = json.dumps(MINIMAL).replace("[0]", "[" * depth + "]" * depth)
        with pytest.raises(BundleError, match=r"manifest\.json"):
            read_manifest(write(tmp_path, text))


def test_manifest_that_is_too_big_is_not_read(tmp_path: Path) -> None:
    with write(tmp_path, "{}").joinpath("manifest.json").open("r+b") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(BundleError, match=r"manifest\.json has more than 16777216 bytes: no manifest"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["", "missing", "manifest.json", "missing/manifest.json", "a\0b", "n" * 300])
def test_manifest_that_is_missing_is_asked_for(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match=r"No manifest at .*\. Expected the folder of a bundle, with manifest\.json"):
        read_manifest(tmp_path / name)


def test_manifest_that_is_a_folder_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(BundleError, match="No manifest at "):
        read_manifest(tmp_path)


EDGES = st.sampled_from(
    [HUGE, -HUGE, 2**31, 2**63, 1e308, 0, -1, 1.5, True, None, "", "²", "\ud800", "trainkit/1", "gray"]
)
ANY_JSON = st.recursive(
    EDGES | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=10,
)


def places(data: Any) -> list[tuple[Any, Any]]:
    """Return every (container, key) of a JSON value."""
    if not isinstance(data, (dict, list)):
        return []
    keys = list(data) if isinstance(data, dict) else list(range(len(data)))
    return [place for key in keys for place in [(data, key), *places(data[key])]]


@settings(max_examples=600, deadline=None, derandomize=True)
@given(st.data())
def test_mutated_manifest_raises_nothing_else(data: st.DataObject) -> None:
    manifest = copy.deepcopy(FULL)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(manifest)))
        kind = data.draw(st.sampled_from(["change", "remove", "add"]))
        if kind == "add" and isinstance(container, dict):
            container[data.draw(st.text(max_size=10))] = data.draw(ANY_JSON)
        elif kind == "remove" and len(manifest) > 1:
            del container[key]
        else:
            container[key] = data.draw(ANY_JSON)
    try:
        check_manifest(manifest)
    except BundleError as error:
        assert str(error).startswith("manifest: ")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.binary(max_size=4), st.integers(0, 4))
def test_mutated_file_raises_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, position: int, new: bytes, removed: int
) -> None:
    text = json.dumps(FULL, ensure_ascii=False).encode()
    start = position % len(text)
    folder = write(tmp_path_factory.getbasetemp(), text[:start] + new + text[start + removed :])
    try:
        read_manifest(folder)
    except BundleError as error:
        assert "manifest.json" in str(error)


def build(class_names: list[str], **values: Any) -> dict[str, Any]:
    preprocessing = build_preprocessing("torch", height=224, width=192, resize="pad")
    parts = {
        "model": FULL["model"],
        "preprocessing": preprocessing,
        "output": {"kind": "softmax", "class_names": class_names},
        "source": FULL["source"],
        "opencv": FULL["opencv"],
    }
    return build_manifest(**{**parts, **values})


def test_built_manifest_says_what_the_preprocessing_says() -> None:
    preprocessing = build_preprocessing("caffe", height=3, width=4, resize="crop", color="bgr")
    manifest = build(["a", "b"], preprocessing=preprocessing)
    assert manifest["preprocessing"] == preprocessing.to_json()
    assert manifest["blob"] == preprocessing.blob
    assert manifest["before_blob"] == preprocessing.before_blob
    assert next(iter(manifest)) == "schema"


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("model", {"file": "model.onnx"}, "`model` needs the key `format`"),
        ("output", {"kind": "softmax", "class_names": ["a", "a"]}, "`output.class_names` must be"),
        ("source", {"run": ""}, "`source.run` must be"),
        ("opencv", {"maximum": "6"}, "`opencv` has the unknown key `maximum`"),
    ],
)
def test_built_manifest_is_checked(part: str, value: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        build(["a", "b"], **{part: value})


def test_saved_manifest_is_read_back(tmp_path: Path) -> None:
    manifest = build(ODD_NAMES)
    save_manifest(tmp_path / "manifest.json", manifest)
    assert read_manifest(tmp_path) == manifest
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_manifest_that_is_impossible_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json: `blob\.mean` must be"):
        save_manifest(tmp_path / "manifest.json", changed("blob.mean", []))
    assert list(tmp_path.iterdir()) == []


def test_saved_manifest_is_plain_json(tmp_path: Path) -> None:
    save_manifest(tmp_path / "manifest.json", build(ODD_NAMES))
    content = (tmp_path / "manifest.json").read_bytes()
    assert content.startswith(b'{\n  "schema": "trainkit/1",\n')
    assert content.endswith(b"}\n")
    assert b"null" not in content
    assert b"\\u" not in content
    assert b"\r" not in content
    for name in ("café", "猫", "🦆"):
        assert name.encode() in content


@pytest.mark.parametrize(("keys", "value"), [("blob.scalefactor", 2**40), ("blob.mean", [0, -(2**31) - 1, 0])])
def test_saved_manifest_has_no_whole_number_beyond_32_bits(tmp_path: Path, keys: str, value: Any) -> None:
    with pytest.raises(BundleError, match=f"`{keys}` must be"):
        save_manifest(tmp_path / "manifest.json", changed(keys, value))


def texts(node: cv2.FileNode) -> list[str]:
    return [node.at(index).string() for index in range(node.size())]


def test_saved_manifest_is_read_by_opencv(tmp_path: Path) -> None:
    manifest = build(ODD_NAMES)
    save_manifest(tmp_path / "manifest.json", manifest)
    storage = cv2.FileStorage(str(tmp_path / "manifest.json"), cv2.FILE_STORAGE_READ)
    assert storage.isOpened()
    root = storage.root()
    assert root.getNode("schema").string() == "trainkit/1"
    assert root.getNode("model").getNode("sha256").string() == manifest["model"]["sha256"]
    assert root.getNode("model").getNode("bytes").real() == manifest["model"]["bytes"]
    blob = root.getNode("blob")
    assert blob.getNode("scalefactor").real() == manifest["blob"]["scalefactor"]
    assert [blob.getNode("size").at(index).real() for index in range(2)] == [192, 224]
    assert [blob.getNode("mean").at(index).real() for index in range(4)] == manifest["blob"]["mean"]
    assert (blob.getNode("swapRB").real(), blob.getNode("crop").real()) == (1, 0)
    assert root.getNode("before_blob").at(0).getNode("step").string() == "pad"
    verified = root.getNode("opencv").getNode("verified").getNode("5.0.0")
    assert verified.getNode("images").real() == 200
    assert texts(root.getNode("output").getNode("class_names")) == ODD_NAMES
    storage.release()


PRINTABLE = st.characters(exclude_categories=["C", "Z"], include_characters=" ")
CLASS_NAMES = st.text(PRINTABLE, min_size=1, max_size=30).filter(lambda name: not name.startswith("$base64$"))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(CLASS_NAMES, min_size=1, max_size=20, unique=True))
def test_class_names_that_pass_are_read_by_opencv(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    check_class_names(names)
    path = tmp_path_factory.getbasetemp() / "names.json"
    save_manifest(path, build(names))
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    assert texts(storage.getNode("output").getNode("class_names")) == names
    storage.release()


def test_bundle_keeps_its_name_outside_the_graph_file(tiny_bundle: Path) -> None:
    assert read_manifest(tiny_bundle)["extra"]["name"] == tiny_bundle.name
    properties = {one.key: one.value for one in onnx.load(tiny_bundle / "model.onnx").metadata_props}
    assert "name" not in json.loads(properties["manifest"]).get("extra", {})


def test_tiny_bundle_has_a_manifest_that_opencv_reads(tiny_bundle: Path) -> None:
    manifest = read_manifest(tiny_bundle)
    storage = cv2.FileStorage(str(tiny_bundle / "manifest.json"), cv2.FILE_STORAGE_READ)
    assert storage.getNode("blob").getNode("scalefactor").real() == manifest["blob"]["scalefactor"]
    assert texts(storage.getNode("output").getNode("class_names")) == ["blue", "green", "red"]
    storage.release()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_class_name_that_every_client_reads(name: str) -> None:
    check_class_names(["a", name])


@pytest.mark.parametrize(
    "name",
    ["", "a\nb", "a\tb", "\u2028", "\x7f", "\x85", "\u202eabc", "\udcff", "$base64$x", "x" * 4000, "é" * 2000],
)
def test_class_name_that_not_every_client_reads_is_refused(name: str) -> None:
    with pytest.raises(ExportError, match=r"The class name .* cannot be written .*\. Rename the class folder"):
        check_class_names(["a", name])


def test_manifest_inside_a_file_says_nothing_about_that_file() -> None:
    before = copy.deepcopy(FULL)
    inside = embedded_manifest(FULL)
    assert set(inside) == {"class_names", "manifest"}
    assert json.loads(inside["class_names"]) == FULL["output"]["class_names"]
    manifest = json.loads(inside["manifest"])
    assert set(FULL["model"]) - set(manifest["model"]) == {"bytes", "sha256"}
    assert set(FULL["opencv"]) - set(manifest["opencv"]) == {"verified"}
    assert {key: value for key, value in manifest.items() if key not in ("model", "opencv")} == {
        key: value for key, value in FULL.items() if key not in ("model", "opencv")
    }
    check_manifest(manifest)
    assert before == FULL


def test_manifest_inside_a_file_keeps_the_letters_of_class_names() -> None:
    names = ["猫", 'a "b"']
    inside = embedded_manifest({**MINIMAL, "output": {"kind": "softmax", "class_names": names}})
    assert "猫" in inside["class_names"]
    assert json.loads(inside["class_names"]) == json.loads(inside["manifest"])["output"]["class_names"] == names
