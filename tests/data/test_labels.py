from __future__ import annotations

from pathlib import Path

import pytest

from trainkit.data._folders._labels import in_words, label_of, suggest_names

CLASSES = {
    "cat.0.jpg": "cat",
    "cat_001.jpg": "cat",
    "cat-12.jpg": "cat",
    "cat12.JPG": "cat",
    "cat (3).png": "cat",
    "cat(3).png": "cat",
    "cat_001_002.jpg": "cat",
    "cat__1.jpg": "cat",
    "Abyssinian_1.jpg": "Abyssinian",
    "yellow_tulip_03.jpg": "yellow_tulip",
    "red car 4.jpg": "red car",
    "n02085620_10026.jpg": "n02085620",
    "猫_1.png": "猫",
    "1.jpg": None,
    "12_3.jpg": None,
    "cat.jpg": None,
    "cat_1_left.jpg": None,
}


@pytest.mark.parametrize(("name", "label"), CLASSES.items())
def test_class_is_what_stands_before_the_number(name: str, label: str | None) -> None:
    assert label_of(name, None) == label


def test_pattern_of_ones_own_has_its_group_or_the_first() -> None:
    assert label_of("2024-cat-1.jpg", r"-(\w+)-") == "cat"
    assert label_of("2024-cat-1.jpg", r"(\d+)-(?P<label>\w+)-") == "cat"
    assert label_of("2024-cat-1.jpg", r"(x)?cat") is None and label_of("2024-cat-1.jpg", r"(x*)cat") is None


def test_names_are_suggested_only_where_they_look_like_classes(tmp_path: Path) -> None:
    for folder, names in {
        "numbers": ["1.jpg", "2.jpg"],
        "one": ["cat_1.jpg", "cat_2.jpg"],
        "singles": ["a1.jpg", "b1.jpg", "c1.jpg"],
        "mixed": ["cat_1.jpg", "cat_2.jpg", "dog_1.jpg", "dog_2.jpg", "x.jpg"],
    }.items():
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
        assert suggest_names([tmp_path / folder]) == ""
    (tmp_path / "mixed" / "x.jpg").unlink()
    assert "(cat, dog): --labels-from name" in suggest_names([tmp_path / "one", tmp_path / "mixed"])


def test_many_names_are_counted() -> None:
    assert in_words(list("abcdefg")) == "a, b, c, d, e and 2 more"
