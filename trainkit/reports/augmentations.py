"""A grid of what augmentation makes of an image, to be looked at before anything is trained with it."""

from __future__ import annotations

DEFAULTS = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.2,
    "brightness_range": [0.7, 1.3],
    "horizontal_flip": True,
}
