from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from strange_models import (
    COLOR_DETECTOR,
    FACE_DETECTOR,
    color_detector,
    colored_cells,
    fixed_output,
    write_color_detector,
    write_manifest,
)

import trainkit
from trainkit.deploy import Box, Classifier, Detection, Detector
from trainkit.errors import BundleError

NAMES = ["background", "cat", "dog"]


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """A detector of red and blue cells, 64x64."""
    return Detector(write_color_detector(tmp_path_factory.mktemp("colors")))


def fixed(folder: Path, rows: list[list[float]], *, size: tuple[int, int] = (40, 30), **sections: Any) -> Detector:
    """Return a detector that finds the same whatever it sees."""
    width, height = size
    output = {"class_names": NAMES, **sections.pop("output", {})}
    blob = {"size": [width, height], **sections.pop("blob", {})}
    write_manifest(folder, COLOR_DETECTOR, output=output, blob=blob)
    if sections:
        write_manifest(folder, {**COLOR_DETECTOR, **sections}, output=output, blob=blob)
    array = np.array(rows, np.float32)[None, None]
    (folder / "colors.onnx").write_bytes(fixed_output(array, width=width, height=height))
    return Detector(folder)


def test_rows_become_detections_the_surest_first(tmp_path: Path, street_image: np.ndarray) -> None:
    rows = [[0, 1, 0.6, 0.1, 0.2, 0.5, 0.75], [0, 2, 0.9, 0, 0, 1, 1]]
    found = fixed(tmp_path, rows).predict(street_image)  # 200 wide, 120 high
    assert found == [
        Detection("dog", pytest.approx(0.9), Box(0, 0, 200, 120)),
        Detection("cat", pytest.approx(0.6), pytest.approx((20, 24, 100, 90), abs=1e-4)),
    ]
    assert all(type(value) is float for one in found for value in (one.confidence, *one.box))


NAN, INF = float("nan"), float("inf")
BOX = [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    "row",
    [
        [NAN, 1, 0.9, *BOX],
        [0, NAN, 0.9, *BOX],
        [0, 1, NAN, *BOX],
        [0, 1, 0.9, NAN, 0.2, 0.3, 0.4],
        [0, 1, INF, *BOX],
        [0, 1, 0.9, -INF, 0.2, INF, 0.4],
        [1, 1, 0.9, *BOX],  # there is one image
        [-1, 1, 0.9, *BOX],
        [0.5, 1, 0.9, *BOX],
        [0, -1, 0.9, *BOX],
        [0, 3, 0.9, *BOX],  # there are three classes
        [0, 1.5, 0.9, *BOX],
        [0, 0, 0.9, *BOX],  # the background
        [0, 1, -0.9, *BOX],
        [0, 1, 1.25, *BOX],
        [0, 1, 0, *BOX],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0.9, 0.3, 0.2, 0.1, 0.4],  # right of its right edge
        [0, 1, 0.9, 0.1, 0.4, 0.3, 0.4],  # flat
        [0, 1, 0.9, 1.1, 0.2, 1.3, 0.4],  # outside
        [0, 1, 0.9, 0.1, -0.4, 0.3, -0.2],
    ],
)
def test_row_that_says_nothing_is_left_out(tmp_path: Path, row: list[float], street_image: np.ndarray) -> None:
    opened = fixed(tmp_path, [row, [0, 1, 0.7, *BOX]])
    assert [one.confidence for one in opened.predict(street_image, min_confidence=0)] == [pytest.approx(0.7)]


def test_box_is_cut_at_the_edges_and_rounding_at_one(tmp_path: Path, street_image: np.ndarray) -> None:
    opened = fixed(tmp_path, [[0, 1, 1.0001, -0.5, 0.5, 1e30, 2]])
    assert opened.predict(street_image) == [Detection("cat", 1.0, Box(0, 60, 200, 120))]


def test_class_of_the_background_is_what_the_manifest_says(tmp_path: Path, street_image: np.ndarray) -> None:
    rows = [[0, number, 0.9, *BOX] for number in range(3)]
    for background, left in ((None, {"background", "cat", "dog"}), (0, {"cat", "dog"}), (2, {"background", "cat"})):
        opened = fixed(tmp_path, rows, output={"background": background})
        assert {one.label for one in opened.predict(street_image)} == left


def test_confidence_asked_for_is_the_callers_the_manifests_or_a_half(tmp_path: Path, street_image: np.ndarray) -> None:
    rows = [[0, 1, confidence, *BOX] for confidence in (0.2, 0.45, 0.55, 0.95)]
    opened = fixed(tmp_path, rows)
    assert len(opened.predict(street_image)) == 2
    assert len(opened.predict(street_image, min_confidence=0)) == 4
    assert len(opened.predict(street_image, min_confidence=0.55)) == 2
    assert opened.predict(street_image, min_confidence=1) == []
    assert len(fixed(tmp_path, rows, output={"min_confidence": 0.9}).predict(street_image)) == 1
    assert len(fixed(tmp_path, rows, output={"min_confidence": 0.9}).predict(street_image, min_confidence=0.5)) == 2


