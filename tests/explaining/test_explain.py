from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import draw_photo
from PIL import Image

import trainkit
from trainkit.errors import BundleError, DataError, OutputError, UsageError

BLUE = (200, 60, 30)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), draw_photo(7, BLUE))
    return path


def test_files_are_explained_as_json_says(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    (found,) = trainkit.explain(tiny_bundle, photo, out=tmp_path / "why")
    assert found == {"image": str(photo), "label": "blue", "map": str(tmp_path / "why" / "photo.npy")}
    heat = np.load(found["map"])
    assert heat.dtype == np.float32
    assert heat.shape == (60, 80)
    assert heat.max() > heat.min()
    assert cv2.imread(str(tmp_path / "why" / "photo.png")).shape[1] >= 80


@pytest.mark.parametrize("method", ["occlusion", "grad-cam", "hirescam"])
def test_a_run_has_every_method(trained_run: trainkit.Run, street_image: np.ndarray, method: str) -> None:
    found = trainkit.explain(trained_run, street_image, method=method)
    assert found.map.shape == (120, 200)
    assert found.map.dtype == np.float32
    assert np.isfinite(found.map).all()
    assert found.label in trained_run.class_names
    assert 0 <= found.probability <= 1


def test_a_bundle_and_its_run_are_explained_alike(
    tiny_bundle: Path, trained_run: trainkit.Run, street_image: np.ndarray
) -> None:
    by_opencv, by_keras = (trainkit.explain(one, street_image) for one in (tiny_bundle, trained_run))
    assert by_opencv.label == by_keras.label
    assert np.abs(by_opencv.map - by_keras.map).max() < 1e-3 * np.abs(by_keras.map).max()


def test_the_class_can_be_named(tiny_bundle: Path, street_image: np.ndarray) -> None:
    every = {name: trainkit.explain(tiny_bundle, street_image, label=name) for name in ("blue", "green", "red")}
    assert [found.label for found in every.values()] == list(every)
    assert sum(found.probability for found in every.values()) == pytest.approx(1, abs=1e-5)
    assert not np.array_equal(every["blue"].map, every["red"].map)


def test_a_list_of_arrays_has_a_list_of_answers(tiny_bundle: Path, street_image: np.ndarray) -> None:
    first, second = trainkit.explain(tiny_bundle, [street_image, street_image[::2]])
    assert (first.map.shape, second.map.shape) == ((120, 200), (60, 200))
    assert first == trainkit.explain(tiny_bundle, street_image)
    assert first != second


def test_names_never_collide(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "photo.jpg"
    other.parent.mkdir()
    cv2.imwrite(str(other), draw_photo(3, BLUE))
    found = trainkit.explain(tiny_bundle, [photo, other, photo], out=tmp_path / "why")
    again = trainkit.explain(tiny_bundle, photo, out=tmp_path / "why")
    assert [Path(one["map"]).name for one in found + again] == [
        "photo.npy",
        "photo-2.npy",
        "photo-3.npy",
        "photo-4.npy",
    ]
    assert len(list((tmp_path / "why").iterdir())) == 8


def test_the_folder_is_a_new_one_by_default(
    tiny_bundle: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    maps = [Path(trainkit.explain(tiny_bundle, photo)[0]["map"]) for _ in range(2)]
    assert [path.parent.name for path in maps] == [tiny_bundle.name, f"{tiny_bundle.name}-2"]
    assert {path.parents[1] for path in maps} == {tmp_path / "explained"}


def test_the_orientation_is_obeyed(tiny_bundle: Path, tmp_path: Path) -> None:
    upright = draw_photo(5, BLUE, 40, 90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees to the right
    path = tmp_path / "turned.png"
    Image.fromarray(cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE)[..., ::-1]).save(path, exif=exif)
    (found,) = trainkit.explain(tiny_bundle, path, out=tmp_path / "why")
    assert np.array_equal(np.load(found["map"]), trainkit.explain(tiny_bundle, upright).map)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (2, 3), (700, 5)])
def test_any_size_is_explained(tiny_bundle: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8))
    (found,) = trainkit.explain(tiny_bundle, path, out=tmp_path / "why")
    assert np.load(found["map"]).shape == shape


