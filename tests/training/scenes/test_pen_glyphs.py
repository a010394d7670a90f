from __future__ import annotations

import cv2
import numpy as np

from app.digits.classifier import Classifier
from tests.training.drawn import LETTERS, make_strokes
from training.scenes import pen_glyphs
from training.scenes.pen_glyphs import STRANGERS
from training.scenes.scene_pool import canonicalise_glyph
from training.scenes.symbols import SIZE, Glyph


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


SAMPLES = make_strokes()


def count_enclosed(glyph: Glyph) -> int:
    """Return how many areas of some size the ink encloses."""
    paper = np.pad((glyph < 128).astype(np.uint8), 1, constant_values=1)
    _, _, stats, _ = cv2.connectedComponentsWithStats(paper, connectivity=4)
    return int((stats[1:, cv2.CC_STAT_AREA] > 40).sum()) - 1


def test_a_written_digit_is_cropped_tightly_and_about_as_long_as_any_glyph() -> None:
    for seed in range(60):
        glyph, digit = pen_glyphs.write_digit(SAMPLES, rng(seed))
        assert 0 <= digit <= 9
        assert cv2.boundingRect(glyph) == (0, 0, *glyph.shape[::-1])
        assert 0.9 * SIZE < max(glyph.shape) < 1.6 * SIZE


def test_equal_generators_write_equal_digits() -> None:
    first, second = (pen_glyphs.write_digit(SAMPLES, rng(7))[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_some_zeros_are_struck_through_and_some_lead_on_to_a_neighbour() -> None:
    written = (pen_glyphs.write_digit(SAMPLES, rng(seed)) for seed in range(600))
    zeros = [glyph for glyph, digit in written if digit == 0]
    enclosed = [count_enclosed(glyph) for glyph in zeros]
    assert {1, 2} <= set(enclosed)
    plain = [glyph.shape[1] / len(glyph) for glyph, count in zip(zeros, enclosed, strict=True) if count == 1]
    assert max(plain) > 1.25 * float(np.median(plain))


def test_most_written_digits_are_read(classifier: Classifier) -> None:
    written = [pen_glyphs.write_digit(SAMPLES, rng(seed)) for seed in range(100)]
    pictures = np.stack([canonicalise_glyph(glyph) for glyph, _ in written])
    answers = classifier.classify(pictures).probabilities.argmax(axis=1)
    assert np.mean(answers == [digit for _, digit in written]) > 0.85


def test_strangers_are_characters_that_are_no_digits() -> None:
    assert set(LETTERS) & set(STRANGERS)
    assert not set("0123456789oOlIsSzZbgqQD|/()") & set(STRANGERS)
    assert pen_glyphs.write_stranger(SAMPLES, rng()).size


def test_a_stroke_without_width_can_be_painted() -> None:
    upright = (np.array([(5, 0), (5, 9)], np.float32),)
    assert min(pen_glyphs.paint(upright, rng()).shape) >= 1
