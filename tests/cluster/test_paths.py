"""Lists of paths: from folders, text, tables; read at any place, with the base that is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from trainkit.cluster._paths import JoinedPaths, PathsInMemory, list_paths
from trainkit.errors import DataError, UsageError


def read_all(inputs: list[str]) -> list[str]:
    found = list_paths(inputs)
    return found.read(0, len(found))


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_are_paths(end: str, mark: bytes, tmp_path: Path) -> None:
    lines = ["/a/1.jpg", "", "/a/two words.jpg", "/ä/3.jpg", "   ", "s3://bucket/4.jpg", "/a/1.jpg"]
    (tmp_path / "list.txt").write_bytes(mark + end.join(lines).encode())
    assert read_all([str(tmp_path / "list.txt")]) == [line for line in lines if line.strip()]


def test_a_long_list_is_read_at_any_place(tmp_path: Path) -> None:
    lines = [f"/photos/{number:x}{'é' * (number % 7)}.jpg" for number in range(5000)]
    (tmp_path / "list.txt").write_text("\n\n".join(lines), encoding="utf-8")
    found = list_paths([str(tmp_path / "list.txt")])
    assert len(found) == 5000
    for first, count in [(0, 5000), (0, 1), (1023, 2), (1024, 1024), (4999, 1), (3000, 1500)]:
        assert found.read(first, count) == lines[first : first + count]
    assert found.read(4990, 100) == lines[4990:]


def test_lists_stand_behind_each_other() -> None:
    found = JoinedPaths([PathsInMemory(["a", "b"]), PathsInMemory([]), PathsInMemory(["c", "d", "e"])])
    assert len(found) == 5
    assert [found.read(first, 3) for first in range(5)] == [
        ["a", "b", "c"],
        ["b", "c", "d"],
        ["c", "d", "e"],
        ["d", "e"],
        ["e"],
    ]


def test_inputs_of_all_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("photos/b.jpg", "photos/a/c.PNG", "photos/notes.txt", "photos/.hidden.jpg", "one.jpg"):
        touch(tmp_path / name)
    (tmp_path / "list.txt").write_text("/far/away.jpg\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert read_all(["photos", "list.txt", "one.jpg"]) == [
        str(tmp_path / "photos" / "a" / "c.PNG"),
        str(tmp_path / "photos" / "b.jpg"),
        "/far/away.jpg",
        str(tmp_path / "one.jpg"),
    ]


def test_relative_paths_go_from_the_list_or_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, lists = tmp_path / "here", tmp_path / "lists"
    touch(here / "photos" / "1.jpg")
    lists.mkdir()
    (lists / "list.txt").write_text("photos/1.jpg\n./photos/2.jpg\n", encoding="utf-8")
    monkeypatch.chdir(here)
    assert read_all(["../lists/list.txt"]) == [str(here / "photos" / "1.jpg"), str(here / "photos" / "2.jpg")]
    (here / "photos" / "1.jpg").unlink()
    touch(lists / "photos" / "1.jpg")
    assert read_all([str(lists / "list.txt")])[0] == str(lists / "photos" / "1.jpg")
    touch(here / "photos" / "1.jpg")
    with pytest.raises(DataError, match=r"photos/1\.jpg may be .*lists.* or .*here.*\. Write absolute paths\."):
        list_paths([str(lists / "list.txt")])


def test_tables_have_a_column_of_paths(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('label,path\ncat,"/a/1,2.jpg"\ndog,\n', encoding="utf-8")
    (tmp_path / "b.tsv").write_text("file\tlabel\n/b/1.jpg\tcat\n", encoding="utf-8")
    pyarrow.parquet.write_table(pyarrow.table({"path": ["/c/1.jpg", None]}), tmp_path / "c.parquet")
    expected = ["/a/1,2.jpg", "", "/b/1.jpg", "/c/1.jpg", ""]
    assert read_all([str(tmp_path / name) for name in ("a.csv", "b.tsv", "c.parquet")]) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.txt", "photo.jpg\n".encode("utf-16"), r"list\.txt is UTF-16\. Expected text in UTF-8, a path a line"),
        ("list.txt", b"a.jpg\0b.jpg\0", r"list\.txt is a binary file\. Expected text"),
        ("list.txt", b"\n\n", r"There is no path in .*list\.txt"),
        ("a.csv", b"label,split\ncat,train\n", r"must have one column of `path`, .*Received: label, split"),
        ("a.csv", b"path,file\n1,2\n", r"must have one column of `path`, .*Received: path, file"),
        ("a.csv", "path\na.jpg\n".encode("utf-16"), r"a\.csv is UTF-16\. Expected text in UTF-8"),
        (
            "a.csv",
            b'path,label\n"a.jpg,cat\nb.jpg,dog\n',
            r"a\.csv is no table: unexpected end of data\. Look for a cell",
        ),
        ("a.csv", b'path\n"' + 200_000 * b"a", r"a\.csv is no table: field larger than .*quotation mark"),
        ("a.parquet", b"no", r"a\.parquet is no Parquet file"),
    ],
)
def test_other_lists_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list_paths([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("cells", "kind"), [([1, 2], "int64"), ([b"a.jpg"], "binary"), ([{"bytes": b"a", "path": "a.jpg"}], "struct<")]
)
def test_a_column_of_something_else_is_refused(cells: list[Any], kind: str, tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"image": cells}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=f"The column `image` of .*a.parquet must hold paths as text. Received: {kind}"):
        list_paths([str(tmp_path / "a.parquet")])


def test_text_is_text_however_a_column_holds_it(tmp_path: Path) -> None:
    plain = pyarrow.array(["/a/1.jpg", "/a/2.jpg", "/a/1.jpg"])
    for kind in (pyarrow.large_string(), pyarrow.dictionary(pyarrow.int32(), pyarrow.string())):
        pyarrow.parquet.write_table(pyarrow.table({"path": plain.cast(kind)}), tmp_path / "a.parquet")
        assert read_all([str(tmp_path / "a.parquet")]) == plain.to_pylist()


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No such list: none\.txt\. Expected a text file with a path a line"):
        list_paths(["none.txt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="No images in "):
        list_paths([str(tmp_path / "empty")])
    with pytest.raises(UsageError, match=r"Expected a path, s3://BUCKET/\.\.\. or gs://BUCKET/\.\.\. Received: ftp:"):
        list_paths(["ftp://host/photos"])
