"""Reads pictures of handwritten digits, over HTTP or in Python.

    from digits import read_digit, read_number

    read_digit("seven.jpg").digit         # 7
    read_number("cheque.jpg").written     # '1.250,00'

The package is called `digits` where it is installed, and `app` in its repository.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import version

if TYPE_CHECKING:
    from .digits.errors import DigitsError
    from .reading import PictureReader, read_digit, read_number

__version__ = version.VERSION
__all__ = ["DigitsError", "PictureReader", "__version__", "read_digit", "read_number"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  of different types
    """Import what `__all__` names when it is used: the client needs neither NumPy nor onnxruntime."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    if name == "DigitsError":
        from .digits.errors import DigitsError  # noqa: PLC0415

        return DigitsError
    from . import reading  # noqa: PLC0415

    return getattr(reading, name)
