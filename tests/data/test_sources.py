from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainkit.data import SOURCES, Dataset, Part, load_dataset
from trainkit.data._dataset import ArrayImages, FileImages, take_evenly
from trainkit.errors import DataError, UsageError


def numbered_part(count: int, first: int = 0) -> Part:
    """Return a part whose images say their number, because all their pixels have it, and ten of which are a class."""
    numbers = np.arange(first, first + count)
    pixels = np.broadcast_to(numbers.astype(np.uint8)[:, None, None], (count, 2, 3))
    return Part(ArrayImages(np.ascontiguousarray(pixels)), numbers // 10)


def numbers(part: Part) -> list[int]:
    return [int(part.images[index][0, 0, 0]) for index in range(len(part))]


def test_digits_have_their_sizes_and_types() -> None:
    digits = load_dataset("digits")
    assert digits.name == "digits" and digits.class_names == list("0123456789") and digits.warnings == []
    assert {side: len(part) for side, part in digits.parts.items()} == {"train": 1293, "val": 144, "test": 360}
    for part in digits.parts.values():
        assert len(part.images) == len(part) and part.labels.dtype == np.int64
        image = part.images[0]
        assert image.dtype == np.uint8 and image.shape == (8, 8, 3)
        assert (image == image[..., :1]).all(), "grey has three equal channels"
        assert part.path(0) is None
    everything = np.concatenate([part.images.pixels for part in digits.parts.values()])
    assert (everything.min(), everything.max(), len(np.unique(everything))) == (0, 255, 17)


@pytest.mark.parametrize("validation", [0.1, 0.5])
def test_digits_are_all_there_each_with_its_label(validation: float) -> None:
    from sklearn.datasets import load_digits

    original = load_digits()
    expected = Counter(
        (np.rint(image * 255 / 16).astype(np.uint8).tobytes(), int(label))
        for image, label in zip(original.images, original.target, strict=True)
    )
    found = Counter(
        (np.ascontiguousarray(part.images[index][..., 0]).tobytes(), int(part.labels[index]))
        for part in load_dataset("digits", validation=validation).parts.values()
        for index in range(len(part))
    )
    assert found == expected


def test_digits_are_split_with_every_class_in_its_share() -> None:
    digits = load_dataset("digits")
    total = sum(np.bincount(part.labels, minlength=10) for part in digits.parts.values())
    for side, share in {"train": 0.72, "val": 0.08, "test": 0.2}.items():
        of_class = np.bincount(digits.parts[side].labels, minlength=10)
        assert np.abs(of_class - share * total).max() <= 2, side


def test_digits_are_split_the_same_way_every_time() -> None:
    first, second = load_dataset("digits"), load_dataset("digits")
    for side in first.parts:
        np.testing.assert_array_equal(first.parts[side].labels, second.parts[side].labels)
        np.testing.assert_array_equal(first.parts[side].images.pixels, second.parts[side].images.pixels)


def test_test_part_of_digits_does_not_depend_on_validation() -> None:
    parts = [load_dataset("digits", validation=validation).parts for validation in (0, 0.1, 0.5)]
    assert "val" not in parts[0] and len(parts[0]["train"]) == 1437
    for other in parts[1:]:
        np.testing.assert_array_equal(parts[0]["test"].images.pixels, other["test"].images.pixels)


@pytest.mark.parametrize("validation", [0.001, 0.9999])
def test_validation_that_leaves_a_class_out_is_refused_with_a_sentence(validation: float) -> None:
    with pytest.raises((DataError, UsageError), match="validation"):
        load_dataset("digits", validation=validation)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fashon-mnist", " Did you mean `fashion-mnist`?"),
        ("fashion_mnist", " Did you mean `fashion-mnist`?"),
        ("digit", " Did you mean `digits`?"),
        ("my-photographs", ""),
    ],
)
def test_unknown_data_names_the_nearest_that_is_known(
    name: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = (
        f"No such folder: {name}.{hint} Expected digits, fashion-mnist, a folder of class folders, a .csv or an .npz "
        "file."
    )
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        load_dataset(name)


@pytest.mark.parametrize("name", ["none.csv", "NONE.TSV", "none.npz"])
def test_a_missing_file_is_called_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^No such file: .*{name}\\. Expected digits"):
        load_dataset(str(tmp_path / name))


def test_data_with_a_name_longer_than_any_is_a_sentence() -> None:
    with pytest.raises(DataError, match=r"No such folder: x{300}"):
        load_dataset("x" * 300)


def test_fashion_mnist_that_cannot_be_loaded_says_where_its_files_belong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainkit.backend import keras

    def no_network() -> None:
        raise Exception("URL fetch failure: no route to host")  # as Keras' get_file does

    # Keras settles on its cache when it is imported, so an empty one cannot be given to it here.
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", no_network)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(
        DataError, match=r"could not be loaded \(URL fetch failure.*t10k-labels-idx1-ubyte\.gz into "
    ) as error:
        load_dataset("fashion-mnist")
    assert f"into {tmp_path}/datasets/fashion-mnist, or go online once." in str(error.value)


