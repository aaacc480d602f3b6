from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from photographs import draw_scene, encoded_again
from PIL import Image

from trainkit.data._inspection import inspect_files
from trainkit.data._repeats._fingerprints import Fingerprint, compute_fingerprint, group_near_duplicates
from trainkit.data._repeats._same_picture import to_thumbnail


def take(image_bgr: np.ndarray) -> Fingerprint:
    seen = compute_fingerprint(image_bgr, height=image_bgr.shape[0], width=image_bgr.shape[1])
    assert seen is not None
    return seen


def cut(image: np.ndarray, share: float) -> np.ndarray:
    rows, columns = (round(side * share / 2) for side in image.shape[:2])
    return np.ascontiguousarray(image[rows : image.shape[0] - rows, columns : image.shape[1] - columns])


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "quality 60": lambda image: encoded_again(image, 60),
    "quality 95": lambda image: encoded_again(image, 95),
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "half the size, linear": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5),
    "stretched": lambda image: cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA),
    "cut by 4 %": lambda image: cut(image, 0.04),
    "cut by 6 %": lambda image: cut(image, 0.06),
    "brighter": lambda image: np.clip(image.astype(int) + 30, 0, 255).astype(np.uint8),
    "more contrast": lambda image: np.clip(image * 1.2, 0, 255).astype(np.uint8),
    "darker": lambda image: (image * 0.7).astype(np.uint8),
    "grey": lambda image: cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_picture_looks_like_its_original_and_no_other(change: str) -> None:
    scenes = [draw_scene(seed) for seed in range(25)]
    prints = [take(scene) for scene in scenes] + [take(CHANGES[change](scene)) for scene in scenes]
    assert group_near_duplicates(prints) == [[index, index + 25] for index in range(25)]


def test_different_pictures_are_no_group() -> None:
    assert group_near_duplicates([take(draw_scene(seed)) for seed in range(150)]) == []


def test_nothing_and_one_are_no_group() -> None:
    assert group_near_duplicates([]) == [] == group_near_duplicates([take(draw_scene(0))])


def test_group_is_as_large_as_there_are_changes() -> None:
    scene = draw_scene(3)
    prints = [
        take(draw_scene(4)),
        take(scene),
        *(take(change(scene)) for change in CHANGES.values()),
        take(draw_scene(5)),
    ]
    assert group_near_duplicates(prints) == [list(range(1, len(CHANGES) + 2))]


def formula(image_bgr: np.ndarray) -> bytes:
    """Return a fingerprint by its definition, step by step and in numpy's own words."""
    ycrcb = cv2.cvtColor(cv2.resize(image_bgr, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2YCrCb)
    grey = ycrcb[..., 0].astype(np.float32)
    frequencies = cv2.dct(grey)[:8, :8].ravel()
    bits = "".join("01"[one] for one in (frequencies > np.median(frequencies[1:])).tolist())
    small = cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA)
    detail = small - cv2.GaussianBlur(small, (0, 0), 1.5)
    levels = np.clip(np.rint(detail.ravel() * (2 / detail.std())), -7, 7).astype(int).tolist()
    pairs = zip(levels[::2], levels[1::2], strict=True)
    color = cv2.resize(ycrcb[..., 1:], (4, 4), interpolation=cv2.INTER_AREA).astype(int) - 128
    return (
        int(bits, 2).to_bytes(8, "little")
        + bytes((one % 16) << 4 | other % 16 for one, other in pairs)
        + color.astype(np.int8).tobytes()
        + bytes([min(image_bgr.shape[:2]) < 64])
    )


@pytest.mark.parametrize("size", [(40, 90), (64, 64), (90, 120), (300, 401)])
def test_fingerprint_is_what_it_is_defined_to_be(size: tuple[int, int]) -> None:
    for seed in range(20):
        scene = draw_scene(seed, *size)
        noise = np.random.default_rng(seed).normal(0, seed, scene.shape)
        image = np.clip(scene + noise, 0, 255).astype(np.uint8)
        assert take(image) == formula(image)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_picture_looks_like_nothing(level: int) -> None:
    assert compute_fingerprint(np.full((50, 70, 3), level, np.uint8), height=50, width=70) is None


