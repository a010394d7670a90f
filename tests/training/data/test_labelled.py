from __future__ import annotations

import numpy as np

from training.data.labelled import Labelled, split_stratified


def test_the_split_is_stratified_disjoint_complete_and_always_the_same() -> None:
    digits = np.random.default_rng(1).choice(10, 60_000, p=np.arange(1, 11) / 55).astype(np.uint8)
    train, held_out = split_stratified(digits, held_out=5_000)
    assert (len(train), len(held_out)) == (55_000, 5_000)
    np.testing.assert_array_equal(np.union1d(train, held_out), np.arange(60_000))
    shares = np.bincount(digits[held_out], minlength=10) * 12 / np.bincount(digits)
    np.testing.assert_allclose(shares, 1, atol=0.02)
    np.testing.assert_array_equal(split_stratified(digits, held_out=5_000)[1], held_out)


def test_equal_data_have_equal_hashes_and_different_data_do_not() -> None:
    one = Labelled(np.zeros((2, 28, 28), np.uint8), np.array([1, 2], np.uint8))
    assert one.sha256 == Labelled(one.pictures.copy(), one.digits.copy()).sha256
    assert one.sha256 != Labelled(one.pictures, np.array([2, 1], np.uint8)).sha256
    assert one.sha256 != one[:1].sha256
