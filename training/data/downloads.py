"""Downloads files, and checks that they are what was published."""

from __future__ import annotations

import hashlib
import urllib.request
from http.client import HTTPException
from typing import Final

from training.errors import DataError

TIMEOUT: Final = 60.0  # seconds without receiving a byte


def download(url: str, *, name: str, remedy: str) -> bytes:
    """Return the content at a URL; an error calls it by its `name`, and ends with the remedy.

    Raises:
        DataError: it could not be downloaded.
    """
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310  HTTPS, except in tests
            content: bytes = response.read()
    except (OSError, HTTPException) as error:
        msg = f"{name} could not be downloaded ({error}). {remedy}"
        raise DataError(msg) from error
    return content


def has_hash(content: bytes, algorithm: str, expected: str) -> bool:
    """Tell whether content has a hash; `algorithm` is a name in `hashlib`."""
    return hashlib.new(algorithm, content).hexdigest() == expected
