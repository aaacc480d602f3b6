"""What several tests need: a picture, a small folder of photographs, a trained run, the shared real data."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawings import nothing_drawn
from hypothesis import HealthCheck, settings
from photographs import COLORS_BGR, draw_photo, write_class_folders

# No clock decides: neither how long one example takes, nor how long it takes to draw them.
settings.register_profile("trainkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("trainkit")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while modules and tests come, which all stay, nor among them later: a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


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


@pytest.fixture(scope="session", autouse=True)
def no_progress() -> None:
    """Keep out of standard error what a step says there only where the machine is slow; its own tests turn it on."""
    os.environ["TRAINKIT_PROGRESS"] = "0"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data."""
    folder = Path(os.environ["TRAINKIT_SHARED"]).resolve()
    assert (folder / "data").is_dir(), f"TRAINKIT_SHARED={folder} has no data/ in it"
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


@pytest.fixture
def undrawn() -> Iterator[None]:
    """Let the trainings of a test draw nothing, but not those of fixtures that several tests share."""
    with nothing_drawn():
        yield


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