def test_plain_walls_do_not_look_alike() -> None:
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[-1:1:60j, -1:1:80j]
    walls = []
    for _ in range(100):
        glow = generator.uniform(100, 200) - generator.uniform(10, 50) * (rows**2 + columns**2) + 20 * rows
        noise = generator.normal(0, generator.uniform(0, 5), (60, 80, 3))
        walls.append(encoded_again(np.clip(glow[..., None] + noise, 0, 255).astype(np.uint8), 75))
    prints = [seen for wall in walls if (seen := compute_fingerprint(wall, height=60, width=80))]
    assert group_near_duplicates(prints) == []


def test_one_icon_in_two_colours_is_two_pictures() -> None:
    red, blue = (np.full((100, 100, 3), 255, np.uint8) for _ in range(2))
    cv2.circle(red, (50, 50), 30, (40, 40, 220), -1)
    cv2.circle(blue, (50, 50), 30, (220, 80, 40), -1)
    assert group_near_duplicates([take(red), take(blue)]) == []
    assert group_near_duplicates([take(red), take(encoded_again(red, 80)), take(blue)]) == [[0, 1]]


def test_tiny_pictures_of_one_outline_are_different() -> None:
    shirts = []
    for seed in range(60):
        shirt = np.zeros((28, 28, 3), np.uint8)
        shirt[3:25, 8:20] = shirt[5:11, 2:26] = 150
        texture = np.random.default_rng(seed).normal(0, 30, (28, 28, 1))
        shirts.append(np.where(shirt > 0, np.clip(shirt + texture, 1, 255), 0).astype(np.uint8))
    assert group_near_duplicates(list(map(take, shirts))) == []
    copies = [encoded_again(shirt, 90) for shirt in shirts]
    assert group_near_duplicates(list(map(take, shirts + copies))) == [[index, index + 60] for index in range(60)]


def draw_dandelion(seed: int, side: int = 300) -> np.ndarray:
    """Return a ball of seeds on a stalk before a blurred meadow: of one outline, no seed where another's is."""
    generator = np.random.default_rng(seed)
    meadow = cv2.GaussianBlur(generator.normal(0, 60, (side, side, 3)).astype(np.float32), (0, 0), 6)
    image = np.clip(np.array((30, 90, 40)) + meadow, 0, 255).astype(np.uint8)
    middle = side // 2
    cv2.line(image, (middle, middle), (middle, side), (60, 130, 90), 5, cv2.LINE_AA)
    for angle in generator.uniform(0, 2 * np.pi, 220):
        length, grey = 95 * generator.uniform(0.75, 1.05), (int(generator.integers(180, 255)),) * 3
        end = (int(middle + length * np.cos(angle)), int(middle + length * np.sin(angle)))
        cv2.line(image, (middle, middle), end, grey, 1, cv2.LINE_AA)
        cv2.circle(image, end, int(generator.integers(3, 8)), grey, 1, cv2.LINE_AA)
    return image


def group(images: list[np.ndarray]) -> list[list[int]]:
    """Return the groups as the search through files finds them: by the fingerprints, then by the pictures."""
    return group_near_duplicates([take(image) for image in images], lambda index: to_thumbnail(images[index]))


