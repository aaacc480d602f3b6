"""Text of strangers, shown so that a terminal does nothing but show it."""

from __future__ import annotations

import re

# Control characters; marks that turn the direction of writing round; separators of lines and paragraphs; a byte order
# mark; halves of letters. Unicode calls the second kind Bidi_Control.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def harmless(text: str) -> str:
    r"""Return text with each letter that a terminal would obey written out: `\x1b`, `\u202e`."""
    return _HARMFUL.sub(_written_out, text)


def _written_out(letter: re.Match[str]) -> str:
    code = ord(letter[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
