"""What several tests need: a picture, a small folder of photographs, a trained run, the shared real data."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

COLORS_BGR = {"blue": (200, 60, 30), "green": (40, 190, 60), "red": (30, 50, 210)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs real data where there is none. Where TRAINKIT_SHARED is set, nothing is skipped."""
    if not os.environ.get("TRAINKIT_SHARED"):
        for item in items:
            if item.get_closest_marker("shared"):
                item.add_marker(pytest.mark.skip(reason="needs the real data: set TRAINKIT_SHARED and KERAS_HOME"))


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for decoded pixels, so that the tests leave nothing in the user's own."""
    os.environ["TRAINKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    return Path(os.environ["TRAINKIT_CACHE"])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data."""
    folder = Path(os.environ["TRAINKIT_SHARED"]).resolve()
    assert (folder / "data").is_dir(), f"TRAINKIT_SHARED={folder} has no data/ in it"
    return folder


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


@pytest.fixture(scope="session")
def street_image() -> np.ndarray:
    """uint8 (120, 200, 3): not square, three different channels, so that a swapped axis or colour fails."""
    rows, columns = np.mgrid[0:120, 0:200]
    image = np.stack([rows * 2, columns, 255 - (rows + columns) * 0.7], axis=-1)
    return np.clip(image + np.random.default_rng(0).normal(0, 12, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three classes with 14 photographs each."""
    return write_class_folders(tmp_path_factory.mktemp("tiny") / "photos", count=14)


@pytest.fixture(scope="session")
def trained_run(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """A finished run of small-cnn on the tiny dataset: rgb, 32x24, a std for each channel."""
    import trainkit

    return trainkit.train(
        tiny_dataset,
        size=(32, 24),
        preprocessing="standardize",
        epochs=3,
        experiments=tmp_path_factory.mktemp("work") / "experiments",
    )


def save_run(folder: Path, model, preprocessing, dataset: Path, class_names: list[str], **settings: object):  # type: ignore[no-untyped-def]
    """Write a finished run around a Keras model that was never trained."""
    from trainkit.config import build_config
    from trainkit.files import sha256_of
    from trainkit.runs import create_run

    config = build_config({"data": str(dataset), **settings})
    run = create_run(folder, config=config, preprocessing=preprocessing, class_names=class_names, environment={})
    model.save(run.model_path)
    run.set_result(status="finished", keras_sha256=sha256_of(run.model_path))
    return run


def spread_weights(model, seed: int = 0) -> None:  # type: ignore[no-untyped-def]
    """Give a random network biases, and logits that neither saturate nor flatten the softmax."""
    generator = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta")):
            weight.assign(generator.normal(0, 0.1, weight.shape))
    last = model.layers[-1]
    inputs = generator.normal(0, 1, (16, *model.input_shape[1:])).astype(np.float32)
    from trainkit.backend import keras

    spread = float(np.std(keras.Model(model.input, last.input).predict(inputs, verbose=0) @ last.kernel.numpy()))
    last.kernel.assign(last.kernel.numpy() * (2 / max(spread, 1e-6)))


@pytest.fixture(scope="session")
def tiny_bundle(trained_run, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    """The folder of the trained run's ONNX bundle; copy it before you damage it."""
    import trainkit

    exported = tmp_path_factory.mktemp("bundles") / "exported"
    return trainkit.export(trained_run, experiments=trained_run.path.parent, exported=exported).path


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven frames, of three colours one after the other."""
    path = tmp_path_factory.mktemp("film") / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (80, 60))
    for number in range(7):
        writer.write(draw_photo(number, list(COLORS_BGR.values())[number % 3]))
    writer.release()
    return path
