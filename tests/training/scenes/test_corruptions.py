from __future__ import annotations

import numpy as np
import pytest

from app.digits.contract import DigitBatch
from app.digits.preprocessing import canonicalise
from tests.data.strokes import ink
from training.scenes.corruptions import CORRUPTIONS

DIGITS = np.stack(
    [canonicalise(ink(row % 10, (100, 100), box=(30, 15, 40, 70), pen=8)).picture for row in range(20)]
)


def corrupt(name: str, pictures: DigitBatch = DIGITS, *, seed: int = 1) -> DigitBatch:
    return CORRUPTIONS[name](pictures, np.random.default_rng(seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("tone", [0, 255])
def test_pictures_of_a_single_tone_can_be_corrupted(name: str, tone: int) -> None:
    assert corrupt(name, np.full((2, 28, 28), tone, np.uint8)).dtype == np.uint8


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_picture_is_corrupted_and_keeps_its_shape(name: str) -> None:
    before = DIGITS.copy()
    after = corrupt(name)
    assert (after.dtype, after.shape) == (DIGITS.dtype, DIGITS.shape)
    assert (after != DIGITS).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(DIGITS, before, "the input must not change")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_equal_seeds_give_equal_corruptions_and_different_seeds_do_not(name: str) -> None:
    np.testing.assert_array_equal(corrupt(name), corrupt(name))
    assert (corrupt(name) != corrupt(name, seed=2)).any()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_equal_pictures_are_corrupted_differently(name: str) -> None:
    assert len(np.unique(corrupt(name, DIGITS[[5] * 20]), axis=0)) > 1


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"stripes", "fog", "outline"}))
def test_ink_stays_brighter_than_the_background(name: str) -> None:
    """So pictures stay legible; even shifted ink overlaps its old position."""
    after = corrupt(name)
    strokes = DIGITS > 127
    assert after[strokes].mean() > after[~strokes].mean() + 20


def test_there_are_at_least_fourteen_corruptions() -> None:
    assert len(CORRUPTIONS) >= 14
