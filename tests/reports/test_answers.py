"""Decisions and whether they were right."""

from __future__ import annotations

import numpy as np

from trainkit.reports._answers import judge, name_classes


def test_one_class_an_image_is_one_decision() -> None:
    answers = judge(np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8]]), np.array([0, 0, 1]))
    assert answers.right.tolist() == [[True], [False], [True]]
    assert answers.confidence.tolist() == [[0.9], [0.7], [0.8]]
    assert answers.truth.tolist() == [[True, False], [True, False], [False, True]]


def test_each_of_several_labels_is_a_decision() -> None:
    answers = judge(np.array([[0.9, 0.2, 0.5]]), np.array([[1, 1, 0]]))
    assert answers.predicted.tolist() == [[True, False, True]]
    assert answers.right.tolist() == [[True, False, False]]
    assert answers.confidence.tolist() == [[0.9, 0.8, 0.5]]


def test_surest_mistake_comes_first_and_what_is_right_does_not_come() -> None:
    answers = judge(np.array([[0.6, 0.4], [0.99, 0.01], [0.1, 0.9], [0.8, 0.2]]), np.array([1, 0, 0, 1]))
    order, confidence = answers.mistakes()
    assert order.tolist() == [2, 3, 0] and confidence.tolist() == [0.9, 0.8, 0.6]


def test_mistake_on_several_labels_is_as_sure_as_its_surest_wrong_decision() -> None:
    answers = judge(np.array([[0.99, 0.3], [0.6, 0.1]]), np.array([[1, 1], [0, 0]]))
    order, confidence = answers.mistakes()
    assert order.tolist() == [0, 1] and confidence.tolist() == [0.7, 0.6]


def test_no_mistakes() -> None:
    order, confidence = judge(np.array([[0.9, 0.1]]), np.array([0])).mistakes()
    assert len(order) == len(confidence) == 0


def test_chosen_classes_by_their_names() -> None:
    assert name_classes(np.array([True, False, True]), ["a", "b", "c"]) == "a, c"
    assert name_classes(np.array([False]), ["a"]) == "–"
