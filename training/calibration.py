"""Do probabilities keep their word: of the answers given with 90 %, are 90 % right?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS: Final = 15  # as in Guo et al. (2017), so that figures can be set beside published ones
COLDEST: Final = 0.05  # between these two every temperature is sought; networks need about 0.5 to 3
HOTTEST: Final = 20.0
STEPS: Final = 60  # of golden section: the interval of logarithms, 6 wide, shrinks to 2e-12
LEAST: Final = float(np.finfo(np.float32).tiny)  # a probability that float32 rounded to 0


class Bin(NamedTuple):
    """Answers of about the same confidence."""

    pictures: int
    confidence: float  # mean of the largest probability
    accuracy: float  # share of them that is right


def reliability(confidence: NDArray[Any], right: NDArray[np.bool_]) -> list[Bin]:
    """Part answers by confidence into 15 bins of equal width; bins that hold none are left out.

    Equal width and not equal mass: nearly all answers are surer than 99 %, and bins of equal mass would
    hide the few unsure ones, which the diagram is looked at for, among them.

    Args:
        confidence: (n,) the largest probability of each answer, 0 to 1.
        right: (n,) whether the answer was right.
    """
    of = np.ceil(np.asarray(confidence, float) * BINS).clip(1, BINS)  # (0, 1/15], (1/15, 2/15] …
    return [
        Bin(int(held.sum()), float(np.mean(confidence[held])), float(right[held].mean()))
        for held in (of == number for number in range(1, BINS + 1))
        if held.any()
    ]


def expected_error(bins: list[Bin]) -> float:
    """Return the expected calibration error: the bins' |accuracy - confidence|, weighted by their pictures.

    Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017, equation 3.
    """
    pictures = sum(one.pictures for one in bins)
    return sum(one.pictures * abs(one.accuracy - one.confidence) for one in bins) / max(pictures, 1)


def report(probabilities: NDArray[Any], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return calibration as it stands in `metrics.json`, from (n, 10) probabilities and (n,) rights."""
    bins = reliability(probabilities.max(axis=1), right)
    return {
        "pictures": len(right),
        "expected_error": expected_error(bins),
        "bins": [one._asdict() for one in bins],
    }


def fit_temperature(logits: NDArray[Any], digits: NDArray[Any]) -> float:
    """Return the temperature T for which softmax(logits / T) is likeliest to have given `digits`.

    To be fitted on validation pictures alone. It changes no answer, for it keeps the order of the
    probabilities (Guo et al., 2017, section 4.2). The loss is convex in 1/T, so it has one valley.

    Args:
        logits: (n, 10), or logarithms of probabilities, which differ from them by a constant a row.
        digits: (n,) the true digits.
    """

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(np.asarray(logits, float) / math.exp(log_temperature), digits)

    return math.exp(_lowest(loss, math.log(COLDEST), math.log(HOTTEST)))


def with_temperature(probabilities: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """Return softmax(log(probabilities) / temperature), (n, 10)."""
    return np.exp(_log_softmax(logarithms(probabilities) / temperature))


def logarithms(probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return logarithms, finite even where float32 rounded a probability to 0."""
    logs: NDArray[np.float64] = np.log(np.maximum(np.asarray(probabilities, float), LEAST))
    return logs


def _negative_log_likelihood(logits: NDArray[np.float64], digits: NDArray[Any]) -> float:
    return float(-_log_softmax(logits)[np.arange(len(digits)), digits].mean())


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def _lowest(height: Callable[[float], float], left: float, right: float) -> float:
    """Find the lowest point of a function with one valley, by golden section."""
    shrink = (math.sqrt(5) - 1) / 2
    near, far = right - shrink * (right - left), left + shrink * (right - left)
    at_near, at_far = height(near), height(far)
    for _ in range(STEPS):
        if at_near < at_far:
            right, far, at_far = far, near, at_near
            near = right - shrink * (right - left)
            at_near = height(near)
        else:
            left, near, at_near = near, far, at_far
            far = left + shrink * (right - left)
            at_far = height(far)
    return (left + right) / 2
