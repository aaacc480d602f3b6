"""Files looked at in blocks: the same is found in them, in their order."""

from __future__ import annotations

from pathlib import Path

import pytest
from photographs import write_class_folders

from trainkit.cluster._inspecting import Inspection, in_order, into_blocks
from trainkit.cluster._spreading import spread_over_threads
from trainkit.data._inspection import ImageFile, inspect_files, inspecting_by


def test_blocks_find_what_one_machine_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_class_folders(tmp_path / "photos", count=4)
    (tmp_path / "photos" / "red" / "broken.jpg").write_bytes(b"broken")
    monkeypatch.chdir(tmp_path)
    paths = sorted(Path("photos").rglob("*.*"))
    done: list[int] = []
    results = spread_over_threads(Inspection(), into_blocks(paths, 3), threads=2, advance=done.append)
    found = in_order(paths, results)
    assert found == inspect_files(paths)
    assert [file.path for file in found] == paths
    assert sum(done) == len(paths) == 13


def test_another_may_look_at_the_files() -> None:
    asked: list[Path] = []

    def look(paths: object) -> list[ImageFile]:
        asked.extend(paths)  # type: ignore[call-overload]
        return [ImageFile(path, "", "was not looked at") for path in asked]

    with inspecting_by(look):
        assert inspect_files([Path("a.jpg")])[0].problem == "was not looked at"
    assert asked == [Path("a.jpg")]
    assert inspect_files([Path("a.jpg")])[0].problem != "was not looked at"
