from __future__ import annotations

import numpy as np

from trainkit.data._augmentation._draws import draw_mixes
from trainkit.data._augmentation._mixing import mix_batch
from trainkit.data._augmentation._settings import Augmentation

COUNT, CLASSES = 30, 5
INPUTS = np.random.default_rng(0).normal(0, 1, (COUNT, 12, 10, 3)).astype(np.float32)
LABELS = np.eye(CLASSES, dtype=np.float32)[np.arange(COUNT) % CLASSES]


def mixed(augmentation: Augmentation, indices: np.ndarray, *, epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return mix_batch(
        INPUTS[indices],
        LABELS[indices],
        augmentation,
        seed=4,
        epoch=epoch,
        indices=indices,
        count=COUNT,
        read=lambda others: (INPUTS[others], LABELS[others]),
    )


def test_mixup_blends_inputs_and_labels_in_the_same_shares() -> None:
    augmentation, indices = Augmentation(mixup=0.8), np.arange(COUNT)
    inputs, labels = mixed(augmentation, indices)
    mixes = draw_mixes(augmentation, seed=4, epoch=0, indices=indices, count=COUNT, height=12, width=10)
    for index, (partner, share) in enumerate(zip(mixes.partners, mixes.share, strict=True)):
        np.testing.assert_allclose(inputs[index], share * INPUTS[index] + (1 - share) * INPUTS[partner], atol=1e-6)
        np.testing.assert_allclose(labels[index], share * LABELS[index] + (1 - share) * LABELS[partner], atol=1e-6)
    assert inputs.dtype == labels.dtype == np.float32


def test_cutmix_puts_a_rectangle_of_the_other_into_the_image() -> None:
    augmentation, indices = Augmentation(cutmix=1), np.arange(COUNT)
    inputs, labels = mixed(augmentation, indices)
    partners = draw_mixes(augmentation, seed=4, epoch=0, indices=indices, count=COUNT, height=12, width=10).partners
    for index, partner in enumerate(partners):
        own, others = (inputs[index] == INPUTS[index]).all(-1), (inputs[index] == INPUTS[partner]).all(-1)
        assert (own | others).all()
        rows, columns = np.nonzero(~own)
        assert (~own).sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1) if rows.size else True
        if partner != index:
            expected = own.mean() * LABELS[index] + (1 - own.mean()) * LABELS[partner]
            np.testing.assert_allclose(labels[index], expected, atol=1e-6)


def test_labels_sum_to_one_and_inputs_stay_as_they_were() -> None:
    before = INPUTS.copy(), LABELS.copy()
    for augmentation in (Augmentation(mixup=0.2), Augmentation(cutmix=0.5), Augmentation(mixup=0.01, cutmix=3)):
        inputs, labels = mixed(augmentation, np.arange(COUNT))
        np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
        assert (labels >= 0).all() and np.isfinite(inputs).all()
    np.testing.assert_array_equal(INPUTS, before[0])
    np.testing.assert_array_equal(LABELS, before[1])


def test_both_take_turns() -> None:
    inputs, _ = mixed(Augmentation(mixup=1, cutmix=1), np.arange(COUNT))
    blended = [(image != own).all() for image, own in zip(inputs, INPUTS, strict=True)]
    assert 0.2 * COUNT < sum(blended) < 0.8 * COUNT


def test_order_and_batch_size_change_no_mix() -> None:
    augmentation, order = Augmentation(mixup=0.4, cutmix=1), np.random.default_rng(1).permutation(COUNT)
    whole, whole_labels = mixed(augmentation, np.arange(COUNT), epoch=3)
    for size in (1, 7):
        parts = [mixed(augmentation, order[start : start + size], epoch=3) for start in range(0, COUNT, size)]
        np.testing.assert_array_equal(np.concatenate([inputs for inputs, _ in parts]), whole[order])
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in parts]), whole_labels[order])


def test_epochs_mix_differently() -> None:
    first, _ = mixed(Augmentation(mixup=1), np.arange(COUNT))
    second, _ = mixed(Augmentation(mixup=1), np.arange(COUNT), epoch=1)
    assert (first != second).any(axis=(1, 2, 3)).mean() > 0.9


def test_nothing_is_mixed_where_nothing_is_said() -> None:
    indices = np.arange(4)
    inputs, labels = mixed(Augmentation(horizontal_flip=True), indices)
    np.testing.assert_array_equal(inputs, INPUTS[indices])
    np.testing.assert_array_equal(labels, LABELS[indices])
