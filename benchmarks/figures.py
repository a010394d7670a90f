"""Measures in alternation, because on a shared machine only ratios within a round can be compared."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

Result = TypeVar("Result")


def alternate(
    measures: Mapping[str, Callable[[float], Result]], *, rounds: int, seconds: float
) -> dict[str, list[Result]]:
    """Take all measurements in turn, `rounds` times, after a warm-up round of one second each."""
    results: dict[str, list[Result]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            result = measure(seconds if number else 1.0)
            if number:
                results[name].append(result)
    return results


def median_ratio(over: Iterable[float], under: Iterable[float]) -> float:
    """Return the median of the ratios, round by round."""
    return statistics.median(
        numerator / denominator for numerator, denominator in zip(over, under, strict=True)
    )


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table, whose first column is text and whose others are numbers."""
    for row in (header, ("---", *["---:"] * (len(header) - 1)), *rows):
        print(f"| {' | '.join(row)} |", flush=True)
