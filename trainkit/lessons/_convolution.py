"""Convolution as image processing has it: a kernel slides over an image, and every pixel becomes a weighted sum.

What everybody calls so, OpenCV and Keras among them, is mathematically a correlation: the kernel is not turned around.
`flip=True` turns it, by 180 degrees, and makes it a convolution. For a kernel that is symmetric it is the same.
"""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from trainkit.errors import DataError, UsageError, unknown

Padding = Literal["zero", "replicate", "reflect", "wrap"]
PADDINGS: tuple[Padding, ...] = get_args(Padding)
# NumPy's names. `reflect` does not repeat the pixel at the edge: OpenCV's BORDER_REFLECT_101, its default.
_MODES: dict[str, Literal["constant", "edge", "reflect", "wrap"]] = {
    "zero": "constant",
    "replicate": "edge",
    "reflect": "reflect",
    "wrap": "wrap",
}
_STRIP = 2**18  # values that are worked on together: with fewer, cores wait for Python's lock; with more, for memory
_MOST_BYTES = 2**20  # of a file that describes a kernel
_LARGEST = 1e30  # of a kernel's numbers: their sums are made in float32, which ends at 3e38


def _gaussian(size: int, sigma: float) -> np.ndarray:
    weights = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    return np.asarray(np.outer(weights, weights) / weights.sum() ** 2)


def _across(smoothing: list[float]) -> np.ndarray:
    """Return the kernel that takes left from right, and smooths up and down (Sobel 1968, Prewitt 1970, Scharr 2000)."""
    return np.outer(smoothing, [-1.0, 0.0, 1.0])


