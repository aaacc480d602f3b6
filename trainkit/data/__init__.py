"""Where images come from, which of them can be used, and how they reach the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainkit._names import attach

if TYPE_CHECKING:
    from trainkit.data._augmentation._settings import Augmentation
    from trainkit.data._augmentation._transforms import apply_transform
    from trainkit.data._augmentation._warping import augment_batch
    from trainkit.data._check import DataCheck, check_data, keep_together
    from trainkit.data._data_statistics import DataStatistics, measure_data
    from trainkit.data._dataset import Dataset, Part
    from trainkit.data._reading import Reading
    from trainkit.data._sources import SOURCES, load_dataset

__all__ = [
    "SOURCES",
    "Augmentation",
    "DataCheck",
    "DataStatistics",
    "Dataset",
    "Part",
    "Reading",
    "apply_transform",
    "augment_batch",
    "check_data",
    "keep_together",
    "load_dataset",
    "measure_data",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "Augmentation": "trainkit.data._augmentation._settings",
        "DataCheck": "trainkit.data._check",
        "DataStatistics": "trainkit.data._data_statistics",
        "Dataset": "trainkit.data._dataset",
        "Part": "trainkit.data._dataset",
        "Reading": "trainkit.data._reading",
        "SOURCES": "trainkit.data._sources",
        "apply_transform": "trainkit.data._augmentation._transforms",
        "augment_batch": "trainkit.data._augmentation._warping",
        "check_data": "trainkit.data._check",
        "keep_together": "trainkit.data._check",
        "load_dataset": "trainkit.data._sources",
        "measure_data": "trainkit.data._data_statistics",
    },
)