def draw_horizon(seed: int) -> np.ndarray:
    """Return a sky over a field, both of noise alone."""
    generator = np.random.default_rng(seed)
    rows = np.linspace(0, 1, 300)[:, None, None]
    sky, field = np.array((230, 200, 160)) * (1 - 0.3 * rows), np.array((120, 90, 40)) * (0.7 + 0.6 * rows)
    image = np.where(rows < 0.5, sky, field) + generator.normal(0, 6, (300, 400, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def draw_page(seed: int) -> np.ndarray:
    """Return twenty lines of letters at random: where a line is, each page has one."""
    generator = np.random.default_rng(seed)
    image = np.full((400, 300, 3), 250, np.uint8)
    for row in range(30, 390, 18):
        text = "".join(chr(97 + letter) for letter in generator.integers(0, 26, 26))
        cv2.putText(image, text, (20, row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
    return image


@pytest.mark.parametrize("draw", [draw_dandelion, draw_horizon, draw_page])
def test_pictures_of_one_texture_are_different(draw: Callable[[int], np.ndarray]) -> None:
    pictures = [draw(seed) for seed in range(40)]
    assert group(pictures) == []
    copies = [encoded_again(cut(picture, 0.04), 60) for picture in pictures if draw is draw_dandelion]
    assert group([*pictures, *copies]) == [[index, index + 40] for index in range(len(copies))]


def test_parts_of_one_picture_that_share_nothing_are_different() -> None:
    for seed in range(10):
        scene = draw_scene(seed, 400, 600)
        parts = [scene[rows : rows + 200, columns : columns + 200] for rows in (0, 200) for columns in (0, 200, 400)]
        assert group([np.ascontiguousarray(part) for part in parts]) == []


@pytest.mark.parametrize("change", CHANGES)
def test_closer_look_confirms_what_the_fingerprints_say(change: str) -> None:
    scenes = [draw_scene(seed) for seed in range(25)]
    assert group(scenes + [CHANGES[change](scene) for scene in scenes]) == [[index, index + 25] for index in range(25)]


def test_picture_that_has_gone_is_judged_by_its_fingerprint() -> None:
    scene = draw_scene(0)
    prints = [take(scene), take(encoded_again(scene, 60)), take(draw_scene(1))]
    assert group_near_duplicates(prints, lambda index: None) == [[0, 1]]


def test_fingerprint_is_small() -> None:
    assert {len(take(draw_scene(seed))) for seed in range(5)} == {329}


def save_changed(photo: Path, folder: Path) -> list[Path]:
    """Write what becomes of a photograph when it is passed around."""
    image = Image.open(photo).convert("RGB")
    width, height = image.size
    rows, columns = round(height * 0.02), round(width * 0.02)
    changed = {
        "60": (image, 60),
        "half": (image.resize((width // 2, height // 2)), 90),
        "cut": (image.crop((columns, rows, width - columns, height - rows)), 90),
        "bright": (image.point(lambda level: min(255, int(level * 1.2))), 90),
        "grey": (image.convert("L"), 90),
    }
    paths = []
    for name, (picture, quality) in changed.items():
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=quality)
        paths.append(folder / f"{photo.stem}-{name}.jpg")
        paths[-1].write_bytes(buffer.getvalue())
    return paths


@pytest.mark.shared
def test_real_photographs_are_found_again_and_not_mixed_up(shared: Path, tmp_path: Path) -> None:
    photos = sorted((shared / "data" / "cats-dogs").glob("*/*/*.jpg"))
    assert len(photos) == 800
    prints = [file.fingerprint for file in inspect_files(photos)]
    assert all(prints)
    # One dog was photographed once and is there twice.
    (twins,) = group_near_duplicates([seen for seen in prints if seen])
    assert [photos[index].name for index in twins] == ["dog.180.jpg", "dog.74.jpg"]

    chosen = photos[5::10]
    changed = [save_changed(photo, tmp_path) for photo in chosen]
    files = inspect_files([*photos, *(path for paths in changed for path in paths)])
    groups = group_near_duplicates([file.fingerprint for file in files if file.fingerprint])
    names = {frozenset(files[index].path.name for index in group) for group in groups}
    expected = {
        frozenset([photo.name, *(path.name for path in paths)]) for photo, paths in zip(chosen, changed, strict=True)
    }
    assert names == expected | {frozenset(["dog.180.jpg", "dog.74.jpg"])}


@pytest.mark.shared
def test_halves_of_real_photographs_are_different(shared: Path) -> None:
    halves = []
    for photo in sorted((shared / "data" / "cats-dogs").glob("*/*/*.jpg"))[::4]:
        image = cv2.imread(str(photo))
        middle = image.shape[1] // 2
        halves += [np.ascontiguousarray(half) for half in (image[:, :middle], image[:, middle:])]
    assert len(halves) == 400
    assert group(halves) == []


@pytest.mark.shared
@pytest.mark.timing
def test_eight_hundred_photographs_are_compared_within_two_seconds(shared: Path) -> None:
    prints = [file.fingerprint for file in inspect_files(sorted((shared / "data" / "cats-dogs").glob("*/*/*.jpg")))]
    start = time.perf_counter()
    assert len(group_near_duplicates([seen for seen in prints if seen])) == 1
    assert time.perf_counter() - start < 2
