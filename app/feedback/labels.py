"""The correct digit of a picture as text: in forms and queries, on the command line, as names of folders."""

from __future__ import annotations

from typing import Final

from ..digits.contract import CLASSES

NO_DIGIT: Final = "none"
LABELS: Final[dict[str, int | None]] = {**{str(digit): digit for digit in range(CLASSES)}, NO_DIGIT: None}


def format_label(digit: int | None) -> str:
    """Return the label of a digit, or "none" for a picture that shows no digit."""
    return NO_DIGIT if digit is None else str(digit)
