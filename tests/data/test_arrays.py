from __future__ import annotations

import io
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trainkit.backend import tf
from trainkit.data import Dataset, check_data, load_dataset
from trainkit.data._arrays import _npz
from trainkit.data._arrays._labelled import load_arrays, load_npz, save_arrays
from trainkit.data._pipeline import read_pixels
from trainkit.data._repeats._fingerprints import compute_fingerprint
from trainkit.errors import DataError
from trainkit.preprocessing import build_preprocessing
from trainkit.reports._data_check import write_data_check

COUNT = 90
GRAY = np.random.default_rng(0).integers(0, 256, (COUNT, 6, 8), np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (COUNT, 6, 8, 3), np.uint8)
LABELS = np.arange(COUNT) % 3
ONE_HOT = np.eye(3)[LABELS]
SEVERAL = np.stack([LABELS == 0, LABELS == 1, np.arange(COUNT) % 2 == 0, LABELS == 2], axis=1)


def in_color(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=-1)


def images_of(dataset: Dataset) -> dict[bytes, Any]:
    """Return the label of each image by its bytes, B, G, R."""
    found = {}
    for part in dataset.parts.values():
        assert len(part) == len(part.images)
        for index in range(len(part)):
            found[part.images[index].tobytes()] = part.labels[index].tolist()
    return found


@pytest.mark.parametrize(
    "x", [GRAY, GRAY[..., None], GRAY.astype(np.float32), GRAY.astype(np.int64), tf.constant(GRAY), GRAY.tolist()]
)
@pytest.mark.parametrize("y", [LABELS, LABELS[:, None], LABELS.astype(np.float64), ONE_HOT, ONE_HOT.astype(bool)])
def test_gray_arrays_become_a_data_set_in_any_form(x: Any, y: Any) -> None:
    dataset = load_arrays((x, y))
    assert dataset.class_names == ["0", "1", "2"] and not dataset.multi_label and dataset.name == "arrays"
    assert list(dataset.parts) == ["train", "test", "val"]
    expected = {in_color(image).tobytes(): label for image, label in zip(GRAY, LABELS, strict=True)}
    assert images_of(dataset) == expected
    assert all(part.labels.dtype == np.int64 for part in dataset.parts.values())


def test_colours_are_red_green_blue_as_keras_has_them() -> None:
    dataset = load_arrays((RGB, LABELS))
    expected = {image[..., ::-1].tobytes(): label for image, label in zip(RGB, LABELS, strict=True)}
    assert images_of(dataset) == expected
    part = dataset.parts["train"]
    pixels = read_pixels(part, build_preprocessing("unit", height=6, width=8))
    assert all(np.array_equal(pixels[index], part.images[index]) for index in range(len(part)))


def test_rows_that_are_not_one_hot_are_several_labels() -> None:
    dataset = load_arrays((GRAY, SEVERAL))
    assert dataset.multi_label and dataset.class_names == ["0", "1", "2", "3"]
    for part in dataset.parts.values():
        assert part.labels.dtype == np.float32 and (part.labels.sum(axis=0) > 0).all()
    expected = {
        np.repeat(image[..., None], 3, axis=-1).tobytes(): row.tolist()
        for image, row in zip(GRAY, SEVERAL, strict=True)
    }
    assert images_of(dataset) == expected


def test_arrays_are_neither_copied_nor_changed() -> None:
    before = RGB.copy()
    dataset = load_arrays((RGB, LABELS))
    assert all(np.shares_memory(part.images.pixels, RGB) for part in dataset.parts.values())  # type: ignore[attr-defined]
    read_pixels(dataset.parts["train"], build_preprocessing("unit", height=6, width=8))
    np.testing.assert_array_equal(RGB, before)


