"""The classifier: canonical pictures → probabilities of the ten digits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from .contract import (
    BATCH,
    CLASSES,
    DIGIT_LIKELIHOOD,
    INPUT,
    PROBABILITIES,
    SIDE,
    DigitBatch,
    Likelihoods,
    Probabilities,
)
from .errors import InvalidModel
from .network import Arrays, Network

_INPUTS: Final[Arrays] = {INPUT: ("tensor(uint8)", [BATCH, SIDE, SIDE])}
_OUTPUTS: Final[Arrays] = {PROBABILITIES: ("tensor(float)", [BATCH, CLASSES])}
_OPTIONAL_OUTPUTS: Final[Arrays] = {DIGIT_LIKELIHOOD: ("tensor(float)", [BATCH])}
_SUM_TOLERANCE: Final = 1e-4  # float32 softmax over 10 classes is within 1e-6


class Scores(NamedTuple):
    """What a network returns for a batch."""

    probabilities: Probabilities  # float32 (batch, 10), each row sums to 1
    digit_likelihood: Likelihoods | None  # float32 (batch,), None if the network does not estimate it

    def split(self) -> Iterator[Scores]:
        """Yield the scores of each picture as those of a batch of one."""
        for row in range(len(self.probabilities)):
            likelihood = None if self.digit_likelihood is None else self.digit_likelihood[row : row + 1]
            yield Scores(self.probabilities[row : row + 1], likelihood)

    @classmethod
    def join(cls, batches: Sequence[Scores]) -> Scores:
        """Return the scores of several batches by one network as those of a single batch."""
        likelihoods = [batch.digit_likelihood for batch in batches if batch.digit_likelihood is not None]
        return cls(
            np.concatenate([batch.probabilities for batch in batches]),
            np.concatenate(likelihoods) if likelihoods else None,
        )


@dataclass(frozen=True, slots=True)
class Classifier(Network):
    """A network that reads canonical pictures."""

    def __post_init__(self) -> None:
        """Check the network, and run it once, so that the first picture is as fast as the rest."""
        self.check_arrays(_INPUTS, _OUTPUTS, {**_OUTPUTS, **_OPTIONAL_OUTPUTS})
        _check_sums(self.classify(np.zeros((2, SIDE, SIDE), np.uint8)))

    def classify(self, batch: DigitBatch) -> Scores:
        """Run the network on `batch`, uint8 (batch, 28, 28), ink 255 on 0."""
        if DIGIT_LIKELIHOOD not in self.outputs:
            return Scores(self.run((PROBABILITIES,), batch)[0], None)
        probabilities, likelihoods = self.run((PROBABILITIES, DIGIT_LIKELIHOOD), batch)
        return Scores(probabilities, likelihoods)


def _check_sums(scores: Scores) -> None:
    largest_error = float(np.abs(scores.probabilities.sum(axis=1) - 1).max())
    if not largest_error <= _SUM_TOLERANCE:  # catches NaN, too
        msg = f"its probabilities do not sum to 1 (off by {largest_error}); softmax belongs in the graph"
        raise InvalidModel(msg)