@pytest.mark.parametrize("confidence", [-0.1, 1.1, NAN])
def test_confidence_that_can_mean_nothing_is_refused(colors: Detector, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"`min_confidence` must be from 0 to 1\. Received: "):
        colors.predict(colored_cells({}), min_confidence=confidence)


@pytest.mark.parametrize("image", [None, "photo.jpg", np.zeros((5, 6), np.uint8), np.zeros((5, 6, 3), np.float32)])
def test_what_is_no_image_is_refused(colors: Detector, image: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="Expected a"):
        colors.predict(image)


def shares_of_green(detector: Detector, image: np.ndarray) -> list[float]:
    """Return where a green rectangle lies in the blob that the network gets."""
    blob = detector.to_blob([image])[0]
    green = (blob[1] > 0.5) & (blob[0] < 0.5)
    columns, rows = np.flatnonzero(green.any(axis=0)), np.flatnonzero(green.any(axis=1))
    height, width = green.shape
    return [columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height]


@pytest.mark.parametrize("geometry", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("sides", [(401, 240), (240, 401), (331, 300), (90, 61), (300, 301)])
def test_box_is_mapped_back_to_the_image_as_it_was(tmp_path: Path, geometry: str, sides: tuple[int, int]) -> None:
    width, height = sides
    image = np.zeros((height, width, 3), np.uint8)
    box = (round(0.4 * width), round(0.35 * height), round(0.55 * width), round(0.7 * height))
    image[box[1] : box[3], box[0] : box[2]] = (0, 255, 0)
    sections: dict[str, Any] = {"blob": {"crop": geometry == "crop"}}
    if geometry == "pad":
        sections["before_blob"] = [{"step": "pad", "color_bgr": [0, 0, 255]}]
    size = (160, 120)
    seen = shares_of_green(fixed(tmp_path, [[0, 1, 0.9, *BOX]], size=size, **sections), image)
    (found,) = fixed(tmp_path, [[0, 1, 0.9, *seen]], size=size, **sections).predict(image)
    assert np.abs(np.subtract(found.box, box)).max() <= 1 + max(width / 160, height / 120)  # a pixel of the blob


def test_box_beyond_what_was_cropped_or_padded_is_cut_at_the_image(tmp_path: Path, street_image: np.ndarray) -> None:
    whole = [[0, 1, 0.9, 0, 0, 1, 1]]
    pad = [{"step": "pad", "color_bgr": [0, 0, 0]}]
    (padded,) = fixed(tmp_path, whole, size=(50, 50), before_blob=pad).predict(street_image)
    assert padded.box == Box(0, 0, 200, 120)
    (cropped,) = fixed(tmp_path, whole, size=(50, 50), blob={"crop": True}).predict(street_image)
    assert cropped.box == pytest.approx((40, 0, 160, 120), abs=2.5)  # a pixel of the blob is 2.4 wide


@pytest.mark.parametrize("sides", [(204, 120), (205, 120), (120, 204), (200, 120)])
def test_whole_blob_of_a_crop_is_the_part_that_blob_from_image_cuts(tmp_path: Path, sides: tuple[int, int]) -> None:
    width, height = sides
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    factor = float(np.float32(50) / np.float32(min(sides)))
    scaled = cv2.resize(image, None, fx=factor, fy=factor)
    blob = cv2.dnn.blobFromImage(image, 1, (50, 50), crop=True)[0].transpose(1, 2, 0)
    left, top = next(
        (column, row)
        for column in range(scaled.shape[1] - 49)
        for row in range(scaled.shape[0] - 49)
        if np.array_equal(blob, scaled[row : row + 50, column : column + 50])
    )
    (found,) = fixed(tmp_path, [[0, 1, 0.9, 0, 0, 1, 1]], size=(50, 50), blob={"crop": True}).predict(image)
    expected = np.array([left, top, left + 50, top + 50]) / factor
    assert found.box == pytest.approx(tuple(expected), abs=1e-3)  # a pixel of the blob is 2.4 wide


def test_several_images_in_one_blob_have_each_its_own(colors: Detector) -> None:
    images = [
        colored_cells({(1, 2): "red"}),
        colored_cells({}),
        colored_cells({(0, 0): "blue", (3, 3): "red"}),
        cv2.resize(colored_cells({(2, 0): "blue"}), (200, 100), interpolation=cv2.INTER_NEAREST),
    ]
    together = colors.predict_many(images)
    assert together == [colors.predict(image) for image in images]
    assert [sorted(one.label for one in found) for found in together] == [["red"], [], ["blue", "red"], ["blue"]]
    assert together[0][0].box == pytest.approx((16, 32, 32, 48), abs=1e-3)
    assert together[3][0].box == pytest.approx((100, 0, 150, 25), abs=1e-3)
    assert colors.forward(colors.to_blob(images)).shape == (4 * 50, 7)
    assert colors.predict_many([]) == []


def test_network_of_one_image_gets_several_one_by_one(tmp_path: Path, street_image: np.ndarray) -> None:
    opened = fixed(tmp_path, [[0, 1, 0.9, *BOX], [7, 2, 0.9, *BOX]])
    with pytest.raises(BundleError, match="cannot run the model"):
        opened.forward(opened.to_blob([street_image, street_image]))
    assert opened.predict_many([street_image, street_image[:60]]) == [
        opened.predict(street_image),
        opened.predict(street_image[:60]),
    ]


@pytest.mark.parametrize("shape", [(1, 14), (1, 2, 3), (7,), (1, 1, 7, 2)])
def test_output_that_is_no_ssds_is_refused(tmp_path: Path, shape: tuple[int, ...], street_image: np.ndarray) -> None:
    write_manifest(tmp_path, COLOR_DETECTOR, blob={"size": [40, 30]})
    (tmp_path / "colors.onnx").write_bytes(fixed_output(np.zeros(shape), width=40, height=30))
    with pytest.raises(BundleError, match=r"output has the shape \(.*\)\. That of an SSD is \(1, 1, N, 7\)"):
        Detector(tmp_path).predict(street_image)


def test_manifest_of_the_other_kind_says_which_command(tmp_path: Path) -> None:
    write_color_detector(tmp_path / "ssd")
    with pytest.raises(BundleError, match=r"describes a detector \(`output\.kind` is ssd\)\. Use trainkit detect"):
        Classifier(tmp_path / "ssd")
    write_color_detector(tmp_path / "softmax", output={"kind": "softmax", "background": None})
    with pytest.raises(
        BundleError, match=r"describes a classifier \(`output\.kind` is softmax\)\. Use trainkit predict"
    ):
        Detector(tmp_path / "softmax")


def test_background_that_is_no_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"`output\.background` is the class 3, and there are 3 class names, counted"):
        Detector(write_color_detector(tmp_path, output={"background": 3}))


