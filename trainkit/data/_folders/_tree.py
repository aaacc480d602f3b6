"""What lies in folders: pictures by their names, what is left aside, and links that lead elsewhere."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainkit.data._sides import is_junk
from trainkit.data._split import PINS_FILE
from trainkit.errors import DataError

PICTURES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".webp",
    ".gif", ".heic", ".heif", ".avif", ".jp2",
)  # fmt: skip
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"P5", b"P6", b"II*\x00", b"MM\x00*", b"RIFF", b"GIF8")
_TRIED = 3  # files of other suffixes, of a folder


@dataclass(frozen=True, slots=True)
class Aside:
    """What was met on the way and is no image of a class."""

    strays: list[Path] = field(default_factory=list)  # files beside the class folders
    hidden: list[Path] = field(default_factory=list)  # files and folders that are hidden, or a system's own
    links: list[Path] = field(default_factory=list)  # symbolic links that leave the folder

    def note_hidden(self, path: Path) -> None:
        """Remember a hidden file or folder, but for the one that is ours."""
        if path.name != PINS_FILE:
            self.hidden.append(path)


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name.

    Raises:
        DataError: it cannot be read.
    """
    return sorted(_scan(folder), key=lambda entry: entry.name)


def _scan(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a folder in any order, which leaves the rest unread where the first will do."""
    try:
        with os.scandir(folder) as found:
            yield from found
    except OSError as error:
        raise DataError(f"Cannot read {folder}: {error.strerror}.") from error


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, without those that are hidden or a system's own, and links upwards."""
    found = [Path(entry.path) for entry in _scan(folder) if _is_folder(entry) and not is_junk(entry.name)]
    return [path for path in sorted(found) if not path.is_symlink() or not is_within(folder, [os.path.realpath(path)])]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # The system is asked about links only: a class may have a hundred thousand files. A link may lead in a circle.
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir(follow_symlinks=False)


def class_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder that have pictures in them, or below."""
    return [path for path in subfolders(folder) if holds_pictures(path)]


def pictures_in(folder: Path) -> list[Path]:
    """Return the files of a folder that are pictures by their suffix."""
    found = [entry for entry in entries(folder) if not is_junk(entry.name) and not _is_folder(entry)]
    return [path for path in (Path(entry.path) for entry in found) if is_picture(path)]


def is_picture(path: Path) -> bool:
    """Whether a file is a picture by its suffix."""
    return path.suffix.lower() in PICTURES


def has_pictures(folder: Path) -> bool:
    """Whether there are pictures in the folder itself; where no suffix is theirs, the first bytes tell."""
    others = []
    for entry in _scan(folder):
        if is_junk(entry.name) or _is_folder(entry):
            continue
        if entry.name.lower().endswith(PICTURES):
            return True
        others.append(Path(entry.path))
    return any(_begins_like_a_picture(path) for path in sorted(others)[:_TRIED])


def holds_pictures(folder: Path) -> bool:
    """Whether there are pictures in the folder or below; of a linked folder, in it or in the folders there."""
    if has_pictures(folder):
        return True
    look = has_pictures if folder.is_symlink() else holds_pictures
    return any(look(path) for path in subfolders(folder) if not path.is_symlink())


def holds_files(folder: Path) -> bool:
    """Whether there is any file in the folder or below; links to folders are not followed."""
    found = [entry for entry in entries(folder) if not is_junk(entry.name)]
    if any(not _is_folder(entry) for entry in found):
        return True
    return any(holds_files(Path(entry.path)) for entry in found if not entry.is_symlink())


def _begins_like_a_picture(path: Path) -> bool:
    if not path.is_file():  # nor a pipe, which would be waited for
        return False
    try:
        with path.open("rb") as file:
            return file.read(4).startswith(_MAGIC)
    except OSError:  # the inspection will say so
        return False


def walk(
    folder: Path, inside: Sequence[str], seen: set[str], aside: Aside, left_out: Collection[Path] = ()
) -> list[Path]:
    """Return every file below a folder; note what is hidden and what leads outside, and enter no folder twice."""
    files = []
    for entry in entries(folder):
        path = Path(entry.path)
        if is_junk(entry.name):
            aside.note_hidden(path)
            continue
        if not entry.is_symlink() and not entry.is_dir(follow_symlinks=False):
            files.append(path)  # nearly all of them: nothing has to be resolved
            continue
        real = os.path.realpath(path)
        leaves = entry.is_symlink() and not is_within(path, inside)
        upwards = entry.is_symlink() and is_within(folder, [real])
        if leaves:
            aside.links.append(path)
        if not os.path.isdir(path):  # unlike the entry's own, false for a link that leads in a circle
            files.append(path)
        elif not leaves and not upwards and real not in seen and path not in left_out:
            seen.add(real)
            files += walk(path, inside, seen, aside, left_out)
    return files


def is_within(path: Path, folders: Sequence[str]) -> bool:
    """Whether a path leads into one of these folders, or is one."""
    real = os.path.realpath(path)
    return any(real == folder or real.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def files_below(folder: Path) -> list[Path]:
    """Return every file below a folder, without hidden ones."""
    real = os.path.realpath(folder)
    return sorted(walk(folder, [real], {real}, Aside()))