def test_what_is_no_image_is_named_after_the_others_are_done(
    tiny_bundle: Path, photo: Path, film: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"Left out 3 of 4 images: .*video. Expected images: save the frame") as caught:
        trainkit.explain(tiny_bundle, [film, broken, tmp_path / "missing.png", photo], out=tmp_path / "why")
    assert "broken.jpg" in str(caught.value)
    assert "No such image" in str(caught.value)
    assert sorted(path.name for path in (tmp_path / "why").iterdir()) == ["photo.npy", "photo.png"]


def test_nothing_is_made_where_nothing_can_be_explained(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such image"):
        trainkit.explain(tiny_bundle, tmp_path / "missing.png", out=tmp_path / "why")
    assert not (tmp_path / "why").exists()


def test_wrong_arguments_are_named(tiny_bundle: Path, photo: Path, tmp_path: Path, street_image: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"Unknown method `gradcam`. Did you mean `grad-cam`"):
        trainkit.explain(tiny_bundle, photo, method="gradcam")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Unknown label `blu`. Did you mean `blue`"):
        trainkit.explain(tiny_bundle, photo, label="blu")
    with pytest.raises(UsageError, match="hirescam needs the gradients of the Keras model, which a bundle does not"):
        trainkit.explain(tiny_bundle, photo, method="hirescam")
    with pytest.raises(UsageError, match="`out` goes with paths"):
        trainkit.explain(tiny_bundle, street_image, out=tmp_path)
    with pytest.raises(BundleError, match=r"No bundle and no run nothing. Expected the path of either"):
        trainkit.explain("nothing", photo, experiments=tmp_path, exported=tmp_path)
    with pytest.raises(OutputError, match=r"photo.png is a file. Expected a folder"):
        trainkit.explain(tiny_bundle, photo, out=photo)


def test_a_bundle_and_a_run_of_one_name_are_told_apart(
    tiny_bundle: Path, trained_run: trainkit.Run, street_image: np.ndarray
) -> None:
    places = {"experiments": trained_run.path.parent, "exported": tiny_bundle.parent}
    by_path = trainkit.explain(trained_run.path, street_image, method="hirescam", **places)
    assert trainkit.explain("latest", street_image, method="hirescam", **places) == by_path
    assert trainkit.explain(tiny_bundle.name, street_image, **places) == trainkit.explain(tiny_bundle, street_image)


def test_a_folder_of_the_same_name_hides_no_run(
    trained_run: trainkit.Run, street_image: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the photographs that it was trained on."""
    (tmp_path / trained_run.name).mkdir()
    monkeypatch.chdir(tmp_path)
    places = {"experiments": trained_run.path.parent, "method": "grad-cam"}
    found = trainkit.explain(trained_run.name, street_image, **places)
    assert found == trainkit.explain(trained_run.path, street_image, **places)


def test_a_bundle_is_explained_without_tensorflow(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    code = (
        "import sys, trainkit; "
        f"print(trainkit.explain({str(tiny_bundle)!r}, {str(photo)!r}, out={str(tmp_path / 'why')!r}));"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_command_prints_one_document_and_a_table(tiny_bundle: Path, photo: Path, tmp_path: Path) -> None:
    def run(*arguments: object) -> str:
        command = [sys.executable, "-m", "trainkit", "explain", *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    (found,) = json.loads(run(tiny_bundle, photo, "--json"))
    assert set(found) == {"image", "label", "map"}
    assert np.load(found["map"]).shape == (60, 80)
    table = run(tiny_bundle, photo, "--label", "red", "--out", "why")
    assert table.splitlines()[0].split() == ["image", "label", "probability", "picture"]
    assert "why/photo.png" in table
