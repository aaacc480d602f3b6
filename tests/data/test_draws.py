from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trainkit
from trainkit.data._augmentation._draws import Draws, draw, draw_mixes, uniform
from trainkit.data._augmentation._settings import Augmentation
from trainkit.data._augmentation._transforms import transform_matrices

ALL = Augmentation(
    rotation_range=40,
    width_shift_range=0.1,
    height_shift_range=[-3, 5],
    brightness_range=(0.5, 1.5),
    shear_range=10,
    zoom_range=(0.7, 1.2),
    channel_shift_range=30,
    horizontal_flip=True,
    vertical_flip=True,
    random_erasing=0.5,
    random_resized_crop=(0.3, 0.9),
)
MIXED = Augmentation(mixup=0.4, cutmix=1)


def draws(augmentation: Augmentation, indices: Any, *, seed: int = 0, epoch: int = 0, size: Any = (40, 60)) -> Draws:
    height, width = size
    indices = np.asarray(indices)
    return draw(augmentation, seed=seed, epoch=epoch, indices=indices, height=height, width=width, channels=3)


def numbers(augmentation: Augmentation, name: str, count: int = 4000, **where: Any) -> np.ndarray:
    drawn = draws(augmentation, np.arange(count), **where).transforms[name]
    assert drawn is not None
    return drawn


@settings(deadline=None, max_examples=30)
@given(
    indices=st.lists(st.integers(0, 2**40), min_size=1, max_size=30),
    seed=st.integers(0, 2**31 - 1),
    epoch=st.integers(0, 10**6),
)
def test_draw_depends_on_seed_epoch_and_index_alone(indices: list[int], seed: int, epoch: int) -> None:
    together = draws(ALL, indices, seed=seed, epoch=epoch)
    mixes = draw_mixes(MIXED, seed=seed, epoch=epoch, indices=np.array(indices), count=1000, height=9, width=7)
    for position, index in enumerate(indices):
        alone = draws(ALL, [index], seed=seed, epoch=epoch)
        assert alone.transform_parameters(0) == together.transform_parameters(position)
        np.testing.assert_array_equal(alone.erased[0], together.erased[position])  # type: ignore[index]
        np.testing.assert_array_equal(alone.erased_levels[0], together.erased_levels[position])  # type: ignore[index]
        mix = draw_mixes(MIXED, seed=seed, epoch=epoch, indices=np.array([index]), count=1000, height=9, width=7)
        for name in ("partners", "share", "cut", "rectangle"):
            np.testing.assert_array_equal(getattr(mix, name)[0], getattr(mixes, name)[position])


def test_numbers_are_even_and_have_nothing_to_do_with_each_other() -> None:
    indices, purposes = np.arange(20_000), range(4)
    found = np.concatenate(
        [uniform(seed, epoch, indices, purposes) for seed, epoch in ((0, 0), (0, 1), (1, 0), (2**31 - 1, 7))], axis=1
    )
    assert found.min() >= 0 and found.max() < 1
    assert np.unique(found).size == found.size
    counts = np.stack([np.histogram(column, 20, (0, 1))[0] for column in found.T])
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)
    correlations = np.corrcoef(found.T) - np.eye(found.shape[1])
    assert np.abs(correlations).max() < 5 / np.sqrt(len(indices))
    for column in found.T:  # nor with those of the next image
        assert abs(np.corrcoef(column[1:], column[:-1])[0, 1]) < 5 / np.sqrt(len(indices))


def test_numbers_stay_what_they_are() -> None:
    remembered = [[0.8033897457398029, 0.8323026065740668], [0.5594700960293891, 0.6428808125812221]]
    # A run that is resumed with a later version of trainkit must see the same pictures.
    np.testing.assert_allclose(uniform(3, 1, np.array([0, 70000]), [0, 5]), remembered, rtol=0, atol=1e-15)


def test_pictures_stay_what_they_are() -> None:
    remembered = {
        "theta": [19.566931674, 34.489225057, -23.32512399],
        "tx": [5.730758961, -2.717598795, 12.127991722],
        "ty": [-7.255766388, -10.108650254, 2.837109947],
        "shear": [3.898686609, 5.767705044, -2.881775466],
        "zx": [0.744604772, 0.635140353, 0.799448913],
        "zy": [0.941247151, 0.651270604, 0.686800119],
        "flip_horizontal": [True, False, False],
        "flip_vertical": [True, False, True],
        "channel_shift_intensity": [-17.105635907, -17.486285307, -28.969974899],
        "brightness": [0.502058071, 1.243314087, 0.587196263],
    }
    drawn = draws(ALL, [70001, 70006, 70009], seed=3, epoch=1)
    assert drawn.transforms.keys() == remembered.keys()
    for name, numbers_of_it in drawn.transforms.items():
        assert numbers_of_it is not None
        np.testing.assert_allclose(numbers_of_it, remembered[name], rtol=0, atol=1e-8, err_msg=name)
    assert drawn.erased is not None and drawn.erased_levels is not None
    assert drawn.erased.tolist() == [[13, 44, 0, 16], [0, 30, 40, 17], [9, 10, 30, 19]]
    assert drawn.erased_levels.tolist() == [[80, 27, 217], [193, 32, 96], [45, 159, 26]]


