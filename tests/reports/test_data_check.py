from __future__ import annotations

import base64
import io
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import pytest
from photographs import add_scenes, draw_scene
from PIL import Image

from trainkit.data._check import check_folder
from trainkit.errors import OutputError
from trainkit.reports import _data_check as data_check
from trainkit.reports._data_check import write_data_check

HOSTILE = ["<img src=x onerror=alert(1)>", '"><script>alert(1)</script>', "{{ 7 * 7 }}", "a & b", "猫"]


class Page(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, text: str) -> None:
        self.text += text

    @property
    def pictures(self) -> list[Image.Image]:
        uris = [str(attributes["src"]) for tag, attributes in self.tags if tag == "img"]
        assert all(uri.startswith("data:image/jpeg;base64,") for uri in uris)
        return [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in uris]


def write(folder: Path, to: Path) -> Page:
    write_data_check(check_folder(folder), to / "check.html")
    assert [path.name for path in to.glob(".*")] == []
    return Page(to / "check.html")


def test_page_of_a_clean_folder_shows_pictures_of_each_class(tmp_path: Path) -> None:
    photos = add_scenes(tmp_path / "photos", ["cats", "dogs"], 9)
    (photos / "cats" / "broken.jpg").touch()
    page = write(photos, tmp_path)
    assert "Pictures of each class" in page.text and "Near duplicates" in page.text
    shown = [str(attributes["alt"]) for tag, attributes in page.tags if tag == "img"]
    assert shown == [f"{name}/{number:02}.png" for name in ("cats", "dogs") for number in (0, 1, 3, 4, 6, 8)]
    assert len(page.pictures) == 12 and "ready" in write(add_scenes(tmp_path / "more", ["a", "b"], 9), tmp_path).text


def test_page_of_a_folder_with_repeats_shows_these(tmp_path: Path) -> None:
    photos = add_scenes(tmp_path / "photos", ["cats", "dogs"], 5)
    shutil.copy(photos / "cats" / "00.png", photos / "cats" / "again.png")
    page = write(photos, tmp_path)
    assert "Pictures of each class" not in page.text and len(page.pictures) == 2


def test_page_of_images_without_classes_shows_some_of_them(tmp_path: Path) -> None:
    page = write(add_scenes(tmp_path, ["photos"], 3) / "photos", tmp_path)
    assert "No class" in page.text and len(page.pictures) == 3


def test_page_of_very_many_classes_shows_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_check, "_CLASSES", 2)
    page = write(add_scenes(tmp_path / "photos", list("abcde"), 4), tmp_path)
    assert len(page.pictures) == 2 * 4 and "And 3 more classes." in page.text


def test_page_shows_the_pictures_of_each_group(tmp_path: Path) -> None:
    photos = add_scenes(tmp_path / "photos", ["train/cats", "train/dogs", "test/cats", "test/dogs"], 5)
    shutil.copy(photos / "train" / "cats" / "01.png", photos / "test" / "dogs" / "seen before.png")
    (photos / "train" / "dogs" / "broken.jpg").touch()
    page = write(photos, tmp_path)
    assert "put right first" in page.text
    assert "cats/<wbr>01.png" in (tmp_path / "check.html").read_text(encoding="utf-8"), "a path breaks at its folders"
    assert "seen before.png" in page.text and "is empty" in page.text
    shown = page.pictures
    assert len(shown) == 2, "once, although it is a leak, a contradiction and a duplicate"
    assert "Also among the contradictions and the duplicates." in page.text
    assert page.text.count("Shown above.") == 2
    assert {picture.size for picture in shown} == {(120, 90)}


def test_page_shows_a_part_of_a_group_within_it(tmp_path: Path) -> None:
    photos = add_scenes(tmp_path / "photos", ["cats", "dogs"], 5)
    shutil.copy(photos / "cats" / "01.png", photos / "cats" / "copy.png")
    large = cv2.resize(cv2.imread(str(photos / "cats" / "01.png")), None, fx=2, fy=2)
    cv2.imwrite(str(photos / "cats" / "large.png"), large)
    other = photos / "dogs" / "03.png"
    shutil.copy(other, photos / "dogs" / "03 copy.png")
    page = write(photos, tmp_path)
    assert len(page.pictures) == 3 + 2
    assert "Also among the duplicates (2 of them)." in page.text and "1 of them is shown above." in page.text


