"""A mean that stands in a file: NumPy's `.npy`, or Caffe's `.binaryproto`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from trainkit.deploy.python._manifest import read_beside
from trainkit.deploy.python._protobuf import protobuf_fields, varints
from trainkit.deploy.python._values import MAX_MEAN_BYTES, BundleError


def read_mean(folder: Path, name: str, *, swap: bool = False) -> np.ndarray:
    """Read a mean from a file.

    Args:
        folder: where the file is.
        name: `*.npy`: `(channels,)`, `(height, width)`, `(channels, height, width)` or `(height, width, channels)`, in
            the model's order of colours; or `*.binaryproto`, as Caffe's `compute_image_mean` writes it, which is blue,
            green, red.
        swap: whether the model sees RGB; the colours of a `.binaryproto` are then turned round.

    Returns:
        float32 `(channels, height, width)`, finite; height and width are 1 where there is one number a channel.

    Raises:
        BundleError: says what is wrong with the file.
    """
    data = read_beside(folder, name, "mean", MAX_MEAN_BYTES)
    try:
        if name.endswith(".npy"):
            mean = _channels_first(_parse_npy(data))
        else:
            mean = _channels_first(_parse_binaryproto(data))[:: -1 if swap else 1]
        with np.errstate(over="ignore"):
            mean = np.ascontiguousarray(mean, np.float32)
        if not np.isfinite(mean).all():
            raise ValueError("it has numbers that are not finite")
    except Exception as error:  # numpy's reader of headers raises whatever it meets
        raise BundleError(f"{folder / name} holds no mean that can be read ({error}). Write it again.") from error
    return mean


def _channels_first(values: np.ndarray) -> np.ndarray:
    while values.ndim > 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 1:
        values = values[:, None, None]
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 3 and values.shape[0] not in (1, 3):
        values = values.transpose(2, 0, 1)
    if values.ndim != 3 or values.shape[0] not in (1, 3) or values.size == 0:
        raise ValueError(f"expected one or three channels. Received: the shape {values.shape}")
    return values


def _parse_npy(data: bytes) -> np.ndarray:
    """Return what is in an `.npy` file; unlike `np.load` it believes no size before it has seen so many bytes."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError("expected version 1.0 or 2.0 of the format")
    shape, fortran_order, dtype = readers[version](file)
    if dtype.kind not in "fiu":
        raise ValueError(f"expected numbers. Received: {dtype}")
    if any(side < 0 for side in shape):
        raise ValueError("it has sides below 0")
    values = np.frombuffer(data[file.tell() :], dtype)
    return values.reshape(shape, order="F" if fortran_order else "C")


def _parse_binaryproto(data: bytes) -> np.ndarray:
    """Return the array in a `BlobProto` of Caffe (caffe.proto).

    Its numbers are the field 5, or 8 as doubles. Its sides are the field 7, or in older files the fields 1 to 4: num,
    channels, height, width.
    """
    fields: Dict[int, List[Any]] = {}
    for number, value in protobuf_fields(data):
        fields.setdefault(number, []).append(value)
    shape = [fields[number][-1] if number in fields else 1 for number in (1, 2, 3, 4)]
    if 7 in fields:
        shape = [side for number, value in protobuf_fields(fields[7][-1]) if number == 1 for side in varints(value)]
    kind, number = ("<f8", 8) if 8 in fields else ("<f4", 5)
    return np.frombuffer(b"".join(fields.get(number, [])), kind).reshape(shape)
