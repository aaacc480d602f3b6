"""The winner of a study meets the images for testing: once, after all choices were made."""

from __future__ import annotations

import time

from trainkit.runs._answers import keep_answers
from trainkit.runs._evaluation import answer_run
from trainkit.runs._run import Run
from trainkit.training._fit import draw

_PAUSE_SECONDS = 0.5


def measure_winner(run: Run) -> None:
    """Measure a run of a study on the images for testing, where there are any and it was not yet; draw its page anew.

    Raises:
        TrainkitError: the run or its data cannot be used any more.
    """
    while run.is_training():  # another process that has come to the end of the study measures it
        time.sleep(_PAUSE_SECONDS)
    if run.result["test_split"] == "test":
        return
    with run.training():
        answered = answer_run(run)
        if answered.side != run.result["test_split"]:
            run.set_result(**answered.measure(), test_images=keep_answers(run, answered))
            draw(run)
