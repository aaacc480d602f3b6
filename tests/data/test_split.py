from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainkit.data._split import PINS_FILE, choose_sides, read_pins, shares_of, write_pins
from trainkit.errors import DataError

SHARES = [{"test": 0.1, "val": 0.1}, {"test": 0.1, "val": 0.5}, {"test": 0.1, "val": 1e-6}, {"val": 0.2}, {"test": 0.1}]


def sha(*words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()


def content_at(position: float, salt: int) -> str:
    """Return a content whose hash puts it at `position`, 0 to 1."""
    return f"{int(position * 2**64):016x}{salt:048x}"


def sides_of_class(sides: dict[str, str], contents: list[str]) -> set[str]:
    return {sides[content] for content in contents}


@pytest.mark.parametrize("shares", SHARES, ids=str)
@given(classes=st.lists(st.sets(st.integers(0, 10**6), min_size=3, max_size=9), min_size=1, max_size=4))
@settings(deadline=None)
def test_sides_are_all_in_every_class_however_small(classes: list[set[int]], shares: dict[str, float]) -> None:
    contents = {str(index): [sha(index, number) for number in numbers] for index, numbers in enumerate(classes)}
    sides, added = choose_sides(contents, shares, {})
    assert sides.keys() == {content for of_class in contents.values() for content in of_class}
    for of_class in contents.values():
        assert sides_of_class(sides, of_class) == {*shares, "train"}
    assert all(sides[content] == side for content, side in added.items())
    assert choose_sides(contents, shares, added) == (sides, {}), "the second run has nothing to choose"


@pytest.mark.parametrize("shares", SHARES, ids=str)
@given(
    classes=st.lists(
        st.lists(st.sets(st.integers(0, 10**6), max_size=6), min_size=1, max_size=5), min_size=1, max_size=3
    )
)
@settings(deadline=None)
def test_sides_stay_when_images_are_added(classes: list[list[set[int]]], shares: dict[str, float]) -> None:
    known: dict[str, str] = {}
    pins: dict[str, str] = {}
    contents = {str(index): [sha(index, "first", number) for number in range(3)] for index in range(len(classes))}
    for step in range(1 + max(map(len, classes))):
        sides, added = choose_sides(contents, shares, pins)
        pins = {**pins, **added}
        assert {content: sides[content] for content in known} == known
        known = sides
        for index, batches in enumerate(classes):
            contents[str(index)] += [sha(index, number) for number in (batches[step] if step < len(batches) else ())]


@pytest.mark.parametrize("shares", SHARES, ids=str)
@given(
    own=st.lists(st.integers(3, 6), min_size=2, max_size=4),
    shared=st.lists(st.sets(st.integers(0, 3), min_size=1), max_size=20),
    later=st.lists(st.sets(st.integers(0, 3), min_size=1), max_size=20),
)
@settings(deadline=None)
def test_sides_are_all_in_every_class_and_stay_where_an_image_has_several(
    own: list[int], shared: list[set[int]], later: list[set[int]], shares: dict[str, float]
) -> None:
    contents = {str(index): [sha(index, number) for number in range(count)] for index, count in enumerate(own)}
    for number, classes in enumerate(shared):
        for index in classes & set(range(len(own))):
            contents[str(index)].append(sha("shared", number))
    sides, added = choose_sides(contents, shares, {})
    for number, classes in enumerate(later):
        for index in classes & set(range(len(own))):
            contents[str(index)].append(sha("later", number))
    again, more = choose_sides(contents, shares, added)
    for of_class in contents.values():
        assert sides_of_class(again, of_class) == {*shares, "train"}
    assert more == {} and {content: again[content] for content in sides} == sides


def test_image_that_is_the_last_of_another_class_on_its_side_stays() -> None:
    shares = {"test": 0.2}
    tests, trains = [content_at(0.1, salt) for salt in range(2)], [content_at(0.5, salt) for salt in range(3)]
    contents = {"cat": [tests[0], trains[0]], "dog": [tests[1], trains[1]], "owl": [trains[0], trains[1], trains[2]]}
    sides, added = choose_sides(contents, shares, {})
    assert added == {trains[2]: "test"}
    assert sides == {**dict.fromkeys(tests, "test"), **dict.fromkeys(trains, "train"), **added}
    contents["owl"] = trains[:2]
    with pytest.raises(DataError, match="Class `owl` has too few images that no other class has"):
        choose_sides(contents, shares, {})


@pytest.mark.parametrize(
    ("chosen", "validation", "shares"),
    [
        ({"train"}, 0.2, {"test": 0.1, "val": 0.18}),
        ({"train"}, 0, {"test": 0.1}),
        ({"train", "test"}, 0.2, {"val": 0.2}),
        ({"train", "val"}, 0.2, {}),
        ({"train", "val", "test"}, 0.2, {}),
        ({"train", "test"}, 0, {}),
    ],
)
def test_shares_are_of_the_sides_that_nobody_has_chosen(
    chosen: set[str], validation: float, shares: dict[str, float]
) -> None:
    assert shares_of(chosen, validation) == pytest.approx(shares)
    assert list(shares_of(chosen, validation)) == list(shares)


@given(st.lists(st.integers(0, 30), min_size=20, max_size=40), st.randoms())
@settings(deadline=None)
def test_sides_do_not_depend_on_the_order_and_copies_count_once(numbers: list[int], shuffler: random.Random) -> None:
    contents = [sha(number) for number in [*numbers, 100, 101, 102]]
    once = sorted(set(contents))
    shuffled = shuffler.sample(contents, len(contents))
    shares = {"test": 0.1, "val": 0.1}
    assert choose_sides({"cat": shuffled}, shares, {}) == choose_sides({"cat": once}, shares, {})


def test_sides_of_two_images_and_their_copies_are_too_few() -> None:
    with pytest.raises(DataError, match="Class `cat` has 2 different images"):
        choose_sides({"cat": [sha(1), sha(2)] * 5}, {"test": 0.1, "val": 0.1}, {})


@pytest.mark.parametrize(
    ("count", "shares", "wanted"), [(2, SHARES[0], "test, val, train"), (1, SHARES[3], "val, train")]
)
def test_class_with_fewer_images_than_sides_is_refused(count: int, shares: dict[str, float], wanted: str) -> None:
    expected = (
        f"Class `dog` has {count} different images. Expected at least {len(shares) + 1}, one for each of {wanted}. "
        "Add images, or choose the sides yourself: train/, val/ and test/ folders, or a column `split`."
    )
    contents = {"cat": [sha("cat", number) for number in range(9)], "dog": [sha(number) for number in range(count)]}
    with pytest.raises(DataError, match=re.escape(expected)):
        choose_sides(contents, shares, {})


@pytest.mark.parametrize("shares", [{"test": 0.1, "val": 0.2}, {"val": 0.05}, {"test": 0.1, "val": 0.4}], ids=str)
def test_sides_have_about_their_shares(shares: dict[str, float]) -> None:
    sides, added = choose_sides({"cat": [sha(number) for number in range(5000)]}, shares, {})
    assert not added, "a pin is for a side that stays empty"
    counts = Counter(sides.values())
    for side, share in {**shares, "train": 1 - sum(shares.values())}.items():
        assert counts[side] / 5000 == pytest.approx(share, abs=0.02)


def test_test_side_does_not_depend_on_the_share_of_validation() -> None:
    contents = {"cat": [sha(number) for number in range(1000)]}
    tests = []
    for validation in (0.05, 0.1, 0.5):
        sides, _ = choose_sides(contents, {"test": 0.1, "val": validation}, {})
        tests.append({content for content, side in sides.items() if side == "test"})
    assert tests[0] == tests[1] == tests[2]


def test_pins_are_obeyed_and_kept_to_the_side_that_lacks_an_image() -> None:
    contents = [content_at(0.9, number) for number in range(5)]
    sides, added = choose_sides({"cat": contents}, {"test": 0.1, "val": 0.1}, {contents[4]: "val"})
    assert added == {contents[0]: "test"}
    assert [sides[content] for content in contents] == ["test", "train", "train", "train", "val"]


def test_image_in_two_classes_leaves_no_side_of_either_empty() -> None:
    both = content_at(0.9, 0)
    contents = {
        "cat": [both, content_at(0.9, 1), content_at(0.9, 2)],
        "dog": [both, content_at(0.05, 3), content_at(0.15, 4)],
    }
    shares = {"test": 0.1, "val": 0.1}
    sides, added = choose_sides(contents, shares, {})
    for class_name, of_class in contents.items():
        assert sides_of_class(sides, of_class) == {"test", "val", "train"}, class_name
    assert choose_sides(contents, shares, added)[0] == sides, "the next run has the same sides"


def test_image_without_a_pin_fills_a_side_before_one_with_a_pin() -> None:
    contents = sorted(content_at(0.9, number) for number in range(4))
    pins = {contents[0]: "train", contents[1]: "train"}
    _, added = choose_sides({"cat": contents}, {"test": 0.1, "val": 0.1}, pins)
    assert added == {contents[2]: "test", contents[3]: "val"}
    _, added = choose_sides({"cat": contents}, {"test": 0.1, "val": 0.1}, dict.fromkeys(contents, "train"))
    assert added == {contents[0]: "test", contents[1]: "val"}, "every class on every side comes first"


def test_image_that_fills_a_side_comes_from_the_side_that_has_most() -> None:
    test = [content_at(0.05, number) for number in range(2)]
    train = [content_at(0.9, number) for number in range(2, 6)]
    sides, added = choose_sides({"cat": [*test, *train]}, {"test": 0.1, "val": 0.1}, {})
    assert added == {train[0]: "val"}
    assert [sides[content] for content in test] == ["test", "test"]


@pytest.mark.parametrize("pinned", ["val", "tset"])
def test_image_pinned_to_a_side_that_is_not_wanted_gets_another(pinned: str) -> None:
    contents = [content_at(0.9, number) for number in range(4)]
    sides, _ = choose_sides({"cat": contents}, {"test": 0.1}, {contents[0]: pinned, contents[1]: "test"})
    assert sides[contents[1]] == "test"
    assert set(sides.values()) == {"test", "train"}, "an image of another side would be in no part at all"


def test_pins_of_a_folder_without_any_are_none(tmp_path: Path) -> None:
    assert read_pins(tmp_path) == {}


def test_pins_are_read_as_they_were_written(tmp_path: Path) -> None:
    pins = {sha(1): "val", sha(2): "test"}
    sentence = write_pins(tmp_path, pins, {"cat": [sha(1), sha(2)], "dog": [sha(2), sha(3)]})
    path = tmp_path / PINS_FILE
    assert sentence == (
        f"{tmp_path}: by chance, class `cat` got no val image, classes `cat`, `dog` got no test image; an image was "
        f"put there for each. Wrote {path}, keep it with the images."
    )
    assert read_pins(tmp_path) == pins == json.loads(path.read_text(encoding="utf-8"))
    assert [file.name for file in tmp_path.iterdir()] == [PINS_FILE]


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a": "nowhere"}',
        b'{"a": []}',
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b'{"a": 1}',
        b'{"a": null}',
        b"\xff\xfe{}",
    ],
)
def test_damaged_pins_are_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / PINS_FILE).write_bytes(data)
    with pytest.raises(DataError, match=r"\.trainkit-split\.json is damaged \(.+\)\. Put it back, or delete it"):
        read_pins(tmp_path)


def test_only_new_pins_are_told_of(tmp_path: Path) -> None:
    write_pins(tmp_path, {sha(1): "val"}, {"cat": [sha(1)]})
    sentence = write_pins(tmp_path, {sha(1): "val", sha(2): "test"}, {"cat": [sha(1)], "dog": [sha(2)]})
    assert sentence.startswith(f"{tmp_path}: by chance, class `dog` got no test image; ")


def test_pins_that_cannot_be_written_become_a_sentence(tmp_path: Path) -> None:
    table = tmp_path / "photos.csv"
    table.touch()
    (tmp_path / PINS_FILE).mkdir()  # nobody, root included, can put a file in its place
    sentence = write_pins(table, {sha(1): "val", sha(2): "test"}, {"cat": [sha(1), sha(2)]})
    assert sentence.startswith(f"{table}: by chance, class `cat` got no val image, class `cat` got no test image; ")
    assert sentence.endswith(
        "): the side of 2 images may change when others are added. Make train/, val/ and test/ folders, or a column "
        "`split`."
    )
    table.unlink()
    assert [file.name for file in tmp_path.iterdir()] == [PINS_FILE], "nothing half-written is left"
