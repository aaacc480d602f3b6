"""What a run's model and data say about it, beyond the files that training left in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainkit.reports._trade_offs import TradeOff
from trainkit.runs._calibration import Reliability

if TYPE_CHECKING:
    from trainkit.models._summary import LayerShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """An image that the model took for something else."""

    picture: np.ndarray  # uint8 (height, width, 3), BGR
    truth: str
    predicted: str
    confidence: float  # of the wrong answer, 0 to 1
    file: str | None  # below the folder of the data; None where the image is not a file of its own
    heat: np.ndarray | None = None  # the picture under what spoke for the wrong answer, like it


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """A class that was taken for another one."""

    truth: str
    predicted: str
    count: int  # of images
    share: float  # of the images of the true class, 0 to 1
    mistakes: list[Mistake] = field(default_factory=list)  # some of them, the surest first


@dataclass(frozen=True, slots=True, kw_only=True)
class RightAnswer:
    """The surest of a class's images that the model answered rightly."""

    class_name: str
    picture: np.ndarray  # uint8 (height, width, 3), BGR
    heat: np.ndarray  # the picture under what spoke for the answer, like it
    confidence: float  # 0 to 1
    file: str | None  # as that of a mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Some training images of a class."""

    class_name: str
    pictures: list[np.ndarray]  # uint8 (height, width, 3), BGR


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFigures:
    """A bundle of the run: whether it agrees with Keras, and how long it takes for one image."""

    name: str
    format: str  # onnx or frozen-graph
    minimum: str  # the oldest OpenCV it is for
    verified: Mapping[str, Mapping[str, Any]]  # by version of OpenCV: images, top1_agreement, max_abs_difference
    milliseconds: Mapping[str, float]  # by runtime, the median; empty where it could not be measured
    choices: list[str] = field(default_factory=list)  # what was chosen on validation images, in sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All of it; what could not be found out is empty, and `notes` say why."""

    notes: list[str] = field(default_factory=list)
    images: Mapping[str, int] = field(default_factory=dict)  # by side: train, val, test
    figures: Mapping[str, Any] = field(default_factory=dict)  # as `trainkit.evaluate` returns them
    reliability: Reliability | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    mistakes_in_all: int = 0
    confusions: list[Confusion] = field(default_factory=list)  # the most frequent first
    trade_offs: list[TradeOff] = field(default_factory=list)
    right_answers: list[RightAnswer] = field(default_factory=list)
    samples: list[Samples] = field(default_factory=list)
    augmentation: list[np.ndarray] = field(default_factory=list)  # uint8 (height, width, 3), BGR, the original first
    filters: list[np.ndarray] = field(default_factory=list)  # uint8 (height, width, 3), BGR
    layers: list[LayerShape] = field(default_factory=list)
    exports: list[ExportFigures] = field(default_factory=list)
