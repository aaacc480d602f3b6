"""Photographs that no camera took: of one colour by class, or full of shapes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

COLORS_BGR = {"blue": (200, 60, 30), "green": (40, 190, 60), "red": (30, 50, 210)}


def draw_photo(seed: int, color_bgr: tuple[int, int, int], height: int = 60, width: int = 80) -> np.ndarray:
    """Return a picture that is not square, noisy, and mostly of one colour."""
    generator = np.random.default_rng(seed)
    image = np.clip(np.array(color_bgr) + generator.normal(0, 25, (height, width, 3)), 0, 255).astype(np.uint8)
    cv2.rectangle(image, (5, 8), (width // 2, height // 3), (int(generator.integers(255)), 128, 10), -1)
    return image


def write_class_folders(folder: Path, *, count: int, colors: tuple[str, ...] = ("blue", "green", "red")) -> Path:
    """Write `count` photographs for each class, of different sizes, no two alike."""
    for index, name in enumerate(colors):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = draw_photo(1000 * index + number, COLORS_BGR[name], 50 + number % 7, 70 + number % 11)
            cv2.imwrite(str(folder / name / f"{name}-{number:03}.png"), image)
    return folder


def draw_scene(seed: int, height: int = 300, width: int = 400) -> np.ndarray:
    """Return a picture with large and small shapes in many colours, as different from others as photographs are."""
    generator = np.random.default_rng(seed)
    image = np.full((height, width, 3), generator.integers(60, 200, 3), np.uint8)
    for size in (120, 80, 60, 40, 30, 20, 20, 15, 15, 10):
        for _ in range(4):
            center = (int(generator.integers(width)), int(generator.integers(height)))
            axes = (int(generator.integers(5, size)), int(generator.integers(5, size)))
            color = generator.integers(0, 256, 3).tolist()
            cv2.ellipse(image, center, axes, float(generator.integers(180)), 0, 360, color, -1, cv2.LINE_AA)
    return image


def encoded_again(image: np.ndarray, quality: int) -> np.ndarray:
    return np.asarray(
        cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    )


def add_scenes(folder: Path, names: list[str], count: int, start: int = 0) -> Path:
    """Write `count` different pictures into each of the folders."""
    for index, name in enumerate(names):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            seed = start + 1000 * index + number
            cv2.imwrite(str(folder / name / f"{number:02}.png"), draw_scene(seed, 90, 120))
    return folder


def add_leaks(photos: Path) -> None:
    """Encode some pictures again, of which some end up on another side than the original."""
    for path in sorted((photos / "cats").iterdir())[::2]:
        image = cv2.imread(str(path))
        path.with_suffix(".jpg").write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


def write_mixed_folder(folder: Path, count: int) -> tuple[list[Path], list[Path]]:
    """Write photographs, more than wait to be answered, among them files that are none; return both, by name."""
    folder.mkdir()
    files = [folder / f"{number:03}.png" for number in range(count)]
    broken = files[3::7]
    for number, path in enumerate(files):
        if path in broken:
            path.write_text("no image")
        else:
            photograph = draw_photo(number, list(COLORS_BGR.values())[number % 3], 40 + number % 5, 60)
            assert cv2.imwrite(str(path), photograph)
    return [path for path in files if path not in broken], broken
