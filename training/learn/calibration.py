"""Calibrates a network's confidence, and moves the threshold of `is_digit` to 0.5."""

from __future__ import annotations

import math
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from app.digits.contract import DIGIT_LIKELIHOOD, PROBABILITIES
from training.data.labelled import Labelled

MIN_TEMPERATURE: Final = 0.05  # bounds of the search; networks need about 0.5 to 3
MAX_TEMPERATURE: Final = 20.0
PRECISION: Final = 1e-9  # of the temperature's logarithm
SMALLEST_FLOAT: Final = float(np.finfo(np.float32).tiny)  # replaces a probability that was rounded to 0
SCENE_WEIGHT: Final = 0.25  # of a scene in the fit of the temperature: scenes are harder than most uploads
REJECTED_SHARE: Final = 0.01  # share of the digits that may fall below the threshold of `is_digit`


def calibrate(model: keras.Model, validation: Labelled, scenes: Labelled) -> None:
    """Calibrate the confidence, and shift the second head's bias so that 0.5 is the threshold of `is_digit`.

    The temperature is fitted to both sets together, because most uploads are harder than MNIST and easier
    than drawn scenes: MNIST alone makes a network too sure, and scenes alone too doubtful.

    Both change the weights of the last layers. The model must not have learned from `validation` or from the
    digits in `scenes`.
    """
    on_validation, on_scenes = (
        model.predict(pictures, batch_size=500, verbose=0)
        for pictures in (validation.pictures, scenes.pictures)
    )
    temperature = fit_temperature(
        log_probabilities(np.concatenate([on_validation[PROBABILITIES], on_scenes[PROBABILITIES]])),
        np.concatenate([validation.digits, scenes.digits]),
        weights=np.repeat([1, SCENE_WEIGHT], [len(validation), len(scenes)]),
    )
    fold_temperature(model, temperature)
    # scenes that the network misreads, because they are too blurred or broken, need not pass as digits
    readable = on_scenes[PROBABILITIES].argmax(axis=1) == scenes.digits
    likelihoods = np.concatenate([on_validation[DIGIT_LIKELIHOOD], on_scenes[DIGIT_LIKELIHOOD][readable]])
    threshold = np.clip(np.quantile(likelihoods.astype(np.float64), REJECTED_SHARE), 1e-6, 1 - 1e-6)
    head = model.get_layer(DIGIT_LIKELIHOOD)
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias - special.logit(threshold)])


def fold_temperature(model: keras.Model, temperature: float) -> None:
    """Divide the weights and the bias of the last layer, and so the logits, by a temperature.

    Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017.
    """
    last = model.get_layer(PROBABILITIES)
    last.set_weights([weights / temperature for weights in last.get_weights()])


def fit_temperature(
    logits: NDArray[Any], digits: NDArray[Any], *, weights: NDArray[Any] | None = None
) -> float:
    """Return the temperature T that gives the true `digits` the highest likelihood under softmax(logits / T).

    `weights`, (n,), say how much each row counts; without them, all count the same.
    Use validation pictures only. A temperature changes no answer, because it keeps the order of the
    probabilities (Guo et al., 2017, section 4.2). The loss is convex in 1/T, so it has a single minimum.
    Log-probabilities, (n, 10), do as well as logits: they differ by a constant in each row.
    """

    def loss(log_temperature: float) -> float:
        logs = special.log_softmax(np.asarray(logits, float) / math.exp(log_temperature), axis=1)
        return float(-np.average(logs[np.arange(len(digits)), digits], weights=weights))

    bounds = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    minimum = optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": PRECISION})
    return math.exp(minimum.x)


def apply_temperature(probabilities: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Return softmax(log(probabilities) / temperature), (n, 10)."""
    softened: NDArray[np.float64] = special.softmax(log_probabilities(probabilities) / temperature, axis=1)
    return softened


def log_probabilities(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logarithms of probabilities; those that float32 rounded to 0 stay finite."""
    logs: NDArray[np.float64] = np.log(np.maximum(np.asarray(probabilities, float), SMALLEST_FLOAT))
    return logs
