from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training import data, fetch
from training.data import Labelled
from training.errors import DataError

ZEROS = {
    "x_train": np.zeros((60_000, 28, 28), np.uint8),
    "y_train": np.zeros(60_000, np.uint8),
    "x_test": np.zeros((10_000, 28, 28), np.uint8),
    "y_test": np.zeros(10_000, np.uint8),
}


def test_the_split_is_stratified_disjoint_whole_and_always_the_same() -> None:
    digits = np.random.default_rng(1).choice(10, 60_000, p=np.arange(1, 11) / 55).astype(np.uint8)
    train, held = data.stratified(digits, held_out=5_000)
    assert (len(train), len(held)) == (55_000, 5_000)
    np.testing.assert_array_equal(np.union1d(train, held), np.arange(60_000))
    shares = np.bincount(digits[held], minlength=10) * 12 / np.bincount(digits)
    np.testing.assert_allclose(shares, 1, atol=0.02)
    np.testing.assert_array_equal(data.stratified(digits, held_out=5_000)[1], held)


@pytest.mark.mnist
def test_mnist_is_read_and_parted(mnist_file: Path) -> None:
    training, validation = data.load_training(mnist_file)
    assert (len(training), len(validation)) == (55_000, 5_000)
    assert training.pictures.shape == (55_000, 28, 28)
    assert len(data.load_test(mnist_file)) == 10_000


def test_a_missing_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not at .*none.npz.*training fetch"):
        data.load_training(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_told_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mnist.npz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"can't be read as MNIST.*Delete it and run .*training fetch"):
        data.load_test(file)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, "x_test is not MNIST's"),
        ({"x_test": np.zeros((10_000, 28, 28), np.float32)}, r"holds float32 \(10000, 28, 28\)"),
        ({"x_test": np.zeros((9_999, 28, 28), np.uint8)}, r"MNIST is uint8 \(10000, 28, 28\)"),
        ({"y_test": np.full(10_000, 10, np.uint8)}, "label 10"),
    ],
)
def test_what_is_not_mnist_is_refused(tmp_path: Path, change: dict[str, np.ndarray], reason: str) -> None:
    file = tmp_path / "mnist.npz"
    np.savez_compressed(file, **{key: array for key, array in (ZEROS | change).items() if "test" in key})
    with pytest.raises(DataError, match=reason):
        data.load_test(file)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"x_train"):
        data.load_training(tmp_path / "other.npz")


def test_a_file_that_was_named_is_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"There is no file"):
        fetch.fetch(tmp_path / "none.npz")
    monkeypatch.setenv("DIGITS_MNIST", str(tmp_path / "none.npz"))
    with pytest.raises(DataError, match=r"There is no file"):
        fetch.fetch()


def test_kerass_own_copy_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIGITS_MNIST", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mnist.npz").touch()
    assert fetch.fetch() == tmp_path / "datasets" / "mnist.npz"


def test_equal_data_have_equal_hashes_and_others_do_not() -> None:
    one = Labelled(np.zeros((2, 28, 28), np.uint8), np.array([1, 2], np.uint8))
    assert one.sha256 == Labelled(one.pictures.copy(), one.digits.copy()).sha256
    assert one.sha256 != Labelled(one.pictures, np.array([2, 1], np.uint8)).sha256
    assert one.sha256 != one[:1].sha256
