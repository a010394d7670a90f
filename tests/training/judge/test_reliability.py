from __future__ import annotations

import numpy as np
import pytest

from tests.training.calibrated import LOGITS, expected_error, softmax
from training.judge import reliability
from training.judge.reliability import Bin


def test_without_answers_the_error_is_zero() -> None:
    report = reliability.summarise_calibration(np.empty((0, 10)), np.empty(0, bool))
    assert report == {"pictures": 0, "expected_error": 0.0, "bins": []}


def test_calibrated_probabilities_have_no_error() -> None:
    assert expected_error(softmax(LOGITS)) < 0.01


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_overconfidence_and_underconfidence_are_errors(temperature: float) -> None:
    assert expected_error(softmax(LOGITS / temperature)) > 0.1


def test_the_error_equals_that_computed_by_hand() -> None:
    confidence = np.array([0.95, 0.99, 0.95, 0.99, 0.5])
    right = np.array([True, True, True, False, True])
    bins = reliability.bin_answers(confidence, right)
    assert [(one.pictures, one.accuracy) for one in bins] == [(1, 1.0), (4, 0.75)]
    assert [one.confidence for one in bins] == pytest.approx([0.5, 0.97])
    assert reliability.expected_error(bins) == pytest.approx((0.5 + 4 * 0.22) / 5)


def test_confidences_of_0_and_1_fall_into_a_bin() -> None:
    bins = reliability.bin_answers(np.array([0.0, 1.0]), np.array([True, True]))
    assert bins == [Bin(1, 0.0, 1.0), Bin(1, 1.0, 1.0)]
