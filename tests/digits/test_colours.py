from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from numpy.typing import NDArray

from app.digits.colours import LUMA, to_grey
from app.digits.preprocessing import canonicalise
from tests.data.strokes import ink

BOX = (60, 40, 80, 130)
FIVE = ink(5, (200, 210), box=BOX, pen=11)


def draw_five(pen: tuple[int, int, int], paper: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Write a 5 in one colour on another."""
    cover = FIVE[..., np.newaxis] / 255
    return np.rint(np.array(paper) * (1 - cover) + np.array(pen) * cover).astype(np.uint8)


@given(nps.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_any_picture_keeps_its_size(colours: NDArray[np.uint8]) -> None:
    assert to_grey(colours).shape == colours.shape[:2]


def test_a_picture_without_colour_is_converted_to_its_luma() -> None:
    np.testing.assert_array_equal(to_grey(np.dstack([FIVE] * 3)), FIVE)


def test_an_ordinary_pen_is_read_by_its_luma() -> None:
    picture = draw_five((30, 40, 120), (250, 248, 240))
    np.testing.assert_allclose(to_grey(picture), picture @ LUMA, atol=1)


@pytest.mark.parametrize(
    ("pen", "paper"),
    [
        ((200, 30, 30), (40, 111, 40)),  # red on green, luma 81 and 82
        ((255, 255, 0), (255, 255, 255)),  # yellow on white, luma 226 and 255
        ((0, 0, 255), (0, 0, 0)),  # blue on black, luma 29 and 0
        ((255, 120, 180), (160, 175, 120)),  # pink on olive, luma 167 and 164
    ],
)
def test_ink_with_the_luma_of_its_background_is_found_by_its_colour(
    pen: tuple[int, int, int], paper: tuple[int, int, int]
) -> None:
    axis_picture = canonicalise(to_grey(draw_five(pen, paper)))
    black_on_white = canonicalise(255 - FIVE)
    assert np.abs(axis_picture.picture.astype(int) - black_on_white.picture).mean() < 4
    np.testing.assert_allclose(axis_picture.box, black_on_white.box, atol=2)


def test_the_colour_noise_of_a_blank_photo_does_not_become_ink() -> None:
    noise = np.random.default_rng(1).normal(0, 2, (120, 160, 3))
    assert np.ptp(to_grey(np.clip(200 + noise, 0, 255).astype(np.uint8))) < 25