KERNELS: dict[str, np.ndarray] = {
    "small-blur": np.full((7, 7), 1 / 49),
    "large-blur": np.full((21, 21), 1 / 441),
    "sharpen": np.array([[0.0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    "laplacian": np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    "sobel-x": _across([1, 2, 1]),
    "sobel-y": _across([1, 2, 1]).T,
    "gaussian": _gaussian(7, 1.5),
    "scharr-x": _across([3, 10, 3]),
    "scharr-y": _across([3, 10, 3]).T,
    "prewitt-x": _across([1, 1, 1]),
    "prewitt-y": _across([1, 1, 1]).T,
}
for _kernel in KERNELS.values():
    _kernel.setflags(write=False)


def convolve(
    image: np.ndarray, kernel: np.ndarray | str, padding: Padding = "reflect", flip: bool = False
) -> np.ndarray:
    """Replace every pixel by the sum of its surroundings, weighted by a kernel; as `cv2.filter2D` does it.

    A kernel that is a sum of few products of a column and a row is applied as these: 21 + 21 weights instead of 441.

    Args:
        image: `(height, width)` or `(height, width, channels)`, uint8 or floating; channels are treated each by itself.
        kernel: `(rows, columns)`, both odd, none larger than the image; or the name of one of `KERNELS`.
        padding: what lies beyond the edge: `zero`, `replicate` (the pixel at the edge, again and again), `reflect` (the
            pixels inside, mirrored at the pixel at the edge) or `wrap` (the other side).
        flip: turn the kernel by 180 degrees first: the convolution of mathematics, rather than a correlation.

    Returns:
        The same shape and type. For uint8 the sums are rounded, and cut off at 0 and 255; to see negative ones, give
        floating numbers.

    Raises:
        UsageError: image, kernel or padding cannot be used.
    """
    pixels, weights = _checked(image, kernel, padding, flip)
    rows, columns = weights.shape
    padded = _pad(pixels, rows, columns, padding)
    result = np.empty_like(pixels)
    factors = _factors(weights)
    height = min(len(pixels), max(1, _STRIP // padded[0].size))
    strips = range(0, len(pixels), height)
    workers = min(len(strips), os.cpu_count() or 1)

    def work(worker: int) -> None:
        # The same memory for all strips, as new memory costs more than the sums; with one row more than they need, as a
        # kernel's last columns look beyond the last row.
        shape = (height + rows, *padded.shape[1:])
        memory = np.zeros((4, *shape), np.float32 if pixels.dtype.itemsize < 8 else np.float64)
        for first in strips[worker::workers]:
            count = min(height, len(pixels) - first)
            memory[0, : count + rows - 1] = padded[first : first + count + rows - 1]
            sums = _filter(memory, weights, factors, count)
            _store(sums[:, : pixels.shape[1]], result[first : first + count])

    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, range(workers)):
            pass
    return result


def convolve_by_loop(
    image: np.ndarray, kernel: np.ndarray | str, padding: Padding = "reflect", flip: bool = False
) -> np.ndarray:
    """Do what `convolve` does as one would write it down, pixel by pixel: to be read, and hundreds of times slower.

    Args and errors are those of `convolve`.
    """
    pixels, weights = _checked(image, kernel, padding, flip)
    rows, columns = weights.shape
    padded = _pad(pixels, rows, columns, padding)
    if pixels.ndim == 3:
        weights = weights[:, :, None]  # the same for every channel
    sums = np.zeros(pixels.shape)
    for y in range(pixels.shape[0]):
        for x in range(pixels.shape[1]):
            surroundings = padded[y : y + rows, x : x + columns]
            sums[y, x] = (weights * surroundings).sum(axis=(0, 1))
    result = np.empty_like(pixels)
    _store(sums, result)
    return result


def _checked(image: np.ndarray, kernel: np.ndarray | str, padding: str, flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return image and kernel as arrays that go together."""
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or not pixels.size or not (pixels.dtype == np.uint8 or pixels.dtype.kind == "f"):
        raise UsageError(
            "The image must be uint8 or floating, (height, width) or (height, width, channels), and not empty. "
            f"Received: {pixels.dtype} {pixels.shape}"
        )
    check_padding(padding)
    weights = check_kernel(KERNELS[_known(kernel)] if isinstance(kernel, str) else kernel)
    rows, columns = weights.shape
    height, width = pixels.shape[:2]
    if rows > height or columns > width:
        raise UsageError(
            f"The kernel of {columns}x{rows} is larger than the image of {width}x{height}. Expected one that fits into "
            "it."
        )
    return pixels, weights[::-1, ::-1] if flip else weights


def check_padding(name: str) -> Padding:
    """Return the name of a padding.

    Raises:
        UsageError: it is not one.
    """
    for known in PADDINGS:
        if name == known:
            return known
    raise unknown("padding", str(name), PADDINGS)


def _known(name: str) -> str:
    if name not in KERNELS:
        raise unknown("kernel", name, KERNELS)
    return name


def check_kernel(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel as float64 `(rows, columns)`.

    Raises:
        UsageError: it is empty, even, or no table of finite numbers.
    """
    try:
        weights = np.asarray(kernel)
    except ValueError as error:  # rows of different lengths
        raise UsageError("The kernel must be a table of numbers. Its rows are not all of one length.") from error
    if not weights.size:
        sides = "x".join(map(str, weights.shape))
        raise UsageError(f"The kernel is empty. Expected odd numbers of rows and columns. Received: {sides}")
    if weights.dtype.kind not in "biuf" or weights.ndim != 2:
        raise UsageError(f"The kernel must be a table of numbers. Received: {weights.dtype} {weights.shape}")
    rows, columns = weights.shape
    if rows % 2 == 0 or columns % 2 == 0:
        raise UsageError(
            f"The kernel has {rows} rows and {columns} columns. Expected odd numbers: else it has no middle."
        )
    weights = weights.astype(np.float64)
    if not (np.abs(weights) <= _LARGEST).all():
        raise UsageError(f"The kernel has numbers that are not finite, or beyond {_LARGEST:g}.")
    return weights


def _pad(pixels: np.ndarray, rows: int, columns: int, padding: Padding) -> np.ndarray:
    around = ((rows // 2, rows // 2), (columns // 2, columns // 2), *[(0, 0)] * (pixels.ndim - 2))
    return np.pad(pixels, around, mode=_MODES[padding])


def _factors(weights: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]] | None:
    """Return columns and rows whose products add up to a kernel, where that saves work: by its singular values."""
    left, singular, right = np.linalg.svd(weights, full_matrices=False)
    rank = int((singular > 1e-12 * singular[0]).sum()) if singular[0] else 0
    if rank * sum(weights.shape) >= np.count_nonzero(weights):
        return None
    return [(left[:, i] * singular[i], right[i]) for i in range(rank)]


def _filter(
    memory: np.ndarray, weights: np.ndarray, factors: list[tuple[np.ndarray, np.ndarray]] | None, height: int
) -> np.ndarray:
    """Return the weighted sums of a strip that has its surroundings.

    Rows lie end to end, so that a step down is a step of a row's length, and every sum one long sum.

    Args:
        memory: `(4, rows, columns, ...)`: the strip, and room for three more.
        weights: the kernel.
        factors: columns and rows whose products add up to it, if these are to be used.
        height: how many rows of sums.

    Returns:
        `(height, columns, ...)`; what begins too far right for the kernel is of no use.
    """
    shape = (height, *memory.shape[2:])
    across = int(np.prod(memory.shape[3:]))
    down = across * memory.shape[2]
    strip, total, between, product = memory.reshape(4, -1)
    size = height * down
    total[:size] = 0
    if factors is None:
        for y, x in zip(*np.nonzero(weights), strict=True):
            _add(strip[y * down + x * across :][:size], weights[y, x], total[:size], product[:size])
    else:
        for column, row in factors:
            between[:size] = 0
            for y in np.flatnonzero(column):
                _add(strip[y * down :][:size], column[y], between[:size], product[:size])
            for x in np.flatnonzero(row):
                _add(between[x * across :][:size], row[x], total[:size], product[:size])
    return total[:size].reshape(shape)


def _add(values: np.ndarray, weight: float, total: np.ndarray, product: np.ndarray) -> None:
    """Add weighted values to a total, by way of memory that is there already."""
    if weight == 1:
        np.add(total, values, out=total)
    elif weight == -1:
        np.subtract(total, values, out=total)
    else:
        np.multiply(values, values.dtype.type(weight), out=product)
        np.add(total, product, out=total)


def _store(sums: np.ndarray, result: np.ndarray) -> None:
    if result.dtype == np.uint8:
        np.clip(np.rint(sums, out=sums), 0, 255, out=sums)
    result[...] = sums


def read_kernel(path: Path) -> np.ndarray:
    """Read a kernel from a file: `.npy`, or text with a row a line, numbers separated by blanks or commas.

    The file may come from a stranger: no object is unpickled, and no more is read than a kernel can have.

    Returns:
        float64 `(rows, columns)`.

    Raises:
        DataError: there is no such file, or it is no kernel.
    """
    if not os.path.isfile(path):
        raise DataError(f"No such kernel: {path}. Expected a file, or one of: {', '.join(KERNELS)}")
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES} bytes")
        table = np.lib.format.read_array(io.BytesIO(data)) if path.suffix.lower() == ".npy" else _read_rows(data)
        return check_kernel(table)
    except UsageError as error:
        raise DataError(f"{path}: {error}") from error
    except Exception as error:  # numpy raises whatever its parser meets in a header that is not one
        reason = " ".join(str(error).split())[:120]
        raise DataError(
            f"{path} is no kernel ({reason}). Expected a .npy file, or text with a row a line, such as: 0 -1 0"
        ) from error


def _read_rows(data: bytes) -> np.ndarray:
    lines = data.decode("utf-8-sig").replace(",", " ").splitlines()
    rows = [[float(word) for word in line.split()] for line in lines if line.strip()]
    if not rows:
        raise ValueError("it is empty")
    if len({len(row) for row in rows}) > 1:
        raise ValueError("its rows are not all of one length")
    return np.array(rows)