def test_page_tells_sizes_once(tmp_path: Path) -> None:
    photos = add_scenes(tmp_path / "photos", ["cats", "dogs"], 5)
    assert write(photos, tmp_path).text.count("120x90") == 1, "in the list of sizes"
    cv2.imwrite(str(photos / "dogs" / "l.png"), cv2.resize(cv2.imread(str(photos / "dogs" / "01.png")), (240, 180)))
    text = write(photos, tmp_path).text
    assert text.count("120x90") == text.count("240x180") == 2, "in the list, and where they differ in a group"


def test_page_names_the_most_frequent_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_check, "_FACTS", 1)
    photos = add_scenes(tmp_path / "photos", ["cats", "dogs"], 5)
    for number, side in enumerate((40, 50, 50)):
        cv2.imwrite(str(photos / "dogs" / f"small-{number}.png"), draw_scene(60 + number, side, side))
    page = write(photos, tmp_path)
    assert "120x90" in page.text and "40x40" not in page.text
    assert page.text.count("2 others3") == 1, "so many sizes, so many images"


def test_large_pictures_are_scaled_down(tmp_path: Path) -> None:
    photos = add_scenes(tmp_path / "photos", ["cats", "dogs"], 4)
    cv2.imwrite(str(photos / "cats" / "large.png"), draw_scene(50, 900, 1200))
    shutil.copy(photos / "cats" / "large.png", photos / "cats" / "again.png")
    page = write(photos, tmp_path)
    assert [picture.size for picture in page.pictures] == [(224, 168)] * 2


def test_page_loads_nothing_and_runs_nothing_whatever_the_names(tmp_path: Path) -> None:
    photos = add_scenes(tmp_path / "photos", ["dogs", *(name.replace("/", "∕") for name in HOSTILE)], 4)
    for name in HOSTILE:
        folder = photos / name.replace("/", "∕")
        shutil.copy(folder / "00.png", folder / f"{folder.name}.png")
        (folder / f"{folder.name}.txt").touch()
        (photos / f"{folder.name}.md").touch()
        (photos / f".{folder.name}").touch()
        (folder / "out.png").symlink_to(Path("/") / folder.name)
    os.close(os.open(os.fsencode(photos / "dogs") + b"/bad\xff.jpg", os.O_CREAT))
    page = write(photos, tmp_path)
    for name in HOSTILE:
        assert page.text.count(name.replace("/", "∕")) > 3
    assert "bad\\xff.jpg" in page.text
    tags = {tag for tag, _ in page.tags}
    assert "script" not in tags and "iframe" not in tags
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert str(attributes.get("src", "data:")).startswith("data:")
        assert str(attributes.get("href", "data:")).startswith("data:")
    assert len(page.pictures) == 2 * len(HOSTILE)


def test_file_that_has_gone_since_is_said_to_have_gone(tmp_path: Path) -> None:
    photos = add_scenes(tmp_path / "photos", ["cats", "dogs"], 4)
    shutil.copy(photos / "cats" / "00.png", photos / "cats" / "again.png")
    check = check_folder(photos)
    (photos / "cats" / "again.png").unlink()
    write_data_check(check, tmp_path / "check.html")
    page = Page(tmp_path / "check.html")
    assert len(page.pictures) == 1 and "has gone" in page.text


def test_page_stays_small_where_very_much_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_check, "_GROUPS", 3)
    monkeypatch.setattr(data_check, "_PICTURES", 2)
    photos = add_scenes(tmp_path / "photos", ["cats", "dogs"], 6)
    for number in range(5):
        for copy in range(3):
            shutil.copy(photos / "cats" / f"{number:02}.png", photos / "cats" / f"{number:02} copy {copy}.png")
    page = write(photos, tmp_path)
    assert len(page.pictures) == 3 * 2
    assert "and 2 more" in page.text and "And 2 more groups" in page.text


def test_page_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    photos = add_scenes(tmp_path / "photos", ["cats", "dogs"], 4)
    with pytest.raises(OutputError, match=r"Cannot write .*gone/check\.html"):
        write_data_check(check_folder(photos), tmp_path / "gone" / "check.html")