def test_mixes_stay_what_they_are() -> None:
    mixes = draw_mixes(MIXED, seed=3, epoch=1, indices=np.array([1, 2, 7, 9]), count=60_000, height=40, width=60)
    assert mixes.partners.tolist() == [2288, 13946, 24779, 17502]
    assert mixes.cut.tolist() == [True, False, True, False]
    np.testing.assert_allclose(mixes.share, [0.545, 5.3704e-05, 0.2875, 0.040396321], rtol=0, atol=1e-8)
    assert mixes.rectangle.tolist() == [[14, 0, 40, 42], [0, 0, 38, 45], [2, 15, 40, 60], [15, 2, 40, 60]]


def test_one_setting_does_not_change_what_is_drawn_for_another() -> None:
    few = draws(Augmentation(rotation_range=40, brightness_range=(0.5, 1.5)), range(9))
    for name in ("theta", "brightness"):
        np.testing.assert_array_equal(few.transforms[name], draws(ALL, range(9)).transforms[name])
    assert few.transforms["flip_horizontal"] is None and few.erased is None


def test_ranges_are_filled_and_kept() -> None:
    augmentation = Augmentation(
        rotation_range=40, shear_range=10, zoom_range=0.2, channel_shift_range=30, brightness_range=(0.5, 1.5)
    )
    ranges = {
        "theta": (-40, 40),
        "shear": (-10, 10),
        "zx": (0.8, 1.2),
        "zy": (0.8, 1.2),
        "channel_shift_intensity": (-30, 30),
        "brightness": (0.5, 1.5),
    }
    for name, (least, most) in ranges.items():
        found = numbers(augmentation, name, size=(50, 50))
        assert least <= found.min() < least + 0.01 * (most - least)
        assert most - 0.01 * (most - least) < found.max() <= most
    assert np.corrcoef(numbers(augmentation, "zx"), numbers(augmentation, "zy"))[0, 1] < 0.1


@pytest.mark.parametrize(("name", "side", "size"), [("width_shift_range", "tx", 60), ("height_shift_range", "ty", 40)])
def test_shifts_are_what_keras_documents(name: str, side: str, size: int) -> None:
    def shifts(value: Any) -> np.ndarray:
        # The shift of a drawing that turns nothing, without what makes up for Keras' centre.
        return numbers(Augmentation(**{name: value}), side)

    assert np.abs(shifts(0.1)).max() == pytest.approx(0.1 * size, rel=0.01)
    assert np.abs(shifts(7.5)).max() == pytest.approx(7.5, rel=0.01)
    assert set(shifts(3).round(9)) == {-2, -1, 0, 1, 2}
    assert set(shifts(1).round(9)) == {0}
    assert set(shifts([2, 5]).round(9)) == {-5, -2, 2, 5}
    assert set(shifts([0.1, 0.25]).round(9)) == {-0.25 * size, -0.1 * size, 0.1 * size, 0.25 * size}
    other = "ty" if side == "tx" else "tx"
    np.testing.assert_allclose(numbers(Augmentation(**{name: 0.3}), other), 0, atol=1e-9)


def test_width_shift_moves_along_the_width(street_image: np.ndarray) -> None:
    augmentation = Augmentation(width_shift_range=[10])
    parameters = draws(augmentation, [0], size=street_image.shape[:2]).transform_parameters(0)
    moved = trainkit.apply_transform(street_image, parameters)
    if parameters["tx"] > 0:
        np.testing.assert_array_equal(moved[:, :-10], street_image[:, 10:])
    else:
        np.testing.assert_array_equal(moved[:, 10:], street_image[:, :-10])


def test_half_of_the_images_are_flipped() -> None:
    augmentation = Augmentation(horizontal_flip=True, vertical_flip=True)
    across, down = numbers(augmentation, "flip_horizontal"), numbers(augmentation, "flip_vertical")
    for flipped in (across, down, across == down):
        assert 0.46 < flipped.mean() < 0.54


def test_image_that_is_not_square_is_turned_around_its_centre() -> None:
    height, width = 40, 90
    augmentation = Augmentation(rotation_range=90, shear_range=20, zoom_range=0.5, horizontal_flip=True)
    drawn = draws(augmentation, range(50), size=(height, width))
    matrices = transform_matrices(drawn.transforms, height, width)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    np.testing.assert_allclose(matrices[:, :, :2] @ centre + matrices[:, :, 2], np.tile(centre, (50, 1)))


