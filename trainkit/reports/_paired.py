"""Two runs on the same images: whether the one is better, or chance says so; and which runs had the same images."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from trainkit.errors import TrainkitError
from trainkit.runs._answers import RightAnswers, read_answers, right_answers
from trainkit.runs._evaluation import answer_run
from trainkit.runs._figures import mcnemar, side_in_words
from trainkit.runs._run import Run

SELDOM = 0.05  # what chance does less often than this is taken for more than chance


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """McNemar's test of two runs."""

    first: str
    second: str
    images: int
    only_first: int  # images that only the first run had right
    only_second: int
    p: float  # how probable chance makes a difference as large as this

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self)

    def __str__(self) -> str:
        """Return a sentence."""
        verdict = "seldom makes" if self.p < SELDOM else "may make"
        return (
            f"On the same {self.images:,} images, only {self.first} was right on {self.only_first:,} and only "
            f"{self.second} on {self.only_second:,}: a difference that chance alone {verdict} (McNemar's test, "
            f"p = {self.p:.2g})."
        )


def compare_pairs(runs: Sequence[Run], names: Sequence[str], notes: list[str], *, evaluate: bool) -> list[PairedTest]:
    """Compare runs two by two, where they were measured on the same images; of the others the notes tell.

    Args:
        runs: any.
        names: of the runs, each once.
        notes: are added to.
        evaluate: whether a run answers its images again where it did not keep its answers.
    """
    found = dict(zip(names, [_answers_of(run, notes, evaluate=evaluate) for run in runs], strict=True))
    notes += _notes_of_data(runs, names, found)
    unknown = [name for name, run in zip(names, runs, strict=True) if found[name] is None and _has_figures(run)]
    if unknown and not evaluate:
        notes.append(
            f"Which images came out right was not kept by {', '.join(unknown)}: with --evaluate the runs answer them "
            "again, for McNemar's test."
        )
    return list(_tests(found))


def _tests(found: dict[str, RightAnswers | None]) -> Iterator[PairedTest]:
    for (first, one), (second, other) in combinations(found.items(), 2):
        if one is None or other is None or one.images != other.images or len(one.right) != len(other.right):
            continue
        only_first = sum(a and not b for a, b in zip(one.right, other.right, strict=True))
        only_second = sum(b and not a for a, b in zip(one.right, other.right, strict=True))
        yield PairedTest(
            first=first,
            second=second,
            images=len(one.right),
            only_first=only_first,
            only_second=only_second,
            p=mcnemar(only_first, only_second),
        )


def _answers_of(run: Run, notes: list[str], *, evaluate: bool) -> RightAnswers | None:
    try:
        if run.result["test_accuracy"] is None:
            return None
        kept = read_answers(run)
        if kept is not None or not evaluate:
            return kept
        return right_answers(answer_run(run))
    except TrainkitError as error:
        if str(error) not in notes:
            notes.append(str(error))
        return None


def _notes_of_data(runs: Sequence[Run], names: Sequence[str], found: dict[str, RightAnswers | None]) -> Iterator[str]:
    trained = {name: _trained_on(run) for name, run in zip(names, runs, strict=True)}
    if _several(trained):
        yield f"Not trained on the same images, or not with the same ones held out: {_grouped(trained)}."
    measured = {name: one.images for name, one in found.items() if one is not None}
    if _several(measured):
        sides = {name: f"{name} ({_side_of(run)})" for name, run in zip(names, runs, strict=True)}
        told = {sides[name]: images for name, images in measured.items()}
        yield f"Not measured on the same images, so their figures cannot be held against each other: {_grouped(told)}."


def _several(kinds: Mapping[str, str | None]) -> bool:
    """Whether there are several, of those that are known."""
    return len({kind for kind in kinds.values() if kind is not None}) > 1


def _grouped(kinds: Mapping[str, str | None]) -> str:
    """Write names, those of one kind between semicolons."""
    groups: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        if kind is not None:
            groups.setdefault(kind, []).append(name)
    return "; ".join(", ".join(names) for names in groups.values())


def _trained_on(run: Run) -> str | None:
    """Return what tells a run's images and their sides from others; `None` where it cannot be read."""
    try:
        known = run.environment.get("data")
        return str(known) if known else json.dumps([run.config.data, run.config.training.validation])
    except TrainkitError:
        return None


def _side_of(run: Run) -> str:
    return side_in_words(run.result["test_split"])


def _has_figures(run: Run) -> bool:
    try:
        return run.result["test_accuracy"] is not None
    except TrainkitError:
        return False
