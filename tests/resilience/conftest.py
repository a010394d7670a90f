"""Chooses short or full scenarios, and prints a table of their results.

In a plain test run every scenario is short, and asserts only what must always hold. `make resilience` sets
DIGITS_RESILIENCE=full, which runs the scenarios of `docs/reliability.md` and also asserts its figures.
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
    """Whether to run the scenarios in full."""
    return FULL


@pytest.fixture
def measured() -> Callable[[str, str], None]:
    """A function that adds a row to the table: the scenario, and its figures."""
    return lambda what, figure: _ROWS.append((what, figure))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests in this folder, so that `-m resilience` selects them."""
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
