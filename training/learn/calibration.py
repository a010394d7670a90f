"""Makes confidence honest, and 0.5 the threshold of `is_digit`."""

from __future__ import annotations

import math
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from app.digits.contract import DIGIT_LIKELIHOOD, PROBABILITIES
from training.data.labelled import Labelled

COLDEST: Final = 0.05  # every temperature is sought between these two; networks need about 0.5 to 3
HOTTEST: Final = 20.0
PRECISION: Final = 1e-9  # of the temperature's logarithm
SMALLEST_FLOAT: Final = float(np.finfo(np.float32).tiny)  # stands for a probability that was rounded to 0
LOST_DIGITS: Final = 0.01  # of real digits: at most this share is called no digit


def calibrate(model: keras.Model, validation: Labelled, scenes: Labelled) -> None:
    """Fold into the last layers what makes confidence honest and 0.5 the threshold of `is_digit`.

    Neither `validation` nor the digits in `scenes` may be pictures that the model has learned from. Shifting
    the second head's bias moves its threshold.
    """
    plain = model.predict(validation.pictures, batch_size=500, verbose=0)
    cool(model, fit_temperature(log_probabilities(plain[PROBABILITIES]), validation.digits))
    in_scenes = model.predict(scenes.pictures, batch_size=500, verbose=0)
    # a scene that can't be read as its digit, because it is too blurred or broken, need not count as one
    readable = in_scenes[PROBABILITIES].argmax(axis=1) == scenes.digits
    likelihoods = np.concatenate([plain[DIGIT_LIKELIHOOD], in_scenes[DIGIT_LIKELIHOOD][readable]])
    threshold = np.clip(np.quantile(likelihoods.astype(np.float64), LOST_DIGITS), 1e-6, 1 - 1e-6)
    head = model.get_layer(DIGIT_LIKELIHOOD)
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias - special.logit(threshold)])


def cool(model: keras.Model, temperature: float) -> None:
    """Fold a temperature into the last layer: dividing logits is dividing weights and bias.

    Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017.
    """
    last = model.get_layer(PROBABILITIES)
    last.set_weights([weights / temperature for weights in last.get_weights()])


def fit_temperature(logits: NDArray[Any], digits: NDArray[Any]) -> float:
    """Return the temperature T for which softmax(logits / T) is most likely to have given `digits`.

    To be fitted on validation pictures alone. It changes no answer, because it keeps the order of the
    probabilities (Guo et al., 2017, section 4.2). The loss is convex in 1/T, so it has one minimum.
    Log-probabilities, (n, 10), serve as well as logits: they differ by a constant in each row.
    """

    def loss(log_temperature: float) -> float:
        logs = special.log_softmax(np.asarray(logits, float) / math.exp(log_temperature), axis=1)
        return float(-logs[np.arange(len(digits)), digits].mean())

    bounds = math.log(COLDEST), math.log(HOTTEST)
    minimum = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": PRECISION})
    return math.exp(minimum.x)


def apply_temperature(probabilities: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Return softmax(log(probabilities) / temperature), (n, 10)."""
    softened: NDArray[np.float64] = special.softmax(log_probabilities(probabilities) / temperature, axis=1)
    return softened


def log_probabilities(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return logarithms, finite even where float32 rounded a probability to 0."""
    logs: NDArray[np.float64] = np.log(np.maximum(np.asarray(probabilities, float), SMALLEST_FLOAT))
    return logs
