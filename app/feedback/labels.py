"""The right digit of a picture as text: in forms and queries, on the command line, as names of folders."""

from __future__ import annotations

from typing import Final

from app.digits.contract import CLASSES

NO_DIGIT: Final = "none"
LABELS: Final[dict[str, int | None]] = {**{str(digit): digit for digit in range(CLASSES)}, NO_DIGIT: None}
