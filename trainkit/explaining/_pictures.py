"""A picture with the heat of its map laid over it."""

from __future__ import annotations

import cv2
import numpy as np

_OPACITY = 0.6  # of the hottest place
_SHARE = 99.5  # percentile that is the hottest colour: one pixel must not leave the rest cold


def lay_heat(image_bgr: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a picture, paled to grey, under the heat of what speaks for the class: dark is little, yellow is much.

    What speaks against it stays as it is.

    Args:
        image_bgr: uint8 `(height, width, 3)`.
        heat: `(height, width)`, the map of an explanation.
    """
    share = relative(heat)
    colors = cv2.applyColorMap(np.rint(255 * share).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    grey = cv2.cvtColor(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    opacity = (_OPACITY * np.sqrt(share))[..., None]
    return np.asarray(np.rint(grey * (1 - opacity) + colors * opacity), np.uint8)


def relative(heat: np.ndarray) -> np.ndarray:
    """Return float32 0 to 1: what speaks for the class, as a share of the most; 0 all over where nothing does."""
    positive = np.maximum(heat, 0).astype(np.float32)
    most = float(np.percentile(positive, _SHARE)) or float(positive.max())
    return np.asarray(np.clip(positive / most, 0, 1) if most > 0 else positive, np.float32)
