"""Counts that cost a request next to nothing, and are added to Prometheus' metrics later.

A counter or histogram of prometheus_client takes a microsecond and a lock for each observation, and a small
picture makes seven of them. Here an observation increments a number; `publish` adds the numbers to the
metrics, before they are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Histogram

Labels: TypeAlias = tuple[str | int, ...]  # the values, in the order of the metric's labels


class CounterTally:
    """What a counter is to be increased by."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry | None
    ) -> None:
        self._counter = Counter(name, documentation, labels, registry=registry)
        self._amounts: defaultdict[Labels, float] = defaultdict(float)

    def add(self, *labels: str | int, amount: float = 1) -> None:
        """Increase the time series of these labels; by 0, to create it."""
        self._amounts[labels] += amount

    def publish(self) -> None:
        """Add all amounts to the metric."""
        for labels, amount in self._amounts.items():
            (self._counter.labels(*labels) if labels else self._counter).inc(amount)
        self._amounts.clear()


class HistogramTally:
    """The observations that are to be added to a histogram, by bucket."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str],
        registry: CollectorRegistry | None,
        *,
        buckets: Sequence[float],
    ) -> None:
        self._histogram = _Histogram(name, documentation, labels, registry=registry, buckets=buckets)
        self._bounds: Final = tuple(buckets)
        # by labels: the sum, and the number of observations in each bucket
        self._rows: defaultdict[Labels, list[float]] = defaultdict(lambda: [0.0] * (len(buckets) + 2))

    def observe(self, value: float, *labels: str | int) -> None:
        """Add an observation to the time series of these labels."""
        row = self._rows[labels]
        row[0] += value
        row[1 + bisect_left(self._bounds, value)] += 1

    def publish(self) -> None:
        """Add all observations to the metric."""
        for labels, (total, *counts) in self._rows.items():
            self._histogram.labels(*labels).add(total, counts)
        self._rows.clear()


class _Histogram(Histogram):
    """A histogram to which many observations can be added at once."""

    _buckets: list[Any]  # prometheus_client's values, of the bounds and of infinity
    _sum: Any

    def add(self, total: float, counts: Sequence[float]) -> None:
        """Add the sum of observations, and their number in each bucket."""
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
