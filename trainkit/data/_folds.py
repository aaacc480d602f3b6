"""Folds of a cross-validation: every picture is held out once, and what belongs together is held out together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from trainkit.data._split import choose_sides, natural_side
from trainkit.errors import DataError

_NAMED = 5  # of many, in a sentence


def assign_folds(keys: Sequence[str], labels: Sequence[Sequence[str]], folds: int) -> np.ndarray:
    """Put every picture into a fold, each class spread over all of them as evenly as its groups allow.

    The groups with the most labels come first, and each goes where the fewest pictures of its classes are, rare classes
    counting most (after Sechidis et al. 2011, "On the Stratification of Multi-label Data", for groups of pictures). It
    follows from the pictures alone, whatever their order.

    Args:
        keys: of each picture; equal ones stay in one fold.
        labels: the classes of each picture.
        folds: how many, from 2.

    Returns:
        int64 `(N,)`, 0 to `folds - 1`.

    Raises:
        DataError: there are fewer groups than folds, or all pictures of a class would be held out at once.
    """
    names = sorted({name for of_image in labels for name in of_image})
    number_of = {name: number for number, name in enumerate(names)}
    members: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        members.setdefault(key, []).append(index)
    _check_groups(members, labels, folds)
    totals = np.zeros(len(names))
    for of_image in labels:
        totals[[number_of[name] for name in of_image]] += 1
    filled, sizes, chosen = np.zeros((folds, len(names))), np.zeros(folds), np.zeros(len(keys), np.int64)

    def order(key: str) -> tuple[int, int, bytes]:
        return -sum(len(labels[index]) for index in members[key]), -len(members[key]), _digest(key)

    for key in sorted(members, key=order):
        numbers = np.array([number_of[name] for index in members[key] for name in labels[index]], np.int64)
        # What counts is how full a fold is of these classes; where that is equal, of pictures.
        full = (filled[:, numbers] / totals[numbers]).sum(axis=1) if len(numbers) else np.zeros(folds)
        fold = int(np.lexsort((sizes, full.round(12)))[0])
        np.add.at(filled[fold], numbers, 1)
        sizes[fold] += len(members[key])
        chosen[members[key]] = fold
    for number, name in enumerate(names):
        if (filled[:, number] > 0).sum() < 2:
            raise _held_out_at_once(name)
    return chosen


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _check_groups(members: Mapping[str, Sequence[int]], labels: Sequence[Sequence[str]], folds: int) -> None:
    if len(members) < folds:
        raise DataError(
            f"There are {len(members)} groups of pictures that stay together. Expected at least {folds}, one for each "
            f"fold. Take fewer folds, or add pictures of others."
        )
    groups_of: dict[str, int] = {}
    for indices in members.values():
        for name in {name for index in indices for name in labels[index]}:
            groups_of[name] = groups_of.get(name, 0) + 1
    for name, count in sorted(groups_of.items()):
        if count < 2:
            raise _held_out_at_once(name)


def _held_out_at_once(name: str) -> DataError:
    return DataError(
        f"The images of class `{name}` are all of one group that stays together, so that none would be left to learn "
        "from while it is held out. Expected at least two groups, such as pictures of two persons. Add images."
    )


def hold_out(
    keys: Sequence[str], labels: Sequence[Sequence[str]], *, fold: int, folds: int, validation: float
) -> tuple[list[str], list[str]]:
    """Return the side of each picture while a fold is held out: `test` for this, else `train` or `val`.

    Args:
        keys: of each picture; equal ones stay together.
        labels: the classes of each picture.
        fold: the one that is held out, from 1.
        folds: how many there are.
        validation: the share of the other pictures that chooses the epoch; 0 for none.

    Returns:
        The sides, and sentences for the user.

    Raises:
        DataError: a class has too few groups.
    """
    fold_of = assign_folds(keys, labels, folds)
    for other in range(2, folds + 1) if fold == 1 else ():  # what is wrong with one is said before any is trained
        _sides_without(keys, labels, fold_of == other - 1, validation)
    chosen = fold_of == fold - 1
    sides = _sides_without(keys, labels, chosen, validation)
    missing = {name for of_image in labels for name in of_image}
    missing -= {name for of_image, out in zip(labels, chosen, strict=True) if out for name in of_image}
    if not missing:
        return sides, []
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    named = ", ".join(f"`{name}`" for name in sorted(missing)[:_NAMED])
    return sides, [f"Fold {fold} of {folds} holds out no image of {named}{more}: they are in too few groups."]


def _sides_without(
    keys: Sequence[str], labels: Sequence[Sequence[str]], held_out: np.ndarray, validation: float
) -> list[str]:
    if not validation:
        return ["test" if out else "train" for out in held_out]
    of_class: dict[str, list[str]] = {}
    for key, of_image, out in zip(keys, labels, held_out, strict=True):
        for name in () if out else of_image:
            of_class.setdefault(name, []).append(key)
    shares = {"val": validation}
    side_of, _ = choose_sides(of_class, shares, {}, what="groups of images outside of the fold that is held out")
    return [
        "test" if out else side_of.get(key) or natural_side(key, shares, {})
        for key, out in zip(keys, held_out, strict=True)
    ]
