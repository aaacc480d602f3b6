from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trainkit.errors import OutputError
from trainkit.files import (
    building,
    cannot_write,
    make_folder,
    remove_leftovers,
    replacing,
    scratch_folder,
    sha256_of,
    write_json,
    write_text,
)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A file with content, alone in its folder."""
    path = tmp_path / "folder" / "result.json"
    path.parent.mkdir()
    path.write_text("old")
    return path


def test_replacing_puts_the_new_file_in_place(old_file: Path) -> None:
    with replacing(old_file) as temporary:
        temporary.write_text("new")
        assert old_file.read_text() == "old"
    assert old_file.read_text() == "new"
    assert names_in(old_file.parent) == ["result.json"]


def test_replacing_works_in_the_same_folder_and_keeps_the_suffix(old_file: Path) -> None:
    with replacing(old_file) as temporary:
        temporary.write_text("new")
        assert temporary.parent == old_file.parent
        assert temporary.suffix == ".json"
        assert temporary.name.startswith(".")


@pytest.mark.parametrize("error", [ValueError, RuntimeError, KeyboardInterrupt])
def test_replacing_leaves_the_old_file_when_the_block_fails(old_file: Path, error: type[BaseException]) -> None:
    with pytest.raises(error, match="half-way"), replacing(old_file) as temporary:
        temporary.write_text("half")
        raise error("half-way")
    assert old_file.read_text() == "old"
    assert names_in(old_file.parent) == ["result.json"]


def test_replacing_says_what_cannot_be_written(old_file: Path) -> None:
    message = r"Cannot write .*result\.json: No space left on device\. Free the space"
    with pytest.raises(OutputError, match=message), replacing(old_file) as temporary:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")
    assert old_file.read_text() == "old"
    assert names_in(old_file.parent) == ["result.json"]


def test_replacing_with_nothing_written_leaves_the_old_file(old_file: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*result\.json: No such file"), replacing(old_file):
        pass
    assert old_file.read_text() == "old"


def test_replacing_does_not_take_the_place_of_a_folder(old_file: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*folder: Is a directory"):
        write_text(old_file.parent, "text")
    assert names_in(old_file.parent.parent) == ["folder"]
    assert old_file.read_text() == "old"


def test_write_text_into_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*a\.txt: No such file or directory"):
        write_text(tmp_path / "missing" / "a.txt", "text")


def test_write_text_below_a_file(old_file: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*a\.txt: Not a directory"):
        write_text(old_file / "a.txt", "text")


def test_write_text_under_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*nnn\.txt: File name too long"):
        write_text(tmp_path / f"{'n' * 300}.txt", "text")


def test_write_text_under_the_longest_name(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 251}.txt"
    write_text(path, "text")
    assert path.read_text() == "text"


def test_write_text_is_utf8_with_plain_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "café\n猫\n")
    assert (tmp_path / "a.txt").read_bytes() == b"caf\xc3\xa9\n\xe7\x8c\xab\n"


def test_write_text_of_what_is_no_utf8_leaves_the_old_file(old_file: Path) -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        write_text(old_file, "\udcff")
    assert old_file.read_text() == "old"
    assert names_in(old_file.parent) == ["result.json"]


def test_write_json_is_read_back(tmp_path: Path) -> None:
    data = {"café": [1, 2.5, None, True], "b": {"猫": 'a "quoted" \\ word'}}
    write_json(tmp_path / "a.json", data)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == data
    assert "café".encode() in (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_write_json_refuses_what_is_no_json(old_file: Path, value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(old_file, {"loss": value})
    assert old_file.read_text() == "old"
    assert names_in(old_file.parent) == ["result.json"]


def test_make_folder_makes_parents_and_takes_one_that_is_there(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert names_in(tmp_path / "a") == ["b"]
    assert names_in(tmp_path / "a" / "b") == []


@pytest.mark.parametrize("below", ["", "folder", "folder/folder"])
def test_make_folder_where_a_file_is(old_file: Path, below: str) -> None:
    with pytest.raises(OutputError, match=r"Cannot write .*: (File exists|Not a directory)"):
        make_folder(old_file / below)
    assert old_file.read_text() == "old"


def test_cannot_write_says_the_reason_without_an_errno() -> None:
    assert str(cannot_write(Path("a.txt"), OSError("the tape is torn"))).startswith(
        "Cannot write a.txt: the tape is torn. "
    )


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 5000])
def test_sha256_of_a_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_sha256_is_lower_case_hexadecimal(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_leftovers_of_a_killed_process_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    for name in (".0123456789abcdef.keras", "state/.0123456789abcdef.npz", ".lock", ".hidden", "model.keras"):
        (tmp_path / name).write_text("x")
    remove_leftovers(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".lock", ".hidden", "model.keras"}


def test_what_a_living_process_writes_is_no_leftover(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.png") as mine:
        mine.write_text("half")
        other = tmp_path / f".{os.getppid():08x}00001234.png"
        reused = tmp_path / f".{os.getpid():08x}{'0' * 8}.png"  # of a process that had our number before us
        dead = tmp_path / f".{2**31:08x}00001234.png"
        old = tmp_path / f".{os.getppid():08x}00005678.png"
        for path in (other, reused, dead, old):
            path.write_text("half")
        os.utime(old, (0, 0))
        remove_leftovers(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {mine.name, other.name}


KILLED_WHILE_IT_BUILDS = """
import os, signal, sys, pathlib
from trainkit.files import building
with building(pathlib.Path(sys.argv[1])) as folder:
    (folder / "model.onnx").write_text("half")
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print(folder.name, flush=True)
    sys.stdin.read()
"""


def test_next_build_removes_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_WHILE_IT_BUILDS, str(tmp_path)]
    assert subprocess.run([*command, "die"], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    living = subprocess.Popen([*command, "live"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert living.stdin and living.stdout
    name = living.stdout.readline().strip()
    assert not left.exists()
    with building(tmp_path) as mine:
        assert {path.name for path in tmp_path.iterdir()} == {name, mine.name}
        mine.rename(tmp_path / "built")
    assert (tmp_path / name / "model.onnx").read_text() == "half"
    living.communicate("")
    assert [path.name for path in tmp_path.iterdir()] == ["built"]


def test_scratch_folder_names_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    gone = r"temporary files in .*gone: No such file.*in the environment variable TMPDIR"
    with pytest.raises(OutputError, match=gone), scratch_folder():
        pass
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    full = r"Cannot write temporary files in .*: No space left on device. Free the space"
    with pytest.raises(OutputError, match=full), scratch_folder() as folder:
        (folder / "whole").write_text("a")
        os.write(os.open("/dev/full", os.O_WRONLY), b"1")
    with pytest.raises(FileNotFoundError), scratch_folder():
        Path(tmp_path / "elsewhere").read_text()
    assert list(tmp_path.iterdir()) == []
