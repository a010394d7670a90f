"""A comparison of two networks as tables and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Column, Table

from app.digits.classifier import Scores
from app.digits.contract import Metadata
from training.judge import reliability
from training.judge.comparison import Comparison, Side
from training.judge.evaluation import score
from training.judge.mcnemar import PairedCounts
from training.judge.rejection import auroc, rejected_share

PERCENT_FORMAT: Final = ".2%"
DECIMAL_FORMAT: Final = ".4f"
INTEGER_FORMAT: Final = ",.0f"

# Its name; how it is measured, None where it can't be; its format.
Quantity: TypeAlias = tuple[str, Callable[[Side], float | None], str]


def build_report(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield tables and lines: what changed, who reads what correctly, and whether it is more than chance."""
    sample, first, second = comparison.sample, comparison.first.name, comparison.second.name
    yield _tabulate_changes(comparison)
    columns = ("pictures", "both right", f"{first} alone", f"{second} alone", "both wrong")
    yield _tabulate_counts(comparison, "digit", columns, sample.digits)
    if len(np.unique(sample.sets)) > 1:
        yield _tabulate_counts(comparison, "set", columns, sample.sets)
    if sample.unreadable:
        yield f"{sample.unreadable} uploads are refused by the service, whatever the network, and left out."
    yield comparison.count().summarise(first, second)


def _list_quantities(digits: NDArray[np.uint8]) -> tuple[Quantity, ...]:
    return (
        ("accuracy", lambda side: float((side.digits == digits).mean()), PERCENT_FORMAT),
        ("loss", lambda side: score(side.scores.probabilities, digits).loss, DECIMAL_FORMAT),
        ("calibration error", lambda side: _compute_calibration_error(side, digits), PERCENT_FORMAT),
        ("digits rejected", lambda side: _rejected_share(side.scores), PERCENT_FORMAT),
        ("negatives rejected", lambda side: _rejected_share(side.negatives), PERCENT_FORMAT),
        ("AUROC of that", _compute_auroc, DECIMAL_FORMAT),
        (
            "parameters",
            lambda side: float(side.classifier.metadata.get(Metadata.PARAMETERS, 0)),
            INTEGER_FORMAT,
        ),
        (
            "multiply-adds",
            lambda side: float(side.classifier.metadata.get(Metadata.MULTIPLY_ADDS, 0)),
            INTEGER_FORMAT,
        ),
        ("bytes", lambda side: side.size, INTEGER_FORMAT),
        ("microseconds", lambda side: side.microseconds, ",.1f"),
    )


def _compute_calibration_error(side: Side, digits: NDArray[np.uint8]) -> float:
    error: float = reliability.report(side.scores.probabilities, side.digits == digits)["expected_error"]
    return error


def _rejected_share(scores: Scores) -> float | None:
    return None if scores.digit_likelihood is None else rejected_share(scores.digit_likelihood)


def _compute_auroc(side: Side) -> float | None:
    digits, others = side.scores.digit_likelihood, side.negatives.digit_likelihood
    return None if digits is None or others is None else auroc(digits, others)


def _tabulate_changes(comparison: Comparison) -> Table:
    both = (comparison.first, comparison.second)
    title = f"on {len(comparison.sample.digits):,} pictures of {escape(comparison.sample.name)}"
    table = Table("", *(side.name for side in both), "change", title=title)
    table.add_row("recipe", *(side.classifier.version for side in both))
    for label, measured, form in _list_quantities(comparison.sample.digits):
        first, second = (measured(side) for side in both)
        change = None if first is None or second is None else second - first
        if first is not None or second is not None:
            table.add_row(label, _format(first, form), _format(second, form), _format(change, f"+{form}"))
    return table


def _format(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _tabulate_counts(
    comparison: Comparison, column: str, columns: Sequence[str], groups: NDArray[np.uint8] | NDArray[np.str_]
) -> Table:
    table = Table(Column(column, no_wrap=True), *columns)
    for group in np.unique(groups):
        table.add_row(str(group), *_format_counts(comparison.count(groups == group)))
    table.add_section()
    table.add_row("all", *_format_counts(comparison.count()))
    return table


def _format_counts(counts: PairedCounts) -> tuple[str, ...]:
    cells = (counts.pictures, counts.both, counts.first, counts.second, counts.neither)
    return tuple(f"{count:,}" if count else "·" for count in cells)
