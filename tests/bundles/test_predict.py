from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from photographs import COLORS_BGR, draw_photo, write_mixed_folder

from trainkit.bundles import _drawing as drawing
from trainkit.bundles._drawing import draw_lines
from trainkit.bundles._predict import predict_files
from trainkit.deploy import Classifier
from trainkit.errors import BundleError, DataError, OutputError

NON_LATIN = ["猫", "кошка", "بطة"]


def save_photo(path: Path, color: str = "red", seed: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), draw_photo(seed, COLORS_BGR[color], 120, 200))
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save_photo(tmp_path / "photos" / "red.png")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """One photograph of each class, in an order that is not the alphabet's."""
    return [save_photo(tmp_path / "photos" / f"{color}.jpg", color) for color in ("red", "blue", "green")]


def rename_classes(tiny_bundle: Path, tmp_path: Path, names: list[str]) -> Path:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "renamed")
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["output"]["class_names"] = names
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return bundle


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trainkit", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_predictions_are_plain_data(tiny_bundle: Path, photo: Path) -> None:
    results = predict_files(tiny_bundle, [photo])
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    (result,) = results
    assert list(result) == ["image", "predictions"]
    assert result["image"] == str(photo)
    assert [set(found) for found in result["predictions"]] == [{"label", "probability"}] * 3
    assert sum(found["probability"] for found in result["predictions"]) == pytest.approx(1)


def test_predictions_come_in_the_order_of_the_images(tiny_bundle: Path, photos: list[Path]) -> None:
    results = predict_files(tiny_bundle, photos)
    assert [result["image"] for result in results] == [str(path) for path in photos]
    assert [result["predictions"][0]["label"] for result in results] == ["red", "blue", "green"]


def test_predictions_are_those_of_the_classifier(tiny_bundle: Path, photo: Path) -> None:
    expected = Classifier(tiny_bundle).predict(cv2.imread(str(photo)), top=2, min_confidence=0.01)
    (result,) = predict_files(tiny_bundle, [photo], top=2, min_confidence=0.01)
    assert [tuple(found.values()) for found in result["predictions"]] == [tuple(found) for found in expected]


def test_predictions_have_at_most_top_labels(tiny_bundle: Path, photo: Path) -> None:
    assert len(predict_files(tiny_bundle, [photo], top=1)[0]["predictions"]) == 1
    assert predict_files(tiny_bundle, [photo], min_confidence=1.0)[0]["predictions"] == []


def test_bundle_is_found_by_its_name(tiny_bundle: Path, photo: Path) -> None:
    by_name = predict_files(tiny_bundle.name, [photo], exported=tiny_bundle.parent)
    assert by_name == predict_files(tiny_bundle, [photo])


def test_image_is_named_by_its_absolute_path(tiny_bundle: Path, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photo.parent)
    assert predict_files(tiny_bundle, [Path("red.png")])[0]["image"] == str(photo)


def test_no_images_are_no_predictions(tiny_bundle: Path) -> None:
    assert predict_files(tiny_bundle, []) == []


def test_prediction_needs_no_tensorflow(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from trainkit.bundles._predict import predict_files\n"
        "predict_files(sys.argv[1], [Path(sys.argv[2])], annotate=Path(sys.argv[3]))\n"
        "print({'tensorflow', 'keras'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code, str(tiny_bundle), str(photo), str(tmp_path / "out.png")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".PNG"])
def test_annotated_picture_is_the_image_with_words_on_it(
    tiny_bundle: Path, photo: Path, tmp_path: Path, suffix: str
) -> None:
    before = photo.read_bytes()
    target = tmp_path / "new" / "folder" / f"out{suffix}"
    predict_files(tiny_bundle, [photo], annotate=target)
    image, picture = cv2.imread(str(photo)), cv2.imread(str(target))
    assert picture.shape == image.shape
    # Averages, because JPEG does not keep the noise of the photograph.
    difference = np.abs(cv2.blur(picture, (9, 9)).astype(int) - cv2.blur(image, (9, 9))).max(axis=2)
    assert difference[:20, :20].mean() > 30
    assert difference[-40:].mean() < 10
    assert photo.read_bytes() == before
    assert files_below(target.parent) == [target.name]


def test_annotated_picture_changes_with_the_labels(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    for top in (1, 2):
        predict_files(tiny_bundle, [photo], top=top, annotate=tmp_path / f"{top}.png")
    predict_files(tiny_bundle, [photo], min_confidence=1, annotate=tmp_path / "none.png")
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in ("1", "2", "none")}) == 3


