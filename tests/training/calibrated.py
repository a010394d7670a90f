"""Answers whose confidence is calibrated by construction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.judge import reliability

LOGITS = np.random.default_rng(1).normal(0, 2, (20_000, 10))


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def draw_digits(probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Draw a true digit for each row with the row's probabilities, which are therefore calibrated."""
    chances = np.random.default_rng(2).random((len(probabilities), 1))
    drawn = (chances > probabilities.cumsum(axis=1)).sum(axis=1)
    digits: NDArray[np.intp] = np.minimum(drawn, 9)  # where rounding leaves the last sum below 1
    return digits


DIGITS = draw_digits(softmax(LOGITS))


def expected_error(probabilities: NDArray[np.float64]) -> float:
    return float(
        reliability.summarise_calibration(probabilities, probabilities.argmax(axis=1) == DIGITS)[
            "expected_error"
        ]
    )
