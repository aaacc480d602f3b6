"""From decoded images to what a Keras model is fed with."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit._progress import doing
from trainkit.backend import tf
from trainkit.data._cache import Blocks, map_pixels, read_blocks
from trainkit.data._dataset import ArrayImages, FileImages, Images, PackedImages, Part
from trainkit.errors import OutputError
from trainkit.preprocessing import Preprocessing

IN_MEMORY_BYTES = 2**28  # pixels up to so many may stay in memory
_HASHED = 64  # images of an array at once
_AHEAD = 3  # batches that are made before they are asked for

log = logging.getLogger("trainkit")

Decode = Callable[[Sequence[Path], Preprocessing], Blocks]  # files -> what `to_pixels` makes of them
_decode_elsewhere: ContextVar[Decode | None] = ContextVar("decode_elsewhere", default=None)


@contextmanager
def decoding_by(decode: Decode) -> Iterator[None]:
    """Let what `read_pixels` keeps of files be decoded by something else in the block, such as a cluster."""
    token = _decode_elsewhere.set(decode)
    try:
        yield
    finally:
        _decode_elsewhere.reset(token)


def read_pixels(part: Part, preprocessing: Preprocessing) -> np.ndarray:
    """Decode and resize every image of a part, on all cores; what was on disk once is only mapped the next time.

    Files are read once and kept in a file, see `trainkit.data._cache`, and so are large arrays that have to be resized.
    The rest is in memory anyway.

    Returns:
        uint8 `(N, height, width, channels)`, as `Preprocessing.to_pixels` has it; not to be written to.

    Raises:
        DataError: an image cannot be decoded any more.
        OutputError: the pixels are too many for the memory, and cannot be kept on disk.
    """
    images, shape = part.images, (len(part), *preprocessing.shape)
    if isinstance(images, ArrayImages) and images.chosen is None and (*images.pixels.shape, 1) == shape:
        return _frozen(images.pixels[..., None])  # they are the pixels already
    read = partial(_read_block, images, preprocessing)
    small = int(np.prod(shape, dtype=np.int64)) <= IN_MEMORY_BYTES
    if len(part) and (
        isinstance(images, FileImages) or (isinstance(images, (ArrayImages, PackedImages)) and not small)
    ):
        try:
            with doing("Looking for cached pixels"):
                key = _key(images, preprocessing)
            return map_pixels(key, shape, read, _elsewhere(images, preprocessing))
        except OutputError as error:
            if not small:
                raise
            log.warning("%s They are few enough to stay in memory.", error)
    pixels = np.empty(shape, np.uint8)
    read_blocks(read, pixels)
    return _frozen(pixels)


def _elsewhere(images: Images, preprocessing: Preprocessing) -> Callable[[], Blocks] | None:
    decode = _decode_elsewhere.get()
    return partial(decode, images.paths, preprocessing) if decode and isinstance(images, FileImages) else None


def _frozen(pixels: np.ndarray) -> np.ndarray:
    view = pixels.view()
    view.setflags(write=False)
    return view


def _read_block(images: Images, preprocessing: Preprocessing, first: int, out: np.ndarray) -> None:
    if isinstance(images, ArrayImages) and images.pixels.shape[1:3] == out.shape[1:3]:
        _convert_colors(images.block(first, len(out)), out)
        return
    for index in range(len(out)):
        out[index] = preprocessing.to_pixels(images[first + index])


def _convert_colors(block: np.ndarray, out: np.ndarray) -> None:
    """Do what `Images` and `to_pixels` do with pictures of the network's size, with all of them in one call.

    Args:
        block: uint8 `(n, height, width)`, or `(n, height, width, 3)` in RGB.
        out: uint8 `(n, height, width, 1 or 3)`, BGR.
    """
    colored, gray = block.ndim == 4, out.shape[3] == 1
    if gray and not colored:
        out[..., 0] = block
        return
    sheet = np.ascontiguousarray(block).reshape(-1, *block.shape[2:])
    if gray:
        sheet = cv2.cvtColor(sheet, cv2.COLOR_RGB2GRAY)
    else:
        sheet = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR if colored else cv2.COLOR_GRAY2BGR)
    out[...] = sheet.reshape(out.shape)


def _key(images: FileImages | ArrayImages | PackedImages, preprocessing: Preprocessing) -> str:
    """Return letters that are others as soon as an image, the geometry or the decoder is another."""
    geometry = [preprocessing.shape, preprocessing.resize, preprocessing.color, preprocessing.pad_color]
    digest = hashlib.sha256(json.dumps([1, cv2.getBuildInformation(), geometry]).encode())
    if isinstance(images, ArrayImages):
        digest.update(json.dumps([len(images), images.pixels.shape[1:]]).encode())
        for first in range(0, len(images), _HASHED):
            digest.update(np.ascontiguousarray(images.block(first, _HASHED)).data)
    elif isinstance(images, PackedImages):
        for index in range(len(images)):
            digest.update(json.dumps(images[index].shape).encode() + images[index].tobytes())
    else:
        contents = images.contents or [str(path.absolute()) for path in images.paths]
        for path, content in zip(images.paths, contents, strict=True):
            digest.update(json.dumps([content, *_size_and_time(path)]).encode())
    return digest.hexdigest()


def _size_and_time(path: Path) -> tuple[int, int]:
    """Return what tells that a file was changed since its content was looked at."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0  # reading it will say so
    return status.st_size, status.st_mtime_ns


def gather(pixels: np.ndarray, indices: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Copy some images, in the order of `indices`, into one contiguous array.

    Where they are mapped from a file that is not in memory, the disk is asked for all of them at once: shuffled
    batches of 64 from a cold disk come four times as fast as they do one page fault after the other.

    Args:
        pixels: `(N, ...)`, in memory or mapped.
        indices: int `(n,)`, 0 to N - 1.
        out: `(n, ...)` to copy into, or `None` for a new array.

    Raises:
        IndexError: an index is beyond the images.
    """
    indices = np.asarray(indices, np.int64)
    if len(indices) and not (indices.min() >= 0 and indices.max() < len(pixels)):
        raise IndexError(f"Expected indices from 0 to {len(pixels) - 1}. Received: {indices.min()} to {indices.max()}")
    _ask_for(pixels, indices)
    plain = np.asarray(pixels)
    if not plain.flags.c_contiguous:  # of which np.take would copy the whole
        out = np.empty((len(indices), *plain.shape[1:]), plain.dtype) if out is None else out
        out[...] = plain[indices]
        return out
    return np.take(plain, indices, axis=0, out=out, mode="clip")  # its other modes copy twice


def _ask_for(pixels: np.ndarray, indices: np.ndarray) -> None:
    mapping = pixels.base
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_WILLNEED"):
        size = pixels.strides[0]
        for start in (indices * size).tolist():
            page = start - start % mmap.PAGESIZE
            mapping.madvise(mmap.MADV_WILLNEED, page, start + size - page)


def stream(batches: Callable[[], Iterator[tuple[np.ndarray, ...]]], signature: tuple[Any, ...], *, steps: int) -> Any:
    """Return a `tf.data.Dataset` of batches, made ahead of their use by a thread.

    Args:
        batches: begins a pass.
        signature: a `tf.TensorSpec` for each array of a batch.
        steps: batches a pass.
    """
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # There is nothing to tune, and the thread that would do it can miss the end of a pass: it then looks up to a minute
    # later, and all wait for it (TensorFlow 2.21, `Model::OptimizeLoop`).
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(_AHEAD).with_options(options)
