"""A grid of what augmentation makes of an image, to be looked at before anything is trained with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainkit.data.augmentation import Augmentation
from trainkit.data.augmenting import augment_batch
from trainkit.data.sources import Part, load_dataset
from trainkit.errors import UsageError
from trainkit.files import replacing, write_png

DEFAULTS = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.2,
    "brightness_range": [0.7, 1.3],
    "horizontal_flip": True,
}
