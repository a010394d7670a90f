from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.digits.classifier import Classifier
from app.digits.preprocessing import is_canonical
from tests.training.hands import draw_upright
from training.scenes import numbers
from training.scenes.numbers import NEGATIVE_LABEL, Style, draw, draw_scenes, measure_overlap

DRAWN = draw_upright(20)


def test_the_same_seed_gives_the_same_pictures() -> None:
    one, other = (list(draw_scenes(DRAWN, count=6, seed=3)) for _ in range(2))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left.picture, right.picture)
        assert left.text == right.text
    assert one[0].text != next(draw_scenes(DRAWN, count=1, seed=4)).text


def test_a_third_of_the_numbers_touch_and_all_have_3_to_8_digits() -> None:
    scenes = list(draw_scenes(DRAWN, count=30, seed=1))
    assert sum(scene.style.touching for scene in scenes) == 10
    assert {len(scene.text) for scene in scenes} <= set(range(3, 9))
    assert all(len(scene.boxes) == len(scene.text) for scene in scenes)


@pytest.mark.parametrize(
    "style",
    [
        Style(),
        Style(digits=1, light_on_dark=True),
        Style(digits=10, lines=5, tilt=3),
        Style(boxes=True, lines=2),
        Style(touching=True, slant=0.4, underline=True),
        Style(marks=True, texture=0.3, light=0.4, thin=1.0),
    ],
)
def test_every_style_has_ink_inside_its_boxes(style: Style) -> None:
    scene = draw(DRAWN, style, np.random.default_rng(1))
    assert scene.picture.dtype == np.uint8
    assert scene.text.count("\n") == style.lines - 1
    paper = np.median(scene.picture)
    for left, top, width, height in scene.boxes:
        inside = scene.picture[max(0, top) : top + height, max(0, left) : left + width]
        assert np.abs(inside - paper).max() > 50


def test_neighbours_touch_only_where_they_should() -> None:
    for seed in range(8):
        apart = draw(DRAWN, Style(noise=0, digits=6), np.random.default_rng(seed))
        joined = draw(DRAWN, Style(noise=0, digits=6, touching=True), np.random.default_rng(seed))
        assert count_components(apart) == 6
        assert count_components(joined) < 6


def count_components(scene: numbers.Scene) -> int:
    dark = scene.picture < (int(scene.picture.min()) + np.median(scene.picture)) / 2
    return int(cv2.connectedComponents(dark.astype(np.uint8))[0]) - 1


def test_pieces_of_numbers_are_canonical_and_the_same_every_time() -> None:
    (one, labels), (other, _) = (numbers.cut_pieces(DRAWN, count=60, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (60, 28, 28)
    assert all(is_canonical(picture) for picture in one)
    assert set(labels.tolist()) <= {*DRAWN.digits.tolist(), NEGATIVE_LABEL}
    assert 0 < (labels == NEGATIVE_LABEL).sum() < 60


def test_pieces_labelled_as_digits_are_read_as_those_digits(classifier: Classifier) -> None:
    pictures, labels = numbers.cut_pieces(DRAWN, count=60, seed=5)
    is_digit = labels != NEGATIVE_LABEL
    answers = classifier.classify(pictures[is_digit]).probabilities.argmax(axis=1)
    assert (answers == labels[is_digit]).mean() > 0.9


def test_the_overlap_of_boxes_is_intersection_over_union() -> None:
    assert measure_overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert measure_overlap((0, 0, 10, 10), (6, 0, 10, 10)) == pytest.approx(1 / 3)
    assert measure_overlap((0, 0, 10, 10), (20, 20, 10, 10)) == 0
