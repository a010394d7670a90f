from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data import mnist
from training.errors import DataError

ZEROS = {
    "x_train": np.zeros((60_000, 28, 28), np.uint8),
    "y_train": np.zeros(60_000, np.uint8),
    "x_test": np.zeros((10_000, 28, 28), np.uint8),
    "y_test": np.zeros(10_000, np.uint8),
}


@pytest.mark.mnist
def test_mnist_is_read_and_parted(mnist_file: Path) -> None:
    training, validation = mnist.load_training(mnist_file)
    assert (len(training), len(validation)) == (55_000, 5_000)
    assert training.pictures.shape == (55_000, 28, 28)
    assert len(mnist.load_test(mnist_file)) == 10_000


def test_a_missing_file_is_told_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not at .*none.npz.*training fetch"):
        mnist.load_training(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_told_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mnist.npz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"can't be read as MNIST.*Delete it and run .*training fetch"):
        mnist.load_test(file)


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
        mnist.load_test(file)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"x_train"):
        mnist.load_training(tmp_path / "other.npz")


def test_a_file_that_was_named_is_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"There is no file"):
        mnist.fetch(tmp_path / "none.npz")
    monkeypatch.setenv("DIGITS_MNIST", str(tmp_path / "none.npz"))
    with pytest.raises(DataError, match=r"There is no file"):
        mnist.fetch()


def test_kerass_own_copy_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIGITS_MNIST", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mnist.npz").touch()
    assert mnist.fetch() == tmp_path / "datasets" / "mnist.npz"
