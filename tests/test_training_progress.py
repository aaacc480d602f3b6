"""What one sees while a model is trained."""

from __future__ import annotations

import builtins

import pytest

from trainkit.training.progress import ProgressBar


def test_lines_go_to_standard_error_in_a_notebook_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = type("ZMQInteractiveShell", (), {})()  # by that name rich knows a notebook
    monkeypatch.setattr(builtins, "get_ipython", lambda: kernel, raising=False)
    bar = ProgressBar(2, images=64, batch_size=32)
    bar.set_params({"steps": 2})
    bar.on_train_begin()
    for epoch in range(2):
        bar.on_epoch_begin(epoch)
        bar.on_train_batch_end(1, {"loss": 0.5})
        bar.on_epoch_end(epoch, {"loss": 0.5})
    bar.close()
    shown = capsys.readouterr()
    assert [line[:24] for line in shown.err.splitlines()] == ["epoch 1/2  loss 0.5000  ", "epoch 2/2  loss 0.5000  "]
    assert shown.out == ""
