"""Where a pixel of the picture lies in the network's input, so that a map of the input becomes one of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trainkit.deploy.python._pixels import padding_to_aspect
from trainkit.preprocessing import Preprocessing


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How a picture of any size comes to the size of the network's input: stretched, padded before, or cropped."""

    width: int  # pixels, of the input
    height: int
    pad: bool = False
    crop: bool = False

    @classmethod
    def of_manifest(cls, manifest: dict[str, Any]) -> Framing:
        """Return what a manifest says of it."""
        width, height = manifest["blob"]["size"]
        pad = any(step["step"] == "pad" for step in manifest.get("before_blob", []))
        return cls(width=width, height=height, pad=pad, crop=bool(manifest["blob"].get("crop", False)))

    @classmethod
    def of_preprocessing(cls, preprocessing: Preprocessing) -> Framing:
        """Return what a run's preprocessing says of it."""
        resize = preprocessing.resize
        return cls(width=preprocessing.width, height=preprocessing.height, pad=resize == "pad", crop=resize == "crop")

    def to_picture(self, input_map: np.ndarray, columns: int, rows: int) -> np.ndarray:
        """Bring a map of the network's input to a picture's own size; what the network does not see becomes 0.

        Args:
            input_map: `(height, width)` of the input.
            columns: of the picture.
            rows: of the picture.

        Returns:
            float32 `(rows, columns)`, bilinear between the centres of the map's cells.
        """
        left, top, right, bottom = padding_to_aspect(columns, rows, self.width, self.height) if self.pad else (0,) * 4
        wide, high = columns + left + right, rows + top + bottom
        across, down = self.width / wide, self.height / high
        if self.crop:
            across = down = max(across, down)
        u = self._places(columns, left, wide, across, self.width)
        v = self._places(rows, top, high, down, self.height)
        seen = ((v >= 0) & (v <= self.height))[:, None] & ((u >= 0) & (u <= self.width))
        return np.where(seen, interpolate(input_map, u, v), np.float32(0))

    def _places(self, count: int, before: int, padded: int, scale: float, side: int) -> np.ndarray:
        """Return where the centres of pixels lie along a side of the input, 0 at its beginning."""
        cut = int(round(padded * scale) - side) // 2 if self.crop else 0  # whole pixels, as blobFromImage cuts
        return np.asarray((np.arange(count) + 0.5 + before) * scale - cut)


def interpolate(values: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return what lies between the cells of a map, bilinear; beyond the outermost ones their values go on.

    Args:
        values: `(height, width)`; the centre of its first cell is at 0.5, 0.5.
        u: places along its width.
        v: places along its height.

    Returns:
        float32 `(len(v), len(u))`.
    """
    return np.ascontiguousarray(_between_columns(_between_columns(values.astype(np.float32), u).T, v).T)


def _between_columns(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    last = values.shape[1] - 1
    inner = np.clip(places - 0.5, 0, last)
    first = np.minimum(inner.astype(int), max(last - 1, 0))
    share = (inner - first).astype(np.float32)
    return np.asarray(values[:, first] * (1 - share) + values[:, np.minimum(first + 1, last)] * share)
