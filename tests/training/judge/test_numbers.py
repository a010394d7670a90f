from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.digits.numbers import NumberReader
from tests.data.writing import draw_lines
from tests.training.hands import draw_upright
from training.data.labelled import Labelled
from training.data.mnist import load_training
from training.data.real_sets import UploadSet
from training.data.uploads import encode_png
from training.judge.numbers import edit_distance, find_misreadings, read_set, score_numbers

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


def test_a_number_of_a_set_is_right_if_all_of_its_digits_are(number_reader: NumberReader) -> None:
    uploads = tuple(encode_png(draw_lines(text)) for text in ("407", "28", "6,50"))
    read = read_set(UploadSet("numbers", uploads, ("407", "29", "650")), number_reader)
    assert [number.written for number in read.numbers] == [("407",), ("28",), ("6,50",)]
    assert read.right.tolist() == [True, False, True]


def test_a_score_has_the_shares_of_right_numbers_and_digits(number_reader: NumberReader) -> None:
    score = score_numbers(number_reader, DRAWN, count=9, seed=2)
    assert score["numbers"] == 9
    assert set(score["right"]) == {"apart", "touching"}
    assert 0.5 < score["digits"] <= 1


def test_misreadings_are_the_numbers_that_are_not_right_and_the_surest_comes_first(
    number_reader: NumberReader,
) -> None:
    swapped = Labelled(DRAWN.pictures, (9 - DRAWN.digits).astype(np.uint8))  # so that all are read wrongly
    misread = find_misreadings(number_reader, swapped, count=6, seed=2)
    assert len(misread) == 6
    assert all(one.number.text != one.expected for one in misread)
    confidences = [one.number.confidence for one in misread]
    assert confidences == sorted(confidences, reverse=True)


@pytest.mark.mnist
def test_numbers_composed_of_mnists_digits_are_read(number_reader: NumberReader, mnist_file: Path) -> None:
    score = score_numbers(number_reader, load_training(mnist_file)[1], count=60, seed=9)
    assert score["right"]["apart"] >= 0.85
    assert score["digits"] >= 0.9
