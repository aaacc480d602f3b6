from __future__ import annotations

import errno
import gc
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from trainkit.data import _cache as cache
from trainkit.data._cache import cache_folder, map_pixels, read_blocks
from trainkit.errors import DataError, OutputError, UsageError

SHAPE = (50, 7, 5, 3)  # 5,250 bytes: no whole number of blocks, of pages, or of eight bytes
PIXELS = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAINKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Reader:
    """Gives the pixels, and remembers how many images were asked for."""

    def __init__(self, pixels: np.ndarray = PIXELS) -> None:
        self.pixels, self.count, self._lock = pixels, 0, threading.Lock()

    def __call__(self, first: int, out: np.ndarray) -> None:
        with self._lock:
            self.count += len(out)
        out[...] = self.pixels[first : first + len(out)]


def never(first: int, out: np.ndarray) -> None:
    raise AssertionError("read again")


def test_pixels_are_read_once_and_mapped_from_then_on(folder: Path) -> None:
    reader = Reader()
    first = map_pixels("a", SHAPE, reader)
    assert reader.count == len(PIXELS)
    again = map_pixels("a", SHAPE, never)
    for pixels in (first, again):
        np.testing.assert_array_equal(pixels, PIXELS)
        assert isinstance(pixels, np.memmap) and not pixels.flags.writeable
    assert [path.name for path in folder.iterdir()] == ["a.pixels"]


def test_read_blocks_fills_an_array_in_memory() -> None:
    pixels = np.zeros(SHAPE, np.uint8)
    read_blocks(Reader(), pixels)
    np.testing.assert_array_equal(pixels, PIXELS)


def test_another_key_or_shape_is_another_file() -> None:
    map_pixels("a", SHAPE, Reader())
    reader = Reader(PIXELS[::-1])
    np.testing.assert_array_equal(map_pixels("b", SHAPE, reader), PIXELS[::-1])
    np.testing.assert_array_equal(map_pixels("a", (25, *SHAPE[1:]), Reader()), PIXELS[:25])


def cut(data: bytearray) -> bytearray:
    return data[:-1]


def flip_first(data: bytearray) -> bytearray:
    data[0] ^= 1
    return data


def flip_last_pixel(data: bytearray) -> bytearray:
    data[PIXELS.size - 1] ^= 128
    return data


def flip_sum(data: bytearray) -> bytearray:
    data[-1] ^= 1
    return data


def zero_a_page(data: bytearray) -> bytearray:
    data[1024:2048] = bytes(1024)
    return data


DAMAGES = [cut, flip_first, flip_last_pixel, flip_sum, zero_a_page, lambda data: data + b"x", lambda data: bytearray()]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_written_anew(folder: Path, damage: Callable[[bytearray], bytearray]) -> None:
    map_pixels("a", SHAPE, Reader())
    whole = (folder / "a.pixels").read_bytes()
    (folder / "a.pixels").write_bytes(damage(bytearray(whole)))
    reader = Reader()
    np.testing.assert_array_equal(map_pixels("a", SHAPE, reader), PIXELS)
    assert reader.count == len(PIXELS)
    assert (folder / "a.pixels").read_bytes() == whole
    np.testing.assert_array_equal(map_pixels("a", SHAPE, never), PIXELS)


def test_a_file_that_cannot_be_read_leaves_nothing_half_written(folder: Path) -> None:
    def fail_late(first: int, out: np.ndarray) -> None:
        out[...] = 0
        if first >= 32:
            raise DataError("gone.jpg")

    with pytest.raises(DataError, match="gone"):
        map_pixels("a", SHAPE, fail_late)
    assert list(folder.iterdir()) == []


