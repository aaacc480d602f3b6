"""Any number of images, classified in blocks: a Parquet file each, and what is there is not classified twice."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainkit._progress import Step, doing
from trainkit.bundles._find import EXPORTED, find_manifest
from trainkit.bundles._inputs import opened
from trainkit.cluster._actors import spread_over_actors
from trainkit.cluster._classifying import Classification, describe_answers
from trainkit.cluster._paths import PathList, list_paths
from trainkit.cluster._places import absolute, is_remote, is_there, join
from trainkit.cluster._rows import Block, Part, missing_blocks, missing_ranges, read_parts
from trainkit.cluster._spreading import count_cores, spread_over_processes, spread_over_threads
from trainkit.deploy.python._classifier import Classifier
from trainkit.deploy.python._prediction import describe_speed
from trainkit.errors import DataError, OutputError, UsageError
from trainkit.files import make_folder, remove_leftovers
from trainkit.runs._predictions import check_predictions_target, import_pyarrow

log = logging.getLogger("trainkit")

ROWS_A_FILE = 1000
_VISIBLE_SECONDS = 10  # after which every machine sees what one has written: NFS remembers what was not there
Place = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """What is in a folder of answers after a call.

    Attributes:
        folder: where the files are.
        rows: of the list; each has a row.
        classified: how many of them this call did.
        errors: how many of them have an error and no label.
        files: how many there are.
    """

    folder: str
    rows: int
    classified: int
    errors: int
    files: int

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return asdict(self)


def predict_blocks(
    bundle: Place,
    images: Place | Sequence[Place],
    folder: Place,
    *,
    all_probabilities: bool = False,
    batch: int = 1,
    invert: bool = False,
    backend: str | None = None,
    target: str | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    rows_a_file: int = ROWS_A_FILE,
    exported: Place = EXPORTED,
) -> Blocks:
    """Classify any number of images into a folder of Parquet files, with OpenCV alone.

    A file is written whole or not at all, and its rows are not classified again: a call that was ended at any moment is
    gone on with by the same call. A row is a place in the list; the paths of a list may be repeated.

    Args:
        bundle: a `Bundle`, its folder, its name in `exported`, or a manifest.
        images: a folder, a list (a text file with a path a line, or a table with a column `path`), an image, or
            several of these; paths, or addresses such as `s3://bucket/folder`.
        folder: where the files are, or will be; a path or an address.
        all_probabilities: whether there is a column for each class.
        batch: images in one blob.
        invert: turn dark into light before anything else.
        backend: what computes, by OpenCV's name, such as `CUDA`; by default OpenCV's own.
        target: on what, such as `CUDA_FP16`; by default the CPU.
        workers: how many processes share the work; by default one with a thread for each core, on a cluster one for
            each of its CPUs.
        cluster: the address of a Ray cluster whose machines see the same paths, or `local`.
        rows_a_file: at most.
        exported: the folder of bundles.

    Returns:
        How many rows there are, and how many of them were classified now.

    Raises:
        BundleError: the bundle is missing or damaged.
        DataError: there are no images, a list cannot be read, or not one image could be classified.
        OutputError: the folder holds something else, or cannot be written.
        UsageError: nothing is to be classified, there is no such backend or target, the folder is none, or a number is
            below 1.
        MissingPackageError: pyarrow, or for a cluster Ray, is not installed.
    """
    _check_counts(batch=batch, workers=workers, rows_a_file=rows_a_file)
    place = absolute(os.fspath(folder))
    _check_folder(place)
    given = [images] if isinstance(images, (str, os.PathLike)) else list(images)
    if not given:
        raise UsageError("There is no image. Expected a folder, a list, or images. Received: nothing")
    manifest = str(find_manifest(bundle, Path(exported)).absolute())
    opened(Classifier, Path(manifest), backend=backend, target=target)  # what is wrong with it is said at once
    answers = describe_answers(manifest, invert=invert, all_probabilities=all_probabilities)
    work = Classification(
        manifest=manifest,
        folder=place,
        answers=answers,
        batch=batch,
        backend=backend,
        target=target,
    )
    paths = list_paths([os.fspath(one) for one in given])
    parts = read_parts(place, paths, answers)
    new = _classify(work, paths, parts, workers=workers, cluster=cluster, rows_a_file=rows_a_file)
    errors = [part.first_error for part in [*parts, *new] if part.first_error is not None]
    found = Blocks(
        folder=place,
        rows=len(paths),
        classified=sum(part.rows for part in new),
        errors=sum(part.errors for part in [*parts, *new]),
        files=len(parts) + len(new),
    )
    if found.errors == found.rows:
        raise DataError(f"None of the images could be classified, for reasons that {place} has. The first: {errors[0]}")
    return found


def _check_counts(**counts: int | None) -> None:
    for name, count in counts.items():
        if count is not None and count < 1:
            raise UsageError(f"`{name}` must be at least 1. Received: {count}")


def _check_folder(folder: str) -> None:
    """Raise unless files of rows can be written there; see `check_predictions_target`."""
    import_pyarrow()
    if is_remote(folder):
        return
    if folder.lower().endswith(".csv") and not os.path.isdir(folder):
        raise UsageError(f"Rows in files need a folder. Received: {folder}")
    check_predictions_target(Path(folder))


def _classify(
    work: Classification,
    paths: PathList,
    parts: Sequence[Part],
    *,
    workers: int | None,
    cluster: str | None,
    rows_a_file: int,
) -> list[Part]:
    """Classify what no file holds, and return the files that hold it now."""
    missing = sum(end - first for first, end in missing_ranges(parts, len(paths)))
    if not missing:
        return []
    if not is_remote(work.folder):
        make_folder(Path(work.folder))
    if not is_remote(work.folder) and cluster is None:  # elsewhere, the number of a process says nothing
        remove_leftovers(Path(work.folder))
    blocks = missing_blocks(parts, paths, rows_a_file)
    started, new = time.perf_counter(), []
    with doing("Classifying", total=missing) as step, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow thinks of odd but readable files
        try:
            most = -(-missing // rows_a_file)
            with closing(_spread(work, blocks, step, workers=workers, cluster=cluster, most=most)) as spread:
                for part in spread:
                    _check_is_there(work.folder, part)
                    new.append(part)
        finally:
            if not new and not is_remote(work.folder):
                with suppress(OSError):  # something is in it
                    Path(work.folder).rmdir()
            if step.done:
                log.info(describe_speed(step.done, time.perf_counter() - started))
    return new


def _spread(
    work: Classification, blocks: Iterator[Block], step: Step, *, workers: int | None, cluster: str | None, most: int
) -> Generator[Part, None, None]:
    if cluster is not None:
        return spread_over_actors(work, blocks, address=cluster, actors=workers, most=most, advance=step.advance)
    cores = count_cores()
    if workers is None or workers == 1:
        return spread_over_threads(work, blocks, threads=cores, advance=step.advance)
    processes = min(workers, most)
    threads = max(1, cores // processes)
    return spread_over_processes(work, blocks, processes=processes, threads=threads, advance=step.advance)


def _check_is_there(folder: str, part: Part) -> None:
    """Raise where another machine wrote a file that this one does not see."""
    for _ in range(_VISIBLE_SECONDS):
        if is_there(join(folder, part.name)):
            return
        time.sleep(1)
    raise OutputError(
        f"{folder} is another folder on another machine of the cluster. Expected one that all machines see, or an "
        "address such as s3://bucket/folder."
    )
