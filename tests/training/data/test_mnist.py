from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.training.file_server import serve_files
from training.data import mnist
from training.errors import DataError

ZEROS = {
    "x_train": np.zeros((60_000, 28, 28), np.uint8),
    "y_train": np.zeros(60_000, np.uint8),
    "x_test": np.zeros((10_000, 28, 28), np.uint8),
    "y_test": np.zeros(10_000, np.uint8),
}


@pytest.mark.mnist
def test_mnist_is_read_and_split(mnist_file: Path) -> None:
    training, validation = mnist.load_training(mnist_file)
    assert (len(training), len(validation)) == (55_000, 5_000)
    assert training.pictures.shape == (55_000, 28, 28)
    assert len(mnist.load_test(mnist_file)) == 10_000


def test_a_missing_file_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not at .*none.npz.*training fetch"):
        mnist.load_training(tmp_path / "none.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_reported_with_the_remedy(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mnist.npz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"can't be read as MNIST.*Delete it and run .*training fetch"):
        mnist.load_test(file)


@pytest.mark.parametrize("pictures", [ZEROS["x_test"], ZEROS["x_test"][1:], ZEROS["x_test"].astype(float)])
def test_other_pictures_than_mnists_are_refused(tmp_path: Path, pictures: np.ndarray) -> None:
    file = tmp_path / "mnist.npz"
    np.savez_compressed(file, x_test=pictures, y_test=ZEROS["y_test"])
    with pytest.raises(DataError, match=r"x_test is not MNIST's, its SHA-256 differs\. Delete it"):
        mnist.load_test(file)


@pytest.mark.mnist
def test_flattened_pictures_of_mnist_are_accepted(mnist_file: Path, tmp_path: Path) -> None:
    with np.load(mnist_file) as archive:
        np.savez(tmp_path / "flat.npz", x_test=archive["x_test"].reshape(-1, 784), y_test=archive["y_test"])
    assert mnist.load_test(tmp_path / "flat.npz").pictures.shape == (10_000, 28, 28)


def test_an_archive_of_other_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(DataError, match=r"x_train"):
        mnist.load_training(tmp_path / "other.npz")


def test_a_missing_file_that_was_named_is_not_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"There is no file"):
        mnist.fetch(tmp_path / "none.npz")
    monkeypatch.setenv("DIGITS_MNIST", str(tmp_path / "none.npz"))
    with pytest.raises(DataError, match=r"There is no file"):
        mnist.fetch()


@pytest.fixture
def download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the download, where no file exists yet."""
    monkeypatch.delenv("DIGITS_MNIST", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "datasets" / "mnist.npz"


@pytest.mark.parametrize(("length", "why"), [(None, "the SHA-256 of .* differs"), (100, "IncompleteRead")])
def test_a_wrong_or_incomplete_download_is_not_kept(download: Path, length: int | None, why: str) -> None:
    files = {"/mnist.npz": b"no MNIST"}
    with serve_files(files, length=length) as server, pytest.raises(DataError, match=why):
        mnist.fetch(url=f"{server}/mnist.npz")
    assert not download.exists()


def test_a_file_is_downloaded_once_to_where_keras_keeps_it(download: Path) -> None:
    content = b"MNIST"
    with serve_files({"/mnist.npz": content}) as server:
        url = f"{server}/mnist.npz"
        assert mnist.fetch(url=url, sha256=hashlib.sha256(content).hexdigest()) == download
    assert mnist.fetch(url="http://127.0.0.1:9") == download
    assert download.read_bytes() == content


def test_a_copy_that_keras_downloaded_is_used(download: Path) -> None:
    download.parent.mkdir()
    download.touch()
    assert mnist.fetch() == download
