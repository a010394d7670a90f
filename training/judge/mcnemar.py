"""McNemar's test: whether two readers of the same pictures differ by more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

LEVEL: Final = 0.95  # of the interval; the test's is what it leaves, 5 %
_Z: Final = NormalDist().inv_cdf((1 + LEVEL) / 2)
SMALLEST_P: Final = 1e-4  # that is printed: a smaller one says no more than that it is small


@dataclass(frozen=True)
class PairedCounts:
    """How many pictures both read correctly, only the first, only the second, and neither."""

    both: int
    first: int
    second: int
    neither: int

    @classmethod
    def count(cls, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedCounts:
        """Count, from whether each of (n,) answers is right."""
        return cls(
            both=int((first & second).sum()),
            first=int((first & ~second).sum()),
            second=int((second & ~first).sum()),
            neither=int((~first & ~second).sum()),
        )

    @property
    def pictures(self) -> int:
        """The number of pictures."""
        return self.both + self.first + self.second + self.neither

    @property
    def gain(self) -> float:
        """The second's accuracy minus the first's."""
        return (self.second - self.first) / self.pictures

    @property
    def p_value(self) -> float:
        """How likely equally good readers are to differ at least as much: McNemar's test, exact, two-sided.

        Pictures that both read alike say nothing. If the readers are equally good, each of the others is
        a coin toss between the first and the second.
        """
        discordant = self.first + self.second
        return float(binomtest(self.first, discordant).pvalue) if discordant else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """Between which the gain lies on all such pictures, with 95 % confidence.

        Wald's interval with the adjustment of Bonett and Price (Journal of Educational and Behavioral
        Statistics 37, 2012, pages 479 to 488), which holds where few pictures tell them apart, and where none
        does. It is no inversion of the test: at the border of 5 % the two may disagree, and the test decides.
        """
        all_and_two = self.pictures + 2
        first, second = (self.first + 1) / all_and_two, (self.second + 1) / all_and_two
        gain = second - first
        reach = _Z * math.sqrt((first + second - gain**2) / all_and_two)
        return max(-1.0, gain - reach), min(1.0, gain + reach)

    def summarise(self, first: str, second: str) -> str:
        """Return a sentence that says how far apart they are, and whether it is more than chance."""
        discordant, gain, p = self.first + self.second, 100 * self.gain, self.p_value
        low, high = (100 * bound for bound in self.interval)
        between = f"with 95 % confidence between {low:+.2f} and {high:+.2f}"
        if not discordant:
            return f"{first} and {second} are right on the same pictures: 0 points apart, {between}."
        chance = f"p = {p:.4f}" if p >= SMALLEST_P else f"p < {SMALLEST_P}"
        better, more = (second, "more") if gain >= 0 else (first, "less")
        verdict = (
            f"more than chance: {better} is the better one on such pictures"
            if p < 1 - LEVEL
            else "no more than chance may do: nothing shows that one of them is better"
        )
        return (
            f"{second} reads {abs(gain):.2f} points {more} accurately than {first}, {between}. "
            f"Of {discordant} pictures that only one reads correctly, {self.second} are {second}'s. "
            f"McNemar's exact test: {chance}. That is {verdict}."
        )