def test_crop_has_its_share_of_the_area_and_lies_inside() -> None:
    height, width = 40, 90
    drawn = draws(Augmentation(random_resized_crop=(0.2, 0.7)), range(3000), size=(height, width))
    matrices = transform_matrices(drawn.transforms, height, width)
    np.testing.assert_allclose(matrices[:, 0, 1], 0, atol=1e-12)
    shares = matrices[:, 0, 0] * matrices[:, 1, 1]
    assert 0.19 < shares.min() < 0.21 and 0.69 < shares.max() < 0.7001
    aspects = matrices[:, 0, 0] / matrices[:, 1, 1]
    assert 0.75 - 1e-9 <= aspects.min() < 0.77 and 1.3 < aspects.max() <= 4 / 3 + 1e-9
    # The corners of the area that its pixels cover.
    low = matrices[:, :, :2] @ [-0.5, -0.5] + matrices[:, :, 2]
    high = matrices[:, :, :2] @ [width - 0.5, height - 0.5] + matrices[:, :, 2]
    assert low.min() >= -0.5 - 1e-9 and low.min() < -0.4
    assert (high <= [width - 0.5 + 1e-9, height - 0.5 + 1e-9]).all() and high[:, 0].max() > width - 0.6


def test_crop_is_turned_and_flipped_as_a_whole() -> None:
    crop = {"random_resized_crop": (0.3, 0.6)}
    rest = {"rotation_range": 50, "shear_range": 15, "zoom_range": 0.3, "width_shift_range": 0.2, "vertical_flip": True}
    height, width = 50, 80

    def matrices(**given: Any) -> np.ndarray:
        found = transform_matrices(
            draws(Augmentation(**given), range(20), size=(height, width)).transforms, height, width
        )
        return np.concatenate([found, np.tile([[[0.0, 0, 1]]], (20, 1, 1))], axis=1)

    flip = draws(Augmentation(**rest), range(20)).transforms["flip_vertical"]
    chosen = ~flip.astype(bool)  # type: ignore[union-attr]
    np.testing.assert_allclose(
        matrices(**rest, **crop)[chosen], (matrices(**rest) @ matrices(**crop))[chosen], atol=1e-9
    )


def test_erased_rectangles_lie_inside_and_have_their_share() -> None:
    height, width = 40, 60
    drawn = draws(Augmentation(random_erasing=0.25), range(4000), size=(height, width))
    assert drawn.erased is not None and drawn.erased_levels is not None
    top, left, rows, columns = drawn.erased.T
    some = rows > 0
    assert 0.22 < some.mean() < 0.28
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + rows <= height).all() and (left + columns <= width).all()
    assert (top + rows)[some].max() == height and (left + columns)[some].max() == width
    shares = (rows * columns)[some] / (height * width)
    assert 0.01 < shares.min() < 0.03 and 0.3 < shares.max() < 0.36
    assert drawn.erased_levels.shape == (4000, 3)
    assert drawn.erased_levels.min() == 0 and drawn.erased_levels.max() == 255


def test_partners_come_from_the_whole_data_set() -> None:
    found = draw_mixes(MIXED, seed=0, epoch=0, indices=np.arange(3000), count=10, height=32, width=32)
    assert np.bincount(found.partners, minlength=10).min() > 200 and found.partners.max() == 9
    assert 0.46 < found.cut.mean() < 0.54
    assert not draw_mixes(
        Augmentation(mixup=1), seed=0, epoch=0, indices=np.arange(9), count=9, height=8, width=8
    ).cut.any()
    assert draw_mixes(
        Augmentation(cutmix=1), seed=0, epoch=0, indices=np.arange(9), count=9, height=8, width=8
    ).cut.all()


@pytest.mark.parametrize("alpha", [0.2, 1, 5])
def test_shares_have_a_beta_distribution(alpha: float) -> None:
    from scipy import stats

    mixes = draw_mixes(Augmentation(mixup=alpha), seed=0, epoch=0, indices=np.arange(3000), count=9, height=8, width=8)
    assert stats.kstest(mixes.share, stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_share_of_a_cut_is_what_is_left_of_the_picture() -> None:
    mixes = draw_mixes(Augmentation(cutmix=1), seed=0, epoch=0, indices=np.arange(500), count=9, height=20, width=30)
    top, left, bottom, right = mixes.rectangle.T
    assert (top >= 0).all() and (left >= 0).all() and (bottom <= 20).all() and (right <= 30).all()
    np.testing.assert_allclose(mixes.share, 1 - (bottom - top) * (right - left) / 600)
    assert mixes.share.min() < 0.1 and mixes.share.max() > 0.95