def test_checksum_of_a_detector_is_compared_where_the_manifest_has_one(tmp_path: Path) -> None:
    size = len(color_detector())
    assert Detector(write_color_detector(tmp_path / "right", model={"bytes": size}))
    with pytest.raises(BundleError, match=rf"has {size} bytes; the manifest says {size + 1}\. Copy"):
        Detector(write_color_detector(tmp_path / "size", model={"bytes": size + 1}))
    with pytest.raises(BundleError, match="does not match the sha256 in the manifest"):
        Detector(write_color_detector(tmp_path / "sha", model={"sha256": "0" * 64}))


def test_detector_is_public() -> None:
    assert issubclass(trainkit.Detector, Detector)


@pytest.fixture(scope="module")
def faces(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """OpenCV's own face detector, with a manifest written by hand."""
    folder = write_manifest(tmp_path_factory.mktemp("faces"), FACE_DETECTOR)
    for key in ("file", "graph"):
        name = FACE_DETECTOR["model"][key]
        (folder / name).write_bytes((shared / "data" / "detector" / name).read_bytes())
    return Detector(folder)


def photo(shared: Path, name: str) -> np.ndarray:
    image = cv2.imread(str(shared / "data" / "photos" / name))
    assert image is not None
    return image


@pytest.mark.shared
def test_face_of_a_photograph_is_found(faces: Detector, shared: Path) -> None:
    image = photo(shared, "ivan.jpg")
    (face,) = faces.predict(image)
    height, width = image.shape[:2]
    assert face.label == "face"
    assert face.confidence == pytest.approx(0.9918, abs=1e-3)
    shares = np.divide(face.box, [width, height, width, height])
    assert shares == pytest.approx((0.4924, 0.1514, 0.5809, 0.2818), abs=1e-3)
    assert faces.predict(photo(shared, "no-faces.jpg")) == []


@pytest.mark.shared
def test_faces_of_several_photographs_in_one_blob(faces: Detector, shared: Path) -> None:
    images = [photo(shared, name) for name in ("no-faces.jpg", "ivan.jpg", "Lenna.png", "got.jpg")]
    rows = faces.forward(faces.to_blob(images))
    assert set(rows[rows[:, 2] > 0.5][:, 0]) == {1, 2, 3}  # it was one blob: OpenCV alone would refuse it
    together = faces.predict_many(images)
    assert [len(found) for found in together] == [0, 1, 1, 2]
    for found, image in zip(together, images, strict=True):
        for one, alone in zip(found, faces.predict(image), strict=True):
            assert one.confidence == pytest.approx(alone.confidence, abs=1e-5)
            assert one.box == pytest.approx(alone.box, abs=1e-2)
