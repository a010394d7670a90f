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


def damaged(name: str, pictures: DigitBatch = DIGITS, *, seed: int = 1) -> DigitBatch:
    return CORRUPTIONS[name](pictures, np.random.default_rng(seed))


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("tone", [0, 255])
def test_pictures_of_one_tone_are_damaged_without_complaint(name: str, tone: int) -> None:
    assert damaged(name, np.full((2, 28, 28), tone, np.uint8)).dtype == np.uint8


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_picture_is_damaged_and_keeps_its_form(name: str) -> None:
    before = DIGITS.copy()
    after = damaged(name)
    assert (after.dtype, after.shape) == (DIGITS.dtype, DIGITS.shape)
    assert (after != DIGITS).any(axis=(1, 2)).all()
    np.testing.assert_array_equal(DIGITS, before, "the pictures that were given are left alone")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_equal_seeds_give_equal_damage_and_others_do_not(name: str) -> None:
    np.testing.assert_array_equal(damaged(name), damaged(name))
    assert (damaged(name) != damaged(name, seed=2)).any()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_equal_pictures_are_damaged_each_its_own_way(name: str) -> None:
    assert len(np.unique(damaged(name, DIGITS[[5] * 20]), axis=0)) > 1


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - {"stripes", "fog", "outline"}))
def test_ink_stays_brighter_than_ground(name: str) -> None:
    """Legible still: what was ink is brighter on the whole; shifted ink, too, overlaps with itself."""
    after = damaged(name)
    strokes = DIGITS > 127
    assert after[strokes].mean() > after[~strokes].mean() + 20


def test_there_are_fourteen_kinds_at_least() -> None:
    assert len(CORRUPTIONS) >= 14
