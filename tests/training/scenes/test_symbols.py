from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.digits.classifier import Classifier
from training.scenes import pages, symbols


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_drawn_digit_is_cropped_tightly() -> None:
    for seed in range(20):
        glyph, digit = symbols.draw_digit(rng(seed))
        assert 0 <= digit <= 9
        assert cv2.boundingRect(glyph) == (0, 0, *glyph.shape[::-1])


def test_an_enlarged_mnist_digit_is_read_as_before(classifier: Classifier) -> None:
    picture = pages.read_scene(
        cv2.cvtColor(cv2.copyMakeBorder(symbols.draw_digit(rng(3))[0], *[20] * 4, 0), cv2.COLOR_GRAY2RGB)
    )
    assert picture is not None
    glyph = symbols.enlarge_mnist(picture)
    large = pages.read_scene(cv2.cvtColor(cv2.copyMakeBorder(glyph, *[20] * 4, 0), cv2.COLOR_GRAY2RGB))
    assert large is not None
    answers = classifier.classify(np.stack([picture, large])).probabilities.argmax(axis=1)
    assert answers[0] == answers[1]


def test_redrawn_strokes_have_the_width_of_the_pen() -> None:
    bar = np.full((120, 15), 255, np.uint8)
    for pen in (1, 3, 9):
        widths = np.count_nonzero(symbols.redraw_with_pen(bar, pen), axis=1)
        assert abs(np.median(widths) - pen) <= 1


@pytest.mark.usefixtures("font_folder")
def test_a_character_that_a_font_lacks_is_an_empty_glyph() -> None:
    assert symbols.typeset("5", "caveat").size
    assert not symbols.typeset("\u0905", "caveat").size  # a Devanagari letter
    for seed in range(40):
        assert symbols.draw_negative(rng(seed)).size


@pytest.mark.usefixtures("font_folder")
def test_no_character_of_another_script_looks_like_a_digit_of_its_font() -> None:
    drawn = {chr(0x1401 + offset) for offset in range(0x6A)} & symbols.LOOK_ALIKES
    assert drawn  # they lie within a block that is drawn,
    assert not set(symbols.KANA + symbols.GREEK_LETTERS + symbols.LETTERS) & symbols.LOOK_ALIKES
    assert not set("0123456789oOIlSZ") & set(symbols.LETTERS + symbols.GREEK_LETTERS)
    assert {symbols.draw_foreign(rng(seed)).size > 0 for seed in range(200)} == {True, False}  # and left out


def test_figures_of_all_kinds_are_drawn_with_all_pens() -> None:
    figures = [symbols.draw_outline(rng(seed)) for seed in range(80)]
    assert all(cv2.boundingRect(figure) == (0, 0, *figure.shape[::-1]) for figure in figures)
    ink = [float((figure > 127).mean()) for figure in figures]
    assert max(ink) > 3 * min(ink)
