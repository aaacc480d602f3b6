from __future__ import annotations

import pytest

from trainkit.data._sides import (
    guess_side,
    is_certainly_marks,
    is_fold,
    is_images,
    is_junk,
    is_marks,
    is_piece,
    is_wrapper,
    says_marks_only,
    says_side_only,
    says_unlabelled_only,
    side_of,
    stem_of_pieces,
)

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
    assert all(
        map(is_junk, ["__MACOSX", "Thumbs.db", "THUMBS.DB", ".x", "._a.jpg", "@eaDir", "@__thumb", "desktop.ini"])
    )
    assert not is_junk("thumbs.jpg")


def test_marks_and_missing_labels_may_be_all_that_a_name_says() -> None:
    assert all(map(says_marks_only, ["masks", "mask", "Labels", "gt", "ground_truth_masks", "mask images"]))
    assert not any(map(says_marks_only, ["with_mask", "masked", "cat masked", "black label"]))
    assert all(map(says_unlabelled_only, ["unlabeled", "to_predict", "extra", "Sample images"]))
    assert not any(map(says_unlabelled_only, ["unknown", "extra large", "cat"]))


def test_numbered_names_have_a_stem_and_may_be_pieces() -> None:
    assert stem_of_pieces(["HAM_part_1", "HAM_part_2"]) == "HAM_part"
    assert stem_of_pieces(["archive (1)", "archive (2)"]) == "archive" and stem_of_pieces(["set a", "set b"]) == "set"
    assert [stem_of_pieces(names) for names in (["0", "1"], ["cat1"], ["cat1", "dog1"], ["cat", "bat"])] == [None] * 4
    assert all(map(is_piece, ["HAM_part", "images", "batch"])) and not any(map(is_piece, ["class", "n"]))
    assert all(map(is_wrapper, ["images", "Dataset", "raw", "labeled"])) and not any(map(is_wrapper, ["cat", "pets"]))


@pytest.mark.parametrize(
    ("side", "names"),
    [
        ("train", "Trainingsdaten entrenamiento entrainement treino apprentissage addestramento обучение 训练集 学習"),
        ("val", "validacion Validierung проверка 验证集 検証 dev"),
        ("test", "Testdaten prueba teste тест 测试集 テスト holdout"),
    ],
)
def test_names_in_more_languages_are_guessed(side: str, names: str) -> None:
    assert [guess_side(name) for name in names.split()] == [side] * len(names.split())
    assert guess_side("contest") is None and guess_side("lab") is None
