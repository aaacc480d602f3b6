"""Text of strangers, shown so that a terminal does nothing but show it."""

from __future__ import annotations

import re
from typing import Any

from trainkit.deploy.python._values import NONE_OF_THESE

MAX_SHOWN = 80  # letters of a stranger's value in a sentence
# Control characters; marks that turn the direction of writing round; separators of lines and paragraphs; a byte order
# mark; halves of letters. Unicode calls the second kind Bidi_Control.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""Return text with each letter that a terminal would obey written out: `\x1b`, `\u202e`."""
    return _HARMFUL.sub(_written_out, text)


def _written_out(letter: re.Match[str]) -> str:
    code = ord(letter[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def named(label: str | None) -> str:
    """Return a prediction's label for a person."""
    return NONE_OF_THESE if label is None else label


def shown(value: Any) -> str:
    """Return a value of a stranger's JSON for a sentence, in the words in which every client shows it."""
    return _in_words(value)[:MAX_SHOWN]


def _in_words(value: Any) -> str:
    if isinstance(value, str):
        return f"'{harmless(value[:MAX_SHOWN])}'"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_in_words, value[:MAX_SHOWN]))}]"
    if isinstance(value, dict):
        return "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return f"{value or 0:.10g}"  # zero has no sign
    except (OverflowError, TypeError, ValueError):  # no value of JSON
        return harmless(repr(value)[:MAX_SHOWN])
