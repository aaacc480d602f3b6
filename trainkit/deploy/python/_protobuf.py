"""Protobuf messages, read without their schema and without copying what is in them."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Tuple

import numpy as np

_MAX_PACKED = 2**20
_FIXED_SIZES = {1: 8, 5: 4}
Fields = Dict[int, List[Any]]  # by their number: whole numbers, or what lies in the bytes


def protobuf_fields(data: Any) -> Iterator[Tuple[int, Any]]:
    """Yield the fields of a message: its number, and a whole number from 0 or bytes.

    Args:
        data: bytes, or a memoryview of them, of which the fields are then views.

    Raises:
        ValueError: it is no message. (Groups, which nothing has written for many years, are none either.)

    Source: https://protobuf.dev/programming-guides/encoding
    """
    position, end = 0, len(data)
    while position < end:
        key, position = _varint(data, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(data, position)
            yield key >> 3, value
            continue
        if kind == 2:
            size, position = _varint(data, position)
        else:
            size = _FIXED_SIZES.get(kind, end + 1)
        if position + size > end or key < 8:
            raise ValueError("it is no protobuf message, or ends in the middle")
        yield key >> 3, data[position : position + size]
        position += size


def fields_of(data: Any) -> Fields:
    """Return the fields of a message by their numbers, each with all that stands there."""
    fields: Fields = {}
    for number, value in protobuf_fields(data):
        fields.setdefault(number, []).append(value)
    return fields


def messages_in(fields: Fields, number: int) -> List[Any]:
    """Return the messages, texts or packed numbers in a field; what is none of them counts for nothing."""
    return [value for value in fields.get(number, ()) if not isinstance(value, int)]


def merged(fields: Fields, number: int) -> Any:
    """Return the one message in a field, empty where there is none; protobuf makes one of several."""
    found = messages_in(fields, number)
    return found[0] if len(found) == 1 else b"".join(found)


def text_in(fields: Fields, number: int) -> str:
    """Return the text in a field, the last where there are several."""
    found = messages_in(fields, number)
    return bytes(found[-1]).decode("utf-8", "backslashreplace") if found else ""


def wholes_in(fields: Fields, number: int) -> List[int]:
    """Return the whole numbers in a field, one by one or packed, with their sign."""
    values = [one for value in fields.get(number, ()) for one in varints(value)]
    return [value - 2**64 if value >= 2**63 else value for value in values]


def count_varints(data: Any) -> int:
    """Return how many whole numbers are packed into bytes."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) < 128))


def varints(value: Any) -> List[int]:
    """Return the whole numbers of a repeated field, packed into bytes or a single one."""
    if isinstance(value, int):
        return [value]
    if len(value) > _MAX_PACKED:
        raise ValueError(f"it has more than {_MAX_PACKED} bytes of numbers where a few are expected")
    numbers, position = [], 0
    while position < len(value):
        number, position = _varint(value, position)
        numbers.append(number)
    return numbers


def _varint(data: Any, position: int) -> Tuple[int, int]:
    """Return a whole number of 7 bits a byte, the lowest first, and the position behind it."""
    if position < len(data) and data[position] < 128:  # most are
        return data[position], position + 1
    value = 0
    for shift, byte in enumerate(data[position : position + 10]):
        value |= (byte & 127) << (7 * shift)
        if byte < 128:
            return value & (2**64 - 1), position + shift + 1
    raise ValueError("it is no protobuf message, or ends in the middle")
