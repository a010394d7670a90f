"""Downloads MNIST, by Keras, unless a copy is here already."""

from __future__ import annotations

from pathlib import Path

from training import data
from training.errors import DataError


def fetch(path: Path | None = None) -> Path:
    """Return the file of MNIST, downloaded if neither `path` nor `DIGITS_MNIST` names one.

    Raises:
        DataError: the file that was named is not there, or the download failed.
    """
    file = data.find(path)
    if file.exists():
        return file
    if file != data.downloaded_file():
        msg = f"There is no file {file}. Leave --data and DIGITS_MNIST out to download MNIST."
        raise DataError(msg)
    import keras  # noqa: PLC0415  seconds to import, and needed for the download alone

    try:
        keras.datasets.mnist.load_data()
    except Exception as error:  # Keras raises a bare Exception where the network or the hash fails
        msg = (
            f"MNIST could not be downloaded ({error}). Check the network, or name a copy of mnist.npz "
            "with --data FILE or DIGITS_MNIST."
        )
        raise DataError(msg) from error
    return file
