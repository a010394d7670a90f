"""Fields of some bits each, the highest bit first."""

from __future__ import annotations

from ..errors import UnreadableImage
from .header import DAMAGED_FILE

_MAX_ZEROS = 31  # before an Exp-Golomb code of 32 bits


class BitReader:
    """Reads fields one after the other; `UnreadableImage` is raised where the data end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._remaining = 8 * len(data)

    def read(self, bits: int) -> int:
        """Read an unsigned integer."""
        self._remaining -= bits
        if self._remaining < 0:
            raise UnreadableImage(DAMAGED_FILE)
        return self._value >> self._remaining & (1 << bits) - 1

    def read_flag(self) -> bool:
        """Read one bit."""
        return bool(self.read(1))

    def read_exp_golomb(self) -> int:
        """Read an unsigned integer whose length is given by the zeros before it: ue(v) of H.265."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > _MAX_ZEROS:
                raise UnreadableImage(DAMAGED_FILE)
        return (1 << zeros) - 1 + self.read(zeros)
