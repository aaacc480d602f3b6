"""What a network answers while it is trained: by one process alone, or by several, each for its own images."""

from __future__ import annotations

from typing import Any

import numpy as np

from trainkit.data._dataset import Part
from trainkit.data._share import share_of_part
from trainkit.models._pixel_model import model_of_pixels
from trainkit.preprocessing import Preprocessing
from trainkit.runs._evaluation import PREDICTED_AT_ONCE, predict_part
from trainkit.training._feeding import Feed
from trainkit.training._preparation import Fitted
from trainkit.training._recorder import Interruption
from trainkit.training._team import Team


def answer_part(
    team: Team,
    interruption: Interruption,
    model: Any,
    part: Part,
    preprocessing: Preprocessing,
    *,
    text: str,
) -> np.ndarray:
    """Return float32 `(N, outputs)` of a model that is in no strategy's scope, for all images of a part."""
    examples, own = np.arange(len(part)), share_of_part(part, team.share)
    ending = interruption.among(team.fewest(examples), at_once=PREDICTED_AT_ONCE)
    rows = predict_part(model, own, preprocessing, [ending], text=text) if len(own) else _no_rows(model)
    return team.gather(rows, examples)


def answer_feed(
    team: Team,
    interruption: Interruption,
    fitted: Fitted,
    model: Any,
    feed: Feed,
    chosen: np.ndarray | None,
) -> np.ndarray:
    """Return the outputs of the model that is fitted for some examples of a feed, or for all: a row each."""
    examples = np.arange(len(feed.targets)) if chosen is None else chosen
    own = feed.answering(chosen)
    if team.count > 1:  # each asks a model of its own: that which is fitted answers only all of them together
        fitted.copy_back()
        by = fitted.model.preprocessing
        model = fitted.source if by is None else model_of_pixels(fitted.source, by)
    ending = interruption.among(team.fewest(examples), at_once=feed.batch_size)
    rows = np.asarray(model.predict(own.dataset(), verbose=0, callbacks=[ending])) if own.steps else _no_rows(model)
    return team.gather(rows, examples)


def _no_rows(model: Any) -> np.ndarray:
    return np.zeros((0, int(model.output_shape[-1])), np.float32)
