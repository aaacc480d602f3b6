from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

import trainkit
from trainkit.errors import DataError, OutputError, TrainkitError, UsageError
from trainkit.lessons._faces import LANDMARKS, detect_faces

ASTRONAUT = np.ascontiguousarray(skimage.data.astronaut()[..., ::-1])


def write(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write(tmp_path / "astronaut.png", ASTRONAUT)


def by_the_package(image_bgr: np.ndarray) -> list[dict]:
    from mtcnn import MTCNN

    return MTCNN().detect_faces(np.ascontiguousarray(image_bgr[..., ::-1]))  # type: ignore[no-any-return]


def assert_as_the_package_has_them(found: list[dict], wanted: list[dict]) -> None:
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert one["box"] == list(other["box"])
        assert one["confidence"] == pytest.approx(float(other["confidence"]), abs=1e-6)
        assert one["keypoints"] == {name: [int(value) for value in other["keypoints"][name]] for name in LANDMARKS}


def test_a_face_is_where_the_package_has_it(photo: Path) -> None:
    (found,) = trainkit.find_faces(photo)
    assert found["image"] == str(photo)
    assert_as_the_package_has_them(
        found["faces"], [one for one in by_the_package(ASTRONAUT) if one["confidence"] >= 0.9]
    )
    (face,) = found["faces"]
    points = face["keypoints"]
    assert points["left_eye"][0] < points["nose"][0] < points["right_eye"][0]
    assert points["left_eye"][1] < points["nose"][1] < points["mouth_left"][1]
    x, y, width, height = face["box"]
    assert all(x < px < x + width and y < py < y + height for px, py in points.values())


@pytest.mark.shared
def test_faces_of_a_photograph_are_those_of_the_package(shared: Path) -> None:
    photo = shared / "data/photos/ivan.jpg"
    (found,) = trainkit.find_faces(photo, min_confidence=0)
    assert_as_the_package_has_them(found["faces"], by_the_package(np.asarray(cv2.imread(str(photo)))))


@pytest.mark.slow
@pytest.mark.shared
def test_photograph_without_faces_has_none_and_the_command_is_quiet(shared: Path) -> None:
    photo = str(shared / "data/photos/no-faces.jpg")
    command = [sys.executable, "-m", "trainkit", "faces", photo, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [{"image": photo, "faces": []}]
    assert done.stderr == ""


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (12, 12), (64, 48)])
def test_images_of_any_size_may_have_no_face(shape: tuple[int, int]) -> None:
    assert detect_faces(np.full((*shape, 3), 127, np.uint8)) == []


def test_boxes_end_where_the_image_ends() -> None:
    cut = ASTRONAUT[:150, 195:260]  # through the face
    for face in detect_faces(np.ascontiguousarray(cut)):
        x, y, width, height = face["box"]
        assert 0 <= x < x + width <= 65
        assert 0 <= y < y + height <= 150


def test_every_face_of_a_crowd_is_found_and_drawn(tmp_path: Path) -> None:
    crowd = write(tmp_path / "crowd.png", np.tile(ASTRONAUT[:260, 100:360], (2, 3, 1)))
    arguments = {"annotate": tmp_path / "out.png", "crop": tmp_path / "crops"}
    (found,) = trainkit.find_faces([crowd], **arguments)  # type: ignore[arg-type]
    assert len(found["faces"]) == 6
    before, after = cv2.imread(str(crowd)), cv2.imread(str(tmp_path / "out.png"))
    assert before is not None and after is not None
    assert before.shape == after.shape
    changed = (before != after).any(axis=2)
    for number, face in enumerate(found["faces"], 1):
        x, y, width, height = face["box"]
        assert changed[y, x : x + width].mean() > 0.9
        assert all(changed[py, px] for px, py in face["keypoints"].values())
        np.testing.assert_array_equal(
            cv2.imread(str(tmp_path / "crops" / f"crowd-{number}.png")), before[y : y + height, x : x + width]
        )
    with pytest.raises(OutputError, match=r"crowd-\d.png has the name of a crop"):
        trainkit.find_faces(crowd, crop=tmp_path / "crops")
    with pytest.raises(OutputError, match=r"out.png exists already.*another --annotate"):
        trainkit.find_faces(crowd, annotate=tmp_path / "out.png")


