from __future__ import annotations

import math

import numpy as np
import pytest

from tests.training.calibrated import DIGITS, LOGITS, expected_error, softmax
from training.learn import calibration


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(true: float) -> None:
    found = calibration.fit_temperature(LOGITS * true, DIGITS)
    assert found == pytest.approx(true, rel=0.03)


def test_logarithms_of_probabilities_do_for_logits() -> None:
    sure = softmax(LOGITS * 2)
    found = calibration.fit_temperature(calibration.log_probabilities(sure), DIGITS)
    assert found == pytest.approx(calibration.fit_temperature(LOGITS * 2, DIGITS))
    assert expected_error(calibration.apply_temperature(sure, found)) < 0.01


def test_a_temperature_changes_no_answer() -> None:
    found = calibration.apply_temperature(softmax(LOGITS), 3)
    np.testing.assert_array_equal(found.argmax(axis=1), LOGITS.argmax(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_certain_errors_and_no_errors_at_all_leave_the_temperature_finite() -> None:
    certain = np.eye(10, dtype=np.float32)
    wrong = calibration.fit_temperature(calibration.log_probabilities(certain), np.roll(np.arange(10), 1))
    right = calibration.fit_temperature(calibration.log_probabilities(certain), np.arange(10))
    assert all(math.isfinite(found) for found in (wrong, right))
    assert wrong == pytest.approx(calibration.HOTTEST)
