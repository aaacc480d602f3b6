"""Pictures on which classify.py draws what it found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from client import run_script

from trainkit.deploy.python._drawing import draw, save_picture
from trainkit.deploy.python._media import Picture, read_image
from trainkit.deploy.python._values import Prediction


def test_script_draws_what_it_found(bundle: Path, tmp_path: Path) -> None:
    assert run_script(bundle, "selftest/1.png", "--annotate", str(tmp_path / "one.png")).returncode == 0
    assert not np.array_equal(read_image(tmp_path / "one.png"), read_image(bundle / "selftest" / "1.png"))
    again = run_script(bundle, "selftest/2.png", "--annotate", str(tmp_path / "one.png"))
    assert again.returncode == 1
    assert "one.png exists already, and nothing is overwritten. Choose another --annotate." in again.stderr
    several = run_script(bundle, "selftest/1.png", "selftest/2.png", "--annotate", str(tmp_path / "new" / "many"))
    assert several.returncode == 0
    assert sorted(path.name for path in (tmp_path / "new" / "many").iterdir()) == ["1.png", "2.png"]
    wrong = run_script(bundle, "selftest/1.png", "--annotate", str(tmp_path / "one.txt"))
    assert (wrong.returncode, (tmp_path / "one.txt").exists()) == (1, False)
    assert "one.txt. Expected a name that ends in .png or .jpg." in wrong.stderr


def test_letters_that_a_terminal_obeys_are_drawn_written_out() -> None:
    black = np.zeros((40, 600, 3), np.uint8)
    drawn = draw(black, [Prediction("a\x1b\u202eb", 0.5)])
    assert np.array_equal(drawn, draw(black, [Prediction("a\\x1b\\u202eb", 0.5)]))
    assert not np.array_equal(drawn, draw(black, [Prediction("a??b", 0.5)]))


def test_script_draws_on_frames(bundle: Path, film: Path, tmp_path: Path) -> None:
    assert run_script(bundle, str(film), "--every", "5", "--annotate", str(tmp_path / "out")).returncode == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["film-0.png", "film-5.png"]
    black = np.zeros((8, 8, 3), np.uint8)
    save_picture(str(tmp_path / "out"), Picture("camera 0", 3, black), black, several=True)
    assert (tmp_path / "out" / "camera 0-3.png").is_file()
