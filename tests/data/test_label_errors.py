from __future__ import annotations

import numpy as np
import pytest

from trainkit.data._label_errors import (
    check_one_label,
    confident_classes,
    confident_joint,
    confident_thresholds,
    find_in_probabilities,
    noise_counts,
    prune_by_class,
    rank_labels,
)
from trainkit.errors import DataError

# By hand: of class 0 the model is 0.6 sure on average, of class 1 0.7.
PROBABILITIES = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.35, 0.65], [0.45, 0.55]])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_threshold_is_the_mean_of_the_class_over_its_labels() -> None:
    assert confident_thresholds(PROBABILITIES, LABELS) == pytest.approx([0.6, 0.7])
    assert confident_thresholds(PROBABILITIES[:3], LABELS[:3]).tolist() == [pytest.approx(0.6), np.inf]


def test_confident_joint_counts_what_reaches_its_threshold() -> None:
    assert confident_classes(PROBABILITIES, LABELS).tolist() == [0, 0, 1, 1, -1, -1]
    assert confident_joint(PROBABILITIES, LABELS).tolist() == [[2, 1], [0, 1]]


def test_several_classes_that_are_reached_collide_to_the_likeliest() -> None:
    probabilities = np.array([[0.45, 0.55, 0.0], [0.4, 0.5, 0.1], [0.1, 0.2, 0.7], [0.4, 0.4, 0.2]])
    labels = np.array([0, 1, 2, 0])
    # The thresholds are 0.425, 0.5 and 0.7: the first image reaches two of them.
    assert confident_classes(probabilities, labels).tolist() == [1, 1, 2, -1]


def test_counts_of_noise_are_the_joint_scaled_to_the_labels() -> None:
    # Of three labels 0 all are counted, of three labels 1 one: nothing speaks for others of class 0 among these.
    assert noise_counts(PROBABILITIES, LABELS) == pytest.approx(np.array([[2.0, 1.0], [0.0, 3.0]]))
    assert prune_by_class(PROBABILITIES, LABELS) == {2: 1}


def test_as_many_are_named_as_the_joint_says_and_those_whose_labels_are_least_likely() -> None:
    sure, unsure, wrong = [[0.95, 0.05]] * 10, [[0.6, 0.4]] * 10, [[0.02, 0.98]] * 2 + [[0.2, 0.8], [0.4, 0.6]]
    others = [[0.05, 0.95]] * 10 + [[0.15, 0.85]] * 10
    probabilities, labels = np.array([*sure, *unsure, *wrong, *others]), np.repeat([0, 1], [24, 20])
    # Two of the 12 images labelled 0 that are counted are confidently of 1: of 24 four are.
    assert noise_counts(probabilities, labels)[0, 1] == pytest.approx(24 * 2 / 12)
    assert prune_by_class(probabilities, labels) == {20: 1, 21: 1, 22: 1, 23: 1}


def test_image_that_the_model_does_not_take_for_another_class_is_not_named() -> None:
    probabilities = np.array([[0.9, 0.1], [0.55, 0.45], [0.52, 0.48], [0.0, 1.0], [0.5, 0.5], [0.45, 0.55]])
    labels = np.array([0, 0, 0, 0, 1, 1])
    # By their thresholds, 0.4925 and 0.525, one of those labelled 1 is of 0; but nothing is likelier than its label.
    assert noise_counts(probabilities, labels).tolist() == [[3, 1], [1, 1]]
    assert prune_by_class(probabilities, labels) == {3: 1}


def test_errors_are_ranked_by_self_confidence() -> None:
    probabilities = np.vstack([PROBABILITIES, [[0.95, 0.05]]])
    labels = np.append(LABELS, 1)
    found = find_in_probabilities(probabilities, labels, ["cat", "dog"], [f"{index}.jpg" for index in range(7)])
    assert [(error.image, error.label, error.suggested) for error in found][:2] == [
        ("6.jpg", "dog", "cat"),
        ("2.jpg", "cat", "dog"),
    ]
    assert found[0].to_json()["label_probability"] == pytest.approx(0.05)
    assert rank_labels(probabilities, labels).tolist() == [6, 2, 5, 4, 1, 0, 3]


def test_what_nothing_speaks_for_comes_before_what_is_taken_for_a_class_like_it() -> None:
    """By its margin the shirt, surely taken for a blouse, would come before the shoe that is called a dress."""
    probabilities = np.array([[0.96, 0.04, 0.0, 0.0], [0.0, 0.0, 0.10, 0.90], [0.0, 0.001, 0.099, 0.9]])
    assert rank_labels(probabilities, np.array([1, 2, 1])).tolist() == [2, 0, 1]


def test_label_that_is_rarely_taken_for_the_true_class_is_named_too() -> None:
    """Nothing labelled 0 is confidently of 2, so that by noise rate none of that cell would be named."""
    others = [[0.05, 0.9, 0.05]] * 8, [[0.05, 0.05, 0.9]] * 8
    probabilities = np.array([*[[0.9, 0.05, 0.05]] * 8, [0.04, 0.95, 0.01], [0.01, 0.14, 0.85], *others[0], *others[1]])
    assert prune_by_class(probabilities, np.repeat([0, 1, 2], [10, 8, 8])) == {9: 2}


def test_noise_that_was_made_is_found_and_the_joint_says_how_much_there_is() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 4, 4000)
    probabilities = draw.dirichlet(np.full(4, 0.5), 4000) * 0.3
    probabilities[np.arange(4000), truth] += 0.7
    labels, flipped = truth.copy(), draw.choice(4000, 200, replace=False)
    labels[flipped] = (labels[flipped] + 1) % 4
    found = {error.index for error in find_in_probabilities(probabilities, labels, list("abcd"), [""] * 4000)}
    assert len(found & set(flipped)) >= 190 and len(found - set(flipped)) <= 20
    joint = noise_counts(probabilities, labels)
    assert joint[np.arange(4), (np.arange(4) - 1) % 4].sum() == pytest.approx(200, abs=10)


def test_images_with_several_labels_are_a_sentence() -> None:
    with pytest.raises(DataError, match="The images of chests may have several labels"):
        check_one_label(np.zeros((3, 2)), "chests")
