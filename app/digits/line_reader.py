"""The line reader: a levelled line of writing → which character stands where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .contract import BATCH, CHARACTERS, INPUT, LOGITS, READER_STRIDE, STRIP_HEIGHT, GreyPicture
from .errors import InvalidModel
from .network import Arrays, Network

_INPUTS: Final[Arrays] = {INPUT: ("tensor(uint8)", [BATCH, STRIP_HEIGHT, "width", 1])}
_OUTPUTS: Final[Arrays] = {LOGITS: ("tensor(float)", [BATCH, "frames", len(CHARACTERS) + 1])}


@dataclass(frozen=True, slots=True)
class LineReader(Network):
    """A network that reads lines."""

    def __post_init__(self) -> None:
        """Check the network, and run it once, so that the first picture is as fast as the rest."""
        self.check_arrays(_INPUTS, _OUTPUTS)
        probabilities = self.read(np.zeros((STRIP_HEIGHT, 64), np.uint8))
        if probabilities.shape[0] != 64 // READER_STRIDE or not np.isfinite(probabilities).all():
            msg = f"its output for 64 columns is not {64 // READER_STRIDE} frames of finite numbers"
            raise InvalidModel(msg)

    def read(self, strip: GreyPicture) -> NDArray[np.float32]:
        """Return the probabilities of each character, and of none, along a strip.

        Args:
            strip: uint8 (32, width), width a multiple of 4.

        Returns:
            float32 (width / 4, 21), each row sums to 1; the last column is CTC's blank.
        """
        logits: NDArray[np.float32] = self.run((LOGITS,), strip[None, :, :, None])[0][0]
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
