from __future__ import annotations

from pathlib import Path

import pytest

from trainkit.bundles._find import find_folder
from trainkit.errors import BundleError


def save_manifest(folder: Path) -> Path:
    """Make a folder that looks like a bundle from outside."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the bundles `birds` and `digits`, below the working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "birds"):
        save_manifest(tmp_path / "exported" / name)
    return tmp_path / "exported"


@pytest.mark.parametrize("as_type", [str, Path])
def test_find_folder_by_its_name(exported: Path, as_type: type) -> None:
    assert find_folder(as_type("birds"), exported) == exported / "birds"


def test_find_folder_looks_into_exported_by_default(exported: Path) -> None:
    assert find_folder("birds").resolve() == exported / "birds"


@pytest.mark.parametrize("given", ["exported/birds", "exported/birds/", "exported/birds/manifest.json"])
def test_find_folder_by_its_path(exported: Path, given: str) -> None:
    assert find_folder(given, Path("elsewhere")).resolve() == exported / "birds"


def test_find_folder_by_an_absolute_path(exported: Path) -> None:
    assert find_folder(exported / "birds", exported) == exported / "birds"


def test_find_folder_prefers_a_path_to_a_name(exported: Path) -> None:
    mine = save_manifest(exported.parent / "birds")
    assert find_folder("birds", exported).resolve() == mine


@pytest.mark.parametrize("given", ["fish", "", "exported", "birds/labels.txt", "a\0b"])
def test_find_folder_that_is_not_there_names_those_that_are(exported: Path, given: str) -> None:
    with pytest.raises(BundleError, match=r"No bundle .* and none of this name in .*\. There are: birds, digits"):
        find_folder(given, exported)


def test_find_folder_names_no_more_than_ten(exported: Path) -> None:
    for number in range(20):
        save_manifest(exported / f"a{number:02}")
    with pytest.raises(BundleError, match=r"There are: a00, .*, a09\. A run"):
        find_folder("fish", exported)


@pytest.mark.parametrize("folder", ["empty", "missing", "file"])
def test_find_folder_where_there_are_none_says_how_to_make_one(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"No bundle fish .* A run becomes one by `trainkit export RUN`\."):
        find_folder("fish", tmp_path / folder)


def test_find_folder_does_not_offer_one_that_was_never_finished(exported: Path) -> None:
    save_manifest(exported / ".new-abc")
    with pytest.raises(BundleError, match=r"There are: birds, digits\. A run"):
        find_folder("fish", exported)


def test_find_folder_by_a_name_that_no_file_can_have(exported: Path) -> None:
    with pytest.raises(BundleError, match="No bundle nnn"):
        find_folder("n" * 300, exported)