@pytest.mark.parametrize("there", [True, False])
def test_several_pictures_go_into_a_folder(tiny_bundle: Path, photos: list[Path], tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "out").mkdir()
    predict_files(tiny_bundle, photos, annotate=tmp_path / "out")
    assert files_below(tmp_path / "out") == ["blue.png", "green.png", "red.png"]


def test_one_picture_goes_into_a_folder_that_is_there(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    predict_files(tiny_bundle, [photo], annotate=tmp_path / "out")
    assert files_below(tmp_path / "out") == ["red.png"]


def test_annotation_never_overwrites(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out.png").write_text("mine")
    with pytest.raises(OutputError, match=r"out\.png exists already, and nothing is overwritten\. Choose another"):
        predict_files(tiny_bundle, [photo], annotate=tmp_path / "out.png")
    assert (tmp_path / "out.png").read_text() == "mine"


@pytest.mark.parametrize("annotate", ["photos", "photos/red.png"])
def test_annotation_never_overwrites_the_image(tiny_bundle: Path, photo: Path, tmp_path: Path, annotate: str) -> None:
    before = photo.read_bytes()
    with pytest.raises(OutputError, match=r"red\.png exists already"):
        predict_files(tiny_bundle, [photo], annotate=tmp_path / annotate)
    assert photo.read_bytes() == before


def test_annotation_that_would_overwrite_one_writes_none(tiny_bundle: Path, photos: list[Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "green.png").write_text("mine")
    with pytest.raises(OutputError, match=r"green\.png exists already"):
        predict_files(tiny_bundle, photos, annotate=tmp_path / "out")
    assert files_below(tmp_path / "out") == ["green.png"]


@pytest.mark.parametrize("other", ["photos/red.jpg", "more/red.png"])
def test_images_of_the_same_name_cannot_share_a_picture(
    tiny_bundle: Path, photo: Path, tmp_path: Path, other: str
) -> None:
    with pytest.raises(OutputError, match=r"Two of the images have the same name .* one by one"):
        predict_files(tiny_bundle, [photo, save_photo(tmp_path / other)], annotate=tmp_path / "out")
    assert files_below(tmp_path / "out") == []


def test_same_image_twice_is_one_picture(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    assert len(predict_files(tiny_bundle, [photo, photo], annotate=tmp_path / "out")) == 2
    assert files_below(tmp_path / "out") == ["red.png"]


@pytest.mark.parametrize("name", ["out.xyz", "out", "out.txt"])
def test_annotation_under_a_name_that_is_no_picture(tiny_bundle: Path, photo: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(
        OutputError, match=rf"OpenCV cannot write .*{name}\. Expected a name that ends in \.png or \.jpg"
    ):
        predict_files(tiny_bundle, [photo], annotate=tmp_path / "new" / name)
    assert files_below(tmp_path / "new") == []


@pytest.mark.parametrize("annotate", ["file", "file/out.png"])
def test_annotation_below_a_file(tiny_bundle: Path, photos: list[Path], tmp_path: Path, annotate: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"(Cannot write .*file: |file exists already)"):
        predict_files(tiny_bundle, photos[:1], annotate=tmp_path / annotate)
    with pytest.raises(OutputError, match=r"Cannot write .*file.*: (File exists|Not a directory)"):
        predict_files(tiny_bundle, photos, annotate=tmp_path / annotate)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("count", [1, 3])
def test_annotation_leaves_nothing_when_the_bundle_is_missing(tmp_path: Path, photos: list[Path], count: int) -> None:
    with pytest.raises(BundleError, match="No bundle nowhere"):
        predict_files("nowhere", photos[:count], annotate=tmp_path / "out", exported=tmp_path)
    assert not (tmp_path / "out").exists()


def truncated(photo: Path, suffix: str) -> bytes:
    _, data = cv2.imencode(suffix, cv2.imread(str(photo)))
    return bytes(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("empty.png", b"", "is empty"),
        ("text.png", b"not an image", "is no image"),
        ("head.png", b"\x89PNG\r\n\x1a\n", "is no image|is damaged|is truncated"),
        ("half.jpg", ".jpg", "is truncated"),
        ("half.png", ".png", "is truncated|is damaged"),
        (
            "moving.gif",
            b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
            "is a GIF, .*: convert it to",
        ),
        ("disguised.png", b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\1\0\1\0\0\2\2D\1\0;", "is a GIF"),
        ("photo.heic", b"\0\0\0\x18ftypheic" + b"\0" * 20, "is a HEIC"),
    ],
)
def test_image_that_not_everyone_reads_is_named(
    tiny_bundle: Path, photo: Path, tmp_path: Path, name: str, content: Any, problem: str
) -> None:
    bad = tmp_path / name
    bad.write_bytes(truncated(photo, content) if isinstance(content, str) else content)
    for images in ([bad], [photo, bad]):
        with pytest.raises(DataError, match=rf"{name} ({problem})"):
            predict_files(tiny_bundle, images, annotate=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["missing.png", "photos/red.png/below.png", "n" * 300])
def test_image_that_is_missing_is_named(tiny_bundle: Path, photo: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"No such image: .*{name}$"):
        predict_files(tiny_bundle, [photo, tmp_path / name])


def test_images_are_looked_at_before_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No such image: .*missing\.png"):
        predict_files("nowhere", [tmp_path / "missing.png"])


def test_bundle_that_is_damaged_is_refused(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    (bundle / "model.onnx").write_bytes(b"short")
    with pytest.raises(BundleError, match=r"model\.onnx has 5 bytes; the manifest says"):
        predict_files(bundle, [photo], annotate=tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def test_names_of_any_alphabet_are_drawn(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    bundle = rename_classes(tiny_bundle, tmp_path, NON_LATIN)
    (result,) = predict_files(bundle, [photo], annotate=tmp_path / "猫.png")
    assert {found["label"] for found in result["predictions"]} == set(NON_LATIN)
    assert cv2.imread(str(tmp_path / "猫.png")).shape == (120, 200, 3)


def test_picture_may_have_the_longest_name(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    target = tmp_path / f"{'n' * 251}.png"
    predict_files(tiny_bundle, [photo], annotate=target)
    assert target.is_file()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (28, 28), (2, 500), (900, 3), (700, 1000)])
@pytest.mark.parametrize("lines", [["a"], ["w" * 500], ["한국어", "हाथी", "🦆", "a\\b"], ["a"] * 100, [""], []])
def test_lines_are_drawn_on_any_image(height: int, width: int, lines: list[str]) -> None:
    image = np.full((height, width, 3), (30, 50, 210), np.uint8)
    drawn = draw_lines(image, lines)
    assert (drawn.dtype, drawn.flags["C_CONTIGUOUS"]) == (np.uint8, True)
    assert drawn.shape[0] * width == drawn.shape[1] * height
    assert drawn.shape[1] >= min(width, 200)
    assert (image == (30, 50, 210)).all()


def test_lines_do_not_blow_up_a_narrow_image() -> None:
    assert draw_lines(np.zeros((2000, 4, 3), np.uint8), ["duck"]).size < 10_000_000


def test_lines_leave_the_colors_as_they_are() -> None:
    image = np.full((200, 300, 3), (30, 50, 210), np.uint8)
    drawn = draw_lines(image, ["duck"])
    assert tuple(drawn[-1, -1]) == (30, 50, 210)
    assert drawn[:60, :100].max() == 255  # white letters
    assert drawn[0, 0].max() < 100  # on a dark ground


def test_lines_of_a_longer_text_are_smaller() -> None:
    image = np.full((400, 600, 3), 255, np.uint8)
    heights = [int((draw_lines(image, [text])[:, 0] < 255).any(axis=1).sum()) for text in ("duck", "duck " * 20)]
    assert heights[1] < heights[0]


def test_font_is_one_that_has_the_letters(caplog: pytest.LogCaptureFixture) -> None:
    assert drawing._font_file("café Ката 12%").name == "DejaVuSans.ttf"
    other = drawing._font_file("猫")
    assert (other.name == "DejaVuSans.ttf") == ("No installed font has every letter of `猫`" in caplog.text)


def test_font_that_is_none_has_no_letters(tmp_path: Path) -> None:
    (tmp_path / "font.ttf").write_text("no font")
    assert not drawing._has_all_letters(tmp_path / "font.ttf", "a")


def test_command_reads_folders_and_videos(tiny_bundle: Path, photo: Path, film: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    shutil.copy(photo, folder / "inside" / "b.png")
    shutil.copy(photo, folder / "a.png")
    shutil.copy(film, folder / "c.avi")
    (folder / "notes.txt").write_text("no image")
    done = run("predict", tiny_bundle, folder, "--every", "3", "--batch", "2", "--top", "1", "--json")
    results = json.loads(done.stdout)
    assert [(Path(one["image"]).name, one.get("frame")) for one in results] == [
        ("a.png", None),
        ("c.avi", 0),
        ("c.avi", 3),
        ("c.avi", 6),
        ("b.png", None),
    ]
    assert results[0]["predictions"] == predict_files(tiny_bundle, [photo], top=1)[0]["predictions"]
    assert done.stderr.startswith("5 images in ")
    lines = run("predict", tiny_bundle, film, "--top", "1").stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{film} frame {number}" for number in range(7)]


def test_command_draws_on_frames(tiny_bundle: Path, film: Path, tmp_path: Path) -> None:
    arguments = ("predict", tiny_bundle, film, "--every", "5", "--annotate", tmp_path / "out")
    assert run(*arguments).returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["film-0.png", "film-5.png"]
    again = run(*arguments)
    assert again.returncode == 1
    assert "film-0.png exists already" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Name images, folders or videos, or a camera with --camera N."),
        (("red.png", "--camera", "0"), 2, "Name images, folders or videos, or a camera"),
        (("--camera", "97"), 1, "gets no frame from camera 97"),
        (("empty",), 1, "No images in empty. Expected files that end in"),
        (("broken.mp4",), 1, "gets no frame from broken.mp4"),
        (("red.png", "--backend", "CUDA"), 1, "cannot compute with CUDA on this machine. It has: "),
        (("red.png", "--target", "ABACUS"), 2, "knows no target 'ABACUS'. It knows: CPU"),
        (("red.png", "--batch", "0"), 2, "batch"),
    ],
)
def test_command_says_what_it_cannot_look_at(
    tiny_bundle: Path, photo: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (photo.parent / "empty").mkdir()
    (photo.parent / "broken.mp4").write_bytes(b"\0no film")
    done = run("predict", tiny_bundle, *arguments, cwd=photo.parent)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
    assert message in done.stderr


@pytest.mark.parametrize("batch", [1, 4])
def test_answers_come_in_the_order_of_the_files(tiny_bundle: Path, tmp_path: Path, batch: int) -> None:
    good, broken = write_mixed_folder(tmp_path / "mixed", 90)
    done = run("predict", tiny_bundle, tmp_path / "mixed", "--json", "--batch", batch)
    results = json.loads(done.stdout)
    assert [result["image"] for result in results] == [str(path) for path in good]
    if batch == 1:
        classifier = Classifier(tiny_bundle)
        for path, result in zip(good, results, strict=True):
            found = [tuple(one.values()) for one in result["predictions"]]
            assert found == [tuple(one) for one in classifier.predict(cv2.imread(str(path)))]
    reasons = "; ".join(f"{path} is no image" for path in broken)
    assert done.stderr.splitlines()[-1] == f"Left out {len(broken)} of 90 images: {reasons}"
    assert done.returncode == 1


def test_bad_video_does_not_stop_the_others(tiny_bundle: Path, photo: Path) -> None:
    (photo.parent / "broken.mp4").write_bytes(b"\0no film")
    done = run("predict", tiny_bundle, photo.parent / "broken.mp4", photo, "--json")
    assert (done.returncode, len(json.loads(done.stdout))) == (1, 1)
    assert "Left out 1 of 2 images: OpenCV" in done.stderr
