"""What one sees while a model is trained."""

from __future__ import annotations

import builtins
import io
import sys

import pytest

from trainkit.training._progress import ProgressBar


class KernelStream(io.StringIO):
    """A text stream that calls itself a terminal, as those of Jupyter's kernel do."""

    def isatty(self) -> bool:
        return True


def test_a_notebook_shows_plain_lines_on_standard_error(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = KernelStream(), KernelStream()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
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
    lines = err.getvalue().splitlines()
    assert [line[:24] for line in lines] == ["epoch 1/2  loss 0.5000  ", "epoch 2/2  loss 0.5000  "]
    assert out.getvalue() == ""
