from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainkit.data import load_dataset
from trainkit.data._data_statistics import measure_data
from trainkit.data._split import PINS_FILE
from trainkit.errors import DataError, OutputError, UsageError
from trainkit.preprocessing import Preprocessing, build_preprocessing


def all_pixels(folder: Path) -> np.ndarray:
    """Return every pixel of every image as float64 `(N, 3)`, R, G, B."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != PINS_FILE]
    images = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in paths]
    return np.concatenate([image.reshape(-1, 3)[:, ::-1] for image in images]).astype(np.float64)


def test_statistics_are_those_of_every_pixel_of_every_image(tiny_dataset: Path) -> None:
    pixels = all_pixels(tiny_dataset)
    measured = measure_data(tiny_dataset)
    assert (measured.found.images, measured.found.pixels) == (42, len(pixels))
    np.testing.assert_allclose(measured.found.mean, pixels.mean(axis=0), rtol=0, atol=1e-9)
    np.testing.assert_allclose(measured.found.std, pixels.std(axis=0), rtol=0, atol=1e-9)
    assert measured.warnings == []
    reverse = measure_data(tiny_dataset, color="bgr")
    assert (reverse.found.mean, reverse.found.std) == (measured.found.mean[::-1], measured.found.std[::-1])


@pytest.mark.shared
def test_statistics_of_photographs_are_those_of_float64(shared: Path) -> None:
    pixels = all_pixels(shared / "data" / "photos")
    measured = measure_data(shared / "data" / "photos")
    assert measured.found.pixels == len(pixels)
    np.testing.assert_allclose(measured.found.mean, pixels.mean(axis=0), rtol=0, atol=1e-7)
    np.testing.assert_allclose(measured.found.std, pixels.std(axis=0), rtol=0, atol=1e-7)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
def test_statistics_at_a_size_are_those_of_what_the_network_sees(
    tiny_dataset: Path, tmp_path: Path, color: str, resize: str
) -> None:
    plain = build_preprocessing("none", height=20, width=31, color=color, resize=resize)
    part = load_dataset(str(tiny_dataset)).parts["train"]
    inputs = plain.to_input([plain.to_pixels(part.images[index]) for index in range(len(part))]).astype(np.float64)
    out = tmp_path / "mean.npy"
    measured = measure_data(tiny_dataset, split="train", size="31x20", color=color, resize=resize, mean_image=out)
    assert measured.found.images == len(part) and measured.found.pixels == len(part) * 31 * 20
    np.testing.assert_allclose(measured.found.mean, inputs.mean(axis=(0, 1, 2)), rtol=0, atol=1e-6)
    np.testing.assert_allclose(measured.found.std, inputs.std(axis=(0, 1, 2)), rtol=0, atol=1e-6)
    mean = np.load(out)
    assert mean.dtype == np.float32 and mean.shape == plain.shape
    np.testing.assert_allclose(mean, inputs.mean(axis=0), rtol=1e-6)
    built = build_preprocessing("mean-image", height=20, width=31, color=color, resize=resize, mean_image=mean)
    assert isinstance(built, Preprocessing)


def test_blob_arguments_are_those_of_standardize(tiny_dataset: Path) -> None:
    measured = measure_data(tiny_dataset, size=(9, 7), resize="crop")
    statistics = (measured.found.mean, measured.found.std)
    expected = build_preprocessing("standardize", height=7, width=9, resize="crop", statistics=statistics).blob
    assert measured.blob == expected
    without = measure_data(tiny_dataset).blob
    assert without is not None and without.keys() == expected.keys() - {"size"}
    image = np.full((7, 9, 3), 100, np.uint8)
    assert cv2.dnn.blobFromImage(image, **without).shape == (1, 3, 7, 9)


@pytest.mark.parametrize(("split", "images"), [("all", 1797), ("test", 360), ("val", 144), ("train", 1293)])
def test_statistics_of_digits_are_those_of_a_side(split: str, images: int) -> None:
    measured = measure_data("digits", split=split, color="gray")
    assert measured.found.images == images and measured.found.pixels == images * 64
    parts = load_dataset("digits").parts
    chosen = [part for side, part in parts.items() if split in ("all", side)]
    pixels = np.concatenate([part.images.pixels for part in chosen]).astype(np.float64)  # type: ignore[attr-defined]
    assert measured.found.mean == pytest.approx([pixels.mean()], abs=1e-9)
    assert measured.found.std == pytest.approx([pixels.std()], abs=1e-9)


def test_statistics_of_table_and_arrays(tiny_dataset: Path, tmp_path: Path) -> None:
    rows = [f"{path},{path.parent.name}" for path in sorted(tiny_dataset.glob("*/*.png"))]
    (tmp_path / "table.csv").write_text("\n".join(["image,label", *rows]))
    assert measure_data(tmp_path / "table.csv").found.mean == measure_data(tiny_dataset).found.mean
    x = np.random.default_rng(0).integers(0, 256, (60, 5, 4, 3), np.uint8)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(60) % 3)
    found = measure_data(tmp_path / "data.npz", mean_image=tmp_path / "mean.npy").found
    np.testing.assert_allclose(found.mean, x.mean(axis=(0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(np.load(tmp_path / "mean.npy"), x.mean(axis=0), rtol=1e-6)


def test_folder_of_images_needs_no_classes_and_gets_no_pins(tiny_dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_dataset / "red", tmp_path / "red")
    (tmp_path / "red/notes.txt").write_text("no image")
    measured = measure_data(tmp_path / "red")
    assert measured.found.images == 14 and not (tmp_path / "red" / PINS_FILE).exists()
    assert len(measured.warnings) == 1 and "notes.txt is no image" in measured.warnings[0]


def test_files_that_are_no_images_are_left_out_and_named(tiny_dataset: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_dataset, tmp_path / "photos"))
    whole = sorted(folder.rglob("*.png"))[0]
    (whole.parent / "empty.jpg").touch()
    (whole.parent / "text.jpg").write_text("hello")
    (whole.parent / "cut.png").write_bytes(whole.read_bytes()[:200])
    measured = measure_data(folder)
    assert measured.found == measure_data(tiny_dataset).found
    (warning,) = measured.warnings
    assert warning.startswith("Left out 3 of 45 files: ")
    for name, problem in (("cut.png", "is truncated"), ("empty.jpg", "is empty"), ("text.jpg", "is no image")):
        assert f"{whole.parent / name} {problem}" in warning
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "text.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"No usable image in .*bad\. Expected JPEG or PNG images\."):
        measure_data(bad)


def test_images_of_one_colour_have_no_blob(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((5, 4 + index, 3), (10, 20, 30), np.uint8))
    measured = measure_data(tmp_path)
    assert measured.found.mean == (30, 20, 10) and measured.found.std == (0, 0, 0) and measured.blob is None
    with pytest.raises(DataError, match=r"A mean image needs images of one size\. Received: 4x5 and .*--size"):
        measure_data(tmp_path, mean_image=tmp_path / "mean.npy")
    assert not (tmp_path / "mean.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "tets"}, UsageError, "Unknown split `tets`. Did you mean `test`?"),
        ({"color": "grey"}, UsageError, "Unknown color `grey`. Did you mean `gray`?"),
        ({"size": "224"}, UsageError, "must be WIDTHxHEIGHT"),
        ({"resize": "crop"}, UsageError, "--resize crop needs a size"),
        ({"size": "9x9", "resize": "fit"}, UsageError, "Unknown resize `fit`"),
        ({"mean_image": "mean.png"}, UsageError, r"A mean image is a \.npy file\. Received: mean\.png"),
        ({"mean_image": "no/such/mean.npy"}, OutputError, "there is no folder"),
        ({"split": "val", "validation": 0}, DataError, "has no side `val`. It has: train, test"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(
    tiny_dataset: Path, arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        measure_data(tiny_dataset, **arguments)  # type: ignore[arg-type]


def test_mean_image_is_never_written_over_a_file(tiny_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "mean.npy").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        measure_data(tiny_dataset, size="9x9", mean_image=tmp_path / "mean.npy")
    assert (tmp_path / "mean.npy").read_text() == "mine"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trainkit", "data", "stats", *arguments], capture_output=True, text=True
    )


def test_command_prints_one_document(tiny_dataset: Path) -> None:
    done = run(str(tiny_dataset), "--json")
    assert done.returncode == 0 and done.stderr == ""
    document = json.loads(done.stdout)
    assert document == measure_data(tiny_dataset).to_json()
    assert document["images"] == 42 and len(document["mean"]) == len(document["std"]) == 3


def test_command_prints_a_table_and_the_call(tiny_dataset: Path, tmp_path: Path) -> None:
    done = run(str(tiny_dataset), "--size", "32x24", "--mean-image", str(tmp_path / "mean.npy"))
    assert done.returncode == 0
    mean = measure_data(tiny_dataset, size="32x24").found.mean
    assert f"red      {mean[0]:.6f}" in done.stdout
    assert "cv2.dnn.blobFromImage(\n    image,\n    scalefactor=" in done.stdout
    assert "size=(32, 24)" in done.stdout and f"Wrote {tmp_path / 'mean.npy'}." in done.stdout
    assert run(str(tmp_path / "nothing")).returncode == 1
    assert run(str(tiny_dataset), "--color", "grey").returncode == 2