def test_a_face_is_found_upright_and_drawn_where_a_camera_says_how_it_was_held(photo: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8  # the file's rows run from the bottom to the top of what was seen
    Image.fromarray(np.rot90(ASTRONAUT[..., ::-1], -1)).save(tmp_path / "turned.png", exif=exif)
    upright, turned = trainkit.find_faces([photo, tmp_path / "turned.png"])
    assert upright["faces"] == turned["faces"] != []


@pytest.mark.parametrize("size", [40, 512, 2000])
def test_drawn_faces_can_be_seen_on_any_size(tmp_path: Path, size: int) -> None:
    image = np.asarray(cv2.resize(ASTRONAUT[:250, 100:350], (size, size), interpolation=cv2.INTER_AREA))
    photo = write(tmp_path / "photo.png", image)
    (found,) = trainkit.find_faces(photo, annotate=tmp_path / "out.png")
    (face,) = found["faces"]
    drawn = np.asarray(cv2.imread(str(tmp_path / "out.png")))
    factor = drawn.shape[0] // size
    assert drawn.shape == (factor * size, factor * size, 3)
    assert drawn.shape[0] >= 200
    marks = np.all(drawn == (0, 255, 255), axis=2)  # yellow, which the photograph does not have
    heights = face["box"][3] * factor
    assert 5 * 3 <= marks.sum() <= 5 * (heights / 12) ** 2
    for x, y in face["keypoints"].values():
        assert marks[int((y + 0.5) * factor), int((x + 0.5) * factor)]


def test_image_without_faces_says_so_when_drawn(tmp_path: Path) -> None:
    photo = write(tmp_path / "cat.png", np.ascontiguousarray(skimage.data.chelsea()[..., ::-1]))
    (found,) = trainkit.find_faces(photo, annotate=tmp_path / "out.png", crop=tmp_path / "crops")
    assert found == {"image": str(photo), "faces": []}
    assert (np.asarray(cv2.imread(str(tmp_path / "out.png"))) != np.asarray(cv2.imread(str(photo)))).any()
    assert not (tmp_path / "crops").exists()


def test_crops_are_refused_before_the_search_where_they_could_meet_a_file(photo: Path, tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    (crops / "astronaut-7.png").touch()
    with pytest.raises(OutputError, match=r"astronaut-7.png has the name of a crop.*another --crop"):
        trainkit.find_faces(photo, crop=crops)
    with pytest.raises(OutputError, match=r"astronaut-1.png has the name of a crop"):
        trainkit.find_faces(photo, annotate=tmp_path / "astronaut-1.png", crop=tmp_path)
    with pytest.raises(OutputError, match="would share crops"):
        trainkit.find_faces([photo, photo], crop=tmp_path / "new")
    with pytest.raises(OutputError, match=r"Cannot write .*astronaut.png"):
        trainkit.find_faces(photo, crop=photo)
    assert [path.name for path in crops.iterdir()] == ["astronaut-7.png"]
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what memory a process has")
@pytest.mark.parametrize(("shape", "count"), [((6, 8), 48), ((1, 1), 1)])
def test_twelve_megapixels_need_little_memory(tmp_path: Path, shape: tuple[int, int], count: int) -> None:
    tiled = np.tile(ASTRONAUT, (*shape, 1))
    image = np.asarray(cv2.resize(tiled, (4000, 3000), interpolation=cv2.INTER_AREA))
    photo = write(tmp_path / "photo.jpg", image)
    code = (
        "import pathlib, re, sys, trainkit\n"
        "print(len(trainkit.find_faces(sys.argv[1], annotate='found.png', crop='crops')[0]['faces']))\n"
        # Not getrusage: what that gives begins with the memory of the process that started this one.
        "print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, photo], cwd=tmp_path, capture_output=True, text=True, check=True)
    faces, kilobytes = map(int, done.stdout.split())
    assert count <= faces <= count + 2
    assert kilobytes < 1_400_000
    assert len(list((tmp_path / "crops").iterdir())) == faces


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"images": "no.jpg"}, DataError, "No such image: no.jpg"),
        ({"min_confidence": 2}, UsageError, "from 0 to 1"),
        ({"annotate": "out"}, OutputError, r"cannot write out\. Expected a name that ends in \.png or \.jpg"),
    ],
)
def test_what_cannot_be_looked_at(photo: Path, arguments: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        trainkit.find_faces(**{"images": photo, **arguments})


def test_missing_package_is_said(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainkit.lessons._faces.find_spec", lambda name: None)
    with pytest.raises(TrainkitError, match="Install it: pip install mtcnn"):
        trainkit.find_faces(photo)


def test_command_names_bad_images_and_looks_at_the_others(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    for name in ("pnet.lz4", "rnet.lz4", "onet.lz4"):  # which the package would unpickle
        (tmp_path / name).write_bytes(b"no weights")
    command = [sys.executable, "-m", "trainkit", "faces", "bad.jpg", photo.name]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Left out 1 of 2 images: bad.jpg ")
    (found,) = json.loads(done.stdout)
    assert list(found) == ["image", "faces"]
    assert list(found["faces"][0]) == ["box", "confidence", "keypoints"]
    assert list(found["faces"][0]["keypoints"]) == list(LANDMARKS)