@contextmanager
def small_files() -> Iterator[None]:
    """No file may have more than 4,000 bytes: what a full disk does, in the middle of writing.

    That goes for pytest's own output too where it is a file, so it must be over before pytest writes again.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_one_sentence_and_leaves_nothing(folder: Path) -> None:
    expected = rf"Cannot keep \d+\.\d MB of pixels in {folder}: .*TRAINKIT_CACHE"
    with pytest.raises(OutputError, match=expected) as caught, small_files():
        map_pixels("a", SHAPE, Reader())
    assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.EFBIG
    assert list(folder.iterdir()) == []


def test_disk_that_is_too_small_is_found_before_anything_is_read(folder: Path) -> None:
    side = 2**15
    with pytest.raises(OutputError, match=r"Cannot keep [\d,]+\.\d MB of pixels in .*: [\d,]+\.\d MB are free\. Free"):
        map_pixels("a", (10**9, side, side, 3), never)
    assert list(folder.iterdir()) == []


def test_folder_that_cannot_be_made_is_one_sentence(folder: Path) -> None:
    folder.write_text("a file")
    with pytest.raises(OutputError, match=r"Cannot keep .*File exists.*TRAINKIT_CACHE"):
        map_pixels("a", SHAPE, Reader())


def write(key: str, used: float) -> None:
    map_pixels(key, SHAPE, Reader())
    os.utime(cache_folder() / f"{key}.pixels", (used, used))


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.iterdir())


def test_files_that_were_not_used_for_longest_make_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_GB", str(3.5 * PIXELS.size / 1e9))
    now = time.time()
    for index, key in enumerate("abc"):
        write(key, now - 100 + index)
    gc.collect()
    map_pixels("a", SHAPE, never)
    map_pixels("d", SHAPE, Reader())
    assert names(folder) == ["a", "c", "d"]


def test_file_that_is_in_use_is_not_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_GB", "0")
    held = map_pixels("a", SHAPE, Reader())
    code = "import sys, numpy as np; from trainkit.data._cache import map_pixels\n"
    code += f"map_pixels('b', {SHAPE}, lambda first, out: out.fill(1))"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert names(folder) == ["a", "b"]
    np.testing.assert_array_equal(held, PIXELS)
    del held
    gc.collect()
    map_pixels("c", SHAPE, Reader())
    assert names(folder) == ["c"]


def test_a_set_beyond_the_limit_is_kept_all_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_GB", "0")
    np.testing.assert_array_equal(map_pixels("a", SHAPE, Reader()), PIXELS)
    np.testing.assert_array_equal(map_pixels("a", SHAPE, never), PIXELS)


def test_what_a_killed_process_left_is_tidied_up_and_nothing_else(folder: Path) -> None:
    folder.mkdir()
    for name, age in ((".1234.pixels", 3600), (".5678.pixels", 0), ("notes.txt", 3600)):
        (folder / name).write_bytes(b"...")
        os.utime(folder / name, (time.time() - age,) * 2)
    map_pixels("a", SHAPE, Reader())
    assert sorted(path.name for path in folder.iterdir()) == [".5678.pixels", "a.pixels", "notes.txt"]


def test_limit_that_is_no_number_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_GB", "much")
    with pytest.raises(UsageError, match=r"TRAINKIT_CACHE_GB must be a number of gigabytes\. Received: much"):
        map_pixels("a", SHAPE, Reader())


def test_two_at_once_both_get_the_pixels(folder: Path) -> None:
    both = threading.Barrier(2)

    def slow(first: int, out: np.ndarray) -> None:
        if first == 0:
            both.wait(timeout=300)
        Reader()(first, out)

    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(map_pixels("a", SHAPE, slow))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    for pixels in found:
        np.testing.assert_array_equal(pixels, PIXELS)
    assert names(folder) == ["a"]


def test_folder_is_the_one_of_the_variable_else_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("TRAINKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "trainkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "trainkit"


def test_folder_that_vanished_is_made_again(folder: Path) -> None:
    map_pixels("a", SHAPE, Reader())
    shutil.rmtree(folder)
    np.testing.assert_array_equal(map_pixels("a", SHAPE, Reader()), PIXELS)


def test_blocks_are_whole_numbers_of_eight_bytes() -> None:
    # So that each block of a file begins where numbers of eight bytes begin, whatever the size of an image.
    assert cache.BLOCK % 8 == 0


def test_what_was_left_before_the_clock_went_back_is_tidied_up(folder: Path) -> None:
    folder.mkdir()
    left = folder / ".0123456789abcdef.pixels"
    left.write_bytes(bytes(100))
    later = time.time() + 1e6
    os.utime(left, (later, later))
    map_pixels("a", SHAPE, Reader())
    os.utime(folder / "a.pixels", (later, later))
    np.testing.assert_array_equal(map_pixels("a", SHAPE, never), PIXELS)
    assert [path.name for path in folder.iterdir()] == ["a.pixels"]


_WRITER = """
import sys, time
import numpy as np
from trainkit.data._cache import map_pixels
pixels = np.load(sys.argv[1])
def read(first, out):
    print("reading", flush=True)
    time.sleep(0.05)
    out[...] = pixels[first : first + len(out)]
found = map_pixels("a", pixels.shape, read)
assert (found == pixels).all()
"""


@pytest.mark.parametrize("blocks", [1, 3])
def test_writer_that_is_killed_beside_another_spoils_nothing(folder: Path, tmp_path: Path, blocks: int) -> None:
    np.save(tmp_path / "pixels.npy", PIXELS)
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "pixels.npy")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for _ in range(blocks):
        assert both[0].stdout is not None
        both[0].stdout.readline()
    both[0].kill()
    for process in both:
        process.communicate()
    assert both[1].returncode == 0
    np.testing.assert_array_equal(map_pixels("a", SHAPE, never), PIXELS)
