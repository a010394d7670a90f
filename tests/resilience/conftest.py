"""How much is done, and the table of what came of it.

In a plain test run every scenario is short, and only what must always hold is asserted. `make resilience`
sets DIGITS_RESILIENCE=full: the amounts of `docs/reliability.md`, whose figures are asserted, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

FULL = os.environ.get("DIGITS_RESILIENCE") == "full"
_ROWS: list[tuple[str, str]] = []


@pytest.fixture(scope="session")
def full() -> bool:
    """Tell whether the whole suite is run."""
    return FULL


@pytest.fixture
def measured() -> Callable[[str, str], None]:
    """Note a figure for the table: what, and how much."""
    return lambda what, figure: _ROWS.append((what, figure))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, so that `-m resilience` chooses it."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("resilience")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    if _ROWS:
        terminalreporter.section("resilience")
        terminalreporter.line("| scenario | measured |\n| --- | --- |")
        for what, figure in _ROWS:
            terminalreporter.line(f"| {what} | {figure} |")
