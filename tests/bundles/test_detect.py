from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from strange_models import colored_cells, fixed_output, write_color_detector

from trainkit.bundles._detect import detect_files
from trainkit.bundles._drawing import draw_boxes
from trainkit.errors import BundleError, DataError, OutputError


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    return write_color_detector(tmp_path / "colors")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """A picture with two things in it, one with none, one with one; 256x128."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, cells in (("two", {(0, 1): "red", (3, 3): "blue"}), ("none", {}), ("one", {(2, 2): "red"})):
        image = cv2.resize(colored_cells(cells), (256, 128), interpolation=cv2.INTER_NEAREST)
        assert cv2.imwrite(str(folder / f"{name}.png"), image)
    return [folder / f"{name}.png" for name in ("two", "none", "one")]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainkit", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("batch", [1, 2, 3, 10])
def test_detections_are_plain_data_in_the_order_of_the_images(detector: Path, photos: list[Path], batch: int) -> None:
    results = detect_files(detector, photos, batch=batch)
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert [result["image"] for result in results] == [str(path) for path in photos]
    two, none, one = (result["detections"] for result in results)
    assert none == []
    assert {found["label"]: found["box"] for found in two} == {
        "red": pytest.approx([0, 32, 64, 64], abs=1e-3),
        "blue": pytest.approx([192, 96, 256, 128], abs=1e-3),
    }
    assert [list(found) for found in one] == [["label", "confidence", "box"]]


@pytest.mark.parametrize("name", ["", "manifest.json"])
def test_manifest_is_a_folder_a_file_or_a_name(detector: Path, photos: list[Path], name: str) -> None:
    expected = detect_files(detector, photos)
    assert detect_files(detector / name, photos) == expected
    assert detect_files(detector.name, photos, exported=detector.parent) == expected
    (detector / "manifest.json").rename(detector / "other.json")
    assert detect_files(detector / "other.json", photos) == expected
    with pytest.raises(BundleError, match=r"No bundle .*colors \(a folder with manifest\.json\)"):
        detect_files(detector, photos)


def test_pictures_show_the_boxes_and_nothing_else(detector: Path, photos: list[Path], tmp_path: Path) -> None:
    before = [path.read_bytes() for path in photos]
    detect_files(detector, photos, annotate=tmp_path / "out", batch=2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["none.png", "one.png", "two.png"]
    assert [path.read_bytes() for path in photos] == before
    image, picture = cv2.imread(str(photos[2])), cv2.imread(str(tmp_path / "out" / "one.png"))
    changed = np.abs(picture.astype(int) - image).max(axis=2) > 30
    assert changed[64, 130:190].mean() > 0.9  # the upper edge of the box (128, 64, 192, 96)
    assert changed[95, 130:190].mean() > 0.9
    assert not changed[70:90, 135:185].any()  # inside
    assert not changed[100:].any()
    assert changed[:64].any()  # the label above it


def test_picture_of_one_image_is_a_file_and_never_overwrites(
    detector: Path, photos: list[Path], tmp_path: Path
) -> None:
    detect_files(detector, photos[:1], annotate=tmp_path / "new" / "found.jpg")
    content = (tmp_path / "new" / "found.jpg").read_bytes()
    with pytest.raises(OutputError, match=r"found\.jpg exists already, and nothing is overwritten"):
        detect_files(detector, photos[1:2], annotate=tmp_path / "new" / "found.jpg")
    assert (tmp_path / "new" / "found.jpg").read_bytes() == content


def test_file_that_is_no_image_is_named(detector: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    with pytest.raises(DataError, match=r"text\.png is no image"):
        detect_files(detector, [tmp_path / "text.png"])


def test_boxes_are_drawn_where_there_is_little_room() -> None:
    image = np.full((20, 30, 3), 90, np.uint8)
    found = [("a", 0.9, (0.2, 0.4, 29.9, 20)), ("a label that is far too long for it", 1.0, (25, 15, 25.2, 15.3))]
    picture = draw_boxes(image, found)
    assert picture.shape == (20 * 7, 30 * 7, 3)  # enlarged until text can be read
    assert (picture != 90).any()
    np.testing.assert_array_equal(image, 90)


def test_labels_have_colours_of_their_own() -> None:
    image = np.full((300, 400, 3), 90, np.uint8)
    boxes = [("cat", 0.9, (20, 50, 120, 150)), ("dog", 0.8, (200, 50, 300, 150)), ("cat", 0.7, (20, 180, 120, 280))]
    picture = draw_boxes(image, boxes)
    first, second, third = picture[100, 20], picture[100, 200], picture[230, 20]
    assert (first == third).all()
    assert (first != second).any()


def test_command_prints_a_table_or_a_document(detector: Path, photos: list[Path]) -> None:
    done = run("detect", detector, *photos)
    assert done.returncode == 0
    assert done.stderr.startswith("3 images in ")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["image", "label", "confidence", "left", "top", "right", "bottom"]
    assert sorted(line[1] for line in lines[1:]) == ["-", "blue", "red", "red"]
    assert [str(photos[2]), "red"] == lines[-1][:2]
    assert lines[-1][3:] == ["128", "64", "192", "96"]
    document = run("detect", detector / "manifest.json", *photos, "--json", "--batch", "3")
    assert json.loads(document.stdout) == detect_files(detector, photos)
    none = run("detect", detector, photos[1], "--json")
    assert (none.returncode, json.loads(none.stdout)) == (0, [{"image": str(photos[1]), "detections": []}])
    sure = run("detect", detector, photos[0], "--json", "--min-confidence", "1")
    assert json.loads(sure.stdout)[0]["detections"] == []


def test_command_leaves_out_what_is_no_image(detector: Path, photos: list[Path]) -> None:
    photos[1].write_text("not an image")
    done = run("detect", detector, *photos, "--json")
    assert done.returncode == 1
    assert [Path(result["image"]).name for result in json.loads(done.stdout)] == ["two.png", "one.png"]
    assert done.stderr.splitlines()[1].startswith("Left out 1 of 3 images: ")


@pytest.mark.parametrize("arguments", [("--batch", "0"), ("--min-confidence", "2"), ("--nonsense",)])
def test_command_refuses_what_can_mean_nothing(detector: Path, photos: list[Path], arguments: tuple[str, ...]) -> None:
    done = run("detect", detector, photos[0], *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_commands_name_each_other(detector: Path, photos: list[Path]) -> None:
    done = run("predict", detector, photos[0])
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "The manifest describes a detector (`output.kind` is ssd). Use trainkit detect.\n"


def test_predict_runs_a_manifest_written_by_hand(detector: Path, photos: list[Path]) -> None:
    (detector / "names.txt").write_text("n01440764 tench\nn01443537 goldfish\n")
    (detector / "net.onnx").write_bytes(fixed_output(np.array([[1.0, 3.0]]), width=64, height=64))
    manifest = json.loads((detector / "manifest.json").read_text())
    manifest["model"]["file"] = "net.onnx"
    manifest["output"] = {"kind": "logits", "class_names": "names.txt"}
    (detector / "by-hand.json").write_text(json.dumps(manifest))
    done = run("predict", detector / "by-hand.json", photos[0], "--json", "--top", "1")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)[0]["predictions"]
    assert found == {"label": "goldfish", "probability": pytest.approx(0.880797, abs=1e-5)}


def test_detection_needs_no_tensorflow(detector: Path, photos: list[Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from trainkit.bundles._detect import detect_files\n"
        "detect_files(sys.argv[1], [Path(sys.argv[2])])\n"
        "print({'tensorflow', 'keras'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code, str(detector), str(photos[0])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"
