from __future__ import annotations

import dataclasses

import numpy as np

from app.digits.preprocessing import canonicalise
from tests.data.strokes import ink
from training.recipe import Augmentation
from training.scenes.augmentation import augment

STILL = Augmentation(rotation=0, shear=0, scale=0, shift=0, bend=0, stroke=0)
FIVES = np.stack([canonicalise(ink(5, (100, 100), box=(30, 15, 40, 70), pen=8)).picture] * 40)


def bent(seed: int = 0, **how: float) -> np.ndarray:
    return augment(FIVES, dataclasses.replace(STILL, **how), rng=np.random.default_rng(seed)).astype(int)


def test_nothing_asked_is_nothing_done() -> None:
    np.testing.assert_array_equal(bent(), FIVES)


def test_equal_seeds_give_equal_pictures_and_others_do_not() -> None:
    np.testing.assert_array_equal(bent(1, rotation=10), bent(1, rotation=10))
    assert (bent(1, rotation=10) != bent(2, rotation=10)).any()


def test_every_picture_is_bent_its_own_way() -> None:
    assert len(np.unique(bent(rotation=10), axis=0)) == len(FIVES)


def test_shifts_move_the_centre_and_keep_the_ink() -> None:
    shifted = bent(shift=2.0)
    centres = (shifted.sum(axis=1) * np.arange(28)).sum(axis=1) / shifted.sum(axis=(1, 2))
    assert 0.5 < np.std(centres) < 2
    np.testing.assert_allclose(shifted.sum(axis=(1, 2)), FIVES[0].astype(int).sum(), rtol=0.02)


def test_strokes_become_bolder_and_thinner() -> None:
    amounts = bent(stroke=0.8).sum(axis=(1, 2)) / FIVES[0].astype(int).sum()
    assert amounts.min() < 0.7
    assert amounts.max() > 1.4


def test_the_usual_bending_leaves_a_five_a_five() -> None:
    usual = augment(FIVES, Augmentation(), rng=np.random.default_rng(0))
    assert usual.dtype == np.uint8
    off = np.abs(usual.astype(int) - FIVES).mean(axis=(1, 2))
    assert off.min() > 1
    assert off.max() < 60
