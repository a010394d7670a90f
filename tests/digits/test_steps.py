"""Each step of preprocessing alone: a picture before it, and the picture after."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from app.digits import light, preprocessing
from app.digits.contract import GreyPicture
from app.digits.errors import NoInk
from app.digits.working_picture import Mask, Step, WorkingPicture
from tests.data.strokes import ink

FIVE = 255 - ink(5, (200, 200), box=(70, 40, 60, 110), pen=10)
INK = FIVE < 128


def sheet(pixels: GreyPicture, *, mask: Mask | None = None, threshold: float = 0.0) -> WorkingPicture:
    before = WorkingPicture(pixels=pixels, threshold=threshold)
    return before if mask is None else dataclasses.replace(before, mask=mask)


def prepare_ink(drawn: GreyPicture) -> WorkingPicture:
    """Return ink on 0 as `extract_ink` leaves it."""
    return sheet(drawn, mask=(drawn > 127).astype(np.uint8), threshold=127.0)


def test_every_step_is_tested_here() -> None:
    tested = [name.removeprefix("test_") for name in globals()]
    assert [step.__name__ for step in preprocessing.STEPS if step.__name__ not in tested] == []


@pytest.mark.parametrize("step", preprocessing.STEPS[:4])
def test_a_clean_drawing_passes_unchanged_through_the_steps_before_extract_ink(step: Step) -> None:
    np.testing.assert_array_equal(step(sheet(FIVE)).pixels, FIVE)


def test_remove_dead_pixels() -> None:
    small = ink(3, (56, 56), box=(14, 8, 28, 40), pen=5)
    rng = np.random.default_rng(1)
    struck = np.where(rng.random(small.shape) < 0.1, rng.choice([0, 255], small.shape), small).astype(
        np.uint8
    )
    after = light.remove_dead_pixels(sheet(struck)).pixels
    assert (after != small).mean() < (struck != small).mean() / 2


def test_remove_bands() -> None:
    banded = FIVE.copy()
    banded[:, :85] = 255 - banded[:, :85]
    after = light.remove_bands(sheet(banded)).pixels
    assert ((after < 128) != INK).mean() < 0.01


def test_normalise_polarity() -> None:
    after = light.normalise_polarity(sheet(255 - FIVE))
    assert after.polarity == "light_on_dark"
    np.testing.assert_array_equal(after.pixels, FIVE)


def test_even_light() -> None:
    shaded = (FIVE * np.linspace(0.9, 0.4, 200)).astype(np.uint8)
    after = light.even_light(sheet(shaded))
    assert np.ptp(after.pixels[5]) < 10 < np.ptp(shaded[5])
    assert after.pixels[INK].mean() < 20


def test_extract_ink() -> None:
    after = preprocessing.extract_ink(sheet(FIVE))
    np.testing.assert_array_equal(after.mask, INK)
    assert after.pixels[0, 0] == 0
    assert after.pixels.max() == 255
    with pytest.raises(NoInk):
        preprocessing.extract_ink(sheet(np.full((50, 50), 200, np.uint8)))


def test_isolate_digit() -> None:
    crowded = 255 - FIVE
    crowded[:, 195:] = 255  # a shadow along the border
    crowded[8:11, 8:11] = 255  # a speck
    crowded[60:140, 20:28] = 255  # a 1
    after = preprocessing.isolate_digit(prepare_ink(crowded))
    left, top, _, _ = after.box
    x, y = after.offset[0] + left, after.offset[1] + top
    assert (x, y) == cv2.boundingRect(INK.astype(np.uint8))[:2]
    assert cv2.countNonZero(after.mask) == INK.sum()
    assert after.cautions == ("several_digits",)


def test_crop_to_ink() -> None:
    after = preprocessing.crop_to_ink(sheet(255 - FIVE)).pixels
    assert after.shape == cv2.boundingRect(255 - FIVE)[:1:-1]


def test_thicken_strokes() -> None:
    hair = ink(5, (200, 200), box=(70, 40, 60, 110), pen=2)
    before = preprocessing.crop_to_ink(prepare_ink(hair))
    assert preprocessing.thicken_strokes(before).pixels.mean() > 2 * before.pixels.mean()
    bold = preprocessing.crop_to_ink(prepare_ink(cv2.dilate(255 - FIVE, np.ones((5, 5), np.uint8))))
    np.testing.assert_array_equal(preprocessing.thicken_strokes(bold).pixels, bold.pixels)


def test_scale_to_size() -> None:
    before = preprocessing.crop_to_ink(sheet(255 - FIVE))
    after = preprocessing.scale_to_size(before).pixels
    height, width = before.pixels.shape
    assert after.shape == (20, round(20 * width / height))


def test_stretch_contrast() -> None:
    pale = sheet((255 - FIVE) // 3)
    assert preprocessing.stretch_contrast(pale).pixels.max() == 255
    np.testing.assert_array_equal(preprocessing.stretch_contrast(sheet(FIVE)).pixels, FIVE)


def test_centre() -> None:
    small = preprocessing.scale_to_size(preprocessing.crop_to_ink(sheet(255 - FIVE)))
    after = preprocessing.centre(small).pixels
    moments = cv2.moments(after)
    assert after.shape == (28, 28)
    assert moments["m10"] / moments["m00"] == pytest.approx(14, abs=0.5)
    assert moments["m01"] / moments["m00"] == pytest.approx(14, abs=0.5)
