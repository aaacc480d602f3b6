"""The conformance cases of the manifest, run by the Python client, and the schema that they are made from."""

from __future__ import annotations

import json
from typing import Any

import conformance
import jsonschema
import pytest

from trainkit.deploy.python._manifest import parse_manifest
from trainkit.deploy.python._schema import SECTIONS
from trainkit.errors import BundleError

CASES = conformance.read_cases()


def test_file_of_cases_is_what_the_generator_writes() -> None:
    written = conformance.CASES.read_text(encoding="utf-8")
    assert written == conformance.as_text(conformance.build()), "run python tests/conformance.py"


def test_all_cases_are_there() -> None:
    assert len(CASES) == conformance.COUNT
    accepted = sum(case["sentence"] is None for case in CASES)
    assert len(CASES) / 5 < accepted < len(CASES) / 2, "a reader that refuses all, or none, is found out"


@pytest.mark.parametrize(("page", "words"), [("bundle", "holds {} manifests"), ("changelog", "and {} cases say")])
def test_pages_count_them_too(page: str, words: str) -> None:
    text = (conformance.SPEC.parents[2] / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert words.format(conformance.COUNT) in text


def test_verdict_and_sentence_of_each_case() -> None:
    wrong = {}
    for case in CASES:
        message = answer_of_python(case["bytes"])
        if not conformance.agrees(case, message, "a/manifest.json"):
            wrong[case["name"]] = message
    assert wrong == {}


def answer_of_python(data: bytes) -> str | None:
    try:
        parse_manifest(data, "a/manifest.json")
    except BundleError as error:
        return str(error)
    return None


def test_schema_gives_the_verdicts_that_a_schema_can_give() -> None:
    jsonschema.Draft202012Validator.check_schema(conformance.SCHEMA)
    validator = jsonschema.Draft202012Validator(conformance.SCHEMA)
    cases = [case for case in CASES if not case.get("beyond_schema")]
    assert len(cases) > 0.8 * len(CASES)
    wrong = [
        case["name"] for case in cases if validator.is_valid(json.loads(case["bytes"])) != (case["sentence"] is None)
    ]
    assert wrong == []


def test_what_is_beyond_the_schema_is_refused_by_the_clients_alone() -> None:
    """So the mark hides no fault of the schema."""
    validator = jsonschema.Draft202012Validator(conformance.SCHEMA)
    for case in CASES:
        if case.get("beyond_schema"):
            assert case["sentence"] is not None
            if "not valid JSON" not in case["sentence"]:
                assert validator.is_valid(json.loads(case["bytes"])), case["name"]


def test_schema_has_the_keys_of_the_client() -> None:
    def keys_of(part: dict[str, Any]) -> tuple[set[str], set[str]]:
        return set(part.get("required", [])), set(part["properties"]) - set(part.get("required", []))

    parts = conformance.SCHEMA["$defs"]
    for section, (required, optional) in SECTIONS.items():
        name = section.removeprefix("before_blob: ")
        part = conformance.SCHEMA if name == "manifest" else parts[name]
        assert keys_of(part) == (set(required), set(optional)), section


def test_each_key_has_accepted_and_refused_cases() -> None:
    for section, keys in SECTIONS.items():
        for key in [*keys[0], *keys[1]]:
            if section in ("manifest", "before_blob: pad", "before_blob: gray") or (section, key) == (
                "model",
                "format",
            ):
                continue  # those are by hand
            names = [case["name"] for case in CASES if case["name"].startswith(f"{section}.{key} is")]
            assert sum(" is not" in name for name in names) >= 5, (section, key)
            assert sum(" is not" not in name for name in names) >= 1, (section, key)


@pytest.mark.parametrize(
    ("sentence", "message", "agreed"),
    [
        (None, None, True),
        (None, "m: a", False),
        (": a", None, False),
        (": a", "m: a", True),
        (": a", "m: a.", False),
        (" is no JSON (*). Export", "m is no JSON (byte 5). Export", True),
        (": `a*` (b)", "m: `ab` (b)", False),
    ],
)
def test_only_the_words_of_a_parser_are_free(sentence: str | None, message: str | None, agreed: bool) -> None:
    assert conformance.agrees({"sentence": sentence}, message, "m") is agreed
