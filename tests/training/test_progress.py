"""What one sees while a model is trained."""

from __future__ import annotations

import io
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from trainkit.training._progress import ProgressBar

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
