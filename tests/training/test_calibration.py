from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training import calibration
from training.calibration import Bin

RNG = np.random.default_rng(1)
LOGITS = RNG.normal(0, 2, (20_000, 10))


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def drawn_from(probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Draw a digit for each row, by the row's own probabilities: these are calibrated by construction."""
    chances = np.random.default_rng(2).random((len(probabilities), 1))
    drawn = (chances > probabilities.cumsum(axis=1)).sum(axis=1)
    digits: NDArray[np.intp] = np.minimum(drawn, 9)  # where rounding leaves the last sum below 1
    return digits


DIGITS = drawn_from(softmax(LOGITS))


def expected_error(probabilities: NDArray[np.float64]) -> float:
    return float(calibration.report(probabilities, probabilities.argmax(axis=1) == DIGITS)["expected_error"])


def test_of_no_answers_there_is_no_error() -> None:
    report = calibration.report(np.empty((0, 10)), np.empty(0, bool))
    assert report == {"pictures": 0, "expected_error": 0.0, "bins": []}


def test_probabilities_that_keep_their_word_have_no_error() -> None:
    assert expected_error(softmax(LOGITS)) < 0.01


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_too_sure_and_too_modest_are_errors(temperature: float) -> None:
    assert expected_error(softmax(LOGITS / temperature)) > 0.1


def test_the_error_is_as_computed_by_hand() -> None:
    confidence = np.array([0.95, 0.99, 0.95, 0.99, 0.5])
    right = np.array([True, True, True, False, True])
    bins = calibration.reliability(confidence, right)
    assert [(one.pictures, one.accuracy) for one in bins] == [(1, 1.0), (4, 0.75)]
    assert [one.confidence for one in bins] == pytest.approx([0.5, 0.97])
    assert calibration.expected_error(bins) == pytest.approx((0.5 + 4 * 0.22) / 5)


def test_the_ends_of_the_scale_are_in_bins() -> None:
    bins = calibration.reliability(np.array([0.0, 1.0]), np.array([True, True]))
    assert bins == [Bin(1, 0.0, 1.0), Bin(1, 1.0, 1.0)]


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(true: float) -> None:
    found = calibration.fit_temperature(LOGITS * true, DIGITS)
    assert found == pytest.approx(true, rel=0.03)


def test_logarithms_of_probabilities_do_for_logits() -> None:
    sure = softmax(LOGITS * 2)
    found = calibration.fit_temperature(calibration.logarithms(sure), DIGITS)
    assert found == pytest.approx(calibration.fit_temperature(LOGITS * 2, DIGITS))
    assert expected_error(calibration.with_temperature(sure, found)) < 0.01


def test_a_temperature_changes_no_answer() -> None:
    found = calibration.with_temperature(softmax(LOGITS), 3)
    np.testing.assert_array_equal(found.argmax(axis=1), LOGITS.argmax(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_certain_errors_and_no_errors_at_all_leave_the_temperature_finite() -> None:
    certain = np.eye(10, dtype=np.float32)
    wrong = calibration.fit_temperature(calibration.logarithms(certain), np.roll(np.arange(10), 1))
    right = calibration.fit_temperature(calibration.logarithms(certain), np.arange(10))
    assert all(math.isfinite(found) for found in (wrong, right))
    assert wrong == pytest.approx(calibration.HOTTEST)
