"""Changes of values, texts and bytes, drawn by a `random.Random`: the same seed, the same changes."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

# What another program, a careless hand or a stranger writes where something else is expected.
STRANGE: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 2, 3, 4, 0.5, 1.0, 255, 256, 16384, 16385, 999_999, 2**31 - 1, 2**31, -(2**31)),
    *(
        3e9,
        1e-300,
        1e300,
        -0.0,
        2**63,
        10**400,
        "",
        " ",
        "x",
        "0",
        "..",
        ".",
        "a/b",
        "a:b",
        "net.onnx",
        "manifest.json",
    ),
    *("labels.txt", "mean.npy", "softmax", "sigmoid", "logits", "ssd", "onnx", "frozen-graph", "caffe", "classic"),
    *("auto", "4.5.5", "4.10.0-dev", "5", "1.2.3.4.5", "gray", "pad", "stretch", "rgb", "\ud800", "a\nb", "\x1b[2J"),
    *("gpj.\u202eexe", "ä" * 1999, "ä" * 2000, "x" * 3999, "x" * 4000, "0" * 64, "A" * 64, "f" * 63, "trainkit/1"),
    *("trainkit/2", "trainkit/3"),
    *([], {}, [[]], [0], [1, 2], [4, 3], [4.0, 3.0], [0, 3], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 5]),
    *([255, 0, 256], ["a", "b"], ["a", "a"], ["a", ""], ["a", None], {"step": "gray"}, [{"step": "gray"}]),
    *([{"step": "pad", "color_bgr": [0, 0, 0]}], [{"step": "pad"}, {"step": "gray"}], {"extra": 1}),
)
_KEYS = (
    "extra",
    "interpolation",
    "multi_label",
    "background",
    "min_confidence",
    "graph",
    "bytes",
    "sha256",
    "",
    "a\nb",
)


def mutate_value(value: Any, generator: random.Random) -> Any:
    """Return a copy of a JSON value in which one place, somewhere, is changed: another value, gone, added."""
    changed = copy.deepcopy(value)
    place = changed
    while True:
        if not place:
            return generator.choice(STRANGE)
        key = generator.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if isinstance(place[key], (dict, list)) and place[key] and generator.random() < 0.8:
            place = place[key]
        else:
            break
    draw = generator.random()
    if draw < 0.15:
        del place[key]
    elif draw < 0.3 and isinstance(place, dict):
        place[generator.choice(_KEYS)] = generator.choice(STRANGE)
    else:
        place[key] = generator.choice(STRANGE)
    return changed


def write_json(value: Any, generator: random.Random) -> str:
    """Return a value as JSON, in one of the ways in which the same JSON can be written."""
    indent, escapes = generator.choice((None, None, 2)), generator.random() < 0.3
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=escapes)
        text.encode()
    except UnicodeEncodeError:  # half a letter can be written as an escape only
        text = json.dumps(value, indent=indent)
    return text


def mutate_text(text: str, generator: random.Random) -> str:
    """Return JSON text with one fault of the text itself: a key twice, a number without end, a comma too many."""
    where = generator.randrange(len(text) + 1)
    key = generator.choice(("model", "output", "extra", "kind"))
    odd = generator.choice(
        (
            "NaN",
            "Infinity",
            "1e999",
            "-",
            "01",
            "1.",
            ".5",
            "1E+2",
            "\\u0000",
            "\\ud83d",
            "\\x41",
            "'a'",
            "//",
            "\ufeff",
        )
    )
    return generator.choice(
        (
            text.replace("{", '{"' + key + '": 1, ', 1),
            text.replace('"' + key + '":', '"' + key + '": {}, "' + key + '":', 1),
            text.replace("}", ",}", 1),
            text.replace("[", "[" * generator.choice((2, 31, 2000)), 1),
            text.replace("1", odd, 1),
            text.replace(": ", ":" + generator.choice(" \t\n\r\x0b\u00a0"), 1),
            text[:where],
            text[:where] + odd + text[where:],
            text + generator.choice((" ", "\n", "x", "{}", "\0", "\ufeff")),
            generator.choice((" ", "\n", "x", "\0", "\ufeff")) + text,
        )
    )


def mutate_bytes(data: bytes, generator: random.Random) -> bytes:
    """Return bytes of which some are others, gone, there twice or strange whole numbers."""
    changed = bytearray(data)
    for _ in range(generator.choice((1, 1, 2, 4, 16))):
        if not changed:
            break
        where, draw = generator.randrange(len(changed)), generator.random()
        length = generator.choice((1, 2, 4, 8, 64))
        if draw < 0.5:
            changed[where] = generator.randrange(256)
        elif draw < 0.6:
            changed[where : where + length] = generator.choice((b"\xff", b"\0", b"\x7f", b"\x80")) * length
        elif draw < 0.7:
            del changed[where : where + length]
        elif draw < 0.8:
            changed[where:where] = changed[where : where + length]
        elif draw < 0.9:
            changed[where:where] = generator.randbytes(length)
        else:
            del changed[where:]
    return bytes(changed)
