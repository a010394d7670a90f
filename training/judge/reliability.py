"""Measures calibration: of the answers with a confidence of 90 %, are 90 % right?"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS: Final = 15  # as in Guo et al. (2017), so that figures can be compared with published ones


class Bin(NamedTuple):
    """Answers of about equal confidence."""

    pictures: int
    confidence: float  # mean of the largest probabilities
    accuracy: float  # share of right answers


def bin_answers(confidence: NDArray[Any], right: NDArray[np.bool_]) -> list[Bin]:
    """Sort answers by confidence into 15 bins of equal width; leave out empty bins.

    Bins of equal size would hide the few unsure answers, which the diagram is meant to show, because nearly
    all answers have a confidence above 99 %.
    """
    numbers = np.ceil(np.asarray(confidence, float) * BINS).clip(1, BINS)  # (0, 1/15], (1/15, 2/15] …
    return [
        Bin(int(in_bin.sum()), float(np.mean(confidence[in_bin])), float(right[in_bin].mean()))
        for in_bin in (numbers == number for number in range(1, BINS + 1))
        if in_bin.any()
    ]


def expected_error(bins: list[Bin]) -> float:
    """Return the expected calibration error: the mean |accuracy - confidence| of bins, weighted by pictures.

    Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, 2017, equation 3.
    """
    pictures = sum(bin_.pictures for bin_ in bins)
    return sum(bin_.pictures * abs(bin_.accuracy - bin_.confidence) for bin_ in bins) / max(pictures, 1)


def summarise_calibration(probabilities: NDArray[Any], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Return `calibration` in `metrics.json`, from probabilities (n, 10) and whether each is right (n,)."""
    bins = bin_answers(probabilities.max(axis=1), right)
    return {
        "pictures": len(right),
        "expected_error": expected_error(bins),
        "bins": [bin_._asdict() for bin_ in bins],
    }
