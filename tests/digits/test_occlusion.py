"""The heat map of what decided: its values follow from a network whose reasons are known."""

from __future__ import annotations

import numpy as np

from app.digits import images
from app.digits.catalogue import Catalogue
from app.digits.classifier import Classifier
from app.digits.contract import SIDE, CanonicalPicture
from app.digits.occlusion import PATCH, map_heat
from app.digits.preprocessing import canonicalise
from tests.conftest import GOLDEN


def read_seven() -> CanonicalPicture:
    picture = images.decode(images.identify((GOLDEN / "7-photo.jpg").read_bytes(), max_pixels=10**6))
    return canonicalise(picture.grey).picture


def test_ink_that_decides_is_above_zero_and_the_background_is_zero(classifier: Classifier) -> None:
    picture = read_seven()
    heat = map_heat(classifier, picture, 7)
    assert heat.shape == (SIDE, SIDE)
    assert heat[picture > 0].mean() > 1  # the digit is e times as likely with this ink as without it
    rows, columns = np.nonzero(picture)
    reach = PATCH - 1  # from a pixel of ink to the far end of a patch that erases it
    far = np.ones((SIDE, SIDE), bool)
    far[
        max(rows.min() - reach, 0) : rows.max() + reach + 1,
        max(columns.min() - reach, 0) : columns.max() + reach + 1,
    ] = False
    assert far.any()
    assert not heat[far].any()


def test_ink_speaks_against_a_digit_that_the_picture_does_not_show(classifier: Classifier) -> None:
    picture = read_seven()
    assert map_heat(classifier, picture, 0)[picture > 0].mean() < 0


def test_a_stain_speaks_against_the_digit_beside_it(classifier: Classifier) -> None:
    picture = read_seven()
    picture[22:27, 2:7] = 255  # where a 2 has its foot
    heat = map_heat(classifier, picture, 7)
    assert heat[22:27, 2:7].mean() < 0 < heat.max()


def test_a_picture_full_of_ink_and_one_without_any_have_finite_maps(catalogue: Catalogue) -> None:
    classifier = catalogue.get("linear").classifier
    full = np.full((SIDE, SIDE), 255, np.uint8)
    assert np.isfinite(map_heat(classifier, full, 3)).all()
    assert not map_heat(classifier, np.zeros_like(full), 3).any()
