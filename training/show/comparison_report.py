"""Formats a comparison of two networks as tables and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Column, Table

from app.digits.classifier import Scores
from app.digits.contract import Metadata
from training.export.lineage import measure
from training.judge.comparison import Comparison, Side
from training.judge.evaluation import measure_quality
from training.judge.mcnemar import PairedCounts
from training.judge.rejection import auroc, rejected_share
from training.show.tables import format_known

PERCENT_FORMAT: Final = ".2%"
DECIMAL_FORMAT: Final = ".4f"
INTEGER_FORMAT: Final = ",.0f"

Quantity: TypeAlias = tuple[str, float | None, str]  # name, value if it could be measured, format


def build_report(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield tables of what changed and of who reads what correctly, and the result of McNemar's test."""
    sample, first, second = comparison.sample, comparison.first.name, comparison.second.name
    yield _tabulate_changes(comparison)
    columns = ("pictures", "both right", f"{first} alone", f"{second} alone", "both wrong")
    yield _tabulate_counts(comparison, "digit", columns, sample.digits)
    if len(np.unique(sample.sets)) > 1:
        yield _tabulate_counts(comparison, "set", columns, sample.sets)
    if sample.unreadable:
        yield f"{sample.unreadable} uploads are left out: the service refuses them whatever the network."
    yield comparison.count().summarise(first, second)


def _list_quantities(side: Side, digits: NDArray[np.uint8]) -> Iterator[Quantity]:
    figures, metadata = measure(side.scores, digits), side.classifier.metadata
    yield "accuracy", 1 - figures.errors, PERCENT_FORMAT
    yield "loss", measure_quality(side.scores.probabilities, digits).loss, DECIMAL_FORMAT
    yield "calibration error", figures.calibration_error, PERCENT_FORMAT
    yield "digits rejected", figures.rejected, PERCENT_FORMAT
    yield "negatives rejected", _rejected_share(side.negatives), PERCENT_FORMAT
    yield "AUROC", _compute_auroc(side), DECIMAL_FORMAT
    yield "parameters", float(metadata.get(Metadata.PARAMETERS, 0)), INTEGER_FORMAT
    yield "multiply-adds", float(metadata.get(Metadata.MULTIPLY_ADDS, 0)), INTEGER_FORMAT
    yield "bytes", side.size, INTEGER_FORMAT
    yield "microseconds", side.microseconds, ",.1f"


def _rejected_share(scores: Scores) -> float | None:
    return None if scores.digit_likelihood is None else rejected_share(scores.digit_likelihood)


def _compute_auroc(side: Side) -> float | None:
    digits, others = side.scores.digit_likelihood, side.negatives.digit_likelihood
    return None if digits is None or others is None else auroc(digits, others)


def _tabulate_changes(comparison: Comparison) -> Table:
    both = (comparison.first, comparison.second)
    title = f"on {len(comparison.sample.digits):,} pictures of {escape(comparison.sample.name)}"
    table = Table("", *(side.name for side in both), "change", title=title)
    table.add_row("recipe", *(side.classifier.recipe_version for side in both))
    quantities = (_list_quantities(side, comparison.sample.digits) for side in both)
    for (label, first, form), (_, second, _) in zip(*quantities, strict=True):
        change = None if first is None or second is None else second - first
        if first is not None or second is not None:
            table.add_row(
                label, format_known(first, form), format_known(second, form), format_known(change, f"+{form}")
            )
    return table


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
