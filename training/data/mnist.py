"""MNIST: downloaded, checked and split."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.digits.contract import SIDE
from training.data.downloads import download, has_hash
from training.data.labelled import Labelled, split_stratified
from training.errors import DataError
from training.files import write_atomically

VALIDATION_SIZE: Final = 5_000  # of the 60,000 training pictures; every choice is made on these

# SHA-256 of the arrays' bytes. Written as an IDX file, the training images have the MD5 that the original
# distribution lists (6bbc9ace898e44ae57da46a324031adb); the other arrays equal the original bit for bit.
SHA256: Final[Mapping[str, str]] = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
# The file that `keras.datasets.mnist` downloads; both use one folder, so each finds the other's copy.
URL: Final = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
FILE_SHA256: Final = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


def download_path() -> Path:
    """Return the path at which `keras.datasets.mnist.load_data()` keeps its copy."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "datasets" / "mnist.npz"


def find(path: Path | None) -> Path:
    """Return `path`, else the path in `DIGITS_MNIST`, else that of the download."""
    named = os.environ.get("DIGITS_MNIST")
    return path or (Path(named) if named else download_path())


def fetch(path: Path | None = None, *, url: str = URL, sha256: str = FILE_SHA256) -> Path:
    """Return MNIST's file; download it from `url` if neither `path` nor `DIGITS_MNIST` names one.

    Raises:
        DataError: the named file does not exist, or the download failed.
    """
    file = find(path)
    if file.exists():
        return file
    if file != download_path():
        msg = f"There is no file {file}. To download MNIST, give neither --data nor DIGITS_MNIST."
        raise DataError(msg)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, _download(url, sha256))
    return file


def load_training(path: Path) -> tuple[Labelled, Labelled]:
    """Read the 60,000 training pictures, split into 55,000 for training and 5,000 for validation."""
    everything = _load(path, part="train")
    train, validation = split_stratified(everything.digits, held_out=VALIDATION_SIZE)
    return everything[train], everything[validation]


def load_test(path: Path) -> Labelled:
    """Read the 10,000 test pictures. They are for final figures: no choice may depend on them."""
    return _load(path, part="test")


def _download(url: str, sha256: str) -> bytes:
    content = download(url, name="MNIST", remedy=_NETWORK_REMEDY)
    if not has_hash(content, "sha256", sha256):
        msg = f"MNIST could not be downloaded: the SHA-256 of {url} differs. {_NETWORK_REMEDY}"
        raise DataError(msg)
    return content


def _load(path: Path, *, part: str) -> Labelled:
    arrays = _read(path, f"x_{part}", f"y_{part}")
    for key, array in arrays.items():
        if hashlib.sha256(array.tobytes()).hexdigest() != SHA256[key]:
            msg = f"{path}: {key} is not MNIST's, its SHA-256 differs. {_REMEDY}"
            raise DataError(msg)
    pictures, digits = arrays.values()
    return Labelled(pictures.reshape(-1, SIDE, SIDE), digits)


_NETWORK_REMEDY: Final = "Check the network, or name a copy of mnist.npz with --data FILE or DIGITS_MNIST."
_REMEDY: Final = (
    "Delete it and run `python -m training fetch`, or name a good copy of mnist.npz with --data FILE or "
    "DIGITS_MNIST."
)


def _read(path: Path, *keys: str) -> dict[str, NDArray[np.uint8]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: archive[key] for key in keys}
    except FileNotFoundError:
        msg = f"MNIST is not at {path}. Run `python -m training fetch`, or name a copy with --data FILE."
        raise DataError(msg) from None
    except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        # KeyError: an .npz without these arrays; TypeError and AttributeError: an .npy, which is no archive
        msg = f"{path} can't be read as MNIST ({error}). {_REMEDY}"
        raise DataError(msg) from error
