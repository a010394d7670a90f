"""Pictures with their digits, and a stratified split of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.digits.contract import DigitBatch

SPLIT_SEED: Final = 20_261_120  # never change it: networks have learned from today's training split


@dataclass(frozen=True)
class Labelled:
    """Pictures and their digits: `pictures` uint8 (n, 28, 28), `digits` uint8 (n,)."""

    pictures: DigitBatch
    digits: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> Labelled:
        return Labelled(self.pictures[rows], self.digits[rows])

    @property
    def sha256(self) -> str:
        """Hash of the pictures' bytes followed by the digits' bytes."""
        return hashlib.sha256(self.pictures.tobytes() + self.digits.tobytes()).hexdigest()


def split_stratified(
    digits: NDArray[np.uint8], *, held_out: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split row numbers in two parts with equal shares of each digit. The split is always the same.

    Returns:
        The remaining rows, and `held_out` rows, each in ascending order.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(digits))
    by_digit = order[np.argsort(digits[order], kind="stable")]
    positions = (np.arange(held_out) + 0.5) * len(digits) / held_out  # evenly along the sorted digits
    held_out_rows = by_digit[positions.astype(np.intp)]
    return np.setdiff1d(np.arange(len(digits)), held_out_rows), np.sort(held_out_rows)
