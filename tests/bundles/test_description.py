"""What the user says about a model: every value possible, every contradiction a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photographs import write_class_folders

from trainkit.bundles._description import build_description, read_labels
from trainkit.errors import BundleError, DataError, ModelError, UsageError
from trainkit.preprocessing import Preprocessing, build_preprocessing

GRAY = Preprocessing(height=8, width=10, color="gray", mean=(3.0,), std=(2.0,))


def test_size_and_color_are_those_of_the_model() -> None:
    said = build_description(preprocessing="unit")
    assert said.preprocessing_for((20, 30, 3)) == build_preprocessing("unit", height=20, width=30)
    assert said.preprocessing_for((20, 30, 1)).color == "gray"


def test_size_is_chosen_where_the_model_leaves_it_open() -> None:
    chosen = build_description(preprocessing="unit", size="40x24", resize="crop", color="bgr").preprocessing_for(
        (None, None, 3)
    )
    assert chosen == build_preprocessing("unit", height=24, width=40, resize="crop", color="bgr")
    with pytest.raises(UsageError, match=r"takes images of any size. Choose one with --size"):
        build_description(preprocessing="unit").preprocessing_for((None, None, 3))


@pytest.mark.parametrize(
    ("said", "received"),
    [
        ({"preprocessing": "unit", "size": "30x20", "color": "gray"}, "30x20 gray"),
        ({"preprocessing": "unit", "size": "20x30"}, "20x30 rgb"),
        ({"preprocessing": GRAY}, "10x8 gray"),
    ],
)
def test_contradiction_of_the_model_is_refused(said: dict[str, Any], received: str) -> None:
    with pytest.raises(ModelError, match=rf"The model takes 30x20 with 3 channels. Received: {received}"):
        build_description(**said).preprocessing_for((20, 30, 3))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"preprocessing": "unti"}, "Unknown preprocessing `unti`. Did you mean `unit`"),
        ({"preprocessing": "standardize"}, "needs what was measured on the training images"),
        ({"preprocessing": "mean-image"}, "needs what was measured on the training images"),
        ({"preprocessing": "caffe"}, "Say --color bgr where the model was trained with Keras' preprocess_input"),
        ({"preprocessing": "unit", "color": "red"}, "Unknown color `red`"),
        ({"preprocessing": "unit", "resize": "squeeze"}, "Unknown resize `squeeze`"),
        ({"preprocessing": "unit", "size": "0x20"}, "`size` must be WIDTHxHEIGHT"),
        ({"preprocessing": GRAY, "size": "8x8", "resize": "pad"}, "A `Preprocessing` says size and resize already"),
        ({"data": "digits", "images": [np.zeros((8, 8, 3), np.uint8)]}, "Received: both"),
        ({"images": []}, "needs at least one image"),
        ({"class_names": ["a", 5]}, "`class_names` must be texts"),
    ],
)
def test_impossible_value_is_a_usage_error(said: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_description(**said)


def test_images_are_what_imread_gives() -> None:
    with pytest.raises(ValueError, match="Expected a uint8 image of shape"):
        build_description(images=[np.zeros((8, 8), np.uint8)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cats\ndogs\n", ["cats", "dogs"]),
        ("\ufeffcats\r\nbig dogs\r\n\r\n", ["cats", "big dogs"]),
        ("0 cardboard\n1 plastic bag\n", ["cardboard", "plastic bag"]),
        ("0\n1\n2\n", ["0", "1", "2"]),
        ("1 one\n2 two\n", ["1 one", "2 two"]),  # numbers that do not begin with 0 are part of the names
    ],
)
def test_labels_are_one_a_line(tmp_path: Path, text: str, expected: list[str]) -> None:
    (tmp_path / "labels.txt").write_bytes(text.encode())
    assert read_labels(tmp_path / "labels.txt") == expected
    assert build_description(class_names=tmp_path / "labels.txt").class_names == expected
    assert build_description(class_names=str(tmp_path / "labels.txt")).class_names == expected


@pytest.mark.parametrize("content", [b"", b"cats\n\ndogs\n", b"\xff\xfe", None])
def test_labels_that_are_none_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"labels.txt (has an empty line|cannot be read)"):
        read_labels(tmp_path / "labels.txt")


def test_class_names_must_be_several_and_differ() -> None:
    with pytest.raises(DataError, match=r"must differ. Received twice: cats"):
        build_description(class_names=["cats", "dogs", "cats"])
    with pytest.raises(DataError, match="two classes or more"):
        build_description(class_names=["cats"])


def test_manifest_says_it_all(tiny_bundle: Path, trained_run) -> None:  # type: ignore[no-untyped-def]
    said = build_description(manifest=tiny_bundle / "manifest.json")
    assert said.preprocessing == trained_run.preprocessing
    assert said.class_names == trained_run.class_names
    for more in ({"preprocessing": "unit"}, {"size": "8x8"}, {"class_names": ["a", "b"]}):
        with pytest.raises(UsageError, match=r"The manifest says \w+ already"):
            build_description(manifest=tiny_bundle, **more)


@pytest.mark.parametrize(
    ("blob", "steps", "expected"),
    [
        ({"swapRB": True}, [], {"color": "rgb"}),
        ({"swapRB": False, "crop": True}, [], {"color": "bgr", "resize": "crop"}),
        ({"mean": [4.0]}, [{"step": "gray"}], {"color": "gray", "mean": (4.0,), "std": (2.0,)}),
        (
            {},
            [{"step": "pad", "color_bgr": [1.0, 2.0, 3.0]}],
            {"color": "bgr", "resize": "pad", "pad_color": (3.0, 2.0, 1.0)},
        ),
    ],
)
def test_manifest_by_hand_needs_its_blob_only(
    tmp_path: Path, blob: dict[str, Any], steps: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    manifest = {
        "schema": "trainkit/1",
        "model": {"file": "model.onnx", "format": "onnx"},
        "before_blob": steps,
        "blob": {"scalefactor": 0.5, "size": [10, 8], "mean": [1, 2, 3, 0], "swapRB": False, "crop": False, **blob},
        "output": {"kind": "softmax", "class_names": ["a", "b"]},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    whole = {"height": 8, "width": 10, "mean": (1.0, 2.0, 3.0), "std": (2.0,) * 3, **expected}
    assert build_description(manifest=tmp_path).preprocessing == Preprocessing(**whole)


def test_manifest_with_a_mean_image_takes_it_from_beside_it(tiny_bundle: Path, tmp_path: Path) -> None:
    manifest = json.loads((tiny_bundle / "manifest.json").read_text(encoding="utf-8"))
    mean_image = np.random.default_rng(0).uniform(0, 255, (24, 32, 3)).astype(np.float32)
    preprocessing = Preprocessing(height=24, width=32, mean=(0.0,) * 3, std=(1.0,) * 3, mean_image=mean_image)
    manifest["preprocessing"] = preprocessing.to_json()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    np.save(tmp_path / "mean_image.npy", mean_image)
    assert build_description(manifest=tmp_path / "manifest.json").preprocessing_for((24, 32, 3)) == preprocessing


def test_manifest_that_no_preprocessing_fits_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    manifest = json.loads((tiny_bundle / "manifest.json").read_text())
    manifest["preprocessing"]["mean"] = [1.0]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="describes no preprocessing that trainkit knows: `mean` needs 3"):
        build_description(manifest=tmp_path)


def test_manifest_by_hand_may_name_its_class_names_and_not_its_mean(tmp_path: Path) -> None:
    manifest = {
        "schema": "trainkit/1",
        "model": {"file": "model.onnx", "format": "onnx"},
        "blob": {"scalefactor": 1, "size": [10, 8], "mean": [1, 2, 3], "swapRB": False, "crop": False},
        "output": {"kind": "softmax", "class_names": "names.txt"},
    }
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert build_description(manifest=tmp_path).class_names == ["cat", "dog"]
    manifest["blob"]["mean"] = "mean.npy"  # type: ignore[index]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"its mean is the file mean\.npy\. Write the numbers there"):
        build_description(manifest=tmp_path)


def test_images_come_from_a_folder_or_from_memory(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path / "photos", count=3)
    assert len(build_description(data=folder).images) == 9
    image = np.full((5, 6, 3), 7, np.uint8)
    (found,) = build_description(images=[image]).images.images
    np.testing.assert_array_equal(found, image)
    assert build_description().images is None
