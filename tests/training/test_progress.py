"""What one sees while a model is trained."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from terminals import on_terminal

from trainkit.training._progress import ProgressBar

pytestmark = pytest.mark.slow  # each starts the command, or a training, by itself

TRAINING = """
from trainkit.training._progress import ProgressBar

def train(last_epoch):
    bar = ProgressBar(3, images=64, batch_size=32)
    bar.set_params({"steps": 2})
    bar.on_train_begin()
    for epoch in range(3):
        bar.on_epoch_begin(epoch)
        bar.on_train_batch_end(0, {"loss": 0.7})
        bar.on_train_batch_end(1, {"loss": 0.5})
        if epoch == last_epoch:
            break
        bar.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.25 + epoch})
    bar.close()
"""


@pytest.fixture(scope="module")
def outputs() -> list[list[nbformat.NotebookNode]]:
    """What a saved notebook keeps of a training of three epochs, and of one that ended in the second."""
    sources = [TRAINING, "train(None)", "train(1)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    return [list(cell.outputs) for cell in notebook.cells[1:]]


def test_a_notebook_keeps_one_bar_at_its_end(outputs: list[list[nbformat.NotebookNode]]) -> None:
    (bar,) = outputs[0]
    assert bar.output_type == "display_data"
    assert bar.data["text/plain"].startswith("epoch 3/3  loss 0.5000  val_loss 2.2500  ")
    assert '<progress value="6" max="6"' in bar.data["text/html"]


def test_a_training_that_ends_early_leaves_the_bar_where_it_was(outputs: list[list[nbformat.NotebookNode]]) -> None:
    (bar,) = outputs[1]
    assert bar.data["text/plain"].startswith("epoch 2/3  loss 0.5000  ")
    assert '<progress value="4" max="6"' in bar.data["text/html"]


LOGS = {"loss": 1.2345, "accuracy": 0.1234, "val_loss": 0.1234, "val_accuracy": 0.1234}


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (110, "epoch 10/10  loss 1.2345  accuracy 0.1234  val_loss 0.1234  val_accuracy 0.1234"),
        (80, "epoch 10/10  loss 1.2345  accuracy 0.1234  val_loss 0.1234  val_accuracy 0.1234"),
        (70, "epoch 10/10  accuracy 0.1234  val_loss 0.1234  val_accuracy 0.1234"),
        (40, "epoch 10/10  val_accuracy 0.1234"),
    ],
)
def test_a_terminal_has_room_for_every_line(columns: int, line: str, tmp_path: Path) -> None:
    script = f"""
from trainkit.training._progress import ProgressBar

bar = ProgressBar(10, images=64000, batch_size=32)
bar.set_params({{"steps": 2000}})
bar.on_train_begin()
for epoch in range(10):
    bar.on_epoch_begin(epoch)
    for step in range(0, 2000, 500):
        bar.on_train_batch_end(step, {LOGS})
        bar._progress.refresh()
    bar.on_epoch_end(epoch, {LOGS})
bar.close()
"""
    session = on_terminal([sys.executable, "-c", script], cwd=tmp_path, columns=columns)
    assert session.code == 0, session.raw
    last = session.text.rstrip().splitlines()[-1]
    assert re.sub(r"  [\d,]+ images/s$", "", last) == line
    assert last.endswith("images/s") == (columns == 110)
    shown = re.sub(r"\x1b\[\??[\d;]*[A-Za-z]", "", session.raw)
    assert max(len(part) for part in re.split(r"[\r\n]+", shown)) <= columns
    assert "…" not in shown


def test_without_a_terminal_there_is_a_line_an_epoch_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    bar = ProgressBar(2, images=64, batch_size=32)
    bar.set_params({"steps": 2})
    bar.on_train_begin()
    for epoch in range(2):
        bar.on_epoch_begin(epoch)
        bar.on_train_batch_end(1, {"loss": 0.5})
        bar.on_epoch_end(epoch, {"loss": 0.5})
    bar.close()
    lines = err.getvalue().splitlines()
    assert [line[:24] for line in lines] == ["epoch 1/2  loss 0.5000  ", "epoch 2/2  loss 0.5000  "]
    assert out.getvalue() == ""