def test_folder_becomes_a_dataset_of_files(tiny_dataset: Path) -> None:
    photos = load_dataset(str(tiny_dataset))
    assert photos.name == "photos" and photos.class_names == ["blue", "green", "red"]
    assert list(photos.parts) == ["train", "val", "test"] and sum(map(len, photos.parts.values())) == 42
    for part in photos.parts.values():
        assert part.labels.dtype == np.int64 and len(part.images) == len(part)
        for index in range(len(part)):
            path = part.path(index)
            assert path is not None and path.parent.name == photos.class_names[part.labels[index]]
            image = part.images[index]
            assert image.dtype == np.uint8 and image.ndim == 3
            # The classes are colours: blue is channel 0, green 1, red 2.
            assert image.mean(axis=(0, 1)).argmax() == part.labels[index]


def test_name_of_a_folder_is_its_own_whatever_the_path(tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_dataset)
    assert load_dataset(".").name == "photos"
    monkeypatch.chdir(tiny_dataset.parent)
    assert load_dataset("photos/").name == load_dataset("./photos").name == "photos"


def test_warnings_of_a_folder_reach_the_dataset(tiny_dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    folder.mkdir()
    for name in ("blue", "red"):
        (folder / name).mkdir()
        for path in (tiny_dataset / name).iterdir():
            (folder / name / path.name).symlink_to(path)
    (folder / "red" / "broken.jpg").write_text("hello")
    assert any(
        warning.startswith("Left out 1 of 15 files in ") and warning.endswith("red: broken.jpg is no image")
        for warning in load_dataset(str(folder)).warnings
    )


def test_file_is_no_folder_of_images(tiny_dataset: Path) -> None:
    photo = next(iter((tiny_dataset / "red").iterdir()))
    with pytest.raises(DataError, match=re.escape(f"{photo} is a file. Expected a folder with one")):
        load_dataset(str(photo))


@given(st.integers(0, 250), st.integers(0, 300))
@settings(deadline=None)
def test_taken_images_are_as_many_as_asked_for_and_spread_evenly(size: int, count: int) -> None:
    taken = take_evenly([numbered_part(size)], count)
    chosen = numbers(taken)
    assert len(taken) == len(taken.images) == len(chosen) == min(count, size)
    assert chosen == sorted(set(chosen)), "each at most once, in order"
    assert taken.labels.dtype == np.int64 and taken.labels.tolist() == [number // 10 for number in chosen]
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (0, size - 1)
        assert np.ptp(np.diff(chosen)) <= 1


@pytest.mark.parametrize("count", [3, 6, 15, 30])
def test_taken_images_are_as_many_of_each_class(count: int) -> None:
    labels = take_evenly([numbered_part(30)], count).labels
    assert Counter(labels.tolist()) == {0: count // 3, 1: count // 3, 2: count // 3}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (2, [0, 4]),
        (5, [0, 1, 2, 3, 4]),
        (7, [0, 1, 2, 3, 4, 100, 109]),
        (15, [0, 1, 2, 3, 4, *range(100, 110)]),
        (16, [0, 1, 2, 3, 4, *range(100, 110), 200]),
        (99, [0, 1, 2, 3, 4, *range(100, 110), *range(200, 203)]),
    ],
)
def test_taken_images_are_of_the_first_part_as_long_as_it_has_any(count: int, expected: list[int]) -> None:
    parts = [numbered_part(5), numbered_part(10, first=100), numbered_part(0), numbered_part(3, first=200)]
    taken = take_evenly(parts, count)
    assert numbers(taken) == expected
    assert taken.labels.tolist() == [number // 10 for number in expected]


def test_sample_of_a_dataset_begins_with_what_was_not_trained_on() -> None:
    parts = {"train": numbered_part(9), "val": numbered_part(3, first=100), "test": numbered_part(2, first=200)}
    dataset = Dataset(name="x", class_names=["a"], parts=parts)
    assert numbers(dataset.sample(2)) == [200, 201]
    assert numbers(dataset.sample(4)) == [200, 201, 100, 102]
    assert numbers(dataset.sample(7)) == [200, 201, 100, 101, 102, 0, 8]
    without_test = Dataset(name="x", class_names=["a"], parts={"train": parts["train"]})
    assert numbers(without_test.sample(3)) == [0, 4, 8]


def test_taken_images_of_files_keep_their_paths(tiny_dataset: Path) -> None:
    parts = load_dataset(str(tiny_dataset)).parts
    taken = take_evenly([parts["test"], parts["train"]], len(parts["test"]) + 4)
    originals = {part.path(index): part for part in parts.values() for index in range(len(part))}
    for index in range(len(taken)):
        path = taken.path(index)
        original = originals[path]
        assert isinstance(original.images, FileImages)
        position = original.images.paths.index(path)
        assert taken.labels[index] == original.labels[position]
        np.testing.assert_array_equal(taken.images[index], original.images[position])
    assert take_evenly([numbered_part(3)], 2).path(0) is None


def test_taken_images_can_be_taken_from_again(tiny_dataset: Path) -> None:
    assert numbers(take_evenly([take_evenly([numbered_part(100)], 10)], 2)) == [0, 99]
    train = load_dataset(str(tiny_dataset)).parts["train"]
    again = take_evenly([take_evenly([train], 8)], 2)
    assert [again.path(0), again.path(1)] == [train.path(0), train.path(len(train) - 1)]


@pytest.mark.parametrize(
    ("sides", "expected"),
    [(["train"], None), (["train", "val"], "val"), (["train", "test"], "test"), (["train", "val", "test"], "test")],
)
def test_test_figures_come_from_test_then_val(sides: list[str], expected: str | None) -> None:
    dataset = Dataset(name="x", class_names=["a"], parts={side: numbered_part(1) for side in sides})
    assert dataset.test_split == expected


def test_sources_are_known_by_names_that_a_command_line_can_take() -> None:
    for name, source in SOURCES.items():
        assert re.fullmatch(r"[a-z-]+", name)
        assert min(source.size) > 0 and source.color in ("rgb", "bgr", "gray")


@pytest.mark.shared
def test_real_data_has_its_sizes(shared: Path) -> None:
    fashion = load_dataset("fashion-mnist")
    assert {side: len(part) for side, part in fashion.parts.items()} == {"train": 54000, "val": 6000, "test": 10000}
    assert {side: set(np.bincount(part.labels)) for side, part in fashion.parts.items()} == {
        "train": {5400},
        "val": {600},
        "test": {1000},
    }
    assert fashion.parts["test"].images[0].shape == (28, 28, 3) and fashion.class_names[9] == "Ankle boot"
    assert fashion.parts["test"].labels[:3].tolist() == [9, 2, 1], "the first ones: boot, pullover, trousers"

    animals = load_dataset(str(shared / "data" / "cats-dogs"))
    assert animals.class_names == ["cats", "dogs"] and animals.warnings == []
    assert len(animals.parts["train"]) + len(animals.parts["val"]) == 600 and len(animals.parts["test"]) == 200
    assert np.bincount(animals.parts["test"].labels).tolist() == [100, 100]
