from __future__ import annotations

import dataclasses

import numpy as np

from app.digits.preprocessing import canonicalise
from tests.data.strokes import ink
from training.recipe import Augmentation
from training.scenes.augmentation import augment

NO_AUGMENTATION = Augmentation(rotation=0, shear=0, scale=0, shift=0, bend=0, stroke=0)
FIVES = np.stack([canonicalise(ink(5, (100, 100), box=(30, 15, 40, 70), pen=8)).picture] * 40)


def augment_fives(seed: int = 0, **ranges: float) -> np.ndarray:
    augmentation = dataclasses.replace(NO_AUGMENTATION, **ranges)
    return augment(FIVES, augmentation, rng=np.random.default_rng(seed)).astype(int)


def test_without_ranges_nothing_changes() -> None:
    np.testing.assert_array_equal(augment_fives(), FIVES)


def test_equal_seeds_give_equal_pictures_and_different_seeds_do_not() -> None:
    np.testing.assert_array_equal(augment_fives(1, rotation=10), augment_fives(1, rotation=10))
    assert (augment_fives(1, rotation=10) != augment_fives(2, rotation=10)).any()


def test_every_picture_is_distorted_differently() -> None:
    assert len(np.unique(augment_fives(rotation=10), axis=0)) == len(FIVES)


def test_shifts_move_the_centre_and_keep_the_ink() -> None:
    shifted = augment_fives(shift=2.0)
    centres = (shifted.sum(axis=1) * np.arange(28)).sum(axis=1) / shifted.sum(axis=(1, 2))
    assert 0.5 < np.std(centres) < 2
    np.testing.assert_allclose(shifted.sum(axis=(1, 2)), FIVES[0].astype(int).sum(), rtol=0.02)


def test_strokes_become_bolder_and_thinner() -> None:
    amounts = augment_fives(stroke=0.8).sum(axis=(1, 2)) / FIVES[0].astype(int).sum()
    assert amounts.min() < 0.7
    assert amounts.max() > 1.4


def test_the_default_augmentation_changes_pictures_moderately() -> None:
    augmented = augment(FIVES, Augmentation(), rng=np.random.default_rng(0))
    assert augmented.dtype == np.uint8
    differences = np.abs(augmented.astype(int) - FIVES).mean(axis=(1, 2))
    assert differences.min() > 1
    assert differences.max() < 60
