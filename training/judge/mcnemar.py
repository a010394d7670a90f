"""McNemar's test: do two networks that read the same pictures differ by more than chance?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

CONFIDENCE_LEVEL: Final = 0.95  # of the interval; the test's significance level is 5 %
_Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE_LEVEL) / 2)
MIN_PRINTED_P: Final = 1e-4  # smaller values are printed as "p < 0.0001"


@dataclass(frozen=True)
class PairedCounts:
    """How many pictures were read correctly by both networks, by only one of them, and by neither."""

    both: int
    first: int
    second: int
    neither: int

    @classmethod
    def count(cls, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedCounts:
        """Count pictures, given which of the n answers of each network are right."""
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
        """The second network's accuracy minus the first's."""
        return (self.second - self.first) / self.pictures

    @property
    def p_value(self) -> float:
        """The probability that equally good networks differ as much (McNemar's exact two-sided test).

        Pictures that both or neither read correctly do not count. If the networks are equally good, each of
        the others is a toss of a coin.
        """
        discordant = self.first + self.second
        from scipy.stats import binomtest  # noqa: PLC0415  slow, and few commands need it

        return float(binomtest(self.first, discordant).pvalue) if discordant else 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the gain.

        Wald's interval with the adjustment of Bonett and Price (Journal of Educational and Behavioral
        Statistics 37, 2012, pages 479 to 488), which is valid even if few or no pictures tell the networks
        apart. It is not derived from the test: near 5 % the two may disagree, and the test decides.
        """
        all_and_two = self.pictures + 2
        first, second = (self.first + 1) / all_and_two, (self.second + 1) / all_and_two
        gain = second - first
        reach = _Z * math.sqrt((first + second - gain**2) / all_and_two)
        return max(-1.0, gain - reach), min(1.0, gain + reach)

    def summarise(self, first: str, second: str) -> str:
        """Return sentences that tell how far apart the networks are, and whether chance could explain it."""
        discordant, gain, p = self.first + self.second, 100 * self.gain, self.p_value
        low, high = sorted(math.copysign(100, gain) * bound for bound in self.interval)
        interval = f"(95 % confidence interval: {low:.2f} to {high:.2f})"
        if not discordant:
            same = f"{first} and {second} are right on the same pictures"
            return f"{same}: 0 percentage points apart {interval}."
        chance = f"p = {p:.4f}" if p >= MIN_PRINTED_P else f"p < {MIN_PRINTED_P}"
        better, more = (second, "more") if gain >= 0 else (first, "less")
        verdict = (
            f"more than chance: {better} is the better one on such pictures"
            if p < 1 - CONFIDENCE_LEVEL
            else "no more than chance can explain: nothing shows that one of them is better"
        )
        return (
            f"{second} is {abs(gain):.2f} percentage points {more} accurate than {first} {interval}. "
            f"Of {discordant} pictures that only one reads correctly, {self.second} are {second}'s. "
            f"McNemar's exact test: {chance}. That is {verdict}."
        )
