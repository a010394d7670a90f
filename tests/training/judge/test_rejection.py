from __future__ import annotations

import numpy as np
import pytest

from training.judge.rejection import auroc, rejected_share

EMPTY = np.empty(0, np.float32)


def make_likelihoods(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_without_pictures_there_is_no_figure() -> None:
    assert rejected_share(EMPTY) is None
    assert auroc(EMPTY, make_likelihoods(0.1)) is None
    assert auroc(make_likelihoods(0.9), EMPTY) is None


def test_a_likelihood_of_one_half_counts_as_a_digit() -> None:
    assert rejected_share(make_likelihoods(0.1, 0.49, 0.5, 0.9)) == 0.5


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    assert auroc(make_likelihoods(0.9, 0.8), make_likelihoods(0.1, 0.2)) == 1
    assert auroc(make_likelihoods(0.9, 0.3), make_likelihoods(0.1, 0.5)) == pytest.approx(0.75)
    assert auroc(make_likelihoods(0.5, 0.5), make_likelihoods(0.5, 0.5)) == pytest.approx(0.5)
