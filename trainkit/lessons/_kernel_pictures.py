"""What kernels make of an image, side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from trainkit.data._inspection import check_image_file, read_image
from trainkit.errors import OutputError, UsageError, unknown
from trainkit.files import check_new, replacing
from trainkit.lessons._convolution import KERNELS, Padding, convolve, read_kernel
from trainkit.reports._pictures import compose, thumbnail
from trainkit.reports._plots import mosaic_figure, save_figure

_SIDE = 320  # pixels of a tile
_COLUMNS = 4
_FORMATS = (".png", ".jpg", ".jpeg", ".webp")


def draw_convolutions(
    image: Path,
    out: Path,
    *,
    kernel: str | None = None,
    padding: Padding = "reflect",
    flip: bool = False,
    gray: bool = False,
) -> list[str]:
    """Draw an image, and what a kernel makes of it, or each of `KERNELS`.

    Args:
        image: a file.
        out: the picture to write, a new file; its suffix is the format. With one kernel it is the filtered image
            itself, in its own size; with all of them a grid, made small, the image first.
        kernel: one of `KERNELS`, a file that `read_kernel` reads, or `None` for all.
        padding: of `trainkit.lessons._convolution.convolve`.
        flip: of `trainkit.lessons._convolution.convolve`.
        gray: whether to make the image grey first.

    Returns:
        The kernels that are on the picture. Of all of them, those that are larger than the image are left out.

    Raises:
        DataError: the image or the kernel's file cannot be read.
        UsageError: kernel and image do not go together, or the padding or the format is unknown.
        OutputError: `out` exists already or cannot be written.
    """
    check_new(out)
    if out.suffix.lower() not in _FORMATS:
        raise UsageError(f"The picture must be one of {', '.join(_FORMATS)}. Received: {out}")
    check_image_file(image)
    pixels = np.asarray(read_image(image))
    if gray:
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))
    if kernel is not None:
        _write(convolve(pixels, _find_kernel(kernel), padding, flip), out)
        return [kernel]
    fitting = {name: each for name, each in KERNELS.items() if max(each.shape) <= min(pixels.shape[:2])}
    found = [(pixels, image.name)]
    found += [(convolve(pixels, each, padding, flip), name) for name, each in fitting.items()]
    tiles = [(_in_color(thumbnail(picture, _SIDE)), name) for picture, name in found]
    rows = [tiles[first : first + _COLUMNS] for first in range(0, len(tiles), _COLUMNS)]
    save_figure(mosaic_figure(*compose(rows, side=_SIDE)), out)
    return list(fitting)


def _find_kernel(kernel: str) -> np.ndarray:
    if kernel in KERNELS:
        return KERNELS[kernel]
    path = Path(kernel)
    if not path.suffix and not path.exists():  # no file, but a name with a slip in it
        raise unknown("kernel", kernel, KERNELS)
    return read_kernel(path)


def _in_color(picture: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)) if picture.ndim == 2 else picture


def _write(picture: np.ndarray, path: Path) -> None:
    with replacing(path) as temporary:
        try:
            written = cv2.imwrite(str(temporary), picture)
        except cv2.error:
            written = False
        if not written:
            raise OutputError(f"OpenCV cannot write {path}: too large for this format. Name a .png file.")
