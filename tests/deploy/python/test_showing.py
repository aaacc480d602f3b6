"""What a terminal would obey is written out."""

from __future__ import annotations

import pytest

from trainkit.deploy.python._showing import harmless


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Katze 猫 é", "Katze 猫 é"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("two\nlines\t\r", "two\\x0alines\\x09\\x0d"),
        ("\x7f\x85\x9b2J", "\\x7f\\x85\\x9b2J"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        (
            "\u061c\u200e\u200f\u2028\u2029\u2066\u2069\ufeff",
            "\\u061c\\u200e\\u200f\\u2028\\u2029\\u2066\\u2069\\ufeff",
        ),
        ("half \ud800", "half \\ud800"),
        ("family \u200d joins", "family \u200d joins"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text: str, shown: str) -> None:
    assert harmless(text) == shown
