"""What strangers wrote into a run, as a page, a chart and a terminal show it; and what a page keeps to itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import trainkit as command

import trainkit
from trainkit.reports._plots import confusion_figure, curves_figure, overlaid_figures, save_figure, to_svg
from trainkit.reports._templates import without_folders
from trainkit.runs._run import Run

NAMES = [
    "a\nb: cat 1.0000",
    "\x1b]0;owned\x07\x1b[2J\x1b[31mone",
    "\u202etxt.exe",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac$",
]
HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
STATUS = 'done"><script>alert(2)</script>\x1b[2J\u202e\nfinished'


@pytest.fixture
def strange(trained_run: Run, tmp_path: Path) -> Run:
    """A run of which everything that may hold text holds a stranger's."""
    run = Run(shutil.copytree(trained_run, tmp_path / "my experiments" / "20260101-000000-strange"))
    result = json.loads((run.path / "result.json").read_text())
    result["classes"] = [{**result["classes"][0], "label": name} for name in NAMES]
    result["confusion_matrix"] = [[1] * len(NAMES)] * len(NAMES)
    result["status"], result["test_split"] = STATUS, "\x1b[31mtest"
    result["message"] = f"Cannot read {tmp_path}/my photos/x.jpg: \x1b[31m\u202e /etc/ssl/key.pem is gone\nand more"
    (run.path / "result.json").write_text(json.dumps(result))
    config = (run.path / "config.toml").read_text()
    config = re.sub(r"(?m)^data = .*$", f'data = "{tmp_path}/my photos"', config)
    (run.path / "config.toml").write_text(config)
    environment = json.loads((run.path / "environment.json").read_text())
    environment["commit"] = "\x1b]0;owned\x07\u2066"
    environment["versions"]["python"] = "/home/me/secret place/bin/python"
    (run.path / "environment.json").write_text(json.dumps(environment))
    return run


def test_page_shows_strangers_text_and_no_folder_of_this_disk(strange: Run, tmp_path: Path) -> None:
    trainkit.report(strange, exported=tmp_path / "exported")
    page = (strange.path / "report.html").read_text(encoding="utf-8")
    assert not HARMFUL.search(page)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert "\\x1b]0;owned\\x07\\x1b[2J\\x1b[31mone" in page
    assert "\\u202etxt.exe" in page
    assert str(tmp_path) not in page
    assert "secret place" not in page
    assert "/etc/ssl" not in page
    assert "…/key.pem is gone\nand more" in page
    assert "…/my photos" in page


def test_pictures_of_strangers_names_are_drawn(tmp_path: Path) -> None:
    matrix = [[1] * len(NAMES)] * len(NAMES)
    rows = [{"epoch": 1.0, "phase": "$\\frac{", "loss": 1.0, "$\\frac{\x1baccuracy": 0.5}]
    rows.append({**rows[0], "epoch": 2.0, "phase": "\u202e"})
    figures = [
        confusion_figure(matrix, NAMES),
        curves_figure(rows),
        *overlaid_figures({"loss": {name: [(1, 1.0), (2, 0.5)] for name in NAMES}}).values(),
    ]
    for figure in figures:
        assert not HARMFUL.search(to_svg(figure, "figure"))
        save_figure(figure, tmp_path / "figure.png")


@pytest.mark.parametrize("arguments", ["runs", "compare {run} {run}", "evaluate {run}", "report {run}", "export {run}"])
def test_terminal_shows_strangers_text(strange: Run, trained_run: Run, tmp_path: Path, arguments: str) -> None:
    words = [word.format(run=strange.path) for word in arguments.split()]
    line = [sys.executable, "-m", "trainkit", *words]
    line += ["--experiments", str(strange.path.parent)]
    ended = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr
    assert not HARMFUL.search(ended.stdout + ended.stderr)
    assert "script>\\x1b[2J\\u202e" in ended.stdout + ended.stderr


def test_object_shows_strangers_text(strange: Run) -> None:
    assert "script>\\x1b[2J\\u202e\\x0afinished" in repr(strange)
    assert not HARMFUL.search(repr(strange) + strange._repr_html_())


def test_json_is_exact_and_harmless(strange: Run, tmp_path: Path) -> None:
    ended = command("runs", "--json", "--experiments", strange.path.parent, cwd=tmp_path)
    assert not HARMFUL.search(ended.stdout)
    (row,) = json.loads(ended.stdout)
    assert row["status"] == STATUS


def test_names_of_files_and_classes_are_shown_harmless(tiny_dataset: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    photos = shutil.copytree(tiny_dataset, tmp_path / "photos")
    (photos / "red").rename(photos / "\u202ered\x1b[2J")
    picture = next((photos / "blue").iterdir())
    shutil.copyfile(picture, photos / "blue" / "\x1b[31m\u2067copy\n.jpg")
    ended = command("data", "check", photos, "--html", tmp_path / "page.html", cwd=tmp_path)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for text in (ended.stdout + ended.stderr, page):
        assert not HARMFUL.search(text)
        assert "\\u202ered\\x1b[2J" in text
        assert "\\x1b[31m\\u2067copy\\x0a.jpg" in text or "\\x1b[31m\\u2067copy\n.jpg" in text
    ended = command("predict", tiny_bundle, photos / "blue" / "\x1b[31m\u2067copy\n.jpg", cwd=tmp_path)
    assert "\\x1b[31m\\u2067copy\\x0a.jpg" in ended.stdout
    ended = command("predict", tiny_bundle, photos / "\x1b[2J.png", cwd=tmp_path, code=1)
    assert not HARMFUL.search(ended.stdout + ended.stderr)
    document = json.loads(command("data", "check", photos, "--json", cwd=tmp_path).stdout)
    assert "\u202ered\x1b[2J" in document["classes"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/photos", "…/photos"),
        ("/home/my name/photos/", "…/photos"),
        ("C:\\Users\\me\\photos", "…/photos"),
        ("No file /home/me/a.jpg, and none in /srv/x/b.", "No file …/a.jpg, and none in …/b."),
        ("The images are at /srv/my data/x.", "The images are at …/my data/x."),
        ("digits", "digits"),
        ("12 images/s, and/or train/val", "12 images/s, and/or train/val"),
        ("https://keras.io/api/models", "https://keras.io/api/models"),
        ("`/`", "`/`"),
    ],
)
def test_of_a_path_the_end_is_left(text: str, shown: str) -> None:
    assert without_folders(text, "/srv/my data") == shown
