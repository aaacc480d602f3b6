from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import trainkit
from trainkit.backend import keras, tf
from trainkit.data import Reading, load_dataset
from trainkit.data._arrays._labelled import load_given
from trainkit.data._dataset import Dataset
from trainkit.data._python_data import _reading
from trainkit.data._python_data._reading import gather, is_stream
from trainkit.errors import DataError, UsageError

pytestmark = pytest.mark.usefixtures("undrawn")

COUNT = 60
RGB = np.random.default_rng(1).integers(0, 256, (COUNT, 12, 16, 3), np.uint8)
GRAY = RGB[..., 0]
LABELS = np.arange(COUNT) % 3
NAMES = ["cat", "dog", "owl"]
TEXTS = np.array(NAMES)[LABELS]


def take(data: Any, folder: Path, *, class_names: Any = None, reading: Reading | None = None) -> Dataset:
    assert is_stream(data)
    gathered = gather(data, folder, class_names=class_names, reading=reading or Reading())
    dataset = load_given(gathered.arrays, gathered.class_names, validation=0)
    dataset.warnings.extend(gathered.warnings)
    return dataset


def images_of(dataset: Dataset) -> dict[bytes, int]:
    """Return the label of each image by its bytes, B, G, R."""
    parts = dataset.parts.values()
    return {part.images[i].tobytes(): int(part.labels[i]) for part in parts for i in range(len(part))}


IN_COLOR = {image[..., ::-1].tobytes(): int(label) for image, label in zip(RGB, LABELS, strict=True)}
IN_GRAY = {np.repeat(one[..., None], 3, -1).tobytes(): int(label) for one, label in zip(GRAY, LABELS, strict=True)}


def tensors(images: Any = RGB, labels: Any = LABELS) -> Any:
    return tf.data.Dataset.from_tensor_slices((images, labels))


TENSORS = {
    "alone": (lambda: tensors(), IN_COLOR),
    "in batches": (lambda: tensors().batch(7), IN_COLOR),
    "one-hot": (lambda: tensors(RGB, np.eye(3, dtype=np.float32)[LABELS]).batch(7), IN_COLOR),
    "one-hot, alone": (lambda: tensors(RGB, np.eye(3)[LABELS]), IN_COLOR),
    "labels in rows of one": (lambda: tensors(RGB, LABELS[:, None]).batch(60), IN_COLOR),
    "floats": (lambda: tensors(RGB.astype(np.float32)).batch(16), IN_COLOR),
    "grey": (lambda: tensors(GRAY[..., None]).batch(16), IN_GRAY),
    "grey, no channels": (lambda: tensors(GRAY).batch(16), IN_GRAY),
    "grey, no channels, alone": (lambda: tensors(GRAY), IN_GRAY),
    "grey, a batch as large as an image is high": (lambda: tensors(GRAY).batch(12), IN_GRAY),
    "mappings": (lambda: tensors().map(lambda x, y: {"image": x, "label": y}), IN_COLOR),
    "of unknown length": (lambda: tensors().filter(lambda x, y: True).batch(8), IN_COLOR),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tf_data_is_taken_in_every_form(name: str, tmp_path: Path) -> None:
    make, expected = TENSORS[name]
    dataset = take(make(), tmp_path)
    assert images_of(dataset) == expected and dataset.class_names == ["0", "1", "2"] and not dataset.warnings


def test_texts_and_class_names_of_tf_data(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    dataset = take(tensors(RGB, TEXTS).batch(8), tmp_path / "a")
    assert dataset.class_names == NAMES and images_of(dataset) == IN_COLOR
    data = tensors().batch(8)
    data.class_names = NAMES[::-1]  # as image_dataset_from_directory does
    (tmp_path / "b").mkdir()
    assert take(data, tmp_path / "b").class_names == NAMES[::-1]
    with pytest.raises(UsageError, match="`class_names` go with arrays"):
        take(data, tmp_path, class_names=NAMES)
    with pytest.raises(DataError, match="labels that are not in `class_names`: owl"):
        take(tensors(RGB, TEXTS), tmp_path, class_names=["cat", "dog"])


def test_folder_that_keras_reads_is_rounded_with_a_word(tiny_dataset: Path, tmp_path: Path) -> None:
    data = keras.utils.image_dataset_from_directory(tiny_dataset, image_size=(20, 30), batch_size=5, verbose=False)
    dataset = take(data, tmp_path)
    assert dataset.class_names == ["blue", "green", "red"] and sum(map(len, dataset.parts.values())) == 42
    (warning,) = dataset.warnings
    assert "fractions of grey levels" in warning and "rounded, by 0.5 at most" in warning
    part = dataset.parts["train"]
    assert part.images[0].shape == (20, 30, 3)


NUMBERS = np.arange(COUNT)
FILES = np.array([f"{number}.jpg" for number in NUMBERS])


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"species": LABELS // 2}, "`label` is taken, not `species`: .*element\\['image'\\], element\\['species'\\]"),
        ({"category": 1 - LABELS % 2, "id": NUMBERS, "file_name": FILES}, "`label` is taken, not `category`"),
        ({"photo": RGB[::-1]}, "`image` is taken, not `photo`: .*element\\['photo'\\], element\\['label'\\]"),
        ({"id": NUMBERS}, None),
        ({"file_name": FILES}, None),
    ],
)
@pytest.mark.parametrize("size", [None, 7])
def test_image_and_label_come_before_other_names_for_them(
    others: dict[str, Any], said: str | None, size: int | None, tmp_path: Path
) -> None:
    data = tf.data.Dataset.from_tensor_slices({"image": RGB, "label": LABELS, **others})
    dataset = take(data.batch(size) if size else data, tmp_path)
    assert images_of(dataset) == IN_COLOR
    assert len(dataset.warnings) == (said is not None)
    assert said is None or re.search(said, dataset.warnings[0])


