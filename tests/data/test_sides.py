from __future__ import annotations

import pytest

from trainkit.data._sides import is_certainly_marks, is_fold, is_images, is_junk, is_marks, says_side_only, side_of

NAMES = {
    "train": "train Training TRAIN trn seg_train train_images training_set my-train-data TrainImages trainset 01_train "
    "trainval train_val TRAINdata train2017 trainA bullet_train X_train train(1)",
    "val": "val valid validation Validation dev dev_set ValImages valset val2017 my-valid-data development",
    "test": "test Testing tst TEST test1 testA eval evaluation holdout hold-out HoldOut hold_out_set testset imgs_test "
    "Test-Data TESTdata crash_test held-out",
}
NEITHER = [
    "contest",
    "latest",
    "trainer",
    "developer",
    "device",
    "cat",
    "train_test",
    "pretrain",
    "value",
    "evaluate-me",
    "restaurant",
]


@pytest.mark.parametrize(("side", "name"), [(side, name) for side, names in NAMES.items() for name in names.split()])
def test_usual_names_are_sides(side: str, name: str) -> None:
    assert side_of(name) == side


@pytest.mark.parametrize("name", NEITHER)
def test_other_names_are_none(name: str) -> None:
    assert side_of(name) is None


def test_a_name_may_say_more_than_a_side() -> None:
    assert all(map(says_side_only, ["train", "Test Data 1", "testA", "my-train-images"]))
    assert not any(map(says_side_only, ["test tube", "bullet_train", "seg_test"]))


def test_names_of_pictures_marks_folds_and_leftovers() -> None:
    assert all(map(is_images, ["images", "Image", "JPEGImages", "photos"])) and not is_images("cat images")
    assert all(map(is_marks, ["labels", "Annotation", "SegmentationClass", "ground_truth_masks", "with_mask"]))
    assert is_certainly_marks("Annotations") and not is_certainly_marks("with_mask") and not is_marks("market")
    assert all(map(is_fold, ["fold1", "part_2", "split-03", "Batch 4"])) and not any(
        map(is_fold, ["party", "fold", "setter"])
    )
    assert all(map(is_junk, ["__MACOSX", "Thumbs.db", "THUMBS.DB", ".x", "._a.jpg", "@eaDir", "desktop.ini"]))
    assert not is_junk("thumbs.jpg")
