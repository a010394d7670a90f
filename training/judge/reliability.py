"""Whether confidence is honest: of the answers given with 90 %, are 90 % right?"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS: Final = 15  # as in Guo et al. (2017), so that figures can be compared with published ones


class Bin(NamedTuple):
    """Answers of about the same confidence."""

    pictures: int
    confidence: float  # mean of the largest probability
    accuracy: float  # share of them that is right


def bin_answers(confidence: NDArray[Any], right: NDArray[np.bool_]) -> list[Bin]:
    """Sort answers by confidence into 15 bins of equal width; empty bins are left out.

    Equal width and not equal mass: nearly all answers are surer than 99 %, and bins of equal mass would
    hide the few unsure ones, for which the diagram is made, among them.
    """
    numbers = np.ceil(np.asarray(confidence, float) * BINS).clip(1, BINS)  # (0, 1/15], (1/15, 2/15] …
    return [
        Bin(int(in_bin.sum()), float(np.mean(confidence[in_bin])), float(right[in_bin].mean()))
        for in_bin in (numbers == number for number in range(1, BINS + 1))
        if in_bin.any()
    ]


def expected_error(bins: list[Bin]) -> float:
    """Return the expected calibration error: the bins' |accuracy - confidence|, weighted by their pictures.

    Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017, equation 3.
    """
    pictures = sum(one.pictures for one in bins)
    return sum(one.pictures * abs(one.accuracy - one.confidence) for one in bins) / max(pictures, 1)


def report(probabilities: NDArray[Any], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return `calibration` in `metrics.json`, from probabilities (n, 10) and whether each is right (n,)."""
    bins = bin_answers(probabilities.max(axis=1), right)
    return {
        "pictures": len(right),
        "expected_error": expected_error(bins),
        "bins": [one._asdict() for one in bins],
    }
