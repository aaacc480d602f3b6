"""The command line of classify.py in this process, where a debugger and a measurement of coverage see it."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from trainkit.deploy.python import _command


@pytest.fixture
def command(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the bundle that the command is beside."""
    monkeypatch.setattr(_command, "__file__", str(bundle / "classify.py"))
    return bundle


def test_folder_is_answered_and_what_is_no_image_named(
    command: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), cv2.imread(str(next((command / "selftest").rglob("*.png")))))
    assert _command.main([str(folder), "--top", "1", "--batch", "2", "--min-confidence", "0"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("a.png: ") or "/a.png: " in shown.out
    assert "1 image in" in shown.err
    (folder / "b.png").write_bytes(b"no image")
    assert _command.main([str(folder), "--annotate", str(tmp_path / "drawn"), "--invert"]) == 1
    assert "b.png" in capsys.readouterr().err
    assert len(list((tmp_path / "drawn").iterdir())) == 1


def test_selftest_says_how_it_went(command: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _command.main(["--selftest"]) == 0
    assert "the same answers as Keras" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name at least one INPUT"),
        (["a.png", "--top", "0"], "must be at least 1"),
        (["a.png", "--min-confidence", "2"], "must be from 0 to 1"),
        (["--camera", "-1"], "must be 0 or more"),
    ],
)
def test_arguments_that_do_not_go_are_named(
    command: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _command.main(arguments)
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_backend_that_is_unknown_and_bundle_that_is_gone(
    command: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "none.png"
    assert _command.main([str(image), "--backend", "NONE"]) == 2
    (command / "manifest.json").unlink()
    assert _command.main([str(image)]) == 1
    assert "manifest.json" in capsys.readouterr().err
