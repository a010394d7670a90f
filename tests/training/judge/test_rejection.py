from __future__ import annotations

import numpy as np
import pytest

from training.judge.rejection import auroc, rejected_share

NONE = np.empty(0, np.float32)


def likelihoods(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_of_nothing_there_is_no_figure() -> None:
    assert rejected_share(NONE) is None
    assert auroc(NONE, likelihoods(0.1)) is None
    assert auroc(likelihoods(0.9), NONE) is None


def test_what_is_as_likely_as_not_counts_as_a_digit() -> None:
    assert rejected_share(likelihoods(0.1, 0.49, 0.5, 0.9)) == 0.5


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    assert auroc(likelihoods(0.9, 0.8), likelihoods(0.1, 0.2)) == 1
    assert auroc(likelihoods(0.9, 0.3), likelihoods(0.1, 0.5)) == pytest.approx(0.75)
    assert auroc(likelihoods(0.5, 0.5), likelihoods(0.5, 0.5)) == pytest.approx(0.5)
