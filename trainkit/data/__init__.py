"""Where images come from, which of them can be used, and how they reach the network."""

from trainkit.data.dataset import Dataset, Part
from trainkit.data.sources import SOURCES, load_dataset

__all__ = ["SOURCES", "Dataset", "Part", "load_dataset"]
