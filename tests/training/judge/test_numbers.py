from __future__ import annotations

from pathlib import Path

import pytest

from app.digits.classifier import Classifier
from tests.training.hands import draw_upright
from training.data.mnist import load_training
from training.judge.numbers import edit_distance, score_numbers

DRAWN = draw_upright(20)


@pytest.mark.parametrize(
    ("text", "expected", "distance"),
    [
        ("", "", 0),
        ("4071", "4071", 0),
        ("471", "4071", 1),
        ("40711", "4071", 1),
        ("12", "34", 2),
        ("", "12", 2),
    ],
)
def test_the_edit_distance_equals_that_counted_by_hand(text: str, expected: str, distance: int) -> None:
    assert edit_distance(text, expected) == distance


def test_a_score_has_the_shares_of_right_numbers_and_digits(classifier: Classifier) -> None:
    score = score_numbers(classifier, DRAWN, count=9, seed=2)
    assert score["numbers"] == 9
    assert set(score["right"]) == {"apart", "touching"}
    assert 0.5 < score["digits"] <= 1


@pytest.mark.mnist
def test_numbers_composed_of_mnists_digits_are_read(classifier: Classifier, mnist_file: Path) -> None:
    score = score_numbers(classifier, load_training(mnist_file)[1], count=60, seed=9)
    assert score["right"]["apart"] >= 0.85
    assert score["digits"] >= 0.9
