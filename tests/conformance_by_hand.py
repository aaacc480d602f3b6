"""Conformance cases that no schema gives: broken texts, keys that do not go together, what a sentence shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from conformance import MINIMAL, Case, to_json, with_changes, with_value

_OK = to_json(MINIMAL)
_NO_JSON = "is not valid JSON in UTF-8"
_GRAY = {"step": "gray"}
_PAD = {"step": "pad", "color_bgr": [0, 127.5, 255]}


def by_hand() -> Iterator[Case]:
    yield Case("the smallest manifest", _OK, False)
    yield Case("a manifest with each section", _full(), False)
    yield from _texts_accepted()
    yield from _texts_refused()
    yield from _faults_that_parsers_pass_over()
    yield from _schemas()
    yield from _steps()
    yield from _keys_together()
    yield from _keys_of_2()
    yield from _orders()
    yield from _shown_values()


def _full() -> str:
    """Return the text of what the exporter writes, and a little more."""
    manifest = json.loads(with_changes(preprocessing={"pad_color": [255, 127.5, 0], "samplewise": "center"}))
    manifest["source"] = {"run": "20261120-101500-birds", "keras_sha256": "0" * 64, "from_logits": False}
    manifest["model"] |= {"input": "input", "output": "probabilities", "opset": 9, "bytes": 4691, "sha256": "0" * 64}
    manifest["before_blob"] = [_PAD, _GRAY]
    manifest["output"]["multi_label"] = False
    measured = {"images": 128, "top1_agreement": 1.0, "max_abs_difference": 1.2e-07}
    manifest["opencv"] = {"minimum": "4.5.5", "engine": "classic", "verified": {"5.0.0": measured}}
    manifest["extra"] = {"milliseconds": 3.25, "note": None}
    return json.dumps(manifest, indent=2, ensure_ascii=False)


def _extra(text: str) -> str:
    return with_value("extra", f'{{"a": {text}}}')


def _texts_accepted() -> Iterator[Case]:
    lists = "[" * 30 + "]" * 30  # the manifest is the first level, `extra` the second
    objects = '{"a":' * 29 + "{}" + "}" * 29
    texts = {
        "spaces, tabs and line breaks": "\r\n\t " + _OK.replace(": ", " \t:\n\r").replace(", ", " ,\n") + " \n\n",
        "no spaces": _OK.replace(" ", ""),
        "escapes in a key and a text": _OK.replace('"model"', '"mo\\u0064el"', 1).replace(
            '"softmax"', '"soft\\u006Dax"'
        ),
        "a letter beyond 16 bits as two escapes": _extra('"\\ud83e\\udd86\\uD83E\\uDD86"'),
        "every short escape": _extra('"\\"\\\\\\/\\b\\f\\n\\r\\t"'),
        "letters that JSON does not escape": _extra('"\x7f\x80\u2028\u2029\ufeff\U0010ffff"'),
        "an escaped zero byte": _extra('"\\u0000"'),
        "null, an empty text and an empty key under extra": _extra('[null, "", {"": null}]'),
        "keys that JavaScript has": _extra('{"__proto__": 1, "constructor": 2, "toString": null, "length": 3}'),
        "a key twice in two objects": _extra('[{"a": 1}, {"a": 1, "b": {"a": 1}}]'),
        "keys that differ in case, in form or by a zero byte": _extra('{"k": 1, "K": 2, "\u212a": 3, "k\\u0000": 4}'),
        "letters composed and decomposed are two keys": _extra('{"\u00e9": 1, "e\u0301": 2}'),
        "a text of 5000 bytes under extra": _extra(to_json("x" * 5000)),
        "a text that begins as cv::FileStorage marks numbers": with_value("source.run", '"$base64$AAAA"'),
        "32 levels of lists": _extra(lists),
        "32 levels of objects": _extra(objects),
        "brackets in a text are no levels": _extra(to_json("[{" * 100)),
        "a great number under extra": _extra("1.7976931348623157e308"),
        "a whole number of 300 digits under extra": _extra("1" * 300),
        "a number of 1000 digits after the point": _extra("0." + "3" * 1000),
        "a number too small for a double": _extra("[1e-400, -1e-99999, 0e99999]"),
        "numbers in all forms": _extra("[0, -0, 0.0, -0.0e-0, 1e5, 1E+5, 1e-5, 12.5e0, -1.5E3]"),
        "integers as keys, out of order": _extra('{"2": 0, "1": 0, "b": 0, "0": 0}'),
    }
    for name, text in texts.items():
        yield Case(f"text: {name}", text, False)


def _texts_refused() -> Iterator[Case]:
    """Yield what is no JSON in UTF-8; a parser says it in its own words."""
    texts: dict[str, str | bytes] = {
        "nothing": "",
        "spaces": " \n",
        "words": "no manifest",
        "a byte order mark": "\ufeff" + _OK,
        "a manifest twice": _OK + _OK,
        "something behind the end": _OK + ",",
        "a zero byte behind the end": _OK + "\0",
        "cut in the middle": _OK[: len(_OK) // 2],
        "cut before the end": _OK[:-1],
        "a comma behind the last key": _OK[:-1] + ",}",
        "a comma behind the last item": _OK.replace("[0]", "[0,]"),
        "two commas": _OK.replace("[4, 3]", "[4,, 3]"),
        "no comma": _OK.replace('"format"', '"a" "format"').replace(', "a" ', " "),
        "no colon": _OK.replace('"schema":', '"schema"'),
        "a key without quotes": _OK.replace('"schema"', "schema", 1),
        "a number as a key": _extra("{1: 2}"),
        "single quotes": _OK.replace('"', "'"),
        "a comment": "// a bundle\n" + _OK,
        "brackets that do not match": _OK.replace("[0]", "[0}"),
        "a text without an end": '{"schema": "trainkit/1',
        "a line break in a text": _extra('"a\nb"'),
        "a tab in a text": _extra('"a\tb"'),
        "a zero byte in a text": _extra('"a\0b"'),
        "an unknown escape": _extra('"\\x41"'),
        "an escaped quote of another kind": _extra('"\\\'"'),
        "an escape of three digits": _extra('"\\u123"'),
        "an escape with a sign": _extra('"\\u+123"'),
        "an escape with a space": _extra('"\\u 123"'),
        "an escape with other digits": _extra('"\\u\uff10\uff10\uff14\uff11"'),
        "spaces that JSON does not have": _OK.replace(" ", "\u00a0"),
        "a form feed": _OK.replace(" ", "\f"),
        "a separator of lines": _OK + "\u2028",
        **{f"no number: {text}": _extra(text) for text in _NO_NUMBERS},
        **{f"no word: {text}": _extra(text) for text in ("True", "tru", "truee", "nul", "None", "undefined", "TRUE")},
        "UTF-16": _OK.encode("utf-16"),
        "UTF-8 cut in a letter": _extra('"é"').encode().replace(b"\xa9", b""),
        **{f"bytes {code.hex()}": _extra('"@"').encode().replace(b"@", code) for code in _NO_UTF8},
    }
    for name, text in texts.items():
        yield Case(f"text: {name}", text, True, f"{_NO_JSON} (*)", beyond_schema=True)


_NO_NUMBERS = (
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "-NaN",
        "01",
        "-01",
        "00",
        "+1",
        "--1",
        "-",
        ".5",
        "-.5",
        "1.",
        "1.e5",
        "1e",
        "1e+",
        "1e5.5",
        "0x10",
        "1_000",
    ),
    *("1,5", "1f", "inf", "\u0661", "1 2"),
)
_NO_UTF8 = (
    b"\xff",  # never a byte of UTF-8
    b"\x80",  # the second of a letter, without its first
    b"\xc0\x80",  # longer than need be: a zero byte
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xed\xa0\x80",  # half a letter
    b"\xed\xa0\xbe\xed\xb6\x86",  # two halves
    b"\xf4\x90\x80\x80",  # beyond the last letter
    b"\xf8\x88\x80\x80\x80",
    b"\xe2\x82",
)


def _faults_that_parsers_pass_over() -> Iterator[Case]:
    cases = [
        (
            "the schema twice",
            _OK.replace('"schema"', '"schema": "trainkit/1", "schema"', 1),
            "the key `schema` stands twice",
        ),
        ("a key twice in a section", _OK.replace('"crop"', '"crop": true, "crop"'), "the key `crop` stands twice"),
        (
            "a key twice in a step",
            with_value("before_blob", '[{"step": "gray", "step": "gray"}]'),
            "the key `step` stands",
        ),
        ("a key twice under extra", _extra('{"a": 1, "b": 2, "a": 1}'), "the key `a` stands twice in one object"),
        ("a key twice in a list", _extra('[1, [{"\\"": 1, "\\"": 1}]]'), 'the key `"` stands twice'),
        ("a key twice, once with an escape", _extra('{"ab": 1, "a\\u0062": 1}'), "the key `ab` stands twice"),
        ("a key twice, once with a short escape", _extra('{"/": 1, "\\/": 1}'), "the key `/` stands twice"),
        ("the empty key twice", _extra('{"": 1, "": 1}'), "the key `` stands twice"),
        ("__proto__ twice", _extra('{"__proto__": 1, "__proto__": 1}'), "the key `__proto__` stands twice"),
        ("an unknown key twice", _OK[:-1] + ', "license": 1, "license": 1}', "the key `license` stands twice"),
        (
            "a key twice that a terminal obeys",
            _extra('{"\\u001b[2J": 1, "\\u001b[2J": 1}'),
            "the key `\\x1b[2J` stands",
        ),
        ("a long key twice", _extra(f'{{"{"é" * 100}": 1, "{"é" * 100}": 1}}'), f"the key `{'é' * 80}` stands"),
        ("33 levels of lists", _extra("[" * 31 + "]" * 31), "nested more than 32 deep"),
        ("33 levels of objects", _extra('{"a":' * 30 + "{}" + "}" * 30), "nested more than 32 deep"),
        ("33 levels of both", _extra('[{"a":' * 15 + "[]" + "}]" * 15), "nested more than 32 deep"),
        ("33 levels that are no object", "[" * 33 + "]" * 33, "nested more than 32 deep"),
        ("100 levels", _extra("[" * 100 + "]" * 100), "nested more than 32 deep"),
        ("20000 levels", _extra("[" * 20000 + "]" * 20000), "nested more than 32 deep"),
        ("levels in a key of the contract", _OK.replace("[0]", "[" * 40 + "]" * 40), "nested more than 32 deep"),
        ("the first half of a letter", _OK.replace('"a"', '"\\ud800"'), "half a letter (a lone surrogate) in a text"),
        ("the second half of a letter", _OK.replace('"a"', '"\\udc00"'), "half a letter"),
        ("both halves, turned round", _OK.replace('"a"', '"\\udd86\\ud83e"'), "half a letter"),
        ("two first halves", _OK.replace('"a"', '"\\ud83e\\ud83e\\udd86"'), "half a letter"),
        ("half a letter, then a letter", _OK.replace('"a"', '"\\uDBFFa"'), "half a letter"),
        ("half a letter under extra", _extra('"\\ud800"'), "half a letter"),
        ("half a letter in a key under extra", _extra('{"\\udfff": 1}'), "half a letter"),
        ("half a letter in an unknown key", _OK[:-1] + ', "\\ud800": 1}', "half a letter"),
        ("half a letter in a text that is none of ours", with_value("schema", '"\\ud800"'), "half a letter"),
        ("1e999 as a scale", with_value("blob.scalefactor", "1e999"), "a number beyond range"),
        ("-1e999 as a mean", with_value("blob.mean", "[-1e999]"), "a number beyond range"),
        ("1e999 under extra", _extra("[1e999]"), "a number beyond range"),
        ("a whole number of 400 digits", with_value("model.bytes", "1" * 400), "a number beyond range"),
        ("a whole number of 5000 digits", _extra("1" * 5000), "a number beyond range"),
        ("the first number beyond a double", _extra("1.7976931348623159e308"), "a number beyond range"),
    ]
    for name, text, words in cases:
        yield Case(f"text: {name}", text, True, f"{_NO_JSON} ({words}", beyond_schema=True)


def _schemas() -> Iterator[Case]:
    for text in ("[]", '"trainkit/1"', "5", "-0", "null", "true", f"[{_OK}]", '[1, "a", null]'):
        yield Case(f"no object: {text[:20]}", text, True, ": expected a JSON object. Received: ")
    for value in ("trainkit/3", "trainkit/1 ", "Trainkit/1", "trainkit/1\n", "trainkit/10", "", 1, None, True, [], {}):
        words = ": this client reads the schemas trainkit/1 and trainkit/2. Received: "
        yield Case(f"schema is not {json.dumps(value)}", with_value("schema", to_json(value)), True, words)
    for key in MINIMAL:
        text = to_json({name: value for name, value in MINIMAL.items() if name != key})
        yield Case(f"the manifest needs {key}", text, True, f"`manifest` needs the key `{key}`")
    for key in ("license", "Blob", "blob ", "", "interpolation", "__proto__", "hasOwnProperty", "1", "thresholds"):
        words = f"`manifest` has the unknown key `{key}`. Expected only: schema, "
        yield Case(
            f"the manifest has no key {key!r}", with_value(key, "{}") if key else _OK[:-1] + ', "": {}}', True, words
        )
    yield Case("an unknown key that is long", _OK[:-1] + f', "{"é" * 100}": 1}}', True, f"key `{'é' * 80}`. Expected")
    yield Case(
        "an unknown key that a terminal obeys",
        _OK[:-1] + ', "\\u001b]0;x\\u0007\u202e": 1}',
        True,
        "`\\x1b]0;x\\x07\\u202e`",
    )


def _steps() -> Iterator[Case]:
    no_object = "each step of `before_blob` must be an object with the key `step`. Received: "
    unknown, order = "knows the steps pad and gray. Received: ", "has each step once, pad before gray. Received: "
    with_more = {**_PAD, "value": 0}
    steps: list[tuple[Any, str]] = [
        ([], ""),
        ([_PAD], ""),
        ([_GRAY], ""),
        ([_PAD, _GRAY], ""),
        ([{"color_bgr": [0, 0, 0], "step": "pad"}], ""),
        ([{"step": "pad", "color_bgr": [0, 0, 255.0]}], ""),
        (None, "`manifest.before_blob` must be a list. Received: null"),
        ({}, "`manifest.before_blob` must be a list. Received: an object"),
        ("gray", "`manifest.before_blob` must be a list. Received: 'gray'"),
        (["gray"], no_object + "'gray'"),
        ([None], no_object + "null"),
        ([5], no_object + "5"),
        ([[]], no_object + "[]"),
        ([[_GRAY]], no_object + "[an object]"),
        ([{}], no_object + "an object"),
        ([{"color_bgr": [0, 0, 0]}], no_object + "an object"),
        ([_GRAY, {}], no_object),
        ([{"step": "blur"}], unknown + "'blur'"),
        ([{"step": "Gray"}], unknown + "'Gray'"),
        ([{"step": None}], unknown + "null"),
        ([{"step": ["gray"]}], unknown + "['gray']"),
        ([{"step": 1}], unknown + "1"),
        ([{"step": "resize", "filter": "area"}], unknown + "'resize'"),
        ([_GRAY, _GRAY], order + "['gray', 'gray']"),
        ([_PAD, _PAD], order + "['pad', 'pad']"),
        ([_GRAY, _PAD], order + "['gray', 'pad']"),
        ([_PAD, _GRAY, _GRAY], order),
        ([{"step": "pad"}], "`before_blob: pad` needs the key `color_bgr`"),
        ([with_more], "`before_blob: pad` has the unknown key `value`. Expected only: step, color_bgr"),
        ([{**_GRAY, "extra": 1}], "`before_blob: gray` has the unknown key `extra`. Expected only: step"),
        ([{**_GRAY, "color_bgr": [0, 0, 0]}], "`before_blob: gray` has the unknown key `color_bgr`"),
        ([_PAD, {**_GRAY, "weights": "bt709"}], "`before_blob: gray` has the unknown key `weights`"),
    ]
    for value, words in steps:
        yield Case(f"before_blob is {to_json(value)}", with_value("before_blob", to_json(value)), bool(words), words)
    for color in (
        "[0, 0]",
        "[0, 0, 0, 0]",
        "[-1, 0, 0]",
        "[0, 0, 255.5]",
        "[0, 0, 256]",
        "[0, true, 0]",
        "0",
        "null",
        '"red"',
    ):
        text = with_value("before_blob", f'[{{"step": "pad", "color_bgr": {color}}}]')
        yield Case(
            f"the color of pad is not {color}",
            text,
            True,
            "`before_blob: pad.color_bgr` must be three numbers 0 to 255",
        )


def _keys_together() -> Iterator[Case]:
    def case(name: str, words: str, *, beyond: bool = False, **sections: dict[str, Any]) -> Case:
        return Case(name, with_changes(**sections), bool(words), words, beyond)

    caffe, onnx = "a Caffe model needs the key `model.graph`", "an ONNX model has its graph inside. Take the key"
    background = "`output.background` is the class 2, and there are 2 class names, counted from 0. Correct it."
    yield case("onnx without a graph", "", model={"format": "onnx"})
    yield case("a frozen graph without a graph", "", model={"format": "frozen-graph"})
    yield case("a frozen graph with a graph", "", model={"format": "frozen-graph", "graph": "net.pbtxt"})
    yield case("caffe with a graph", "", model={"format": "caffe", "graph": "net.prototxt"})
    yield case("caffe without a graph", caffe, model={"format": "caffe"})
    yield case("onnx with a graph", onnx, model={"graph": "net.pbtxt"})
    for value in ("ONNX", "", "tflite", ["onnx"], 1):
        yield case(
            f"format is not {value!r}",
            "`model.format` must be one of onnx, frozen-graph, caffe",
            model={"format": value},
        )
    for kind in ("softmax", "sigmoid", "logits"):
        words = f"an output of the kind {kind} has no `output."
        yield case(f"{kind} with a background", words + "background`", output={"kind": kind, "background": 0})
        yield case(f"{kind} with a confidence", words + "min_confidence`", output={"kind": kind, "min_confidence": 0.5})
        yield case(f"{kind} of one class", "", output={"kind": kind, "multi_label": False})
        refused = "cannot have `output.multi_label` true. Write false, or the kind" if kind == "softmax" else ""
        yield case(f"{kind} of several classes", refused, output={"kind": kind, "multi_label": True})
    for value in (True, False):
        words = "an output of the kind ssd has no `output.multi_label`"
        yield case(f"ssd with multi_label {value}", words, output={"kind": "ssd", "multi_label": value})
    yield case("the last class is the background", "", output={"kind": "ssd", "background": 1})
    yield case("a background of no name", background, beyond=True, output={"kind": "ssd", "background": 2})
    yield case("a background as 2.0", background, beyond=True, output={"kind": "ssd", "background": 2.0})
    yield case("a background, names in a file", "", output={"kind": "ssd", "background": 9, "class_names": "names.txt"})
    yield case("a mean in a file", "", blob={"mean": "mean.npy"})
    yield case("gray and swapped colours", "", blob={"swapRB": True}, preprocessing={"color": "gray"})


def _keys_of_2() -> Iterator[Case]:
    """Yield manifests with the keys that `trainkit/2` has more than `trainkit/1`."""

    def case(name: str, words: str, *, schema: str = "trainkit/2", beyond: bool = False, **output: Any) -> Case:
        return Case(f"trainkit/2: {name}", with_changes(schema=schema, output=output), bool(words), words, beyond)

    several: dict[str, Any] = {"kind": "sigmoid", "multi_label": True}
    for key, value in (("reject_below", 0.5), ("thresholds", [0.5, 0.5])):
        words = f"`output` has the unknown key `{key}`. Expected only: kind, class_names, multi_label, background, min_"
        yield case(f"{key} is no key of trainkit/1", words, schema="trainkit/1", **{key: value})
        words = f"an output of the kind ssd has no `output.{key}`. Take it out."
        yield case(f"ssd with {key}", words, kind="ssd", **{key: value})
    yield case("without a key of its own", "")
    yield case("an unknown key", "`output` has the unknown key `rejects`. Expected only: kind, ", rejects=0.5)
    yield case("what else is known", "multi_label, background, min_confidence, reject_below, thresholds", rejects=0.5)
    for kind in ("softmax", "sigmoid", "logits"):
        yield case(f"{kind} that rejects", "", kind=kind, reject_below=0.5)
        yield case(f"{kind} of one class that rejects", "", kind=kind, multi_label=False, reject_below=0.5)
        words = "`output.thresholds` needs `output.multi_label` true. Write it, or take them out."
        yield case(f"{kind} of one class with thresholds", words, kind=kind, thresholds=[0.5, 0.5])
        yield case(f"{kind} not of several", words, kind=kind, multi_label=False, thresholds=[0.5, 0.5])
    yield case("logits of several with thresholds", "", kind="logits", multi_label=True, thresholds=[0.5, 0.25])
    yield case("several that reject", "`output.reject_below` is for one class", **several, reject_below=0.5)
    words = "cannot have `output.multi_label` true. Write false"
    yield case("softmax of several", words, kind="softmax", multi_label=True, thresholds=[0.5, 0.5])
    words = "`output.reject_below` is for one class an image, and `output.multi_label` is true. Take one"
    yield case("both keys, several", words, **several, reject_below=0.5, thresholds=[0.5, 0.5])
    yield case("both keys", "`output.thresholds` needs", reject_below=0.5, thresholds=[0.5, 0.5])
    for count in (1, 3):
        words = f"`output.thresholds` has {count} numbers, and there are 2 class names. Write one for each."
        yield case(f"thresholds for {count} of 2", words, beyond=True, **several, thresholds=[0.5] * count)
    yield case("thresholds, names in a file", "", **several, class_names="names.txt", thresholds=[0.5] * 3)


def _orders() -> Iterator[Case]:
    """Yield manifests with two faults: the sentence is of the first in the order that readers share."""
    first_wrong = '{"scalefactor": 1, "size": [4, 3], "mean": [0], "crop": 5, "swapRB": 6}'
    yield Case(
        "order: the schema before a missing key", '{"schema": "trainkit/3"}', True, "this client reads the schemas"
    )
    yield Case(
        "order: the schema before an unknown key",
        '{"a": 1, "schema": "trainkit/3"}',
        True,
        "this client reads the schemas",
    )
    yield Case("order: no schema, and nothing else", "{}", True, "`manifest` needs the key `schema`")
    yield Case("order: no schema, and an unknown key", '{"a": 1}', True, "`manifest` needs the key `schema`")
    yield Case(
        "order: a missing key before an unknown one",
        with_changes(model={"file": None, "a": 1}),
        True,
        "needs the key `file`",
    )
    yield Case(
        "order: missing keys as in the table",
        with_changes(blob={"crop": None, "size": None}),
        True,
        "needs the key `size`",
    )
    yield Case("order: of the document, in a section", with_value("blob", first_wrong), True, "`blob.crop` must be")
    for keys, words in (('"0": 1, "file": 5', "unknown key `0`"), ('"file": 5, "0": 1', "`model.file` must be")):
        text = with_value("model", f'{{"format": "onnx", {keys}}}')
        yield Case(f"order: a number as a key, {keys}", text, True, words)
    yield Case("order: two numbers as keys", with_value("source", '{"2": 1, "1": 1}'), True, "unknown key `2`")
    yield Case(
        "order: model before blob", with_changes(model={"file": 5}, blob={"size": 5}), True, "`model.file` must be"
    )
    yield Case(
        "order: blob before output", with_changes(blob={"size": 5}, output={"kind": 5}), True, "`blob.size` must be"
    )
    yield Case(
        "order: output before source",
        with_changes(output={"kind": 5}, source={"run": 5}),
        True,
        "`output.kind` must be",
    )
    preprocessing, opencv = {"height": 0}, {"engine": 5}
    text = with_changes(source={"run": 5}, preprocessing=preprocessing)
    yield Case("order: source before preprocessing", text, True, "`source.run` must be")
    text = with_changes(preprocessing=preprocessing, opencv=opencv)
    yield Case("order: preprocessing before opencv", text, True, "`preprocessing.height` must be")
    text = to_json({**MINIMAL, "before_blob": [5], "opencv": opencv})
    yield Case("order: opencv before the steps", text, True, "`opencv.engine` must be")
    text = to_json({**json.loads(with_changes(model={"graph": "a"})), "before_blob": [5]})
    yield Case("order: the steps before what goes together", text, True, "each step of `before_blob`")
    text = to_json({**MINIMAL, "blob": {"size": 5}, "output": 5})
    yield Case("order: the manifest's own keys before its sections", text, True, "`manifest.output` must be an object")
    yield Case(
        "order: half a letter before the schema",
        '{"schema": "trainkit/3", "a": "\\ud800"}',
        True,
        "half a letter",
        True,
    )


def _shown_values() -> Iterator[Case]:
    """Yield values of all kinds where a schema is expected, so that each reader shows them in its sentence."""
    shown = [
        ('"\\u001b[31m\\u0000\\u007f\\u009b\\n"', r"'\x1b[31m\x00\x7f\x9b\x0a'"),
        ('"\u202eabc\u2066\u200f\u061c\ufeff\u2028"', r"'\u202eabc\u2066\u200f\u061c\ufeff\u2028'"),
        ('"it\'s \\"so\\" \\\\"', "'it's \"so\" \\'"),
        (to_json("é" * 90), "'" + "é" * 79 + ". Take"),
        (to_json("🦆" * 90), "'" + "🦆" * 79 + ". Take"),
        (to_json("\u202e" * 20), "'" + r"\u202e" * 13 + r"\. Take"),
        ('[1, [2.50, [true]], {}, null, "a"]', "[1, [2.5, [true]], an object, null, 'a']"),
        (to_json(list(range(100))), "[0, 1, 2, "),
        (to_json(["x" * 100, "y"]), "['" + "x" * 78 + ". Take"),
        ("[[]]", "[[]]"),
        ('{"a": 1}', "an object"),
        ("-0.0", " 0."),
        ("-0", " 0."),
        ("0e5", " 0."),
        ("1e0", " 1."),
        ("123456789012", "1.23456789e+11"),
        ("1234567890", "1234567890."),
        ("12345678905", "1.23456789e+10"),
        ("12345678915", "1.234567892e+10"),
        ("9999999999.9", "1e+10"),
        ("2147483648.5", "2147483648."),
        ("2147483649.5", "2147483650."),
        ("0.1", " 0.1."),
        ("0.30000000000000004", " 0.3."),
        ("0.00012345678915", "0.0001234567891"),
        ("0.0001", "0.0001."),
        ("0.00001", "1e-05"),
        ("-123.456", "-123.456"),
        ("1e21", "1e+21"),
        ("1e100", "1e+100"),
        ("1.7976931348623157e308", "1.797693135e+308"),
        ("2.2250738585072014e-308", "2.225073859e-308"),
        ("5e-324", "4.940656458e-324"),
        ("100000000000000000000000", "1e+23"),
        ("3.14159265358979", "3.141592654"),
        ("99999.999999", " 100000."),
    ]
    for text, words in shown:
        yield Case(
            f"shown: {text.encode('ascii', 'backslashreplace').decode()[:60]}", with_value("schema", text), True, words
        )
