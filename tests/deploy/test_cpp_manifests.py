"""The C++ client's reader of manifests, under AddressSanitizer and UBSan: the corpus of all clients, and no JSON."""

# ruff: noqa: E501 (what is shown is compared whole)

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import conformance
import pytest
from cpp_client import build_reader, read

from trainkit.deploy.python._json import parse_json

pytestmark = pytest.mark.slow  # the reader is compiled with sanitizers


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_reader("read_manifests", tmp_path_factory.mktemp("reader"))


def test_corpus_is_read_as_by_every_client(reader: Path) -> None:
    cases = conformance.read_cases()
    sentences = read(reader, [case["bytes"] for case in cases])
    assert len(sentences) == conformance.COUNT
    agreed = [conformance.agrees(case, sentence, "") for case, sentence in zip(cases, sentences, strict=True)]
    different = [(c["name"], s) for c, s, same in zip(cases, sentences, agreed, strict=True) if not same]
    assert different == []


PIECES = (
    *(b"null", b"true", b"[", b"{", b'"', b",", b"\\u0041", b"\\ud83d", b"1e999", b"99999999999999", b"-0", b"224.0"),
    *(b"0.5", b"\0", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"\x1b", b"-", b"../", b'"extra":{},', b'"x":1,', b"\xc3\xa9"),
)


def mutate(text: bytes, generator: random.Random) -> bytes:
    data = bytearray(text)
    for _ in range(generator.choice([1, 1, 1, 2, 3])):
        place = generator.randrange(len(data) + 1)
        action = generator.randrange(8)
        if not data or action == 0:
            data[place:] = b""
        elif action == 1 and place < len(data):
            data[place] = generator.randrange(256)
        elif action == 2:
            data[place:place] = generator.choice(PIECES)
        elif action == 3:
            del data[place : place + generator.choice([1, 2, 5, 60])]
        elif action > 4:
            alike = [i for i in range(len(data)) if chr(data[i]).isalnum()]
            data[generator.choice(alike or [0])] = generator.choice(b"0123456789abcdefxyz")
        else:
            other = generator.randrange(len(data) + 1)
            data[place:place] = data[other : other + generator.choice([5, 20, 60])]
    return bytes(data)


def test_mutated_manifests_get_pythons_verdict(reader: Path) -> None:
    generator = random.Random(0)
    cases = conformance.read_cases()
    seeds = [case["bytes"] for case in cases if case["sentence"] is None and len(case["bytes"]) < 5000]
    texts = [mutate(generator.choice(seeds), generator) for _ in range(3000)]
    sentences = read(reader, texts)
    assert sum(sentence is None for sentence in sentences) > 100
    for text, sentence in zip(texts, sentences, strict=True):
        expected = {"sentence": conformance.sentence_of_python(text)}
        assert conformance.agrees(expected, sentence, ""), (text, sentence, expected)


NO_JSON: list[tuple[bytes, str]] = [
    (b"", "expected a value at byte 0"),
    (b"{", 'expected " at byte 1'),
    (b"[" * 100_000, "nested more than 32 deep"),
    (b'{"a":' * 100_000, "nested more than 32 deep"),
    (b'\xef\xbb\xbf{"schema":1}', "expected a value at byte 0"),
    (b'{"schema":"\xff"}', "byte 11 is not one of UTF-8"),
    (b'{"schema":"\xed\xa0\x80"}', "byte 11 is not one of UTF-8"),
    (b'{"schema":"\xf4\x90\x80\x80"}', "byte 11 is not one of UTF-8"),
    (b'{"schema":"\xc0\x80"}', "byte 11 is not one of UTF-8"),
    (b'{"schema":"\xe2\x82', "byte 11 is not one of UTF-8"),
    (b'{"schema":"\\ud800"}', "half a letter (a lone surrogate) in a text"),
    (b'{"schema":"\\ud800\\ud83d\\ude00"}', "half a letter (a lone surrogate) in a text"),
    (b'{"\\udc00":1}', "half a letter (a lone surrogate) in a text"),
    (b'{"schema":"\\u12g4"}', "an unknown escape at byte 12"),
    (b'{"schema":"\\u12', "an unknown escape at byte 12"),
    (b'{"schema":"\\x41"}', "an unknown escape at byte 12"),
    (b'{"schema":"\x1b"}', "a control character in a text, or no end of it at byte 11"),
    (b'{"schema":1}\0', "something behind the end at byte 12"),
    (b'{"schema":1}}', "something behind the end at byte 12"),
    (b'{"schema":1,}', 'expected " at byte 12'),
    (b'{"schema":1,"schema":2}', "the key `schema` stands twice in one object"),
    (b'{"a":{"\\u202e":1,"\\u202E":2}}', "the key `\\u202e` stands twice in one object"),
    (b'{"schema":NaN}', "expected a value at byte 10"),
    (b'{"schema":01}', "expected , at byte 11"),
    (b'{"schema":-}', "expected a digit at byte 11"),
    (b'{"schema":1.}', "expected a digit at byte 12"),
    (b'{"schema":1e+}', "expected a digit at byte 13"),
    (b'{"schema":/**/1}', "expected a value at byte 10"),
    (b'{"schema":-1e999}', "a number beyond range"),
    (b'{"schema":' + b"9" * 10**6 + b"}", "a number beyond range"),
]


@pytest.mark.parametrize(("text", "reason"), NO_JSON, ids=range(len(NO_JSON)))
def test_what_is_no_json_ends_with_a_sentence(reader: Path, text: bytes, reason: str) -> None:
    assert read(reader, [text]) == [f" is not valid JSON in UTF-8 ({reason}). Export the bundle again."]
    with pytest.raises(ValueError):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"[1.50, 1e-7, -0, 123456789012, true, null, {}, [2, '']]".replace(b"'", b'"'), "[1.5, 1e-07, 0, 1.23456789e+11, true, null, an object, [2, '']]"),
        (b'"\\u001b\\u0000\\u007f\\u0085\\u061c\\u2028\\ufeff\\"\\\\\'\\n"', r"""'\x1b\x00\x7f\x85\u061c\u2028\ufeff"\'\x0a'"""),
        (b'"' + "é😀".encode() * 99 + b'"', "'" + "é😀" * 39 + "é"),
        (b"[" * 32 + b"]" * 32, "[" * 32 + "]" * 32),
        (b"[" + b"[]," * 10**6 + b"1]", ("[" + "[], " * 20)[:80]),
    ],
)  # fmt: skip
def test_what_came_is_shown_cut_and_harmless(reader: Path, text: bytes, sentence: str) -> None:
    assert read(reader, [text]) == [f": expected a JSON object. Received: {sentence}"]


@pytest.mark.timing
def test_much_json_is_read_fast(reader: Path) -> None:
    keys = b",".join(b'"k%d":1' % number for number in range(10**5))
    needs: Any = ": `manifest` needs the key `schema`. Add it, or export the bundle again."
    started = time.perf_counter()
    assert read(reader, [b"{%b}" % keys]) == [needs]
    assert read(reader, [b'{%b,"k7":0}' % keys])[0] == (
        " is not valid JSON in UTF-8 (the key `k7` stands twice in one object). Export the bundle again."
    )
    assert time.perf_counter() - started < 20  # sorted, not compared each with each: that takes minutes here
