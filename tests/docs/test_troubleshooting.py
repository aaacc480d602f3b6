"""Every sentence of the troubleshooting page is one that the code says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SENTENCES = re.findall(r"^\*\*`([^`]+)`\*\*$", PAGE, flags=re.M)


def texts_of_the_code() -> str:
    """Return every text in the package, one a line; what is put into it is a mark."""
    found = []
    for path in (ROOT / "trainkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [each.value if isinstance(each, ast.Constant) else "\0" for each in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%\w", "\0", node.value))
    return "\n".join(text.replace("\n", " ") for text in found)


CODE = texts_of_the_code()


def test_there_are_sentences() -> None:
    assert len(SENTENCES) > 40
    assert len(set(SENTENCES)) == len(SENTENCES)


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_is_in_the_code(sentence: str) -> None:
    pieces = [re.escape(piece.strip()) for piece in sentence.split("...") if piece.strip(" .,")]
    assert pieces
    assert re.search(".*?".join(pieces), CODE), f"No text of the code has: {sentence}"


def test_every_sentence_is_followed_by_what_to_do() -> None:
    for sentence in SENTENCES:
        answer = PAGE.partition(f"**`{sentence}`**\n\n")[2].partition("\n")[0]
        assert answer and not answer.startswith(("#", "|", "**")), sentence
