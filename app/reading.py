"""Reads digits and numbers in this process, without a server: `from digits import read_digit`.

The answers are those of `/predict` and `/predict/number`. The models are loaded by the first call.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from .api.number import NumberReading, build_prediction, check_ink
from .api.reader import build_predictions, describe_model, describe_upload
from .api.schemas import NumberPrediction, Prediction
from .digits import images
from .digits.canonical_upload import canonicalise_upload
from .digits.catalogue import Catalogue
from .digits.errors import ImageTooSmall
from .digits.process import set_up_process
from .settings import DEFAULT_MODEL, MODELS_DIR

PictureSource: TypeAlias = str | os.PathLike[str] | bytes | NDArray[np.uint8]
_TO_BGR: Final = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}


class PictureReader:
    """Reads pictures with the models of a folder. Safe to share between threads."""

    def __init__(self, models: Path = MODELS_DIR, *, default_model: str = DEFAULT_MODEL) -> None:
        """Load the models.

        Args:
            models: a folder of NAME/model.onnx; by default, the models of this package.
            default_model: the classifier that reads digits if a call names none.

        Raises:
            DigitsError: a model can't be used.
        """
        set_up_process()
        self._catalogue = Catalogue.load(models, default=default_model)

    def check_model(self, name: str | None, *, number: bool) -> None:
        """Check that `read_digit`, or `read_number`, accepts this name.

        Raises:
            DigitsError: there is no such model, or it is of another kind.
        """
        if number:
            self._catalogue.get_number_reader(self._catalogue.get_line_reader(name))
        else:
            _ = self._catalogue.get(name).classifier

    def read_digit(self, picture: PictureSource, *, model: str | None = None) -> Prediction:
        """Read the most prominent digit of a picture: see the function of this name."""
        chosen = self._catalogue.get(model)
        upload = images.identify(_load(picture))
        form = canonicalise_upload(upload, classifier=chosen.classifier, finder=self._catalogue.get_finder())
        prepared = describe_upload(form)
        scores = form.scores or chosen.classifier.classify(form.canonical.picture[np.newaxis])
        (prediction,) = build_predictions([prepared], scores, describe_model(chosen))
        return prediction

    def read_number(self, picture: PictureSource, *, model: str | None = None) -> NumberPrediction:
        """Read the number on a picture: see the function of this name."""
        line_reader = self._catalogue.get_line_reader(model)
        decoded = images.decode(images.identify(_load(picture)))
        number = self._catalogue.get_number_reader(line_reader).read(decoded.grey)
        check_ink(decoded.grey, number)
        return build_prediction(NumberReading(decoded, number, ()), describe_model(line_reader))


def read_digit(picture: PictureSource, *, model: str | None = None) -> Prediction:
    """Read the most prominent digit of a picture.

    Args:
        picture: the path or the bytes of a file, or uint8 pixels: (height, width), (height, width, 3) in RGB
            or (height, width, 4) in RGBA, dark ink on light or light ink on dark.
        model: the name of a classifier; by default `cnn`.

    Raises:
        DigitsError: the picture can't be read, and `detail` says why; or there is no such model.
        OSError: the file can't be opened.
    """
    return _load_reader().read_digit(picture, model=model)


def read_number(picture: PictureSource, *, model: str | None = None) -> NumberPrediction:
    """Read the number on a picture, in one line or several.

    Args:
        picture: as for `read_digit`.
        model: the name of a line reader; by default `line-reader`.

    Raises:
        DigitsError: the picture can't be read, and `detail` says why; or there is no such model.
        OSError: the file can't be opened.
    """
    return _load_reader().read_number(picture, model=model)


@cache
def _load_reader() -> PictureReader:
    return PictureReader()


def _load(picture: PictureSource) -> bytes:
    """Return the bytes of a file, which pixels become, too."""
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, np.ndarray):
        return _encode(picture)
    return Path(picture).read_bytes()


def _encode(pixels: NDArray[Any]) -> bytes:
    is_picture = pixels.dtype == np.uint8 and (pixels.ndim == 2 or pixels.shape[2:] in {(3,), (4,)})  # noqa: PLR2004
    if not is_picture:
        msg = (
            f"the pixels are {pixels.dtype} {pixels.shape}; they must be uint8 (height, width), "
            "(height, width, 3) or (height, width, 4)"
        )
        raise TypeError(msg)
    if not pixels.size:
        rows, columns = pixels.shape[:2]
        msg = f"The picture has {columns}x{rows} pixels; each side needs at least {images.MIN_SIDE}."
        raise ImageTooSmall(msg, limit=images.MIN_SIDE)
    if pixels.ndim > 2:  # noqa: PLR2004
        pixels = cv2.cvtColor(pixels, _TO_BGR[pixels.shape[2]])
    _, png = cv2.imencode(".png", pixels)
    return bytes(png)
