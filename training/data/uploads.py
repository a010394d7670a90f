"""Encodes pictures as uploads, and turns uploads into canonical pictures."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.digits import images
from app.digits.canonical_upload import canonicalise_upload
from app.digits.classifier import Classifier
from app.digits.finder import Finder
from app.digits.preprocessing import CanonicalForm


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Return the picture as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def read_canonical(
    upload: bytes, *, classifier: Classifier | None = None, finder: Finder | None = None
) -> CanonicalForm:
    """Turn an upload's bytes into the canonical picture, through the service's own code.

    Args:
        upload: the bytes of a file.
        classifier: judges what it is shown, as in the service.
        finder: finds the digit on photographs, scans and pages, as in the service.

    Raises:
        ImageError: the service would refuse it.
    """
    return canonicalise_upload(images.identify(upload), classifier=classifier, finder=finder).canonical