def test_names_that_mean_one_thing_are_an_error(tmp_path: Path) -> None:
    data = tf.data.Dataset.from_tensor_slices({"image": RGB, "class": LABELS, "species": LABELS // 2})
    with pytest.raises(DataError, match=r"`class` and `species` may each be the label.*element\['image'\], .*'class'"):
        take(data, tmp_path)


def test_what_does_not_say_its_length_is_read_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reading, "_MOST_UNBOUNDED", COUNT)
    specs = (tf.TensorSpec((12, 16, 3), tf.uint8), tf.TensorSpec((), tf.int64))

    def without_end() -> Iterator[Any]:
        while True:
            yield from zip(RGB, LABELS, strict=True)

    data = tf.data.Dataset.from_generator(without_end, output_signature=specs)
    with pytest.raises(UsageError, match=r"more than 60 images came.*assert_cardinality\(count\)\); .*\.take\(count\)"):
        take(data, tmp_path)
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    assert images_of(take(data.take(COUNT), folders[0])) == IN_COLOR
    more = tensors().concatenate(tensors()).filter(lambda x, y: True)
    known = more.apply(tf.data.experimental.assert_cardinality(2 * COUNT))
    assert sum(map(len, take(known, folders[1]).parts.values())) == 2 * COUNT


class Batches(keras.utils.PyDataset):  # type: ignore[misc,name-defined]
    def __init__(self, x: Any, y: Any, size: int | None = 8) -> None:
        super().__init__()
        self.x, self.y, self.size = x, y, size

    @property
    def num_batches(self) -> int | None:
        return None if self.size is None else -(-len(self.x) // self.size)

    def __getitem__(self, index: int) -> Any:
        part = slice(index * (self.size or 1), (index + 1) * (self.size or 1))
        return self.x[part], self.y[part]


def test_py_dataset_is_taken_and_one_without_end_is_not(tmp_path: Path) -> None:
    assert images_of(take(Batches(RGB, LABELS), tmp_path)) == IN_COLOR
    with pytest.raises(UsageError, match=r"no end.*__len__"):
        take(Batches(RGB, LABELS, None), tmp_path)


class ClassLabel:
    def __init__(self, names: list[str]) -> None:
        self.names = names


class Sequence:
    def __init__(self, feature: Any) -> None:
        self.feature = feature


def feature(name: str) -> Any:
    return type(name, (), {})()


class Rows:
    """What `datasets.Dataset` offers."""

    def __init__(self, features: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        self.features, self.rows, self.column_names = features, rows, list(features)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)


def rows(images: Any = RGB, labels: Any = LABELS, **more: Any) -> Rows:
    features = {"image": feature("Image"), "label": ClassLabel(NAMES), **{name: one[0] for name, one in more.items()}}
    columns = {name: one[1] for name, one in more.items()}
    pictures = [one if isinstance(one, Image.Image) else Image.fromarray(one) for one in images]
    return Rows(
        features,
        [
            {"image": one, "label": int(label), **{name: of[index] for name, of in columns.items()}}
            for index, (one, label) in enumerate(zip(pictures, labels, strict=True))
        ],
    )


def test_rows_of_hugging_face_are_taken_with_their_names_and_sides(tmp_path: Path) -> None:
    dataset = take({"train": rows(RGB[:40], LABELS[:40]), "validation": rows(RGB[40:], LABELS[40:])}, tmp_path)
    assert dataset.class_names == NAMES and images_of(dataset) == IN_COLOR
    assert {side: len(part) for side, part in dataset.parts.items()} == {"train": 40, "val": 20}


def test_pictures_that_are_not_decoded_yet_are(tmp_path: Path) -> None:
    data = rows()
    for index, row in enumerate(data.rows):
        row["image"].save(tmp_path / f"{index}.png")
        content = (tmp_path / f"{index}.png").read_bytes()
        row["image"] = {"bytes": content if index % 2 else None, "path": str(tmp_path / f"{index}.png")}
    assert images_of(take(data, tmp_path)) == IN_COLOR


def test_rows_of_paths_are_told_to_become_a_table(tmp_path: Path) -> None:
    data = rows()
    for row in data.rows:
        row["image"] = "a.png"
    with pytest.raises(UsageError, match=r"holds paths of images in `image`\. Give data\.to_pandas\(\)"):
        take(data, tmp_path)


def test_sides_may_be_arrays_with_names(tmp_path: Path) -> None:
    dataset = take({"train": (RGB[:40], LABELS[:40]), "test": tensors(RGB[40:], LABELS[40:])}, tmp_path)
    assert {side: len(part) for side, part in dataset.parts.items()} == {"train": 40, "test": 20}
    assert images_of(dataset) == IN_COLOR


def test_reading_means_nothing_where_there_are_no_columns(tmp_path: Path) -> None:
    for data in (tensors(), (RGB, LABELS)):
        with pytest.raises(UsageError, match="means nothing for"):
            trainkit.train(data, reading=Reading(columns="label=breed"), experiments=tmp_path)


@pytest.mark.parametrize("reading", [Reading(fold=1), Reading(columns="split=part"), Reading(images="photos")])
def test_reading_of_rows_may_only_name_their_columns(reading: Reading, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"means nothing for|Leave split out"):
        take(rows(), tmp_path, reading=reading)


def test_labels_that_are_kept_secret_are_left_out_with_a_word(tmp_path: Path) -> None:
    data = {"train": rows(), "test": rows(RGB, LABELS * 0 - 1)}
    dataset = take(data, tmp_path)
    assert images_of(dataset) == IN_COLOR and "`test` has 60 rows without a label" in dataset.warnings[0]


def test_pictures_of_several_sizes_and_modes_keep_them(tmp_path: Path) -> None:
    pictures = [Image.fromarray(one).resize((16 + i % 3, 12 + i % 2)) for i, one in enumerate(RGB)]
    pictures[5], pictures[6] = pictures[5].convert("L"), pictures[6].convert("RGBA")
    dataset = take(rows(pictures), tmp_path)
    expected = {cv2.cvtColor(np.asarray(one.convert("RGB")), cv2.COLOR_RGB2BGR).tobytes() for one in pictures}
    assert images_of(dataset).keys() == expected


def test_two_columns_that_may_be_meant_are_an_error_with_both(tmp_path: Path) -> None:
    coarse = (ClassLabel(["animal", "bird"]), [int(label == 2) for label in LABELS])
    with pytest.raises(DataError, match=r"`label` and `coarse`.*Reading\(columns='label=label'\)"):
        take(rows(coarse=coarse), tmp_path)
    dataset = take(rows(coarse=coarse), tmp_path, reading=Reading(columns="label=coarse"))
    assert dataset.class_names == ["animal", "bird"]
    with pytest.raises(DataError, match=r"no column `breed`\. Received: image, label"):
        take(rows(), tmp_path, reading=Reading(columns="label=breed"))


def test_rows_with_several_labels_become_several(tmp_path: Path) -> None:
    data = rows()
    data.features["label"] = Sequence(ClassLabel(NAMES))
    for number, row in enumerate(data.rows):
        row["label"] = [0, 2] if number % 2 else [1]
    dataset = take(data, tmp_path)
    assert (
        dataset.multi_label
        and dataset.parts["train"].labels.sum()
        == sum(len(data.rows[index]["label"]) for index in range(COUNT)) - dataset.parts["test"].labels.sum()
    )


def endless() -> Iterator[Any]:
    while True:
        yield RGB[0], 0


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "a generator": (lambda: endless(), UsageError, "is a generator: .*numpy.stack.*PyDataset"),
    "an iterator": (lambda: iter([(RGB[0], 0)]), UsageError, "is a generator"),
    "repeat": (lambda: tensors().repeat(), UsageError, r"no end: leave out \.repeat\(\), or .*\.take"),
    "two": (lambda: (tensors(), tensors()), UsageError, "training and validation, or .*'val'.*'test'"),
    "a list of two": (lambda: [tensors(), tensors()], UsageError, "training and validation, or .*'val'.*'test'"),
    "odd sides": (lambda: {"train": tensors(), "extra": tensors()}, UsageError, "Received: train, extra"),
    "images alone": (lambda: tf.data.Dataset.from_tensor_slices(RGB), DataError, "Received: an image alone"),
    "weights too": (
        lambda: tf.data.Dataset.from_tensor_slices((RGB, LABELS, LABELS)),
        DataError,
        r"\(image, label\) in each element\. Received: 3 things",
    ),
    "scaled": (lambda: tensors(RGB / 255).batch(9), DataError, r"go from 0 to 1, .* leave out what scales"),
    "zeros and ones": (lambda: tensors((RGB > 99).astype("float32")), DataError, "hold only 0 and 1, .* cast them"),
    "from -1": (lambda: tensors(RGB / 127.5 - 1), DataError, "Expected 0 to 255: leave out what scales"),
    "no images": (lambda: tensors().take(0), DataError, "has no images"),
    "four channels": (lambda: tensors(np.stack([GRAY] * 4, axis=-1)), DataError, "an image of uint8"),
    "streamed": (lambda: type("IterableRows", (Rows,), {"__len__": property()})({}, []), UsageError, "is streamed"),
    "a failing one": (lambda: Batches(RGB, None), DataError, r"failed \(TypeError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_refused_for_the_true_reason(name: str, tmp_path: Path) -> None:
    make, kind, expected = REFUSED[name]
    with pytest.raises(kind, match=expected) as caught:
        take(make(), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "shapes",
    [
        [[12, 16, 3]],
        [[12, 16, 3]] * 61,
        [[-12, -16, 3]] * 60,
        [[12, 16, 2]] * 60,
        [12, 16, 3],
        [[2**40, 2**40, 3]] * 60,
    ],
)
def test_shapes_that_do_not_go_with_their_images_are_refused(shapes: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=RGB.reshape(-1), x_shapes=np.array(shapes, np.int64), y=LABELS)
    with pytest.raises(DataError, match="images of several sizes do not go with their shapes"):
        load_dataset(str(tmp_path / "a.npz"))


SETTINGS: dict[str, Any] = {"model": "small-cnn", "epochs": 1, "settings": {"model.blocks": 1, "model.filters": 2}}


def test_run_keeps_what_was_streamed_and_is_repeated_from_it(tmp_path: Path) -> None:
    pictures = [Image.fromarray(one).resize((16 + i % 3, 12)) for i, one in enumerate(RGB)]
    run = trainkit.train(rows(pictures), size=(16, 12), experiments=tmp_path, **SETTINGS)
    assert run.class_names == NAMES and run.config["data"] == str(run.path / "data.npz")
    again = trainkit.train(config=run.path / "config.toml", experiments=tmp_path)
    assert again.metrics[0]["loss"] == run.metrics[0]["loss"]
    kept, part = load_dataset(str(run.path / "data.npz")), run.load_data().parts["train"]
    assert np.array_equal(kept.parts["train"].images[3], part.images[3])


class Table:
    """What `pandas.DataFrame` offers."""

    iloc = None

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = columns

    def __getitem__(self, column: str) -> list[Any]:
        return self.columns[column]

    def to_csv(self, *, index: bool) -> str:
        assert not index
        lines = [",".join(map(str, row)) for row in zip(*self.columns.values(), strict=True)]
        return "\n".join([",".join(self.columns), *lines]) + "\n"


def test_table_of_pandas_is_a_csv(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_dataset)
    paths = sorted(tiny_dataset.glob("*/*.png"))
    names = [str(path.relative_to(tiny_dataset)) for path in paths]
    table = Table({"filename": names, "breed": [path.parent.name for path in paths]})
    run = trainkit.train(table, size=(16, 16), experiments=tmp_path, **SETTINGS)
    monkeypatch.chdir(tmp_path)
    assert run.class_names == ["blue", "green", "red"] and run.config["data"] == str(run.path / "dataframe.csv")
    again = trainkit.train(config=run.path / "config.toml", experiments=tmp_path)
    assert again.metrics[0]["loss"] == run.metrics[0]["loss"]
    with pytest.raises(DataError, match=r"42 of 42 images of the table \(column `filename`\) are missing"):
        trainkit.train(table, experiments=tmp_path)
    with pytest.raises(UsageError, match="`class_names` go with arrays"):
        trainkit.train(table, class_names=["a", "b", "c"], experiments=tmp_path)


def test_table_that_holds_images_is_told_what_to_give(tmp_path: Path) -> None:
    table = Table({"image": [{"bytes": b"", "path": "a.png"}], "label": ["cat"]})
    with pytest.raises(UsageError, match=r"column `image` of the table holds dict\. .* as arrays"):
        trainkit.train(table, experiments=tmp_path)


def test_real_table_of_pandas_is_taken(tiny_dataset: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    paths = sorted(tiny_dataset.glob("*/*.png"))
    table = pandas.DataFrame({"path": map(str, paths), "label": [path.parent.name for path in paths]})
    assert trainkit.train(table, size=(16, 16), experiments=tmp_path, **SETTINGS).class_names == [
        "blue",
        "green",
        "red",
    ]