def test_sides_follow_from_the_pixels_and_stay_when_images_are_added() -> None:
    x = np.random.default_rng(2).integers(0, 256, (900, 3, 3), np.uint8)
    y = np.arange(900) % 3

    def sides(dataset: Dataset) -> dict[bytes, str]:
        return {
            part.images[index].tobytes(): side for side, part in dataset.parts.items() for index in range(len(part))
        }

    few, every = sides(load_arrays((x[:600], y[:600]))), sides(load_arrays((x, y)))
    assert few == sides(load_arrays((x[:600][::-1], y[:600][::-1])))
    assert len(few) == 600 and {image: every[image] for image in few} == few
    assert set(every.values()) == {"train", "val", "test"}


def test_test_arrays_are_the_test_part_as_they_stand() -> None:
    dataset = load_arrays(((GRAY[:60], LABELS[:60]), (RGB[60:], ONE_HOT[60:])), validation=0.2)
    assert dataset.parts.keys() == {"train", "val", "test"}
    assert len(dataset.parts["train"]) + len(dataset.parts["val"]) == 60
    np.testing.assert_array_equal(dataset.parts["test"].labels, LABELS[60:])
    assert load_arrays(((GRAY, LABELS), (RGB, LABELS)), validation=0).parts.keys() == {"train", "test"}


@pytest.mark.parametrize("given", [(RGB, LABELS), ((GRAY, LABELS), (RGB, LABELS)), (GRAY.astype(float), SEVERAL)])
def test_saved_arrays_are_the_same_data_set(given: Any, tmp_path: Path) -> None:
    save_arrays(given, tmp_path / "data.npz")
    one, other = load_arrays(given), load_dataset(str(tmp_path / "data.npz"))
    assert (one.class_names, one.multi_label, list(one.parts)) == (
        other.class_names,
        other.multi_label,
        list(other.parts),
    )
    for side, part in one.parts.items():
        np.testing.assert_array_equal(part.labels, other.parts[side].labels)
        assert all(np.array_equal(part.images[i], other.parts[side].images[i]) for i in range(len(part)))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_has_sides_and_names(save: Callable[..., None], tmp_path: Path) -> None:
    names = np.array(["Katze", "Hund", "Eule"])
    save(
        tmp_path / "a.npz",
        x=RGB,
        y=LABELS,
        x_val=GRAY,
        y_val=LABELS,
        x_test=RGB,
        y_test=ONE_HOT,
        class_names=names,
        z=1,
    )
    dataset = load_npz(tmp_path / "a.npz")
    assert dataset.class_names == list(names) and dataset.name == "a"
    assert {side: len(part) for side, part in dataset.parts.items()} == {"train": COUNT, "val": COUNT, "test": COUNT}
    pixels = dataset.parts["train"].images.pixels  # type: ignore[attr-defined]
    assert isinstance(pixels.base, np.memmap) == (save is np.savez)
    np.testing.assert_array_equal(pixels, RGB)


def changed(array: np.ndarray, index: Any, value: float) -> np.ndarray:
    copy = array.copy()
    copy[index] = value
    return copy


