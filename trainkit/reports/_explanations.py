"""Why the model answered as it did, for the pictures of a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainkit._progress import counting
from trainkit.data._dataset import Part
from trainkit.errors import UsageError
from trainkit.explaining._explainer import Explainer, explainer_of
from trainkit.explaining._networks import of_model
from trainkit.explaining._pictures import lay_heat
from trainkit.reports._answers import Answers
from trainkit.reports._findings import Mistake, RightAnswer
from trainkit.reports._pictures import thumbnail
from trainkit.runs._run import Run

_MOST_RIGHT_ANSWERS = 24  # classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """Lays heat over pictures: by HiResCAM, or by occlusion where a network has no feature map."""

    explainer: Explainer

    def heat(self, image_bgr: np.ndarray, index: int) -> np.ndarray:
        """Return a picture's thumbnail under what speaks for a class: uint8 `(height, width, 3)`, BGR."""
        small = thumbnail(image_bgr)
        return lay_heat(small, self.explainer.explain(image_bgr, index=index, size=small.shape[1::-1]).map)


def open_reasons(model: Any, run: Run) -> Reasons:
    """Make a run's model ready to be explained.

    Raises:
        TrainkitError: the model cannot be traced.
    """
    network = of_model(model, run.preprocessing, run.class_names)
    try:
        return Reasons(explainer=explainer_of(network, "hirescam"))
    except UsageError:
        return Reasons(explainer=explainer_of(network, "occlusion"))


def explain_mistakes(reasons: Reasons, part: Part, answers: Answers, mistakes: Sequence[Mistake]) -> list[Mistake]:
    """Return the surest mistakes, as many as there are in `mistakes`, each with its heat."""
    positions = answers.mistakes()[0][: len(mistakes)]
    pairs = list(zip(map(int, positions), mistakes, strict=True))
    return [
        replace(mistake, heat=reasons.heat(part.images[position], class_of_mistake(answers, position)))
        for position, mistake in counting(pairs, "Explaining mistakes")
    ]


def class_of_mistake(answers: Answers, position: int) -> int:
    """Return the class of the surest wrong decision on an image."""
    if answers.right.shape[1] == 1:
        return int(answers.predicted[position].argmax())
    return int(np.where(answers.right[position], -1.0, answers.confidence[position]).argmax())


def choose_right_answers(
    reasons: Reasons, part: Part, answers: Answers, class_names: list[str], name_of: Callable[[int], str | None]
) -> list[RightAnswer]:
    """Return the surest right answer of each class that has one, of very many classes only the first ones.

    Args:
        reasons: of the model.
        part: the images.
        answers: to them.
        class_names: of the columns.
        name_of: returns how an image's file is called on the page.
    """
    chosen = [(index, _surest(answers, index)) for index in range(len(class_names))]
    found = [(index, position) for index, position in chosen if position is not None][:_MOST_RIGHT_ANSWERS]
    return [
        RightAnswer(
            class_name=class_names[index],
            picture=thumbnail(part.images[position]),
            heat=reasons.heat(part.images[position], index),
            confidence=float(_confidence(answers, index)[position]),
            file=name_of(position),
        )
        for index, position in counting(found, "Explaining right answers")
    ]


def _surest(answers: Answers, index: int) -> int | None:
    """Return the image of a class that was taken for it, and most surely; `None` where none was."""
    right = answers.truth[:, index] & answers.predicted[:, index]
    return int(np.where(right, _confidence(answers, index), -1.0).argmax()) if right.any() else None


def _confidence(answers: Answers, index: int) -> np.ndarray:
    several = answers.confidence.shape[1] > 1
    return np.asarray(answers.confidence[:, index if several else 0])
