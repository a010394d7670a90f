from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from app.digits import evidence
from app.digits.classifier import Classifier
from app.digits.contract import CHARACTERS, CLASSES
from app.digits.finder import Characters
from app.digits.lines import Line
from tests.data.strokes import ink

COMMA = CHARACTERS.index(",")


def find(boxes: list[tuple[float, float, float, float]], labels: list[int]) -> Line:
    likelihoods = np.full((len(boxes), len(CHARACTERS)), 0.01, np.float32)
    likelihoods[np.arange(len(labels)), labels] = 0.8
    characters = Characters(
        np.array(boxes, np.float32), likelihoods, likelihoods.max(axis=1), np.zeros(len(boxes), np.int8)
    )
    return Line(characters, 80.0)


def test_a_digit_that_stands_clear_is_judged_by_the_classifier(classifier: Classifier) -> None:
    grey = 255 - np.hstack([ink(digit, (90, 120), box=(20, 20, 50, 80), pen=8) for digit in (3, 7)])
    line = find([(16, 16, 74, 104), (106, 16, 164, 104)], [5, 7])  # the finder takes the 3 for a 5
    opinions = evidence.collect_evidence(grey, line, classifier)
    assert opinions.shape == (2, CLASSES)
    assert opinions.argmax(axis=1).tolist() == [3, 7]


def test_digits_that_overlap_are_judged_by_the_finder_alone() -> None:
    line = find([(16, 16, 74, 104), (50, 16, 164, 104)], [5, 7])
    opinions = evidence.collect_evidence(np.full((120, 180), 255, np.uint8), line, cast("Classifier", None))
    assert opinions.argmax(axis=1).tolist() == [5, 7]


def test_evidence_turns_a_doubt() -> None:
    opinions = np.log(np.full((2, CLASSES), 0.01))
    opinions[0, 4] = opinions[1, 2] = 0.0
    weighed = evidence.weigh({(9, 2): 0.5, (4, 2): 0.3}, opinions)
    assert max(weighed, key=weighed.__getitem__) == (4, 2)
    assert sum(weighed.values()) == pytest.approx(0.8)


def test_a_digit_may_be_another_than_the_line_reader_thought_of() -> None:
    opinions = np.full((2, CLASSES), -7.0)
    opinions[0, 4] = opinions[1, 2] = 0.0
    weighed = evidence.weigh({(9, COMMA, 2): 0.9}, opinions)
    assert weighed[4, COMMA, 2] > weighed[9, COMMA, 2]


def test_texts_as_long_as_the_digits_that_were_found_are_preferred() -> None:
    opinions = np.zeros((3, CLASSES))
    weighed = evidence.weigh({(1, 0, 0, 0): 0.5, (1, 0, 0): 0.3}, opinions)
    assert max(weighed, key=weighed.__getitem__) == (1, 0, 0)
