from __future__ import annotations

import math

import numpy as np
import pytest

from app.digits.contract import PROBABILITIES
from tests.training.calibrated import DIGITS, LOGITS, expected_error, softmax
from tests.training.hands import draw_digits
from tests.training.runs import TRAINS, VALIDATION
from training.learn import calibration
from training.learn.runs import Run

pytestmark = TRAINS


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(true: float) -> None:
    fitted = calibration.fit_temperature(LOGITS * true, DIGITS)
    assert fitted == pytest.approx(true, rel=0.03)


def test_log_probabilities_do_as_well_as_logits() -> None:
    overconfident = softmax(LOGITS * 2)
    fitted = calibration.fit_temperature(calibration.log_probabilities(overconfident), DIGITS)
    assert fitted == pytest.approx(calibration.fit_temperature(LOGITS * 2, DIGITS))
    assert expected_error(calibration.apply_temperature(overconfident, fitted)) < 0.01


def test_a_temperature_changes_no_answer() -> None:
    softened = calibration.apply_temperature(softmax(LOGITS), 3)
    np.testing.assert_array_equal(softened.argmax(axis=1), LOGITS.argmax(axis=1))
    np.testing.assert_allclose(softened.sum(axis=1), 1)


def test_the_temperature_is_finite_if_every_certain_answer_is_wrong_or_right() -> None:
    certain = np.eye(10, dtype=np.float32)
    wrong = calibration.fit_temperature(calibration.log_probabilities(certain), np.roll(np.arange(10), 1))
    right = calibration.fit_temperature(calibration.log_probabilities(certain), np.arange(10))
    assert all(math.isfinite(temperature) for temperature in (wrong, right))
    assert wrong == pytest.approx(calibration.MAX_TEMPERATURE)


def test_the_temperature_fits_mnist_and_scenes_together(two_headed_run: Run) -> None:
    import keras  # noqa: PLC0415  slow: imports TensorFlow

    model = keras.models.load_model(two_headed_run.checkpoint)  # not calibrated yet
    scenes = draw_digits(200, seed=8)
    scenes.digits[:40] = (scenes.digits[:40] + 1) % 10  # a fifth is misread
    calibration.calibrate(model, VALIDATION, scenes)
    pictures = np.concatenate([VALIDATION.pictures, scenes.pictures])
    digits = np.concatenate([VALIDATION.digits, scenes.digits])
    probabilities = model.predict(pictures, verbose=0)[PROBABILITIES]
    weights = np.repeat([1, calibration.SCENE_WEIGHT], [len(VALIDATION), len(scenes)])
    fitted = calibration.fit_temperature(
        calibration.log_probabilities(probabilities), digits, weights=weights
    )
    assert fitted == pytest.approx(1, rel=0.01)


def test_a_row_of_weight_2_counts_like_two_rows() -> None:
    weights = np.repeat([2, 1], [100, len(DIGITS) - 100])
    fitted = calibration.fit_temperature(LOGITS, DIGITS, weights=weights)
    logits, digits = np.concatenate([LOGITS, LOGITS[:100]]), np.concatenate([DIGITS, DIGITS[:100]])
    assert fitted == pytest.approx(calibration.fit_temperature(logits, digits))
    assert fitted != calibration.fit_temperature(LOGITS, DIGITS)
