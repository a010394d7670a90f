"""Encodes pictures as uploads, and turns uploads into canonical pictures."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from app.digits.preprocessing import CanonicalForm


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Return the picture as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def read_canonical(upload: bytes) -> CanonicalForm:
    """Turn an upload's bytes into the canonical picture, through the service's own code.

    Raises:
        ImageError: the service would refuse it.
    """
    return canonicalise_upload(images.identify(upload)).canonical
