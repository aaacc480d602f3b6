"""Pixels decoded ahead: the same as a training decodes, in the same file of the cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photographs import write_class_folders
from typer.testing import CliRunner

import trainkit
from trainkit.cli import app
from trainkit.cluster._decoding import Decoding, cache_pixels
from trainkit.cluster._inspecting import into_blocks
from trainkit.cluster._spreading import spread_over_threads
from trainkit.data import _cache
from trainkit.data._cache import Blocks
from trainkit.data._dataset import FileImages, Part
from trainkit.data._pipeline import decoding_by, read_pixels
from trainkit.errors import DataError, OutputError
from trainkit.preprocessing import Preprocessing, build_preprocessing


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_class_folders(tmp_path / "photos", count=40)
    return tmp_path / "photos"


def decode_backwards(paths: Any, preprocessing: Preprocessing) -> Blocks:
    blocks = into_blocks(paths, 2 * _cache.BLOCK)
    yield from reversed(
        list(spread_over_threads(Decoding(preprocessing), blocks, threads=1, advance=lambda images: None))
    )


def test_blocks_are_kept_as_one_machine_keeps_them(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(photos.rglob("*.*"))
    part, preprocessing = (
        Part(FileImages(paths), np.zeros(len(paths), np.int64)),
        build_preprocessing("unit", height=12, width=16),
    )
    kept = []
    for name in ("here", "elsewhere"):
        monkeypatch.setenv("TRAINKIT_CACHE", str(tmp_path / name))
        if name == "here":
            read_pixels(part, preprocessing)
        else:
            with decoding_by(decode_backwards):
                read_pixels(part, preprocessing)
        (file,) = (tmp_path / name).iterdir()
        kept.append((file.name, file.read_bytes()))
    assert len(paths) > 2 * _cache.BLOCK and kept[0] == kept[1]


def test_a_training_decodes_nothing_any_more(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE", str(tmp_path / "cache"))
    asked = ["data", "cache", str(photos), "--model", "small-cnn", "--size", "16x12", "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    cached = json.loads(done.stdout)
    assert cached["folder"] == str(tmp_path / "cache") and cached["size"] == [16, 12]
    assert sum(cached["images"].values()) == len(list(photos.rglob("*.*")))
    before = {file.name for file in (tmp_path / "cache").iterdir()}
    assert len(before) == len(cached["images"])
    options: dict[str, Any] = {"model": "small-cnn", "size": "16x12", "epochs": 1, "settings": {"model.filters": 4}}
    trainkit.train(photos, **options, experiments=tmp_path / "experiments")
    assert {file.name for file in (tmp_path / "cache").iterdir()} == before


def test_what_cannot_be_decoded_is_named(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE", str(tmp_path / "cache"))
    paths = sorted(photos.rglob("*.*"))
    part = Part(FileImages(paths), np.zeros(len(paths), np.int64))
    paths[20].write_bytes(b"broken since it was looked at")
    with decoding_by(decode_backwards), pytest.raises(DataError, match=paths[20].name):
        read_pixels(part, build_preprocessing("unit", height=12, width=16))
    assert not list((tmp_path / "cache").glob("*")), "nothing half-written"


def test_a_cache_that_cannot_be_written_is_an_error(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setenv("TRAINKIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"Cannot write .*file: File exists\. Free the space or choose a place"):
        cache_pixels(photos, model="small-cnn", size=(16, 12))


def test_python_takes_what_the_command_takes(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE", str(tmp_path / "cache"))
    cached = cache_pixels(photos, model="small-cnn", size=(16, 12), color="gray", validation=0.0)
    assert set(cached.images) == {"train", "test"} and cached.bytes == sum(cached.images.values()) * 16 * 12
