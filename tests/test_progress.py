"""Steps, and who is told of them."""

from __future__ import annotations

import logging

import pytest

from trainkit._progress import Step, counting, counting_chunks, doing, listening


class Listener:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.steps: list[Step] = []

    def began(self, step: Step) -> None:
        self.told.append(("began", step.text))
        self.steps.append(step)

    def ended(self, step: Step) -> None:
        self.told.append(("ended", step.text))


def test_a_listener_is_told_of_steps_inside_others() -> None:
    listener = Listener()
    with listening(listener), doing("outer"), doing("inner"):
        pass
    assert listener.told == [("began", "outer"), ("began", "inner"), ("ended", "inner"), ("ended", "outer")]


def test_a_step_ends_with_an_error_too() -> None:
    listener = Listener()
    with listening(listener), pytest.raises(ValueError, match="spoiled"), doing("outer"):
        raise ValueError("spoiled")
    assert listener.told[-1] == ("ended", "outer")


def test_counting_goes_on_by_one_with_each_item() -> None:
    listener, seen = Listener(), []
    with listening(listener):
        for letter in counting("abc", "Reading", unit="letters"):
            seen.append((letter, listener.steps[0].done))
    assert seen == [("a", 0), ("b", 1), ("c", 2)]
    assert (listener.steps[0].done, listener.steps[0].total) == (3, 3)
    assert str(listener.steps[0]) == "Reading: 3 letters"


def test_chunks_go_on_by_as_many_as_they_hold() -> None:
    listener, seen = Listener(), []
    with listening(listener):
        for first in counting_chunks(70, 32, "Comparing"):
            seen.append((first, listener.steps[0].done))
    assert seen == [(0, 0), (32, 32), (64, 64)]
    assert listener.steps[0].done == 70


def test_without_a_listener_steps_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "trainkit.progress"), doing("Loading TensorFlow"):
        pass
    assert caplog.messages == ["Loading TensorFlow ..."]


def test_a_step_of_the_library_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from trainkit.data._inspection import inspect_files

    listener = Listener()
    with listening(listener):
        inspect_files([])
    assert listener.told == [("began", "Looking at the files"), ("ended", "Looking at the files")]
    assert capsys.readouterr() == ("", "")
