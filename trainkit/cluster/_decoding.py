"""The pixels that a training will ask for, decoded before it: on the cores of one machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainkit._progress import doing, showing_lines
from trainkit.cluster._actors import spread_over_actors
from trainkit.cluster._inspecting import inspecting_on, into_blocks
from trainkit.cluster._rows import Block
from trainkit.cluster._spreading import Advance, Opened, Work
from trainkit.data._cache import BLOCK, Blocks, cache_folder
from trainkit.data._dataset import FileImages
from trainkit.data._reading import Reading
from trainkit.data._sources import load_dataset
from trainkit.files import make_folder
from trainkit.preprocessing import Preprocessing

_FILES_A_BLOCK = 4 * BLOCK  # 10 MB at 224x224: some are on their way at once

Decoded = tuple[int, np.ndarray]  # the place of the first file, and their pixels


@dataclass(frozen=True, slots=True)
class Decoding:
    """The work: decode the files of a block, and bring them to the network's size."""

    preprocessing: Preprocessing

    def open(self, threads: int) -> Opened[Decoded]:
        """Return what decodes; OpenCV has threads of its own."""
        return _Decoder(self.preprocessing)


class _Decoder:
    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing

    def run(self, block: Block, advance: Advance | None = None) -> Decoded:
        """Decode files, in their order."""
        images = FileImages(list(map(Path, block.paths)))
        pixels = np.empty((len(images), *self._preprocessing.shape), np.uint8)
        for index in range(len(images)):
            pixels[index] = self._preprocessing.to_pixels(images[index])
            if advance is not None:
                advance(1)
        return block.first, pixels

    def close(self) -> None:
        """There is nothing to end."""


@contextmanager
def decoding_on(address: str) -> Iterator[None]:
    """Look at the files of the block and decode them on a Ray cluster, whose machines see the same paths.

    The pixels come back to this machine, which keeps them.

    Args:
        address: of the cluster's head; `local` starts one here.

    Raises:
        TrainkitError: there is no cluster, or some files ended their process again and again.
        MissingPackageError: Ray is not installed.
    """
    from trainkit.data._pipeline import decoding_by

    with inspecting_on(address), decoding_by(lambda paths, preprocessing: _decode(paths, preprocessing, address)):
        yield


def _decode(paths: Sequence[Path], preprocessing: Preprocessing, address: str) -> Blocks:
    work: Work[Decoded] = Decoding(preprocessing)
    blocks = list(into_blocks(paths, _FILES_A_BLOCK))
    with doing("Decoding the images", total=len(paths), unit="images") as step:
        spread = spread_over_actors(work, blocks, address=address, actors=None, most=len(blocks), advance=step.advance)
        with closing(spread) as results:
            yield from results


@dataclass(frozen=True, slots=True)
class CachedPixels:
    """What a training need not decode any more."""

    data: str
    folder: Path
    size: tuple[int, int]  # (width, height), pixels
    images: dict[str, int]  # of each side
    bytes: int  # of all pixels

    def to_json(self) -> dict[str, Any]:
        """Return what `trainkit data cache --json` prints."""
        return {
            "data": self.data,
            "folder": str(self.folder),
            "size": list(self.size),
            "images": self.images,
            "bytes": self.bytes,
        }


@showing_lines()
def cache_pixels(
    data: str | Path,
    *,
    model: str | Path | None = None,
    size: tuple[int, int] | str | None = None,
    color: str | None = None,
    resize: str | None = None,
    preprocessing: str | None = None,
    validation: float | None = None,
    reading: Reading | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
    cluster: str | None = None,
) -> CachedPixels:
    """Decode all images of a data set as a training by one process will ask for them, and keep their pixels on disk.

    Args:
        data: as for `train`.
        model: as for `train`; it has a size and a colour of its own.
        size: (width, height) of the network's input in pixels, or "WxH".
        color: `rgb`, `bgr` or `gray`.
        resize: `stretch`, `crop` or `pad`.
        preprocessing: one of `trainkit.preprocessing.PREPROCESSINGS`.
        validation: the share of the training images held out.
        reading: how a folder or a table is read, where its names do not tell.
        settings: further settings by their dotted keys.
        config: the `config.toml` of a run; the arguments above override it.
        cluster: the address of a Ray cluster whose machines see the same paths and decode the images; `local` for one
            on this machine; `None` for the cores of this one alone.

    Raises:
        TrainkitError: the data cannot be used, the pixels cannot be kept, or there is no such cluster.
        UsageError: a setting is unknown or impossible.
    """
    from trainkit.training._options import Options, resolve_settings

    arguments = {
        "data": data,
        "model.name": model,
        "preprocessing.name": preprocessing,
        "preprocessing.size": size,
        "preprocessing.color": color,
        "preprocessing.resize": resize,
        "training.validation": validation,
        **(reading.to_settings() if reading else {}),
    }
    make_folder(cache_folder())  # a training would go on without it
    with ExitStack() as stack:
        if cluster is not None:
            stack.enter_context(decoding_on(cluster))
        resolved = stack.enter_context(resolve_settings(Options(arguments=arguments, config=config, settings=settings)))
        return _cache(resolved.config, resolved.dataset)


def _cache(config: Any, dataset: Any) -> CachedPixels:
    from trainkit.data._pipeline import read_pixels
    from trainkit.training._preparation import prepare_pixels
    from trainkit.training._team import build_team

    dataset = dataset or load_dataset(config.data, validation=config.training.validation, reading=config.reading)
    preprocessing, pixels = prepare_pixels(config, dataset, None, build_team("none"))
    if "test" in dataset.parts:
        pixels["test"] = read_pixels(dataset.parts["test"], preprocessing)
    return CachedPixels(
        data=str(config.data),
        folder=cache_folder(),
        size=(preprocessing.width, preprocessing.height),
        images={side: len(of_side) for side, of_side in pixels.items()},
        bytes=sum(of_side.nbytes for of_side in pixels.values()),
    )
