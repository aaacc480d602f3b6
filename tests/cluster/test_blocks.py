"""Images in blocks: a row each, whatever it is; what is there is not classified twice, and nothing is mixed up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from photographs import draw_photo

import trainkit
from trainkit.cli import app
from trainkit.errors import DataError, OutputError, TrainkitError, UsageError

BUNDLE = Path(__file__).parents[1] / "data" / "bundle-v1"
COUNT = 25
BROKEN = (3, 11, 24)


def write_photos(folder: Path, count: int = COUNT) -> Path:
    folder.mkdir()
    for number in range(count):
        color = (10 * number % 256, 7 * number % 256, 255 - 5 * number % 256)
        cv2.imwrite(str(folder / f"{number:03}.jpg"), draw_photo(number, color))
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 photographs, of which one is empty, one is cut off, and one is text."""
    folder = write_photos(tmp_path_factory.mktemp("blocks") / "photos")
    whole = (folder / "011.jpg").read_bytes()
    (folder / "003.jpg").write_bytes(b"")
    (folder / "011.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "024.jpg").write_text("no picture", encoding="utf-8")
    return folder


@pytest.fixture
def listed(photos: Path, tmp_path: Path) -> Path:
    """The paths of the photographs, a line each."""
    return write_list(tmp_path / "list.txt", sorted(photos.iterdir()))


def write_list(path: Path, lines: Any) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def rows_of(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("rows-*.parquet"))  # others are being written
    return [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return what is in a folder, and when it was written."""
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def predict(images: Any, folder: Path, **options: Any) -> Any:
    return trainkit.predict_blocks(BUNDLE, images, folder, **{"rows_a_file": 10, **options})


def test_a_row_is_an_image_with_the_answer_of_predict(photos: Path, tmp_path: Path) -> None:
    found = predict(photos, tmp_path / "rows")
    assert (found.rows, found.classified, found.errors, found.files) == (COUNT, COUNT, 3, 3)
    rows = rows_of(tmp_path / "rows")
    assert [row["row"] for row in rows] == list(range(COUNT))
    assert [row["path"] for row in rows] == [str(path) for path in sorted(photos.iterdir())]
    assert list(rows[0]) == ["row", "path", "label", "probability", "error"]
    for number, row in enumerate(rows):
        if number in BROKEN:
            with pytest.raises(DataError) as caught:
                trainkit.predict(BUNDLE, row["path"])
            assert (row["label"], row["probability"], row["error"]) == (None, None, str(caught.value))
        else:
            (answer,) = trainkit.predict(BUNDLE, row["path"], top=1)
            (best,) = answer["predictions"]
            assert (row["label"], row["error"]) == (best["label"], None)
            assert np.float32(row["probability"]) == np.float32(best["probability"]), "to the last bit"


def test_the_second_call_does_nothing(photos: Path, tmp_path: Path) -> None:
    predict(photos, tmp_path / "rows")
    before = files_of(tmp_path / "rows")
    found = predict(photos, tmp_path / "rows")
    assert (found.rows, found.classified, found.errors, found.files) == (COUNT, 0, 3, 3)
    assert files_of(tmp_path / "rows") == before


def test_what_is_missing_is_done_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    predict(photos, tmp_path / "rows")
    before = files_of(tmp_path / "rows")
    rows = rows_of(tmp_path / "rows")
    (tmp_path / "rows" / "rows-0000000010.parquet").unlink()
    assert predict(photos, tmp_path / "rows", rows_a_file=4).classified == 10
    after = files_of(tmp_path / "rows")
    assert rows_of(tmp_path / "rows") == rows
    assert {name: after[name] for name in before if name in after and name[-10] != "1"} == {
        name: before[name] for name in before if name[-10] != "1"
    }
    assert len(after) == 5


def test_a_path_may_be_repeated(photos: Path, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list.txt", [photos / "001.jpg", photos / "002.jpg"] * 8)
    assert predict(listed, tmp_path / "rows").classified == 16
    rows = rows_of(tmp_path / "rows")
    assert [row["row"] for row in rows] == list(range(16))
    assert {json.dumps({**row, "row": 0}) for row in rows[::2]} == {json.dumps({**rows[0], "row": 0})}
    assert predict(listed, tmp_path / "rows").classified == 0


def test_a_list_may_grow_at_its_end(listed: Path, photos: Path, tmp_path: Path) -> None:
    predict(listed, tmp_path / "rows")
    before = rows_of(tmp_path / "rows")
    with listed.open("a", encoding="utf-8") as file:
        file.write(f"{photos / '001.jpg'}\n")
    found = predict(listed, tmp_path / "rows")
    assert (found.rows, found.classified, found.files) == (COUNT + 1, 1, 4)
    assert rows_of(tmp_path / "rows") == [*before, {**before[1], "row": COUNT}]


@pytest.mark.parametrize("change", ["between", "other", "shorter"])
def test_another_list_is_refused(change: str, listed: Path, tmp_path: Path) -> None:
    predict(listed, tmp_path / "rows")
    before = files_of(tmp_path / "rows")
    lines = listed.read_text(encoding="utf-8").splitlines()
    changed = {
        "between": [*lines[:5], lines[7], *lines[5:]],
        "other": [*lines[:5], lines[7], *lines[6:]],
        "shorter": lines[:20],
    }
    write_list(listed, changed[change])
    with pytest.raises(OutputError, match=r"rows holds answers to another list: .* Name another folder\."):
        predict(listed, tmp_path / "rows")
    assert files_of(tmp_path / "rows") == before


@pytest.mark.parametrize("option", ["invert", "all_probabilities"])
def test_rows_of_other_answers_are_refused(option: str, listed: Path, tmp_path: Path) -> None:
    predict(listed, tmp_path / "rows")
    with pytest.raises(OutputError, match=rf"something else decided \({option}\)\. Name another folder\."):
        predict(listed, tmp_path / "rows", **{option: True})


def test_other_files_are_refused_before_anything_is_classified(listed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), folder / "mine.parquet")
    with pytest.raises(OutputError, match=r"mine\.parquet was not written by `trainkit predict`"):
        predict(listed, folder)
    (folder / "mine.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(OutputError, match=r"mine\.parquet is damaged .* Delete it, or name another folder\."):
        predict(listed, folder)
    assert [path.name for path in folder.iterdir()] == ["mine.parquet"]


def test_every_probability_on_request(listed: Path, tmp_path: Path) -> None:
    predict(listed, tmp_path / "rows", all_probabilities=True)
    trainkit.predict(BUNDLE, [path for path in rows_paths(listed) if "001" in path], predictions=tmp_path / "one")
    names = trainkit.Classifier(BUNDLE).class_names
    rows = rows_of(tmp_path / "rows")
    assert list(rows[0])[5:] == [f"p:{name}" for name in names]
    (expected,) = pyarrow.parquet.read_table(tmp_path / "one").to_pylist()
    assert [rows[1][f"p:{name}"] for name in names] == [expected[f"p:{name}"] for name in names]
    assert all(rows[3][f"p:{name}"] is None for name in names)
    schema = pyarrow.parquet.read_schema(tmp_path / "rows" / "rows-0000000000.parquet")
    assert [str(schema.field(name).type) for name in ("row", "path", "label", "probability", "error")] == [
        *("int64", "string", "string", "float", "string")
    ]


def rows_paths(listed: Path) -> list[str]:
    return listed.read_text(encoding="utf-8").splitlines()


def test_a_video_is_a_row_with_an_error(photos: Path, film: Path, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list.txt", [photos / "001.jpg", film])
    assert predict(listed, tmp_path / "rows").errors == 1
    assert "is a video, which has an answer a frame" in rows_of(tmp_path / "rows")[1]["error"]


def test_what_is_no_path_is_a_row_with_an_error(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text(f"path,label\n{photos / '000.jpg'},a\nhttps://host/a.jpg,b\n,c\n", encoding="utf-8")
    found = trainkit.predict_blocks(BUNDLE, table, tmp_path / "rows")
    rows = rows_of(tmp_path / "rows")
    assert (found.rows, found.errors, rows[0]["error"]) == (3, 2, None)
    assert rows[1]["path"] == "https://host/a.jpg"
    assert rows[1]["error"] == "Expected a path, s3://BUCKET/... or gs://BUCKET/... Received: https://host/a.jpg"
    assert (rows[2]["path"], rows[2]["error"]) == ("", "There is no path in this row of the list.")


def test_a_list_without_a_folder_is_said(listed: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"list\.txt is no image: a list of paths goes with --predictions DIR, a folder"
    ):
        trainkit.predict(BUNDLE, listed, predictions=tmp_path / "rows.csv")


def test_leftovers_of_a_killed_process_are_removed(listed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    left = folder / ".fffffff0abcd1234.parquet"
    left.write_bytes(b"half")
    predict(listed, folder)
    assert not left.exists()


def test_a_list_of_which_nothing_can_be_classified_is_an_error(tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list.txt", ["none/1.jpg", "none/2.jpg"])
    for _ in range(2):
        with pytest.raises(DataError, match=r"None of the images could .* The first: No such image: .*none/1\.jpg"):
            predict(listed, tmp_path / "rows")
    assert [row["error"] for row in rows_of(tmp_path / "rows")] == [
        f"No such image: {tmp_path / 'none' / name}" for name in ("1.jpg", "2.jpg")
    ]


def test_nothing_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"There is no image\. Expected a folder, a list, or images\. Received: nothing"
    ):
        predict([], tmp_path / "rows")
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize("several", [1, 4])
def test_batches_answer_alike(several: int, listed: Path, tmp_path: Path) -> None:
    predict(listed, tmp_path / "one")
    predict(listed, tmp_path / "rows", batch=several)
    for row, one in zip(rows_of(tmp_path / "rows"), rows_of(tmp_path / "one"), strict=True):
        assert (row["label"], row["error"]) == (one["label"], one["error"])
        assert row["probability"] == pytest.approx(one["probability"], abs=1e-6)


@pytest.mark.parametrize("name", ["batch", "workers", "rows_a_file"])
def test_numbers_below_one_are_refused(name: str, listed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"`{name}` must be at least 1\. Received: 0"):
        predict(listed, tmp_path / "rows", **{name: 0})
    with pytest.raises(UsageError, match=r"Rows in files need a folder\. Received: .*rows\.csv"):
        predict(listed, tmp_path / "rows.csv")


def test_opencv_has_its_threads_back(listed: Path, tmp_path: Path) -> None:
    before = cv2.getNumThreads()
    predict(listed, tmp_path / "rows")
    assert cv2.getNumThreads() == before


def run(*arguments: Any, capsys: pytest.CaptureFixture[str]) -> str:
    app([str(one) for one in arguments], standalone_mode=False)
    return capsys.readouterr().out


def test_the_command_says_what_was_done(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("predict", BUNDLE, photos, "--predictions", tmp_path / "rows")
    assert run(*command, capsys=capsys) == (
        f"Classified 25 images.\n3 of 25 rows have an error and no label.\n"
        f"Rows are in {tmp_path / 'rows'}: 25 in 1 file.\n"
    )
    assert "Classified 0 images; 25 were there already." in run(*command, capsys=capsys)
    assert json.loads(run(*command, "--json", capsys=capsys)) == {
        "folder": str(tmp_path / "rows"),
        "rows": 25,
        "classified": 0,
        "errors": 3,
        "files": 1,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--all-probabilities",), r"--all-probabilities goes with images and --predictions DIR"),
        (("--workers", "2", "--predictions", "rows.csv"), r"--workers goes with images and --predictions DIR"),
        (("--annotate", "out", "--predictions", "rows"), r"--annotate goes with --predictions FILE\.csv"),
        (("--predictions", "rows.tsv"), r"a file whose name ends in \.csv, or a folder for Parquet\. Received: .*rows"),
    ],
)
def test_options_that_do_not_belong_are_refused(arguments: tuple[str, ...], message: str, photos: Path) -> None:
    with pytest.raises(UsageError, match=message):
        app(["predict", str(BUNDLE), str(photos), *arguments], standalone_mode=False)


def test_where_nobody_listens_nothing_is_left(listed: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(TrainkitError, match=r"There is no Ray cluster at 127\.0\.0\.1:1: .*refused\. Expected the"):
        trainkit.predict_blocks(BUNDLE, listed, tmp_path / "rows", cluster="127.0.0.1:1")
    assert not (tmp_path / "rows").exists()


def test_a_video_by_itself_has_rows_in_one_file(film: Path, tmp_path: Path) -> None:
    app(["predict", str(BUNDLE), str(film), "--predictions", str(tmp_path / "rows")], standalone_mode=False)
    (file,) = (tmp_path / "rows").glob("*.parquet")
    assert pyarrow.parquet.read_table(file).column("file").to_pylist()[:1] == [f"{film}[0]"]


def test_blocks_are_read_where_predictions_are(listed: Path, tmp_path: Path) -> None:
    from trainkit.runs._read_predictions import _read

    predict(listed, tmp_path / "rows", all_probabilities=True)
    files, columns = _read(tmp_path / "rows")
    assert files == [path for number, path in enumerate(rows_paths(listed)) if number not in BROKEN]
    assert len(columns["p:0"]) == len(files)


KILLED = """
import sys
import trainkit
trainkit.predict_blocks(sys.argv[1], sys.argv[2], sys.argv[3], rows_a_file=5, workers=int(sys.argv[4]))
"""


@pytest.mark.cluster
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_it_goes_on(workers: int, photos: Path, listed: Path, tmp_path: Path) -> None:
    write_list(listed, [path for path in sorted(photos.iterdir()) for _ in range(20)])
    command = [sys.executable, "-c", KILLED, str(BUNDLE), str(listed), str(tmp_path / "rows"), str(workers)]
    assert subprocess.run(command, check=False).returncode == 0
    expected = rows_of(tmp_path / "rows")
    assert [row["row"] for row in expected] == list(range(500))
    for files in (0, 1, 7, 40):
        folder = tmp_path / f"killed-{files}"
        process = subprocess.Popen([*command[:-2], str(folder), str(workers)])
        while not folder.is_dir() or len(list(folder.glob("rows-*"))) < files:
            assert process.poll() is None
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = rows_of(folder)
        assert files * 5 <= len(there) < 500
        assert predict(listed, folder, rows_a_file=5).classified == 500 - len(there)
        assert rows_of(folder) == expected
        assert not list(folder.glob(".*"))


@pytest.mark.cluster
def test_processes_answer_as_threads_do(listed: Path, tmp_path: Path) -> None:
    one = predict(listed, tmp_path / "threads")
    two = predict(listed, tmp_path / "processes", workers=2)
    assert one.to_json() | {"folder": ""} == two.to_json() | {"folder": ""}
    assert rows_of(tmp_path / "threads") == rows_of(tmp_path / "processes")


@pytest.mark.cluster
def test_a_killed_process_is_named(photos: Path, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list.txt", [photos / "001.jpg"] * 20_000)
    code = f"""
import multiprocessing, os, signal, threading, time, trainkit
def kill():
    while not multiprocessing.active_children() or not any(os.scandir({str(tmp_path / "rows")!r})):
        time.sleep(0.05)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
if __name__ == "__main__":
    os.mkdir({str(tmp_path / "rows")!r})
    threading.Thread(target=kill, daemon=True).start()
    try:
        trainkit.predict_blocks({str(BUNDLE)!r}, {str(listed)!r}, {str(tmp_path / "rows")!r}, workers=2, rows_a_file=50)
    except trainkit.TrainkitError as error:
        print(error)
"""
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert "A process that classified images was killed" in done.stdout
    rows = [row["row"] for row in rows_of(tmp_path / "rows")]
    assert rows and len(set(rows)) == len(rows)
    assert os.path.isdir(tmp_path / "rows") and not list((tmp_path / "rows").glob(".*"))