ERRORS: dict[str, tuple[Any, str]] = {
    "four": (((GRAY, LABELS),) * 4, r"Expected arrays as \(x, y\), or as"),
    "three": ((GRAY, LABELS, LABELS), r"Expected arrays as \(x, y\), or as"),
    "one": ((GRAY,), r"Expected arrays as \(x, y\)"),
    "ragged": (([[[1, 2]], [[1]]], [0, 1]), "`x` is no array"),
    "objects": ((np.array([None] * 3), [0, 1, 2]), "`x` must be numbers. Received: object"),
    "texts": ((GRAY, ["a"] * COUNT), "`y` must be numbers. Received: <U1"),
    "flat": ((GRAY.reshape(COUNT, -1), LABELS), r"`x` must be images: .* Received: \(90, 48\)\.$"),
    "channels first": ((RGB.transpose(0, 3, 1, 2), LABELS), r"\(90, 3, 6, 8\)\. Move the channels to the end"),
    "alpha": ((np.zeros((9, 2, 2, 4)), np.zeros(9)), r"`x` must be images"),
    "no image": ((GRAY[:0], LABELS[:0]), "`x` has no images. Expected some"),
    "no pixel": ((GRAY[:, :0], LABELS), "images of 1 to 16384 pixels a side"),
    "scaled": ((GRAY / 255, LABELS), r"`x` must be whole levels, .* Received: 0 to 1, fractions\. Give the pixels"),
    "below": ((GRAY.astype(int) - 1, LABELS), "`x` must be grey levels, 0 to 255. Received: -1 to 254"),
    "above": ((GRAY.astype(float) + 1, LABELS), "`x` must be grey levels, 0 to 255. Received: 1.0 to 256.0"),
    "nan": ((changed(GRAY.astype(float), 3, np.nan), LABELS), "`x` must be grey levels, .* Received: nan to nan"),
    "fewer labels": ((GRAY, LABELS[1:]), "`x` has 90 images and `y` 89"),
    "no labels": ((GRAY, []), r"`y` must be classes: .* Received: \(0,\)"),
    "three axes": ((GRAY, GRAY), r"`y` must be classes: .* Received: \(90, 6, 8\)"),
    "negative": ((GRAY, LABELS - 1), "`y` must be numbers of classes, from 0. Received: -1 to 1"),
    "fraction": ((GRAY, LABELS / 2), "`y` must be numbers of classes, from 0. Received: 0.0 to 1.0"),
    "nan label": ((GRAY, changed(LABELS.astype(float), 0, np.nan)), "`y` must be numbers of classes"),
    "shares": ((GRAY, ONE_HOT * 0.9), r"`y` of \(90, 3\) must be 0 and 1"),
    "one class": ((GRAY, LABELS * 0), "Only one class"),
    "gap": ((GRAY, LABELS * 2), "`y` has 3 of 5 classes. Expected an image of class 1"),
    "far class": ((GRAY, LABELS * 10**9), "3 different numbers, up to 2000000000, and 90 images: .*unique"),
    "empty column": ((GRAY, np.pad(SEVERAL, ((0, 0), (0, 1)))), "`y` has 4 of 5 classes. Expected an image of class 4"),
    "forms": (((GRAY, SEVERAL), (GRAY, LABELS)), r"one form on all sides\. Received: `y` \(90, 4\), `y_test` \(90,\)"),
    "columns": (((GRAY, ONE_HOT), (GRAY, SEVERAL)), "one form on all sides"),
    "new class": (((GRAY, LABELS), (GRAY, LABELS + 1)), "`y_test` has 4 classes. Expected 3"),
    "small class": ((GRAY, changed(LABELS, 0, 3)), "Class `3` has 1 different images"),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_arrays_that_are_wrong_are_one_sentence(name: str) -> None:
    given, expected = ERRORS[name]
    with pytest.raises(DataError, match=expected):
        load_arrays(given)


class Hostile:
    def __reduce__(self) -> Any:
        raise AssertionError("was unpickled")


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


USABLE = {"x.npy": npy(GRAY), "y.npy": npy(LABELS)}
FILES: dict[str, tuple[dict[str, bytes], str]] = {
    "no arrays": ({"z.npy": npy(GRAY)}, "Expected arrays `x` and `y`, .*`train_images` and .* Received: z"),
    "no y": ({"x.npy": npy(GRAY)}, "There is `x`, but no `y`. Expected both"),
    "only test": ({"x_test.npy": npy(GRAY), "y_test.npy": npy(LABELS)}, "Expected arrays `x` and `y`, .* Received: x_"),
    "pickle": ({"x.npy": npy(np.array([{1: 2}] * 3))}, r"x\.npy is no plain array: it holds Python objects.*stack"),
    "names as objects": ({**USABLE, "class_names.npy": npy(np.array(["a", "b"], object))}, r"names\.astype\(str\)"),
    "no npy": ({"x.npy": b"hello"}, r"is no \.npz file, or damaged"),
    "promises": ({"x.npy": header((10**6, 10**6)) + b"123"}, r"x\.npy is no plain array, or was cut off"),
    "negative": ({"x.npy": header((-1, -3)) + b"123"}, "no plain array|damaged"),
    "names": ({**USABLE, "class_names.npy": npy(np.arange(3))}, "`class_names` must be a list of texts"),
    "same names": ({**USABLE, "class_names.npy": npy(np.array(["a", "a", "b"]))}, "must be different texts"),
    "few names": ({**USABLE, "class_names.npy": npy(np.array(["a", "b"]))}, "`y` has 3 classes. Expected 2, as many"),
    "one name": ({**USABLE, "class_names.npy": npy(np.array(["a"]))}, "`y` has 3 classes. Expected 1, as many as"),
    "many names": ({**USABLE, "class_names.npy": npy(np.array([*"abcd"]))}, "`y` has 3 classes, and .* 4 names.*out"),
    "names and gaps": (
        {"x.npy": npy(GRAY), "y.npy": npy(LABELS * 5), "class_names.npy": npy(np.array([*"abc"]))},
        "`y` has 11 classes. Expected 3, .* gaps: Number them anew",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_npz_that_is_wrong_is_one_sentence(name: str, tmp_path: Path) -> None:
    members, expected = FILES[name]
    with pytest.raises(DataError, match=expected):
        load_npz(write_zip(tmp_path / "data.npz", members))


def test_bomb_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_zip(tmp_path / "data.npz", {"x.npy": npy(np.zeros((2000, 50, 50), np.float32))}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(_npz, "_memory_bytes", lambda: 1e6)
    with pytest.raises(DataError, match=r"x\.npy has 0 GB, more than the memory\. Save it as uint8"):
        load_npz(path)


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04" + bytes(50)])
def test_file_that_is_no_npz_is_one_sentence(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.npz").write_bytes(data)
    with pytest.raises(DataError, match=r"is no \.npz file, or damaged"):
        load_dataset(str(tmp_path / "data.npz"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_that_was_cut_off_is_one_sentence(save: Callable[..., None], tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    save(path, x=GRAY, y=LABELS)
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"data\.npz"):
            load_npz(path)


def test_object_array_is_never_unpickled(tmp_path: Path) -> None:
    array = np.array([Hostile()] * 3, dtype=object)
    data = header((3,), "|O") + b"cos\nsystem\n(S'false'\ntR."
    assert array.dtype.hasobject
    with pytest.raises(DataError, match="no plain array"):
        load_npz(write_zip(tmp_path / "data.npz", {"x.npy": data, "y.npy": npy(LABELS)}))


@pytest.mark.parametrize(
    "names",
    [
        "x_train y_train x_val y_val x_test y_test",
        "X_train Y_train X_valid Y_valid X_test Y_test",
        "train_images train_labels val_images val_labels test_images test_labels",
        "train_x train_y dev_x dev_y test_x test_y",
        "images labels images_val labels_val images_test labels_test",
        "xtrain ytrain xval yval xtest ytest",
        "data target data_validation target_validation data_eval target_eval",
    ],
)
def test_arrays_have_the_names_that_others_give_them(names: str, tmp_path: Path) -> None:
    given = [RGB[:60], LABELS[:60], RGB[60:75], LABELS[60:75], RGB[75:], LABELS[75:]]
    np.savez(tmp_path / "a.npz", **dict(zip(names.split(), given, strict=True)))
    dataset = load_npz(tmp_path / "a.npz")
    assert {side: len(part) for side, part in dataset.parts.items()} == {"train": 60, "val": 15, "test": 15}
    np.testing.assert_array_equal(dataset.parts["val"].images.pixels, RGB[60:75])  # type: ignore[attr-defined]
    assert not dataset.warnings


def test_two_names_for_one_thing_are_an_error_and_others_are_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GRAY, y=LABELS, x_train=GRAY[:9])
    with pytest.raises(DataError, match="`x` and `x_train` may both be `x`"):
        load_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=GRAY, y=LABELS, masks=GRAY)
    assert load_npz(tmp_path / "b.npz").warnings == [f"{tmp_path / 'b.npz'} has arrays that are not read: masks."]


def test_train_val_test_come_as_three_pairs() -> None:
    dataset = load_arrays(((GRAY[:60], LABELS[:60]), (GRAY[60:75], LABELS[60:75]), (GRAY[75:], LABELS[75:])))
    assert {side: len(part) for side, part in dataset.parts.items()} == {"train": 60, "val": 15, "test": 15}
    np.testing.assert_array_equal(dataset.parts["val"].images.pixels, GRAY[60:75])  # type: ignore[attr-defined]


def test_bool_is_black_and_white(tmp_path: Path) -> None:
    x = GRAY > 127
    dataset = load_arrays((x, LABELS), validation=0)
    np.testing.assert_array_equal(dataset.parts["train"].images.pixels, x * np.uint8(255))  # type: ignore[attr-defined]
    save_arrays((x, LABELS), tmp_path / "a.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["x"], x * np.uint8(255))


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_zeros_and_ones_are_read_as_neither_of_the_two_they_may_be(dtype: Any) -> None:
    x = (GRAY > 127).astype(dtype)
    with pytest.raises(DataError, match=r"only 0 and 1, .* \(x \* 255\)\.astype\('uint8'\).* x\.astype\('uint8'\)"):
        load_arrays((x, LABELS))
    assert not load_arrays(((x * 255).astype("uint8"), LABELS)).warnings
    (warning,) = load_arrays((x.astype("uint8"), LABELS)).warnings
    assert "nearly black" in warning and "give x * 255" in warning


@pytest.mark.parametrize("x", [GRAY % 17, (GRAY % 17).astype(np.float64), (RGB % 17).astype(np.int64)])
def test_levels_that_end_far_below_white_are_a_warning(x: Any, tmp_path: Path) -> None:
    (warning,) = load_arrays((x, LABELS), validation=0).warnings
    assert re.search(r"`x` has no level above 16, of 255.*multiply by 255 / 16.*really so dark", warning)
    np.savez(tmp_path / "a.npz", x=x, y=LABELS)
    assert load_npz(tmp_path / "a.npz", validation=0).warnings == [warning]
    assert not load_arrays((np.rint(x * (255 / 16)).astype(np.uint8), LABELS), validation=0).warnings
    assert not load_arrays((changed(x, 80, 33), LABELS), validation=0).warnings  # one of them is brighter


def test_labels_anew_is_advice_that_works() -> None:
    names, y = np.unique(LABELS * 10**9, return_inverse=True)
    assert load_arrays((GRAY, y), class_names=[str(name) for name in names]).class_names == [
        "0",
        "1000000000",
        "2000000000",
    ]


def test_repeats_leaks_and_contradictions_are_found_in_arrays(tmp_path: Path) -> None:
    x, y, x_test, y_test = RGB[:60].copy(), LABELS[:60].copy(), RGB[60:].copy(), LABELS[60:].copy()
    x_test[3] = x[7]  # in two classes as well: 63 % 3 and 7 % 3
    x[20], y[20] = x[21], y[21]  # a mere repeat
    x[30] = x[31]  # a contradiction
    warnings = load_arrays(((x, y), (x_test, y_test))).warnings
    assert len(warnings) == 2 and "data check" not in "".join(warnings)
    assert "LEAK: 1 picture is on more than one side" in warnings[0] and "x[7] = x_test[3]" in warnings[0]
    assert "CONTRADICTION: 2 pictures are" in warnings[1] and "x[30] = x[31]" in warnings[1]
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    check = check_data(tmp_path / "a.npz")
    document = check.to_json()
    root = f"{tmp_path / 'a.npz'}/"
    assert document["leaks"] == [[f"{root}x_test[3]", f"{root}x_train[7]"]]
    assert [f"{root}x_train[20]", f"{root}x_train[21]"] in document["duplicates"]
    assert len(document["contradictions"]) == 2
    assert document["classes"] == dict(zip("012", map(int, np.bincount(np.r_[y, y_test])), strict=True))
    assert document["sizes"] == {"8x6": 90} and document["modes"] == {"RGB": 90} and document["refusal"] is None
    assert check.sides.keys() == {"train", "val", "test"} and check.chosen_sides == ["val"]
    assert [warning for warning in load_npz(tmp_path / "a.npz").warnings if "data check" in warning]
    leaked = check.repeats.leaks[0]
    assert [np.array_equal(check.show(one.file.path), x[7][..., ::-1]) for one in leaked] == [True, True]
    write_data_check(check, tmp_path / "a.html")
    assert (tmp_path / "a.html").read_text(encoding="utf-8").count("data:image/jpeg") >= 6


def test_near_duplicates_are_found_in_arrays(tmp_path: Path) -> None:
    scenes = [street(seed) for seed in range(30)]
    x, y = np.stack(scenes), np.arange(30) % 2
    x_test = np.clip(x[:6].astype(int) + 9, 0, 255).astype(np.uint8)
    x_test[1:] = np.stack([street(seed) for seed in range(30, 35)])
    given = ((x, y), (x_test, y[:6]))
    (warning,) = load_arrays(given, validation=0).warnings
    assert "LEAK: 1 picture" in warning and "x[0] = x_test[0]" in warning
    np.savez(tmp_path / "a.npz", x=x, y=y, x_test=x_test, y_test=y[:6])
    check = check_data(tmp_path / "a.npz", validation=0)
    assert [[one.file.path.name for one in group] for group in check.repeats.near_duplicates] == [["x[0]", "x_test[0]"]]
    assert not check.own_leaks


def test_images_of_a_check_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GRAY[:60], y=LABELS[:60], x_test=GRAY[60:], y_test=LABELS[60:])
    check = check_data(tmp_path / "a.npz", validation=0)
    assert len(check.files) == 90 and [one.file.path.name for one in check.files[58:62]] == [
        "x[58]",
        "x[59]",
        "x_test[0]",
        "x_test[1]",
    ]
    assert list(check.files) == check.usable and check.files[-1].file == check.usable[-1].file
    one = check.files[61]
    assert (one.side, one.labels, one.file.width, one.file.height, one.file.mode) == ("test", ("1",), 8, 6, "L")
    assert one.file.fingerprint == compute_fingerprint(in_color(GRAY[61]), height=6, width=8)
    with pytest.raises(IndexError):
        check.files[90]


def test_what_is_kept_of_an_image_of_an_array_is_small(tmp_path: Path) -> None:
    """A `data check` of a million images shall take half a gigabyte."""
    count, generator = 3_000, np.random.default_rng(0)
    noise = generator.integers(0, 256, (count, 7, 7), np.uint8)
    np.savez(tmp_path / "a.npz", x=noise.repeat(4, axis=1).repeat(4, axis=2), y=np.arange(count) % 2)
    check_data(tmp_path / "a.npz")
    tracemalloc.start()
    check = check_data(tmp_path / "a.npz")
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(check.files) == count and kept < 550 * count


def street(seed: int) -> np.ndarray:
    """Return a scene of many edges, RGB, as large as a small photograph."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(30, 220, (12, 14, 3), np.uint8), (112, 96), interpolation=cv2.INTER_CUBIC)
    for _ in range(25):
        first, second = (tuple(map(int, rng.integers(0, 96, 2))) for _ in range(2))
        cv2.line(image, first, second, tuple(map(int, rng.integers(0, 240, 3))), 2)
    return np.asarray(image)


def test_images_of_other_sizes_are_no_repeats() -> None:
    x = np.zeros((90, 6, 8), np.uint8)
    x[:] = np.arange(90)[:, None, None]
    given = ((x, LABELS), (x.reshape(90, 8, 6), LABELS))
    assert not load_arrays(given).warnings


def test_check_of_arrays_that_train_would_refuse_says_so(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=GRAY, y=changed(LABELS, 0, 3), z=1)
    check = check_data(tmp_path / "a.npz")
    assert check.refusal and "Class `3` has 1 different images" in check.refusal
    assert check.sides == {} and check.warnings == [f"{tmp_path / 'a.npz'} has arrays that are not read: z."]
