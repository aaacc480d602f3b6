"""The Node.js client: the same answers, pixels and words as the Python client."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import COLORS_BGR, draw_photo, save_run, spread_weights
from pictures import png, write_pictures
from strange_models import (
    COLOR_DETECTOR,
    color_detector,
    colored_cells,
    fixed_output,
    mean_color,
    write_caffe_model,
    write_color_detector,
    write_manifest,
)
from test_deploy_by_hand import BY_HAND

import trainkit
from trainkit.deploy import Classifier, Detector
from trainkit.errors import BundleError

ROOT = Path(__file__).parent.parent
CLIENT = ROOT / "trainkit" / "deploy" / "node"
ANSWER = Path(__file__).parent / "answer_with_node.mjs"
PINNED = json.loads((CLIENT / "package.json").read_text())["dependencies"]
OPENCV = {"4.12.0": "4.12.0-release.1", "5.0.0": "5.0.0-release.1"}
both = pytest.mark.parametrize("version", OPENCV)


def installed(version: str) -> Path:
    """Return a `node_modules` with this OpenCV, installed once a checkout; skip where that cannot be."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs node and npm on PATH")
    release = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if [int(part) for part in release.lstrip("v").split(".")[:2]] < [20, 9]:
        pytest.skip(f"needs Node.js 20.9 or later. Received: {release}")
    packages = {**PINNED, "@techstark/opencv-js": OPENCV[version]}
    key = hashlib.sha256(json.dumps([packages, release]).encode()).hexdigest()[:8]
    folder = ROOT / ".clients" / f"node-{version}-{key}"
    if not (folder / "node_modules").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": packages}))
        command = [npm, "install", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            shutil.rmtree(folder)
            pytest.skip(f"npm cannot install the packages of the client: {done.stderr[-200:]}")
    return folder / "node_modules"


def with_client(bundle: Path, version: str) -> Path:
    """Put the client and its packages into a bundle, and return the folder of the client."""
    modules = installed(version)
    shutil.copytree(CLIENT, bundle / "node")
    (bundle / "node" / "node_modules").symlink_to(modules)
    return bundle / "node"


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The client by itself, with each OpenCV, as it is asked for."""

    class Clients(dict[str, Path]):
        def __missing__(self, version: str) -> Path:
            self[version] = with_client(tmp_path_factory.mktemp("client"), version)
            return self[version]

    return Clients()


def answer(client: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let the client answer several jobs in one process; see answer_with_node.mjs."""
    command = ["node", str(ANSWER), str(client)]
    done = subprocess.run(
        command, input=json.dumps(jobs, default=str), capture_output=True, encoding="utf-8", timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def run(client: Path, *arguments: str | Path, cwd: Path | None = None, **environment: str) -> Any:
    """Run the client's own command line in its folder, or in another."""
    command = [str(shutil.which("node")), str(client / "classify.mjs"), *map(str, arguments)]
    env = {**os.environ, **environment}
    return subprocess.run(
        command, cwd=cwd or client, env=env, capture_output=True, encoding="utf-8", timeout=120, check=False
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, street_image: np.ndarray) -> list[Path]:
    """Photographs as PNG and as JPEG, none of them square."""
    folder = tmp_path_factory.mktemp("photos")
    images = [draw_photo(i, color, 49 + 9 * i, 82 - 8 * i) for i, color in enumerate(COLORS_BGR.values())]
    for number, image in enumerate([*images, street_image]):
        cv2.imwrite(str(folder / f"{number}.png"), image)
        cv2.imwrite(str(folder / f"{number}.jpg"), image)
    return sorted(folder.iterdir())


def python_answers(bundle: Path, images: list[Path]) -> np.ndarray:
    classifier = Classifier(bundle)
    return np.array([classifier.probabilities(cv2.imread(str(path))) for path in images])


def assert_same_answers(client: Path, bundle: Path, images: list[Path]) -> None:
    (result,) = answer(client, [{"bundle": bundle, "images": images, "probabilities": True}])
    assert "error" not in result, result
    expected = python_answers(bundle, images)
    assert np.ptp(expected) > 0.1  # else equal answers would say little
    np.testing.assert_allclose(result["answers"], expected, atol=1e-5, rtol=0)


@both
def test_selftest_and_answers_agree(
    version: str, tiny_bundle: Path, tmp_path: Path, photos: list[Path], clients: dict[str, Path]
) -> None:
    client = with_client(shutil.copytree(tiny_bundle, tmp_path / "bundle"), version)
    done = subprocess.run(["npm", "run", "--silent", "selftest"], cwd=client, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"OpenCV {version}: the same answers as Keras. 8 of 8 labels, 8 of 8 inputs equal, ")
    assert done.stdout.endswith("Model file: sha256 checked.\n")
    assert_same_answers(client, tiny_bundle, photos)


# Pixels


def assert_same_pixels(client: Path, paths: list[Path]) -> None:
    results = answer(client, [{"decode": path} for path in paths])
    different = []
    for path, result in zip(paths, results, strict=True):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        assert image is not None, path
        height, width = image.shape[:2]
        if result != {"sha256": hashlib.sha256(image.tobytes()).hexdigest(), "width": width, "height": height}:
            different.append((path.name, result))
    assert different == []


def test_pixels_are_those_of_imread(tmp_path: Path, street_image: np.ndarray, clients: dict[str, Path]) -> None:
    written = write_pictures(tmp_path, street_image[:61, :83])
    assert len(written) > 70
    assert_same_pixels(clients["4.12.0"], list(written.values()))


@pytest.mark.shared
@pytest.mark.slow
def test_pixels_of_photographs_are_those_of_imread(shared: Path, clients: dict[str, Path]) -> None:
    photographs = [path for path in (shared / "data").rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    assert len(photographs) > 100
    assert_same_pixels(clients["4.12.0"], photographs)


def test_what_cannot_be_read_alike_is_refused(
    tmp_path: Path, street_image: np.ndarray, clients: dict[str, Path]
) -> None:
    written = write_pictures(tmp_path, street_image[:61, :83])
    whole = written["rgb.png"].read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0x55
    files = {
        "empty.jpg": b"",
        "text.jpg": b"no image",
        "cut.png": whole[:-200],
        "damaged.png": bytes(damaged),
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
        "header.jpg": written["420.jpg"].read_bytes()[:100],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for name in ("16-bit.tif", "alpha.tif", "bitmap.bmp"):
        depth = street_image.astype(np.uint16) * 201 if name == "16-bit.tif" else street_image
        cv2.imwrite(str(tmp_path / name), np.dstack([depth, depth[..., :1]]) if name == "alpha.tif" else depth)
    paths = [tmp_path / name for name in (*files, "16-bit.tif", "alpha.tif", "bitmap.bmp")]
    results = answer(clients["4.12.0"], [{"decode": path} for path in paths])
    assert [result.get("error") for result in results] == [
        f"OpenCV cannot read {path} as an image. Convert it to JPEG or PNG." for path in paths
    ]
    results = answer(clients["4.12.0"], [{"decode": tmp_path / "none.png"}, {"decode": tmp_path}])
    assert [result["error"] for result in results] == [
        f"No such image: {tmp_path / 'none.png'}",
        f"No such image: {tmp_path}",
    ]


def test_bomb_is_refused_before_it_is_decoded(tmp_path: Path, clients: dict[str, Path]) -> None:
    bomb = tmp_path / "bomb.png"  # 144 kB
    rows = [bytes(40000 // 8)] * 30000
    bomb.write_bytes(png(40000, 30000, bits=1, color=0, rows=rows))
    (result,) = answer(clients["4.12.0"], [{"decode": bomb}])
    assert result["error"] == f"{bomb} has 40000x30000 pixels, more than 268435456. Cut or scale it."
