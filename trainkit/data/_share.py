"""Which images of a data set are whose, where several devices or machines train on it together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainkit.data._dataset import ArrayImages, FileImages, Images, PackedImages, Part, choose_part


@dataclass(frozen=True, slots=True)
class Share:
    """The examples of some of the devices that share a data set: device d has every `of`-th one, from the d-th on.

    Each is always the same device's, in every epoch, so that nobody decodes what another one has. The images of a
    folder are in the order of their classes: every device has some of each.
    """

    first: int = 0  # of the devices that are meant
    count: int = 1  # how many of them
    of: int = 1  # devices in all

    @property
    def is_whole(self) -> bool:
        """Whether it has all examples."""
        return self.count == self.of

    @property
    def devices(self) -> range:
        """The numbers of the devices."""
        return range(self.first, self.first + self.count)

    def has(self, indices: np.ndarray) -> np.ndarray:
        """Return of each of some examples, int `(n,)`, whether it is in the share."""
        device = indices % self.of
        return np.asarray((device >= self.first) & (device < self.first + self.count))

    def indices(self, count: int) -> np.ndarray:
        """Return the examples, of `count` in all, that are in the share."""
        return np.flatnonzero(self.has(np.arange(count)))

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """Return the places, among those of the share alone, of examples that are in it."""
        return np.asarray(indices // self.of * self.count + indices % self.of - self.first)


WHOLE = Share()


def share_of_part(part: Part, share: Share) -> Part:
    """Return the examples of a part that are in a share; files stay files, so that their pixels can be kept."""
    if share.is_whole:
        return part
    chosen = share.indices(len(part))
    images = _choose(part.images, chosen)
    return choose_part(part, chosen) if images is None else Part(images, part.labels[chosen])


def _choose(images: Images, chosen: np.ndarray) -> Images | None:
    if isinstance(images, FileImages):
        contents = [images.contents[index] for index in chosen] if images.contents else []
        return FileImages([images.paths[index] for index in chosen], contents)
    if isinstance(images, (ArrayImages, PackedImages)):
        return type(images)(images.pixels, chosen if images.chosen is None else images.chosen[chosen])  # type: ignore[arg-type]
    return None
